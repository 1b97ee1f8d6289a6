# SPDX-License-Identifier: MIT
"""Drawings of what an experiment found: SVG in Okabe and Ito's colours, the numbers of each beside it as TSV.

    python -m study.figures --scores scores.json --plan plan.json --out DIR
"""
import argparse
import sys
from html import escape
from pathlib import Path

import numpy as np

import data
import evaluate
import optical
from study import status_of, tables

COLOURS = {"optical": "#0072B2", "contrastive": "#D55E00", "mean": "#009E73", "greedy": "#CC79A7",
           "ours": "#E69F00", "high": "#56B4E9", "english": "#222", "zero-shot": "#888", "low": "#0072B2"}
LABELS = tables.METHODS | {"low": "OPTICAL, low mean", "high": "OPTICAL, high mean", "gap": "gap: high−low"}
PAGES = {"size": ("4", "pairs", "MAP by bitext size", "sentence pairs (log scale)", np.log),
         "mix": ("5", "mix", "MAP by code-switching", "share of words replaced by English", np.positive),
         "scale": ("9", "params", "MAP by model size", "parameters, millions (log scale)", np.log)}


def curves(rows):
    """{figure: draw()'s arguments} of tables 4, 5 and 9; an x where all languages of the table have it."""
    base, pairs, drawn = tables.pivot(rows, "2", "map"), tables.pivot(rows, "1", "pairs").get("data", {}), {}
    for name, (table, varied, *titles) in PAGES.items():
        cells, lines = tables.pivot(rows, table, "map"), {}
        heads = {s: row for line in cells.values() for s, row in line.items()}
        for method, line in base.items():                     # table 2 at its own x; 0: the same at every x
            x = {0 if method in ("zero-shot", "english") else pairs[s]["value"] for s in heads if s in pairs}
            if name == "size" and len(x) == 1 or name == "mix" and method == "optical":
                cells["mix=0" if name == "mix" else f"methods={method},pairs={max(x)}"] = {
                    s: tables.common(line[s], *(c[s] for c in cells.values() if s in c))[0] for s in line}
        for method, line in cells.items():
            given = dict(setting.partition("=")[::2] for setting in method.split(","))
            x, series = given[varied].rstrip("M"), given.get("methods", "english" * ("english" in given))
            for kind in [""] if series else ["low", "high"]:
                some = [line.get(s) for s, row in heads.items() if kind in ("", row["class"])]
                if some and all(some):
                    ys = np.mean([*zip(*(row.get("by_seed", [row["value"]]) for row in some))], axis=1)
                    lines.setdefault(series or kind, {})[float(x)] = ys.mean(), ys.std(ddof=len(ys) > 1)
        low, high = (lines.get(kind, {}) if name == "mix" else {} for kind in ("low", "high"))
        lines["gap"] = {x: (high[x][0] - low[x][0], 0) for x in high if x in low}
        if xs := sorted({x for line in lines.values() if len(line) > 1 for x in line}):
            note = ", ".join(f"{row.get('name', s)} ({row['class']})" for s, row in heads.items())
            drawn[name] = *titles, "MAP ± standard deviation over seeds", note, xs, [
                (LABELS.get(series, series), COLOURS.get(series, "#555"), "dots" if len(line) > 1 else "dash",
                 [(x, *line.get(x, line.get(0))) for x in xs if x in line or len(line) == 1])
                for series, line in lines.items() if len(line) > 1 or 0 in line]
    return drawn


def differences(rows):
    """The same of average precision, OPTICAL - zero-shot: a low-resource language's queries, sorted by it."""
    cells, shapes = tables.pivot(rows, "2", "map"), []
    for s, row in cells.get("optical", {}).items():
        if row["class"] == "low" and (zero := cells.get("zero-shot", {}).get(s)):
            ds = sorted((y - zero["per_query"][qid] for qid, y in row["per_query"].items()), reverse=True)
            label = f"{row.get('name', s)}: {sum(d > 0 for d in ds)} better, {sum(d < 0 for d in ds)} worse"
            shapes.append((label, [*COLOURS.values()][len(shapes) % len(COLOURS)], "line",
                           [((i + 0.5) / len(ds), d, 0) for i, d in enumerate(ds)]))
    return {"differences": ("OPTICAL minus zero-shot by query", "share of queries, sorted", np.positive,
            "difference of average precision", "low resource", np.arange(5) / 4, shapes)} if shapes else {}


def draw(title, x_title, scale, y_title, note, ticks, shapes):
    """An SVG page. ticks: on x; shapes: [(label, colour, "line", "dots" or "dash", [(x, y, deviation)])]"""
    ys = [y for *_, points in shapes for _, y, _ in points]
    heights = np.arange(np.floor(min(0, *ys) / 0.2), np.ceil(max(ys) / 0.2) + 1) * 0.2
    left, right, top, bottom, place = 76, 440, 80, 352, 369
    ends, sides, levels = scale(ticks)[[0, -1]], (left + 16, right - 16), heights[[0, -1]]

    def at(x, y):
        return np.interp(scale(x), ends, sides), np.interp(y, levels, (bottom, top))
    def text(x, y, words, anchor="start", style=""):
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(words)}</text>')
    def path(points, colour, width=1, style=""):
        d = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path d="M{d}" fill="none" stroke="{colour}" stroke-width="{width}" {style}/>')

    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 412" width="700" height="412" '
             'font-family="Arial, sans-serif" font-size="13"><rect width="700" height="412" fill="white"/>']
    text(20, 30, title, style=' font-size="17" font-weight="bold"')
    text(20, 52, note)
    text((left + right) / 2, bottom + 46, x_title, "middle")
    text(0, 0, y_title, "middle", f' transform="translate(26 {(top + bottom) / 2}) rotate(-90)"')
    for x in ticks:
        text(at(x, 0)[0], bottom + 20, f"{x:,g}", "middle")
    for y, height in zip(heights.round(1), np.linspace(bottom, top, len(heights))):
        path([(left, height), (right, height)], "#ddd" if y else "#888")
        text(left - 8, height + 4, f"{y:.1f}".replace("-", "−"), "end")
    for label, colour, kind, points in sorted(shapes, key=lambda shape: shape[3][-1][1]):
        places = [at(x, y) for x, y, _ in points]
        place = min(place - 17, places[-1][1])                                    # labels that do not overlap
        path(places, colour, 2, 'stroke-dasharray="6 4"' * (kind == "dash"))
        path([places[-1], (right + 14, place), (right + 22, place)], colour)
        text(right + 26, place + 4, label)
        for x, y, deviation in points if kind == "dots" else ():
            path([at(x, y - deviation), at(x, y + deviation)], colour, 2)
            path([at(x, y)] * 2, colour, 8, 'stroke-linecap="round"')
    return "\n".join([*parts, "</svg>\n"])


def figures(scores, plan, out):
    """Draw scores.json and plan.json: {"rows": English words, "columns": source words, "plan": [[mass]]}."""
    rows, found = tables.read_rows(scores), data.read_json(plan)
    if not isinstance(found, dict) or {"rows", "columns", "plan"} - found.keys():
        raise ValueError(f"{plan}: not an object with rows, columns and plan; study.sweeps align writes one")
    words, source, mass = found["rows"], found["columns"], np.array(found["plan"])
    drawn = {"plan": (optical.plan_svg(mass, words, source, [tuple(link) for link in found.get("links", ())]),
                      [["", *source], *([word, *(f"{p:.4f}" for p in ps)] for word, ps in zip(words, mass))])}
    for name, page in (curves(rows) | differences(rows)).items():
        drawn[name] = draw(*page), [["series", page[1], "value", "deviation"], *(
            [label, f"{x:g}", f"{y:.4f}", f"{d:.4f}"] for label, *_, line in page[-1] for x, y, d in line)]
    for name, (svg, table) in drawn.items():
        evaluate.write_text(out / f"{name}.svg", svg)
        evaluate.write_text(out / f"{name}.tsv", "".join("\t".join(line) + "\n" for line in table))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    for name, words in (("scores", "scores.json"), ("plan", "plan.json"), ("out", "folder of figures")):
        parser.add_argument(f"--{name}", type=Path, required=True, help=words)
    return status_of(figures, **vars(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())

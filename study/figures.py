# SPDX-License-Identifier: MIT
"""Drawings of what an experiment found: TSV, and SVG where matplotlib is installed.

    python -m study.figures --scores scores.json --plan plan.json --out DIR
"""
import argparse
import sys
from pathlib import Path

import numpy as np

import data
import evaluate
from study import status_of, tables


def curves(rows):
    """{figure: (label of x, {series: {x: MAP}})} of tables 4 (bitext size), 5 (mixing), 9 (model size)."""
    pairs = {row["lang"]: row["value"] for row in rows if row["table"] == "1" and row["measure"] == "pairs"}
    own = [row for row in rows if row["measure"] == "map"]
    langs = {table: {row["lang"] for row in own if row["table"] == table} for table in ("4", "5")}
    varied, found = {"4": "pairs", "5": "mix", "9": "params"}, {"4": {}, "5": {}, "9": {}}
    for row in own:
        settings = dict(setting.partition("=")[::2] for setting in row["method"].split(","))
        mixed = row["table"] == "2" and row["method"] == "optical" and row["lang"] in langs["5"]      # mix=0
        if (table := "5" if mixed else row["table"]) in varied:
            line = "English queries" if "english" in settings else f"{row['class']} mean"
            x = float(settings.get(varied[table], "0").rstrip("M"))
            found[table].setdefault(settings.get("methods", line), {}).setdefault(x, []).append(row["value"])
    for row in own:                                                       # table 2 at its own x
        if row["table"] == "2" and row["method"] in found["4"] and row["lang"] in langs["4"]:
            found["4"][row["method"]].setdefault(pairs[row["lang"]], []).append(row["value"])
    # A point is a mean over languages, in table 4 there only where all its languages have it.
    size, mix, scale = ({name: {x: float(np.mean(ys)) for x, ys in sorted(line.items()) if len(ys) >= least}
                         for name, line in found[table].items()}
                        for table, least in (("4", len(langs["4"])), ("5", 1), ("9", 1)))
    if {"low mean", "high mean"} <= mix.keys():
        mix["gap"] = {x: y - mix["low mean"][x] for x, y in mix["high mean"].items() if x in mix["low mean"]}
    found = {"size": ("sentence pairs", size), "mix": ("share of source words replaced by English", mix),
             "scale": ("parameters, millions", scale)}
    return {name: figure for name, figure in found.items() if figure[1]}


def figures(scores, plan, out):
    """Draw scores.json and plan.json: {"rows": English words, "columns": source words, "plan": [[mass]]}."""
    drawn, found = curves(tables.read_rows(scores)), data.read_json(plan)
    if not isinstance(found, dict) or {"rows", "columns", "plan"} - found.keys():
        raise ValueError(f"{plan}: not an object with rows, columns and plan; study.sweeps align writes one")
    tsv = {name: [[label, *series], *([f"{x:g}", *(f"{y[x]:.4f}" if x in y else "" for y in series.values())]
                                      for x in sorted({x for line in series.values() for x in line}))]
           for name, (label, series) in drawn.items()}
    tsv["plan"] = [["", *found["columns"]], *([word, *(f"{p:.4f}" for p in line)]
                                              for word, line in zip(found["rows"], found["plan"]))]
    for name, table in tsv.items():
        evaluate.write_text(out / f"{name}.tsv", "".join("\t".join(row) + "\n" for row in table))
    try:
        from matplotlib import figure, rcParams
        rcParams["svg.hashsalt"] = "optical"                            # the same bytes every time
    except ImportError:
        print("  matplotlib is not installed: figures are written as TSV only", flush=True)
        tsv = {}
    for name in tsv:
        page = figure.Figure(figsize=(5, 3.5), layout="constrained")
        axes = page.subplots()
        if name == "plan":
            axes.imshow(found["plan"], cmap="Blues")
            axes.set_xticks(range(len(found["columns"])), found["columns"], rotation=45, ha="right")
            axes.set_yticks(range(len(found["rows"])), found["rows"])
        else:
            for method, line in drawn[name][1].items():
                axes.plot(list(line), list(line.values()), marker="o", label=method)
            axes.set(xlabel=drawn[name][0], ylabel="MAP", xscale="linear" if name == "mix" else "log")
            axes.legend()
        page.savefig(out / f"{name}.svg", metadata={"Date": None})


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--scores", required=True, help="scores.json of a run")
    parser.add_argument("--plan", required=True, help="JSON of a sentence pair's plan")
    parser.add_argument("--out", type=Path, required=True, help="folder of figures")
    return status_of(figures, **vars(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""From the runs of an experiment to its tables: scores.json, tables.md, expected.json.

    python -m study.tables score --data DATA --runs RUNS --out scores.json   every run -> rows of scores
    python -m study.tables tables scores.json --out tables.md                rows -> Markdown, of these alone
    python -m study.tables expect scores.json --command "..." --out expected.json
    python -m study.tables check scores.json expected.json                   ok or FAIL, number by number

A row is a cell of a table: {table, method, lang, measure, value, n_queries, seeds, signature, per_query ...}.
"""
import json
import os
import re
import sys
from operator import itemgetter
from pathlib import Path

import numpy as np

import data
import evaluate
from study import parser_of, status_of

VERSION = 1        # of the scores, part of every signature: raised when a number could change
NAMES = list(data.columns(Path(__file__).with_name("names.tsv"), "", 3))               # what the tables print
METHODS, FACTS, COSTS, TITLES, TEXTS = ({key: name for kind, key, name in NAMES if kind == own}
                                        for own in ("method", "fact", "cost", "table", "text"))
OURS, CEILING, ALPHA = "optical", "english", 0.05
KEY = ("table", "method", "lang", "measure")
key_of = itemgetter(*KEY)
SCORED = ("map", "recip_rank", "recall_100", "ndcg_cut_10")
UNJUDGED = ("mean", "greedy", "contrastive", "optical", "code-switch", "translate-train", "wikiclir")


def method_order(method):
    """Sort key: methods as the tables list them, unknown ones after, numbers in them as numbers."""
    natural = [(not part[:1].isdigit(), float(part) if part[:1].isdigit() else 0.0, part)
               for part in re.split(r"(\d+(?:\.\d+)?)", method) if part]
    return (list(METHODS).index(method) if method in METHODS else len(METHODS), natural)


def score(root, runs, subwords=None, studies=None, extra=()):
    """Rows of tables 1 and 2: test sets of DATA/collection.json, runs RUNS/<set>/<method>.s<seed>.trec.

    Args: root, runs: folders; subwords: {lang: subwords per word}; studies: {table: folder of runs laid out
    alike}; extra: files of rows to take over, one a seed. per_query are means over seeds, each_seed lists.
    """
    manifest = data.load_manifest(root)
    rows, collections, tests = [], {}, manifest["tests"]
    for test in [*tests, *manifest.get("monolingual", ())]:               # searched with in table 8 alone
        name, lang = test["set"], manifest["langs"].get(test["lang"], {})
        source, path = manifest["docs"][test["docs"]], os.path.join(root, test["qrels"])
        if source not in collections:
            with open(os.path.join(root, source), "rb") as file:
                collections[source] = {line.split(b"\t", 1)[0] for line in file}
        docids, qrels = collections[source], evaluate.read_qrels(path)
        judged = {docid.encode("utf-8", "surrogateescape") for docs in qrels.values() for docid in docs}
        if not judged & docids:
            raise ValueError(f"{path}: 0 of its {len(judged)} documents are among {source}'s {len(docids)}")
        head = {"name": test["name"], "class": test["class"], "collection": source, "lang": name}
        head |= {"smoke": True} if "SMOKE" in manifest.get("profile", "") else {}
        relevant, T = sum(grade > 0 for docs in qrels.values() for grade in docs.values()), len(qrels)
        signed = f"|qrels:{evaluate.qrels_hash(qrels)}"
        facts = {"pairs": lang.get("pairs"), "subwords_per_word": (subwords or {}).get(test["lang"]),
                 "queries": T, "docs": len(docids), "relevant_per_query": round(relevant / T, 6)}
        rows += [{"table": "1", "method": "data", "lang": name, "measure": measure, "value": value,
                  "n_queries": T, "seeds": [manifest["seed"]], **head, "family": lang.get("family", ""),
                  "signature": f"data{signed}|v:{VERSION}"}
                 for measure, value in facts.items() if value is not None and test in tests]
        for table, folder in {"2": runs, **(studies or {})}.items():
            rows += _score_runs(table, os.path.join(folder, name), head, path, docids, signed)
    cells = {}
    if not any(row["table"] == "2" for row in rows):
        raise ValueError(f"{runs}: no run; expected files <set>/<method>.s<seed>.trec")
    for row in (row for path in extra for row in read_rows(path)):
        cells.setdefault(key_of(row), []).append(row)
    return rows + [same[0] | (over_seeds([seed for row in same for seed in row["seeds"]],
                                         [row["value"] for row in same]) if same[0]["seeds"] else {})
                   for same in cells.values()]


def _score_runs(table, folder, head, qrels, docids, signature):
    """Rows of every method with runs FOLDER/<method>.s<seed>.trec; ValueError for runs of something else."""
    rows, found = [], {}
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        if match := re.fullmatch(r"(.+)\.s(\d+)\.trec(\.gz)?", entry):
            found.setdefault(match[1], {})[int(match[2])] = os.path.join(folder, entry)
    for method in sorted(found, key=method_order):
        xs = [evaluate.Judged(qrels, path if os.path.getsize(path) else {})         # empty: nothing found
              for _, path in sorted(found[method].items())]
        for x in xs:
            if x.run and not x.present.any():
                raise ValueError(x.mismatch(True))
            seen = {docid for docs, _ in x.run.values() for docid in docs} if not len(x.topic) else set()
            if seen and not docids & seen:
                raise ValueError(f"{x.names[0]}: 0 of its {len(seen)} documents are among the {len(docids)}")
        missing, T = max(np.count_nonzero(~x.present) for x in xs), xs[0].T
        signed = f"{signature}|ties:docid-desc|missing:{missing}|v:{VERSION}"
        for measure, _, function in evaluate.parse_measures(SCORED if table == "2" else "map"):
            values = np.array([function(x) for x in xs])                  # (seeds, T)
            rows.append({"table": table, "method": method, "measure": measure, "n_queries": T,
                         "signature": f"{measure}|nq:{T}{signed}", **head,
                         **over_seeds(sorted(found[method]), values.mean(1)),
                         "per_query": dict(zip(xs[0].qids, values.mean(0).round(6).tolist())),
                         **({"each_seed": values.round(6).tolist()} if measure == "map" and xs[1:] else {})})
    return rows


def over_seeds(seeds, values):
    """The fields of a row that come from one value a seed."""
    fields = {"value": round(float(np.mean(values)), 6), "seeds": list(seeds)}
    if len(seeds) > 1:
        fields |= {"std": round(float(np.std(values, ddof=1)), 6), "by_seed": np.round(values, 6).tolist()}
    return fields


def common(*rows):
    """The rows over the seeds that all of them were measured with; as they are if there is no such seed."""
    shared, found = set.intersection(*(set(row.get("seeds", ())) for row in rows)), []
    for row in rows:
        at = [i for i, seed in enumerate(row.get("seeds", ())) if seed in shared]
        if 0 < len(at) < len(row["seeds"]):
            part = over_seeds(*([row[key][i] for i in at] for key in ("seeds", "by_seed")))
            if "each_seed" in row:                       # of MAP: the values of its queries, a list a seed
                part["per_query"] = dict(zip(row["per_query"], np.array(row["each_seed"])[at].mean(0)))
            row = {key: row[key] for key in row if key not in ("by_seed", "std", "each_seed")} | part
        found.append(row)
    return found


def read_rows(path):
    """The rows of a scores.json or expected.json; ValueError when it is something else."""
    rows = data.read_json(path)
    if not isinstance(rows, list):
        raise ValueError(f"{path}: not a list of rows")
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or {*KEY, "value"} - row.keys():
            raise ValueError(f"{path}: row {i} is not an object with {', '.join(KEY)} and value")
    return rows


def write_rows(path, rows):
    """One row a line, so that a change shows as that line."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    evaluate.write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


# ---- tables, from stored scores alone ----

def pivot(rows, table, measure=None, index="method", columns="lang"):
    """{row label: {column label: row}} of one table (and measure), labels in order of first appearance."""
    cells = {}
    for row in rows:
        if row["table"] == table and measure in (None, row["measure"]):
            cells.setdefault(row[index], {})[row[columns]] = row
    return cells


def markdown(header, lines, texts=1):
    """A Markdown table whose first `texts` columns are text, the others numbers."""
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "".join("| " + " | ".join(line) + " |\n" for line in [header, rule, *lines])


def _heading(row):
    """What a test set is called: its language, and what tells it from another set of the same language."""
    return row.get("name", row["lang"]) + (f" ({row['lang'].split('.', 1)[1]})" if "." in row["lang"] else "")


def _table_1(rows):
    cells, lines = pivot(rows, "1", index="lang", columns="measure"), []
    shown = [measure for measure in FACTS if any(measure in facts for facts in cells.values())]
    for facts in cells.values():
        row, values = next(iter(facts.values())), [facts[m]["value"] if m in facts else "" for m in shown]
        lines.append([_heading(row), row.get("family", ""), row.get("class", ""),
                      *(f"{v:.2f}" if isinstance(v, float) else f"{v:,}" if v != "" else "" for v in values)])
    header = ["language", "family", "class", *map(FACTS.get, shown)]
    return "## Table 1: data\n\n" + markdown(header, lines, texts=3)


def _table_2(rows):
    """Every method, and OPTICAL's gain over translation."""
    cells = pivot(rows, "2", "map")
    text, low = _comparison(cells, "Table 2: methods")
    if is_smoke(rows):
        return text
    text += _primary(cells)
    gains = "".join(f"OPTICAL against {METHODS[method]}, low resource: {low[OURS] / low[method] - 1:+.1%} "
                    "(the paper, NMT: +13.7%).\n"
                    for method in ("nmt", "bm25-nmt") if low.get(method) and OURS in low)
    return text + (gains and "\n" + gains)


def _study(rows, table):
    """One table of changed settings, tables 3 to 6 with the rows of table 2 that they change."""
    cells, base = pivot(rows, table, "map"), pivot(rows, "2", "map") if table in "3456" else {}
    sets = {s for line in cells.values() for s in line}
    kept = sorted({re.search(r"methods=([^,]+)|$", variant)[1] or OURS for variant in cells})
    base = {m: {s: common(row, *(line[s] for line in cells.values() if s in line))[0]
                for s, row in base[m].items() if s in sets} for m in kept if m in base}
    note = "Rows by name: as in table 2.\n" if base else ""
    return _comparison(base | cells, f"Table {table}: {TITLES[table]}", note, table == "3")[0]


def _sets(cells):
    """{test set: one of its rows}, low-resource languages first, and {low: its sets, high: its sets}."""
    heads = {s: row for line in cells.values() for s, row in line.items()}
    heads = dict(sorted(heads.items(), key=lambda item: ("low", "high", None).index(item[1].get("class"))))
    return heads, {group: [s for s in heads if heads[s].get("class") == group] for group in ("low", "high")}


def _seeds(cells):
    seeds = sorted({tuple(row.get("seeds", ())) for line in cells.values() for row in line.values()})
    return " or ".join("{" + ", ".join(map(str, some)) + "}" for some in seeds)


def _difference(parts, one, other, column):
    """The Paired of two methods in a column, over queries and seeds, and whether every seed has its sign."""
    rows, n = common(*parts[one, column], *parts[other, column]), len(parts[one, column])
    values = [{(row.get("collection", row["signature"].split("|")[2]), qid): value          # test sets of the
               for qid, value in row["per_query"].items()} for row in rows]     # same documents share topics
    means = [np.array(row.get("by_seed", [row["value"]])) for row in rows]
    seeds = np.mean([a - b for a, b in zip(means[:n], means[n:])], axis=0)
    found = evaluate.t_test(values[:n], values[n:], seeds)
    return found, bool((np.sign(seeds) == np.sign(found.mean)).all())


def _verdicts(parts, rivals):
    """{(rival, column): whether OPTICAL is better, None: not sure, or not in every seed}."""
    better = {}
    for method, column in (key for key in parts if key[0] in rivals and (OURS, key[1]) in parts):
        found, agree = _difference(parts, OURS, method, column)
        better[method, column] = found.mean > 0 if found.p < ALPHA and agree else None
    return better


def _primary(cells):
    """Our row, or OPTICAL's, against the teacher, the best other method without judgements, translation."""
    low = _sets(cells)[1]["low"]
    parts = {(m, "low"): [cells[m][s] for s in low] for m in cells if low and cells[m].keys() >= set(low)}
    means = {m: np.mean([row["value"] for row in rows]) for (m, _), rows in parts.items()}
    own = "ours" if "ours" in means else OURS
    trained = sorted((m for m in UNJUDGED if m in means and m != own), key=means.get)
    rivals = [m for m in ("zero-shot", *trained[-1:], "nmt") if m in means and own in means]
    if not rivals:
        return ""
    found = [_difference(parts, own, rival, "low")[0] for rival in rivals]
    lines = [[METHODS[rival], f"{f.mean:+.3f}", f"{f.low:+.3f} to {f.high:+.3f}", f"{p:.3f}"]
             for rival, f, p in zip(rivals, found, evaluate.holm([f.p for f in found]))]
    header = ["against", "difference", "95% interval", "p"]
    shares = [f"{means[m] / means[CEILING]:.0%} ({METHODS[m]})"
              for m in dict.fromkeys(("zero-shot", OURS, own)) if m in means and means.get(CEILING)]
    said = f"\nOf the English queries' MAP low-resource ones reach {', '.join(shares)}.\n" if shares else ""
    return f"\n{TEXTS['primary'].format(METHODS[own])}\n\n{markdown(header, lines)}{said}"


def _comparison(cells, title, intro="", tested=True):
    """A table of MAP with means, gap and, if `tested`, significance; and {method: its low-resource MAP}."""
    tested = tested and not any(is_smoke(line.values()) for line in cells.values())
    methods, (heads, groups) = sorted(cells, key=method_order), _sets(cells)
    columns = {s: [s] for s in heads} | {f"{g} mean": sets for g, sets in groups.items() if len(sets) > 1}
    rivals = [method for method in methods if method not in (OURS, CEILING)] if tested else []
    parts = {(m, c): [cells[m][s] for s in sets] for m in methods for c, sets in columns.items()
             if cells[m].keys() >= set(sets)}
    means = {key: float(np.mean([row["value"] for row in found])) for key, found in parts.items()}
    better = _verdicts(parts, rivals)

    def cell(method, column):
        if (method, column) not in means:
            return ""
        text, found = f"{means[method, column]:.3f}", parts[method, column]
        verdict = better.get((method, column))
        if all("by_seed" in row and row["seeds"] == found[0]["seeds"] for row in found):
            text += f" ± {np.mean([row['by_seed'] for row in found], axis=0).std(ddof=1):.3f}"
        return text + {True: "†", False: "‡", None: ""}[verdict]

    lines = [[METHODS.get(method, method), *(cell(method, c) for c in columns)] for method in methods]
    header = ["method", *(_heading(heads[c]) if c in heads else c for c in columns)]
    low, high = ({m: means[m, c] for m, c in means if columns[c] == sets} for sets in groups.values())
    if all(groups.values()):
        header.append("gap")
        for method, line in zip(methods, lines):
            line.append(f"{high[method] - low[method]:.3f}" if method in low.keys() & high.keys() else "")
    counts = ", ".join(f"{_heading(row)} {row['n_queries']}" for row in heads.values())
    note = f"{TEXTS['map'].format(counts)}\n{TEXTS['seeds'].format(_seeds(cells))}\n"
    note += f"{TEXTS['tested'].format(ALPHA, len(better))}\n" if tested else ""
    signed = {}
    for s, method in ((s, method) for s in heads for method in methods if s in cells[method]):
        signed.setdefault((s, cells[method][s]["signature"]), []).append(method)
    listed = "".join(f"- {s}: `{mark}` ({', '.join(users)})\n" for (s, mark), users in signed.items())
    return f"## {title}\n\n{markdown(header, lines)}\n{intro}{note}\nSignatures:\n{listed}", low


def _plain(rows, table, measure):
    """Any other table: methods by test sets, with the means over all, low- and high-resource ones."""
    cells = pivot(rows, table, measure)
    heads, groups = _sets(cells)
    groups = {"mean": [*heads]} | ({f"{g} mean": groups[g] for g in groups} if all(groups.values()) else {})
    lines = []
    for method in cells if table == "10" else sorted(cells, key=method_order):     # 10: as it was written
        line = cells[method]
        texts = [f"{line[c]['value']:.3f}" + (f" ± {line[c]['std']:.3f}" if "std" in line[c] else "")
                 if c in line else "" for c in heads]
        means = [f"{np.mean([line[c]['value'] for c in some]):.3f}" if line.keys() >= set(some) else ""
                 for some in groups.values()]
        lines.append([METHODS.get(method, method), *texts, *means])
    header = ["method", *map(_heading, heads.values()), *groups]
    note = "".join(f"- {c}: n {row['n_queries']}, `{row['signature']}`\n" for c, row in heads.items())
    return (f"## Table {table}: {TITLES.get(table, '')} ({measure})\n\n" + markdown(header, lines)
            + f"\nSeeds {_seeds(cells)}.\n\nSignatures:\n{note}")


def _table_11(rows):
    """What each method costs; times are the machine's, so this table is not the same twice."""
    cells = pivot(rows, "11", columns="measure")
    shown = [m for m in COSTS if any(m in line for line in cells.values())]
    lines = [[METHODS.get(method, method), *(f"{line[m]['value']:,.1f}" if m in line else "" for m in shown)]
             for method, line in sorted(cells.items(), key=lambda item: method_order(item[0]))]
    device = next(row["name"] for row in rows if row["table"] == "11")
    return ("## Table 11: cost\n\n" + markdown(["method", *map(COSTS.get, shown)], lines)
            + f"\nMedians over languages and seeds; memory: the process's peak. Device: {device}.\n")


def tables(rows):
    """All tables as one Markdown text: the same rows, the same bytes."""
    special = {"1": _table_1, "2": _table_2, "11": _table_11}
    texts = ["SMOKE: a few sentences of everything. These numbers mean nothing.\n"] if is_smoke(rows) else []
    for table in sorted({row["table"] for row in rows}, key=lambda table: (len(table), table)):
        measures = dict.fromkeys(row["measure"] for row in rows if row["table"] == table)
        texts += [special[table](rows)] if table in special else [
            _study(rows, table) if measure == "map" else _plain(rows, table, measure) for measure in measures]
    return "\n".join(texts)


def is_smoke(rows):
    """Whether rows are of a smoke run."""
    return any("smoke" in row for row in rows)


def expect(rows, command, tolerance=0.0, repeats=()):
    """Rows of expected.json, one for each number that the tables print.

    repeats: rows of the same command on other machines. A method's numbers in a table have as tolerance twice
    the largest difference there, over repeats and languages; `tolerance` is of numbers that no repeat has.
    """
    group, measured = itemgetter("table", "method", "measure"), {}
    for found in ({key_of(row): row for row in other} for other in repeats):
        for row in (row for row in rows if key_of(row) in found):
            value, other = (each["value"] for each in common(row, found[key_of(row)]))
            measured[group(row)] = max(round(2 * abs(value - other), 6), measured.get(group(row), 0))
    return [{"name": f"table {row['table']}: {row['method']}, {row['lang']}, {row['measure']}",
             **dict(zip(KEY, key_of(row))), "value": row["value"], "seeds": row.get("seeds", []),
             "by_seed": row.get("by_seed", []), "tolerance": measured.get(group(row), tolerance),
             "command": command} for row in rows if row["table"] != "2" or row["measure"] == "map"]


def check(rows, expected):
    """(Lines that begin with ok or FAIL, number of failures), over the seeds that both sides have."""
    found, lines = {key_of(row): row for row in rows}, []
    for want in expected:
        both = common(found.get(key_of(want), {"value": "missing"}), want)
        value, wanted = (row["value"] for row in both)
        good = value != "missing" and abs(value - wanted) <= want["tolerance"] + 1.1e-6    # rounded to 1e-6
        lines.append(f"{'ok  ' if good else 'FAIL'} {want['name']} = {value}, expected {wanted} "
                     f"± {want['tolerance']} from {want['command']}")
    return lines, sum(line.startswith("FAIL") for line in lines)


def _score(args):
    """Score every run of an experiment; with --root, the OUT of run_all.sh, its other studies too."""
    root, made = Path(args.root or "none"), ("answers", "scale", "alignment")
    words = next(iter(sorted(root.glob("s*/search/subwords.json"))), None)
    extra = [path for path in sorted(root.glob("s*/*.json")) if path.stem in made]
    studies = {table: root / f"runs-{table}" for table in "345689"}
    write_rows(args.out, score(args.data, args.runs, words and data.read_json(words), studies, extra))
    if args.markdown:
        evaluate.write_text(args.markdown, tables(read_rows(args.out)))


def _tables(args):
    """Write scores.json as Markdown."""
    evaluate.write_text(args.out, tables(read_rows(args.scores)))


def _expect(args):
    """Write expected.json from scores.json."""
    repeats = [read_rows(path) for path in args.repeats or ()]
    write_rows(args.out, expect(read_rows(args.scores), args.command, args.tolerance, repeats))


def _check(args):
    """Compare scores.json with expected.json; exit status 1 where any differs."""
    if is_smoke(read_rows(args.scores)):
        raise ValueError(f"{args.scores}: of a smoke run, whose numbers mean nothing; run it without SMOKE")
    lines, failures = check(read_rows(args.scores), read_rows(args.expected))
    print(*lines, f"{len(lines) - failures} ok, {failures} FAIL", sep="\n")
    return int(failures > 0)


def main(argv=None):
    runs = {"score": _score, "tables": _tables, "expect": _expect, "check": _check}
    args = parser_of("tables", __doc__, runs).parse_args(argv)
    return status_of(args.run, args)


if __name__ == "__main__":
    sys.exit(main())

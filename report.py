# SPDX-License-Identifier: MIT
"""From the runs of an experiment to its tables: scores.json, tables.md, expected.json.

    python evaluate.py score --data DATA --runs RUNS --out scores.json     every run -> rows of scores
    python evaluate.py tables scores.json --out tables.md                  rows -> Markdown, nothing else read
    python evaluate.py expect scores.json --command "..." --out expected.json
    python evaluate.py check scores.json expected.json                     ok or FAIL, number by number

A row is one cell of one table: {table, method, lang, measure, value, n_queries, seeds, signature, ...}; those
of MAP hold the value of every query too, which the significance tests need.
"""
import argparse
import json
import math
import os
import re
import sys
import zlib

import numpy as np
from scipy import special

import evaluate

# ---- scores of an experiment ----

METHODS = {                                                               # as the tables list them
    "bm25": "BM25, untranslated", "bm25-lexicon": "BM25, IBM Model 1 lexicon",
    "psq": "BM25, probabilistic structured queries", "bm25-nmt": "BM25 on NMT",
    "nmt": "late interaction on NMT", "zero-shot": "zero-shot teacher",
    "code-switch": "code-switched training", "translate-train": "translate-train",
    "wikiclir": "fine-tuning on WikiCLIR",
    "mean": "distillation, sentence mean", "greedy": "distillation, greedy match",
    "contrastive": "contrastive on bitext", "optical": "OPTICAL", "english": "ceiling: English query"}
OURS, CEILING, ALPHA = "optical", "english", 0.05
SCORED = ("map", "recip_rank", "recall_100", "ndcg_cut_10")
FACTS = {"pairs": "pairs", "subwords_per_word": "subwords per word", "queries": "queries",
         "docs": "documents", "relevant_per_query": "relevant per query"}
TITLES = {"3": "ablation, OPTICAL with one setting changed", "4": "bitext size",
          "5": "OPTICAL, source words replaced by English ones with probability `mix`",
          "6": "code-switched training alone, probability `switch`, words in the lexicon",
          "7": "one code-switched student of all these languages, `share` of it in low-resource ones",
          "8": "hybrid batches, `cross` of the samples with English documents; low: cross-lingual, high: "
               "monolingual", "9": "model size; OPTICAL, and the teacher with English queries",
          "10": "alignment error rate, lower is better", "11": "cost"}


def method_order(method):
    """Sort key: methods as the tables list them, unknown ones after, numbers in them as numbers."""
    natural = [(not part[:1].isdigit(), float(part) if part[:1].isdigit() else 0.0, part)
               for part in re.split(r"(\d+(?:\.\d+)?)", method) if part]
    return (list(METHODS).index(method) if method in METHODS else len(METHODS), natural)


def _judge(path, qrels, qrels_path, docids):
    """Judged of one run file; ValueError where its qids or docids belong to something else."""
    x = evaluate.Judged(qrels, path if os.path.getsize(path) else {})     # an empty file: nothing found
    if x.info["others"] and not x.present.any():
        raise ValueError(evaluate.no_common_topic(x, qrels_path, path))
    if x.n.any() and not len(x.topic):
        seen = {docid for docs in evaluate.read_run(path).values() for docid in docs}
        if not docids & {docid.encode("utf-8", "surrogateescape") for docid in seen}:
            raise ValueError(f"{path}: 0 of its {len(seen)} documents are among the {len(docids)} to search")
    return x


def score(data, runs, subwords=None, studies=None, extra=()):
    """Rows of tables 1 and 2: test sets of DATA/collection.json, runs RUNS/<set>/<method>.s<seed>.trec.

    Args: data, runs: folders; subwords: {lang: subwords per word} or None; studies: {table: folder of runs
    laid out alike}, for further tables; extra: files of rows to take over, one a seed.
    Returns: rows (dicts), a value over all judged queries each; values per query are means over seeds.
    """
    with open(os.path.join(data, "collection.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    rows, collections, absent = [], {}, []
    tests = [(test, True) for test in manifest["tests"]]
    tests += [(test, False) for test in manifest.get("monolingual", [])]    # searched with in table 8 alone
    for test, main in tests:
        name, lang = test["set"], manifest["langs"].get(test["lang"], {})
        source, path = manifest["docs"][test["docs"]], os.path.join(data, test["qrels"])
        if source not in collections:
            with open(os.path.join(data, source), "rb") as file:
                collections[source] = {line.split(b"\t", 1)[0] for line in file}
        docids, qrels = collections[source], evaluate.Qrels.load(path)
        judged, T = set(qrels.docid.tolist()), len(qrels.qids)
        if not judged & docids:
            raise ValueError(f"{path}: 0 of its {len(judged)} documents are among {source}'s {len(docids)}")
        head = {"name": test["name"], "class": test["class"], "collection": source}
        facts = {"pairs": lang.get("pairs"), "subwords_per_word": (subwords or {}).get(test["lang"]),
                 "queries": T, "docs": len(docids),
                 "relevant_per_query": round(float((qrels.grade > 0).sum() / T), 6)}
        for measure, value in facts.items():
            if value is not None and main:
                rows.append({"table": "1", "method": "data", "lang": name, "measure": measure, "value": value,
                             "n_queries": T, "seeds": [manifest["seed"]], **head,
                             "family": lang.get("family", ""),
                             "signature": f"data|qrels:{evaluate.qrels_hash(qrels)}|v:{evaluate.VERSION}"})
        for table, folder in {"2": runs, **(studies or {})}.items():
            found = _score_runs(table, os.path.join(folder, name), head | {"lang": name}, qrels, path, docids,
                                SCORED if table == "2" else ("map",))
            rows += found
            absent += [os.path.join(folder, name)] * (table == "2" and not found and main)
    if not any(row["table"] == "2" for row in rows):
        raise ValueError(f"{runs}: no run; expected files <set>/<method>.s<seed>.trec")
    for folder in absent:
        print(f"note: no run in {folder}", file=sys.stderr)
    return rows + _merged([row for path in extra for row in read_rows(path)])


def _score_runs(table, folder, head, qrels, qrels_path, docids, measures):
    """Rows of every method with runs FOLDER/<method>.s<seed>.trec."""
    rows, found = [], {}
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        if match := re.fullmatch(r"(.+)\.s(\d+)\.trec(\.gz)?", entry):
            found.setdefault(match[1], {})[int(match[2])] = os.path.join(folder, entry)
    for method in sorted(found, key=method_order):
        seeds = sorted(found[method])
        xs = [_judge(found[method][seed], qrels, qrels_path, docids) for seed in seeds]
        missing = max(np.count_nonzero(~x.present) for x in xs)
        for measure, _, function in evaluate.parse_measures(measures):
            values = np.array([function(x) for x in xs])                  # (seeds, T)
            qids = [qid.decode("utf-8", "surrogateescape") for qid in qrels.qids]
            per_query = zip(qids, values.mean(0).round(6).tolist())
            rows.append({"table": table, "method": method, "measure": measure, "n_queries": values.shape[1],
                         "signature": evaluate.signature(measure, qrels, values.shape[1], missing), **head,
                         **_over_seeds(seeds, values.mean(1)), "per_query": dict(per_query)})
    return rows


def _over_seeds(seeds, values):
    """The fields of a row that come from one value a seed."""
    fields = {"value": round(float(np.mean(values)), 6), "seeds": list(seeds)}
    if len(seeds) > 1:
        fields |= {"std": round(float(np.std(values, ddof=1)), 6), "by_seed": np.round(values, 6).tolist()}
    return fields


def _merged(rows):
    """Rows of one seed each -> one row for all the seeds of a cell."""
    cells = {}
    for row in rows:
        cells.setdefault(_key(row), []).append(row)
    return [{**same[0], **_over_seeds([seed for row in same for seed in row["seeds"]],
                                      [row["value"] for row in same])} if same[0]["seeds"] else same[0]
            for same in cells.values()]


def read_rows(path):
    """The rows of a scores.json or expected.json; ValueError when it is something else."""
    try:
        with open(path, encoding="utf-8") as file:
            rows = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(rows, list):
        raise ValueError(f"{path}: not a list of rows")
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or {"table", "method", "lang", "measure", "value"} - row.keys():
            raise ValueError(f"{path}: row {i} is not an object with table, method, lang, measure and value")
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
    header = ["language", "family", "class", *(FACTS[measure] for measure in shown)]
    return "## Table 1: data\n\n" + markdown(header, lines, texts=3)


def _table_2(rows):
    """Every method, and OPTICAL's gain over translation."""
    text, low = _comparison(pivot(rows, "2", "map"), "Table 2: methods")
    gains = [f"OPTICAL against {METHODS[method]}, low resource: {low[OURS] / low[method] - 1:+.1%} "
             "(the paper, NMT: +13.7%).\n"
             for method in ("nmt", "bm25-nmt") if low.get(method) and OURS in low]
    return "\n".join([text, "".join(gains)]) if gains else text


def _study(rows, table):
    """One table of changed settings, tables 3 to 6 with the rows of table 2 that they change."""
    cells, base = pivot(rows, table, "map"), pivot(rows, "2", "map") if table in "3456" else {}
    sets = {s for line in cells.values() for s in line}
    kept = sorted({re.search(r"methods=([^,]+)|$", variant)[1] or OURS for variant in cells})
    base = {m: {s: row for s, row in base[m].items() if s in sets} for m in kept if m in base}
    pairs = {row["value"] for row in rows if row["table"] == "1" and row["lang"] in sets
             and row["measure"] == "pairs"}
    note = (f"Rows by name: as in table 2 (of {' or '.join(map(str, sorted(pairs)))} pairs those of up to "
            "--max-tokens tokens).\n") if base else ""
    if table == "4" and any(line.keys() != sets for line in cells.values()):
        note += "No value: the language has fewer pairs.\n"
    return _comparison(base | cells, f"Table {table}: {TITLES[table]}", note, table == "3")[0]


def _t_test(ours, theirs):
    """Paired t-test (t, two-sided p) of two methods' means over test sets, unweighted, from their rows.

    A topic that several sets share (same documents, same qid) is one observation; sets may differ in size.
    With one set, or the same topics in all, it is evaluate.t_test of the topics' mean values; else the
    degrees of freedom are the smallest set's, the careful choice.
    """
    found = [evaluate.differences(a["per_query"], b["per_query"]) for a, b in zip(ours, theirs)]
    mean, parts = np.mean([d.mean() for d in found]), {}
    for d, row in zip(found, ours):
        n, of = len(d), row.get("collection", row["signature"].split("|")[2])    # or the same judgements
        off = (d - d.mean()) / len(found) / math.sqrt(n * (n - 1))               # its part in the error
        for q, part in zip(sorted(row["per_query"]), off):
            parts.setdefault((of, q), []).append(part)
    error = math.sqrt(sum(sum(several) ** 2 for several in parts.values()))
    if error < 1e-12:                                                            # the same in every topic
        return (math.copysign(math.inf, mean), 0.0) if abs(mean) > 1e-12 else (0.0, 1.0)
    freedom = min(map(len, found)) - 1
    return float(mean / error), float(2 * special.stdtr(freedom, -abs(mean / error)))


def _comparison(cells, title, intro="", tested=True):
    """A table of MAP by method and test set with means, gap and, if `tested`, significance against OPTICAL.

    Returns the text and {method: MAP on the low-resource languages}.
    """
    methods = sorted(cells, key=method_order)
    heads = {s: row for line in cells.values() for s, row in line.items()}
    groups = {g: [s for s in heads if heads[s].get("class") == g] for g in ("low", "high")}
    columns = {s: [s] for s in dict.fromkeys([*groups["low"], *groups["high"], *heads])}
    columns |= {f"{g} mean": sets for g, sets in groups.items() if len(sets) > 1}
    whole = {g: f"{g} mean" if len(sets) > 1 else (sets or [None])[0] for g, sets in groups.items()}
    rivals = [method for method in methods if method not in (OURS, CEILING)] if tested else []

    def parts(method, column):
        """The rows of a column's test sets, or none where one is missing."""
        found = [cells.get(method, {}).get(s) for s in columns[column]]
        return [] if None in found else found

    tests = {(m, c): _t_test(parts(OURS, c), parts(m, c)) for m in rivals for c in columns
             if parts(m, c) and parts(OURS, c) and min(len(row["per_query"]) for row in parts(m, c)) > 1}
    adjusted = zip(tests.items(), evaluate.holm([p for _, p in tests.values()]))
    better = {key: t > 0 for (key, (t, _)), p in adjusted if p < ALPHA}   # OPTICAL, where that is sure
    means = {(m, c): float(np.mean([row["value"] for row in parts(m, c)]))
             for m in methods for c in columns if parts(m, c)}

    def cell(method, column):
        if (method, column) not in means:
            return ""
        text, found = f"{means[method, column]:.3f}", parts(method, column)
        verdict = better.get((method, column))
        if all("by_seed" in row and row["seeds"] == found[0]["seeds"] for row in found):
            text += f" ± {np.mean([row['by_seed'] for row in found], axis=0).std(ddof=1):.3f}"
        others = [m for m in rivals if (m, column) in means]
        best = tested and all(means[method, column] >= means[m, column] for m in others)
        sure = others and all(better.get((m, column)) for m in others) if method == OURS else verdict is False
        return (f"**{text}**" if best and sure else text) + {True: "†", False: "‡", None: ""}[verdict]

    header, lines = ["method", *(_heading(heads[c]) if c in heads else c for c in columns)], []
    for method in methods:
        lines.append([METHODS.get(method, method), *(cell(method, column) for column in columns)])
        if all(groups.values()):
            low, high = means.get((method, whole["low"])), means.get((method, whole["high"]))
            lines[-1].append("" if None in (low, high) else f"{high - low:.3f}")
    header += ["gap"] if all(groups.values()) else []
    seeds = sorted({tuple(row["seeds"]) for line in cells.values() for row in line.values()})
    counts = ", ".join(f"{_heading(heads[s])} {heads[s]['n_queries']}" for s in heads)
    drawn = " or ".join("{" + ", ".join(map(str, some)) + "}" for some in seeds)
    note = [
        "Mean average precision over all judged queries, 0 for those without a result; "
        f"{counts} queries.",
        f"Seeds {drawn}; with several, mean ± standard deviation over seeds. Low and high mean: over test "
        "sets, unweighted; gap: high mean - low mean."]
    note += [
        f"† OPTICAL is significantly better, ‡ significantly worse than this (p < {ALPHA}): two-sided paired "
        "t-tests over queries, each query's value its mean over seeds; for a mean, over the queries of all "
        "its test sets, one in several languages (same documents) counting once; Holm correction "
        f"over the table's {len(tests)} comparisons, the ceiling excepted.",
        "Bold: the best of its column, the ceiling excepted, where that is significant: OPTICAL above every "
        "other method, or another method above OPTICAL."] if tested else []
    text = f"## {title}\n\n" + markdown(header, lines) + "\n" + intro + "\n".join(note) + "\n"
    signed = {}
    for s in (s for s in columns if s in heads):
        for method in (method for method in methods if s in cells[method]):
            signed.setdefault((s, cells[method][s]["signature"]), []).append(method)
    listed = "".join(f"- {s}: `{mark}` ({', '.join(users)})\n" for (s, mark), users in signed.items())
    low = {m: means[m, whole["low"]] for m in methods if (m, whole["low"]) in means}
    return f"{text}\nSignatures:\n{listed}", low


def _plain(rows, table, measure):
    """Any other table: methods by test sets, with the means over all, low- and high-resource ones."""
    cells = pivot(rows, table, measure)
    heads = {column: row for line in cells.values() for column, row in line.items()}
    heads = dict(sorted(heads.items(), key=lambda item: ("low", "high", None).index(item[1].get("class"))))
    groups = {"mean": list(heads)} | {f"{g} mean": [c for c in heads if heads[c].get("class") == g]
                                      for g in ("low", "high")}
    if not groups["low mean"] or not groups["high mean"]:
        groups = {"mean": list(heads)}
    lines = []
    for method in cells if table == "10" else sorted(cells, key=method_order):     # 10: as it was written
        line = cells[method]
        texts = [f"{line[c]['value']:.3f}" + (f" ± {line[c]['std']:.3f}" if "std" in line[c] else "")
                 if c in line else "" for c in heads]
        means = [f"{np.mean([line[c]['value'] for c in some]):.3f}" if line.keys() >= set(some) else ""
                 for some in groups.values()]
        lines.append([METHODS.get(method, method), *texts, *means])
    header = ["method", *(_heading(row) for row in heads.values()), *groups]
    seeds = sorted({tuple(row.get("seeds", ())) for line in cells.values() for row in line.values()})
    note = "".join(f"- {c}: n {row['n_queries']}, `{row['signature']}`\n" for c, row in heads.items())
    return (f"## Table {table}: {TITLES.get(table, '')} ({measure})\n\n" + markdown(header, lines)
            + f"\nSeeds {' or '.join(str(set(some)) for some in seeds)}.\n\nSignatures:\n{note}")


def _table_11(rows):
    """What each method costs; times are the machine's, so this table is not the same twice."""
    cells = pivot(rows, "11", columns="measure")
    heads = {"seconds": "training, s", "tokens_per_s": "tokens/s", "memory_gb": "peak memory, GB",
             "search_ms_per_query": "search, ms/query"}
    shown = [m for m in heads if any(m in line for line in cells.values())]
    lines = [[METHODS.get(method, method), *(f"{line[m]['value']:,.1f}" if m in line else "" for m in shown)]
             for method, line in sorted(cells.items(), key=lambda item: method_order(item[0]))]
    device = next(row["name"] for row in rows if row["table"] == "11")
    return ("## Table 11: cost\n\n" + markdown(["method", *(heads[m] for m in shown)], lines)
            + f"\nMedians over languages and seeds; memory: the process's peak. Device: {device}.\n")


def tables(rows):
    """All tables as one Markdown text: the same rows, the same bytes."""
    texts = []
    for table in sorted({row["table"] for row in rows}, key=lambda table: (len(table), table)):
        if table in ("1", "2"):
            texts.append(_table_1(rows) if table == "1" else _table_2(rows))
        elif table == "11":
            texts.append(_table_11(rows))
        else:
            texts += [_study(rows, table) if measure == "map" else _plain(rows, table, measure)
                      for measure in dict.fromkeys(row["measure"] for row in rows if row["table"] == table)]
    return "\n".join(texts)


def _key(row):
    return tuple(row[field] for field in ("table", "method", "lang", "measure"))


def _values(*rows):
    """The values of two rows of a cell, over the seeds that both were measured with, if there are such."""
    by_seed = [{seed: row["value"] for seed in row.get("seeds", ())}
               | dict(zip(row.get("seeds", ()), row.get("by_seed", ()))) for row in rows]
    both = sorted(by_seed[0].keys() & by_seed[1].keys())
    if both and by_seed[0].keys() != by_seed[1].keys():
        return [round(sum(values[seed] for seed in both) / len(both), 6) for values in by_seed]
    return [row["value"] for row in rows]


def expect(rows, command, tolerance=0.0, repeats=()):
    """Rows of expected.json, one for each number that the tables print.

    repeats: rows of the same command on other machines. What differs there, by arithmetic alone, measures the
    tolerance of a method's numbers in a table: twice the largest difference, over repeats and languages.
    tolerance: of the numbers that no repeat has.
    """
    seen = {}
    for found in ({_key(row): row for row in other} for other in repeats):
        for row in (row for row in rows if _key(row) in found):
            value, other = _values(row, found[_key(row)])
            seen.setdefault((row["table"], row["method"], row["measure"]), []).append(abs(value - other))
    measured = {group: round(2 * max(differences), 6) for group, differences in seen.items()}
    return [{"name": f"table {row['table']}: {row['method']}, {row['lang']}, {row['measure']}",
             **dict(zip(("table", "method", "lang", "measure"), _key(row))),
             "value": row["value"], "seeds": row.get("seeds", []), "by_seed": row.get("by_seed", []),
             "tolerance": measured.get((row["table"], row["method"], row["measure"]), tolerance),
             "command": command}
            for row in rows if row["table"] != "2" or row["measure"] == "map"]


def check(rows, expected):
    """Compare scores with expected values: (lines that begin with ok or FAIL, number of failures).

    Where the seeds differ, those that both have are compared.
    """
    found, lines = {_key(row): row for row in rows}, []
    for want in expected:
        row = found.get(_key(want))
        value, wanted = _values(row, want) if row else ("missing", want["value"])
        good = row and abs(value - wanted) <= want["tolerance"] + 1.1e-6         # both are rounded to 1e-6
        lines.append(f"{'ok  ' if good else 'FAIL'} {want['name']} = {value}, expected {wanted} "
                     f"± {want['tolerance']} from {want['command']}")
    return lines, sum(line.startswith("FAIL") for line in lines)


# ---- commands ----

def _arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    commands = parser.add_subparsers(dest="subcommand", required=True)
    def add(name, text):
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False)

    p = add("score", "score every run of an experiment")
    p.add_argument("--data", required=True, help="folder with collection.json")
    p.add_argument("--runs", required=True, help="folder with <set>/<method>.s<seed>.trec")
    p.add_argument("--subwords", help="JSON file {lang: subwords per word}, for table 1 (default: left out)")
    p.add_argument("--study", nargs="+", default=[], metavar="TABLE=FOLDER", help="runs of further tables")
    p.add_argument("--extra", nargs="*", default=[], help="JSON files of rows to take over, one a seed")
    p.add_argument("--out", required=True, help="scores.json to write")
    p = add("tables", "write the tables of scores.json as Markdown")
    p.add_argument("scores", help="scores.json")
    p.add_argument("--out", required=True, help="tables.md to write")
    p = add("expect", "write expected.json from scores.json")
    p.add_argument("scores", help="scores.json")
    p.add_argument("--command", required=True, help="what makes these scores, e.g. 'bash run_all.sh'")
    p.add_argument("--tolerance", type=float, default=0.0, help="largest difference that is ok (default 0)")
    p.add_argument("--repeats", nargs="*", default=[], help="scores.json of the same command on other "
                   "machines: the differences, doubled, are the tolerance of what they have")
    p.add_argument("--out", required=True, help="expected.json to write")
    p = add("check", "compare scores.json with expected.json; exit status 1 where any differs")
    p.add_argument("scores", help="scores.json")
    p.add_argument("expected", help="expected.json")
    return vars(parser.parse_args(argv))


def _run(subcommand, out=None, scores=None, **args):
    if subcommand == "score":
        if args["subwords"]:
            with open(args["subwords"], encoding="utf-8") as file:
                args["subwords"] = json.load(file)
        args["studies"] = dict(study.split("=", 1) for study in args.pop("study"))
        rows = score(**args)
        write_rows(out, rows)
        for row in (row for row in rows if row["measure"] == "map"):
            print(f"{row['lang']} {row['method']}: {row['signature']} = {row['value']:.4f}")
    elif subcommand == "tables":
        evaluate.write_text(out, tables(read_rows(scores)))
    elif subcommand == "expect":
        args["repeats"] = [read_rows(path) for path in args["repeats"]]
        write_rows(out, expect(read_rows(scores), **args))
    else:
        lines, failures = check(read_rows(scores), read_rows(args["expected"]))
        print(*lines, f"{len(lines) - failures} ok, {failures} FAIL", sep="\n")
        return 1 if failures else 0
    return 0


def main(argv=None):
    """Run a command; bad input is one line on stderr and status 2."""
    try:
        return _run(**_arguments(argv))
    except (ValueError, OSError, EOFError, zlib.error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

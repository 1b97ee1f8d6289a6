"""study/tables.py, results/publish.py: scores, tables, check, what is published.

A small experiment, against values by hand and evaluate.py's own.
"""
import json
import os
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest

import evaluate
from conftest import ROOT
from study import tables

sys.path.append(str(ROOT / "results"))
import publish  # noqa: E402

METHODS = {"zero-shot": 0.0, "mean": 0.6, "optical": 1.6, "english": 4.0}


def write_qrels(path, qrels):
    evaluate.write_text(path, "".join(f"{qid} 0 {docid} {grade}\n" for qid in sorted(qrels)
                                      for docid, grade in sorted(qrels[qid].items())))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A data folder of three test sets and runs of four methods, two of them with two seeds."""
    root, rng = tmp_path_factory.mktemp("experiment"), random.Random(7)
    docids = [f"d{i}" for i in range(60)]
    tests, langs = [], {}
    for name, lang, language, group in [("sw", "sw", "Swahili", "low"),
                                        ("de.sentences", "de", "German", "high"),
                                        ("mr", "mr", "Marathi", "low")]:
        qrels = {f"{lang}{i}": {d: rng.randint(0, 2) for d in rng.sample(docids, 6)} | {docids[i]: 1}
                 for i in range(30)}
        os.makedirs(root / "data" / "test" / name)
        write_qrels(root / "data" / "test" / name / "qrels.txt", qrels)
        tests.append({"set": name, "lang": lang, "name": language, "class": group, "docs": "mini",
                      "queries": "", "english": "",
                      "qrels": f"test/{name}/qrels.txt"})
        langs[lang] = {"name": language, "family": f"Family {lang}", "class": group, "pairs": 500,
                       "bitext": "mini", "train": "", "dev": ""}
        for method, weight in METHODS.items():
            for seed in (1, 2) if method in ("optical", "mean") else (1,):
                run = {q: {d: rng.gauss(0, 1) + weight * (judged.get(d, 0) > 0) for d in docids}
                       for q, judged in qrels.items()}
                if method == "zero-shot":
                    del run[f"{lang}3"]
                evaluate.write_run(root / "runs" / name / f"{method}.s{seed}.trec", run, method)
    (root / "data" / "docs.tsv").write_text("".join(f"{d}\tsome text\n" for d in docids))
    (root / "data" / "collection.json").write_text(json.dumps(
        {"profile": "mini", "seed": 1, "version": 1, "langs": langs, "docs": {"mini": "docs.tsv"},
         "tests": tests}))
    (root / "s1" / "search").mkdir(parents=True)
    (root / "s1" / "search" / "subwords.json").write_text('{"sw": 1.5, "mr": 2.25, "de": 1.125}')
    arguments = ["score", "--data", root / "data", "--runs", root / "runs", "--root", root]
    assert tables.main([*map(str, arguments), "--out", str(root / "scores.json")]) == 0
    return root


def test_scores_hold_every_method_measure_and_query(experiment):
    rows = json.loads((experiment / "scores.json").read_text())
    two = [row for row in rows if row["table"] == "2"]
    assert len(two) == 3 * len(METHODS) * 4
    assert {row["measure"] for row in two} == {"map", "ndcg_cut_10", "recall_100", "recip_rank"}
    for row in two:
        folder = experiment / "runs" / row["lang"]
        by_seed = [evaluate.evaluate(experiment / "data" / "test" / row["lang"] / "qrels.txt",
                               folder / f"{row['method']}.s{s}.trec",
                               row["measure"])[row["measure"]] for s in row["seeds"]]
        assert row["value"] == pytest.approx(np.mean([list(v.values()) for v in by_seed]), abs=1e-6)
        assert row["per_query"] == {q: pytest.approx(np.mean([v[q] for v in by_seed]), abs=1e-6)
                                    for q in by_seed[0]}
        assert ("std" in row) == (len(row["seeds"]) == 2) and row["n_queries"] == 30
        missing = 1 if row["method"] == "zero-shot" else 0
        assert row["signature"].startswith(f"{row['measure']}|nq:30|qrels:")
        assert f"|missing:{missing}|v:" in row["signature"]
    one = {(row["lang"], row["measure"]): row["value"] for row in rows if row["table"] == "1"}
    facts = {measure: value for (name, measure), value in one.items() if name == "mr"}
    assert facts | {"relevant_per_query": 0} == {"pairs": 500, "subwords_per_word": 2.25, "queries": 30,
                                                 "docs": 60, "relevant_per_query": 0}


def test_tables_are_the_same_bytes_from_the_same_scores(experiment, tmp_path):
    texts = []
    for i in range(2):
        assert tables.main(["tables", str(experiment / "scores.json"), "--out", str(tmp_path / f"{i}.md")]) == 0
        texts.append((tmp_path / f"{i}.md").read_bytes())
    assert texts[0] == texts[1]
    rows = json.loads((experiment / "scores.json").read_text())
    assert tables.tables(rows).encode() == texts[0]


def test_table_2_prints_the_stored_values_with_marks_gap_and_ceiling(experiment):
    rows = tables.read_rows(experiment / "scores.json")
    cells, text = tables.pivot(rows, "2", "map"), tables.tables(rows).split("Primary comparison")[0]
    lines = [text_line.split("|") for text_line in text.splitlines() if text_line.startswith("|")]
    lines = {parts[1].strip(): parts for parts in lines}
    assert [h.strip() for h in lines["method"][1:-1]] == [
        "method", "Swahili", "Marathi", "German (sentences)", "low mean", "gap"]          # one high set needs no mean
    low = [cells["optical"][s]["value"] for s in ("sw", "mr")]
    optical = [cell.strip() for cell in lines["OPTICAL"][2:-1]]
    gap = cells["optical"]["de.sentences"]["value"] - np.mean(low)
    std = np.std(np.mean([cells["optical"][s]["by_seed"] for s in ("sw", "mr")], axis=0), ddof=1)
    assert optical[0] == f"{low[0]:.3f} ± {cells['optical']['sw']['std']:.3f}"
    assert optical[4] == f"{gap:.3f}"
    assert optical[3] == f"{np.mean(low):.3f} ± {std:.3f}"
    for column, cell in zip(("sw", "mr", "de.sentences"), lines["zero-shot teacher"][2:-2]):
        own, other = cells["optical"][column], cells["zero-shot"][column]
        seeds = np.array(own["by_seed"]) - other["value"]
        found = evaluate.t_test(own["per_query"], other["per_query"], seeds)
        assert (cell.strip()[-1] == "†") == (found.p < 0.05 and (seeds > 0).all())
    ceiling = [cell.strip() for cell in lines["ceiling: English query"][2:-2]]
    assert not any(mark in cell for cell in ceiling for mark in "†‡*")
    assert cells["mean"]["sw"]["signature"] in text
    assert "8 comparisons" in text                                       # two rivals, four columns


def test_marks_need_a_significant_difference_and_its_sign_in_every_seed(experiment):
    rows = [json.loads(json.dumps(row)) for row in tables.read_rows(experiment / "scores.json")]
    kept = [row for row in rows if row["method"] != "zero-shot" and row["lang"] == "sw"
            and row["measure"] == "map"]
    rng, base = np.random.default_rng(0), np.random.default_rng(1).random(30)
    for wanted, shift, seeds in [("‡", 0.3, (-0.01, 0.01)), ("", 0.0, (-0.01, 0.01)), ("†", -0.3, (-0.01, 0.01)),
                                 ("", 0.3, (-0.4, 0.4)), ("", -0.3, (-0.2, 0.2))]:
        for row in kept:
            values = base + (shift + rng.normal(0, 0.05, 30) if row["method"] == "mean" else 0)
            row["per_query"] = {q: float(v) for q, v in zip(row["per_query"], values)}
            row["value"] = float(values.mean())
            if "by_seed" in row:
                row["by_seed"] = [row["value"] + (x if row["method"] == "mean" else 0) for x in seeds]
        cell = tables.tables(kept).split("| distillation, sentence mean |")[1].split("|")[0].strip()
        assert (cell[-1] if cell[-1] in "†‡" else "") == wanted


def test_the_primary_comparison_is_ours_on_the_low_mean_over_queries_and_seeds_with_holms_correction(experiment):
    rows = tables.read_rows(experiment / "scores.json")
    text = tables.tables(rows).split("Primary comparison")[1]
    assert text.startswith(", declared beforehand: OPTICAL, low-resource mean;")
    own = [row | {"method": "ours"} if row["method"] == "mean" else row for row in rows]
    text = tables.tables(own).split("Primary comparison")[1]
    assert text.startswith(f", declared beforehand: {tables.METHODS['ours']}, low-resource mean;")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    cells, found = tables.pivot(own, "2", "map"), []
    assert [line[0] for line in lines[2:4]] == ["zero-shot teacher", "OPTICAL"]
    for rival in ("zero-shot", "optical"):
        a, b = ([cells[method][s] for s in ("sw", "mr")] for method in ("ours", rival))
        of = [1] if rival == "zero-shot" else [1, 2]                         # the seeds that both were measured with
        assert [r["seeds"] for r in a + b] == [[1, 2]] * 2 + [of] * 2
        sides = [[{(r["collection"], q): np.mean(v[:len(of)]) for q, *v in zip(r["per_query"], *(
            r.get("each_seed") or [r["per_query"].values()]))} for r in side] for side in (a, b)]
        seeds = [np.mean([[r.get("by_seed", [r["value"]])[s - 1] for r in side] for side in (a, b)], 1) for s in of]
        found.append(evaluate.t_test(*sides, [one - other for one, other in seeds]))
    for line, one, p in zip(lines[2:], found, evaluate.holm([one.p for one in found])):
        assert line[1:] == [f"{one.mean:+.3f}", f"{one.low:+.3f} to {one.high:+.3f}", f"{p:.3f}"]
    means = {m: np.mean([cells[m][s]["value"] for s in ("sw", "mr")]) for m in ("zero-shot", "optical", "ours", "english")}
    shares = [f"{means[m] / means['english']:.0%} ({tables.METHODS[m]})" for m in ("zero-shot", "optical", "ours")]
    assert f"\nOf the English queries' MAP low-resource ones reach {', '.join(shares)}.\n" in text
    assert "low-resource ones" not in tables.tables([row for row in own if row["method"] != "english"])
    assert "Primary" not in tables.tables([row for row in rows if row["method"] not in ("optical", "ours")])
    assert "Primary" not in tables.tables([row for row in rows if row.get("class") != "low"])


def test_a_variant_of_one_seed_is_compared_with_that_seed_of_the_row_that_it_changes():
    def row(table, method, *each):
        return {"table": table, "method": method, "lang": "sw", "measure": "map", "n_queries": 4, "signature": "map|nq:4|qrels:a",
                **tables.over_seeds(range(1, len(each) + 1), np.mean(each, 1)), "per_query": dict(zip("abcd", np.mean(each, 0))),
                **({"each_seed": each} if len(each) > 1 else {})}
    one, other, changed = [0.5, 0.7, 0.4, 0.8], [0.9, 0.9, 0.9, 0.9], [0.4, 0.5, 0.3, 0.7]
    text = tables.tables([row("2", "optical", one, other), row("3", "plan=ipot", changed)])
    assert "| OPTICAL | 0.750 ± 0.212 |" in text.split("## Table 3")[0]
    own = tables.tables([row("2", "optical", one), row("3", "plan=ipot", changed)])
    assert "| OPTICAL | 0.600 |" in own and text.split("## Table 3")[1] == own.split("## Table 3")[1]
    text = tables.tables([row("2", "optical", one, other), row("3", "plan=ipot", changed, other)])
    assert "| OPTICAL | 0.750 ± 0.212 |" in text.split("## Table 3")[1]


@pytest.mark.parametrize("shared", [True, False, "documents"])
def test_a_topic_that_several_sets_share_counts_once_in_their_mean(shared):
    gains = [0.3, 0.1, -0.1, 0.2, 0.0, 0.1, -0.05, 0.15]                    # t = 1.8 once, 3.8 four times
    rows = [{"table": "2", "method": method, "lang": lang, "measure": "map", "class": "low", "seeds": [1],
             "n_queries": 8, "value": float(np.mean(values)), "per_query": dict(zip("abcdefgh", values)),
             **({"collection": "clef" if shared else lang} if shared is not True else {}),
             "signature": f"map|nq:8|qrels:{'same' if shared is True else lang}|ties:docid-desc|missing:0|v:1"}
            for lang in ("sw", "so", "tl", "mr")
            for method, values in (("optical", [0.4 + gain for gain in gains]), ("mean", [0.4] * 8))]
    cells = tables.tables(rows).split("| distillation, sentence mean |")[1].splitlines()[0]
    assert cells == " 0.400 |" * 4 + (" 0.400 |" if shared else " 0.400† |")


def test_what_a_profile_leaves_out_is_absent(experiment):
    rows = tables.read_rows(experiment / "scores.json")
    text = tables.tables([row for row in rows if row.get("class") == "low" and row["table"] == "2"])
    assert not any(left_out in text for left_out in ("German", "gap |", "high mean |", "Table 1"))
    partial = tables.tables([row for row in rows if (row["method"], row["lang"]) != ("mean", "mr")])
    assert "| distillation, sentence mean |" in partial and "|  |" in partial
    assert "OPTICAL above late interaction on NMT" not in text
    others = [row for row in rows if row["method"] != "optical"]
    assert tables.tables(others).count("†") == 1                              # only in the caption
    assert tables.tables([]) == ""


def test_a_table_of_another_measure_has_its_mean_seeds_and_signatures():
    rows = [{"table": "10", "method": method, "lang": lang, "measure": "aer", "value": value, "seeds": [1],
             "n_queries": 7, "signature": "aer|pairs:7", "name": lang.upper()}
            for method, lang, value in [("optical", "sw", 0.25), ("optical", "so", 0.75), ("greedy", "so", 0.5)]]
    assert tables.tables(rows) == ("## Table 10: alignment error rate, lower is better (aer)\n\n"
                               "| method | SW | SO | mean |\n| --- | ---: | ---: | ---: |\n"
                               "| OPTICAL | 0.250 | 0.750 | 0.500 |\n"
                               "| distillation, greedy match |  | 0.500 |  |\n\nSeeds {1}.\n\nSignatures:\n"
                               "- sw: n 7, `aer|pairs:7`\n- so: n 7, `aer|pairs:7`\n")


def test_rows_of_several_seeds_become_one_with_mean_and_deviation(experiment, tmp_path):
    row = {"table": "10", "method": "optical", "lang": "sw", "measure": "aer", "n_queries": 7, "signature": ""}
    for seed, value in ((1, 0.2), (2, 0.4)):
        tables.write_rows(tmp_path / f"{seed}.json", [row | {"value": value, "seeds": [seed]}])
    rows = tables.score(experiment / "data", experiment / "runs",
                    extra=[tmp_path / "1.json", tmp_path / "2.json"])
    assert rows[-1] == row | {"value": 0.3, "seeds": [1, 2], "std": 0.141421, "by_seed": [0.2, 0.4]}


def test_a_study_stands_beside_the_rows_it_changes_and_only_the_ablation_is_tested(experiment, tmp_path):
    for variant in ("plan=ipot", "epsilon=0.5", "epsilon=0.05", "methods=mean,pairs=250"):
        source = "mean" if "mean" in variant else "zero-shot" if variant == "plan=ipot" else "optical"
        for name in ("sw", "mr"):
            target = tmp_path / variant.split("=")[0] / name / f"{variant}.s1.trec"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((experiment / "runs" / name / f"{source}.s1.trec").read_bytes())
    for folder in ("plan", "epsilon"):
        for path in (tmp_path / folder).rglob("*.trec"):
            target = tmp_path / "3" / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    studies = {"3": tmp_path / "3", "4": tmp_path / "methods"}
    text = tables.tables(tables.score(experiment / "data", experiment / "runs", studies=studies))
    three = text.split("## Table 3: ")[1].split("## Table 4: ")[0]
    names = [line.split("|")[1].strip() for line in three.splitlines() if line.startswith("|")][2:]
    assert names == ["OPTICAL", "epsilon=0.05", "epsilon=0.5", "plan=ipot"]      # numbers in their order
    assert "German" not in three.split("Signatures")[0]
    assert "Rows by name: as in table 2." in three
    worse = three.split("| plan=ipot |")[1].splitlines()[0].split("|")[:-1]
    assert all(cell.strip().endswith("†") for cell in worse)
    four = text.split("## Table 4: ")[1]
    assert "| distillation, sentence mean |" in four and "| methods=mean,pairs=250 |" in four
    assert "| OPTICAL |" not in four and "†" not in four and "Holm" not in four


def test_the_gain_over_translation_is_printed_beside_the_papers(experiment):
    rows = tables.read_rows(experiment / "scores.json")
    assert "13.7%" not in tables.tables(rows)
    renamed = [row | {"method": "nmt"} if row["method"] == "mean" else row for row in rows]
    low = [np.mean([row["value"] for row in renamed if row["method"] == method and row["measure"] == "map"
                    and row["lang"] in ("sw", "mr")]) for method in ("optical", "nmt")]
    gain = f"NMT, low resource: {low[0] / low[1] - 1:+.1%} (the paper, NMT: +13.7%)"
    assert tables.tables(renamed).count(gain) == 1


def test_costs_are_a_table_of_their_own():
    rows = [{"table": "11", "method": "optical", "lang": "all", "measure": measure, "value": value, "seeds": [],
             "n_queries": 3, "name": "cpu, 2 cores", "signature": ""}
            for measure, value in [("seconds", 12.345), ("tokens_per_s", 20123.0)]]
    text = tables.tables(rows)
    assert "| method | training, s | tokens/s |" in text and "| OPTICAL | 12.3 | 20,123.0 |" in text
    assert "Device: cpu, 2 cores." in text


def test_check_prints_ok_or_fail_and_fails_on_a_missing_number(experiment, tmp_path, capsys):
    scores, expected = str(experiment / "scores.json"), tmp_path / "expected.json"
    assert tables.main(["expect", scores, "--command", "bash run_all.sh", "--tolerance", "0.001", "--out",
                    str(expected)]) == 0
    wanted = json.loads(expected.read_text())
    assert len(wanted) == 15 + 12
    assert list(wanted[-1]) == ("name table method lang measure value seeds by_seed tolerance "
                                "command").split()
    assert tables.main(["check", scores, str(expected)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert all(text.startswith("ok ") for text in out[:-1]) and out[-1] == "27 ok, 0 FAIL"
    assert tables.main(["expect", scores, "--command", "x", "--tolerance", "1", "--repeats", scores, "--out", str(expected)]) == 0
    assert {row["tolerance"] for row in json.loads(expected.read_text())} == {0.0}
    for change in ({"value": wanted[-1]["value"] + 0.0011}, {"lang": "xx"}):
        expected.write_text(json.dumps([*wanted[:-1], wanted[-1] | change]))
        assert tables.main(["check", scores, str(expected)]) == 1
        assert capsys.readouterr().out.splitlines()[-2].startswith("FAIL table 2: ")


def _row(lang, value, seeds, by_seed=(), method="optical"):
    return {"table": "3", "method": method, "lang": lang, "measure": "map", "value": value, "seeds": seeds,
            **({"by_seed": list(by_seed)} if by_seed else {})}


def test_scores_of_some_seeds_are_checked_against_those_seeds():
    more = tables.expect([_row("sw", 0.2, [1])], "make")                     # and of more seeds, those expected
    for by_seed, good in [([0.2, 0.9], True), ([0.3, 0.1], False)]:
        assert tables.check([_row("sw", 0.55, [1, 2], by_seed)], more)[1] == (not good)
    old = [{key: value for key, value in more[0].items() if key not in ("seeds", "by_seed")}]
    assert tables.check([_row("sw", 0.2, [1])], old)[1] == 0
    wanted = tables.expect([_row("sw", 0.4, [1, 2, 3], [0.2, 0.3, 0.7]), _row("sw", 0.5, [1], method="bm25")], "make")
    for value, seeds, good in [(0.4, [1, 2, 3], True), (0.2, [1], True), (0.7, [3], True), (0.45, [2, 3], False),
                               (0.5, [2, 3], True), (0.5, [3, 2], True), (0.4, [1], False), (0.4, [4], True), (0.3, [1, 4], False)]:
        rows = [_row("sw", value, seeds, len(seeds) > 1 and [value] * len(seeds)), _row("sw", 0.5, [1], method="bm25")]
        lines, failures = tables.check(rows, wanted)
        assert failures == (not good) and lines[0].startswith("ok" if good else "FAIL"), (value, seeds)
    assert "= 0.3, expected 0.2 ± 0.0 from make" in lines[0]


def test_repeats_on_other_machines_measure_the_tolerance():
    rows = [_row("sw", 0.4, [1, 2], [0.35, 0.45]), _row("mr", 0.2, [1, 2], [0.1, 0.3]), _row("sw", 0.6, [1], method="bm25"),
            _row("sw", 0.7, [1], method="greedy")]
    repeats = [[_row("sw", 0.36, [1]), _row("mr", 0.09, [1]), _row("sw", 0.6, [1], method="bm25")],
               [_row("sw", 0.42, [1, 2], [0.35, 0.49])]]
    tolerance = {(row["method"], row["lang"]): row["tolerance"] for row in tables.expect(rows, "make", 0.03, repeats)}
    assert tolerance == {("optical", "sw"): 0.04, ("optical", "mr"): 0.04, ("bm25", "sw"): 0, ("greedy", "sw"): 0.03}
    assert {row["tolerance"] for row in tables.expect(rows, "make", 0.03)} == {0.03}


def test_bad_experiments_are_one_clear_line(experiment, tmp_path, capsys):
    def attempt(change):
        root = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        shutil.copytree(experiment, root)
        change(root)
        status = tables.main(["score", "--data", str(root / "data"), "--runs", str(root / "runs"), "--out",
                          str(root / "new.json")])
        err = capsys.readouterr().err
        assert status == 2 and not (root / "new.json").exists()
        assert err.count("\n") == 1 and err.startswith("error: ")
        return err

    def rewrite(name, old, new):
        return lambda root: (root / name).write_text((root / name).read_text().replace(old, new))

    assert "0 of its" in attempt(rewrite("data/docs.tsv", "d", "e"))
    err = attempt(rewrite("runs/sw/optical.s2.trec", "sw", "xx"))
    assert "optical.s2.trec has 30 topics such as 'xx0'" in err
    assert "qrels.txt has 30 topics such as 'sw0'" in err
    assert "mean.s1.trec: 0 of its 60 documents" in attempt(rewrite("runs/mr/mean.s1.trec", " d", " e"))
    assert "optical.s1.trec:1: 2 fields" in attempt(rewrite("runs/sw/optical.s1.trec", " Q0 d", " Q0\n"))
    assert "collection.json" in attempt(lambda root: (root / "data" / "collection.json").unlink())
    assert "no run; expected files" in attempt(lambda root: shutil.rmtree(root / "runs"))


def test_an_empty_run_scores_zero_and_says_so(experiment, tmp_path):
    shutil.copytree(experiment, tmp_path / "copy")
    (tmp_path / "copy" / "runs" / "sw" / "zero-shot.s1.trec").write_text("")
    rows = tables.score(tmp_path / "copy" / "data", tmp_path / "copy" / "runs")
    row = tables.pivot(rows, "2", "map")["zero-shot"]["sw"]
    assert row["value"] == 0 and "|missing:30|" in row["signature"]


def test_other_tables_list_settings_as_numbers_and_low_resource_languages_first():
    rows = [{"table": "7", "method": method, "lang": lang, "measure": "accuracy", "value": value, "n_queries": 4,
             "seeds": [1], "name": name, "class": kind, "signature": "accuracy|nq:4"}
            for method, value in (("share=0.5", 0.5), ("share=1", 0.25), ("share=0", 0.75))
            for lang, name, kind in (("de", "German", "high"), ("sw", "Swahili", "low"))]
    lines = tables.tables(rows).splitlines()
    assert lines[2] == "| method | Swahili | German | mean | low mean | high mean |"
    assert [line.split(" | ")[0] for line in lines[4:7]] == ["| share=0", "| share=0.5", "| share=1"]
    assert lines[5] == "| share=0.5 | 0.500 | 0.500 | 0.500 | 0.500 | 0.500 |"


def test_a_study_alone_has_its_runs_beside_those_of_the_methods(experiment, tmp_path):
    shutil.copytree(experiment / "runs", tmp_path / "runs")
    shutil.copytree(experiment / "runs" / "sw", tmp_path / "runs-3" / "sw")
    argv = ["score", "--data", experiment / "data", "--runs", tmp_path / "runs", "--root", tmp_path, "--out", tmp_path / "a.json",
            "--markdown", tmp_path / "a.md"]
    assert tables.main(list(map(str, argv))) == 0
    assert (tmp_path / "a.md").read_text() == tables.tables(tables.read_rows(tmp_path / "a.json"))
    rows = tables.read_rows(tmp_path / "a.json")
    assert {row["method"] for row in rows if row["table"] == "3"} == set(METHODS) and not any(row["table"] == "9" for row in rows)


@pytest.mark.parametrize("text, told", [("[1]", ": row 0 is not an object with table, method"), ("{}", ": not a list"),
                                        ("[" * 100_000, ":1: not JSON"), ("nonsense", ":1: not JSON")])
def test_scores_that_are_none_are_one_line(text, told, tmp_path, capsys):
    (tmp_path / "scores.json").write_text(text)
    assert tables.main(["tables", str(tmp_path / "scores.json"), "--out", str(tmp_path / "t")]) == 2
    err = capsys.readouterr().err
    assert f"scores.json{told}" in err and err.count("\n") == 1 and not (tmp_path / "t").exists()


# ---- what is published ----

def test_publishing_puts_a_run_into_results_and_between_the_marks_of_the_readme(tmp_path):
    out, mark = tmp_path / "out", "<!-- results -->"
    score = {"table": "2", "method": "optical", "lang": "sw", "measure": "map", "value": 0.5, "seeds": [1], "class": "low",
             "n_queries": 2, "signature": "map|nq:2|qrels:a|missing:0", "per_query": {"q": 0.5, "r": 0.5}}
    scores = [score, score | {"lang": "so", "value": 0.3, "per_query": {"q": 0.4, "r": 0.2}}]
    args = {"commit": "c0ffee", "dirty": False, "device": "cpu", "threads": 2, "versions": {},
            "args": {"bf16": False, "data_sha256": "ab"}}
    rate = {"chosen": 0.001, "dev_map": {"0.0003": 0.25, "0.001": 0.5}, "langs": ["sw"], "steps": 9}
    files = {"data/collection.json": {"profile": "mini", "langs": {"sw": {}, "so": {}}}, "scores.json": scores,
             "s1/plan.json": {"rows": ["a"], "columns": ["b"], "plan": [[1.0]]},
             "tune/lr.optical.json": {"method": "optical", **rate}, "tune/lr.mean.json": {"method": "mean", **rate, "langs": ["so"]},
             "tune-nmt/lr.nmt.json": {"method": "nmt", "chosen": 0.002, "dev_chrf": {"0.002": 50.0}, "langs": ["sw"]},
             "s1/teacher/done.json": {"steps": 7, "seconds": 1.5, "examples": 1200}, "s1/teacher/args.json": args,
             "s1/nmt/sw-en/done.json": {"model": "a/model", "dev_chrf": 50.0}, "s1/nmt/sw-en/args.json": args}
    texts = {path: json.dumps(value) for path, value in files.items()}
    stages = ("tune\t5\nteacher-s1\t3\nteacher-s1\t4\nteacher-s2\t10\nnmt-s2\t2\n"
              "distil-s1-sw\t10\ndistil-s1-so\t20\ndistil-s2-sw\t30\ndistil-s2-sw\t1\ndistil-s2-so\t40\nbm25-nmt-s1\t6\n"
              "pretrain-e5-small-s1\t9\n")
    for path, text in (texts | {"costs.json": "[]\n", "costs.md": "", "stages.tsv": stages}).items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text)
    (tmp_path / "README.md").write_text(f"before\n{mark}\n| old |\n<!-- end -->\nafter\n")
    argv = [sys.executable, "results/publish.py", str(out), "make it", "--into", str(tmp_path)]
    made = tmp_path / "results" / "mini"
    (made / "figures").mkdir(parents=True)
    (made / "figures" / "size.svg").write_text("of an earlier run")
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (made / "figures" / "size.svg").exists()
    assert (tmp_path / "README.md").read_text() == (
        f"before\n{mark}\n| method | [mini](results/mini/tables.md) |\n"
        "| --- | ---: |\n| OPTICAL | 0.400 |\n<!-- end -->\nafter\n")
    assert (made / "tables.md").read_text() == tables.tables(scores)
    assert tables.read_rows(made / "expected.json")[0]["command"] == "make it"
    environment = (made / "environment.txt").read_text()
    assert "c0ffee" in environment and "s1/teacher: 7 steps, 1.5 s, 1,200 examples" in environment
    assert "s1/nmt/sw-en: a/model, dev chrf 50.0000" in environment
    assert sorted(path.name for path in (made / "figures").iterdir()) == ["plan.svg", "plan.tsv"]
    assert (made / "stages.tsv").read_text() == (                            # 3 + 4, 10: 8 on average; 30, 31 + 40
        "languages\t2\ntune\t5\nteacher\t8\nnmt\t2\ndistil\t50\nbm25-nmt\t6\npretrain-e5-small\t9\n")
    rates = json.loads((made / "lr.json").read_text())
    assert rates["optical"] == rate and rates["mean"]["langs"] == ["so"] and rates["nmt"]["chosen"] == 0.002
    assert subprocess.run([*argv, "--part", "limits"], cwd=ROOT).returncode == 0
    assert (made / "limits.md").read_text() == tables.tables(scores) and tables.read_rows(made / "limits.json") == scores
    assert (made / "limits.txt").read_text() == environment
    (out / "data" / "collection.json").write_text('{"profile": "real", "langs": {}}')
    tables.write_rows(out / "scores.json", [row | {"method": method, "value": value} for row in scores
                                            for method, value in (("contrastive", 0.4), ("optical", 0.3))])
    assert subprocess.run(argv, cwd=ROOT).returncode == 0                    # a column more, and a row
    assert "| contrastive on bitext | 0.400 |  |\n| OPTICAL | 0.300 | 0.400 |\n" in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("no mark")
    assert subprocess.run(argv, cwd=ROOT, capture_output=True).returncode == 2
    assert not list((tmp_path / "results" / "real" / "figures").iterdir())      # its sentences are not ours to print
    (tmp_path / "README.md").write_text(f"{mark}\n<!-- end -->\n{mark}\n<!-- end -->\n")
    (out / "data" / "collection.json").write_text('{"profile": "mini", "langs": {}}')
    assert subprocess.run(argv, cwd=ROOT, capture_output=True).returncode == 2              # which one?


def of_seeds(method, lang, *each, first=1, measure="map", missing=0):
    """A row as `score` writes it: `each` has the values of its queries, a list a seed."""
    signature = f"{measure}|nq:{len(each[0])}|qrels:{lang}|ties:docid-desc|missing:{missing}|v:1"
    return {"table": "2", "method": method, "lang": lang, "measure": measure, "n_queries": len(each[0]), "signature": signature,
            **tables.over_seeds(range(first, first + len(each)), np.mean(each, 1)), "class": "low",
            "per_query": dict(zip("abcd", np.mean(each, 0).round(6).tolist())),
            **({"each_seed": [*map(list, each)]} if len(each) > 1 and measure == "map" else {})}


def test_runs_of_other_seeds_and_languages_join_as_if_they_had_been_one():
    each = np.random.default_rng(3).random((3, 4)).round(6)
    for measure in ("map", "recip_rank"):
        whole = [of_seeds("optical", "sw", *each, measure=measure, missing=2), of_seeds("bm25", "sw", each[0], measure=measure)]
        for parts in ([each[:1], each[1:]], [each[:2], each[2:]], [each[:1], each[1:2], each[2:]]):
            rows, first = [], 1
            for part in parts:
                own = of_seeds("optical", "sw", *part, first=first, measure=measure, missing=2 * (first == 1))
                rows, first = rows + [own, whole[1]], first + len(part)
            for order in (rows, rows[::-1]):
                found = {row["method"]: row for row in publish.merged(order)}
                assert found["bm25"] == whole[1] and found["optical"].keys() == whole[0].keys()
                for key, value in whole[0].items():          # a seed's values are rounded once, their mean twice
                    assert found["optical"][key] == (pytest.approx(value, abs=2e-6) if key in ("value", "std", "per_query", "by_seed")
                                                     else value), key
    other = of_seeds("optical", "so", each[0])
    assert publish.merged([*whole, other]) == [*whole, other]
    for bad in (of_seeds("bm25", "sw", each[1], measure=measure), of_seeds("optical", "sw", each[0], measure=measure),
                of_seeds("optical", "sw", each[0], first=4, measure=measure) | {"signature": "recip_rank|nq:4|qrels:other|missing:0"}):
        with pytest.raises(ValueError, match=f"two of table 2: {bad['method']}, sw, recip_rank: .* and {bad['value']}, seeds"):
            publish.merged([*whole, bad])


def test_a_run_that_is_added_keeps_what_is_published(tmp_path):
    """Of the first run stay rows, experiments, costs, rates and times; scores, tables, figures are of both."""
    each, argv, made = [[0.5, 0.7], [0.6, 0.2]], [], tmp_path / "results" / "real"
    (tmp_path / "README.md").write_text("<!-- results -->\n<!-- end -->\n")
    for name, rows, commit in (("one", [of_seeds("optical", "sw", each[0]), of_seeds("zero-shot", "sw", each[1])], "c0ffee"),
                               ("two", [of_seeds("optical", "sw", each[1], first=2), of_seeds("optical", "so", each[0])], "facade")):
        (tmp_path / name / "data").mkdir(parents=True)
        (tmp_path / name / "s1").mkdir()
        tables.write_rows(tmp_path / name / "scores.json", rows)
        for path, value in (("data/collection.json", {"profile": "real", "langs": {name: {}}}), ("costs.json", [name]),
                            ("s1/plan.json", {"rows": ["a"], "columns": ["b"], "plan": [[1.0]]}),
                            ("s1/done.json", {"steps": len(commit), "seconds": 2}),
                            ("s1/args.json", {"commit": commit, "dirty": False, "device": "cpu", "threads": 2, "versions": {}, "args": {}})):
            (tmp_path / name / path).write_text(json.dumps(value))
        (tmp_path / name / "costs.md").write_text(name)
        (tmp_path / name / "stages.tsv").write_text(f"tune\t{len(rows)}\n")
        argv = [str(tmp_path / name), f"make {name}", "--into", str(tmp_path)]
        publish.main(argv + ["--add"] * (name == "two"))
    rows = tables.read_rows(made / "scores.json")
    assert [(row["method"], row["lang"], row["seeds"]) for row in rows] == [
        ("optical", "sw", [1, 2]), ("zero-shot", "sw", [1]), ("optical", "so", [1])]
    assert rows[0]["value"] == pytest.approx(0.5) and rows[0]["each_seed"] == each
    assert (made / "tables.md").read_text() == tables.tables(rows) and (made / "costs.md").read_text() == "one"
    assert sorted(path.name for path in (made / "figures").iterdir()) == ["differences.svg", "differences.tsv"]
    environment = (made / "environment.txt").read_text()
    assert environment.index('commit: "c0ffee"') < environment.index("command: make two") < environment.index('commit: "facade"')
    assert {row["command"] for row in tables.read_rows(made / "expected.json")} == {"make one; make two"}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    tables.write_rows(tmp_path / "two" / "scores.json", [of_seeds("optical", "sw", [0.1, 0.1], first=2)])
    before[tmp_path / "two" / "scores.json"] = (tmp_path / "two" / "scores.json").read_bytes()
    for more, folder in ((["--add"], tmp_path), (["--add", "--part", "x"], tmp_path), (["--add"], tmp_path / "none")):
        with pytest.raises(SystemExit, match="2"):
            publish.main([*argv[:3], str(folder), *more])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

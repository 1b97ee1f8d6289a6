# SPDX-License-Identifier: MIT
"""study/sweeps.py: word alignment, answers, hybrid batches, sizes, costs."""
import doctest
import json
import shutil

import numpy as np
import pytest

import data
import evaluate
import optical
from conftest import command, make, options, refused, runs
from study import baselines, students, sweeps


@pytest.fixture(scope="module")
def teacher(work):
    return optical.Encoder.load(work / "teacher")


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def changed(folder, to, change):
    """The collection in `folder` with another manifest, which `change` makes of its own, as folder `to`."""
    manifest = read_json(folder / "collection.json")
    change(manifest)
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).symlink_to(path)
    (to / "collection.json").unlink()
    (to / "collection.json").write_text(json.dumps(manifest))
    return to


def test_the_docstrings_hold():
    assert doctest.testmod(sweeps).failed == 0 and doctest.testmod(students).failed == 0


# ---- alignment ---------------------------------------------------------------------------------------------

def test_word_links_by_hand():
    matrix = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.0]])
    assert optical.links(matrix, mutual=False) == [(0, 0), (0, 1), (0, 2)]
    assert optical.links(matrix, mutual=True) == [(0, 0)]
    assert optical.links(matrix, threshold=0.3) == [(0, 0), (0, 1)]
    values = np.array([[9.0, 9.0, 9.0], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])   # tokens; the first is no word's
    assert optical.word_matrix(values, [-1, 0, 0], [0, 0, 1], np.add).tolist() == [[12.0, 9.0]]
    assert optical.word_matrix(values, [-1, 0, 0], [0, 0, 1], np.maximum).tolist() == [[5.0, 6.0]]


def test_every_token_knows_its_word(teacher):
    text = "Mkulima aliuza  mbuzi jana"
    words = optical.word_of(teacher, text, 64)
    ids = teacher.tokens([text], "query", 64)[0]
    assert len(words) == len(ids) and words[0] == words[1] == words[-1] == -1
    for n, word in enumerate(text.split()):
        pieces = [ids[i] for i in range(len(ids)) if words[i] == n]
        assert teacher.tokenizer.decode(pieces).replace(" ", "") == word.lower()
    assert optical.word_of(teacher, text, 7) == [*words[:6], -1]


def test_the_plan_of_a_sentence_with_itself_links_every_word_to_itself(teacher):
    texts = "the farmer sold a goat", "goat", "who sold the goat of a farmer today"
    pairs = list(zip(texts, texts))
    plans = optical.plans_of(teacher, teacher, pairs, 0.01, 64, batch=2)
    for (text, _), (plan, cosine) in zip(pairs, plans):
        own = [(i, i) for i in range(len(text.split()))]
        assert optical.links(plan, True) == own == optical.links(cosine, True)
        assert plan.shape == cosine.shape == (len(own), len(own))
    assert 0.5 < plans[0][0].sum() < 1                             # the rest is on the markers


def test_align_writes_a_row_a_language_method_and_way_and_the_plan_of_a_pair(work, tmp_path):
    make("study.students", "train", *options(work), "--out", tmp_path / "s", "--runs", tmp_path / "runs",
         "--methods", "optical", "greedy", "--lr", "1e-3", "--save")
    argv = ["study.sweeps", "align", *options(work)[:4], "--students", tmp_path / "s", "--seed", 3]
    make(*argv, "--out", tmp_path / "rows.json", "--plan", tmp_path / "plan.json")
    rows = read_json(tmp_path / "rows.json")
    assert len(rows) == 7 * 2 and all(0 <= row["value"] <= 1 and row["seeds"] == [3] for row in rows)
    entry = data.language(work / "data", "sw")
    dev, train = (data.read_bitext(work / "data" / entry[part]) for part in ("dev", "train"))
    pairs, train = ([[baselines.indexed_words(text) for text in pair] for pair in some]
                    for some in (dev, train[:entry["pairs"]]))
    models = baselines.Model1([(x, e) for e, x in train]), baselines.Model1(train)
    gold = data.read_links(work / "data" / entry["dev_links"])
    want = baselines.aer([baselines.align(e, x, *models) for e, x in pairs], gold)
    found = {(row["method"], row["measure"]): row["value"] for row in rows}
    assert found["IBM Model 1", "aer, both ways"] == pytest.approx(want, abs=1e-6)
    plan = read_json(tmp_path / "plan.json")
    student = optical.Encoder.load(tmp_path / "s" / "sw" / "optical")
    (mass, _), = optical.plans_of(optical.Encoder.load(work / "teacher"), student, dev[:1], 0.05, 64)
    assert [plan["rows"], plan["columns"]] == [text.split() for text in dev[0]]
    assert np.array(plan["plan"]) == pytest.approx(mass, abs=1e-4)
    make(*argv, "--out", tmp_path / "rows.json", "--plan", tmp_path / "short.json", "--max-tokens", 6)
    short = read_json(tmp_path / "short.json")                              # the sentence is longer
    assert np.shape(short["plan"]) == (len(short["rows"]), len(short["columns"]))
    assert short["columns"] == plan["columns"][:len(short["columns"])] != plan["columns"]
    shutil.rmtree(tmp_path / "s" / "sw" / "greedy")                         # quick trains none
    make(*argv, "--out", tmp_path / "few.json")
    assert [row for row in rows if "greedy student" not in row["method"]] == read_json(tmp_path / "few.json")


# ---- answers -----------------------------------------------------------------------------------------------

def test_accuracy_and_f1_are_those_of_the_first_document(tmp_path):
    assert sweeps.token_f1("A cat, the dog", "the CAT") == pytest.approx(2 * 1 / 3)
    assert sweeps.token_f1("", "cat") == sweeps.token_f1("a", "the") == 0
    root = tmp_path / "data"
    (root / "t").mkdir(parents=True)
    (root / "docs.tsv").write_text("d1\tthe old farmer\nd2\tthe farmer\nd3\ta goat\n")
    (root / "t" / "q.tsv").write_text("q1\tx\nq2\tx\nq3\tx\nq4\tx\n")
    (root / "t" / "qrels").write_text("q1 0 d1 2\nq1 0 d3 1\nq2 0 d1 1\nq3 0 d3 1\nq4 0 d2 1\n")
    (root / "collection.json").write_text(json.dumps({
        "profile": "mini", "seed": 1, "version": 1, "docs": {"m": "docs.tsv"}, "langs": {},
        "tests": [{"set": "sw", "lang": "sw", "name": "Swahili", "class": "low", "docs": "m",
                   "queries": "t/q.tsv", "english": "t/q.tsv", "qrels": "t/qrels"}]}))
    # q1: right, of grade 2; q2: d2, "farmer" of "old farmer"; q3: a tie, the larger docid, right; q4: nothing
    evaluate.write_run(tmp_path / "runs" / "sw" / "share=1.s3.trec",
                       {"q1": {"d1": 2.0, "d3": 1.0}, "q2": {"d2": 2.0}, "q3": {"d1": 1.0, "d3": 1.0}}, "x")
    argv = ["study.sweeps", "answers", "--data", root, "--seed", 3, "--out", tmp_path / "rows.json"]
    make(*argv, "--runs", tmp_path / "runs")
    rows = {row["measure"]: row for row in read_json(tmp_path / "rows.json")}
    assert rows["accuracy"]["value"] == 0.5
    assert rows["F1"]["value"] == pytest.approx((1 + 2 / 3 + 1 + 0) / 4, abs=1e-6)
    assert rows["F1"]["method"] == "share=1" and rows["F1"]["seeds"] == [3] and rows["F1"]["n_queries"] == 4
    (tmp_path / "rows.json").unlink()
    refused(command(*argv, "--runs", tmp_path), "no run; expected files")
    assert not (tmp_path / "rows.json").exists()


# ---- hybrid batches ----------------------------------------------------------------------------------------

def hybrid(work, two, out, *more):
    return ["hybrid", "--data", two / "data", "--teacher", work / "teacher", "--out", out / "h", "--runs",
            out / "runs", "--cross", 0, 1, "--steps", 2, "--batch", 8, "--lr", "1e-3", *more]


def test_a_hybrid_batch_has_english_documents_at_its_share_and_no_relevant_negative(work, two, teacher):
    argv = hybrid(work, two, two, "--negatives", 2)
    lesson = sweeps.Hybrid(sweeps.parser().parse_args(list(map(str, argv))), ["sw", "de"], teacher)
    german = data.read_tsv(two / "data" / data.language(two / "data", "de")["parallel"]["docs"])
    docid = next(iter(german))
    assert lesson.docs["de", docid].tolist() == teacher.tokens([german[docid]], "doc")[0].tolist()
    english, n = [], 24
    for step in range(10):
        queries, docs, target, other = lesson.batch(range(n), step, 0.3)
        for i, (lang, qid) in enumerate(queries):
            side, docid = docs[target[i]]
            assert (qid, docid) == lesson.triples[i][:2] and side in ("en", lang)
            english.append(side == "en")
            for j, (_, document) in enumerate(docs):        # relevant in whatever language, its own apart
                assert bool(other[i, j]) == (document == docid and j != target[i])
    assert np.mean(english) == pytest.approx(0.3, abs=0.08)
    assert all(side == "en" for side, _ in lesson.batch(range(n), 0, 1.0)[1])
    queries, docs, target, other = lesson.batch(range(n), 0, 0.0)
    assert all(docs[target[i]][0] == lang for i, (lang, _) in enumerate(queries))
    q, d = teacher([lesson.queries[key] for key in queries]), teacher([lesson.docs[key] for key in docs])
    want = optical.ranking_loss(optical.maxsim(*q, *d), target, other)[0]
    assert lesson.loss(teacher, range(n), 0, 0.0)[0].item() == pytest.approx(want.item())


def test_hybrid_trains_each_share_once_and_searches_across_and_within_languages(work, two, tmp_path):
    argv = ["study.sweeps", *hybrid(work, two, tmp_path)]
    make(*argv)
    found, times = runs(tmp_path / "runs"), [path.stat().st_mtime_ns for path in tmp_path.rglob("*.trec")]
    names = [f"{test}/cross={share}.s1.trec" for test in ("de.monolingual", "sw") for share in (0, 1)]
    assert list(found) == names and len({found[name].replace(b"cross=0", b"cross=1") for name in names}) == 4
    assert not list((tmp_path / "h").rglob("vectors"))
    done = read_json(tmp_path / "h" / "cross=1" / "done.json")
    assert done["cross"] == 1 and done["steps"] == 2 and set(done["search_ms"]) == {"sw", "de.monolingual"}
    make(*argv)
    assert times == [path.stat().st_mtime_ns for path in tmp_path.rglob("*.trec")]
    alone = changed(two / "data", tmp_path / "data", lambda manifest: manifest["langs"]["de"].pop("parallel"))
    refused(command(*argv, "--data", alone, "--out", tmp_path / "x"), "no training documents in 'de'; leave")


# ---- sizes -------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def small(work, tmp_path_factory):
    """Folder of a smaller encoder with its teacher."""
    root = tmp_path_factory.mktemp("size-16x1")
    make("study.students", "pretrain", "--data", work / "data", "--out", root / "encoder", "--vocab", 800,
         "--hidden", 16, "--layers", 1, "--steps", 2, "--batch", 8)
    make("study.students", "teacher", "--data", work / "data", "--encoder", root / "encoder", "--out",
         root / "teacher", "--dim", 16, "--steps", 2, "--batch", 4)
    return root


def scale(work, two, out, *teachers, data=None):
    own = options(work, "--lr", "1e-3", "--langs", "sw", data=data or two / "data")
    return ["study.sweeps", "scale", *own, "--out", out / "s", "--runs", out / "runs", "--rows",
            out / "rows.json", "--teachers", *teachers]


def test_scale_trains_optical_with_teachers_of_each_size(work, two, small, tmp_path):
    teachers = [work / "teacher", small / "teacher"]
    make(*scale(work, two, tmp_path, *teachers))
    sizes = [sum(p.numel() for p in optical.Encoder.load(folder).parameters()) for folder in teachers]
    names = [f"params={n / 1e6:.2f}M" for n in sizes]
    assert set(runs(tmp_path / "runs")) == {
        f"sw/{name}{kind}.s1.trec" for name in names for kind in ("", ",english")}
    rows = {row["method"]: row for row in read_json(tmp_path / "rows.json")}
    n = len(data.read_bitext(two / "data" / data.language(two / "data", "sw")["dev"]))
    for name in names:
        found = read_json(tmp_path / "s" / name / "sw" / "done.json")
        assert rows[name]["value"] == round(found["dev_accuracy"], 6) and rows[name]["n_queries"] == n
    assert list((small / "vectors").glob("mini-*"))                                       # of its own teacher
    before = (tmp_path / "rows.json").read_bytes()
    (tmp_path / "rows.json").unlink()
    assert "dev map" not in make(*scale(work, two, tmp_path, *teachers))
    assert (tmp_path / "rows.json").read_bytes() == before
    refused(command(*scale(work, two, tmp_path / "x", *teachers[:1] * 2)), "two of params=.*; give one")
    refused(command(*scale(work, two, tmp_path / "y", tmp_path)), "no encoder there")


def test_retrieval_tasks_have_a_row_of_their_own_measure_for_each_size(work, two, tmp_path):
    tasks = {"sw.tatoeba": "accuracy, Tatoeba", "sw.lareqa": "mAP@20, LAReQA"}

    def change(manifest):
        manifest["retrieval"] = [manifest["tests"][0] | {"set": name, "lang": "sw", "measure": measure}
                                 for name, measure in tasks.items()]
    root = changed(work / "data", tmp_path / "data", change)
    make(*scale(work, two, tmp_path, work / "teacher", data=root))
    rows = {row["measure"]: row for row in read_json(tmp_path / "rows.json")}
    qrels = evaluate.read_qrels(root / data.load_manifest(root)["tests"][0]["qrels"])
    run, = (tmp_path / "runs" / "sw.lareqa").glob("*.trec")
    for measure, own in (("accuracy, Tatoeba", "success_1"), ("mAP@20, LAReQA", "map_cut_20")):
        values = evaluate.evaluate(qrels, evaluate.read_run(run), [own])[own].values()
        assert rows[measure]["value"] == pytest.approx(sum(values) / len(qrels), abs=1e-6)
        assert rows[measure]["n_queries"] == len(qrels) and rows[measure]["lang"] == "sw"


# ---- cost --------------------------------------------------------------------------------------------------

def test_costs_are_medians_over_what_was_trained_without_the_tuning(tmp_path):
    def experiment(folder, seconds=0.0, **done):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "done.json").write_text(json.dumps({"seconds": seconds, **done}))
        (tmp_path / folder / "args.json").write_text('{"device": "cpu, 2 cores"}')
        lines = [{"step": 0, "tokens_per_s": 1, "memory_gb": 0.5},
                 {"step": 9, "tokens_per_s": 100 * seconds, "memory_gb": 0.25}]
        (tmp_path / folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for n, seconds in enumerate((2.0, 8.0, 4.0)):
        experiment(f"s1/students/{n}/optical", seconds, method="optical", search_ms={"sw": 100.0 + n})
    experiment("tune/sw.optical.1", 99.0, method="optical")
    experiment("s1/nmt/sw-en", 7.0, dev_chrf=50.0)
    experiment("s1/teacher", 3.0, dev_map=0.5)
    experiment("s1/ablation/sw/plan=ipot", 55.0, method="optical")           # of another table
    experiment("s1/nmt/so-en", 1.0, model="a/model", dev_chrf=50.0)
    (tmp_path / "s1/nmt/so-en/train.jsonl").unlink()                     # pre-trained: nothing was trained
    experiment("s1/search")
    (tmp_path / "s1/search/done.json").write_text('{"zero-shot": {"search_ms": {"sw": 5.0, "de": 7.0}}}')
    argv = ["study.sweeps", "cost", "--data", "x", "--out", tmp_path / "c.json", "--root"]
    make(*argv, tmp_path)
    rows = {(row["method"], row["measure"]): row["value"] for row in read_json(tmp_path / "c.json")}
    want = {("optical", "search_ms_per_query"): 101.0, ("zero-shot", "search_ms_per_query"): 6.0}
    for name, took in (("optical", 4.0), ("NMT", 7.0), ("teacher", 3.0)):
        want |= {(name, "seconds"): took, (name, "tokens_per_s"): 100 * took, (name, "memory_gb"): 0.5}
    assert rows == want
    refused(command(*argv, tmp_path / "tune"), "no finished experiment; run bash run_all.sh first")

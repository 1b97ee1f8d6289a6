# SPDX-License-Identifier: MIT
"""study/students.py and study/experiment.py: objectives' settings, lessons, commands, kills, bad input."""
import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import data
import evaluate
import optical
import ot
from conftest import begin, command, make, options, refused, runs
from study import baselines, experiment, students


def arguments(work, *more, run="train", data=None):
    argv = [run, *options(work, "--lr", "1e-3", *more, data=data), "--out", "x"]
    args = students.arguments(students.parser(), list(map(str, argv + ["--runs", "x"] * (run == "train"))))
    args.bf16 = False
    return args


@pytest.fixture(scope="module")
def teacher(work):
    return optical.Encoder.load(work / "teacher")


def train(work, out, *more, methods=("optical", "mean")):
    argv = [*options(work, "--lr", "1e-3"), "--out", out / "students", "--runs", out / "runs", *more]
    return ["study.students", "train", *argv] + ["--methods", *methods] * bool(methods)


def read(path):
    return path.read_text() if path.exists() else ""


# ---- the ablation's losses ---------------------------------------------------------------------------------

def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    s, t = (F.normalize(torch.randn(2, n, 8, generator=generator), dim=-1) for n in (5, 4))
    masks = [torch.arange(n) < torch.tensor(lengths)[:, None] for n, lengths in ((5, [5, 2]), (4, [3, 4]))]
    return optical.Batch(s, masks[0], t, masks[1], torch.eye(2) > 0, np.arange(2), s[..., 0])


def loss_of(work, b, *more, bitext=None):
    return optical.optical_loss(b, **students.settings_of("optical", arguments(work, *more), bitext))


@pytest.mark.parametrize("plan", students.PLANS)
def test_every_plan_gives_the_loss_of_its_own_transport(work, plan):
    b = batch()
    C, p, q = ot.cosine_cost(b.teacher, b.student), *map(ot.uniform_marginal, (b.t_mask, b.s_mask))
    scaled = C / optical.spread(C, b.t_mask, b.s_mask)
    P = {"sinkhorn": lambda: ot.sinkhorn(scaled, p, q, 0.2), "unbalanced": lambda: ot.unbalanced(scaled, p, q, 0.2),
         "ipot": lambda: ot.ipot(scaled, p, q), "exact": lambda: ot.exact(scaled, p, q),
         "uniform": lambda: ot.uniform(C, p, q), "greedy": lambda: ot.greedy(C, p, q)}[plan]().plan
    loss, stats = loss_of(work, b, "--plan", plan, "--epsilon", 0.2)
    assert loss.item() == pytest.approx(float((P * C).sum((1, 2)).mean()), abs=1e-4)
    assert stats["plan_entropy"].item() == pytest.approx(float(ot.plan_entropy(P).mean()), abs=1e-3)


def test_between_unit_vectors_the_squared_euclidean_cost_is_twice_the_cosine_cost(work):
    one = loss_of(work, batch(), "--epsilon", 0.2)[0].item()
    two = loss_of(work, batch(), "--epsilon", 0.2, "--cost", "sqeuclidean")[0].item()
    assert two == pytest.approx(2 * one, rel=1e-3)


def test_weights_become_the_marginals_of_the_plan():
    b, generator = batch(), torch.Generator().manual_seed(3)
    weights = [torch.rand(mask.shape, generator=generator) + 0.1 for mask in (b.t_mask, b.s_mask)]
    loss, _ = optical.optical_loss(b, plan=students.PLANS["uniform"], weights=lambda _: weights)
    p, q = (w * mask / (w * mask).sum(1, keepdim=True) for w, mask in zip(weights, (b.t_mask, b.s_mask)))
    want = torch.einsum("bn,bm,bnm->b", p, q, ot.cosine_cost(b.teacher, b.student)).mean()
    assert loss.item() == pytest.approx(want.item(), abs=1e-5)


def test_idf_weighs_a_token_of_every_sentence_near_nothing_and_a_rare_one_most(work, teacher):
    bitext = students.bitext_of(arguments(work), "sw", teacher)
    b = bitext.batch(teacher, np.arange(6), 0, "query")
    sides = zip((bitext.english, bitext.rows), (b.t_mask, b.s_mask), students.idf(bitext)(b))
    for rows, mask, weights in sides:
        ids = optical.pad(rows[:6], "cpu")[0]
        df = {i: sum(i in row for row in rows) for i in ids[mask].tolist()}
        for token, weight in zip(ids[mask].tolist(), weights[mask].tolist()):
            assert weight == pytest.approx(np.log((len(rows) + 1) / (df[token] + 0.5)), rel=1e-5)
        assert (weights[:, 0] < 0.01).all() and (weights[:, 0] > 0).all() and (weights[~mask] == 0).all()


def test_norms_are_those_of_the_vectors_before_they_became_unit_vectors(work, teacher):
    bitext = students.bitext_of(arguments(work), "sw", teacher)
    b = bitext.batch(teacher, np.array([4, 1]), 0, "query")
    sides = zip((bitext.english, bitext.rows), (b.t_mask, b.s_mask), students.norms(bitext)(b))
    for rows, mask, got in sides:
        with torch.no_grad():
            want = teacher.project([rows[i] for i in (4, 1)])[0].norm(dim=-1)
        assert torch.allclose(got[mask], want[mask], rtol=1e-4)
    assert loss_of(work, b, "--marginals", "norm", bitext=bitext)[0].item() != loss_of(work, b)[0].item()


# ---- the student before its first step ---------------------------------------------------------------------

def test_a_student_may_start_bare_or_with_frozen_layers(work, teacher):
    layer = "backbone.encoder.layer.0.output.dense.weight"
    student = students.start(teacher, arguments(work, "--init", "bare"))
    bare = optical.Encoder.load(work / "encoder", 16)
    bare, student, taught = (encoder.state_dict()[layer] for encoder in (bare, student, teacher))
    assert torch.equal(student, bare) and not torch.equal(student, taught)
    student = students.start(teacher, arguments(work, "--layers", 1))
    optical.distil(teacher, [("a goat", "mbuzi")], steps=2, lr=1e-2, student=student)
    before, after = teacher.state_dict(), student.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all("layer.1." in name or name == "projection.weight" for name in moved)


def test_of_a_frozen_encoder_the_projection_alone_is_trained_and_the_rest_is_shared(work, tmp_path):
    make("study.students", "teacher", "--data", work / "data", "--encoder", work / "encoder", "--out",
         tmp_path / "teacher", "--dim", 16, "--steps", 3, "--batch", 4, "--freeze")
    before = load_file(work / "encoder" / "model.safetensors")
    kept = load_file(tmp_path / "teacher" / "model.safetensors")
    assert kept.keys() <= before.keys() and all(torch.equal(kept[k], before[k].bfloat16()) for k in kept)
    own = ("--teacher", tmp_path / "teacher", "--cache", tmp_path / "vectors")
    make(*train(work, tmp_path, *own, "--save", "--lr", "1e-2", methods=["optical"]))
    student = tmp_path / "students" / "sw" / "optical"
    assert all(torch.equal(value, kept[k]) for k, value in load_file(student / "model.safetensors").items())
    one, other = (optical.Encoder.load(path).projection.weight for path in (tmp_path / "teacher", student))
    assert one.dtype == torch.float32 and not torch.equal(one, other)


def test_an_augmented_student_meets_an_augmented_teacher(work, teacher, tmp_path):
    bitexts = {}
    students.train_one(tmp_path / "s", "sw", "optical", arguments(work, "--augment"), teacher, bitexts,
                       lambda student, part: student.save(part))
    (key, bitext), = bitexts.items()
    assert key == ("sw", True, 0, 64, 0.0) and {len(row) for row in bitext.rows} == {32} and not teacher.augment
    assert set(bitext.vectors("query").lengths) == {32} and optical.Encoder.load(tmp_path / "s").augment
    assert len({len(row) for row in students.bitext_of(arguments(work), "sw", teacher).rows}) > 1


# ---- what students learn from ------------------------------------------------------------------------------

def test_mixed_bitext_has_words_of_the_lexicon_in_the_source_sentence(work, teacher):
    bitext = students.bitext_of(arguments(work), "sw", teacher)
    lexicon, draw = baselines.read_lexicon(work / "lexicon" / "sw-en.txt"), random.Random("1/7")
    swahili = [bitext.pairs[i][1] for i in (2, 4)]
    texts = [baselines.code_switch(text, [lexicon], 0.5, draw) for text in swahili]
    for mix, read in ((0.5, texts), (1e-9, swahili)):
        args = arguments(work, "--lexicon", work / "lexicon", "--mix", mix)
        bitext.change = students.mixed(bitext, "sw", args)
        assert torch.equal(bitext.batch(teacher, [2, 4], 7, "query").student, teacher(read)[0])
    assert texts != swahili


def test_code_switched_questions_are_those_of_the_lexicon_and_anew_at_every_step(work, teacher):
    args = arguments(work, "--lexicon", work / "lexicon", "--switch", "0.5")
    source, index, seen = students.Questions("sw", "code-switch", teacher, args), [0, 5, 9], []

    class Spy:
        def tokens(self, texts, kind):
            seen.append(list(texts))
            return teacher.tokens(texts, kind)

        def __call__(self, rows):
            return teacher(rows)
    losses = [source.loss(Spy(), index, step)[0].item() for step in (0, 1, 0)]
    lexicon, draw = baselines.read_lexicon(work / "lexicon" / "en-sw.txt"), random.Random("1/0")
    draw.choices([0], [1.0], k=3)                                  # of the language, one here
    english = [source.queries[source.triples[i][0]] for i in index]
    assert seen[0] == [baselines.code_switch(text, [lexicon], 0.5, draw) for text in english] != english
    assert seen[0] == seen[2] != seen[1] and losses[0] == losses[2]
    few = students.Questions("sw", "code-switch", teacher, arguments(
        work, "--lexicon", work / "lexicon", "--lexicon-size", 5))
    assert few.lexicons == [({word: lexicon[word] for word in list(lexicon)[:5]}, 1.0)]


@pytest.mark.parametrize("most", [students.MANY, 5])      # of more documents the vectors are made in each step
def test_the_loss_of_questions_is_the_teachers_with_its_document_vectors_held(most, work, teacher, tmp_path, monkeypatch):
    """translate-train with the English queries as translations: the teacher's own loss at the same batch."""
    (tmp_path / "en-sw").mkdir()
    monkeypatch.setattr(students, "MANY", most)
    paths = data.load_manifest(work / "data")["train"]
    shutil.copy(work / "data" / paths["queries"], tmp_path / "en-sw" / "train.tsv")
    source = students.Questions("sw", "translate-train", teacher, arguments(
        work, "--translations", tmp_path, "--negatives", 2))
    index = [3, 0, 7, 12]
    loss, stats = source.loss(teacher, index, 4)
    docs = data.read_tsv(work / "data" / paths["docs"])
    triples = data.read_triples(work / "data" / paths["triples"])
    relevant = {}
    for qid, docid, _ in triples:
        relevant.setdefault(qid, set()).add(docid)
    names, target, other = optical.documents_of([triples[i] for i in index], relevant, 2,
                                                np.random.default_rng([1, 4]))
    with torch.no_grad():
        rows = [source.rows[triples[i][0]] for i in index]
        scores = optical.maxsim(*teacher(rows), *teacher([docs[d] for d in names], "doc"))
        want, _ = optical.ranking_loss(scores, target, other)
    assert loss.item() == pytest.approx(want.item(), abs=5e-3)         # stored vectors are on a grid
    assert loss.requires_grad and stats["tokens"] == sum(map(len, rows))


def test_titles_find_their_articles_and_without_any_wikiclir_alone_is_left_out(work, teacher, tmp_path):
    source = students.Questions("sw", "wikiclir", teacher, arguments(work))
    wiki = data.load_manifest(work / "data")["langs"]["sw"]["wiki"]
    titles, docs = (data.read_tsv(work / "data" / wiki[key]) for key in ("queries", "docs"))
    assert source.queries == titles and len(titles) == len(source.triples) == 20
    qid, docid, negatives = source.triples[5]
    assert list(docs)[source.place[docid]] == qid and negatives == []
    assert np.isfinite(source.loss(teacher, [0, 1, 2], 0)[0].item())
    other = shutil.copytree(work / "data", tmp_path / "data")
    manifest = json.loads((other / "collection.json").read_text())
    del manifest["langs"]["sw"]["wiki"]
    (other / "collection.json").write_text(json.dumps(manifest))
    said = make(*train(work, tmp_path, "--data", other, methods=["mean", "wikiclir"]))
    assert "  sw wikiclir: left out, no Wikipedia titles\n" in said
    assert list(runs(tmp_path / "runs")) == ["sw/mean.s1.trec"]
    argv = [*options(work, data=other), "--out", tmp_path / "t", "--lr", 1, "--methods", "wikiclir"]
    refused(command("study.students", "tune", *argv), "collection.json: no Wikipedia titles; leave WIKI out")


def test_the_rate_of_wikiclir_is_chosen_where_there_are_titles(work, tmp_path, monkeypatch):
    asked, titles = [], {"mr"}
    monkeypatch.setattr(students, "train_one", lambda folder, lang, method, own, *rest: asked.append(
        (lang, method, own.lr)) or {"dev": 0.5})
    monkeypatch.setattr(students, "titled", lambda args, lang: lang in titles)
    monkeypatch.setattr(students, "languages", lambda args: args.langs)
    monkeypatch.setattr(data, "load_manifest", lambda root: {"langs": {"de": {}, "mr": {}, "sw": {}}})
    args = arguments(work, "--langs", "sw", "de", "--methods", "wikiclir", "mean", run="tune")
    args.out, args.lr = tmp_path, [0.1]
    mean = [("sw", "mean", 0.1), ("de", "mean", 0.1)]
    students.tune(args)
    titles.add("de")
    students.tune(args)
    assert asked == [("mr", "wikiclir", 0.1), *mean, ("de", "wikiclir", 0.1), *mean]


def test_a_lexicon_comes_from_the_first_folder_that_has_it(work, tmp_path):
    (tmp_path / "en-sw.txt").write_text("goat mbuzi\nfish samaki\n")
    args = arguments(work, "--lexicon", tmp_path, work / "lexicon")
    assert students.read_lexicon(args, "en-sw.txt") == {"goat": {"mbuzi": 1.0}, "fish": {"samaki": 1.0}}
    assert students.read_lexicon(args, "en-sw.txt", 1) == {"goat": {"mbuzi": 1.0}}
    assert students.read_lexicon(args, "sw-en.txt") == baselines.read_lexicon(work / "lexicon" / "sw-en.txt")
    with pytest.raises(ValueError, match=f"no en-so.txt in {tmp_path} .*lexicon; study.baselines lexicon"):
        students.read_lexicon(args, "en-so.txt")
    with pytest.raises(ValueError, match="no en-sw.txt in no folder; study.baselines lexicon"):
        students.read_lexicon(arguments(work), "en-sw.txt")


# ---- several languages -------------------------------------------------------------------------------------

def both(work, two, *more):
    return arguments(work, "--lexicon", two / "lexicon", *more, data=two / "data")


def test_a_student_of_several_languages_learns_from_all_their_pairs(work, two, teacher):
    args = both(work, two, "--pairs", 30)
    pairs = {lang: students.bitext_of(args, lang, teacher).pairs for lang in ("sw", "de", "sw+de")}
    assert pairs["sw+de"] == pairs["sw"] + pairs["de"] and len(pairs["sw+de"]) == 60
    scores = students.dev_scores(teacher, teacher, "sw+de", args)
    assert 0 < scores["dev_accuracy"] <= scores["dev_map"] < 1
    args.langs = ["sw+xx"]
    with pytest.raises(ValueError, match="no language 'xx'"):
        experiment.languages(args)
    with pytest.raises(ValueError, match="translate-train trains a student of one language, not of sw.de"):
        students.Questions("sw+de", "translate-train", teacher, args)


def test_a_query_goes_into_a_poor_language_as_often_as_its_share_says(work, two, teacher, monkeypatch):
    lexicons = {lang: baselines.read_lexicon(two / "lexicon" / f"en-{lang}.txt") for lang in ("sw", "de")}
    used = []
    monkeypatch.setattr(baselines, "code_switch", lambda text, some, p, draw: used.append(some[0]) or text)
    for share, expected in ((0.25, 0.25), (0, 0), (1, 1), (-1, 0.5)):
        source = students.Questions("sw+de", "code-switch", teacher, both(work, two, "--share", share))
        used.clear()
        for step in range(12):
            source.loss(teacher, range(32), step)
        assert all(table in lexicons.values() for table in used)
        assert sum(table == lexicons["sw"] for table in used) / len(used) == pytest.approx(expected, abs=0.07)
    with pytest.raises(ValueError, match="--share 0.5 of sw: give low- and high-resource ones"):
        students.Questions("sw", "code-switch", teacher, both(work, two, "--share", 0.5))


# ---- ours --------------------------------------------------------------------------------------------------

def test_ours_is_optical_with_switched_questions_as_pairs_and_weights_part_way_back(work, teacher, tmp_path):
    lexicons = ["--lexicon", work / "lexicon"]
    make(*train(work, tmp_path, "--save", *lexicons, methods=("ours",)))
    done = json.loads((tmp_path / "students" / "sw" / "ours" / "done.json").read_text())
    args = json.loads((tmp_path / "students" / "sw" / "ours" / "args.json").read_text())["args"]
    assert {key: args[key] for key in students.OURS} == students.OURS and done["average"] in args["average"]
    assert done["dev"] == done["dev_switched"] > 0
    own = arguments(work, *lexicons, "--questions", "0.5")
    plain, bitext = (students.bitext_of(each, "sw", teacher) for each in (arguments(work), own))
    asked = data.read_tsv(work / "data" / data.load_manifest(work / "data")["train"]["queries"])
    assert bitext.pairs[:len(plain.pairs)] == plain.pairs
    extra = bitext.pairs[len(plain.pairs):]
    assert [english for english, _ in extra] == [q for q in asked.values()][:len(extra)] and len(extra) > 20
    assert 0 < sum(english == switched for english, switched in extra) < len(extra)
    tried = []
    student = students.start(teacher, own)
    for weight in student.parameters():
        weight.data += 1
    found = students.averaged(student, teacher, [0.0, 0.25, 0.5], lambda: tried.append(
        float((next(student.parameters()) - next(teacher.parameters())).detach().mean()))
        or {"dev": -abs(tried[-1] - 0.75)})
    assert found["average"] == 0.25 and tried == pytest.approx([1, 0.75, 0.5, 0.75], abs=1e-5)     # the last: kept
    assert torch.allclose(next(student.parameters()), next(teacher.parameters()) + 0.75, atol=1e-5)
    make(*train(work, tmp_path / "half", "--save", "--variants", "average=0.25", "average=0", methods=()))
    ends = [optical.Encoder.load(tmp_path / "half" / "students" / "sw" / f"average={share}").state_dict()
            for share in ("0.25", "0")]
    for name, before in teacher.state_dict().items():
        assert torch.allclose(ends[0][name], ends[1][name].lerp(before, 0.25), atol=1e-6)


# ---- tune, train, variants ---------------------------------------------------------------------------------

def test_tune_chooses_by_dev_and_its_students_are_those_that_train_takes(work, tmp_path):
    methods = ("optical", "mean")
    make("study.students", "tune", *options(work, "--save", "--methods", *methods), "--lr", "1e-4", "1e-2",
         "--steps", 2, 3, "--out", tmp_path / "tune")
    for method in methods:
        found = json.loads((tmp_path / "tune" / f"lr.{method}.json").read_text())
        assert list(found["dev"]) == ["0.0001 2", "0.01 2", f"{found['lr']:g} 3"]
        for unit, score in found["dev"].items():
            folder = tmp_path / "tune" / f"sw.{method}.{unit.replace(' ', '.')}.s1"
            assert score == json.loads((folder / "done.json").read_text())["dev_map"]
        assert found["dev"][f"{found['lr']:g} {found['steps']}"] == max(found["dev"].values())
    weights = []
    for out, more in (("kept", ["--tuned", tmp_path / "tune"]), ("anew", [])):
        said = make(*train(work, tmp_path / out, "--save", "--lr", 0, "--steps", 0, "--rates", tmp_path / "tune",
                           *more))
        assert ("dev map" in said) == (out == "anew")
        weights.append([(tmp_path / out / "students" / "sw" / method / "model.safetensors").read_bytes()
                        for method in methods])
    assert weights[0] == weights[1] and weights[0][0] != weights[0][1]
    assert len(runs(tmp_path / "kept")) == 2 and runs(tmp_path / "kept") == runs(tmp_path / "anew")
    for path in (tmp_path / "tune").glob("sw.mean.*/modules.json"):            # one without weights is not taken
        path.unlink()
    said = make(*train(work, tmp_path / "one", "--save", "optical", "--lr", 0, "--steps", 0, "--rates",
                       tmp_path / "tune", "--tuned", tmp_path / "tune"))
    assert re.findall(r"^  sw (\w+): dev map", said, re.M) == ["mean"] and runs(tmp_path / "one") == runs(tmp_path / "anew")
    assert [(tmp_path / "one" / "students" / "sw" / method / "model.safetensors").exists()
            for method in methods] == [True, False]                            # --save names one
    published = tmp_path / "published"
    published.mkdir()
    (published / "lr.json").write_text(json.dumps({
        "optical": json.loads((tmp_path / "tune" / "lr.optical.json").read_text())}))
    rates = [students.as_chosen(arguments(work, "--lr", 0, "--steps", 0, "--rates", folder), "optical")
             for folder in (published, tmp_path / "tune")]
    assert len({(args.lr, args.steps) for args in rates}) == 1
    with pytest.raises(ValueError, match=r"lr\.json: no rate and steps of mean"):
        students.as_chosen(arguments(work, "--lr", 0, "--steps", 0, "--rates", published), "mean")
    argv = train(work, tmp_path / "other", "--lr", "1e-2", "--batch", 4, "--tuned", tmp_path / "tune")
    refused(command(*argv), r"tune/sw\.optical\.0\.01\.2\.s1/args\.json: was made with batch=8, now it is 4")


def test_the_rate_then_the_steps_are_the_best_on_average_of_the_languages_of_equals_the_lowest():
    dev = {("sw", 1e-3, 4): 50, ("mr", 1e-3, 4): 40, ("sw", 2e-3, 4): 54, ("mr", 2e-3, 4): 20,
           ("sw", 1e-3, 9): 30, ("mr", 1e-3, 9): 60}
    found = students.choose("nmt", ["sw", "mr"], [2e-3, 1e-3], [9, 4], lambda lang, lr, n: dev.get((lang, lr, n), 0))
    assert found["lr"] == 1e-3 and found["steps"] == 4 and found["dev"]["0.001 9"] == 45
    found = students.choose("nmt", ["sw", "mr"], [2e-3, 1e-3], [4, 9], lambda *unit: dev.get(unit, 0))
    assert found == {"method": "nmt", "lr": 1e-3, "steps": 4, "langs": ["sw", "mr"],
                     "dev": {"0.002 4": 37, "0.001 4": 45, "0.001 9": 45}}


def test_variants_train_and_search_once_and_equal_a_training_with_those_options(work, tmp_path):
    names = ["epsilon=0.5", "plan=uniform,marginals=idf", "methods=mean,pairs=20", "augment", "max-tokens=10"]
    argv = train(work, tmp_path, "--variants", *names, methods=())
    make(*argv)
    before = runs(tmp_path / "runs")
    assert list(before) == sorted(f"sw/{name}.s1.trec" for name in names)
    folders = [tmp_path / "students" / "sw" / name for name in names]
    args = [json.loads((folder / "args.json").read_text())["args"] for folder in folders]
    assert {own["bf16"] for own in args} <= {True, False}
    assert args[0]["epsilon"] == 0.5 and (args[0]["plan"], args[1]["plan"]) == ("sinkhorn", "uniform")
    assert args[1]["marginals"] == "idf" and args[2]["method"] == "mean"
    assert args[2]["pairs"] == json.loads((folders[2] / "done.json").read_text())["examples"] == 20
    times = [path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.trec")]
    assert "dev map" not in make(*argv)
    assert times == [path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.trec")]
    make(*train(work, tmp_path / "plain", "--epsilon", 0.5, methods=["optical"]))
    assert evaluate.read_run(tmp_path / "plain/runs/sw/optical.s1.trec") == \
        evaluate.read_run(tmp_path / "runs/sw/epsilon=0.5.s1.trec")
    assert not (folders[0] / "model.safetensors").exists()                              # without --save


def test_more_pairs_than_a_language_has_that_fit_are_left_out(work, teacher, tmp_path):
    every = students.bitext_of(arguments(work, "--pairs", 10_000), "sw", teacher)
    longest = np.maximum(every.lengths, list(map(len, every.english)))
    limit = int(np.median(longest))
    short = [pair for pair, n in zip(every.pairs, longest) if n <= limit]
    cut = students.bitext_of(arguments(work, "--pairs", 20, "--max-tokens", limit), "sw", teacher)
    assert cut.pairs == short[:20] != every.pairs[:20]
    some, more = f"pairs={len(short)}", f"pairs={len(short) + 1}"
    said = make(*train(work, tmp_path, "--max-tokens", limit, "--variants", some, more, methods=()))
    assert f"  sw {more}: left out, fewer pairs that fit\n" in said
    assert list(runs(tmp_path / "runs")) == [f"sw/{some}.s1.trec"]


def test_a_setting_that_is_none_is_one_line_and_trains_nothing(work, tmp_path):
    for variant, message in (("plan=magic", "invalid choice: 'magic'"), ("colour=red", "unrecognized argum"),
                             ("epsilon=much", "invalid float value: 'much'")):
        refused(command(*train(work, tmp_path, "--variants", "epsilon=0.3", variant, methods=())), message)
    refused(command(*train(work, tmp_path, "--langs", "xx")), "no language 'xx'")
    refused(command(*train(work, tmp_path, "--lr", 0)), "--lr")
    assert not list(tmp_path.iterdir())
    manifest = json.loads((work / "data" / "collection.json").read_text()) | {"tests": []}
    (tmp_path / "collection.json").write_text(json.dumps(manifest))
    refused(command(*train(work, tmp_path, "--data", tmp_path)), "no test set in 'sw'")
    assert not (tmp_path / "students").exists()


# ---- experiments -------------------------------------------------------------------------------------------

def test_a_training_that_is_killed_resumes_and_ends_in_the_same_runs(work, tmp_path):
    more = ["--steps", 100, "--save", "--save-every-s", 0]
    whole, argv = (train(work, tmp_path / out, *more, methods=["optical"]) for out in "ab")
    make(*whole)
    part = tmp_path / "b/students/sw/optical.part"
    for told, status, lines in ((signal.SIGKILL, -9, 3), (signal.SIGINT, 130, 6)):
        process, deadline = begin(tmp_path, *argv), time.monotonic() + 60
        while time.monotonic() < deadline and read(part / "train.jsonl").count("\n") < lines:
            time.sleep(0.01)
        os.kill(process.pid, told)
        process.join(20)
        assert process.exitcode == status and (part / "checkpoint.pt").exists()
    assert read(tmp_path / "stderr") == "error: stopped; the same command goes on from here\n"
    assert "resumed at step" in make(*argv)
    assert runs(tmp_path / "a") == runs(tmp_path / "b") and len(runs(tmp_path / "a")) == 1
    weights = [(tmp_path / name / "students/sw/optical/model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_a_finished_unit_is_not_trained_again_and_other_arguments_are_refused(work, tmp_path):
    make(*train(work, tmp_path, "--save"))
    folder = tmp_path / "students" / "sw" / "optical"
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert "dev map" not in make(*train(work, tmp_path, "--save"))
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    refused(command(*train(work, tmp_path, "--save", "--steps", 3)),
            r"args\.json: was made with steps=2, now it is 3; delete .* or choose another OUT$")


def test_several_gpus_share_a_folder_and_other_devices_do_not(work, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    own = {"data": str(work / "data")}
    one, two, cpu = (argparse.Namespace(device=name, **own) for name in ("cuda:0", "cuda:1", "cpu"))
    part = experiment.open_experiment(tmp_path / "x", one)
    (part / "checkpoint.pt").touch()
    assert experiment.open_experiment(tmp_path / "x", two) == part
    with pytest.raises(ValueError, match="was made with device='cuda', now it is 'cpu'"):
        experiment.open_experiment(tmp_path / "x", cpu)


def test_a_student_keeps_args_log_and_costs_and_only_the_query_encoder_differs(work, tmp_path):
    """It starts as the teacher: at learning rate 0 it still is the teacher, token for token."""
    make(*train(work, tmp_path, "--save", "--lr", "1e-30", methods=["optical"]))
    make("study.students", "search", *options(work)[:6], "--runs", tmp_path / "runs", "--out", tmp_path / "s")
    folder = tmp_path / "students" / "sw" / "optical"
    args = json.loads((folder / "args.json").read_text())
    assert {"argv", "args", "commit", "dirty", "versions", "device", "threads"} <= set(args)
    line = json.loads((folder / "train.jsonl").read_text().splitlines()[0])
    assert {"step", "loss", "plan_entropy", "marginal_error", "lr", "grad_norm", "tokens_per_s",
            "memory_gb", "seconds"} <= set(line)
    assert 0 < line["marginal_error"] < 0.1 and 0 < line["loss"] < 2
    done = json.loads((folder / "done.json").read_text())
    assert done["steps"] == 2 and done["lr"] == 1e-30 and done["search_ms"]["sw"] > 0 and done["seconds"] >= 0
    assert not (folder / "checkpoint.pt").exists()
    teacher, student = (optical.Encoder.load(path) for path in (work / "teacher", folder))
    with torch.no_grad():
        vectors = [encoder(["mkulima aliuza mbuzi"])[0] for encoder in (teacher, student)]
    assert torch.allclose(*vectors, atol=1e-6)
    found = [evaluate.read_run(tmp_path / f"runs/sw/{name}.s1.trec") for name in ("optical", "zero-shot")]
    assert found[0] == found[1]


# ---- bad input, no room, no memory -------------------------------------------------------------------------

BAD_INPUT = {       # what becomes of a file or folder, and the message
    "no data folder": ("data", None, r"collection\.json"),
    "a corpus that is gone": ("data/docs/mini.tsv", None, r"docs/mini\.tsv"),
    "an empty corpus": ("data/docs/mini.tsv", b"", r"docs/mini\.tsv.*(empty|no )"),
    "a corpus line without a tab": ("data/docs/mini.tsv", b"d1\tx\nd2 y\n", r"mini\.tsv:2"),
    "a byte that is not UTF-8": ("data/docs/mini.tsv", b"d1\tx\nd2\t\xff\n", r"mini\.tsv:2"),
    "queries twice": ("data/test/sw/queries.tsv", b"q\ta\nq\tb\n", r"queries\.tsv:2"),
    "bitext with a missing side": ("data/bitext/sw.train.tsv", b"a\tb\nx\n", r"sw\.train\.tsv:2"),
    "a teacher that is gone": ("teacher", None, "teacher: no encoder there"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_that_names_the_file_exit_2_and_no_run(case, work, tmp_path):
    shutil.copytree(work, tmp_path / "w", ignore=shutil.ignore_patterns("vectors"))
    name, content, message = BAD_INPUT[case]
    os.rename(tmp_path / "w" / name, tmp_path / "away")
    if content is not None:
        (tmp_path / "w" / name).write_bytes(content)
    refused(command(*train(tmp_path / "w", tmp_path, methods=["mean"])), message)
    assert not runs(tmp_path)


def test_a_loss_that_is_nan_stops_the_training_and_leaves_no_student(work, tmp_path):
    refused(command(*train(work, tmp_path, "--epsilon", "nan")), "epsilon.* nan")
    for method in ("optical", "mean"):
        argv = train(work, tmp_path, "--log-every", 1, "--steps", 9, "--lr", "inf", methods=[method])
        refused(command(*argv), rf"train\.jsonl: the loss of {method} is nan .* lower the learning rate")
    assert not list(tmp_path.glob("students/sw/*[!.part]")) and not runs(tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB."""
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", tmp_path / "disk"]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system here")
    yield tmp_path / "disk"
    subprocess.run(["umount", "-l", tmp_path / "disk"], check=True)


@pytest.mark.parametrize("what, room", [("out", 100_000), ("out", 40_000), ("cache", 0), ("runs", 0)])
def test_a_full_disk_is_one_line_and_nothing_half_written_is_kept(work, small_disk, tmp_path, what, room):
    (small_disk / "filler").write_bytes(b"x" * (300_000 - room))
    argv = train(work, tmp_path, "--save", "--save-every-s", 0, "--log-every", 1, "--steps", 9)
    refused(command(*argv, f"--{what}", small_disk / "new"), "No space left on device")
    kept = [str(path) for path in small_disk.rglob("*") if path.is_file()]
    assert all(re.search(r"\.part/|\.tmp(/|$)|filler", path) for path in kept)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    refused(command(*argv, f"--{what}", small_disk / "other"), "Read-only file system")


def test_memory_that_runs_out_is_told_from_other_errors(capsys):
    def end(error):
        def run(args):
            raise error
        args = argparse.Namespace(run=run, threads=0, seed=1, precision="float32", device="cpu")
        return experiment.run_command(args), capsys.readouterr().err
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 50)
    for given, first in ((error.value, r".*you tried to allocate.*"), (MemoryError(), "MemoryError"),
                         (torch.OutOfMemoryError("CUDA out of memory.\nmore"), r"CUDA out of memory\.")):
        status, said = end(given)
        assert status == 2 and re.fullmatch(
            rf"error: out of memory \({first}\); lower --batch or JOBS, or raise --accumulate\n", said)
    assert end(OSError(28, "No space left on device")) == (2, "error: [Errno 28] No space left on device\n")
    with pytest.raises(RuntimeError, match="shapes do not match"):
        end(RuntimeError("shapes do not match"))

"""studies.py and the supervised baselines of optical.py: sweeps, alignment, cost, questions in two tongues."""
import argparse
import doctest
import json
import random
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import baselines
import data
import evaluate
import optical
import ot
import report
import studies
from conftest import command


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Smoke data of Swahili, encoder, teacher and lexicon."""
    root = tmp_path_factory.mktemp("studies")
    for argv in (["data.py", "prepare", "mini", "--smoke", "--langs", "sw", "--out", root / "data"],
                 ["baselines.py", "lexicon", "--data", root / "data", "--out", root / "lexicon"],
                 ["optical.py", "pretrain", "--data", root / "data", "--out", root / "encoder", "--vocab", 800,
                  "--hidden", 32, "--layers", 2, "--steps", 3, "--batch", 16],
                 ["optical.py", "teacher", "--data", root / "data", "--encoder", root / "encoder", "--out",
                  root / "teacher", "--dim", 16, "--steps", 3, "--batch", 4]):
        done = command(*argv)
        assert done.returncode == 0, done.stderr
    return root


def arguments(work, *more, run="distil"):
    base = [run, "--data", work / "data", "--teacher", work / "teacher", "--cache", work / "vectors", "--out", "x",
            "--lr", "1e-3", "--steps", 2, "--batch", 8, "--device", "cpu"]
    args = optical.parser().parse_args([*map(str, base), *map(str, more)])
    args.bf16 = False
    return args


# ------------------------------------------------------------------------------- the ablation's losses

def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    vectors = [torch.nn.functional.normalize(torch.randn(2, n, 8, generator=generator), dim=-1) for n in (5, 4)]
    masks = [torch.arange(n) < torch.tensor(lengths)[:, None] for n, lengths in ((5, [5, 2]), (4, [3, 4]))]
    return vectors[0], masks[0], vectors[1], masks[1]


@pytest.mark.parametrize("plan", optical.PLANS)
def test_every_plan_gives_the_loss_of_its_own_transport(plan):
    s, s_mask, t, t_mask = pair()
    C, a, b = ot.cosine_cost(t, s), ot.uniform_marginal(t_mask), ot.uniform_marginal(s_mask)
    P = {"sinkhorn": lambda: ot.sinkhorn(C, a, b, 0.2), "unbalanced": lambda: ot.unbalanced(C, a, b, 0.2),
         "ipot": lambda: ot.ipot(C, a, b), "exact": lambda: ot.exact(C, a, b),
         "uniform": lambda: ot.uniform(C, a, b), "greedy": lambda: ot.greedy(C, a, b)}[plan]().plan
    loss, stats = optical.optical_loss(s, s_mask, t, t_mask, 0.2, plan)
    assert loss.item() == pytest.approx(float((P * C).sum((1, 2)).mean()), abs=1e-4)
    assert stats["plan_entropy"] == pytest.approx(float(ot.plan_entropy(P).mean()), abs=1e-3)


def test_between_unit_vectors_the_squared_euclidean_cost_is_twice_the_cosine_cost_at_half_epsilon():
    one = optical.optical_loss(*pair(), epsilon=0.1)[0].item()
    two = optical.optical_loss(*pair(), epsilon=0.2, cost="sqeuclidean")[0].item()
    assert two == pytest.approx(2 * one, rel=1e-3)


def test_weights_become_the_marginals_of_the_plan():
    s, s_mask, t, t_mask = pair()
    weights = torch.rand(s_mask.shape, generator=torch.Generator().manual_seed(3)) + 0.1
    loss, _ = optical.optical_loss(s, s_mask, t, t_mask, plan="uniform", s_weights=weights)
    b = weights * s_mask / (weights * s_mask).sum(1, keepdim=True)
    a = t_mask / t_mask.sum(1, keepdim=True)
    want = torch.einsum("bn,bm,bnm->b", a, b, ot.cosine_cost(t, s)).mean()
    assert loss.item() == pytest.approx(want.item(), abs=1e-5)


def test_idf_weighs_a_token_of_every_sentence_near_nothing_and_a_rare_one_most(work):
    args = arguments(work)
    teacher = optical.load_teacher(args)
    bitext = optical.Bitext(args.data, "sw", teacher, args.cache)
    ids, mask = teacher.pad([bitext.rows[i] for i in range(6)])
    weights = bitext.idf("source", range(6), mask)
    df = {i: sum(i in row for row in bitext.rows) for i in ids[mask].tolist()}
    for token, weight in zip(ids[mask].tolist(), weights[mask].tolist()):
        assert weight == pytest.approx(np.log((len(bitext.rows) + 1) / (df[token] + 0.5)), rel=1e-5)
    assert (weights[:, 0] < 0.01).all() and (weights[:, 0] > 0).all() and (weights[~mask] == 0).all()


def test_norms_beside_the_vectors_are_those_before_they_became_unit_vectors(work):
    args = arguments(work)
    teacher = optical.load_teacher(args)
    bitext = optical.Bitext(args.data, "sw", teacher, args.cache)
    rows = [bitext.english_rows[i] for i in (4, 1)]
    ids, mask = teacher.pad(rows)
    with torch.no_grad():
        want = teacher.project(ids, mask).norm(dim=-1)
    got = bitext.vectors("query").token_norms([4, 1], mask)
    assert torch.allclose(got[mask], want[mask], rtol=1e-4) and (got[~mask] == 0).all()


def test_a_student_may_start_bare_or_with_frozen_layers(work, tmp_path):
    args = arguments(work, "--init", "bare")
    teacher = optical.load_teacher(args)
    bare = optical.Encoder.load(work / "encoder", 16)
    student = optical.start_student(teacher, args)
    layer = "encoder.layer.0.output.dense.weight"
    assert torch.equal(student.backbone.state_dict()[layer], bare.backbone.state_dict()[layer])
    assert not torch.equal(student.backbone.state_dict()[layer], teacher.backbone.state_dict()[layer])
    args = arguments(work, "--layers", 1)
    bitext = optical.Bitext(args.data, "sw", teacher, args.cache)
    student, _ = optical.distil_one(bitext, "sw", "optical", 1e-2, teacher, tmp_path, args)
    before, after = teacher.state_dict(), student.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all("layer.1." in name or name == "projection.weight" for name in moved)


def test_teachers_and_students_are_compiled_where_asked(work, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(optical.Encoder, "compile_training", lambda encoder: compiled.append(encoder))
    for asked in ((), ("--compile",)):
        args = arguments(work, *asked)
        teacher = optical.load_teacher(args)
        bitext = optical.Bitext(args.data, "sw", teacher, args.cache)
        folder = tmp_path / str(len(asked))
        folder.mkdir()
        student, _ = optical.distil_one(bitext, "sw", "optical", 1e-3, teacher, folder, args)
        assert compiled == [student] * len(asked)
        compiled.clear()
        argv = ["teacher", "--data", work / "data", "--encoder", work / "encoder", "--out", folder / "teacher",
                "--dim", 16, "--steps", 2, "--batch", 4, "--device", "cpu", *asked]
        assert optical.main([str(arg) for arg in argv]) == 0 and len(compiled) == len(asked)
        compiled.clear()


def test_of_a_frozen_encoder_teacher_and_student_train_the_projection_alone_and_share_the_rest(work, tmp_path):
    own = ["--data", work / "data", "--seed", 1]
    done = command("optical.py", "teacher", *own, "--encoder", work / "encoder", "--out", tmp_path / "teacher",
                   "--dim", 16, "--steps", 3, "--batch", 4, "--freeze")
    assert done.returncode == 0, done.stderr
    n = sum(p.numel() for p in optical.Encoder.load(work / "encoder").backbone.parameters())
    said = re.search(r"encoder: ([\d.]+) M parameters, frozen; training takes at least (\S+) GB, a student (\S+)",
                     done.stdout)
    assert abs(float(said[1]) - n / 1e6) <= 0.1 and said[2] == said[3] == f"{2 * n / 1e9:.2f}"
    before, kept = load_file(work / "encoder" / "model.safetensors"), load_file(tmp_path / "teacher/model.safetensors")
    assert kept.keys() <= before.keys() and all(torch.equal(kept[k], before[k].bfloat16()) for k in kept)

    common = [*own, "--teacher", tmp_path / "teacher", "--cache", tmp_path / "vectors"]
    done = command("optical.py", "distil", *common, "--out", tmp_path / "s", "--methods", "optical", "--lr", "1e-2",
                   "--steps", 2, "--batch", 8)
    assert done.returncode == 0, done.stderr
    student = tmp_path / "s" / "sw" / "optical"
    assert all(torch.equal(value, kept[k]) for k, value in load_file(student / "model.safetensors").items())
    one, other = (load_file(folder / "1_Dense" / "model.safetensors")["linear.weight"]
                  for folder in (tmp_path / "teacher", student))
    assert one.dtype == torch.float32 and not torch.equal(one, other)
    done = command("optical.py", "search", *common, "--students", tmp_path / "s", "--out", tmp_path / "r",
                   "--methods", "optical", "english")
    assert done.returncode == 0 and len(list((tmp_path / "r" / "sw").glob("*.trec"))) == 2, done.stderr

    teacher = optical.Encoder.load(tmp_path / "teacher").train()
    assert teacher.frozen and not teacher.backbone.training
    args = arguments(work)
    copy = optical.start_student(teacher, args)
    assert copy.backbone is teacher.backbone and copy.projection is not teacher.projection
    ids, mask = copy.pad(copy.tokens(["mbuzi", "a goat"], "query"))
    copy(ids, mask).sum().backward()
    assert copy.projection.weight.grad is not None and all(p.grad is None for p in copy.backbone.parameters())
    with pytest.raises(ValueError, match="--layers 1: the backbone of .* is frozen; leave it out"):
        optical.start_student(teacher, arguments(work, "--layers", 1))


def test_the_memory_of_training_is_counted_from_the_config_alone(work, tmp_path):
    shutil.copy(work / "encoder" / "config.json", tmp_path)                          # no weights there
    n, teacher, student = optical.training_memory(tmp_path, freeze=False)
    assert n >= sum(p.numel() for p in optical.Encoder.load(work / "encoder").backbone.parameters())
    assert (teacher, student) == (pytest.approx(n * 16 / 1e9), pytest.approx(n * 20 / 1e9))
    with pytest.raises(ValueError, match="no encoder can be loaded from there"):
        optical.training_memory(tmp_path / "nowhere", freeze=True)


def test_a_checkpoint_holds_what_is_trained_and_no_more(work, tmp_path):
    args = arguments(work, "--layers", 1)
    student = optical.start_student(optical.load_teacher(args), args)
    ids, mask = student.pad(student.tokens(["mbuzi"], "query"))
    batches = [np.array([0])] * 30

    def loss(index, step):
        return student(ids, mask).sum(), {"tokens": 1}
    saved = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optical, "save_checkpoint", lambda path, state: saved.append(state))
        optical.fit(student, batches, loss, tmp_path, 1e-3, save_every_s=0)
    assert saved and all("layer.1." in name or name == "projection.weight" for name in saved[0]["model"])


def test_an_augmented_student_meets_an_augmented_teacher(work):
    args = arguments(work, "--augment")
    teacher = optical.load_teacher(args)
    source, bitext = optical.lesson("optical", "sw", teacher, {}, args)
    assert source is bitext and {len(row) for row in bitext.rows} == {32} and not teacher.augment
    assert set(bitext.vectors("query").lengths) == {32} and bitext.cache.name == "sw-augmented"
    plain, _ = optical.lesson("optical", "sw", teacher, {}, arguments(work))
    assert len({len(row) for row in plain.rows}) > 1


def test_mixed_bitext_has_words_of_the_lexicon_in_the_source_sentence(work):
    args = arguments(work, "--lexicon", work / "lexicon", "--mix", "0.5")
    teacher = optical.load_teacher(args)
    source, _ = optical.lesson("optical", "sw", teacher, {}, args)
    seen = []

    class Spy(optical.Encoder):
        def tokens(self, texts, kind, max_tokens=None):
            seen.append(list(texts))
            return teacher.tokens(texts, kind, max_tokens)
    student = optical.start_student(teacher, args)
    student.__class__ = Spy
    source.loss(student, "optical", [2, 4], 7, args)
    lexicon, draw = baselines.read_lexicon(work / "lexicon" / "sw-en.txt"), random.Random("1/7")
    swahili = [source.train[i][1] for i in (2, 4)]
    assert seen == [[baselines.code_switch(text, [lexicon], 0.5, draw) for text in swahili]] != [swahili]
    plain = optical.lesson("optical", "sw", teacher, {}, arguments(work))[0]
    want = plain.loss(student, "optical", [2, 4], 7, arguments(work))[0].item()
    args.mix = 1e-9                                                # mixes nothing in
    assert source.loss(student, "optical", [2, 4], 7, args)[0].item() == pytest.approx(want, abs=1e-6)


# ------------------------------------------------------------------------------- supervised baselines

def test_documents_of_a_batch_come_once_and_other_relevant_ones_are_marked():
    batch = [("q1", "a", ["x", "y"]), ("q2", "b", ["x", "x2"]), ("q3", "a", [])]
    names, target, other = optical.documents_of(batch, {"q1": {"a", "b"}, "q2": {"b"}, "q3": {"a"}}, 2,
                                                np.random.default_rng(0))
    assert names[:2] == ["a", "b"] and sorted(names) == ["a", "b", "x", "x2", "y"]
    assert target.tolist() == [0, 1, 0]
    assert [[names[j] for j in range(5) if row[j]] for row in other.tolist()] == [["b"], [], []]


def test_code_switched_questions_are_those_of_the_lexicon_and_anew_at_every_step(work):
    args = arguments(work, "--lexicon", work / "lexicon", "--switch", "0.5")
    teacher = optical.load_teacher(args)
    source, bitext = optical.lesson("code-switch", "sw", teacher, {}, args)
    seen = []

    class Spy:
        def tokens(self, texts, kind):
            seen.append(list(texts))
            return teacher.tokens(texts, kind)

        pad = staticmethod(teacher.pad)

        def __call__(self, ids, mask):
            return teacher(ids, mask)
    index = [0, 5, 9]
    losses = [source.loss(Spy(), "code-switch", index, step, args)[0].item() for step in (0, 1, 0)]
    lexicon = baselines.read_lexicon(work / "lexicon" / "en-sw.txt")
    draw = random.Random("1/0")
    draw.choices([0], [1.0], k=3)                                  # of the language, one here
    english = [source.queries[source.triples[i][0]] for i in index]
    assert seen[0] == [baselines.code_switch(text, [lexicon], 0.5, draw) for text in english] != english
    assert seen[0] == seen[2] != seen[1] and losses[0] == losses[2]
    few, _ = optical.lesson("code-switch", "sw", teacher, {}, arguments(
        work, "--lexicon", work / "lexicon", "--lexicon-size", 5))
    assert few.lexicons == [({word: lexicon[word] for word in list(lexicon)[:5]}, 1.0)]


def test_the_loss_of_questions_is_the_teachers_with_its_document_vectors_held(work):
    """translate-train with the English queries as translations: the teacher's own loss at the same batch."""
    translations = work / "same" / "en-sw"
    translations.mkdir(parents=True, exist_ok=True)
    paths = data.load_manifest(work / "data")["train"]
    (translations / "train.tsv").write_bytes((work / "data" / paths["queries"]).read_bytes())
    args = arguments(work, "--translations", work / "same", "--negatives", 2)
    teacher = optical.load_teacher(args)
    source, _ = optical.lesson("translate-train", "sw", teacher, {}, args)
    index = [3, 0, 7, 12]
    loss, stats = source.loss(teacher, "translate-train", index, 4, args)
    docs, triples = data.read_tsv(work / "data" / paths["docs"]), data.read_triples(work / "data" / paths["triples"])
    relevant = {}
    for qid, docid, _ in triples:
        relevant.setdefault(qid, set()).add(docid)
    batch = [triples[i] for i in index]
    names, target, other = optical.documents_of(batch, relevant, 2, np.random.default_rng([1, 4]))
    with torch.no_grad():
        want, _ = optical.teacher_loss(teacher, [source.rows[i] for i in index],
                                       teacher.tokens([docs[d] for d in names], "doc"), target, other)
    assert loss.item() == pytest.approx(want.item(), abs=5e-3)         # stored vectors are on a grid
    assert loss.requires_grad and stats["tokens"] == sum(len(source.rows[i]) for i in index)


def test_titles_find_their_articles_and_a_collection_without_any_says_so(work, capsys):
    args = arguments(work)
    teacher = optical.load_teacher(args)
    source, _ = optical.lesson("wikiclir", "sw", teacher, {}, args)
    wiki = data.load_collection(work / "data")["wiki"]
    assert len(source.rows) == len(wiki["titles"]["sw"]) == 20
    qid, place, negatives = source.triples[5]
    assert list(wiki["docs"])[place] == qid and negatives == []
    assert np.isfinite(source.loss(teacher, "wikiclir", [0, 1, 2], 0, args)[0].item())
    manifest = json.loads((work / "data" / "collection.json").read_text())
    del manifest["langs"]["sw"]["wiki"]
    other = work / "bare-data"
    if not other.exists():
        import shutil
        shutil.copytree(work / "data", other)
    (other / "collection.json").write_text(json.dumps(manifest))
    capsys.readouterr()
    with pytest.raises(ValueError, match="no Wikipedia titles for sw; leave wikiclir out"):
        optical.able(other, ["sw"], ["optical", "wikiclir"])
    assert optical.able(other, ["sw"], ["optical"]) == [("sw", "optical")] and not capsys.readouterr().out


def test_the_rate_of_wikiclir_is_chosen_where_there_are_titles(work, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(optical, "share_out", lambda what, units, run: asked.append(list(units)) or {
        unit: {"dev_map": 0.5} for unit in units})
    with_titles = {"mr"}
    monkeypatch.setattr(optical, "titled", lambda root, lang: lang in with_titles)
    monkeypatch.setattr(optical, "languages", lambda args: args.langs)
    manifest = {"langs": {"de": {}, "mr": {}, "sw": {}}}
    monkeypatch.setattr(data, "load_manifest", lambda root: manifest)
    args = arguments(work, "--langs", "sw", "de", "--methods", "wikiclir", "mean", run="tune")
    args.out, args.lr = tmp_path, [0.1]
    optical.tune(args)
    assert asked[-1] == [("sw", "mean", 0.1), ("de", "mean", 0.1), ("mr", "wikiclir", 0.1)]
    with_titles.add("de")
    optical.tune(args)
    assert asked[-1] == [("sw", "mean", 0.1), ("de", "mean", 0.1), ("de", "wikiclir", 0.1)]
    with_titles.clear()
    with pytest.raises(ValueError, match="no Wikipedia titles for sw de; leave wikiclir out"):
        optical.tune(args)


def test_a_language_without_wikipedia_titles_is_left_out_of_wikiclir_alone(two, capsys):
    folder = two / "half"
    folder.mkdir()
    manifest = json.loads((two / "data" / "collection.json").read_text())
    del manifest["langs"]["sw"]["wiki"]
    (folder / "collection.json").write_text(json.dumps(manifest))
    assert optical.able(folder, ["sw", "de"], ["mean", "wikiclir"]) == [
        ("sw", "mean"), ("de", "mean"), ("de", "wikiclir")]
    assert capsys.readouterr().out == "  wikiclir: no Wikipedia titles for sw, left out\n"


def test_a_lexicon_comes_from_the_first_folder_that_has_it(work, tmp_path):
    (tmp_path / "en-sw.txt").write_text("goat mbuzi\nfish samaki\n")
    args = arguments(work, "--lexicon", tmp_path, work / "lexicon")
    assert optical.read_lexicon(args, "en-sw.txt") == {"goat": {"mbuzi": 1.0}, "fish": {"samaki": 1.0}}
    assert optical.read_lexicon(args, "en-sw.txt", 1) == {"goat": {"mbuzi": 1.0}}
    assert optical.read_lexicon(args, "sw-en.txt") == baselines.read_lexicon(work / "lexicon" / "sw-en.txt")
    with pytest.raises(ValueError, match=f"no en-so.txt in {tmp_path} .*lexicon; baselines.py lexicon makes it"):
        optical.read_lexicon(args, "en-so.txt")
    with pytest.raises(ValueError, match="no en-sw.txt in --lexicon; baselines.py lexicon"):
        optical.read_lexicon(arguments(work), "en-sw.txt")


def test_negatives_are_mined_for_the_english_question_not_for_its_translation(work):
    args = arguments(work, "--lexicon", work / "lexicon", "--mine", 3)
    teacher = optical.load_teacher(args)
    manifest = data.load_manifest(work / "data")["train"]
    bare = [(qid, docid, []) for qid, docid, _ in data.read_triples(work / "data" / manifest["triples"])]
    original = data.read_triples
    try:
        data.read_triples = lambda path: bare
        source, _ = optical.lesson("code-switch", "sw", teacher, {}, args)
    finally:
        data.read_triples = original
    docs, queries = (data.read_tsv(work / "data" / manifest[k]) for k in ("docs", "queries"))
    qid, docid, _ = bare[0]
    want = baselines.BM25(docs).negatives(queries[qid], {docid}, 3)
    assert [list(docs)[i] for i in source.triples[0][2]] == want and len(want) == 3


# -------------------------------------------------------------------------------------------- sweeps

def sweep(work, out, *variants, steps=2, more=()):
    return ["studies.py", "sweep", "--data", work / "data", "--teacher", work / "teacher", "--cache",
            work / "vectors", "--out", out / "students", "--runs", out / "runs", "--lr", "1e-3", "--steps", steps,
            "--batch", 8, *more, "--variants", *variants]


def test_a_sweep_trains_and_searches_every_variant_once(work, tmp_path):
    names = ["epsilon=0.5", "plan=uniform,marginals=idf", "methods=mean,pairs=20", "augment", "max-tokens=10"]
    done = command(*sweep(work, tmp_path, *names))
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "runs" / "sw").glob("*.trec")) == sorted(f"{n}.s1.trec" for n in names)
    args = {n: json.loads((tmp_path / "students" / "sw" / n / "args.json").read_text())["args"] for n in names}
    assert args["epsilon=0.5"]["epsilon"] == 0.5 and args["epsilon=0.5"]["plan"] == "sinkhorn"
    assert args[names[1]]["plan"] == "uniform" and args[names[1]]["marginals"] == "idf"
    assert args[names[2]]["method"] == "mean" and args[names[2]]["pairs"] == 20
    done_json = json.loads((tmp_path / "students" / "sw" / names[2] / "done.json").read_text())
    assert done_json["examples"] == 20
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.trec")}
    again = command(*sweep(work, tmp_path, *names))
    assert again.returncode == 0 and again.stdout.endswith("\n  sweep: 5 of 5 are there\n")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.trec")}


def test_a_sweep_leaves_out_more_pairs_than_a_language_has_and_says_so(work, tmp_path):
    pairs = len(data.read_bitext(work / "data" / optical.language(work / "data", "sw")["train"]))
    done = command(*sweep(work, tmp_path, f"pairs={pairs}", f"pairs={pairs + 1}"))
    assert done.returncode == 0 and f"  sw: {pairs:,} pairs that fit; left out: pairs={pairs + 1}\n" in done.stdout
    assert [path.name for path in (tmp_path / "runs" / "sw").iterdir()] == [f"pairs={pairs}.s1.trec"]


def test_a_number_of_pairs_is_of_those_short_enough(work, tmp_path):
    args = arguments(work)
    teacher = optical.load_teacher(args)
    every = optical.Bitext(args.data, "sw", teacher, tmp_path, 0, 64)
    longest = np.maximum(every.rows.lengths, every.english_rows.lengths)
    limit = int(np.median(longest))
    short = [pair for pair, n in zip(every.train, longest) if n <= limit]
    cut = optical.Bitext(args.data, "sw", teacher, tmp_path, 20, limit)
    assert cut.train == short[:20] != every.train[:20] and cut.fewest == 20
    assert optical.Bitext(args.data, "sw", teacher, tmp_path, 10_000, limit).fewest == len(short)
    assert optical.Bitext(args.data, "sw", teacher, tmp_path, 20, 64).train == every.train[:20]
    done = command(*sweep(work, tmp_path, f"pairs={len(short) + 1}", "--max-tokens", limit))
    assert done.returncode == 0 and f"  sw: {len(short):,} pairs that fit; left out: pairs=" in done.stdout


def test_a_variant_equals_a_distillation_and_a_search_with_these_options(work, tmp_path):
    assert command(*sweep(work, tmp_path, "epsilon=0.3")).returncode == 0
    common = ["--data", work / "data", "--teacher", work / "teacher", "--cache", work / "vectors"]
    assert command("optical.py", "distil", *common, "--out", tmp_path / "s", "--methods", "optical", "--lr", "1e-3",
                   "--steps", 2, "--batch", 8, "--epsilon", 0.3).returncode == 0
    assert command("optical.py", "search", *common, "--students", tmp_path / "s", "--out", tmp_path / "r",
                   "--methods", "optical").returncode == 0
    assert evaluate.read_run(tmp_path / "r" / "sw" / "optical.s1.trec") == \
        evaluate.read_run(tmp_path / "runs" / "sw" / "epsilon=0.3.s1.trec")


def test_a_setting_that_is_none_is_one_line_and_trains_nothing(work, tmp_path):
    for variant, message in [("plan=magic", "invalid choice: 'magic'"), ("colour=red", "unrecognized arguments"),
                             ("epsilon=much", "invalid float value: 'much'")]:
        done = command(*sweep(work, tmp_path, "epsilon=0.3", variant))
        assert done.returncode == 2 and message in done.stderr and not list(tmp_path.iterdir())
    done = command(*sweep(work, tmp_path, "epsilon=0.3", more=("--langs", "xx")))
    assert done.returncode == 2 and "no language 'xx'" in done.stderr
    manifest = json.loads((work / "data" / "collection.json").read_text()) | {"tests": []}
    (tmp_path / "collection.json").write_text(json.dumps(manifest))
    argv = sweep(work, tmp_path, "epsilon=0.3")
    argv[argv.index("--data") + 1] = tmp_path
    done = command(*argv)
    assert done.returncode == 2 and "no test set in 'sw'" in done.stderr and not (tmp_path / "students").exists()


# ----------------------------------------------------------------------------------------- alignment

def test_word_links_by_hand():
    matrix = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.0]])
    assert studies.links(matrix, mutual=False) == [(0, 0), (0, 1), (0, 2)]
    assert studies.links(matrix, mutual=True) == [(0, 0)]
    values = np.array([[9.0, 9.0, 9.0], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])   # tokens; the first is no word's
    assert studies.word_matrix(values, [-1, 0, 0], [0, 0, 1], np.add).tolist() == [[12.0, 9.0]]
    assert studies.word_matrix(values, [-1, 0, 0], [0, 0, 1], np.maximum).tolist() == [[5.0, 6.0]]


def test_every_token_knows_its_word(work):
    teacher = optical.Encoder.load(work / "teacher")
    text = "Mkulima aliuza  mbuzi jana"
    words = studies.word_of(teacher, text, 64)
    ids = teacher.tokens([text], "query", 64)[0]
    assert len(words) == len(ids) and words[0] == words[1] == words[-1] == -1
    for n, word in enumerate(text.split()):
        pieces = [ids[i] for i in range(len(ids)) if words[i] == n]
        assert teacher.tokenizer.decode(pieces).replace(" ", "") == word.lower()


def test_the_plan_of_a_sentence_with_itself_links_every_word_to_itself(work):
    teacher = optical.Encoder.load(work / "teacher").eval()
    args = argparse.Namespace(max_tokens=64, epsilon=0.01)
    pairs = [(text, text) for text in ("the farmer sold a goat", "goat", "who sold the goat of a farmer today")]
    plans = studies.plans_of(teacher, teacher, pairs, args, batch=2)
    for (text, _), (plan, cosine) in zip(pairs, plans):
        own = [(i, i) for i in range(len(text.split()))]
        assert studies.links(plan, True) == own == studies.links(cosine, True)
        assert plan.shape == cosine.shape == (len(own), len(own))
    assert 0.5 < plans[0][0].sum() < 1                             # the rest is on the markers


def test_align_writes_a_row_a_language_method_and_way(work, tmp_path):
    assert command("optical.py", "distil", "--data", work / "data", "--teacher", work / "teacher", "--cache",
                   work / "vectors", "--out", tmp_path / "s", "--methods", "optical", "greedy", "--lr", "1e-3",
                   "--steps", 2, "--batch", 8).returncode == 0
    done = command("studies.py", "align", "--data", work / "data", "--teacher", work / "teacher", "--students",
                   tmp_path / "s", "--out", tmp_path / "rows.json", "--seed", 3)
    assert done.returncode == 0, done.stderr
    rows = report.read_rows(tmp_path / "rows.json")
    assert len(rows) == 7 * 2 and all(0 <= row["value"] <= 1 and row["seeds"] == [3] for row in rows)
    collection = data.load_collection(work / "data")
    gold = collection["bitext"]["sw"]["dev_links"]
    pairs = [[baselines.indexed_words(text) for text in pair] for pair in collection["bitext"]["sw"]["dev"]]
    train = [[baselines.indexed_words(text) for text in pair] for pair in collection["bitext"]["sw"]["train"]]
    models = baselines.Model1([(x, e) for e, x in train]), baselines.Model1([(e, x) for e, x in train])
    want = baselines.aer([baselines.align(e, x, *models) for e, x in pairs], gold)
    found = {(row["method"], row["measure"]): row["value"] for row in rows}
    assert found["IBM Model 1", "aer, both ways"] == pytest.approx(want, abs=1e-6)


# --------------------------------------------------------------------------------------------- rates

def test_tune_chooses_by_dev_and_its_students_are_those_distil_would_train(work, tmp_path):
    common = ("--data", work / "data", "--teacher", work / "teacher", "--cache", work / "vectors", "--methods",
              "optical", "mean", "--steps", 2, "--batch", 8, "--threads", 1)
    done = command("optical.py", "tune", *common, "--out", tmp_path / "tune", "--lr", "1e-4", "1e-2",
                   "--students", tmp_path / "kept", "--jobs", 3)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "tune" / "lr.json").read_text())
    for method, row in found["dev_map"].items():
        dones = {lr: json.loads((tmp_path / "tune" / f"sw.{method}.{lr}" / "done.json").read_text())
                 for lr in ("0.0001", "0.01")}
        assert row == {lr: made["dev_map"] for lr, made in dones.items()}
        assert found["chosen"][method] == float(max(row, key=lambda lr: (row[lr], -float(lr))))
    made = {}
    for out in ("kept", "anew"):
        done = command("optical.py", "distil", *common, "--out", tmp_path / out, "--lr-file",
                       tmp_path / "tune" / "lr.json")
        assert done.returncode == 0, done.stderr
        assert ("2 of 2 are there" in done.stdout) == (out == "kept")
        made[out] = [(tmp_path / out / "sw" / method / "model.safetensors").read_bytes()
                     for method in ("optical", "mean")]
    assert made["kept"] == made["anew"] and made["kept"][0] != made["kept"][1]


# ------------------------------------------------------------------------------------------- figures

def row(table, method, lang, value, group="low", measure="map"):
    return {"table": table, "method": method, "lang": lang, "measure": measure, "value": value, "class": group}


def test_curves_hold_the_means_of_the_tables_and_table_2_at_its_own_size():
    rows = [row("1", "data", lang, 500, measure="pairs") for lang in ("sw", "so", "fi")]
    rows += [row("2", "optical", "sw", 0.5), row("2", "optical", "so", 0.3), row("2", "mean", "sw", 0.9),
             row("2", "optical", "fi", 0.8, "high"), row("2", "optical", "sw", 0.99, measure="recall_100")]
    rows += [row("4", f"methods=optical,pairs={n}", lang, value)
             for n, lang, value in [(1000, "sw", 0.6), (1000, "so", 0.4), (250, "sw", 0.1)]]
    rows += [row("5", "mix=0.5", lang, value, group)
             for lang, value, group in [("sw", 0.4, "low"), ("so", 0.2, "low"), ("fi", 0.7, "high")]]
    rows += [row("9", f"params={size}M{kind}", lang, value, group)
             for size, kind, lang, value, group in [(0.5, "", "sw", 0.2, "low"), (0.5, "", "so", 0.4, "low"),
                                                    (0.5, ",english", "sw", 0.7, "low"), (0.1, "", "fi", 0.6, "high")]]
    found = studies.curves(rows)
    assert found["size"][1] == {"optical": {500: 0.4, 1000: 0.5}}          # 250 is not there in both
    mix = {name: {x: round(y, 9) for x, y in line.items()} for name, line in found["mix"][1].items()}
    assert mix == {"low mean": {0.0: 0.4, 0.5: 0.3}, "high mean": {0.0: 0.8, 0.5: 0.7},
                   "gap": {0.0: 0.4, 0.5: 0.4}}
    scale = {name: {x: round(y, 9) for x, y in line.items()} for name, line in found["scale"][1].items()}
    assert scale == {"low mean": {0.5: 0.3}, "English queries": {0.5: 0.7}, "high mean": {0.1: 0.6}}
    assert studies.curves(rows[:4]) == {}


@pytest.mark.parametrize("installed", [True, False])
def test_figures_are_drawn_where_matplotlib_is_and_their_data_written_anyway(work, tmp_path, installed, capsys,
                                                                            monkeypatch):
    if installed:
        pytest.importorskip("matplotlib")
    else:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    report.write_rows(tmp_path / "scores.json", [
        row("1", "data", "sw", 500, measure="pairs"), row("2", "optical", "sw", 0.5),
        row("4", "methods=optical,pairs=250", "sw", 0.25)])
    (tmp_path / "students" / "sw").mkdir(parents=True)
    (tmp_path / "students" / "sw" / "optical").symlink_to(work / "teacher")
    argv = ["figures", "--data", work / "data", "--scores", tmp_path / "scores.json", "--teacher",
            work / "teacher", "--students", tmp_path / "students", "--lang", "sw", "--device", "cpu"]
    for out in ("a", "b"):
        assert studies.main([*map(str, argv), "--out", str(tmp_path / out)]) == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    assert set(files) == {"size.tsv", "plan.tsv"} | ({"size.svg", "plan.svg"} if installed else set())
    assert files["size.tsv"].decode() == "sentence pairs\toptical\n250\t0.2500\n500\t0.5000\n"
    english, source = data.load_collection(work / "data")["bitext"]["sw"]["dev"][0]
    lines = [line.split("\t") for line in files["plan.tsv"].decode().splitlines()]
    assert lines[0] == ["", *source.split()] and [line[0] for line in lines[1:]] == english.split()
    assert ("not installed" in capsys.readouterr().out) != installed
    argv += ["--max-tokens", 6, "--out", tmp_path / "short"]                 # the sentence is longer
    assert studies.main([*map(str, argv)]) == 0
    lines = [line.split("\t") for line in (tmp_path / "short/plan.tsv").read_text().splitlines()]
    assert lines[0] == ["", *source.split()][:len(lines[0])] and 1 < len(lines[0]) == len(lines[1]) < len(source.split()) + 1


# ---------------------------------------------------------------------------------------------- cost

def test_costs_are_medians_over_what_was_trained_without_the_tuning(tmp_path):
    def experiment(folder, seconds, **done):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "done.json").write_text(json.dumps({"seconds": seconds, **done}))
        (tmp_path / folder / "args.json").write_text('{"device": "cpu, 2 cores"}')
        lines = [{"step": 0, "tokens_per_s": 1, "memory_gb": 0.5},
                 {"step": 9, "tokens_per_s": 100 * seconds, "memory_gb": 0.25}]
        (tmp_path / folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for n, seconds in enumerate((2.0, 8.0, 4.0)):
        experiment(f"s1/students/{n}/optical", seconds, method="optical")
    experiment("tune/sw.optical.1", 99.0, method="optical")
    experiment("s1/nmt/sw-en", 7.0, dev_chrf=50.0)
    experiment("s1/teacher", 3.0, dev_map=0.5)
    experiment("s1/nmt/so-en", 1.0, model="a/model", dev_chrf=50.0)
    (tmp_path / "s1/nmt/so-en/train.jsonl").unlink()                         # pre-trained: nothing was trained
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "search.s1.jsonl").write_text(
        '{"set": "sw", "method": "optical", "queries": 4, "documents": 9, "seconds": 2.0}\n')
    assert command("studies.py", "cost", "--data", "x", "--root", tmp_path, "--out",
                   tmp_path / "c.json").returncode == 0
    rows = {(row["method"], row["measure"]): row["value"] for row in report.read_rows(tmp_path / "c.json")}
    assert rows == {("optical", "seconds"): 4.0, ("optical", "tokens_per_s"): 400.0, ("optical", "memory_gb"): 0.5,
                    ("NMT", "seconds"): 7.0, ("NMT", "tokens_per_s"): 700.0, ("NMT", "memory_gb"): 0.5,
                    ("teacher", "seconds"): 3.0, ("teacher", "tokens_per_s"): 300.0, ("teacher", "memory_gb"): 0.5,
                    ("optical", "search_ms_per_query"): 500.0}
    done = command("studies.py", "cost", "--data", "x", "--root", tmp_path / "runs", "--out", tmp_path / "d.json")
    assert done.returncode == 2 and "no finished experiment" in done.stderr


# --------------------------------------------------------- several languages, answers, hybrid batches, sizes

@pytest.fixture(scope="module")
def two(work, tmp_path_factory):
    """Data and lexicons of Swahili and German, for the teacher of `work`."""
    root = tmp_path_factory.mktemp("two")
    for argv in (["data.py", "prepare", "mini", "--smoke", "--langs", "sw", "de", "--out", root / "data"],
                 ["baselines.py", "lexicon", "--data", root / "data", "--out", root / "lexicon"]):
        done = command(*argv)
        assert done.returncode == 0, done.stderr
    return root


def both(work, two, *more, run="distil"):
    args = arguments(work, "--lexicon", two / "lexicon", *more, run=run)
    args.data, args.cache = str(two / "data"), str(two / "vectors")
    return args


def test_a_student_of_several_languages_learns_from_all_their_pairs(work, two):
    args = both(work, two, "--pairs", 30)
    teacher = optical.load_teacher(args)
    texts = {lang: optical.Bitext(args.data, lang, teacher, args.cache, 30) for lang in ("sw", "de", "sw+de")}
    assert texts["sw+de"].train == texts["sw"].train + texts["de"].train and len(texts["sw+de"].train) == 60
    assert texts["sw+de"].dev == texts["sw"].dev + texts["de"].dev
    args.langs = ["sw+xx"]
    with pytest.raises(ValueError, match="no language 'xx'"):
        optical.languages(args)
    with pytest.raises(ValueError, match="wikiclir trains a student of one language, not of sw.de"):
        optical.lesson("wikiclir", "sw+de", teacher, {}, args)


def test_a_query_goes_into_a_low_resource_language_as_often_as_its_share_says(work, two, monkeypatch):
    lexicons = {lang: baselines.read_lexicon(two / "lexicon" / f"en-{lang}.txt") for lang in ("sw", "de")}
    used = []
    monkeypatch.setattr(baselines, "code_switch", lambda text, tables, p, draw: used.append(tables[0]) or text)
    for share, expected in ((0.25, 0.25), (0, 0), (1, 1), (-1, 0.5)):
        args = both(work, two, "--share", share)
        teacher = optical.load_teacher(args)
        source, _ = optical.lesson("code-switch", "sw+de", teacher, {}, args)
        used.clear()
        for step in range(12):
            source.loss(teacher, "code-switch", range(32), step, args)
        assert all(table in lexicons.values() for table in used)
        assert sum(table == lexicons["sw"] for table in used) / len(used) == pytest.approx(expected, abs=0.07)
    with pytest.raises(ValueError, match="--share 0.5 of sw: give low- and high-resource languages"):
        optical.lesson("code-switch", "sw", teacher, {}, both(work, two, "--share", 0.5))


def test_each_word_goes_into_a_language_of_its_own_when_asked(work, two, monkeypatch):
    lexicons = [baselines.read_lexicon(two / "lexicon" / f"en-{lang}.txt") for lang in ("sw", "de")]
    used = []
    monkeypatch.setattr(baselines, "code_switch", lambda text, tables, p, draw: used.append(tables) or text)
    args = both(work, two, "--switch-by", "word")
    teacher = optical.load_teacher(args)
    source, _ = optical.lesson("code-switch", "sw+de", teacher, {}, args)
    source.loss(teacher, "code-switch", range(8), 0, args)
    assert [list(tables) for tables in used] == [lexicons] * 8
    with pytest.raises(ValueError, match="--share 0.5 is of queries; leave out --switch-by word"):
        optical.lesson("code-switch", "sw+de", teacher, {}, both(work, two, "--switch-by", "word", "--share", .5))


def test_accuracy_and_f1_are_those_of_the_first_document(two, tmp_path):
    assert studies.token_f1("A cat, the dog", "the CAT") == pytest.approx(2 * 1 / 3)
    assert studies.token_f1("", "cat") == studies.token_f1("a", "the") == 0
    root = tmp_path / "data"
    (root / "t").mkdir(parents=True)
    (root / "docs.tsv").write_text("d1\tthe old farmer\nd2\tthe farmer\nd3\ta goat\n")
    (root / "t" / "q.tsv").write_text("q1\tx\nq2\tx\nq3\tx\nq4\tx\n")
    (root / "t" / "qrels").write_text("q1 0 d1 2\nq1 0 d3 1\nq2 0 d1 1\nq3 0 d3 1\nq4 0 d2 1\n")
    (root / "collection.json").write_text(json.dumps({
        "profile": "mini", "seed": 1, "version": 1, "docs": {"m": "docs.tsv"}, "langs": {}, "train": {},
        "tests": [{"set": "sw", "lang": "sw", "name": "Swahili", "class": "low", "docs": "m",
                   "queries": "t/q.tsv", "english": "t/q.tsv", "qrels": "t/qrels"}]}))
    # q1: right, of grade 2; q2: d2, "farmer" of "old farmer"; q3: a tie, the larger docid, right; q4: nothing
    evaluate.write_run(tmp_path / "runs" / "sw" / "share=1.s3.trec",
                       {"q1": {"d1": 2.0, "d3": 1.0}, "q2": {"d2": 2.0}, "q3": {"d1": 1.0, "d3": 1.0}}, "x")
    done = command("studies.py", "answers", "--data", root, "--runs", tmp_path / "runs", "--seed", 3, "--out",
                   tmp_path / "rows.json")
    assert done.returncode == 0, done.stderr
    rows = {row["measure"]: row for row in report.read_rows(tmp_path / "rows.json")}
    assert rows["accuracy"]["value"] == 0.5 and rows["F1"]["value"] == pytest.approx((1 + 2 / 3 + 1 + 0) / 4, abs=1e-6)
    assert rows["F1"]["method"] == "share=1" and rows["F1"]["seeds"] == [3] and rows["F1"]["n_queries"] == 4
    done = command("studies.py", "answers", "--data", root, "--runs", tmp_path, "--out", tmp_path / "n.json")
    assert done.returncode == 2 and "no run; expected files" in done.stderr and not (tmp_path / "n.json").exists()


def test_a_hybrid_batch_has_english_documents_at_its_share_and_no_relevant_negative(work, two):
    args = both(work, two, "--negatives", 2)
    teacher = optical.load_teacher(args)
    lesson = studies.Hybrid(args, ["sw", "de"], teacher)
    c = data.load_collection(two / "data")
    assert lesson.docs["de", "n00001"].tolist() == teacher.tokens([c["parallel"]["de"]["docs"]["n00001"]], "doc")[0].tolist()
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
    want = optical.teacher_loss(teacher, [lesson.queries[q] for q in queries], [lesson.docs[d] for d in docs],
                                target, other)[0]
    assert lesson.loss(teacher, range(n), 0, 0.0)[0].item() == pytest.approx(want.item())


def test_hybrid_trains_each_share_once_and_searches_across_and_within_languages(work, two, tmp_path):
    argv = ["studies.py", "hybrid", "--data", two / "data", "--teacher", work / "teacher", "--out", tmp_path / "h",
            "--runs", tmp_path / "runs", "--cross", 0, 1, "--steps", 2, "--batch", 8, "--lr", "1e-3"]
    done = command(*argv)
    assert done.returncode == 0, done.stderr
    names = ["cross=0.s1.trec", "cross=1.s1.trec"]
    assert {p.name: sorted(f.name for f in p.glob("*.trec")) for p in (tmp_path / "runs").iterdir()} == {
        "sw": names, "de.monolingual": names}
    runs = [evaluate.read_run(tmp_path / "runs" / "sw" / name) for name in names]
    assert runs[0] != runs[1] and not list((tmp_path / "h").rglob("vectors.npy"))
    assert command(*argv).stdout == "  hybrid: 2 of 2 are there\n"
    manifest = json.loads((two / "data" / "collection.json").read_text())
    del manifest["langs"]["de"]["parallel"]
    (tmp_path / "collection.json").write_text(json.dumps(manifest))
    for path in (two / "data").iterdir():
        if path.is_dir():
            (tmp_path / path.name).symlink_to(path)
    argv[3], argv[argv.index("--out") + 1] = tmp_path, tmp_path / "other"
    done = command(*argv)
    assert done.returncode == 2 and "no training documents in 'de'" in done.stderr


def test_scale_trains_optical_with_teachers_of_each_size(work, two, tmp_path):
    other = tmp_path / "size-16x1"
    for argv in (["pretrain", "--data", work / "data", "--out", other / "encoder", "--vocab", 800, "--hidden", 16,
                  "--layers", 1, "--steps", 2, "--batch", 8],
                 ["teacher", "--data", work / "data", "--encoder", other / "encoder", "--out", other / "teacher",
                  "--dim", 16, "--steps", 2, "--batch", 4]):
        assert command("optical.py", *argv).returncode == 0
    teachers = [work / "teacher", other / "teacher"]
    sizes = []
    for folder in teachers:
        encoder = optical.Encoder.load(folder)
        sizes.append(sum(p.numel() for p in encoder.parameters()))
        assert studies.parameters(folder) == sizes[-1]
    argv = ["studies.py", "scale", "--data", two / "data", "--teacher", work / "teacher", "--cache", "unused",
            "--out", tmp_path / "s", "--runs", tmp_path / "runs", "--rows", tmp_path / "rows.json", "--lr", "1e-3",
            "--steps", 2, "--batch", 8, "--langs", "sw", "--teachers"]
    done = command(*argv, *teachers)
    assert done.returncode == 0, done.stderr
    names = [f"params={n / 1e6:.2f}M" for n in sizes]
    assert {p.name for p in (tmp_path / "runs" / "sw").glob("*.trec")} == {
        f"{name}{kind}.s1.trec" for name in names for kind in ("", ",english")}
    rows = {row["method"]: row for row in report.read_rows(tmp_path / "rows.json")}
    for name in names:
        found = json.loads((tmp_path / "s" / name / "sw" / "done.json").read_text())
        assert rows[name]["value"] == round(found["dev_accuracy"], 6) and 0 <= found["dev_accuracy"] <= found["dev_map"]
    assert (other / "vectors" / "mini" / "00000" / "vectors.npy").exists()             # of its own teacher
    manifest = json.loads((two / "data" / "collection.json").read_text())
    manifest["retrieval"] = [manifest["tests"][0] | {"set": f"sw.{task}", "measure": measure} for task, measure in (
        ("tatoeba", "accuracy, Tatoeba"), ("lareqa", "mAP@20, LAReQA"))]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "collection.json").write_text(json.dumps(manifest))
    for path in (two / "data").iterdir():
        if path.is_dir():
            (tmp_path / "data" / path.name).symlink_to(path)
    for option, folder in (("--data", "data"), ("--out", "s2"), ("--runs", "runs2"), ("--rows", "rows2.json")):
        argv[argv.index(option) + 1] = tmp_path / folder
    done = command(*argv, work / "teacher")
    assert done.returncode == 0, done.stderr
    rows = {row["measure"]: row for row in report.read_rows(tmp_path / "rows2.json")}
    qrels = evaluate.read_qrels(two / "data" / manifest["tests"][0]["qrels"])
    run = evaluate.read_run(tmp_path / "runs2" / "sw.lareqa" / f"{names[0]}.s1.trec")
    for measure, own in (("accuracy, Tatoeba", "success_1"), ("mAP@20, LAReQA", "map_cut_20")):
        values = evaluate.evaluate(qrels, run, [own])[own].values()
        assert rows[measure]["value"] == pytest.approx(sum(values) / len(qrels), abs=1e-6)
        assert rows[measure]["n_queries"] == len(qrels) and rows[measure]["lang"] == "sw"
    done = command(*argv, work / "teacher", work / "teacher")
    assert done.returncode == 2 and "give one of each size" in done.stderr
    done = command(*argv, tmp_path)
    assert done.returncode == 2 and "no encoder there" in done.stderr


def test_the_doctests_hold():
    for module in (studies, optical):
        assert doctest.testmod(module).failed == 0

# SPDX-License-Identifier: MIT
"""Tests of study/baselines.py: by hand, against slow twins and bm25s where installed, at the edges."""
import doctest
import json
import math
import random
import re
import unicodedata
from collections import Counter

import numpy as np
import pytest

import evaluate
from study import baselines
from study.baselines import BM25, Model1, aer, align, code_switch, english, indexed_words, lexicon, words

ANIMALS = {"d1": "the cat sat", "d2": "the cat and the cat", "d3": "a dog", "d4": "no animal at all in here"}


def random_text(rng, kinds=40, longest=30):
    return " ".join(f"w{min(int(rng.paretovariate(0.7)), kinds)}" for _ in range(rng.randint(1, longest)))


def random_pairs(seed, n=30):
    rng = random.Random(seed)
    return [(random_text(rng, 15, 8).split(), random_text(rng, 12, 8).split()) for _ in range(n)]


# ---- words -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text, expected", [
    (" ... — !", []), ("Ni nani ALIYEANDIKA?", ["ni", "nani", "aliyeandika"]),
    ("राम ने किताबें पढ़ीं।", ["राम", "ने", "किताबें", "पढ़ीं"]),     # vowel signs, nasal dots, nukta
    ("Cafe\u0301 = CAFÉ", ["café", "café"]),             # decomposed equals composed
    ("STRASSE straße", ["strasse", "strasse"]),           # case folding, not lower-casing
    ("n'ụlọ ng'ombe", ["n", "ụlọ", "ng", "ombe"]),
    ("under_score a-b 3,5", ["under", "score", "a", "b", "3", "5"]),
    ("co\u00adop क्\u200dष", ["coop", "क्ष"]),                    # soft hyphen and joiner vanish
])
def test_words_are_runs_of_letters_marks_and_digits(text, expected):
    assert words(text) == [unicodedata.normalize("NFC", word) for word in expected]


def test_english_takes_off_the_plural_indexed_words_keep_positions_and_the_docstrings_hold():
    assert doctest.testmod(baselines).failed == 0
    assert english("Cats cities houses heroes") == ["cat", "city", "house", "heroe"]   # light
    assert english("this virus class gas is s") == ["this", "virus", "class", "gas", "is", "s"]
    assert indexed_words("Dar-es-Salaam , who's 30 .") == ["daressalaam", ",", "whos", "30", "."]


# ---- BM25 --------------------------------------------------------------------------------------------------
def bm25_by_loops(documents, query, k1, b):
    """Equation (1), one word and one document at a time."""
    tokens = {docid: text.split() for docid, text in documents.items()}
    average = sum(map(len, tokens.values())) / len(tokens)
    scores = Counter()
    for docid, found in tokens.items():
        for word in set(query) & set(found):
            df, tf = sum(word in other for other in tokens.values()), found.count(word)
            idf = math.log(1 + (len(tokens) - df + 0.5) / (df + 0.5))
            scores[docid] += query.count(word) * idf * tf / (tf + k1 * (1 - b + b * len(found) / average))
    return scores


def test_a_score_by_hand():
    # n = 4, df(cat) = 2, idf = ln(1 + 2.5 / 2.5) = ln 2; lengths 3 5 2 6, average 4; k1 = 1, b = 0.5
    run = BM25(ANIMALS, k1=1, b=0.5).search("cat")
    assert list(run) == ["d2", "d1"]
    assert run == pytest.approx({"d2": math.log(2) * 2 / (2 + 0.5 + 0.5 * 5 / 4),
                                 "d1": math.log(2) * 1 / (1 + 0.5 + 0.5 * 3 / 4)})


@pytest.mark.parametrize("k1, b", [(0.9, 0.4), (1.2, 0.75), (0.0, 0.5), (2.0, 0.0), (1.5, 1.0)])
def test_it_equals_the_loops(k1, b):
    rng = random.Random(3)
    documents = {f"d{i}": random_text(rng) for i in range(60)}
    index = BM25(documents, k1, b, str.split)
    for _ in range(20):
        query = random_text(rng, longest=6).split()
        assert index.search(query) == pytest.approx(bm25_by_loops(documents, query, k1, b), rel=1e-12)


@pytest.mark.parametrize("k1, b", [(0.9, 0.4), (1.2, 0.75)])
def test_scores_equal_those_of_bm25s(k1, b):
    bm25s = pytest.importorskip("bm25s")
    rng = random.Random(5)
    documents = [random_text(rng, kinds=300, longest=60) for _ in range(200)]
    other = bm25s.BM25(method="lucene", k1=k1, b=b)
    other.index([text.split() for text in documents], show_progress=False)
    index = BM25(dict(enumerate(documents)), k1, b, str.split)
    for _ in range(30):
        query = rng.choices(list(index.ids), k=8)
        run = index.search(query)
        ours = [run.get(i, 0.0) for i in range(len(documents))]
        assert other.get_scores(query) == pytest.approx(np.array(ours), abs=1e-5)


def test_ties_fall_to_the_larger_docid_at_every_depth_and_the_order_of_the_documents_changes_nothing():
    documents = {f"d{i}": "same words" for i in range(12)} | {"best": "same"}
    ranking = ["best"] + sorted((f"d{i}" for i in range(12)), reverse=True)
    index = BM25(documents)
    for depth in (1, 2, 5, 12, 13, 100):
        assert list(index.search("same", depth)) == ranking[:depth]
    rng = random.Random(7)
    documents, query = {f"d{i}": random_text(rng) for i in range(40)}, "w1 w2 w3 w5 w8"
    shuffled = dict(rng.sample(list(documents.items()), len(documents)))
    assert list(BM25(documents).search(query).items()) == list(BM25(shuffled).search(query).items())


def test_text_words_and_weights_are_the_same_query():
    search = BM25(ANIMALS).search
    as_text = search("cat the cat")
    assert search(["cat", "the", "cat"]) == search({"cat": 2.0, "the": 1.0}) == as_text
    assert search({"cat": 4.0, "the": 2.0}) == pytest.approx({d: 2 * score for d, score in as_text.items()})


def test_negatives_leave_out_the_relevant_ones_and_a_query_without_a_match_finds_none():
    index = BM25(ANIMALS)
    assert index.negatives("the cat", {"d2"}, 5) == index.negatives("the cat", {"d2"}, 1) == ["d1"]
    assert index.negatives("the cat", [], 1) == ["d2"] and index.negatives("zebra", [], 3) == []
    for query in ("", "???", "zebra", [], {}, ["zebra"]):
        assert index.search_all({"q": query}) == {"q": {}}


# ---- IBM Model 1 -------------------------------------------------------------------------------------------
def model1_by_loops(pairs, iterations):
    """Equation (2) with dictionaries: {(source word, target word): t}, "" for NULL."""
    t = {(f, e): 1.0 for source, target in pairs for f in ["", *source] for e in target}
    for _ in range(iterations):
        counts, totals = Counter(), Counter()
        for source, target in pairs:
            for e in target:
                denominator = sum(t[f, e] for f in ["", *source])
                for f in ["", *source]:
                    counts[f, e] += t[f, e] / denominator
                    totals[f] += t[f, e] / denominator
        t = {(f, e): count / totals[f] for (f, e), count in counts.items()}
    return t


@pytest.mark.parametrize("block", [1, 7, 4096])
def test_model1_equals_the_loops(block):
    pairs = random_pairs(11, 40)
    for iterations in (1, 2, 6):
        model = Model1(pairs, iterations, block=block)
        names = [(f, e) for f in model.source for e in model.target]
        found = {names[key]: t for key, t in zip(model.keys, model.t)}
        assert found == pytest.approx(model1_by_loops(pairs, iterations), abs=1e-12, rel=0)


def test_model1_by_hand_after_one_iteration():
    # "paka" with "cat": NULL and paka share 1 equally. "paka na" with "cat": a third each.
    model = Model1([(["paka"], ["cat"]), (["paka", "na"], ["and"])], iterations=1)
    expected = [[1 / 3 / (1 / 2 + 1 / 3), 1 / 3 / (1 / 2 + 1 / 3), 1.0], [0.6, 0.6, 0.0]]
    assert model.probability(["paka", "na"], ["and", "cat"]) == pytest.approx(np.array(expected))


def test_more_iterations_never_lower_the_likelihood_and_each_source_word_distributes_one():
    pairs, likelihood = random_pairs(17), []
    for iterations in range(1, 8):
        model = Model1(pairs, iterations)
        likelihood.append(sum(np.log(model.probability(f, e).mean(axis=1)).sum() for f, e in pairs))
        assert all(sum(row.values()) == pytest.approx(1) for row in model.lexicon(min_p=0.0).values())
    assert all(later >= earlier - 1e-9 for earlier, later in zip(likelihood, likelihood[1:]))


def test_the_order_of_the_pairs_changes_nothing_that_is_kept():
    pairs = [("the cat sleeps", "paka analala"), ("the dog sleeps", "mbwa analala"), ("a cat", "paka")]
    for left, right in zip(lexicon(pairs), lexicon(pairs[::-1])):
        assert left.keys() == right.keys()
        assert all(left[word] == pytest.approx(right[word]) for word in left)


def test_both_directions_combine_by_their_geometric_mean():
    forward = {"paka": {"cat": 0.5, "the": 0.5}, "adimu": {"the": 1.0}}
    backward = {"cat": {"paka": 0.9}, "the": {"paka": 0.1}}
    found = baselines._combined(forward, backward, min_p=0.0)
    assert found["paka"] == pytest.approx({"cat": 0.75, "the": 0.25})          # sqrt(.45) : sqrt(.05) = 3 : 1
    assert found["adimu"] == {"the": 1.0}                                      # no way back: its own row
    assert list(baselines._combined(forward, backward, min_p=0.3)["paka"]) == ["cat"]
    assert list(baselines._combined(forward, backward, min_p=0.9)["paka"]) == ["cat"]     # the best stays


def test_word_alignment_of_a_learned_bitext():
    pairs = ["the cat=paka", "the dog=mbwa", "the cat sleeps=paka analala", "the dog sleeps=mbwa analala",
             "the cow=ngombe"]
    pairs = [[side.split() for side in pair.split("=")] for pair in pairs]
    forward, backward = Model1([(f, e) for e, f in pairs], 10), Model1(pairs, 10)   # English given Swahili
    assert align(*pairs[2], forward, backward) == [(1, 0), (2, 1)]
    assert set(align(*pairs[2], forward)) >= {(1, 0), (2, 1)}
    assert align(["cat", "cat"], ["paka"], forward) == [(0, 0), (1, 0)]
    assert align(["cat", "cat"], ["paka"], forward, backward) == [(0, 0)]        # paka chooses one of them
    assert align(["unseen"], ["haijulikani"], forward, backward) == []


def test_endless_pairs_are_left_out_and_an_unknown_word_has_probability_zero_and_no_neighbours():
    pairs = [(["a"], ["x"]), ([], ["y"]), (["b"], []), (["c"] * 101, ["x"])]
    assert Model1(pairs, 1).lexicon() == {"a": {"x": 1.0}}
    model = Model1([(["a", "b"], ["x", "y"]), (["b"], ["y"])], 3)
    p = model.probability(["?", "b"], ["y", "?"])                              # (2 targets, NULL ? b)
    assert p[0, 1] == p[1].max() == 0 and p[0, 2] > 0


@pytest.mark.parametrize("links, sure, possible, expected", [
    ([[(0, 0)]], [[(0, 0)]], None, 0.0), ([[(0, 1)]], [[(0, 0)]], None, 1.0), ([[]], [[(0, 0)]], None, 1.0),
    ([[(0, 0), (1, 1)]], [[(0, 0)]], [[(0, 0), (1, 1)]], 0.0),               # a possible link is free
    ([[(0, 0)], [(0, 0), (1, 0)]], [[(0, 0)], [(1, 1)]], None, 1 - 2 / 5),
])
def test_alignment_error_rate_by_hand(links, sure, possible, expected):
    assert aer(links, sure, possible) == pytest.approx(expected)


def test_a_lexicon_survives_the_file_and_a_muse_dictionary_shares_one_among_translations(tmp_path):
    table, path = {"paka": {"cat": 0.7, "cats": 0.1 + 0.2}, "ndege": {"air plane": 1.0}}, tmp_path / "l.txt"
    rows = [f"{word}\t{e}\t{p!r}\n" for word, row in table.items() for e, p in row.items()]
    path.write_text("".join(rows), encoding="utf-8")
    assert baselines.read_lexicon(path) == table
    assert baselines.read_lexicon(path, limit=1) == {"paka": table["paka"]}
    path.write_text("The paka\ncat paka\n\ncat pusi\n", encoding="utf-8")
    assert baselines.read_lexicon(path) == {"the": {"paka": 1.0}, "cat": {"paka": 0.5, "pusi": 0.5}}


# ---- searching through a lexicon ---------------------------------------------------------------------------
TABLE = {"benki": {"bank": 0.6, "banks": 0.3, "the": 0.06, "money": 0.04}}


@pytest.mark.parametrize("options, expected", [
    ({}, {"bank": 0.6, "banks": 0.3, "the": 0.06, "money": 0.04}), ({"top": 1}, {"bank": 1.0}),
    ({"cut": 0.91}, {"bank": 0.625, "banks": 0.3125, "the": 0.0625}),   # the one that crosses the cut stays
    ({"cut": 0.9}, {"bank": 2 / 3, "banks": 1 / 3}), ({"min_p": 0.1}, {"bank": 2 / 3, "banks": 1 / 3}),
    ({"cut": 0.01}, {"bank": 1.0}), ({"min_p": 0.99}, {"bank": 1.0}),           # the best is always kept
    ({"top": 1, "keep": 0.25}, {"bank": 0.75, "benki": 0.25}),
    ({"keep": 1.0, "top": 1}, {"bank": 0.0, "benki": 1.0}),
])
def test_translations_kept_by_hand_and_an_unknown_word_stands_for_itself(options, expected):
    assert baselines.translations("benki", TABLE, **options) == pytest.approx(expected)
    assert baselines.translations("nairobi", TABLE, **options) == {"nairobi": 1.0}


def test_structured_query_by_hand():
    # tf(benki, d1) = .75 * 2 + .25 * 1 = 1.75, tf(benki, d2) = .25; df(benki) = .75 * 1 + .25 * 2 = 1.25
    documents = {"d1": "bank bank river", "d2": "river sand stone", "d3": "sand sand sand"}
    table = {"benki": {"bank": 0.75, "river": 0.25}}
    run = baselines.psq(BM25(documents, 1.0, 0.5), {"q": "Benki?"}, table)["q"]
    idf = math.log(1 + (3 - 1.25 + 0.5) / (1.25 + 0.5))
    assert list(run) == ["d1", "d2"]
    assert run == pytest.approx({"d1": idf * 1.75 / (1.75 + 1), "d2": idf * 0.25 / (0.25 + 1)})


def test_an_identity_table_makes_structured_queries_plain_bm25():
    rng = random.Random(19)
    documents = {f"d{i}": random_text(rng) for i in range(30)}
    queries = {f"q{i}": random_text(rng, longest=5) for i in range(10)}
    index = BM25(documents)
    for method in baselines.METHODS.values():
        for qid, found in method(index, queries, {}).items():
            plain = index.search(queries[qid])
            assert list(found) == list(plain) and found == pytest.approx(plain)


def test_forms_with_one_stem_add_up_under_english_analysis():
    documents = {"d1": "banks", "d2": "the bank of the river", "d3": "sand"}
    index = BM25(documents, analyse=english)
    halves, whole = (baselines.psq(index, {"q": "benki"}, {"benki": row})["q"]
                     for row in ({"bank": 0.5, "banks": 0.5}, {"bank": 1.0}))
    assert halves == pytest.approx(whole) and set(halves) == {"d1", "d2"}


def test_lexical_translation_by_hand():
    index = BM25({"d1": "bank", "d2": "banks money", "d3": "nairobi"})
    table = {"benki": {"bank": 0.6, "banks": 0.2, "money": 0.2}}
    assert baselines.bm25_lexicon(index, {"q": "benki Nairobi"}, table)["q"] == index.search("bank nairobi")
    two = baselines.bm25_lexicon(index, {"q": "benki benki"}, table, top=2)["q"]
    assert two == pytest.approx(index.search({"bank": 1.5, "banks": 0.5}))


def test_parameters_are_chosen_on_held_out_bitext_only():
    # The second translation is the right one everywhere: one translation a word finds nothing, two find all.
    table = {f"f{i}": {"wrong": 0.6, f"e{i}": 0.4} for i in range(6)}
    dev = [(f"e{i} filler", f"f{i}") for i in range(6)]
    tried = baselines.tune("bm25-lexicon", table, dev)
    assert tried[0] == (1.0, {"keep": 0.0, "top": 2})
    assert dict(tried[-1][1])["top"] == 1 and tried[-1][0] == 0.0
    assert len(tried) == 12


# ---- code-switching ----------------------------------------------------------------------------------------
SWAHILI = {"cat": {"paka": 1.0}, "dog": {"mbwa": 1.0}, "big": {"kubwa": 0.5, "mkubwa": 0.5}}
FINNISH = {"cat": {"kissa": 1.0}, "house": {"talo": 1.0}}


@pytest.mark.parametrize("text, lexicons, p, expected", [
    ("The cat, a Dog!", [SWAHILI], 1.0, "The paka, a Mbwa!"), ("A Dog!", [SWAHILI], 0.0, "A Dog!"),
    ("(cat) house", [{}, FINNISH], 1.0, "(kissa) talo"),
    ("dog house", [SWAHILI, FINNISH], 1.0, "mbwa talo"),            # only the language that knows the word
    ("unknown words - 42", [SWAHILI, FINNISH], 1.0, "unknown words - 42"),
    ("cat", [], 1.0, "cat"), ("", [SWAHILI], 1.0, ""),
])
def test_code_switching_by_hand(text, lexicons, p, expected):
    assert code_switch(text, lexicons, p, random.Random(1)) == expected


def test_the_rate_and_the_languages_are_as_asked():
    counts = Counter(code_switch("cat " * 4000, [SWAHILI, FINNISH], 0.3, random.Random(2)).split())
    assert (counts["cat"] / 4000, counts["paka"] / 4000) == pytest.approx((0.7, 0.15), abs=0.03)
    big = [{"big": {"kubwa": 0.9, "mkubwa": 0.1}}]
    counts = Counter(code_switch("big " * 4000, big, 1.0, random.Random(3)).split())
    assert counts["mkubwa"] / 4000 == pytest.approx(0.1, abs=0.02)


def test_words_switched_at_a_small_rate_are_switched_alike_at_a_larger_one():
    text = "cat big dog house " * 50
    runs = [code_switch(text, [SWAHILI, FINNISH], p, random.Random(4)).split() for p in (0.25, 0.5, 1.0)]
    for fewer, more in zip(runs, runs[1:]):
        assert all(a in (b, original) for a, b, original in zip(fewer, more, text.split()))
    assert runs[0] == code_switch(text, [SWAHILI, FINNISH], 0.25, random.Random(4)).split()


# ---- commands ----------------------------------------------------------------------------------------------
@pytest.fixture
def prepared(tmp_path):
    """A prepared collection of four documents, one language and two test sets over the same documents."""
    test = {"lang": "sw", "name": "Swahili", "class": "low", "docs": "mini", "queries": "queries.tsv", "qrels": "none"}
    texts = {"docs.tsv": "".join(f"{docid}\t{text}\n" for docid, text in ANIMALS.items()),
             "train.tsv": "the cat\tpaka\nthe dog\tmbwa\nthe cat sat\tpaka alikaa\na dog sat\tmbwa alikaa\n",
             "dev.tsv": "a cat\tpaka\na dog\tmbwa\n", "queries.tsv": "q1\tpaka\nq2\tmbwa\nq3\tcat\n",
             "collection.json": json.dumps({
                 "version": 1, "seed": 1, "langs": {"sw": {
                     "name": "Swahili", "class": "low", "pairs": 4, "train": "train.tsv", "dev": "dev.tsv"}},
                 "docs": {"mini": "docs.tsv"}, "tests": [{"set": "sw", **test}, {"set": "sw.too", **test}]})}
    for name, text in texts.items():
        evaluate.write_text(tmp_path / "data" / name, text)
    return tmp_path


def test_hybrid_takes_the_weight_that_finds_held_out_sentences_best_and_writes_the_interpolated_runs(
        prepared, capsys):
    data, out, lexicons = prepared / "data", prepared / "runs", prepared / "lexicon"
    call("lexicon", "--data", data, "--out", lexicons)
    call("psq", "--data", data, "--lexicon", lexicons, "--out", out)
    neural = {"q1": {"d1": 2.0, "d2": 1.0}, "q2": {"d2": 5.0}, "q3": {}}
    for name in ("sw", "sw.too"):
        evaluate.write_run(out / name / "ours.s3.trec", neural, "ours")
    argv = ["hybrid", "--data", data, "--lexicon", lexicons, "--students", prepared, "--out", out, "--seed-tag", 3]
    for dev, good in (({"0": {"1": 2.0, "0": 1.0}, "1": {"0": 2.0, "1": 1.0}}, False),
                      ({"0": {"0": 2.0, "1": 1.0}, "1": {"1": 2.0, "0": 1.0}}, True)):
        evaluate.write_run(prepared / "sw" / "ours" / "dev.trec", dev, "dev")
        call(*argv)
        said = re.search(r"weight of ours: (\S+); dev MAP by weight: (.*)", capsys.readouterr().out)
        best, scores = float(said[1]), dict(map(float, pair.split()) for pair in said[2].split(", "))
        assert len(scores) == 11 and scores[best] == max(scores.values()) and scores[1.0] == (1.0 if good else 0.5)
        assert best == min(weight for weight in scores if scores[weight] == scores[best])      # of equals the least
        lexical = evaluate.read_run(out / "sw" / "psq.s1.trec")
        found = evaluate.read_run(out / "sw" / "hybrid.s3.trec")
        assert found == {qid: row for qid, row in baselines.interpolate(neural, lexical, best).items() if row}
    assert best > 0
    assert baselines.interpolate({"q": {"a": 1.0, "b": 0.0}}, {"q": {"b": 3.0, "c": 1.0}}, 0.25)["q"] == {
        "a": 0.25, "b": 0.75, "c": 0.0}


def call(*arguments):
    assert baselines.main([str(argument) for argument in arguments]) == 0


def test_the_commands_write_the_runs_of_every_set(prepared):
    data, out, lexicons = prepared / "data", prepared / "runs", prepared / "lexicon"
    call("bm25", "--data", data, "--out", out)
    for name in ("sw", "sw.too"):                                               # what study.nmt writes
        evaluate.write_text(prepared / f"nmt/sw-en/test.{name}.tsv", "q1\tcat\nq2\tdog\n")
    call("bm25", "--data", data, "--out", out, "--translations", prepared / "nmt")
    call("lexicon", "--data", data, "--out", lexicons)
    call("psq", "--data", data, "--lexicon", lexicons, "--out", out)
    call("bm25-lexicon", "--data", data, "--lexicon", lexicons, "--out", out)
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        f"{s}/{way}.s1.trec" for s in ("sw", "sw.too") for way in ("bm25", "bm25-nmt", *baselines.METHODS)}
    index = BM25(ANIMALS, analyse=english)
    assert evaluate.read_run(out / "sw/bm25-nmt.s1.trec") == index.search_all({"q1": "cat", "q2": "dog"})
    assert evaluate.read_run(out / "sw/bm25.s1.trec") == {"q3": index.search("cat")}
    for method in ("psq", "bm25-lexicon"):
        run = evaluate.read_run(out / f"sw/{method}.s1.trec")
        assert set(run["q1"]) >= {"d1", "d2"} and list(run["q2"])[0] == "d3"
    assert max(baselines.read_lexicon(lexicons / "en-sw.txt")["cat"].items(), key=lambda x: x[1])[0] == "paka"


def test_a_finished_run_is_kept_and_the_same_command_makes_the_same_bytes(prepared):
    out, made = prepared / "runs", []
    path = out / "sw/bm25.s3.trec"
    for before in (None, b"kept\n", None):
        path.unlink(missing_ok=True) if before is None else path.write_bytes(before)
        call("bm25", "--data", prepared / "data", "--out", out, "--seed-tag", 3)
        made.append(path.read_bytes())
    assert made[0] == made[2] != made[1] == b"kept\n"


def test_the_pairs_asked_for_are_the_pairs_used(prepared, capsys):
    pairs = [("the cat", "paka"), ("the dog", "mbwa")]
    call("lexicon", "--data", prepared / "data", "--out", prepared / "two", "--pairs", 2)
    assert "from 2 pairs" in capsys.readouterr().out
    assert baselines.read_lexicon(prepared / "two/sw-en.txt") == lexicon(pairs)[0]


@pytest.mark.parametrize("spoil, arguments, message", [
    (("collection.json", None), ("bm25",), "collection.json"),
    (None, ("bm25", "--translations", "nowhere"), "nowhere/sw-en/test.sw.tsv"),
    (("docs.tsv", b"d1\t...\n"), ("bm25",), "documents without a word"),
    (("queries.tsv", b"q1\tpaka\nq2\t\xff\n"), ("bm25",), "queries.tsv:2: byte 0xff"),
    (None, ("lexicon", "--pairs", "-1"), "none of 0 pairs"),
    (("train.tsv", b"...\t...\n"), ("lexicon",), "none of 1 pairs"),
    (("sw-en.txt", None), ("psq",), "sw-en.txt"),
    (("sw-en.txt", b"paka\n"), ("psq",), "sw-en.txt:1: expected `word translation"),
    (("sw-en.txt", b"paka cat 2\n"), ("psq",), "found 'paka cat 2'"),
    (("sw-en.txt", b"mbwa dog\npaka cat many\n"), ("psq",), "sw-en.txt:2: expected `word translation"),
    (("sw-en.txt", b""), ("psq",), "no entry"),
])
def test_bad_input_is_one_line_and_status_2(prepared, capsys, spoil, arguments, message):
    data, out = prepared / "data", prepared / "out"
    (data / "sw-en.txt").write_text("paka cat\nmbwa dog\n", encoding="utf-8")
    if spoil:
        (data / spoil[0]).unlink() if spoil[1] is None else (data / spoil[0]).write_bytes(spoil[1])
    extra = ("--lexicon", data) if arguments[0] in ("psq", "bm25-lexicon") else ()
    assert baselines.main([str(x) for x in (*arguments, "--data", data, "--out", out, *extra)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not out.exists()


@pytest.mark.parametrize("make, message", [
    (lambda: BM25({}), "0 documents"), (lambda: BM25(ANIMALS, k1=-1), "k1=-1"),
    (lambda: BM25(ANIMALS, b=math.nan), "b=nan"), (lambda: Model1([]), "none of 0"),
    (lambda: aer([[]], [[]]), "nothing to measure"), (lambda: aer([[]], []), "shorter"),
    (lambda: code_switch("a", [], 1.5, random.Random(1)), "p=1.5"),
])
def test_degenerate_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

# SPDX-License-Identifier: MIT
"""Tests of baselines.py: by hand, against slow twins in this file and bm25s where installed, at the edges."""
import ast
import doctest
import json
import math
import os
import random
import sys
import unicodedata
from collections import Counter

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np
import pytest

import baselines
from baselines import BM25, Model1, aer, align, code_switch, english, indexed_words, lexicon, words

ANIMALS = {"d1": "the cat sat", "d2": "the cat and the cat", "d3": "a dog", "d4": "no animal at all in here"}


def random_text(rng, vocabulary=40, longest=30):
    length = rng.randint(1, longest)
    return " ".join(f"w{min(int(rng.paretovariate(0.7)), vocabulary)}" for _ in range(length))


# ---- the file ----------------------------------------------------------------------------------------------

def test_it_imports_nothing_else_of_this_repository():
    with open(baselines.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"ot", "evaluate", "data", "mini", "optical"}


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(baselines).failed == 0


# ---- words -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text, expected", [
    ("", []),
    (" ... — !", []),
    ("Ni nani ALIYEANDIKA?", ["ni", "nani", "aliyeandika"]),
    ("राम ने किताबें पढ़ीं।", ["राम", "ने", "किताबें", "पढ़ीं"]),     # vowel signs, nasal dots, nukta
    ("Cafe\u0301 = CAFÉ", ["café", "café"]),             # decomposed equals composed
    ("STRASSE straße", ["strasse", "strasse"]),           # case folding, not lower-casing
    ("n'ụlọ ng'ombe", ["n", "ụlọ", "ng", "ombe"]),
    ("under_score a-b 3,5", ["under", "score", "a", "b", "3", "5"]),
    ("co\u00adop क्\u200dष", ["coop", "क्ष"]),                    # soft hyphen and joiner vanish
])
def test_words_are_runs_of_letters_marks_and_digits(text, expected):
    assert words(text) == [unicodedata.normalize("NFC", word) for word in expected]


def test_english_analysis_takes_off_the_plural():
    assert english("cats cities houses heroes") == ["cat", "city", "house", "heroe"]   # light
    assert english("this virus class gas is s") == ["this", "virus", "class", "gas", "is", "s"]


def test_indexed_words_keep_the_positions_of_a_split():
    text = "Mary , who's 30 , slept ."
    assert len(indexed_words(text)) == len(text.split())
    assert indexed_words(text)[:3] == ["mary", ",", "whos"]


# ---- BM25 --------------------------------------------------------------------------------------------------

def bm25_by_loops(documents, query, k1, b):
    """Equation (1), one word and one document at a time."""
    tokens = {docid: text.split() for docid, text in documents.items()}
    average = sum(map(len, tokens.values())) / len(tokens)
    scores = {}
    for docid, found in tokens.items():
        score = 0.0
        for word in query:
            df = sum(word in other for other in tokens.values())
            tf = found.count(word)
            if tf:
                idf = math.log(1 + (len(tokens) - df + 0.5) / (df + 0.5))
                score += idf * tf / (tf + k1 * (1 - b + b * len(found) / average))
        if score > 0:
            scores[docid] = score
    return dict(sorted(sorted(scores.items(), reverse=True), key=lambda item: -item[1]))


def test_a_score_by_hand():
    # n = 4, df(cat) = 2, idf = ln(1 + 2.5 / 2.5) = ln 2; lengths 3 5 2 6, average 4; k1 = 1, b = 0.5
    run = BM25(ANIMALS, k1=1, b=0.5).search("cat")
    assert list(run) == ["d2", "d1"]
    assert run["d2"] == pytest.approx(math.log(2) * 2 / (2 + 0.5 + 0.5 * 5 / 4))
    assert run["d1"] == pytest.approx(math.log(2) * 1 / (1 + 0.5 + 0.5 * 3 / 4))


@pytest.mark.parametrize("k1, b", [(0.9, 0.4), (1.2, 0.75), (0.0, 0.5), (2.0, 0.0), (1.5, 1.0)])
def test_it_equals_the_loops(k1, b):
    rng = random.Random(3)
    documents = {f"d{i}": random_text(rng) for i in range(60)}
    index = BM25(documents, k1, b, str.split)
    for _ in range(20):
        query = random_text(rng, longest=6).split()
        expected, found = bm25_by_loops(documents, query, k1, b), index.search(query)
        assert set(found) == set(expected)
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k1, b", [(0.9, 0.4), (1.2, 0.75)])
def test_scores_equal_those_of_bm25s(k1, b):
    bm25s = pytest.importorskip("bm25s")
    rng = random.Random(5)
    documents = [random_text(rng, vocabulary=300, longest=60) for _ in range(200)]
    other = bm25s.BM25(method="lucene", k1=k1, b=b)
    other.index([text.split() for text in documents], show_progress=False)
    index = BM25({str(i): text for i, text in enumerate(documents)}, k1, b, str.split)
    for _ in range(30):
        query = random_text(rng, vocabulary=300, longest=8).split()
        ours, run = np.zeros(len(documents)), index.search(query)
        ours[[int(docid) for docid in run]] = list(run.values())
        known = [word for word in query if word in index.ids]
        theirs = other.get_scores(known) if known else np.zeros(len(documents))
        assert np.abs(ours - theirs).max() < 1e-5


def test_ties_fall_to_the_larger_docid_at_every_depth():
    documents = {f"d{i}": "same words" for i in range(12)} | {"best": "same"}
    ranking = ["best"] + sorted((f"d{i}" for i in range(12)), reverse=True)
    index = BM25(documents)
    for depth in (1, 2, 5, 12, 13, 100):
        assert list(index.search("same", depth)) == ranking[:depth]


def test_the_order_of_the_documents_changes_nothing():
    rng = random.Random(7)
    documents = {f"d{i}": random_text(rng) for i in range(40)}
    shuffled = dict(rng.sample(list(documents.items()), len(documents)))
    query = "w1 w2 w3 w5 w8"
    one, other = BM25(documents).search(query), BM25(shuffled).search(query)
    assert list(one.items()) == list(other.items())


def test_text_words_and_weights_are_the_same_query():
    index = BM25(ANIMALS)
    as_text = index.search("cat the cat")
    assert index.search(["cat", "the", "cat"]) == as_text
    assert index.search({"cat": 2.0, "the": 1.0}) == as_text
    doubled = index.search({"cat": 4.0, "the": 2.0})
    assert doubled == pytest.approx({docid: 2 * score for docid, score in as_text.items()})


def test_negatives_leave_out_the_relevant_ones():
    index = BM25(ANIMALS)
    assert index.negatives("the cat", {"d2"}, 5) == ["d1"]
    assert index.negatives("the cat", {"d2"}, 1) == ["d1"]
    assert index.negatives("the cat", [], 1) == ["d2"]
    assert index.negatives("zebra", [], 3) == []


@pytest.mark.parametrize("query", ["", "???", "zebra", [], {}, ["zebra"]])
def test_a_query_without_a_match_has_an_empty_ranking(query):
    assert BM25(ANIMALS).search(query) == {}
    assert BM25(ANIMALS).search_all({"q": query}) == {"q": {}}


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
    rng = random.Random(11)
    pairs = [(random_text(rng, 15, 8).split(), random_text(rng, 12, 8).split()) for _ in range(40)]
    for iterations in (1, 2, 6):
        model, expected = Model1(pairs, iterations, block=block), model1_by_loops(pairs, iterations)
        found = {}
        for key, t in zip(model.keys.tolist(), model.t.tolist()):
            f, e = divmod(key, len(model.target))
            found[model.source_words[f], model.target_words[e]] = t
        assert set(found) == set(expected)
        assert max(abs(found[key] - expected[key]) for key in expected) < 1e-12


def test_model1_by_hand_after_one_iteration():
    # "paka" with "cat": NULL and paka share 1 equally. "paka na" with "cat": a third each.
    model = Model1([(["paka"], ["cat"]), (["paka", "na"], ["and"])], iterations=1)
    assert model.target_words == ["and", "cat"]
    expected = [[1 / 3 / (1 / 2 + 1 / 3), 1 / 3 / (1 / 2 + 1 / 3), 1.0], [0.6, 0.6, 0.0]]
    assert model.probability(["paka", "na"], ["and", "cat"]) == pytest.approx(np.array(expected))


def test_each_source_word_distributes_one():
    rng = random.Random(13)
    pairs = [(random_text(rng, 15, 8).split(), random_text(rng, 12, 8).split()) for _ in range(30)]
    model = Model1(pairs, 4)
    for word, row in model.lexicon(min_p=0.0).items():
        assert sum(row.values()) == pytest.approx(1), word


def test_the_order_of_the_pairs_changes_nothing_that_is_kept():
    pairs = [("the cat sleeps", "paka analala"), ("the dog sleeps", "mbwa analala"), ("a cat", "paka"),
             ("a dog", "mbwa")]
    one, other = lexicon(pairs), lexicon(pairs[::-1])
    for left, right in zip(one, other):
        assert left.keys() == right.keys()
        for word in left:
            assert left[word] == pytest.approx(right[word])


def test_more_iterations_never_lower_the_likelihood():
    rng = random.Random(17)
    pairs = [(random_text(rng, 15, 8).split(), random_text(rng, 12, 8).split()) for _ in range(30)]
    likelihood = []
    for iterations in range(1, 8):
        model = Model1(pairs, iterations)
        likelihood.append(sum(np.log(model.probability(f, e).mean(axis=1)).sum() for f, e in pairs))
    assert all(later >= earlier - 1e-9 for earlier, later in zip(likelihood, likelihood[1:]))


def test_both_directions_combine_by_their_geometric_mean():
    forward = {"paka": {"cat": 0.5, "the": 0.5}, "adimu": {"the": 1.0}}
    backward = {"cat": {"paka": 0.9}, "the": {"paka": 0.1}}
    found = baselines._combined(forward, backward, min_p=0.0)
    assert found["paka"] == pytest.approx({"cat": 0.75, "the": 0.25})          # sqrt(.45) : sqrt(.05) = 3 : 1
    assert found["adimu"] == {"the": 1.0}                                      # no way back: its own row
    assert list(baselines._combined(forward, backward, min_p=0.3)["paka"]) == ["cat"]
    assert list(baselines._combined(forward, backward, min_p=0.9)["paka"]) == ["cat"]     # the best stays


def test_pairs_with_an_empty_or_endless_side_are_left_out():
    pairs = [(["a"], ["x"]), ([], ["x"]), (["a"], []), (["a"] * 101, ["x"])]
    assert Model1(pairs, 1).skipped == 3


def test_word_alignment_of_a_learned_bitext():
    pairs = [("the cat", "paka"), ("the dog", "mbwa"), ("the cat sleeps", "paka analala"),
             ("the dog sleeps", "mbwa analala"), ("the cow", "ngombe")]
    pairs = [(e.split(), f.split()) for e, f in pairs]
    forward = Model1([(f, e) for e, f in pairs], 10)                            # English given Swahili
    backward = Model1(pairs, 10)
    assert align(["the", "cat", "sleeps"], ["paka", "analala"], forward, backward) == [(1, 0), (2, 1)]
    assert set(align(["the", "cat", "sleeps"], ["paka", "analala"], forward)) >= {(1, 0), (2, 1)}
    assert align(["cat", "cat"], ["paka"], forward) == [(0, 0), (1, 0)]
    assert align(["cat", "cat"], ["paka"], forward, backward) == [(0, 0)]        # paka chooses one of them
    assert align(["unseen"], ["haijulikani"], forward, backward) == []


def test_an_unknown_word_has_probability_zero_and_no_neighbours():
    model = Model1([(["a", "b"], ["x", "y"]), (["b"], ["y"])], 3)
    p = model.probability(["?", "b"], ["y", "?"])                              # (2 targets, NULL ? b)
    assert p[0, 1] == p[1].max() == 0 and p[0, 2] > 0


@pytest.mark.parametrize("links, sure, possible, expected", [
    ([[(0, 0)]], [[(0, 0)]], None, 0.0),
    ([[(0, 1)]], [[(0, 0)]], None, 1.0),
    ([[]], [[(0, 0)]], None, 1.0),
    ([[(0, 0), (1, 1)]], [[(0, 0)]], [[(0, 0), (1, 1)]], 0.0),               # a possible link is free
    ([[(0, 0)], [(0, 0), (1, 0)]], [[(0, 0)], [(1, 1)]], None, 1 - 2 / 5),
])
def test_alignment_error_rate_by_hand(links, sure, possible, expected):
    assert aer(links, sure, possible) == pytest.approx(expected)


# ---- lexicon files -----------------------------------------------------------------------------------------

def test_a_lexicon_survives_the_file(tmp_path):
    table = {"paka": {"cat": 0.7, "cats": 0.1 + 0.2}, "ndege": {"air plane": 1.0}}
    baselines.write_lexicon(tmp_path / "l.txt", table)
    assert baselines.read_lexicon(tmp_path / "l.txt") == table
    assert baselines.read_lexicon(tmp_path / "l.txt", limit=1) == {"paka": table["paka"]}


def test_a_muse_dictionary_shares_one_among_translations(tmp_path):
    (tmp_path / "en-sw.txt").write_text("The paka\ncat paka\ncat pusi\n", encoding="utf-8")
    expected = {"the": {"paka": 1.0}, "cat": {"paka": 0.5, "pusi": 0.5}}
    assert baselines.read_lexicon(tmp_path / "en-sw.txt") == expected


# ---- searching through a lexicon ---------------------------------------------------------------------------

TABLE = {"benki": {"bank": 0.6, "banks": 0.3, "the": 0.06, "money": 0.04}}


@pytest.mark.parametrize("options, expected", [
    ({}, {"bank": 0.6, "banks": 0.3, "the": 0.06, "money": 0.04}),
    ({"top": 1}, {"bank": 1.0}),
    ({"cut": 0.9}, {"bank": 2 / 3, "banks": 1 / 3}),
    ({"cut": 0.91}, {"bank": 0.625, "banks": 0.3125, "the": 0.0625}),   # the one that crosses the cut stays
    ({"cut": 0.01}, {"bank": 1.0}),
    ({"min_p": 0.1}, {"bank": 2 / 3, "banks": 1 / 3}),
    ({"min_p": 0.99}, {"bank": 1.0}),                                           # the best is always kept
    ({"top": 1, "keep": 0.25}, {"bank": 0.75, "benki": 0.25}),
    ({"keep": 1.0, "top": 1}, {"bank": 0.0, "benki": 1.0}),
])
def test_translations_kept_by_hand(options, expected):
    assert baselines.translations("benki", TABLE, **options) == pytest.approx(expected)


def test_an_unknown_word_stands_for_itself():
    for options in ({}, {"top": 1}, {"keep": 0.3}):
        assert baselines.translations("nairobi", TABLE, **options) == {"nairobi": 1.0}


def test_structured_query_by_hand():
    # tf(benki, d1) = .75 * 2 + .25 * 1 = 1.75, tf(benki, d2) = .25; df(benki) = .75 * 1 + .25 * 2 = 1.25
    documents = {"d1": "bank bank river", "d2": "river sand stone", "d3": "sand sand sand"}
    table = {"benki": {"bank": 0.75, "river": 0.25}}
    run = baselines.psq(BM25(documents, 1.0, 0.5), {"q": "Benki?"}, table)["q"]
    idf = math.log(1 + (3 - 1.25 + 0.5) / (1.25 + 0.5))
    assert list(run) == ["d1", "d2"]
    assert run["d1"] == pytest.approx(idf * 1.75 / (1.75 + 1))
    assert run["d2"] == pytest.approx(idf * 0.25 / (0.25 + 1))


def test_an_identity_table_makes_structured_queries_plain_bm25():
    rng = random.Random(19)
    documents = {f"d{i}": random_text(rng) for i in range(30)}
    queries = {f"q{i}": random_text(rng, longest=5) for i in range(10)}
    index = BM25(documents)
    plain, structured = index.search_all(queries), baselines.psq(index, queries, {})
    replaced = baselines.bm25_lexicon(index, queries, {})
    for qid in queries:
        assert list(plain[qid]) == list(structured[qid]) == list(replaced[qid])
        assert structured[qid] == pytest.approx(plain[qid]) and replaced[qid] == pytest.approx(plain[qid])


def test_forms_with_one_stem_add_up_under_english_analysis():
    documents = {"d1": "banks", "d2": "the bank of the river", "d3": "sand"}
    index = BM25(documents, analyse=english)
    run = baselines.psq(index, {"q": "benki"}, {"benki": {"bank": 0.5, "banks": 0.5}})["q"]
    whole = baselines.psq(index, {"q": "benki"}, {"benki": {"bank": 1.0}})["q"]
    assert run == pytest.approx(whole) and set(run) == {"d1", "d2"}


def test_lexical_translation_by_hand():
    index = BM25({"d1": "bank", "d2": "banks money", "d3": "nairobi"})
    table = {"benki": {"bank": 0.6, "banks": 0.2, "money": 0.2}}
    best = baselines.bm25_lexicon(index, {"q": "benki Nairobi"}, table)["q"]
    assert best == index.search(["bank", "nairobi"])
    two = baselines.bm25_lexicon(index, {"q": "benki benki"}, table, top=2)["q"]
    assert two == pytest.approx(index.search({"bank": 1.5, "banks": 0.5}))


def test_parameters_are_chosen_on_held_out_bitext_only():
    # The second translation is the right one everywhere: one translation a word finds nothing, two find all.
    table = {f"f{i}": {"wrong": 0.6, f"e{i}": 0.4} for i in range(6)}
    dev = [(f"e{i} filler", f"f{i}") for i in range(6)]
    tried = baselines.tune("bm25-lexicon", table, dev)
    assert tried[0] == (1.0, {"keep": 0.0, "top": 2})
    assert dict(tried[-1][1])["top"] == 1 and tried[-1][0] == 0.0
    assert len(tried) == 12 and len(baselines.tune("bm25-lexicon", table, dev, given={"top": 1})) == 3


# ---- code-switching ----------------------------------------------------------------------------------------

SWAHILI = {"cat": {"paka": 1.0}, "dog": {"mbwa": 1.0}, "big": {"kubwa": 0.5, "mkubwa": 0.5}}
FINNISH = {"cat": {"kissa": 1.0}, "house": {"talo": 1.0}}


@pytest.mark.parametrize("text, lexicons, p, expected", [
    ("The cat, a Dog!", [SWAHILI], 1.0, "The paka, a Mbwa!"),
    ("The cat, a Dog!", [SWAHILI], 0.0, "The cat, a Dog!"),
    ("(cat) house", [{}, FINNISH], 1.0, "(kissa) talo"),
    ("dog house", [SWAHILI, FINNISH], 1.0, "mbwa talo"),            # only the language that knows the word
    ("unknown words - 42", [SWAHILI, FINNISH], 1.0, "unknown words - 42"),
    ("cat", [], 1.0, "cat"),
    ("", [SWAHILI], 1.0, ""),
])
def test_code_switching_by_hand(text, lexicons, p, expected):
    assert code_switch(text, lexicons, p, random.Random(1)) == expected


def test_the_rate_and_the_languages_are_as_asked():
    switched = code_switch("cat " * 4000, [SWAHILI, FINNISH], 0.3, random.Random(2)).split()
    counts = Counter(switched)
    assert counts["cat"] / 4000 == pytest.approx(0.7, abs=0.03)
    assert counts["paka"] / 4000 == pytest.approx(0.15, abs=0.03)
    weights = {"big": {"kubwa": 0.9, "mkubwa": 0.1}}
    weighted = Counter(code_switch("big " * 4000, [weights], 1.0, random.Random(3)).split())
    assert weighted["mkubwa"] / 4000 == pytest.approx(0.1, abs=0.02)


def test_words_switched_at_a_small_rate_are_switched_alike_at_a_larger_one():
    text = "cat big dog house " * 50
    runs = [code_switch(text, [SWAHILI, FINNISH], p, random.Random(4)).split() for p in (0.25, 0.5, 1.0)]
    for fewer, more in zip(runs, runs[1:]):
        assert all(a in (b, original) for a, b, original in zip(fewer, more, text.split()))
    assert runs[0] == code_switch(text, [SWAHILI, FINNISH], 0.25, random.Random(4)).split()


# ---- files and commands ------------------------------------------------------------------------------------

@pytest.fixture
def prepared(tmp_path):
    """A prepared collection of four documents, one language and two test sets over the same documents."""
    data = tmp_path / "data"
    texts = {
        "docs/mini.tsv": "".join(f"{docid}\t{text}\n" for docid, text in ANIMALS.items()),
        "bitext/sw.train.tsv": ("the cat\tpaka\nthe dog\tmbwa\nthe cat sat\tpaka alikaa\n"
                                "a dog sat\tmbwa alikaa\n"),
        "bitext/sw.dev.tsv": "a cat\tpaka\na dog\tmbwa\n",
        "test/sw/queries.tsv": "q1\tpaka\nq2\tmbwa\nq3\tcat\n",
    }
    for name, text in texts.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(text, encoding="utf-8")
    test = {"lang": "sw", "docs": "mini", "queries": "test/sw/queries.tsv"}
    manifest = {"langs": {"sw": {"pairs": 4, "train": "bitext/sw.train.tsv", "dev": "bitext/sw.dev.tsv"}},
                "docs": {"mini": "docs/mini.tsv"},
                "tests": [{"set": "sw", **test}, {"set": "sw.too", **test}]}
    (data / "collection.json").write_text(json.dumps(manifest), encoding="utf-8")
    return tmp_path


def call(*arguments):
    return baselines.main([str(argument) for argument in arguments])


def read_run(path):
    run = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        qid, q0, docid, rank, score, tag = line.split(" ")
        assert q0 == "Q0" and int(rank) == len(run.setdefault(qid, {})) + 1 and float(score) > 0
        run[qid][docid] = float(score)
    return run


def test_the_commands_write_the_runs_of_every_set(prepared):
    data, out, lexicons = prepared / "data", prepared / "runs", prepared / "lexicon"
    assert call("bm25", "--data", data, "--out", out) == 0
    assert call("lexicon", "--data", data, "--out", lexicons) == 0
    assert call("psq", "--data", data, "--lexicon", lexicons, "--out", out) == 0
    assert call("bm25-lexicon", "--data", data, "--lexicon", lexicons, "--out", out, "--top", 1) == 0
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        f"{name}/{method}.s1.trec" for name in ("sw", "sw.too") for method in ("bm25-lexicon", "bm25", "psq")}
    assert read_run(out / "sw/bm25.s1.trec") == {"q3": BM25(ANIMALS, analyse=english).search("cat")}
    for method in ("psq", "bm25-lexicon"):
        run = read_run(out / f"sw/{method}.s1.trec")
        assert set(run["q1"]) >= {"d1", "d2"} and list(run["q2"])[0] == "d3"
    first = (lexicons / "sw-en.txt").read_text(encoding="utf-8").splitlines()[0].split("\t")
    assert len(first) == 3 and 0 < float(first[2]) <= 1
    assert max(baselines.read_lexicon(lexicons / "en-sw.txt")["cat"].items(), key=lambda x: x[1])[0] == "paka"


def test_a_finished_run_is_kept_and_the_same_command_makes_the_same_bytes(prepared):
    data, out = prepared / "data", prepared / "runs"
    command = ("bm25", "--data", data, "--out", out, "--sets", "sw", "--seed-tag", 3)
    assert call(*command) == 0
    path = out / "sw/bm25.s3.trec"
    first = path.read_bytes()
    path.write_bytes(b"kept\n")
    assert call(*command) == 0 and path.read_bytes() == b"kept\n"
    path.unlink()
    assert call(*command) == 0 and path.read_bytes() == first
    assert not (out / "sw.too").exists()


def test_ties_and_digits_survive_the_run_file(tmp_path):
    run = {"q2": {"a": 1.0, "b": 1.0, "c": 0.1 + 0.2}, "q1": {"x": 1e-17}, "q0": {}}
    baselines.write_run(str(tmp_path / "sub" / "r.trec"), run, "bm25")
    lines = (tmp_path / "sub" / "r.trec").read_text().splitlines()
    assert lines == ["q2 Q0 b 1 1.0 bm25", "q2 Q0 a 2 1.0 bm25", "q2 Q0 c 3 0.30000000000000004 bm25",
                     "q1 Q0 x 1 1e-17 bm25"]
    assert os.listdir(tmp_path / "sub") == ["r.trec"]


def test_the_pairs_asked_for_are_the_pairs_used(prepared, capsys):
    data = prepared / "data"
    assert call("lexicon", "--data", data, "--out", prepared / "two", "--pairs", 2) == 0
    assert "from 2 pairs" in capsys.readouterr().out
    assert set(baselines.read_lexicon(prepared / "two" / "sw-en.txt")) == {"paka", "mbwa"}


@pytest.mark.parametrize("spoil, arguments, message", [
    (("collection.json", None), ("bm25",), "collection.json is not there"),
    (("collection.json", b"{"), ("bm25",), "not a collection manifest"),
    (None, ("bm25", "--sets", "xx"), "choose among: sw sw.too"),
    (None, ("bm25", "--depth", "0"), "depth is 0"),
    (None, ("bm25", "--k1", "-1"), "k1=-1.0"),
    (None, ("bm25", "--b", "nan"), "b=nan"),
    (("docs/mini.tsv", b""), ("bm25",), "docs/mini.tsv: no line"),
    (("docs/mini.tsv", b"d1\t...\n"), ("bm25",), "documents without a word"),
    (("docs/mini.tsv", b"d1\ta\nd1\tb\n"), ("bm25",), "mini.tsv:2: id 'd1' occurs twice"),
    (("test/sw/queries.tsv", b"q1\tpaka\nq2 mbwa\n"), ("bm25",), "queries.tsv:2: expected two fields"),
    (("test/sw/queries.tsv", b"q1\tpaka\nq2\t\xff\n"), ("bm25",), "queries.tsv:2: byte 0xff is not UTF-8"),
    (("docs/mini.tsv", None), ("bm25",), "mini.tsv"),
    (None, ("lexicon", "--langs", "fi"), "choose among: sw"),
    (None, ("lexicon", "--pairs", "0"), "--pairs 0"),
    (None, ("lexicon", "--iterations", "0"), "iterations=0"),
    (("bitext/sw.train.tsv", b""), ("lexicon",), "sw.train.tsv: no sentence pair"),
    (("bitext/sw.train.tsv", b"...\t...\n"), ("lexicon",), "none of 1 sentence pairs"),
    (("bitext/sw.train.tsv", b"one\ttwo\tthree\n"), ("lexicon",), "sw.train.tsv:1: expected two fields"),
    (("sw-en.txt", None), ("psq",), "sw-en.txt to translate with; first `baselines.py lexicon --langs sw`"),
    (("sw-en.txt", b"paka\n"), ("psq",), "sw-en.txt:1: expected `word translation"),
    (("sw-en.txt", b"paka cat 2\n"), ("psq",), "'2' is no probability"),
    (("sw-en.txt", b"paka cat many\n"), ("psq",), "'many' is no probability"),
    (("sw-en.txt", b"paka cat 0.5\nmbwa dog\n"), ("psq",), "some have none"),
    (("sw-en.txt", b""), ("psq",), "no entry"),
    (None, ("psq", "--cut", "0"), "cut in (0, 1]"),
    (None, ("psq", "--keep", "2"), "keep in [0, 1]"),
    (None, ("bm25-lexicon", "--top", "0"), "top at least 1"),
    (("bitext/sw.dev.tsv", b""), ("psq",), "no sentence pair to choose"),
])
def test_bad_input_is_one_line_and_status_2(prepared, capsys, spoil, arguments, message):
    data, out = prepared / "data", prepared / "out"
    (data / "sw-en.txt").write_text("paka cat\nmbwa dog\n", encoding="utf-8")
    if spoil:
        (data / spoil[0]).unlink() if spoil[1] is None else (data / spoil[0]).write_bytes(spoil[1])
    extra = ("--lexicon", data) if arguments[0] in ("psq", "bm25-lexicon") else ()
    assert call(*arguments, "--data", data, "--out", out, *extra) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not out.exists() or not any(path.is_file() for path in out.rglob("*"))


@pytest.mark.parametrize("make, message", [
    (lambda: BM25({}), "0 documents"),
    (lambda: BM25({"d": ""}), "1 documents"),
    (lambda: BM25(ANIMALS, b=1.5), "b=1.5"),
    (lambda: BM25(ANIMALS).search("cat", 0), "depth"),
    (lambda: Model1([]), "none of 0"),
    (lambda: Model1([(["a"], ["b"])], 0), "iterations=0"),
    (lambda: aer([[]], [[]]), "nothing to measure"),
    (lambda: aer([[]], []), "one list a sentence"),
    (lambda: code_switch("a", [], 1.5, random.Random(1)), "p=1.5"),
    (lambda: baselines.tune("psq", {}, []), "dev bitext"),
])
def test_degenerate_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_abbreviated_options_are_refused(prepared):
    with pytest.raises(SystemExit) as stop:
        call("bm25", "--dat", prepared, "--out", prepared)
    assert stop.value.code == 2

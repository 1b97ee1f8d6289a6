# SPDX-License-Identifier: MIT
"""study/collections.py: the collections that small files of our making become, by hand; its commands.

With MIRROR=folder of the publishers' files, the counts of the real profile are checked too.
"""
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import data
import evaluate
import fixture
from conftest import ROOT
from fixture import make, tarred, zipped
from study import baselines, collections, mini, sources
from study.sources import Files
from test_data import tiny, tree
from test_sources import WIKICLIR, no_environment, squad  # noqa: F401

REAL = os.environ.get("MIRROR")
ASKS = fixture.ASKS


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    fixture.write(folder)
    return folder


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    fixture.write_paper(folder)
    return folder


def real_of(mirror, *args, **options):
    return collections.real_collection(Files(mirror), *args, **options)


def paper_of(mirror, *args, **options):
    return collections.paper_collection(Files(mirror), *args, **options)


def counts(c):
    return {row["source"]: row for row in c["counts"]}


# ------------------------------------------------------------------------------------- the real profile
def test_the_real_profile_of_the_fixture_by_hand(real):
    c, rows = real_of(real), {}
    assert [t["set"] for t in c["tests"]] == ["swa", "hau", "de.paragraphs", "de.sentences"]
    assert [len(c["docs"][k]) for k in ("afriqa", "xquad.paragraphs", "xquad.sentences")] == [56, 16, 48]
    swa, de, afriqa = c["tests"][0], c["tests"][3], c["docs"]["afriqa"]
    docid, = swa["qrels"]["swa.0"]
    assert swa["queries"]["swa.0"] == "Amina Orwinde alizaliwa katika mji gani?"
    assert swa["english"]["swa.0"] == "In which town was Amina Orwinde born?"
    assert afriqa[docid].startswith("Amina Orwinde. Amina Orwinde was born in the town of")
    assert {d for q in ("swa.0", "swa.1", "swa.2") for d in swa["qrels"][q]} == {docid}
    sentence, = de["qrels"]["001"]
    assert c["docs"]["xquad.sentences"][sentence] == "Amina Orwinde was born in the year 1850."
    assert c["langs"]["swa"] == {"name": "Swahili", "family": "Niger-Congo", "class": "low", "pairs": 132,
                                 "bitext": "lafand-mt"} and c["langs"]["de"]["family"] == "Indo-European"
    rows = counts(c)
    assert rows["afriqa bem train"]["skipped"] == {"empty context": 1}    # the NaN question is not needed
    assert rows["afriqa yor test"]["note"] == "file not found"
    assert rows["yor left out"]["note"] == "no AfriQA test questions found"


def test_dev_and_training_share_no_passage_and_no_question(real):
    train = real_of(real)["train"]
    positives = {docid for _, docid, _ in train["triples"]}
    judged = {d for row in train["dev_qrels"].values() for d in row}
    assert not positives & judged and set(train["docs"]) == positives | judged
    asked, dev = ({data.fold(x) for x in train[part].values()} for part in ("queries", "dev_queries"))
    assert not asked & dev
    assert real_of(real, seed=2)["train"]["dev_qrels"] != train["dev_qrels"]
    assert real_of(real, ["swa"])["train"] == train                       # the same for any langs


def test_training_questions_and_passages_of_a_test_are_dropped(tmp_path):
    fixture.write(tmp_path)
    test = tmp_path / "afriqa/gold_passages/swa/gold_span_passages.afriqa.swa.en.test.json"
    rows = [json.loads(line) for line in test.read_text().splitlines()]
    same, other = rows[0] | {"id": "a"}, rows[3] | {"id": "b", "question_translated": "Who was that?"}
    make(tmp_path, "gold_span_passages.afriqa.kin.en.train.json",
         json.dumps(same).replace("?", " ?!") + "\n" + json.dumps(other))
    c = real_of(tmp_path)
    row = counts(c)["teacher training pairs"]["skipped"]
    assert not [q for q in c["train"]["queries"] | c["train"]["dev_queries"] if q.startswith("kin")]
    assert row["question is in a test set"] == 1 and row["passage answers a test question"] == 1


def test_passages_of_which_half_stands_in_a_test_passage_are_dropped_and_twins_are_one_document(tmp_path):
    fixture.write(tmp_path)
    test = tmp_path / "afriqa/gold_passages/swa/gold_span_passages.afriqa.swa.en.test.json"
    first = json.loads(test.read_text().splitlines()[0])
    words = [f"word{i}" for i in range(100)]
    rows = [first | {"id": name, "context": " ".join(text), "question_translated": name + "?", "title": ""}
            for name, text in (("whole", words), ("part", words[:60]), ("half", words[:60] + ["other"] * 40),
                               ("apart", ["new", *words[:40]] + [f"else{i}" for i in range(60)]))]
    make(tmp_path, "gold_span_passages.afriqa.kin.en.test.json", json.dumps(rows[0]))
    make(tmp_path, "gold_span_passages.afriqa.kin.en.train.json", "\n".join(map(json.dumps, rows[1:])))
    c = real_of(tmp_path)
    asked = c["train"]["queries"] | c["train"]["dev_queries"]
    assert [q for q in asked if q.startswith("kin")] == ["kin.train.apart"]
    assert len([text for text in c["docs"]["afriqa"].values() if "word1 " in text]) == 3
    assert counts(c)["afriqa passages"]["skipped"] == {"twin of a longer passage": 1}
    found = collections.twins({"a": " ".join(words[:60]), "b": " ".join(words), "c": "Rome.", "d": "rome"})
    assert found == {"a": "b", "d": "c"} and len(collections.shingles(" ".join(words))) == 88


def test_the_topic_that_stands_twice_in_cirals_swahili_file_gets_its_own_number(tmp_path):
    count = Files(tmp_path).count("ciral")
    path = make(tmp_path, "native.tsv", "236\tA\n237\tB\n237\tC\n239\tD\n")
    assert collections.native(path, count) == {"236": "A", "237": "B", "238": "C", "239": "D"}
    assert count["note"] == "the second topic 237 is 238"
    with pytest.raises(ValueError, match="native.tsv: topic 237 occurs twice"):
        collections.native(make(tmp_path, "native.tsv", "237\tB\n237\tC\n238\tD\n"), count)


def test_bitext_dev_is_whole_documents_of_ntrex_and_a_part_of_lafand_that_is_not_in_training(real, tmp_path):
    parts = real_of(real, ["de"])["bitext"]["de"]
    assert len(parts["dev"]) == 24 and len(parts["train"]) == 156            # 180 lines, documents of 12
    assert parts["dev"][0][0] == "Enzi Quantoro was born in the town of Sanjora."
    fixture.write(tmp_path)
    for side, word in [("en", "word"), ("swa", "neno")]:
        for part, lines in (("dev", range(1200)), ("train", range(600, 1500))):
            make(tmp_path, f"lafand-mt/en-swa/{part}.{side}", "".join(f"{word} {i}\n" for i in lines))
    parts = real_of(tmp_path, ["swa"])["bitext"]["swa"]
    dev, train = parts["dev"], parts["train"]
    assert len(dev) == 500 and dev[0] == ("word 0", "neno 0") and dev[-1][0] == "word 1197"
    assert not set(dev) & set(train) and len(train) == 900 - 250


def test_wikipedia_is_taken_where_it_is(tmp_path):
    m, out = tmp_path / "m", tmp_path / "out"
    fixture.write(m)
    with pytest.raises(ValueError, match="wikiclir: nothing found for hau in .*; python -m study.sources"):
        real_of(m, ["hau"], wiki="wikiclir")
    make(m, "wiki-clir.tar.gz", tarred(WIKICLIR | {"wiki-clir/german/en2de.rel": "7 d1 2\n",
                                                   "wiki-clir/german/wiki_de.documents": "d1\tNil\tFluss\n"}))
    c = real_of(m, wiki="wikiclir")
    assert c["wiki"] == {"titles": {"swa": {"7": "Naili", "8": "Mbuzi"}, "de": {"7": "Nil"}},
                         "docs": {"7": "Nile. The Nile is a river .", "8": "Goat. A goat eats ."}}
    assert counts(c)["wikiclir hau"]["note"] == "not found" and "note" not in counts(c)["wikiclir de"]
    data.write_collection(c, out)
    assert [("wiki" in data.language(out, lang)) for lang in ("swa", "hau")] == [True, False]


def test_at_most_so_many_titles_are_drawn_and_no_order_of_the_files_matters(tmp_path):
    drawn = []
    for order in (range(40), range(39, -1, -1)):
        make(tmp_path, "wiki-clir.tar.gz", tarred({
            "wiki-clir/english/wiki_en.queries": "".join(f"{i}\ta b\tc d\n" for i in order),
            "wiki-clir/swahili/en2sw.rel": "".join(f"{i}\ts{i}\t2\n" for i in order),
            "wiki-clir/swahili/wiki_sw.documents": "".join(f"s{i}\tjina {i}\tx\n" for i in order)}))
        files = Files(tmp_path)
        drawn.append(sources.wiki_titles(files, ["swa"], 1, 10, 3))
    assert drawn[0] == drawn[1] and len(drawn[0]["titles"]["swa"]) == 10
    assert set(drawn[0]["docs"].values()) == {"a b. c"}
    assert files.counts == [{"source": "wikiclir swa", "read": 40, "kept": 10, "skipped": {"over 10": 30}}]
    assert sources.wiki_titles(files, ["swa"], 2, 10)["titles"] != drawn[0]["titles"]


# --------------------------------------------------------------------------------------------- XTREME-R
def test_the_tasks_of_xtreme_r_by_hand(real):
    c = real_of(real)
    tasks = {test["set"]: test for test in c["retrieval"]}
    assert {name: test["measure"] for name, test in tasks.items()} == {
        "swa.tatoeba": "accuracy, Tatoeba", "de.tatoeba": "accuracy, Tatoeba", "de.lareqa": "mAP@20, LAReQA"}
    assert {len(row) for t in tasks.values() for row in t["qrels"].values()} == {1}    # mAP@20 divides by it
    one = tasks["swa.tatoeba"]
    assert (one["lang"], one["name"], one["class"]) == ("swa", "Swahili", "low") and "english" not in one
    assert len(one["queries"]) == 21 and len(c["docs"]["tatoeba.swa"]) == 20         # one sentence is twice
    assert one["queries"]["swa.3"] == fixture.say("swa", 3, 2) and one["qrels"]["swa.3"] == {"sentence3": 1}
    assert c["docs"]["tatoeba.swa"]["sentence3"] == fixture.say("en", 3, 2)
    assert one["qrels"]["swa.20"] == one["qrels"]["swa.0"] == {"sentence0": 1}
    sentences = next(test for test in c["tests"] if test["set"] == "de.sentences")
    assert all(tasks["de.lareqa"][k] == sentences[k] for k in ("queries", "qrels", "docs"))
    assert [row["source"] for row in c["counts"]].count("xquad-r de") == 1


def test_without_its_files_a_task_is_not_there(tmp_path):
    fixture.write(tmp_path)
    shutil.rmtree(tmp_path / "tatoeba")
    assert [test["set"] for test in real_of(tmp_path)["retrieval"]] == ["de.lareqa"]


# ------------------------------------------------------------------------------------------- headlines
def test_headlines_ask_for_the_rest_of_their_article_and_the_bitext_is_of_other_text(real):
    c = collections.headlines_collection(Files(real))
    assert [t["set"] for t in c["tests"]] == ["sw", "de"] and "headlines" in c["docs"]
    sw, docs, rows = c["tests"][0], c["docs"]["headlines"], counts(c)
    assert list(sw["queries"]) == [f"sw.paper.{n}" for n in range(15)]
    assert sw["queries"]["sw.paper.1"] == fixture.say("swa", 4, 0) and sw["qrels"]["sw.paper.1"] == {"paper.1": 1}
    assert sw["english"]["sw.paper.1"] == fixture.say("en", 4, 0)
    assert docs["paper.1"].startswith(fixture.say("en", 4, 1)) and fixture.say("en", 4, 0) not in docs["paper.1"]
    assert len(docs) == 15 + 30 and fixture.passage(30) in docs.values()          # lafand-mt's, quotes taken off
    assert c["langs"]["sw"]["bitext"] == "TICO-19, SIB-200" and c["langs"]["de"]["bitext"] == "SIB-200"
    assert c["bitext"]["de"]["train"][0] == (fixture.say("en", 0, 2), fixture.say("de", 0, 2))
    assert rows["TICO-19 sw"]["read"] == 10 and rows["SIB-200 sw"]["kept"] == 120
    assert rows["so left out"]["note"] == "no headlines of NTREX-128 found"
    assert c["train"] == real_of(real)["train"] and c["profile"] == "headlines"
    data.validate(collections.cut(collections.mine(c)))
    for folder in ("ntrex", "sib-200"):
        with pytest.raises(ValueError, match="sw: no (headlines|TICO-19)"):
            files = Files(real)
            files.names = {name: [p for p in paths if folder not in p.parts and "tico19" not in p.parts]
                           for name, paths in files.names.items()}
            collections.headlines_collection(files, ["sw"])


def leaks(c):
    """Texts of a collection that students or teachers learn from and that hold half of a test document's or a
    query's words, in runs of 13, or a query, or a sentence of 6 words and more of a relevant document."""
    seen, said = set(), set()
    for t in c["tests"]:
        found = [c["docs"][t["docs"]][docid] for row in t["qrels"].values() for docid in row]
        seen.update(*map(collections.shingles, [*t["queries"].values(), *t["english"].values(), *found]))
        said.update(data.fold(s) for text in found for s in re.split(r"(?<=[.!?])\s+", text))
    said = {text for text in said if len(text.split()) >= 6}
    texts = [text for parts in c["bitext"].values() for pair in parts["train"] + parts["dev"] for text in pair]
    train = c["train"]
    for part in ("queries", "dev_queries", "docs", "dev_docs"):
        texts += train.get(part, {}).values()
    return [text for text in texts if data.fold(text) in said or 2 * len(
        collections.shingles(text) & seen) > len(collections.shingles(text))]


def test_the_leak_test_finds_what_is_planted(real):
    c = collections.headlines_collection(Files(real), ["de"])
    c["train"], c["bitext"]["de"] = {}, {"train": [("Ford lived in a house by the sea for many years.", "x")], "dev": []}
    query, doc = c["tests"][0]["english"]["de.paper.0"], c["docs"]["headlines"]["paper.0"]
    assert leaks(c) == []
    for text in (query, " ".join(doc.split()[:20]), fixture.say("en", 0, 1)):
        c["bitext"]["de"]["train"] = [(text, "x")]
        assert leaks(c) == [text]


# ------------------------------------------------------------------------------------ the paper profile
def test_the_paper_profile_of_small_files_by_hand(paper):
    c = paper_of(paper, ["sw", "de"], clef_folder=paper / "clef", triples=100, pairs=120)
    sets, train = {t["set"]: t for t in c["tests"]}, c["train"]
    assert list(sets) == ["sw.belebele", "sw.ciral", "sw.clef", "de.belebele", "de.clef"]
    assert [len(c["docs"][k]) for k in ("belebele", "ciral.swahili", "clef")] == [20, 40, 45]
    assert len(train["triples"]) == 100 and len(train["dev_queries"]) == 30
    assert train["docs"].keys() == {d for _, pos, neg in train["triples"] for d in [pos, *neg]}
    assert train["dev_docs"].keys() >= {d for row in train["dev_qrels"].values() for d in row}
    qid, positive, _ = train["triples"][0]
    assert positive == str(int(qid) // 3)
    assert train["queries"][qid] == fixture.say("en", int(positive), int(qid) % 3, ASKS)
    belebele, ciral, clef = (sets[k] for k in ("sw.belebele", "sw.ciral", "de.clef"))
    assert [len(t["queries"]) for t in (belebele, ciral)] == [40, 30]
    assert belebele["queries"]["passage0.0"] == fixture.say("swa", 20, 0, ASKS)
    assert belebele["english"]["passage0.1"] == fixture.say("en", 20, 1, ASKS)
    assert c["docs"]["belebele"]["passage0"] == fixture.passage(20)
    assert belebele["qrels"] == sets["de.belebele"]["qrels"]      # a question in two languages counts once
    assert ciral["qrels"]["29"] == {"PAPER#29#0": 1, "PAPER#32#0": 0}
    assert ciral["queries"]["0"] == fixture.say("swa", 0, 0, ASKS)
    assert len(clef["queries"]) == 38                             # topics 30 and 40 have no relevant document
    assert clef["queries"]["C001"] == " ".join(fixture.say("de", 1, i, ASKS) for i in range(2))
    assert clef["qrels"]["C031"] == {"GH950103-000031": 1}
    assert c["docs"]["clef"]["LA010194-0001"].startswith(" ".join([fixture.person(1)["s"]] * 2))
    assert c["langs"]["de"] == {"name": "German", "family": "Indo-European (Germanic)", "class": "high",
                                "pairs": 120, "bitext": "ccaligned"}
    assert [test["set"] for test in c["retrieval"]] == ["sw.tatoeba", "de.tatoeba", "de.lareqa"]
    assert c["translations"].keys() == {"de"} and c["translations"]["de"].keys() == train["queries"].keys()
    assert c["translations"]["de"][qid] == fixture.say("de", int(positive), int(qid) % 3, ASKS)


def test_no_pair_is_trained_on_or_chosen_by_that_a_test_passage_is_made_of(paper):
    c = paper_of(paper, ["sw", "de"], triples=100, pairs=120)
    dev, train = c["bitext"]["sw"]["dev"], c["bitext"]["sw"]["train"]
    tested = " ".join(c["docs"]["belebele"].values())
    assert len(dev) == 30 and not any(english in tested for english, _ in dev)
    assert not {text for pair in dev for text in pair} & {text for pair in train for text in pair}
    trained = {e for lang in ("sw", "de") for e, _ in c["bitext"][lang]["train"]}
    held = {fixture.say("en", n, i) for n in [*range(20, 30), *range(50, 60)] for i in range(3)}
    assert not trained & held


def test_what_is_drawn_depends_on_the_seed_alone(paper):
    one, same, other = (paper_of(paper, ["sw"], seed=seed, triples=50, pairs=60) for seed in (1, 1, 2))
    assert one == same and one["bitext"] != other["bitext"]
    assert one["train"]["triples"] != other["train"]["triples"]
    pairs = {(fixture.say("en", n, i), fixture.say("swa", n, i)) for n in range(60) for i in range(3)}
    assert set(one["bitext"]["sw"]["train"]) <= pairs                  # still translations of each other


def test_without_clef_the_open_collections_stand_in_and_what_is_missing_is_told(paper, tmp_path):
    c = paper_of(paper)
    assert [t["set"] for t in c["tests"]] == ["sw.belebele", "sw.ciral", "de.belebele"]
    assert counts(c)["fr left out"]["note"] == "no test collection found"
    for folder, options, message in (
            (paper, {"langs": ["fr"]}, "fr: no test collection found in"),
            (paper, {"langs": ["xx"]}, "unknown language 'xx'; the paper profile has sw so tl mr fi de fr"),
            (tmp_path, {}, "MS MARCO: its files in mMARCO not found in"),
            (paper, {"langs": ["de"], "corpus": "europarl"},
             "no europarl bitext with FLORES-200 and NTREX-128 found")):
        with pytest.raises(ValueError, match=message):
            paper_of(folder, **options)


LA94 = "clef/DocumentData/DataCollections/English_data/LATimes94"


@pytest.mark.parametrize("name, change, message", [
    ("mmarco/data/triples.train.ids.small.tsv", lambda b: b + b"1\t2\n", r"tsv:151: expected qid, pid, pid"),
    ("mmarco/data/triples.train.ids.small.tsv", lambda b: b + b"1\t2\t999\n", "name '999', which its texts"),
    ("mmarco/data/google/collections/english_collection.tsv", lambda b: b + b"x\n", "tsv:61: 1 columns"),
    ("OPUS-CCAligned/v1/moses/en-sw.txt.zip", lambda b: b[:700], "truncated or damaged zip"),
    ("belebele/data/swh_Latn.jsonl", lambda b: b + b"{}\n", "jsonl:41: expected an object with link"),
    ("ciral-corpus/translated-passages-v1.0/swahili_passages.jsonl", lambda b: b + b"\xff", "jsonl:41: byte"),
    ("flores/flores200_dataset.tar.gz", lambda b: b[:200], "truncated or damaged gz"),
    (LA94 + "/la010194", lambda b: b[:-9], "<DOC> without <DOCNO>, or that does not end"),
    (LA94 + "/la010194", lambda b: b + b.replace(b"born", b"seen"), "LA010194-0000 occurs twice, with other"),
    ("clef/RelAssess/2000/qrels_english", lambda b: b + b"x1 0 LA1 1\n", "'x1' is no topic number"),
    (LA94, None, "no LA Times 94 below it"), ("clef/RelAssess", None, "no judgements .qrels_english. below"),
    ("clef/Topics", None, "no English topics below it"), ("clef", None, "no such folder, or nothing in it"),
])
def test_a_file_that_is_damaged_or_gone_is_named(paper, tmp_path, name, change, message):
    shutil.copytree(paper, tmp_path / "m")
    path = tmp_path / "m" / name
    if change:
        path.write_bytes(change(path.read_bytes()))
    else:
        shutil.rmtree(path)
    with pytest.raises(ValueError, match=message):
        paper_of(tmp_path / "m", ["sw"], clef_folder=tmp_path / "m" / "clef", triples=1000)


def test_half_of_the_english_topics_of_clef_are_half_of_the_queries(paper, tmp_path):
    shutil.copytree(paper / "clef", tmp_path, dirs_exist_ok=True)
    (tmp_path / "Topics/topics2000/TOP-E.txt").unlink()
    assert len(collections.clef(tmp_path, Files(paper), ["de"])[0]["de"]["queries"]) == 18


# ------------------------------------------------------------------------------------- smoke, negatives
def test_smoke_is_a_small_part_that_still_holds_together(real, paper):
    whole = real_of(real, wiki="wikiclir")
    small = collections.cut(whole, queries=5, n=12)
    data.validate(small)
    assert [len(t["queries"]) for t in small["tests"]] == [5, 5, 5, 5]
    assert [len(small["docs"][k]) for k in ("afriqa", "xquad.sentences")] == [12, 12]
    assert len(small["bitext"]["swa"]["train"]) == small["langs"]["swa"]["pairs"] == 12
    assert len(small["wiki"]["titles"]["swa"]) == len(small["wiki"]["docs"]) == 12
    for name, docs in small["docs"].items():
        assert docs.items() <= whole["docs"][name].items()
    small = collections.cut(paper_of(paper, ["sw", "de"], clef_folder=paper / "clef"))
    data.validate(small)
    assert all(len(t["queries"]) <= 60 for t in small["tests"]) and len(small["retrieval"]) == 3
    assert collections.cut(small) == small


def test_training_triples_and_titles_get_the_nearest_other_documents_as_negatives(real):
    c = real_of(real, wiki="wikiclir")
    mined, bm25 = collections.mine(c), baselines.BM25(c["train"]["docs"])
    data.validate(mined)
    assert {len(negatives) for *_, negatives in mined["train"]["triples"]} <= set(range(1, 9))
    assert mined["train"]["triples"] == [(q, d, bm25.negatives(c["train"]["queries"][q], {d}, 8))
                                         for q, d, _ in c["train"]["triples"]]
    titles, bm25 = c["wiki"]["titles"]["swa"], baselines.BM25(c["wiki"]["docs"])
    assert mined["wiki"]["negatives"]["swa"] == {d: bm25.negatives(titles[d], {d}, 8) for d in titles}
    assert collections.mine(mined)["train"] == mined["train"]            # what brings some keeps them


# --------------------------------------------------------------------------------------------- commands
def prepare(*argv):
    return collections.main(["prepare", *map(str, argv)])


def test_preparing_twice_gives_the_same_bytes_whatever_the_hash_seed(tmp_path, real):
    for seed in ("0", "1"):
        argv = ["prepare", "real", "--mirror", real, "--wiki", "wikiclir", "--out", tmp_path / seed]
        subprocess.run([sys.executable, "-m", "study.collections", *argv], cwd=ROOT, check=True,
                       capture_output=True, env=os.environ | {"PYTHONHASHSEED": seed})
    first = tree(tmp_path / "0")
    assert first == tree(tmp_path / "1") and len(first) == 38
    for name in ("train/triples.tsv", "wiki/swa.triples.tsv"):
        assert first[name].splitlines()[0].count(b"\t") > 1              # query, positive, its negatives


@pytest.mark.parametrize("argv, message", [
    (["real", "--langs", "swa,xx"], "unknown language 'xx'; the real profile has swa hau"),
    (["real", "--langs", "swa", "yor"], "yor: no AfriQA test questions found in"),
    (["real", "--langs", "es"], "es: no XQuAD-R test questions found in"),
    (["real", "--mirror", "nowhere"], "MIRROR: nowhere: No such file or directory"),
    (["real", "--mirror", "EMPTY"], "no training questions, or no tests and bitext, in"),
    ({"lafand-mt/en-swa/train.swa": "one\n"}, "not aligned: .*en has 132 lines, .*swa has 1 lines"),
    ({"lafand-mt/en-swa/train.swa": b"ok\n\xff\n"}, "train.swa:2: byte 0xff at position 1 is not UTF-8"),
    ({"xquad-r/de.json": "{"}, "de.json:1: not JSON"), ({"xquad-r/en.json": ""}, "en.json:1: not JSON"),
    ({"ntrex/DOCUMENT_IDS.tsv": "x\n"}, "not aligned: .*DOCUMENT_IDS.tsv has 1 lines"),
    ({"afriqa/gold_passages/swa/gold_span_passages.afriqa.swa.en.test.json": "x"}, "test.json:1: not JSON")])
def test_a_command_that_fails_prints_one_line_and_writes_nothing(tmp_path, real, capsys, argv, message):
    damaged, argv = (argv, ["real"]) if isinstance(argv, dict) else ({}, argv)
    shutil.copytree(real, tmp_path / "m")
    for name, content in damaged.items():
        make(tmp_path / "m", name, content)
    argv = [str(tmp_path / "empty") if x == "EMPTY" else x for x in argv]
    (tmp_path / "empty").mkdir()
    argv += [] if "--mirror" in argv else ["--mirror", tmp_path / "m"]
    assert prepare(*argv, "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert re.match("error: .*" + message, err) and err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "m"]


def test_mini_is_asked_for_its_collection(tmp_path, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(mini, "collection", lambda **options: asked.append(options) or tiny())
    prepare("mini", "--out", tmp_path / "a", "--langs", "sw,so", "--seed", 7, "--smoke")
    assert "sw Swahili: sw 1 queries, 2 documents; mini 2 pairs" in capsys.readouterr().out
    assert asked == [{"seed": 7, "langs": ["sw", "so"], "smoke": True}]
    data.write_collection(tiny() | {"profile": "mini SMOKE"}, tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_langs_are_read_with_spaces_and_commas(tmp_path, real):
    for i, words in enumerate([["swa", "de"], ["swa,de"], ["de swa", "de"], ["de,", "swa"]]):
        prepare("real", "--mirror", real, "--out", tmp_path / str(i), "--langs", *words)
        assert [*data.load_manifest(tmp_path / str(i))["langs"]] == ["swa", "de"]


def test_an_interrupt_is_one_line_and_a_termination_leaves_no_temporary_file(tmp_path, capsys, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mini, "collection", stopped)
        assert prepare("mini", "--out", tmp_path / "a") == 130
    assert capsys.readouterr().err.count("\n") == 1 and not list(tmp_path.iterdir())
    code = ("import os, signal, data; from study import collections, mini; from test_data import tiny\n"
            "mini.collection = lambda **_: tiny(); data.clean = lambda _: os.kill(os.getpid(), signal.SIGTERM)\n"
            f"collections.main(['prepare', 'mini', '--out', {str(tmp_path / 'b')!r}])")
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"})
    assert (ran.returncode, ran.stderr, list(tmp_path.iterdir())) == (143, "", [])


def test_a_file_of_another_checksum_is_used_and_named(tmp_path, real, capsys):
    prepare("real", "--mirror", real, "--out", tmp_path / "out", "--langs", "de")
    line = capsys.readouterr().err
    assert line.startswith("note: of other checksums than in sources.tsv: ") and line.count("\n") == 1
    assert f"{real}/xquad-r/de.json" in line


# ------------------------------------------------------------------------- with the published files
@pytest.mark.skipif(not REAL, reason="set MIRROR to a folder with the publishers' files")
def test_the_published_files_have_the_counts_we_know():
    c = real_of(REAL)
    rows, docs, train = counts(c), c["docs"], c["train"]
    known = {"swa": (295, 29980), "hau": (300, 3006), "ibo": (409, 6632), "twi": (486, 3318),
             "zul": (325, 3477), "de": (1190, 1783)}
    for lang in set(known) & set(c["langs"]):
        queries = {len(t["queries"]) for t in c["tests"] if t["lang"] == lang}
        assert (queries, c["langs"][lang]["pairs"]) == ({known[lang][0]}, known[lang][1]), lang
    if "de" in c["langs"]:
        assert len(docs["xquad.paragraphs"]) == 240 and len(docs["xquad.sentences"]) == 1180
    if rows["afriqa yor test"].get("note"):
        assert [len(docs["afriqa"]), len(train["triples"]), len(train["dev_queries"])] == [4885, 2617, 200]
    assert rows["afriqa kin train"]["skipped"] == {"empty context": 45}
    data.validate(collections.cut(collections.mine(c)))


@pytest.mark.skipif(not REAL, reason="set MIRROR to a folder with the publishers' files")
@pytest.mark.parametrize("profile", ["real", "headlines"])
def test_no_text_of_a_test_is_learnt_from(profile):
    langs = ["swa", "hau", "ibo", "twi", "zul"] if profile == "real" else None
    make = collections.real_collection if profile == "real" else collections.headlines_collection
    c = collections.mine(make(Files(REAL), langs))
    assert leaks(c) == []
    if profile == "headlines":
        known = {"sw": 3772, "so": 5803, "tl": 3739, "mr": 3773, "fi": 753, "de": 753, "fr": 3748}
        assert {lang: row["pairs"] for lang, row in c["langs"].items()} == known
        assert {len(t["queries"]) for t in c["tests"]} == {123} and len(c["docs"]["headlines"]) == 1530


@pytest.mark.skipif(not REAL, reason="set MIRROR to a folder with the publishers' files")
@pytest.mark.parametrize("lang, name, topics", [("sw", "swahili", 198), ("so", "somali", 338)])
def test_cirals_published_topics_and_judgements_find_passages_that_stand_in_for_its_own(lang, name, topics, tmp_path):
    for path in Path(REAL, "ciral").rglob("*.tsv"):
        (tmp_path / path.name).symlink_to(path.resolve())
    judged = evaluate.read_qrels(tmp_path / f"qrels.ciral-v1.0-{lang}-test-a.tsv")
    judged |= evaluate.read_qrels(tmp_path / f"qrels.ciral-v1.0-{lang}-test-b.tsv")
    docs = {docid: f"{docid} {fixture.passage(n % 60)}" for n, docid in enumerate(
        dict.fromkeys(itertools.chain(*judged.values())))}
    (folder := tmp_path / "translated-passages-v1.0").mkdir()
    (folder / f"{name}_passages.jsonl").write_text("".join(json.dumps(
        {"docid": docid, "title": "", "text": text}) + "\n" for docid, text in docs.items()))
    (test, found), = collections.ciral(Files(tmp_path), lang)
    assert found == docs and len(test["queries"]) == topics and test["qrels"] == {
        qid: judged[qid] for qid in test["queries"]}
    assert test["english"].keys() == test["queries"].keys() and not set(test["english"].values()) & set(
        test["queries"].values())

# SPDX-License-Identifier: MIT
"""`ask` and `align` of optical.py: what matched, word links as the study counts them, plans drawn."""
import io
import json
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from tokenizers.normalizers import BertNormalizer

import data
import optical
from conftest import make, options
from study import baselines


@pytest.fixture(scope="module")
def run(work, tmp_path_factory):
    """(command line, capsys) -> (status, stdout, stderr), with the TEACHER of `work` and a STUDENT in Swahili."""
    root = tmp_path_factory.mktemp("ask")
    make("study.students", "train", *options(work), "--out", root / "s", "--runs", root / "runs", "--methods",
         "optical", "greedy", "--lr", "1e-2", "--save", "--precision", "float32")
    places = {"DATA": work / "data", "TEACHER": work / "teacher", "STUDENT": root / "s/sw/optical", "OUT": root}

    def call(line, capsys):
        line = re.sub("|".join(places), lambda name: str(places[name[0]]), line)
        return optical.main([word.replace("_", " ") for word in line.split()]), *capsys.readouterr()
    call.root = root
    return call


def test_the_error_rate_of_align_is_that_of_the_study(run, work, capsys):
    out, line = run.root, "align --teacher TEACHER --student STUDENT --pairs DATA/bitext/sw.dev.tsv"
    (out / "links").write_text(run(line, capsys)[1])
    found, gold = (data.read_links(path) for path in (out / "links", work / "data/bitext/sw.dev.links"))
    make("study.sweeps", "align", *options(work)[:4], "--students", out / "s", "--precision", "float32", "--out",
         out / "rows.json")
    want, = (row["value"] for row in data.read_json(out / "rows.json")
             if (row["method"], row["measure"]) == ("optical student, plan", "aer, both ways"))
    assert len(found) > 10 and baselines.aer(found, gold) == pytest.approx(want, abs=1e-6)


def test_ask_finds_what_search_finds_and_tells_each_words_best_token(run, work, capsys, monkeypatch):
    teacher, student = (optical.Encoder.load(f) for f in (work / "teacher", run.root / "s/sw/optical"))
    docs, query = data.read_tsv(work / "data/docs/mini.tsv"), "Mkulima aliuza mbuzi"
    ask = "ask TEACHER --student STUDENT --docs DATA/docs/mini.tsv -k 3 --json --query Mkulima_aliuza_mbuzi"
    found, vectors = json.loads(run(ask, capsys)[1]), optical.Vectors.encode(teacher, docs, "doc")
    want = optical.search(student, {"q": query}, vectors, 3)["q"]
    assert {d["docid"]: d["score"] for d in found["documents"]} == want and found["query"] == query
    asked, words = optical.on_grid(student([query])[0][0].detach()), optical.word_of(student, query, 32)
    for document in found["documents"]:
        doc = vectors.batch([vectors.ids.index(document["docid"])], "cpu")[0][0]
        names, places = [*docs[document["docid"]].split(), "(marker)"], optical.word_of(teacher, document["text"], 180)
        for n, (word, name, cosine) in enumerate(document["matches"]):
            best = max((float(x), int(i)) for v, own in zip(asked, words) if own == n for x, i in [(doc @ v).max(0)])
            assert (word, name) == (query.split()[n], names[places[best[1]]]) and abs(cosine - best[0]) < 1e-4
        assert len(document["matches"]) == 3
    monkeypatch.setattr(sys, "stdin", io.StringIO("mbuzi\n\n  goat sold"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    status, shown, told = run("ask TEACHER --docs DATA/docs/mini.tsv -k 2", capsys)
    assert status is None and told.count("query: ") == 4 and max(map(len, shown.splitlines())) <= 60
    assert re.findall("^ [12]", shown, re.M) == [" 1", " 2"] * 2 and "mbuzi\u00a0>" in shown.splitlines()[1]


def test_a_word_without_a_token_matches_nothing_and_a_decoders_marker_may_be_the_first_token(work):
    teacher = optical.Encoder.load(work / "teacher")
    teacher.tokenizer.backend_tokenizer.normalizer = BertNormalizer()                # strips accents
    index = optical.Vectors.encode(teacher, ["goat"], "doc")
    vectors = optical.on_grid(teacher(["goat \u0301 sold"])[0][0]).detach()
    found = optical.matches(vectors, teacher, teacher, "goat \u0301 sold", index, "0", "goat")
    assert [word for word, *_ in found] == ["goat", "sold"]
    places, teacher.at = optical.word_of(teacher, "goat", 64), 0
    assert places[:2] == [-1, -1] == optical.word_of(teacher, "goat", 64)[:2] and max(places) == 0


def test_a_plan_is_drawn_for_a_terminal_and_as_svg(run, capsys, monkeypatch):
    plan, rows, columns = np.array([[0.4, 0.0, 0.1], [0.0, 0.2, 0.3]]), ["a", "<b>&"], ["x", "yy", "z"]
    assert optical.heat(plan, rows, columns).splitlines() == [
        "     x", "     │  yy", "     │  │  z", "   a ██    ░░", "<b>&    ▒▒ ▓▓"]
    assert max(map(len, optical.heat(np.eye(25), ["word"] * 25, ["neno"] * 25).splitlines())) <= 80
    picture = ElementTree.fromstring(optical.plan_svg(plan.tolist(), rows, columns, [[1, 1]]))
    cells = [cell for cell in picture.findall("{*}rect") if cell.get("fill-opacity")]
    assert sorted(float(cell.get("fill-opacity")) for cell in cells) == [0, 0, 0.25, 0.5, 0.75, 1]
    assert cells[-1].get("stroke-width") == "3" and cells[-1].get("fill-opacity") == "0.500"  # over the rest
    assert [text.text for text in picture.findall("{*}text")] == [*rows, *columns, "0.000", "0.200", "0.400"]
    (run.root / "pairs").write_text("A & goat\tMbuzi\n\tmbuzi\n")                  # one without English
    drawn = run("align --teacher TEACHER --pairs OUT/pairs --heat --svg OUT/plan.svg", capsys)[1]
    assert "goat " in drawn and drawn.endswith("\n\n") and "&amp;" in (run.root / "plan.svg").read_text()
    one = run("align --teacher TEACHER --english A_&_goat --source Mbuzi --links threshold", capsys)[1]
    assert one.count("-") == one.count("\n") == 1


@pytest.mark.parametrize("line, message", [
    ("ask OUT/none --docs OUT/empty", "none: no encoder there"), ("ask TEACHER --docs OUT/none", "No such file"),
    ("ask TEACHER --docs OUT/empty -k 0", "-k 0: give how many documents to show"),
    ("ask TEACHER --docs OUT/empty", "empty: empty, expected"), ("align --teacher TEACHER", "give --pairs FILE, or"),
    ("align --teacher TEACHER --english a", "give"), ("align --teacher TEACHER --pairs OUT/empty", "empty: empty"),
    ("align --teacher TEACHER --pairs DATA/collection.json", ":1: 1 columns by tab")])
def test_bad_input_is_one_line_and_status_2(run, line, message, capsys):
    (run.root / "empty").write_text("")
    status, shown, told = run(line, capsys)
    assert status == 2 and not shown and re.search(f"error: .*{message}", told.splitlines()[-1])


def test_every_option_says_its_default():
    for name, option in optical.OPTIONS.items():
        told = str(option.get("default", "default")).replace("0.001", "1e-3") in option["help"]
        assert told or option.get("required") or name in ("teacher", "--pairs", "--english", "--source"), name

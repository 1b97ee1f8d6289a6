# SPDX-License-Identifier: MIT
"""xtreme.py: Tatoeba, LAReQA and Mewsli-X from small files of our making."""
import json
import shutil

import pytest

import data
import fixture
import paper
import xtreme


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("xtreme")
    fixture.write(root)
    return root


def test_the_tasks_of_the_real_profile_by_hand(folder):
    c = xtreme.extend(data.real_collection(mirror=folder), folder)
    data.validate(c)
    tasks = {test["set"]: test for test in c["retrieval"]}
    assert list(tasks) == ["swa.tatoeba", "de.tatoeba", "de.lareqa", "de.mewsli"]
    one = tasks["swa.tatoeba"]
    assert (one["lang"], one["name"], one["class"], one["measure"]) == ("swa", "Swahili", "low", "accuracy, Tatoeba")
    assert len(one["queries"]) == 21 and len(c["docs"]["tatoeba.swa"]) == 20        # one English sentence twice
    assert one["queries"]["swa.3"] == fixture.say("swa", 3, 2) and one["qrels"]["swa.3"] == {"sentence3": 1}
    assert c["docs"]["tatoeba.swa"]["sentence3"] == fixture.say("en", 3, 2)
    assert one["qrels"]["swa.20"] == one["qrels"]["swa.0"] == {"sentence0": 1}
    sentences = next(test for test in c["tests"] if test["set"] == "de.sentences")
    assert tasks["de.lareqa"]["queries"] == sentences["queries"]
    assert tasks["de.lareqa"]["qrels"] == sentences["qrels"] and tasks["de.lareqa"]["docs"] == "xquad.sentences"
    mewsli = tasks["de.mewsli"]
    assert list(mewsli["queries"]) == ["m0", "m1", "m2", "m3"]
    assert mewsli["queries"]["m0"] == f"{fixture.person(0)['s']}: {fixture.say('de', 0, 0)}"
    assert mewsli["queries"]["m3"] == f"{fixture.person(3)['s']}: {fixture.say('de', 3, 2)}"
    assert mewsli["qrels"]["m3"] == {"Q3": 1} and len(c["docs"]["mewsli-x"]) == 12
    assert c["docs"]["mewsli-x"]["Q3"] == f"{fixture.person(3)['s']}. {fixture.passage(3)}"
    count = {row["source"]: row for row in c["counts"]}
    assert count["mewsli-x de"]["read"] == 8 and count["mewsli-x de"]["skipped"] == {
        "no text; get-mewsli-x.sh puts it there": 2, "unknown entity": 2}
    assert [row["source"] for row in c["counts"]].count("xquad-r de") == 1


def test_the_paper_profile_has_them_too_and_reads_back_as_it_was_written(tmp_path):
    fixture.write_paper(tmp_path / "files")
    c = xtreme.extend(paper.collection(["sw", "de"], tmp_path / "files", triples=50, pairs=60), tmp_path / "files")
    assert [test["set"] for test in c["retrieval"]] == ["sw.tatoeba", "de.tatoeba", "de.lareqa", "de.mewsli"]
    data.write_collection(c, tmp_path / "out")
    again = data.load_collection(tmp_path / "out")
    assert again["retrieval"] == c["retrieval"] and again["docs"] == c["docs"]
    small = data.cut(c)
    data.validate(small)
    assert len(small["retrieval"]) == 4 and data.cut(small) == small


def test_without_its_files_a_task_is_not_there(tmp_path):
    fixture.write(tmp_path)
    shutil.rmtree(tmp_path / "tatoeba")
    (tmp_path / "mewsli" / "candidate_set_entities.jsonl").unlink()
    c = data.real_collection(mirror=tmp_path)
    assert [test["set"] for test in xtreme.extend(c, tmp_path)["retrieval"]] == ["de.lareqa"]


def test_mewsli_x_is_never_fetched_for_a_program_makes_it(tmp_path, monkeypatch):
    monkeypatch.delenv("OFFLINE", raising=False)
    monkeypatch.setattr(data, "download", lambda *_: pytest.fail("fetched"))
    assert data.Files(cache=tmp_path).find("mewsli-x", "candidate_set_entities.jsonl") is None


@pytest.mark.parametrize("name, line, message", [
    ("candidate_set_entities.jsonl", {"entity_id": "Q1"}, "entity_id, title, description"),
    ("wikinews_mentions-test.jsonl", {"context": {"text": "x"}}, "an object with context and mentions"),
    ("wikinews_mentions-test.jsonl", [], "an object with context and mentions")])
def test_a_line_of_another_shape_is_named(tmp_path, name, line, message):
    fixture.write_xtreme(lambda *file: fixture.make(tmp_path, *file))
    path = tmp_path / "mewsli" / name
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], json.dumps(line)]) + "\n")
    with pytest.raises(ValueError, match=f"{name}:2: expected .*{message}"):
        list(xtreme.mewsli(data.Files(tmp_path), ["de"], []))


def test_every_measure_is_known_by_its_beginning(folder):
    made = xtreme.extend(data.real_collection(mirror=folder), folder)["retrieval"]
    assert {test["measure"].split(",")[0] for test in made} == {"accuracy", "mAP@20"}
    assert all(len(row) == 1 for test in made for row in test["qrels"].values())    # mAP@20 divides by one

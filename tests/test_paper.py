# SPDX-License-Identifier: MIT
"""paper.py: each format from a small file of our making, with its traps; the collection that they become."""
import gzip
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import data
import fixture
import paper
import rehearse
import xtreme
from conftest import ROOT
from fixture import make, tarred


pytestmark = pytest.mark.usefixtures("no_environment")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirror")
    fixture.write_paper(folder)
    return folder


# ------------------------------------------------------------------------------------------ drawing lines

def test_lines_are_drawn_uniformly_in_order_and_by_seed(tmp_path):
    path = make(tmp_path, "x.gz", gzip.compress("".join(f"{i}\n" for i in range(1, 101)).encode()))
    counts = [0] * 101
    for seed in range(2000):
        rows, total = paper.sample_lines(path, "", 10, seed)
        assert total == 100 and len(rows) == 10 and rows == sorted(rows)
        assert all(text == str(number) for number, text in rows)
        for number, _ in rows:
            counts[number] += 1
    assert max(abs(n - 200) for n in counts[1:]) < 6 * (2000 * 0.1 * 0.9) ** 0.5      # each with chance 0.1
    assert paper.sample_lines(path, "", 10, 3) == paper.sample_lines(path, "", 10, 3)
    rows, total = paper.sample_lines(path, "", 1000, 1)
    assert [number for number, _ in rows] == list(range(1, 101)) and total == 100


def test_a_drawn_line_that_is_not_utf_8_is_named(tmp_path):
    with pytest.raises(ValueError, match="x:2: byte 0xff is not UTF-8"):
        paper.sample_lines(make(tmp_path, "x", b"a\n\xff\n"), "", 5, 1)
    assert paper.sample_lines(make(tmp_path, "x", b""), "", 5, 1) == ([], 0)


# ------------------------------------------------------------------------------------------ CLEF's formats

LATIMES = """<DOC>
<DOCNO> LA010194-0001 </DOCNO>
<DOCID> 000001 </DOCID>
<SOURCE><P>Los Angeles Times</P></SOURCE>
<SECTION><P>Part A</P><LENGTH><P>10 words</P></LENGTH></SECTION>
<HEADLINE><P>CAF\xc9 OPENS;
AT&amp;T CLOSES</P></HEADLINE>
<TEXT><P>It opened
today.</P><P>Fine.</P></TEXT>
</DOC>
<DOC><DOCNO>LA010194-0002</DOCNO><TEXT></TEXT></DOC>
"""
HERALD = ("<DOC>\n<DOCNO>GH950103-000000</DOCNO>\n<DOCID>GH950103-000000</DOCID>\n<DATE>950103</DATE>\n"
          "<HEADLINE>Rain</HEADLINE>\n<EDITION>3</EDITION>\n<TEXT>\nRain fell.\n</TEXT>\n</DOC>\n")
TOPICS_2001 = ("<top>\n<num> C041 </num>\n<DE-title> Pestizide in Babynahrung </DE-title>\n"
               "<DE-desc> Finde Berichte über\nPestizide. </DE-desc>\n<DE-narr> Egal. </DE-narr>\n</top>\n\n"
               "<top>\n<num> C042 </num>\n<DE-title> UNO </DE-title>\n<DE-desc> Invasion. </DE-desc>\n</top>\n")
TOPICS_2000 = "<top>\n\n<num> C001\n<D-title> Architektur in Berlin\n\n<D-desc> Finde\nBerichte.\n<D-narr> Egal.\n</top>\n"


def test_clef_documents_are_keyed_by_docno_and_hold_headline_and_text(tmp_path):
    path = make(tmp_path, "la010194", LATIMES.encode("latin-1"))
    assert list(paper.read_sgml(path)) == [
        ("LA010194-0001", "CAFÉ OPENS; AT&T CLOSES It opened today. Fine."), ("LA010194-0002", "")]
    assert list(paper.read_sgml(make(tmp_path, "gh.gz", gzip.compress(HERALD.encode())))) == [
        ("GH950103-000000", "Rain Rain fell.")]
    for text, message in (("x\n<DOC>\n<TEXT>a</TEXT>\n</DOC>\n", "x:2: a <DOC> without <DOCNO>"),
                          ("<DOC>\n<DOCNO>a</DOCNO>\n<DOC>\n", "x:3: <DOC> inside the one of line 1"),
                          ("\n<DOC>\n<DOCNO>a</DOCNO>\n", "x:2: a <DOC> that does not end")):
        with pytest.raises(ValueError, match=message):
            list(paper.read_sgml(make(tmp_path, "x", text)))
    with pytest.raises(ValueError, match="x:1: a <DOC> of more than 20 letters"):
        list(paper.read_sgml(make(tmp_path, "x", "<DOC>\n" + "a" * 30 + "\n</DOC>"), most=20))


def test_clef_topics_of_both_mark_ups(tmp_path):
    path = make(tmp_path, "Top-de01.txt", TOPICS_2001.encode("latin-1"))
    assert paper.read_topics(path) == {"C041": ("Pestizide in Babynahrung", "Finde Berichte über Pestizide."),
                                       "C042": ("UNO", "Invasion.")}
    assert paper.read_topics(make(tmp_path, "TOP-D.txt", TOPICS_2000)) == {
        "C001": ("Architektur in Berlin", "Finde Berichte.")}
    for text, message in (("", "no <top>"), ("\n<top><num>C001</num></top>", "x:2: a <top> without number or title"),
                          ("<top><num>X9</num><title>a</title></top>", "x:1: 'X9' is no topic number such as C041"),
                          (TOPICS_2000 * 2, "x:10: topic C001 occurs twice")):
        with pytest.raises(ValueError, match=message):
            paper.read_topics(make(tmp_path, "x", text))


def test_ciir_topics_wrap_and_end_at_a_blank_line(tmp_path):
    text = ("query_id: C001\ntitle: Usanifu wa majengo\ndescription: Tafuta nyaraka\nkuhusu Berlin.\n\n\n"
            "query_id: C002\ntitle: Mvua\n")
    path = make(tmp_path, "x_SWAHILI.txt", text)
    assert paper.read_ciir_topics(path) == {"C001": ("Usanifu wa majengo", "Tafuta nyaraka kuhusu Berlin."),
                                            "C002": ("Mvua", "")}
    for text, message in (("", "no topic; expected"), ("hello\n", "x:1: expected query_id:"),
                          ("\nquery_id: C001\n", "x:2: topic C001 has no title"),
                          ("title: a\n", "x:1: '' is no topic number")):
        with pytest.raises(ValueError, match=message):
            paper.read_ciir_topics(make(tmp_path, "x", text))


def test_judgements_name_topics_with_or_without_a_c(tmp_path):
    path = make(tmp_path, "qrels", "C041 0 LA1 1\n42 0 LA1 0\n042 0 LA2 1\n")
    assert paper.read_judgements(path) == {"C041": {"LA1": 1}, "C042": {"LA1": 0, "LA2": 1}}
    with pytest.raises(ValueError, match="'x1' is no topic number"):
        paper.read_judgements(make(tmp_path, "qrels", "x1 0 LA1 1\n"))


def test_json_lines_of_another_kind_are_refused(tmp_path):
    for text, message in (("{", "x:1: not JSON"), ("\n[1]\n", "x:2: expected an object with docid, text, got"),
                          ('{"docid": 1}', "x:1: expected an object with docid, text")):
        with pytest.raises(ValueError, match=message):
            list(paper.read_jsonl(make(tmp_path, "x", text), "docid", "text"))


# ------------------------------------------------------------------------------------------ the collection

def test_the_paper_profile_of_small_files_by_hand(mirror):
    c = paper.collection(["sw", "de"], mirror=mirror, clef_folder=mirror / "clef", triples=100, pairs=120)
    data.validate(c)
    sets = {t["set"]: t for t in c["tests"]}
    assert list(sets) == ["sw.belebele", "sw.ciral", "sw.clef", "de.belebele", "de.mlqa", "de.clef"]
    assert {k: len(v) for k, v in c["docs"].items()} == {"belebele": 20, "ciral.swahili": 40, "mlqa": 10, "clef": 45}
    assert len(c["train"]["triples"]) == 100 and len(c["train"]["dev_queries"]) == 30
    assert c["train"]["docs"].keys() == {d for _, pos, neg in c["train"]["triples"] for d in [pos, *neg]}
    assert c["train"]["dev_docs"].keys() >= {d for row in c["train"]["dev_qrels"].values() for d in row}
    qid, positive, _ = c["train"]["triples"][0]
    assert positive == str(int(qid) // 3) and c["train"]["queries"][qid] == fixture.say(
        "en", int(positive), int(qid) % 3, fixture.ASKS)
    belebele = sets["sw.belebele"]
    assert len(belebele["queries"]) == 40 and belebele["queries"]["passage0.0"] == fixture.say(
        "swa", 20, 0, fixture.ASKS)
    assert c["docs"]["belebele"]["passage0"] == fixture.passage(20)
    assert belebele["english"]["passage0.1"] == fixture.say("en", 20, 1, fixture.ASKS)
    ciral = sets["sw.ciral"]
    assert len(ciral["queries"]) == 30 and ciral["qrels"]["29"] == {"PAPER#29#0": 1, "PAPER#32#0": 0}
    assert ciral["queries"]["0"] == fixture.say("swa", 0, 0, fixture.ASKS)
    mlqa, asked = sets["de.mlqa"], "421"                    # person 42, sentence 1
    assert len(mlqa["queries"]) == 8 * 3 - 1 and mlqa["qrels"][asked] == {"paragraph2": 1}
    assert (mlqa["queries"][asked], mlqa["english"][asked]) == tuple(
        fixture.say(lang, 42, 1, fixture.ASKS) for lang in ("de", "en"))
    assert c["docs"]["mlqa"]["paragraph2"] == " ".join(fixture.say("en", 42, i) for i in range(3))
    count = next(row for row in c["counts"] if row["source"] == "mlqa de")
    assert (count["read"], count["kept"]) == (25, 23) and count["skipped"] == {"empty, or not in the English file": 2}
    clef = sets["de.clef"]
    assert len(clef["queries"]) == 38                         # topics 30 and 40 have no relevant document
    assert clef["queries"]["C001"] == " ".join(fixture.say("de", 1, i, fixture.ASKS) for i in range(2))
    assert clef["qrels"]["C031"] == {"GH950103-000031": 1}
    assert c["docs"]["clef"]["LA010194-0001"].startswith(fixture.person(1)["s"] + " " + fixture.person(1)["s"])
    assert c["langs"]["sw"] == {"name": "Swahili", "family": "Niger-Congo", "class": "low", "pairs": 120,
                                "bitext": "ccaligned"}
    held = {text for pair in c["bitext"]["sw"]["dev"] for text in pair}
    tested = " ".join(c["docs"]["belebele"].values())
    assert not any(e in tested for e, _ in c["bitext"]["sw"]["dev"])       # nothing is chosen by a test passage
    trained = {e for lang in ("sw", "de") for e, _ in c["bitext"][lang]["train"]}
    assert trained.isdisjoint(fixture.say("en", n, i) for n in [*range(20, 30), *range(50, 60)] for i in range(3))
    assert sets["sw.belebele"]["qrels"] == sets["de.belebele"]["qrels"]   # a question in two languages counts once
    assert len(c["bitext"]["sw"]["dev"]) == 30 and held.isdisjoint(t for p in c["bitext"]["sw"]["train"] for t in p)
    assert c["translations"].keys() == {"de"} and c["translations"]["de"].keys() == c["train"]["queries"].keys()
    assert c["translations"]["de"][qid] == fixture.say("de", int(positive), int(qid) % 3, fixture.ASKS)


def test_what_is_drawn_depends_on_the_seed_alone(mirror):
    one, same, other = (paper.collection(["sw"], mirror=mirror, seed=seed, triples=50, pairs=60)
                        for seed in (1, 1, 2))
    assert one == same
    assert one["train"]["triples"] != other["train"]["triples"] and one["bitext"] != other["bitext"]
    assert all((e, x) in {(fixture.say("en", n, i), fixture.say("swa", n, i)) for n in range(60) for i in range(3)}
               for e, x in one["bitext"]["sw"]["train"])          # still translations of each other


def test_the_paper_profile_reads_back_as_it_was_written(mirror, tmp_path):
    c = paper.collection(["sw", "de"], mirror=mirror, triples=40, pairs=30)
    data.write_collection(c, tmp_path / "out")
    assert data.load_collection(tmp_path / "out") == c
    assert (tmp_path / "out/translations/en-de/train.tsv").exists()


def test_smoke_is_a_small_part(mirror):
    small = data.cut(paper.collection(["sw"], mirror=mirror, clef_folder=mirror / "clef"))
    data.validate(small)
    assert all(len(t["queries"]) <= 60 for t in small["tests"])


def test_without_clef_the_open_collections_stand_in_and_what_is_missing_is_told(mirror, tmp_path):
    c = paper.collection(mirror=mirror)
    assert [t["set"] for t in c["tests"]] == ["sw.belebele", "sw.ciral", "de.belebele", "de.mlqa"]
    notes = {row["source"]: row.get("note") for row in c["counts"]}
    assert notes["fr left out"] == "no test collection found"
    with pytest.raises(ValueError, match="fr: no test collection found in"):
        paper.collection(["fr"], mirror=mirror)
    with pytest.raises(ValueError, match="unknown language 'xx'; the paper profile has sw so tl mr fi de fr"):
        paper.collection(["xx"], mirror=mirror)
    with pytest.raises(ValueError, match="MS MARCO: not found in .*, neither as mmarco nor as msmarco"):
        paper.collection(mirror=tmp_path)
    with pytest.raises(ValueError, match="no europarl bitext with FLORES-200 and NTREX-128 found"):
        paper.collection(["sw"], mirror=mirror, corpus="europarl")


def test_ms_marco_comes_from_its_own_host_too(mirror, tmp_path):
    whole = paper.collection(["sw"], mirror=mirror, triples=200)["train"]
    for path in mirror.rglob("*"):
        if path.is_file() and "mmarco" not in path.parts and "clef" not in path.parts:
            make(tmp_path, path.relative_to(mirror), path.read_bytes())
    marco = mirror / "mmarco/data"
    parts = {"collectionandqueries.tar.gz": {
        "collection.tsv": "google/collections/english_collection.tsv",
        "queries.dev.small.tsv": "google/queries/dev/english_queries.dev.small.tsv",
        "qrels.dev.small.tsv": "qrels.dev.small.tsv"},
        "queries.tar.gz": {"queries.train.tsv": "google/queries/train/english_queries.train.tsv"}}
    for name, members in parts.items():
        make(tmp_path, name, tarred({
            member: (marco / source).read_bytes() for member, source in members.items()}))
    make(tmp_path, "qidpidtriples.train.full.2.tsv.gz",
         gzip.compress((marco / "triples.train.ids.small.tsv").read_bytes()))
    assert paper.collection(["sw"], mirror=tmp_path, triples=200)["train"] == whole


@pytest.mark.parametrize("name, change, message", [
    ("mmarco/data/triples.train.ids.small.tsv", lambda b: b + b"1\t2\n", r"tsv:151: expected qid, pid, pid by tab"),
    ("mmarco/data/triples.train.ids.small.tsv", lambda b: b + b"1\t2\t999\n", "name '999', which its texts lack"),
    ("mmarco/data/google/collections/english_collection.tsv", lambda b: b + b"x\n", "tsv:61: 1 columns by tab"),
    ("OPUS-CCAligned/v1/moses/en-sw.txt.zip", lambda b: b[:700], "truncated or damaged zip"),
    ("belebele/data/swh_Latn.jsonl", lambda b: b + b"{}\n", "swh_Latn.jsonl:41: expected an object with link"),
    ("ciral-corpus/translated-passages-v1.0/swahili_passages.jsonl", lambda b: b + b"\xff\n", "jsonl:41: byte 0xff"),
    ("flores/flores200_dataset.tar.gz", lambda b: b[:200], "truncated or damaged gz"),
    ("clef/DocumentData/DataCollections/English_data/LATimes94/la010194", lambda b: b[:-9], "<DOC> that does not end"),
])
def test_a_damaged_file_is_named(mirror, tmp_path, name, change, message):
    import shutil
    shutil.copytree(mirror, tmp_path / "m")
    path = tmp_path / "m" / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        paper.collection(["sw"], mirror=tmp_path / "m", clef_folder=tmp_path / "m" / "clef", triples=1000)


@pytest.mark.parametrize("gone, message", [
    ("DocumentData/DataCollections/English_data/LATimes94", "no LA Times 94 .LATimes94. below it"),
    ("RelAssess", "no judgements .qrels_english. below it"), ("Topics/topics2000/TOP-E.txt", None),
    ("", "no such folder, or nothing in it")])
def test_a_clef_folder_that_lacks_something_says_what(mirror, tmp_path, gone, message):
    import shutil
    if gone:
        shutil.copytree(mirror / "clef", tmp_path / "clef")
        path = tmp_path / "clef" / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    files, counts = data.Files(mirror), []
    if message is None:                                            # half of the English topics: half are asked
        tests, _ = paper.clef(tmp_path / "clef", files, ["de"], counts)
        assert len(tests[0]["queries"]) == 18
        return
    with pytest.raises(ValueError, match=message):
        paper.clef(tmp_path / "clef", files, ["de"], counts)


def test_check_lists_every_source_of_the_paper_with_address_size_and_state(mirror, capsys):
    assert data.main(["check", "--profile", "paper", "--mirror", str(mirror)]) == 0
    out = capsys.readouterr().out
    assert "mmarco: 6 of 7 files present" in out and "msmarco: 0 of 3 files present" in out
    assert ("  missing  https://msmarco.z22.web.core.windows.net/msmarcoranking/queries.tar.gz  18,882,551 bytes"
            in out)
    assert "  missing  https://huggingface.co/datasets/unicamp-dl/mmarco/resolve/main/data/google/queries/train/french" in out
    assert {name for name, row in data.SOURCES.items() if "paper" in row["profile"]} == {
        line.split(":")[0] for line in out.splitlines() if not line.startswith(" ")}


# ------------------------------------------------------------------------------------------ the hub

class Hub(BaseHTTPRequestHandler):
    """A hub on loopback: data sets are folders of `root`, /datasets/<owner>/<name>/resolve/main/<file>."""
    root, places, broken = None, {}, {}

    def do_HEAD(self, body=False):
        place, _, file = self.path.split("?")[0].removeprefix("/datasets/").partition("/resolve/main/")
        path = self.root / self.places.get(place, "?") / file
        code = self.broken.get(file, 200 if path.is_file() else 404)
        content = path.read_bytes() if path.is_file() else b""
        start = int((self.headers.get("Range") or "bytes=0-").split("=")[1].split("-")[0])
        self.send_response(206 if start and code == 200 else code)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        if code == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(content) - start if code == 200 else 0))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body and code == 200:
            self.wfile.write(content[start:])

    def do_GET(self):
        self.do_HEAD(body=True)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(mirror):
    places = {"unicamp-dl/mmarco": "mmarco", "facebook/belebele": "belebele", "CIRAL/ciral": "ciral",
              "CIRAL/ciral-corpus": "ciral-corpus"}
    handler = type("Handler", (Hub,), {"root": mirror, "places": places, "broken": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


WITHOUT_SUMS = ("import sys, data\n"                     # the published files' checksums are not those of ours\n"
                "for row in data.SOURCES.values(): row['sums'].clear()\n"
                "sys.exit(data.main(sys.argv[1:]))")


def prepare(tmp_path, mirror, endpoint, *program):
    """data.py prepare paper, with what is not on the hub in a mirror and the hub on loopback."""
    for name in ("flores", "ntrex", "OPUS-CCAligned", "ciral-native", "tatoeba"):
        for path in (mirror / name).rglob("*"):
            if path.is_file():
                make(tmp_path / "mirror", path.relative_to(mirror), path.read_bytes())
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env |= {"HF_ENDPOINT": endpoint, "MIRROR": str(tmp_path / "mirror"), "DOWNLOAD": "1", "HF_HUB_OFFLINE": "0",
            "DATA_CACHE": str(tmp_path / "cache"), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run([sys.executable, *(program or [ROOT / "data.py"]), "prepare", "paper", "--langs", "sw",
                           "--out", tmp_path / "out"], capture_output=True, text=True, env=env, cwd=ROOT)


def test_files_of_the_hub_come_through_hf_endpoint(tmp_path, mirror, hub):
    handler, endpoint = hub
    done = prepare(tmp_path, mirror, endpoint, "-c", WITHOUT_SUMS)
    assert done.returncode == 0, done.stderr
    assert data.load_collection(tmp_path / "out") == xtreme.extend(paper.collection(["sw"], mirror=mirror), mirror)
    kept = tmp_path / "cache/belebele/data/swh_Latn.jsonl"
    assert kept.read_bytes() == (mirror / "belebele/data/swh_Latn.jsonl").read_bytes()
    handler.broken = {"data/swh_Latn.jsonl": 500}
    assert prepare(tmp_path, mirror, endpoint, "-c", WITHOUT_SUMS).returncode == 0       # from the cache


def test_a_hub_that_fails_or_serves_another_file_ends_in_one_line(tmp_path, mirror, hub):
    handler, endpoint = hub
    done = prepare(tmp_path, mirror, endpoint)
    assert done.returncode == 2 and "qrels.dev.small.tsv: md5" in done.stderr and "expected 38a80559" in done.stderr
    assert not (tmp_path / "cache/mmarco/data/qrels.dev.small.tsv").exists()
    for code in (401, 403):
        handler.broken = {"data/triples.train.ids.small.tsv": code}
        done = prepare(tmp_path, mirror, endpoint, "-c", WITHOUT_SUMS)
        assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: " + endpoint), done.stderr
        assert f"small.tsv: HTTP {code}; the same command tries again; if" in done.stderr and "Traceback" not in done.stderr
    handler.broken = {"data/swh_Latn.jsonl": 404}
    done = prepare(tmp_path, mirror, endpoint, "-c", WITHOUT_SUMS)
    assert done.returncode == 0 and "sw.belebele" not in done.stdout and "sw.ciral" in done.stdout
    assert not (tmp_path / "out.part").exists()


def test_a_hub_that_is_not_there_ends_in_one_line(tmp_path, mirror, hub):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = prepare(tmp_path, mirror, endpoint)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: {endpoint}/datasets/unicamp-dl/mmarco/")


# ------------------------------------------------------------------------------------------ the rehearsal

def test_the_rehearsal_measures_every_part(tmp_path):
    done = subprocess.run([sys.executable, "optical.py", "rehearse", "--out", tmp_path, "--tiny", "--seconds", "0.2",
                           "--batch", "8", "--threads", "1", "--device", "cpu"], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "rehearsal.json").read_text())
    assert all(found[key] > 0 for key in found if key.endswith(("_s", "_gb")) and key not in (
        "disk_gb", "index_gb", "bitext_vectors_gb", "write_s", "bitext_ready_s", "index_write_s"))
    assert 300 < found["pairs"] <= 400 and 0 <= found["padding_student"] < 0.1
    assert 0 < found["transport_s"] < found["student_step_s"] < found["student_step_without_cache_s"] * 2
    assert found["hours"]["all"] == pytest.approx(sum(v for k, v in found["hours"].items() if k != "all"), abs=0.06)
    assert found["disk_gb"]["all"] > 2 * 3_000_000 * 75 * 260 / 1e9 and " disk:" in done.stdout
    assert (tmp_path / "rehearsal.md").read_text() in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rehearsal.json", "rehearsal.md", "run.trec"]


def test_the_predicted_hours_count_the_steps_of_run_all():
    script = (ROOT / "run_all.sh").read_text()
    profile = script[script.index('elif [ "$profile" = paper ]'):script.index("first_lang=${langs:-swa}")]
    found = dict.fromkeys(("teacher_step_s", "student_step_s", "search_s"), 3600.0) | {
        "encode_tokens_per_s": 1.0, "bitext_tokens": 0}
    hours = rehearse.hours(found, 0)
    teacher, student, tuning = (int(re.search(pattern, profile)[1]) for pattern in (
        r"--augment --steps (\d+)", r" steps=(\d+)", r"tune_steps=(\d+)"))
    rates = len(re.search(r"grid=\(([^)]*)\)", profile)[1].split())
    assert hours["teacher"] == teacher and hours["students"] == 7 * 6 * student
    assert hours["learning rates"] == 6 * rates * tuning


def test_padding_is_the_share_of_tokens_that_are_none():
    assert rehearse.padding([2, 4, 4, 4], [np.array([0, 1]), np.array([2, 3])]) == pytest.approx(2 / 16)

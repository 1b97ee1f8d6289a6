# SPDX-License-Identifier: MIT
"""data.py: readers on small files with the traps of the published ones, downloads through a loopback server.

With MIRROR=folder of the publishers' files, the counts of the real profile are checked too.
"""
import argparse
import ast
import gzip
import hashlib
import json
import lzma
import os
import re
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import baselines
import data
import fixture
import paper
from conftest import ROOT
from fixture import make, tarred, zipped

REAL = os.environ.get("MIRROR")


pytestmark = pytest.mark.usefixtures("no_environment")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirror")
    fixture.write(folder)
    return folder


def tree(folder):
    paths = [p for p in sorted(Path(folder).rglob("*")) if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def tmx(*pairs, head='<?xml version="1.0"?>', lang="sw"):
    units = "".join(f'<tu><tuv xml:lang="en"><seg>{e}</seg></tuv>'
                    f'<tuv xml:lang="{lang}"><seg>{s}</seg></tuv></tu>\n' for e, s in pairs)
    return f'{head}\n<tmx version="1.4"><header/><body>\n{units}</body></tmx>'


# --------------------------------------------------------------------------------------------- text
def test_clean_is_nfc_with_single_spaces_and_nothing_unprintable():
    assert data.clean("e\u0301t\u00e9\u00a0\u2028 x\u0085y\tz\r\n") == "\u00e9t\u00e9 x y z"
    assert data.clean("\ufeffa\x00b\x1fc") == "a b c"
    assert data.clean("half \ud800 surrogate").encode() == "half \ufffd surrogate".encode()
    assert data.clean("क्\u200dष") == "क्\u200dष"                     # joiners carry meaning, they stay


def test_clean_twice_is_clean_once():
    for text in ("  a\u0301 \u212b b ", "\u1e9b\u0323", "ｆｕｌｌ ｗｉｄｔｈ", ""):
        assert data.clean(data.clean(text)) == data.clean(text)


def test_lines_end_at_newlines_only_and_marks_and_returns_go(tmp_path):
    path = make(tmp_path, "a.txt", "\ufeffone\r\ntwo\u2028still two\x85\x0b\x0c\n\nlast without end")
    assert list(data.lines(path)) == [(1, "one"), (2, "two\u2028still two\x85\x0b\x0c"), (3, ""),
                                      (4, "last without end")]


@pytest.mark.parametrize("pack", ["plain", "gz", "xz", "zip"])
def test_packed_files_read_like_plain_ones_whatever_their_name(tmp_path, pack):
    import lzma
    body = "a\té\nb\tü\n".encode()
    packed = {"plain": body, "gz": gzip.compress(body), "xz": lzma.compress(body),
              "zip": zipped({"folder/": "", "__MACOSX/._c.tsv": "x", "folder/c.tsv": body})}
    path = make(tmp_path, "corpus", packed[pack])
    assert data.read_tsv(path) == {"a": "é", "b": "ü"}
    assert data.read_tsv(make(tmp_path, "text", "PK1\tsounds like a zip")) == {"PK1": "sounds like a zip"}


def test_a_zip_of_several_members_is_read_by_the_end_of_the_name(tmp_path):
    make(tmp_path, "m.zip", zipped({name: name + "\n" for name in ("x.en-sw.en", "x.en-sw.sw", "README")}))
    assert list(data.lines(tmp_path / "m.zip", ".sw")) == [(1, "x.en-sw.sw")]
    with pytest.raises(ValueError, match="0 members end in '.fi', .* has x.en-sw.en, x.en-sw.sw, README"):
        list(data.lines(tmp_path / "m.zip", ".fi"))
    with pytest.raises(ValueError, match="3 members"):
        list(data.lines(tmp_path / "m.zip"))


# ------------------------------------------------------------------------------------------ readers
def test_aligned_files_give_pairs_and_count_empty_sides(tmp_path):
    english = make(tmp_path, "t.en", "\ufeffOne  dog\r\n\r\nThree\nFour")
    source = make(tmp_path, "t.sw", "Mbwa mmoja\nMbili\n\u00a0\nNne\n")
    count = data.Count("t")
    assert list(data.read_pairs(english, source, count=count)) == [("One dog", "Mbwa mmoja"), ("Four", "Nne")]
    assert count.row() == {"source": "t", "read": 4, "kept": 2, "skipped": {"empty side": 2}}


@pytest.mark.parametrize("lengths", [(5, 3), (3, 5), (0, 1)])
def test_misaligned_files_are_refused_with_both_names_and_counts(tmp_path, lengths):
    paths = [make(tmp_path, f"t{i}", "x\n" * n) for i, n in enumerate(lengths)]
    with pytest.raises(ValueError) as e:
        list(data.read_pairs(*paths))
    assert f"{paths[0]} has {lengths[0]} lines, {paths[1]} has {lengths[1]} lines" in str(e.value)
    assert "\n" not in str(e.value)


def test_tmx_reads_plain_zipped_and_gzipped_alike(tmp_path):
    text = tmx(("A &amp; b", "C &lt; d"), ("e\u0301", " x \n y "), lang="SW-KE")
    want = [("A & b", "C < d"), ("\u00e9", "x y")]
    assert list(data.read_pairs(make(tmp_path, "a.tmx", text), lang="sw")) == want
    assert list(data.read_pairs(make(tmp_path, "a.tmx.gz", gzip.compress(text.encode())), lang="sw")) == want
    packed = make(tmp_path, "a.tmx.zip", zipped({"README.md": "no", "all.tmx": text}))
    assert list(data.read_pairs(packed, lang="sw")) == want


def test_tmx_reads_utf_16_external_doctypes_old_lang_and_inline_codes(tmp_path):
    head = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE tmx SYSTEM "tmx14.dtd">'
    text = tmx(('<bpt i="1">\\b </bpt>bold<ept i="1">\\b0 </ept> <hi>word</hi>', "ñ"), head=head)
    text = text.replace('xml:lang="sw"', 'lang="sw"')
    assert list(data.read_tmx(make(tmp_path, "a.tmx", text.encode("utf-16")), "sw")) == [("bold word", "ñ")]


def test_tmx_units_without_a_side_are_counted(tmp_path):
    path, count = make(tmp_path, "a.tmx", tmx(("a", "b"), ("c", ""), lang="so")), data.Count()
    assert list(data.read_pairs(path, lang="so", count=count)) == [("a", "b")]
    assert count.row()["skipped"] == {"empty side": 1}
    assert list(data.read_pairs(path, lang="sw")) == []


@pytest.mark.parametrize("name, member", [("a.gz", ""), ("a.xz", ""), ("a.zip", ".txt"), ("a.tar.gz", ".txt")])
@pytest.mark.parametrize("line, told", [(b"x", "a.*:1: a line of more than 16 MB"), (
    b"x" * 127 + b"\n", "a.*: unpacks to more than 100 times its size")])
def test_an_archive_that_is_a_bomb_is_refused_before_it_fills_the_memory(tmp_path, name, member, line, told):
    block = line * ((4 << 20) // len(line))
    body = b""
    if name in ("a.gz", "a.xz"):
        body = {"a.gz": gzip, "a.xz": lzma}[name].compress(block) * 40
    elif name == "a.tar.gz":
        body = tarred({"x.txt": block * 40})
    path = make(tmp_path, name, body)
    if name == "a.zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.txt", block * 40)
    code = ("import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (300 << 20,) * 2); import data\n"
            "for _ in data.lines(sys.argv[1], sys.argv[2]): pass")
    done = subprocess.run([sys.executable, "-c", code, path, member], cwd=ROOT, capture_output=True, text=True)
    assert path.stat().st_size < 700_000 and re.search(f"ValueError: {tmp_path}/{told}", done.stderr), done.stderr


def test_a_line_as_long_as_the_limit_is_read_and_a_longer_one_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "LINE", 1 << 20)
    path = make(tmp_path, "a.tsv", b"d1\t" + b"x" * ((1 << 20) - 4) + b"\nd2\ty\n")
    assert list(data.read_tsv(path)) == ["d1", "d2"] and len(paper.sample_lines(path, "", 5, 1)[0]) == 2
    path = make(tmp_path, "a.tsv", b"d1\ty\nd2\t" + b"x" * (1 << 20) + b"\n")
    for read in (data.read_tsv, lambda p: paper.sample_lines(p, "", 5, 1)):
        with pytest.raises(ValueError, match=r"a\.tsv:2: a line of more than 1 MB"):
            read(path)


BOMB = ('<!DOCTYPE tmx [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
        '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>')


@pytest.mark.parametrize("text, message", [
    (tmx(("&c;", "x"), head=BOMB), ":1: entities and their declarations are refused"),
    (tmx(("&c;", "x"), head=BOMB).encode("utf-16"), "refused"),
    (tmx(("&x;", "x"), head='<!DOCTYPE tmx [<!ENTITY x SYSTEM "file:///etc/hostname">]>'), "refused"),
    (tmx(("a", "x")).replace("</tu>", ""), "not well-formed, mismatched tag"),
    (tmx(("a", "x"))[:-20], "not well-formed"),
    (tmx(("a", "x\udcff")).encode(errors="surrogateescape"), ":3: not well-formed"),
    ("", "no element found"),
])
def test_tmx_that_is_a_bomb_or_broken_is_refused_in_one_line(tmp_path, text, message):
    path = make(tmp_path, "a.tmx", text)
    with pytest.raises(ValueError) as e:
        list(data.read_tmx(path, "sw"))
    assert message in str(e.value) and str(path) in str(e.value) and "\n" not in str(e.value)


def gold(**changes):
    row = {"id": "0", "question_lang": "Nani?", "question_translated": "Who?", "context": "She."}
    return json.dumps(row | {"title": "T"} | changes)


def test_afriqa_reads_gold_passages_and_queries_with_null_and_nan(tmp_path):
    path = make(tmp_path, "g.json", "\n".join([
        gold(), gold(id=1, context=None), gold(id="2", question_lang=float("nan")), "",
        gold(id="3", title=None),
        json.dumps({"id": 4, "question": "Lini?", "translated_question": "When?"})]))
    keys = ("id", "question", "english", "context", "title")
    assert [tuple(row[k] for k in keys) for row in data.read_afriqa(path)] == [
        ("0", "Nani?", "Who?", "She.", "T"), ("1", "Nani?", "Who?", "", "T"), ("2", "", "Who?", "She.", "T"),
        ("3", "Nani?", "Who?", "She.", ""), ("4", "Lini?", "When?", "", "")]


def squad(**changes):
    paragraph = {"context": "\u00a0One is one. Two is two.", "sentence_breaks": [[1, 12], [13, 24]], "qas": [
        {"id": "q1", "question": "How many?", "answers": [{"text": "Two is", "answer_start": 13}]},
        {"id": "q2", "question": " Where? ", "answers": [{"text": " ", "answer_start": 12}]}]}
    return json.dumps({"data": [{"title": "A_b", "paragraphs": [paragraph | changes]}]})


def test_squad_finds_the_sentence_an_answer_starts_in(tmp_path):
    rows = list(data.read_squad(make(tmp_path, "en.json", squad())))
    assert rows == [{"title": "A b", "context": "One is one. Two is two.",
                     "sentences": ["One is one.", "Two is two."],
                     "questions": [("q1", "How many?", 1), ("q2", "Where?", None)]}]
    plain = json.loads(squad())
    del plain["data"][0]["paragraphs"][0]["sentence_breaks"]
    assert next(data.read_squad(make(tmp_path, "s.json", json.dumps(plain))))["sentences"] == []


def test_our_own_files_read_back_by_hand(tmp_path):
    assert data.read_tsv(make(tmp_path, "a", "d1\ta  b\tc\n\nd2\t\n")) == {"d1": "a b c", "d2": ""}
    assert data.read_bitext(make(tmp_path, "b", "a\tb\r\nc\td")) == [("a", "b"), ("c", "d")]
    assert data.read_qrels(make(tmp_path, "c", "q 0 d 2\nq 0 e 0\n")) == {"q": {"d": 2, "e": 0}}
    assert data.read_triples(make(tmp_path, "d", "q\tp\nq\tp\tn\tm\n")) == [
        ("q", "p", []), ("q", "p", ["n", "m"])]
    assert data.read_links(make(tmp_path, "e", "0-0 1-2\n\n10-3\n")) == [[(0, 0), (1, 2)], [], [(10, 3)]]


def tmx_of(path):
    return data.read_tmx(path, "sw")


GZ = gzip.compress("".join(f"d{i}\tx\n" for i in range(9999)).encode())
ZIP = b"PK\x03\x04" + b"\0" * 50


@pytest.mark.parametrize("reader, content, message", [
    (data.read_tsv, "", ": empty"),
    (data.read_tsv, "a\tx\nb x\n", ":2: expected id<TAB>text, got 'b x'"),
    (data.read_tsv, "\tx\n", ":1: expected id"),
    (data.read_tsv, "a b\tx\n", ":1: expected id"),
    (data.read_tsv, "a\tx\nb\ty\na\tz\n", ":3: id 'a' occurs twice"),
    (data.read_tsv, b"a\tx\nb\tca\xe9\n", ":2: byte 0xe9 at position 5 is not UTF-8"),
    (data.read_tsv, ZIP, "truncated or damaged zip file"),
    (data.read_tsv, GZ[:-30], "truncated or damaged gz file"),
    (data.read_tsv, b"\x1f\x8b\x08\x00" + b"\0" * 20, "truncated or damaged gz file"),
    (data.read_bitext, "a\tb\nc\n", ":2: 1 columns by tab, expected 2"),
    (data.read_bitext, "a\tb\tc\n", ":1: 3 columns"),
    (data.read_qrels, "q 0 d 1\nq 0 d\n", ":2: expected 'qid 0 docid relevance'"),
    (data.read_qrels, "q 0 d 1.5\n", ":1: expected"),
    (data.read_qrels, "q 0 d 1\nq 0 d 0\n", ":2: q d is judged twice"),
    (data.read_triples, "q\n", ":1: expected qid<TAB>positive"),
    (data.read_triples, "q\tp\t\tn\n", ":1: expected"),
    (data.read_links, "0-0\n0:1\n", ":2: expected links"),
    (data.read_afriqa, gold() + "\n{\n", ":2: not JSON"),
    (data.read_afriqa, "[]\n", ":1: expected an object with an id"),
    (data.read_afriqa, '{"question": "x"}\n', ":1: expected an object with an id"),
    (data.read_afriqa, gold() + "\n" + gold() + "\n", ":2: id '0' occurs twice"),
    (data.read_afriqa, gold().encode() + b"\n\xff\n", ":2: byte 0xff at position 1 is not UTF-8"),
    (data.read_squad, "{}", "expected an object with a list 'data'"),
    (data.read_squad, squad()[:-9], ":1: not JSON"),
    (data.read_squad, squad().encode() + b"\n\xff", ":2: byte 0xff is not UTF-8"),
    (data.read_squad, squad(qas=[{"id": "1"}]), "paragraph 1: not SQuAD's format (KeyError: 'answers')"),
    (data.read_squad, squad(context=None), "paragraph 1: not SQuAD's format"),
    (data.read_squad, squad(qas=[{"id": "1", "question": "", "answers": []}] * 2), "id '1' occurs twice"),
])
def test_bad_input_is_one_line_that_names_the_file_and_the_line(tmp_path, reader, content, message):
    path = make(tmp_path, "bad", content)
    with pytest.raises(ValueError) as e:
        list(reader(path))
    assert message in str(e.value) and str(path) in str(e.value) and "\n" not in str(e.value)


def test_a_file_whose_name_promises_another_packing_is_refused(tmp_path):
    for name in ("a.gz", "a.zip", "a.tmx.zip"):
        with pytest.raises(ValueError, match="starts with b'<html>', not as its name says"):
            list(data.lines(make(tmp_path, name, "<html>error 404")))


def test_a_damaged_zip_member_is_refused(tmp_path):
    body = bytearray(zipped({"a.txt": "hello\n" * 100}))
    body[60] ^= 1
    with pytest.raises(ValueError, match="truncated or damaged zip file .*CRC"):
        list(data.lines(make(tmp_path, "a.zip", bytes(body))))


# ------------------------------------------------------------------------------------------ filters
def test_filter_pairs_counts_each_reason_once():
    count = data.Count()
    pairs = [("a cat", "paka"), ("a cat", "paka"), ("Kenya", "Kenya"), ("x", "y " * 201), ("a" * 41, "b"),
             ("hi", "habari za asubuhi"), ("a cat", "nyau")]
    count.read = len(pairs)
    assert list(data.filter_pairs(pairs, count)) == [pairs[0], pairs[5], pairs[6]]
    assert count.row()["skipped"] == {"repeated": 1, "copy of the English": 1, "over 200 words": 1,
                                      "length ratio over 4.0": 1}
    assert count.row()["kept"] == 3


def test_filter_pairs_without_a_ratio_keeps_dense_scripts():
    pair = ("The committee will meet again tomorrow morning in the capital.", "会")
    assert list(data.filter_pairs([pair], data.Count())) == []
    assert list(data.filter_pairs([pair], data.Count(), max_ratio=None)) == [pair]


# ----------------------------------------------------------------------------------------- download
class Server(ThreadingHTTPServer):
    """Serves `body`; the first part of the path says how: /cut/ drops the first connection, and so on."""
    body = bytes(range(256)) * 2000

    def __init__(self):
        self.seen = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def reply(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(headers.pop("length", len(body))))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        how, wanted = self.path.split("/")[1], self.headers.get("Range")
        self.server.seen.append((how, wanted))
        body = self.server.body
        if how.isdigit():
            return self.reply(int(how))
        if how.startswith("to-"):
            return self.reply(302, Location={"to-ok": "/ok/f", "to-http": "http://example.com/f",
                                             "to-file": "file:///etc/hostname", "to-to-": "/to-to-/f"}[how])
        if how == "flaky" and len(self.server.seen) < 3:
            return self.reply(503)
        if wanted and how != "ignores":
            start = int(wanted[len("bytes="):-1])
            if start >= len(body):
                return self.reply(416, Content_Range=f"bytes */{len(body)}")
            return self.reply(206, body[start:], Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")
        if how == "cut" and len(self.server.seen) == 1:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return self.wfile.write(body[:100_000])
        self.reply(200, body)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


def digest(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


def test_download_writes_the_file_and_checks_it(server, tmp_path):
    path = data.download(server.url("ok/f"), tmp_path / "new" / "f", digest(server.body))
    assert path.read_bytes() == server.body and os.listdir(path.parent) == ["f"]
    assert server.seen == [("ok", None)]


def test_download_goes_on_where_the_last_one_stopped(server, tmp_path):
    make(tmp_path, "f.part", server.body[:300_000])
    data.download(server.url("ok/f"), tmp_path / "f", digest(server.body))
    assert (tmp_path / "f").read_bytes() == server.body and server.seen == [("ok", "bytes=300000-")]


def test_download_goes_on_after_a_cut_connection(server, tmp_path):
    data.download(server.url("cut/f"), tmp_path / "f", digest(server.body))
    assert (tmp_path / "f").read_bytes() == server.body
    assert [wanted for _, wanted in server.seen] == [None, "bytes=100000-"]


def test_download_starts_over_where_the_server_ignores_the_range(server, tmp_path):
    make(tmp_path, "f.part", b"something else" * 1000)
    data.download(server.url("ignores/f"), tmp_path / "f", digest(server.body))
    assert (tmp_path / "f").read_bytes() == server.body


def test_download_takes_a_finished_part_and_drops_one_that_is_too_long(server, tmp_path):
    make(tmp_path, "f.part", server.body)
    data.download(server.url("ok/f"), tmp_path / "f", digest(server.body))
    make(tmp_path, "g.part", server.body + b"more")
    data.download(server.url("ok/g"), tmp_path / "g", digest(server.body))
    assert (tmp_path / "f").read_bytes() == (tmp_path / "g").read_bytes() == server.body


def test_download_waits_for_a_busy_server_and_follows_a_redirect(server, tmp_path):
    assert data.download(server.url("flaky/f"), tmp_path / "f").read_bytes() == server.body
    assert data.download(server.url("to-ok/f"), tmp_path / "g").read_bytes() == server.body


@pytest.mark.parametrize("path, error, message", [
    ("404/f", FileNotFoundError, "HTTP 404"), ("403/f", ValueError, "HTTP 403"),
    ("409/f", ValueError, "HTTP 409 Conflict; if you have the file"),
    ("500/f", ValueError, "HTTP 500 Internal Server Error, after 5 tries"),
    ("to-http/f", ValueError, "redirects to http://example.com/f: refused"),
    ("to-file/f", ValueError, "HTTP 302 Found - Redirection to url 'file:///etc/hostname' is not allowed"),
    ("to-to-/f", ValueError, "HTTP 302"),
])
def test_download_errors_are_one_line(server, tmp_path, path, error, message):
    with pytest.raises(error) as e:
        data.download(server.url(path), tmp_path / "f")
    assert message in str(e.value) and server.url("") in str(e.value)
    assert len(str(e.value).splitlines()) == 1 and not (tmp_path / "f").exists()


def test_download_of_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(ValueError, match="sha256 .*, expected 0000; fetch it again"):
        data.download(server.url("ok/f"), tmp_path / "f", "sha256:0000")
    assert os.listdir(tmp_path) == []


def test_download_asks_for_room_on_the_disk_first(server, tmp_path, monkeypatch):
    monkeypatch.setattr(data.shutil, "disk_usage", lambda path: type("U", (), {"free": 1000}))
    with pytest.raises(ValueError, match="needs 512,000 bytes, .* has 1,000 free"):
        data.download(server.url("ok/f"), tmp_path / "f")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("url", ["http://example.com/x", "ftp://example.com/x", "file:///etc/hostname"])
def test_download_refuses_addresses_that_are_not_https(tmp_path, url):
    with pytest.raises(ValueError, match="only https"):
        data.download(url, tmp_path / "f")


def test_download_without_a_server_says_so_in_one_line(server, tmp_path):
    url = server.url("ok/f")
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match="refused, after 5 tries; the same command goes on from there"):
        data.download(url, tmp_path / "f")


# ------------------------------------------------------------------------------------ finding files
def test_a_mirror_is_searched_by_name_and_by_the_folder_above_where_names_repeat(tmp_path):
    make(tmp_path, "x/en-swa/train.en", "1")
    make(tmp_path, "deep/er/en-hau/train.en", "2")
    make(tmp_path, "flat/newstest2019-src.eng.txt", "3")
    make(tmp_path, "en.json", "4")
    files = data.Files(tmp_path)
    assert files.find("lafand-mt", "en-swa/train.en").read_text() == "1"
    assert files.find("lafand-mt", "en-hau/train.en").read_text() == "2"
    assert files.find("lafand-mt", "en-ibo/train.en") is None
    assert files.find("ntrex", "NTREX-128/newstest2019-src.eng.txt").read_text() == "3"
    assert files.find("xquad-r", "en.json") is None                     # some en.json, but not in xquad-r/


def test_two_different_files_of_one_name_are_refused_and_equal_ones_are_not(tmp_path):
    make(tmp_path, "a/DOCUMENT_IDS.tsv", "x")
    make(tmp_path, "b/DOCUMENT_IDS.tsv", "x")
    assert data.Files(tmp_path).find("ntrex", "DOCUMENT_IDS.tsv") == tmp_path / "a" / "DOCUMENT_IDS.tsv"
    make(tmp_path, "b/DOCUMENT_IDS.tsv", "y")
    with pytest.raises(ValueError, match="differ"):
        data.Files(tmp_path).find("ntrex", "DOCUMENT_IDS.tsv")


def test_with_a_mirror_nothing_is_downloaded_unless_asked(server, tmp_path, monkeypatch):
    (tmp_path / "mirror").mkdir()
    monkeypatch.setitem(data.SOURCES["squad"], "base", server.url("ok/"))
    monkeypatch.setitem(data.SOURCES["squad"], "sums", {})
    monkeypatch.setenv("MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "cache"))
    assert data.Files().find("squad", "train-v1.1.json") is None and server.seen == []
    monkeypatch.setenv("DOWNLOAD", "1")
    assert data.Files().find("squad", "train-v1.1.json") == tmp_path / "cache" / "squad" / "train-v1.1.json"
    assert len(server.seen) == 1
    data.Files().find("squad", "train-v1.1.json")
    assert len(server.seen) == 1                                           # the second time from the cache
    monkeypatch.delenv("DOWNLOAD")
    assert data.Files().find("squad", "train-v1.1.json") is None          # with a mirror, only that counts


def test_offline_uses_the_cache_and_a_404_is_an_absent_file(server, tmp_path, monkeypatch):
    monkeypatch.setitem(data.SOURCES["squad"], "base", server.url("404/"))
    monkeypatch.setenv("OFFLINE", "1")
    assert data.Files(cache=tmp_path).find("squad", "train-v1.1.json") is None and server.seen == []
    monkeypatch.setenv("OFFLINE", "0")
    assert data.Files(cache=tmp_path).find("squad", "train-v1.1.json") is None and len(server.seen) == 1
    path = make(tmp_path, "squad/train-v1.1.json", "x")
    monkeypatch.setenv("OFFLINE", "1")
    assert data.Files(cache=tmp_path).find("squad", "train-v1.1.json") == path


def test_every_source_has_https_a_licence_a_citation_and_files_of_different_names():
    for name, row in data.SOURCES.items():
        assert row["base"].startswith("https://") and row["base"].endswith("/") or row["base"].startswith(data.MADE)
        assert row["licence"] and row["cite"]
        keys = Counter(Path(row["base"], f).parts[-1 - row["parents"]:] for f in row["files"])
        assert max(keys.values()) == 1, name
        assert row["format"] in ("lines", "tmx", "squad", "afriqa", "tar", "moses", "flores", "ciir", "marco", "mlqa")
        assert row["profile"] in ("real", "paper", "real paper") and row["sizes"].keys() <= set(row["files"])
        assert not row["hub"] or row["base"] == f"https://huggingface.co/datasets/{row['hub']}/resolve/main/"


# --------------------------------------------------------------------------------- the real profile
def test_the_real_profile_of_the_fixture_by_hand(mirror):
    c = data.real_collection(mirror=mirror)
    assert [t["set"] for t in c["tests"]] == ["swa", "hau", "de.paragraphs", "de.sentences"]
    assert {k: len(v) for k, v in c["docs"].items()} == {
        "afriqa": 56, "xquad.paragraphs": 16, "xquad.sentences": 48}
    swa, de = c["tests"][0], c["tests"][3]
    docid, = swa["qrels"]["swa.0"]
    assert swa["queries"]["swa.0"] == "Amina Orwinde alizaliwa katika mji gani?"
    assert swa["english"]["swa.0"] == "In which town was Amina Orwinde born?"
    assert c["docs"]["afriqa"][docid].startswith("Amina Orwinde. Amina Orwinde was born in the town of")
    assert {d for q in ("swa.0", "swa.1", "swa.2") for d in swa["qrels"][q]} == {docid}
    sentence, = de["qrels"]["001"]
    assert c["docs"]["xquad.sentences"][sentence] == "Amina Orwinde was born in the year 1850."
    assert c["langs"]["swa"] == {"name": "Swahili", "family": "Niger-Congo", "class": "low", "pairs": 132,
                                 "bitext": "lafand-mt"}
    rows = {row["source"]: row for row in c["counts"]}
    assert rows["afriqa bem train"]["skipped"] == {"empty context": 1}    # the NaN question is not needed
    assert rows["afriqa yor test"]["note"] == "file not found"
    assert rows["yor left out"]["note"] == "no AfriQA test questions found"


def test_dev_and_training_share_no_passage_and_no_question(mirror):
    train = data.real_collection(mirror=mirror)["train"]
    positives = {docid for _, docid, _ in train["triples"]}
    assert positives.isdisjoint(d for row in train["dev_qrels"].values() for d in row)
    asked = {data.fold(text) for text in train["queries"].values()}
    assert asked.isdisjoint(data.fold(text) for text in train["dev_queries"].values())
    assert set(train["docs"]) == positives | {d for row in train["dev_qrels"].values() for d in row}
    other = data.real_collection(mirror=mirror, seed=2)["train"]
    assert other["dev_qrels"] != train["dev_qrels"]
    assert data.real_collection(["swa"], mirror=mirror)["train"] == train   # the same for any langs


def test_training_questions_of_a_test_are_dropped_and_strict_drops_their_passages(tmp_path):
    fixture.write(tmp_path)
    test = tmp_path / "afriqa/gold_passages/swa/gold_span_passages.afriqa.swa.en.test.json"
    rows = [json.loads(line) for line in test.read_text().splitlines()]
    same, other = dict(rows[0]), dict(rows[3], question_translated="Who was that?")
    make(tmp_path, "gold_span_passages.afriqa.kin.en.train.json",
         json.dumps(same | {"id": "a"}).replace("?", " ?!") + "\n" + json.dumps(other | {"id": "b"}))
    for strict, kept in [(False, ["kin.train.b"]), (True, [])]:
        c = data.real_collection(mirror=tmp_path, strict=strict)
        asked = c["train"]["queries"] | c["train"]["dev_queries"]
        assert [q for q in asked if q.startswith("kin")] == kept
        row = next(row for row in c["counts"] if row["source"] == "teacher training pairs")
        assert row["skipped"]["question is in a test set"] == 1
        assert row["skipped"].get("passage answers a test question", 0) == strict


def test_ntrex_dev_is_whole_documents_at_the_end(mirror):
    parts = data.real_collection(["de"], mirror=mirror)["bitext"]["de"]
    assert len(parts["dev"]) == 24 and len(parts["train"]) == 156            # 180 lines, documents of 12
    assert parts["dev"][0][0] == "Enzi Quantoro was born in the town of Sanjora."
    assert parts["train_links"] is None


def test_bitext_dev_is_not_in_training_and_is_capped(tmp_path):
    fixture.write(tmp_path)
    for side, word in [("en", "word"), ("swa", "neno")]:
        make(tmp_path, f"lafand-mt/en-swa/dev.{side}", "".join(f"{word} {i}\n" for i in range(1200)))
        make(tmp_path, f"lafand-mt/en-swa/train.{side}", "".join(f"{word} {i}\n" for i in range(600, 1500)))
    c = data.real_collection(["swa"], mirror=tmp_path)
    dev, train = c["bitext"]["swa"]["dev"], c["bitext"]["swa"]["train"]
    assert len(dev) == 500 and dev[0] == ("word 0", "neno 0") and dev[-1][0] == "word 1197"
    assert not set(dev) & set(train) and len(train) == 900 - 250


def test_titles_and_question_pairs_are_options(mirror):
    c = data.real_collection(["swa"], mirror=mirror, titles=False, question_pairs=True)
    assert all(text.count("was born in the town") == 1 and not text.split(". ")[0].endswith("Orwinde")
               for text in c["docs"]["afriqa"].values())
    assert len(c["bitext"]["swa"]["train"]) == 132 + 3
    assert c["bitext"]["swa"]["train"][-1] == ("What work did Imani Quantoro do?",
                                               "Imani Quantoro alifanya kazi gani?")


def test_squad_joins_the_teacher_when_asked(tmp_path):
    fixture.write(tmp_path)
    with pytest.raises(ValueError, match="squad: train-v1.1.json not found"):
        data.real_collection(mirror=tmp_path, squad=True)
    make(tmp_path, "train-v1.1.json", squad())
    train = data.real_collection(mirror=tmp_path, squad=True)["train"]
    assert "squad.q1" in train["queries"] | train["dev_queries"]


# ---------------------------------------------------------------------------- Wikipedia, dictionaries
WIKICLIR = {
    "wiki-clir/english/wiki_en.queries": "7\tNile\tThe Nile is a river .\n8\tGoat\tA goat eats .\n9\tRome\tA city\n",
    "wiki-clir/swahili/en2sw.rel": "7 s1 2\n8 s1 1\n8\ts2\t2\n9 s3 2\n",
    "wiki-clir/swahili/wiki_sw.documents": "s1\tNaili\tMto\ns2\tMbuzi\tMnyama\ns4\tJua\tNyota\ns3\t \tMji\n"}
CLIRMATRIX = "".join(json.dumps(row) + "\n" for row in [
    {"src_id": "1", "src_query": "Naili", "tgt_results": [["70", 6], ["80", 3]]},
    {"src_id": "2", "src_query": "Jua", "tgt_results": [["80", 5]]},
    {"src_id": "3", "src_query": "Mbuzi", "tgt_results": [["80", 4], ["90", 6]]}]) + "\n"
ARTICLES = "80\tSun is a star\n90\tGoat eats\n70\tNile  is a river\n"


def test_wikiclir_turned_round_has_titles_and_their_english_mates(tmp_path):
    path = make(tmp_path, "wiki-clir.tar.gz", tarred(WIKICLIR))
    assert list(data.read_wikiclir(path, "swahili", "sw")) == [
        ("Naili", "7", "Nile. The Nile is a river ."), ("Mbuzi", "8", "Goat. A goat eats .")]
    with pytest.raises(ValueError, match="no member ends in 'german/en2de.rel'"):
        list(data.read_wikiclir(path, "german", "de"))
    for member, text, message in (("swahili/en2sw.rel", "7 s1\n", "en2sw.rel:1: 2 columns, expected 3: '7 s1'"),
                                  ("english/wiki_en.queries", "7\n", "wiki_en.queries:1: 1 columns, expected 2")):
        path = make(tmp_path, "wiki-clir.tar.gz", tarred(WIKICLIR | {"wiki-clir/" + member: text}))
        with pytest.raises(ValueError, match=message):
            list(data.read_wikiclir(path, "swahili", "sw"))
    path = make(tmp_path, "wiki-clir.tar.gz", tarred(WIKICLIR)[:150])
    with pytest.raises(ValueError, match="truncated or damaged gz file"):
        list(data.read_wikiclir(path, "swahili", "sw"))


def test_clirmatrix_takes_the_mate_and_refuses_other_lines(tmp_path):
    path, docs = make(tmp_path, "q.jl.gz", gzip.compress(CLIRMATRIX.encode())), make(tmp_path, "d.tsv", ARTICLES)
    assert list(data.read_clirmatrix(path, docs)) == [("Mbuzi", "90", "Goat eats"), ("Naili", "70", "Nile is a river")]
    for text, message in (("{", "q.jl:1: not JSON"), ('{"src_query": "x"}', "KeyError: 'tgt_results'"),
                          ('{"src_query": "x", "tgt_results": [3]}', "q.jl:1: not CLIRMatrix's format"),
                          ('{"src_query": 3, "tgt_results": []}', "q.jl:1: not CLIRMatrix's format")):
        with pytest.raises(ValueError, match=message):
            list(data.read_clirmatrix(make(tmp_path, "q.jl", text), docs))
    with pytest.raises(ValueError, match="d.tsv:1: expected docid<TAB>text, got '80'"):
        list(data.read_clirmatrix(path, make(tmp_path, "d.tsv", "80\n")))


def test_a_muse_dictionary_has_a_pair_a_line_by_space_or_tab(tmp_path):
    path = make(tmp_path, "en-de.txt", "goat ziege\ngoat\tgeiß\n\n")
    assert list(data.read_muse(path)) == [("goat", "ziege"), ("goat", "geiß")]
    with pytest.raises(ValueError, match="en-de.txt:1: expected 'word translation', got 'a b c'"):
        list(data.read_muse(make(tmp_path, "en-de.txt", "a b c\n")))


def test_a_terminology_of_tico_19_is_csv_with_a_header(tmp_path):
    text = 'id,sourceLang,targetLang,sourceString,targetString\n2,en,so_SO,acute bronchitis,bronkiita daran\n'
    path = make(tmp_path, "f_en-so_SO.csv", text + '3,en,so_SO,"cough, dry","qufac, qalalan"\n')
    assert list(data.read_terms(path)) == [("acute bronchitis", "bronkiita daran"), ("cough, dry", "qufac, qalalan")]
    with pytest.raises(ValueError, match="f_en-so_SO.csv:3: 2 columns, expected 5: '3,en'"):
        list(data.read_terms(make(tmp_path, "f_en-so_SO.csv", text + "3,en\n")))


def test_panlex_joins_two_languages_by_meaning(tmp_path):
    head = "id\tlangvar\ttxt\ttxt_degr\tmeaning\tlangvar_uid\n"
    english = make(tmp_path, "data/eng.tsv", head + "1\t187\tgoat\tgoat\t70\teng-000\n2\t187\tsun\tsun\t71\teng-000\n")
    swahili = make(tmp_path, "data/swh.tsv", head + "9\t600\tmbuzi\tmbuzi\t70\tswh-000\n8\t600\tbeberu\tb\t70\tswh-000\n"
                                                    "7\t600\tmwezi\tmwezi\t72\tswh-000\n")
    assert list(data.same_meaning(english, swahili)) == [("goat", "mbuzi"), ("goat", "beberu")]
    with pytest.raises(ValueError, match="eng.tsv:1: expected a header with txt and meaning, got '1 187 goat"):
        list(data.read_panlex(make(tmp_path, "eng.tsv", "1\t187\tgoat\tgoat\t70\teng-000\n")))
    with pytest.raises(ValueError, match="eng.tsv:2: 2 columns by tab, expected 6"):
        list(data.read_panlex(make(tmp_path, "eng.tsv", head + "1\t2\n")))


def test_the_real_profile_takes_wikipedia_and_dictionaries_where_they_are(tmp_path, capsys):
    tmp_path, out = tmp_path / "mirror", tmp_path / "out"
    fixture.write(tmp_path)
    for argument, kind in (("wiki", "wikiclir"), ("wiki", "clirmatrix"), ("dictionary", "muse")):
        with pytest.raises(ValueError, match=f"{kind}: nothing found for hau in .*; python data.py check"):
            data.real_collection(["hau"], mirror=tmp_path, **{argument: kind})
    make(tmp_path, "wiki-clir.tar.gz", tarred(WIKICLIR | {
        "wiki-clir/german/en2de.rel": "7 d1 2\n", "wiki-clir/german/wiki_de.documents": "d1\tNil\tFluss\n"}))
    make(tmp_path, "clirmatrix/DOCS/en.tsv.gz", gzip.compress(ARTICLES.encode()))
    make(tmp_path, "clirmatrix/BI-139/base/sw/sw.en.train.base.jl.gz", gzip.compress(CLIRMATRIX.encode()))
    make(tmp_path, "dictionaries/en-de.txt", "goat ziege\n")
    make(tmp_path, "dictionaries/de-en.txt", "ziege goat\n")
    make(tmp_path, "OPUS-XLEnt/v1.2/moses/en-sw.txt.zip", zipped({
        "README": "x", "XLEnt.en-sw.en": "Nile\nNile\nRome\n", "XLEnt.en-sw.sw": "Nili\nNili\nRoma\n"}))
    c = data.real_collection(mirror=tmp_path, wiki="wikiclir", dictionary="muse")
    assert c["wiki"] == {"titles": {"swa": {"7": "Naili", "8": "Mbuzi"}, "de": {"7": "Nil"}},
                         "docs": {"7": "Nile. The Nile is a river .", "8": "Goat. A goat eats ."}}
    assert c["dictionaries"] == {"de": ([("goat", "ziege")], [("ziege", "goat")])}
    notes = {row["source"]: row.get("note") for row in c["counts"]}
    assert notes["wikiclir hau"] == "not found" and notes["muse swa"] == "not found" and not notes["muse de"]
    data.write_collection(c, out)
    assert data.load_collection(out) == c
    assert "wiki" not in data.load_manifest(out)["langs"]["hau"]
    many = {str(i): f"x {i}" for i in range(20)}
    small = data.cut(c | {"wiki": {"titles": {"swa": many}, "docs": many}}, n=12)
    data.validate(small)
    assert len(small["wiki"]["titles"]["swa"]) == len(small["wiki"]["docs"]) == 12
    c = data.real_collection(mirror=tmp_path, wiki="clirmatrix", dictionary="xlent")
    assert c["wiki"]["titles"] == {"swa": {"70": "Naili", "90": "Mbuzi"}}
    assert c["dictionaries"]["swa"][0] == [("nile", "nili", "1.000000"), ("rome", "roma", "1.000000")]
    data.write_collection(c, out)
    assert (out / "dictionary/swa-en.txt").read_text() == "nili\tnile\t1.000000\nroma\trome\t1.000000\n"
    assert baselines.read_lexicon(out / "dictionary/swa-en.txt")["roma"] == {"rome": 1.0}
    make(tmp_path, "OPUS-XLEnt/v1.2/moses/en-sw.txt.zip",
         zipped({"XLEnt.en-sw.en": "Nile\n", "XLEnt.en-sw.sw": "Nili\nRoma\n"}))
    with pytest.raises(ValueError, match="zip .en has 1 lines, .*zip .sw has 2 lines"):
        data.real_collection(mirror=tmp_path, dictionary="xlent")
    make(tmp_path, "f_en-sw_KE.csv", "id,sourceLang,targetLang,sourceString,targetString\n1,en,sw_KE,Goat,mbuzi\n")
    head = "id\tlangvar\ttxt\ttxt_degr\tmeaning\tlangvar_uid\n"
    make(tmp_path, "data/eng.tsv", head + "1\t187\tgoat\tgoat\t70\teng-000\n")
    make(tmp_path, "data/swh.tsv", head + "9\t600\tMbuzi\tmbuzi\t70\tswh-000\n")
    for dictionary in ("tico", "panlex"):
        c = data.real_collection(mirror=tmp_path, dictionary=dictionary)
        assert c["dictionaries"] == {"swa": ([("goat", "mbuzi", "1.000000")], [("mbuzi", "goat", "1.000000")])}
        assert {row["source"]: row.get("note") for row in c["counts"]}[f"{dictionary} hau"] == "not found"
    assert data.main(["check", "--mirror", str(tmp_path), "--profile", "real"]) == 0
    assert "wikiclir: 1 of 1 files present" in capsys.readouterr().out


def test_at_most_so_many_titles_are_drawn_and_no_order_of_the_files_matters(tmp_path):
    ids, about, drawn = [str(i) for i in range(40)], {"swa": {"name": "Swahili"}}, []
    for order in (ids, ids[::-1]):
        make(tmp_path, "sw/sw.en.train.base.jl.gz", gzip.compress("".join(json.dumps(
            {"src_query": f"jina {i}", "tgt_results": [[i, 6]]}) + "\n" for i in order).encode()))
        make(tmp_path, "DOCS/en.tsv.gz", gzip.compress("".join(f"{i}\ta b c d\n" for i in order).encode()))
        counts = []
        drawn.append(data.wiki_titles(data.Files(tmp_path), "clirmatrix", about, counts, 1, 10, 3))
    assert drawn[0] == drawn[1] and len(drawn[0]["titles"]["swa"]) == 10
    assert set(drawn[0]["docs"].values()) == {"a b c"}
    assert counts == [{"source": "clirmatrix swa", "read": 40, "kept": 10, "skipped": {"over 10": 30}}]
    other = data.wiki_titles(data.Files(tmp_path), "clirmatrix", about, [], 2, 10)
    assert other["titles"] != drawn[0]["titles"]


def test_smoke_is_a_small_part_that_still_holds_together(mirror):
    whole = data.real_collection(mirror=mirror)
    small = data.cut(whole, queries=5, n=12)
    data.validate(small)
    assert [len(t["queries"]) for t in small["tests"]] == [5, 5, 5, 5]
    assert {k: len(v) for k, v in small["docs"].items()} == {"afriqa": 12, "xquad.paragraphs": 12,
                                                             "xquad.sentences": 12}
    assert len(small["bitext"]["swa"]["train"]) == small["langs"]["swa"]["pairs"] == 12
    for name, docs in small["docs"].items():
        assert docs.items() <= whole["docs"][name].items()


# ------------------------------------------------------------------------------------------ on disk
def tiny():
    return {"profile": "mini", "seed": 3,
            "langs": {"sw": {"name": "Swahili", "family": "Niger-Congo", "class": "low", "pairs": 2,
                             "bitext": "mini"}},
            "pretrain": ["one", "mbili"],
            "train": {"docs": {"d1": "a", "d2": "b"}, "queries": {"q1": "a?"},
                      "triples": [("q1", "d1", ["d2"])], "dev_queries": {"q2": "b?"},
                      "dev_qrels": {"q2": {"d2": 1}}},
            "bitext": {"sw": {"train": [("a cat", "paka"), ("x", "y")], "dev": [("b", "c")],
                              "train_links": [[(1, 0)], []], "dev_links": None}},
            "docs": {"mini": {"d1": "a", "d3": "c"}},
            "tests": [{"set": "sw", "lang": "sw", "name": "Swahili", "class": "low", "docs": "mini",
                       "queries": {"q": "a?"}, "english": {"q": "a?"}, "qrels": {"q": {"d1": 2, "d3": 0}}}],
            "counts": [data.Count("mini").row()]}


def test_a_collection_reads_back_as_it_was_written(tmp_path, mirror):
    for c in (tiny(), tiny() | {"pretrain": None}, data.real_collection(mirror=mirror)):
        data.write_collection(c, tmp_path / "out")
        assert data.load_collection(tmp_path / "out") == c


def test_the_files_are_as_documented(tmp_path):
    data.write_collection(tiny(), tmp_path)
    files = tree(tmp_path)
    m = data.load_manifest(tmp_path)
    assert files["bitext/sw.train.tsv"] == b"a cat\tpaka\nx\ty\n"
    assert files["bitext/sw.train.links"] == b"1-0\n\n"
    assert files["train/triples.tsv"] == b"q1\td1\td2\n"
    assert files["test/sw/qrels.txt"] == b"q 0 d1 2\nq 0 d3 0\n"
    assert m["langs"]["sw"]["train"] == "bitext/sw.train.tsv" and m["langs"]["sw"]["dev_links"] is None
    assert m["tests"] == [{"set": "sw", "lang": "sw", "name": "Swahili", "class": "low", "docs": "mini",
                           "queries": "test/sw/queries.tsv", "english": "test/sw/english.tsv",
                           "qrels": "test/sw/qrels.txt"}]
    assert m["docs"] == {"mini": "docs/mini.tsv"} and m["version"] == 1 and m["pretrain"] == "pretrain.txt"
    del files["collection.json"]
    assert {name: hashlib.sha256(body).hexdigest() for name, body in files.items()} == m["sha256"]


def test_the_writer_collapses_tabs_and_newlines_inside_texts(tmp_path):
    c = tiny()
    c["docs"]["mini"]["d3"] = "a\tb\r\nc\u2028d"
    c["bitext"]["sw"]["dev"] = [("a\nb", "c\td")]
    data.write_collection(c, tmp_path)
    assert data.load_collection(tmp_path)["docs"]["mini"]["d3"] == "a b c d"
    assert data.load_collection(tmp_path)["bitext"]["sw"]["dev"] == [("a b", "c d")]


def test_preparing_twice_gives_the_same_bytes_whatever_the_hash_seed(tmp_path, mirror):
    for seed in ("0", "1"):
        subprocess.run([sys.executable, str(ROOT / "data.py"), "prepare", "real", "--mirror", str(mirror),
                        "--out", str(tmp_path / seed)], env=os.environ | {"PYTHONHASHSEED": seed}, check=True,
                       capture_output=True)
    assert tree(tmp_path / "0") == tree(tmp_path / "1") and len(tree(tmp_path / "0")) == 38


@pytest.mark.parametrize("step", [0, 3, 13])
def test_an_interrupted_write_leaves_no_manifest_and_no_temporary_file(tmp_path, monkeypatch, step):
    data.write_collection(tiny(), tmp_path)
    calls, replace = [], os.replace

    def failing(*args):
        calls.append(args)
        if len(calls) > step:
            raise OSError(28, "No space left on device")
        replace(*args)

    monkeypatch.setattr(data.os, "replace", failing)
    with pytest.raises(OSError):
        data.write_collection(tiny(), tmp_path)
    assert not [name for name in tree(tmp_path) if name.endswith(".tmp")]
    assert not (tmp_path / "collection.json").exists()
    with pytest.raises(ValueError, match="collection.json: no such file"):
        data.load_manifest(tmp_path)


@pytest.mark.parametrize("damage, message", [
    (lambda c: c["tests"][0].update(qrels={"q": {"gone": 1}}), r"sw: of queries \['q'\], 1 in all, no relevant document"),
    (lambda c: c["tests"][0].update(qrels={"q": {"d1": 0}}), "sw: nothing is relevant"),
    (lambda c: c["tests"][0].update(queries={}), "sw: no queries"),
    (lambda c: c["tests"][0]["qrels"].update(other={"d1": 1}), "sw: qrels of unknown queries"),
    (lambda c: c["docs"].update(mini={}), "sw: no queries or no documents"),
    (lambda c: c["train"]["triples"].append(("q9", "d1", [])), "unknown query, q9"),
    (lambda c: c["train"]["triples"].append(("q1", "d1", ["d9"])), "unknown documents"),
    (lambda c: c["bitext"]["sw"].update(train=[], train_links=None), "sw: no sentence pairs"),
    (lambda c: c["bitext"]["sw"].update(train_links=[[]]), "sw train: links do not fit"),
])
def test_a_collection_that_contradicts_itself_is_not_written(tmp_path, damage, message):
    c = tiny()
    damage(c)
    with pytest.raises(ValueError, match=message):
        data.write_collection(c, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ----------------------------------------------------------------------------------------- commands
@pytest.mark.parametrize("argv, message", [
    (["prepare", "real", "--langs", "swa,xx"], "unknown language 'xx'; the real profile has swa hau"),
    (["prepare", "real", "--langs", "swa", "yor"], "yor: no AfriQA test questions found in"),
    (["prepare", "real", "--langs", "es"], "es: no XQuAD-R test questions found in"),
    (["prepare", "real", "--mirror", "nowhere"], "MIRROR=nowhere: no such folder"),
    (["prepare", "real", "--mirror", "EMPTY"], "no language with test questions and bitext in"),
    (["prepare", "real", "--squad"], "squad: train-v1.1.json not found"),
    (["show", "nowhere", "--lang", "sw"], "collection.json: no such file"),
    (["check", "--mirror", "nowhere"], "MIRROR=nowhere: no such folder"),
])
def test_a_command_that_fails_prints_one_line_and_exits_2(tmp_path, mirror, capsys, argv, message):
    argv = [str(tmp_path) if a == "EMPTY" else a for a in argv]
    argv += ["--out", str(tmp_path / "out")] if argv[0] == "prepare" else []
    argv += [] if "--mirror" in argv or argv[0] == "show" else ["--mirror", str(mirror)]
    assert data.main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and message in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name, content, message", [
    ("lafand-mt/en-swa/train.swa", "one line\n", "not aligned: .*en has 132 lines, .*swa has 1 lines"),
    ("lafand-mt/en-swa/train.swa", b"ok\n\xff\n", "train.swa:2: byte 0xff at position 1 is not UTF-8"),
    ("xquad-r/de.json", "{", "de.json:1: not JSON"),
    ("xquad-r/en.json", "", "en.json:1: not JSON"),
    ("ntrex/DOCUMENT_IDS.tsv", "x\n", "not aligned: .*DOCUMENT_IDS.tsv has 1 lines"),
    ("afriqa/gold_passages/swa/gold_span_passages.afriqa.swa.en.test.json", "x", "test.json:1: not JSON"),
])
def test_a_damaged_source_stops_prepare_before_anything_is_written(tmp_path, capsys, name, content, message):
    fixture.write(tmp_path / "m")
    make(tmp_path / "m", name, content)
    out = str(tmp_path / "out")
    assert data.main(["prepare", "real", "--mirror", str(tmp_path / "m"), "--out", out]) == 2
    assert re.search("error: .*" + message, capsys.readouterr().err) and not (tmp_path / "out").exists()


def test_check_reports_missing_wrong_and_different_files(tmp_path, capsys, monkeypatch):
    fixture.write(tmp_path / "m")
    assert data.main(["check", "--mirror", str(tmp_path / "m"), "--profile", "real"]) == 0
    out = capsys.readouterr().out
    assert "lafand-mt: 12 of 36 files present" in out and "CC-BY-NC-4.0; Adelani" in out
    assert "  missing  https://raw.githubusercontent.com/masakhane-io/lafand-mt/main/data/text" in out
    assert "  differs  " in out and "  wrong" not in out
    packed = tmp_path / "m" / "tico19" / "all.en-sw.tmx.zip"
    packed.write_bytes(packed.read_bytes()[:900])
    assert data.main(["check", "--mirror", str(tmp_path / "m")]) == 1
    assert "all.en-sw.tmx.zip: truncated or damaged zip file" in capsys.readouterr().out
    make(tmp_path, "cache/squad/train-v1.1.json", squad())
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "cache"))
    assert data.main(["check"]) == 1 and "  wrong    " in capsys.readouterr().out


def test_show_prints_pairs_links_and_queries(tmp_path, capsys):
    data.write_collection(tiny(), tmp_path)
    assert data.main(["show", str(tmp_path), "--lang", "sw", "-n", "1"]) is None
    out = capsys.readouterr().out
    assert "a cat\npaka\n    cat = paka\n" in out and "sw: 1 queries, 2 documents" in out and "d1  a" in out
    assert data.main(["show", str(tmp_path), "--lang", "fi"]) == 2
    assert "unknown language 'fi'; this collection has sw" in capsys.readouterr().err


def test_mini_is_asked_for_its_collection(tmp_path, capsys, monkeypatch):
    asked = []
    mini = argparse.Namespace(collection=lambda **options: asked.append(options) or tiny())
    monkeypatch.setitem(sys.modules, "mini", mini)
    data.main(["prepare", "mini", "--out", str(tmp_path), "--langs", "sw,so", "--seed", "7", "--smoke"])
    data.main(["show", "mini", "--lang", "sw", "-n", "1"])
    assert asked == [{"seed": 7, "langs": ["sw", "so"], "smoke": True}, {"seed": 1, "langs": ["sw"]}]
    assert "cat = paka" in capsys.readouterr().out and data.load_collection(tmp_path) == tiny()


def test_langs_are_read_with_spaces_and_commas(tmp_path, mirror):
    for i, words in enumerate([["swa", "de"], ["swa,de"], ["de swa"], ["de,", "swa"]]):
        out = str(tmp_path / str(i))
        data.main(["prepare", "real", "--mirror", str(mirror), "--out", out, "--langs", *words])
        assert [*data.load_manifest(out)["langs"]] == ["swa", "de"]


def test_data_py_imports_only_the_standard_library_and_works_without_tqdm(monkeypatch, tmp_path, server):
    tree_ = ast.parse((ROOT / "data.py").read_text())
    top = {a.name.split(".")[0] for node in tree_.body if isinstance(node, ast.Import) for a in node.names}
    top |= {node.module.split(".")[0] for node in tree_.body if isinstance(node, ast.ImportFrom)}
    assert top <= sys.stdlib_module_names
    inside = {(a.name if isinstance(n, ast.Import) else n.module) for n in ast.walk(tree_)
              if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names} - top
    assert {name.split(".")[0] for name in inside} - sys.stdlib_module_names == {
        "tqdm", "mini", "paper", "xtreme", "huggingface_hub"}
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert data.download(server.url("ok/f"), tmp_path / "f").read_bytes() == server.body


def test_many_lines_are_read_as_a_stream(tmp_path):
    with gzip.open(tmp_path / "big.gz", "wt", compresslevel=1) as f:
        f.writelines(f"line number {i}\n" for i in range(300_000))
    started = time.time()
    assert sum(1 for _ in data.lines(tmp_path / "big.gz")) == 300_000 and time.time() - started < 10


# ------------------------------------------------------------------------- with the published files
@pytest.mark.skipif(not REAL, reason="set MIRROR to a folder with the publishers' files")
def test_the_published_files_have_the_counts_we_know():
    c = data.real_collection(mirror=REAL)
    rows = {row["source"]: row for row in c["counts"]}
    known = {"swa": (295, 29980), "hau": (300, 3013), "ibo": (409, 6644), "twi": (486, 3335),
             "zul": (325, 3477), "de": (1190, 1783)}
    for lang in set(known) & set(c["langs"]):
        queries, pairs = known[lang]
        assert {len(t["queries"]) for t in c["tests"] if t["lang"] == lang} == {queries}
        assert c["langs"][lang]["pairs"] == pairs, lang
    assert len(c["docs"]["afriqa"]) == (5108 if rows["afriqa yor test"].get("note") else 5401)
    if "de" in c["langs"]:
        assert len(c["docs"]["xquad.paragraphs"]) == 240 and len(c["docs"]["xquad.sentences"]) == 1180
    if rows["afriqa yor test"].get("note"):
        assert (len(c["train"]["triples"]), len(c["train"]["dev_queries"])) == (3125, 200)
    assert rows["afriqa kin train"]["skipped"] == {"empty context": 45}
    data.validate(c)
    data.validate(data.cut(c))


@pytest.mark.skipif(not REAL, reason="set MIRROR to a folder with the publishers' files")
def test_the_published_files_are_the_ones_we_know_and_all_readable(capsys):
    assert data.main(["check", "--mirror", REAL]) == 0
    out = capsys.readouterr().out
    assert "differs" not in out and "wrong" not in out


@pytest.mark.skipif(not REAL, reason="set MIRROR to a folder with the publishers' files")
def test_tico_19_has_3071_units():
    files = data.Files(REAL)
    for lang in ("sw", "so", "tl", "mr", "fr"):
        path = files.find("tico19", f"all.en-{lang}.tmx.zip")
        if path:
            count = data.Count()
            kept = sum(1 for _ in data.read_pairs(path, lang=lang, count=count))
            assert count.read == 3071 and kept >= 3060

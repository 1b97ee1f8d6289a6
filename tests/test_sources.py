# SPDX-License-Identifier: MIT
"""study/sources.py: fetching from servers on loopback, finding, the catalogue, every reader on small files.

With MIRROR=folder of the publishers' files, they are checked too.
"""
import gzip
import hashlib
import json
import os
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

import data
import fixture
from fixture import make, tarred
from study import sources

REAL = os.environ.get("MIRROR")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """No variable of the user's that study/sources.py obeys; no proxy before loopback, no waiting."""
    for name in ("MIRROR", "DOWNLOAD", "OFFLINE", "DATA_CACHE", "CLEF"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)


# ----------------------------------------------------------------------------------------- fetching
BODY = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves BODY; the first part of the path says how. Of /datasets/, as a hub, what is in server.files."""

    def log_message(self, *args):
        pass

    def reply(self, code, body=b"", length=None, **headers):
        self.send_response(code)
        for name, value in (headers | {"Content-Length": str(length or len(body))}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    def do_GET(self):
        how, wanted = self.path.split("/")[1], self.headers.get("Range")
        self.server.seen.append((how, wanted))
        self.server.tokens.append(self.headers.get("Authorization"))
        start = int(wanted[len("bytes="):-1]) if wanted else 0
        if how == "datasets":
            found = self.server.files.get(self.path.split("/resolve/main/")[1], 404)
            code, body = (found, b"") if isinstance(found, int) else (200, found)
            self.reply(code, body, X_Repo_Commit="0" * 40, ETag=f'"{hashlib.md5(body).hexdigest()}"',
                       **{"X-Error-Code": "EntryNotFound"} if code == 404 else {})
        elif how.isdigit():
            self.reply(int(how))
        elif how.startswith("to-"):
            self.reply(302, Location={"to-ok": "/ok/f", "to-file": "file:///etc/hostname"}[how])
        elif how == "cut" and len(self.server.seen) == 1:
            self.reply(200, BODY[:100_000], len(BODY))
        elif not wanted or how == "ignores":
            self.reply(200, BODY)
        elif start >= len(BODY):
            self.reply(416, Content_Range=f"bytes */{len(BODY)}")
        else:
            self.reply(206, BODY[start:], Content_Range=f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")

    do_HEAD = do_GET


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.tokens, server.files = [], [], {}
    server.url = lambda path: f"http://127.0.0.1:{server.server_port}/{path}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("how, part, asked", [
    ("ok", b"", [None]), ("ok", BODY[:300_000], ["bytes=300000-"]), ("cut", b"", [None, None]),
    ("ignores", b"x" * 300_000, ["bytes=300000-"]), ("to-ok", b"", [None])])
def test_fetch_writes_the_file_whole_and_goes_on_from_what_is_there(server, tmp_path, how, part, asked):
    make(tmp_path, "new/f.part", part)
    path = sources.fetch(server.url(how + "/f"), tmp_path / "new" / "f", DIGEST)
    assert path.read_bytes() == BODY and os.listdir(path.parent) == ["f"]
    assert set(server.tokens) == {None} and server.seen[:2] == [(how, wanted) for wanted in asked] + [("ok", None)] * (how == "to-ok")


@pytest.mark.parametrize("path, checksum, error, message", [
    ("404/f", "", FileNotFoundError, "HTTP 404"), ("403/f", "", ValueError, "HTTP 403"),
    ("409/f", "", ValueError, "HTTP 409; .*if you have the file, put it into MIRROR"),
    ("500/f", "", ValueError, "HTTP 500"), ("to-file/f", "", ValueError, "unsupported protocol"),
    ("too-long", "", ValueError, "HTTP 416; the same command goes on"),
    ("ok/f", "0000", ValueError, "sha256 .*, expected 0000; fetch it again"),
    ("ok/f", "0" * 32, ValueError, "md5 .*, expected 0{32}; fetch it again"),
    ("closed", "", ValueError, "refused; the same command goes on from there")])
def test_errors_of_fetch_are_one_line_and_leave_nothing(server, tmp_path, path, checksum, error, message):
    if path == "closed":
        server.shutdown()
        server.server_close()
    if path == "too-long":
        make(tmp_path, "f.part", BODY + b"more")
    with pytest.raises(error, match=message) as e:
        sources.fetch(server.url(path), tmp_path / "f", checksum)
    assert "\n" not in str(e.value) and not os.listdir(tmp_path)


def test_files_of_the_hub_come_through_huggingface_hub(server, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", server.url("")[:-1])
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    files, name, other = sources.Files(cache=tmp_path), "data/swh_Latn.jsonl", "data/tgl_Latn.jsonl"
    server.files = {name: b"{}\n"}
    path = files.find("belebele", name)
    assert path == tmp_path / "belebele" / name and path.read_bytes() == b"{}\n"
    assert server.tokens[-1] == "Bearer hf_secret"
    server.files = {}
    assert files.find("belebele", name) == path and files.find("belebele", other) is None        # HTTP 404
    for code in (401, 500):
        server.files = {other: code}
        with pytest.raises(ValueError, match="facebook/belebele/.*tgl_Latn.jsonl: HTTP .*; the same"):
            files.find("belebele", other)
    server.files = {"data/qrels.dev.small.tsv": b"not the published one"}
    with pytest.raises(ValueError, match="qrels.dev.small.tsv.* md5 .*, expected 38a80559"):
        files.find("mmarco", "data/qrels.dev.small.tsv")
    assert not [path for path in tmp_path.rglob("qrels*") if path.suffix in (".tsv", ".part")]
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match="belebele.*tgl_Latn.jsonl: .*; the same command goes on"):
        files.find("belebele", other)


# ------------------------------------------------------------------------------------ finding files
def test_a_mirror_is_searched_by_name_and_by_the_folder_above_where_names_repeat(tmp_path, monkeypatch):
    english = "NTREX-128/newstest2019-src.eng.txt"
    for name, text in (("x/en-swa/train.en", "1"), ("deep/er/en-hau/train.en", "2"),
                       ("flat/newstest2019-src.eng.txt", "3"), ("en.json", "4")):
        make(tmp_path, name, text)
    files = sources.Files(tmp_path)
    assert files.find("lafand-mt", "en-swa/train.en").read_text() == "1"
    assert files.find("lafand-mt", "en-hau/train.en").read_text() == "2"
    assert files.find("ntrex", english).read_text() == "3"
    assert files.find("xquad-r", "en.json") is None                     # some en.json, but not in xquad-r/
    assert len(files.find_all("lafand-mt", "en-swa/train.en", "en-hau/train.en")) == 2
    assert files.find_all("lafand-mt", "en-swa/train.en", "en-ibo/train.en") == []
    make(tmp_path, "other/newstest2019-src.eng.txt", "3")               # an equal file, then another one
    assert sources.Files(tmp_path).find("ntrex", english).read_text() == "3"
    make(tmp_path, "other/newstest2019-src.eng.txt", "4")
    with pytest.raises(ValueError, match="differ, both could be ntrex"):
        sources.Files(tmp_path).find("ntrex", english)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "linked").symlink_to(tmp_path / "x")              # a folder that is a link is followed
    assert sources.Files(tmp_path / "m").find("lafand-mt", "en-swa/train.en").read_text() == "1"
    scan = os.scandir

    def scandir(path):
        if str(path).endswith("linked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)                         # root may read everything
    for folder, message in (("nowhere", "nowhere: No such file"), (tmp_path / "m", "linked: Permission denied")):
        with pytest.raises(ValueError, match=f"MIRROR: .*{message}"):
            sources.Files(folder)


def test_with_a_mirror_or_offline_nothing_is_downloaded_unless_asked(server, tmp_path, monkeypatch):
    def find(how="ok/", **env):
        row = sources.SOURCES["xquad-r"]._replace(base=server.url(how), files={})
        with monkeypatch.context() as patch:
            patch.setitem(sources.SOURCES, "xquad-r", row)
            for name, value in env.items():
                patch.setenv(name, str(value))
            return sources.Files(cache=tmp_path / "cache").find("xquad-r", "de.json"), len(server.seen)

    mirror, path = tmp_path / "mirror", tmp_path / "cache/xquad-r/de.json"
    mirror.mkdir()
    assert find(MIRROR=mirror) == find(OFFLINE=1) == (None, 0)
    assert find(MIRROR=mirror, DOWNLOAD=1) == find() == find(OFFLINE=1) == (path, 1)    # then from the cache
    assert find(MIRROR=mirror) == (None, 1)                             # with a mirror, only that counts
    path.unlink()
    assert find("404/", OFFLINE=0) == (None, 2)                         # a 404 is an absent file
    monkeypatch.setattr(sources, "fetch", lambda *_: pytest.fail("fetched"))


# ------------------------------------------------------------------------------------ the catalogue
def test_every_source_has_an_address_a_licence_a_citation_and_files_of_different_names():
    for name, row in sources.SOURCES.items():
        assert row.base.startswith("https://") and row.base.endswith("/")
        assert row.licence and row.cite and row.files and set(row.profile.split()) <= set(sources.PROFILES)
        keys = Counter(Path(row.base, file).parts[-1 - int(row.parents):] for file in row.files)
        assert max(keys.values()) == 1, name
        assert all(len(checksum) in (0, 6, 32, 64) for checksum in row.files.values())
        if row.base.startswith("https://raw."):                             # at a commit, or it is noted
            assert len(row.base.split("/")[5]) == 40 or "commit" in row.note, name


def test_a_row_of_languages_is_all_that_a_new_language_needs(tmp_path, monkeypatch):
    german, somali = sources.LANGUAGES["de"], sources.LANGUAGES["so"]
    assert [german.codes[k] for k in ("ntrex", "ccaligned")] == ["deu", "de-en"]
    assert (somali.flores, somali.codes["ciral"], somali.codes.get("tatoeba")) == ("som_Latn", "somali", None)
    assert sources.PROFILES["real"] == "swa hau ibo twi yor zul ar de el es hi ru th tr vi zh".split()
    assert sources.PROFILES["paper"] == sources.PROFILES["headlines"] == "sw so tl mr fi de fr".split()
    row = "lug\tlg\tLuganda\tNiger-Congo\tlow\treal\tlug_Latn\tafriqa-test=lug ntrex=lug\n"
    added = sources._languages(make(tmp_path, "languages.tsv", "a\tb\tc\td\te\tf\tg\th\n" + row))
    monkeypatch.setattr(sources, "LANGUAGES", added)
    catalogue = sources._sources(Path(sources.__file__).with_name("sources.tsv"))
    for name, file in (("afriqa", "gold_passages/lug/gold_span_passages.afriqa.lug.en.test.json"),
                       ("lafand-mt", "en-lug/train.lug"), ("ntrex", "NTREX-128/newstest2019-ref.lug.txt")):
        assert file in catalogue[name].files


def test_check_reports_missing_wrong_and_different_files(tmp_path, capsys, monkeypatch):
    def check(*argv):
        return sources.main(["check", *map(str, argv)]), capsys.readouterr()

    fixture.write(tmp_path / "m")
    fixture.write_paper(tmp_path / "p")
    status, (out, _) = check("--mirror", tmp_path / "m", "--profile", "real")
    assert status == 0 and "lafand-mt: 12 of 36 files present" in out and "CC-BY-NC-4.0; Adelani" in out
    assert "  missing  https://raw.githubusercontent.com/masakhane-io/lafand-mt/d441f8b063d63e95eafb72" in out
    assert "  differs  " in out and "  wrong" not in out and "mmarco" not in out and "7.0 GB" in out
    status, (out, _) = check("--mirror", tmp_path / "p", "--profile", "paper")
    assert status == 0 and "mmarco: 6 of 7 files present" in out and "  missing  https://huggingface" in out
    packed = tmp_path / "m" / "tico19" / "all.en-sw.tmx.zip"
    packed.write_bytes(packed.read_bytes()[:900])
    status, (out, _) = check("--mirror", tmp_path / "m")
    assert status == 1 and "all.en-sw.tmx.zip: truncated or damaged zip file" in out
    (tmp_path / "m" / "xquad-r" / "de.json").write_text("{}")
    assert "de.json: paragraph 0: not SQuAD's format" in check("--mirror", tmp_path / "m")[1][0]
    make(tmp_path, "cache/xquad-r/de.json", squad())
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "cache"))
    status, (out, _) = check()
    assert status == 1 and "  wrong    " in out
    assert check("--mirror", "nowhere") == (2, ("", "error: MIRROR: nowhere: No such file or directory\n"))


@pytest.mark.skipif(not REAL, reason="set MIRROR to a folder with the publishers' files")
def test_the_published_files_are_the_ones_we_know_and_all_readable(capsys):
    assert sources.main(["check", "--mirror", REAL]) == 0
    out = capsys.readouterr().out
    assert "differs" not in out and "wrong" not in out
    for lang in ("sw", "so", "tl", "mr", "fr"):
        path = sources.Files(REAL).find("tico19", f"TM/all.en-{lang}.tmx.zip")
        pairs = list(data.read_tmx(path, lang)) if path else []
        assert not path or len(pairs) == 3071 and sum(map(all, pairs)) >= 3060


# ------------------------------------------------------------------------------------------ readers
def gold(**changes):
    row = {"id": "0", "question_lang": "Nani?", "question_translated": "Who?", "context": "She."}
    return json.dumps(row | {"title": "T"} | changes)


def test_afriqa_reads_gold_passages_with_null_and_nan(tmp_path):
    path = make(tmp_path, "g.json", "\n".join([
        gold(), gold(id=1, context=None), gold(id="2", question_lang=float("nan")), "",
        gold(id="3", title=None)]))
    assert [tuple(row.values()) for row in sources.read_afriqa(path)] == [
        ("0", "Nani?", "Who?", "She.", "T"), ("1", "Nani?", "Who?", "", "T"), ("2", "", "Who?", "She.", "T"),
        ("3", "Nani?", "Who?", "She.", "")]


def squad(**changes):
    paragraph = {"context": "\u00a0One is one. Two is two.", "sentence_breaks": [[1, 12], [13, 24]], "qas": [
        {"id": "q1", "question": "How many?", "answers": [{"text": "Two is", "answer_start": 13}]},
        {"id": "q2", "question": " Where? ", "answers": [{"text": " ", "answer_start": 12}]}]}
    return json.dumps({"data": [{"title": "A_b", "paragraphs": [paragraph | changes]}]})


def test_squad_finds_the_sentence_an_answer_starts_in(tmp_path):
    assert list(sources.read_squad(make(tmp_path, "en.json", squad()))) == [{
        "context": "One is one. Two is two.", "sentences": ["One is one.", "Two is two."],
        "questions": [("q1", "How many?", 1), ("q2", "Where?", None)]}]


@pytest.mark.parametrize("reader, content, message", [
    (sources.read_afriqa, gold() + "\n{\n", ":2: not JSON"),
    (sources.read_afriqa, "[]\n", ":1: expected an object with an id"),
    (sources.read_afriqa, gold() + "\n" + gold() + "\n", ": id '0' occurs twice"),
    (sources.read_squad, "{}", "not SQuAD's format (KeyError: 'data')"),
    (sources.read_squad, squad()[:-9], ":1: not JSON"),
    (sources.read_squad, squad().encode() + b"\n\xff", "can't decode byte 0xff"),
    (sources.read_squad, squad(qas=[{"id": "1"}]), "paragraph 1: not SQuAD's format (KeyError: 'answers')"),
    (sources.read_squad, squad(qas=[{"id": "1", "question": "", "answers": [{"answer_start": 0}]}] * 2), "id '1' occurs"),
    (sources.read_sgml, "x\n<DOC>\n<TEXT>a</TEXT>\n</DOC>\n", ":2: a <DOC> without <DOCNO>"),
    (sources.read_sgml, "<DOC>\n<DOCNO>a</DOCNO>\n<DOC>\n", ":1: a <DOC> without <DOCNO>, or that does not end"),
    (sources.read_sgml, "\n<DOC>\n<DOCNO>a</DOCNO>\n", ":2: a <DOC> without <DOCNO>, or that does not end"),
    (sources.read_topics, "", "no topic of CLEF's format"),
    (sources.read_topics, "\n<top><num>C001</num></top>", ":2: topic C001 has no title"),
    (sources.read_topics, "<top><num>X9</num><title>a</title></top>", ":1: 'X9' is no topic number such as"),
    (sources.read_topics, "<top><num>1<title>a</top>\n" * 2, ":2: topic C001 has no title, or occurs twice"),
    (lambda p: sources.read_topics(p, "", sources.CIIR), "", "no topic of CIIR's format"),
    (lambda p: sources.read_topics(p, "", sources.CIIR), "hello\n", ":1: '' is no topic number"),
    (lambda p: sources.read_topics(p, "", sources.CIIR), "\nquery_id: C001\n", ":2: topic C001 has no title"),
])
def test_bad_input_is_one_line_that_names_the_file_and_the_line(tmp_path, reader, content, message):
    path = make(tmp_path, "bad", content)
    with pytest.raises(ValueError) as e:
        list(reader(path))
    assert message in str(e.value) and str(path) in str(e.value) and "\n" not in str(e.value)


def test_lines_are_drawn_uniformly_in_order_and_by_seed(tmp_path):
    path = make(tmp_path, "x.gz", gzip.compress("".join(f"{i}\n" for i in range(1, 101)).encode()))
    counts = Counter()
    for seed in range(2000):
        rows, total = sources.sample_lines(path, "", 10, seed)
        assert total == 100 and len(rows) == 10 and rows == sorted((int(text), text) for _, text in rows)
        counts.update(rows)
    assert max(abs(n - 200) for n in counts.values()) < 6 * (2000 * 0.1 * 0.9) ** 0.5
    assert len(counts) == 100 and sources.sample_lines(path, "", 10, seed) == (rows, total)
    rows, total = sources.sample_lines(path, "", 1000, 1)
    assert [number for number, _ in rows] == list(range(1, 101)) and total == 100
    assert sources.sample_lines(make(tmp_path, "x", b""), "", 5, 1) == ([], 0)


def test_filter_pairs_counts_each_reason_once():
    count = sources.Files(cache="x").count("pairs")
    pairs = [("a cat", "paka"), ("a cat", "paka"), ("Kenya", "Kenya"), ("x", "y " * 201), ("a" * 41, "b"),
             ("hi", "habari za asubuhi"), ("a cat", "nyau"), ("a", "")]
    assert list(sources.filter_pairs(count.each(pairs), count)) == [pairs[0], pairs[5], pairs[6]]
    assert count == {"source": "pairs", "read": 8, "kept": 3, "skipped": {
        "repeated": 1, "copy of the English": 1, "over 200 words": 1, "length ratio over 4.0": 1,
        "empty side": 1}}
    pair = ("The committee will meet again tomorrow morning in the capital.", "会")
    assert list(sources.filter_pairs([pair], count)) == []
    assert list(sources.filter_pairs([pair], count, max_ratio=None)) == [pair]
    assert list(sources.filter_pairs([("A hundred people came.", ",")], count, max_ratio=None)) == []
    pairs = [("News Crawl 2019", f"habari {i}") for i in range(5)] + [("hello", f"salamu {i}") for i in range(4)]
    assert list(sources.filter_pairs(pairs, count)) == pairs[5:]
    assert count["skipped"]["a side with 5 or more others"] == 5


def test_a_shift_by_a_row_is_put_right_and_single_rows_and_clean_bitext_are_left():
    right = [(f"In {1900 + i} Anna{i} met {i} people.", f"Mwaka {1900 + i} Anna{i} alikutana na watu {i}.")
             for i in range(60)]
    count = sources.Files(cache="x").count("pairs")
    assert sources.realigned(right, count) == right and "note" not in count
    english, source = map(list, zip(*right))
    down = source[:20] + source[19:59]                         # from row 21 on each translation is one late
    fixed = sources.realigned(list(zip(english, down)), count)
    assert fixed[:20] == right[:20] and fixed[20:59] == right[20:59]
    assert count["note"] == "40 rows from 21 to 60 one row off, put right"      # the last has lost its own
    swapped = right[:30] + [(right[30][0], right[31][1]), (right[31][0], right[30][1])] + right[32:]
    assert sources.realigned(swapped, count) == swapped and sources.realigned([], count) == []


@pytest.mark.skipif(not REAL, reason="set MIRROR to a folder with the publishers' files")
def test_of_the_published_files_only_the_somali_translation_memory_is_shifted():
    files = sources.Files(REAL)
    for lang in ("sw", "so", "tl", "mr", "fr"):
        pairs = list(data.read_tmx(files.find("tico19", f"TM/all.en-{lang}.tmx.zip"), lang))
        moved, count = 0, files.count(lang)
        for a, b in zip(pairs, sources.realigned(pairs, count)):
            moved += a != b
        assert ("note" in count) == (lang == "so") and (moved > 1700) == (lang == "so")
    assert count["source"] == "fr"


WIKICLIR = {
    "wiki-clir/english/wiki_en.queries":
        "7\tNile\tThe Nile is a river .\n8\tGoat\tA goat eats .\n9\tRome\tA city\n",
    "wiki-clir/swahili/en2sw.rel": "7 s1 2\n8 s1 1\n8\ts2\t2\n9 s3 2\n",
    "wiki-clir/swahili/wiki_sw.documents": "s1\tNaili\tMto\ns2\tMbuzi\tMnyama\ns4\tJua\tNyota\ns3\t \tMji\n"}


def test_wikiclir_turned_round_has_titles_and_their_english_mates(tmp_path):
    path = make(tmp_path, "wiki-clir.tar.gz", tarred(WIKICLIR))
    assert list(sources.read_wikiclir(path, "swahili", "sw")) == [
        ("Naili", "7", "Nile. The Nile is a river ."), ("Mbuzi", "8", "Goat. A goat eats .")]
    with pytest.raises(ValueError, match="no member ends in 'german/en2de.rel'"):
        list(sources.read_wikiclir(path, "german", "de"))
    bad = WIKICLIR | {"wiki-clir/swahili/en2sw.rel": "7 s1\n"}
    for body, message in ((tarred(bad), "en2sw.rel:1: 2 columns, not 3: '7 s1'"),
                          (tarred(WIKICLIR)[:150], "truncated or damaged gz file")):
        with pytest.raises(ValueError, match=message):
            list(sources.read_wikiclir(make(tmp_path, "wiki-clir.tar.gz", body), "swahili", "sw"))


LATIMES = """<DOC>
<DOCNO> LA010194-0001 </DOCNO>
<DOCID> 000001 </DOCID>
<SECTION><P>Part A</P></SECTION>
<HEADLINE><P>CAF\xc9 OPENS;
AT&amp;T CLOSES</P></HEADLINE>
<TEXT><P>It opened
today.</P><P>Fine.</P></TEXT>
</DOC>
<DOC><DOCNO>LA010194-0002</DOCNO><TEXT></TEXT></DOC>
"""
TOPICS_2001 = """<top>\n<num> C041 </num>\n<DE-title> Pestizide in Babynahrung </DE-title>
<DE-desc> Finde Berichte über\nPestizide. </DE-desc>\n<DE-narr> Egal. </DE-narr>\n</top>\n
<top>\n<num> C042 </num>\n<DE-title> UNO </DE-title>\n<DE-desc> Krieg. </DE-desc>\n</top>\n"""
TOPICS_2000 = """<top>\n\n<num> C001\n<D-title> Architektur in Berlin\n
<D-desc> Finde\nBerichte.\n<D-narr> Egal.\n</top>\n"""
CIIR = """query_id: C001\ntitle: Usanifu wa majengo\ndescription: Tafuta nyaraka\nkuhusu Berlin.\n\n
query_id: C002\ntitle: Mvua\n"""


def test_clef_documents_and_topics_of_both_mark_ups_and_of_ciir(tmp_path):
    assert list(sources.read_sgml(make(tmp_path, "la.gz", gzip.compress(LATIMES.encode("latin-1"))))) == [
        ("LA010194-0001", "CAFÉ OPENS; AT&T CLOSES It opened today. Fine."), ("LA010194-0002", "")]
    assert sources.read_topics(make(tmp_path, "Top-de01.txt", TOPICS_2001.encode("latin-1"))) == {
        "C041": ("Pestizide in Babynahrung", "Finde Berichte über Pestizide."), "C042": ("UNO", "Krieg.")}
    assert sources.read_topics(make(tmp_path, "TOP-D.txt", TOPICS_2000)) == {
        "C001": ("Architektur in Berlin", "Finde Berichte.")}
    assert sources.read_topics(make(tmp_path, "x_SWAHILI.txt", CIIR), "", sources.CIIR) == {
        "C001": ("Usanifu wa majengo", "Tafuta nyaraka kuhusu Berlin."), "C002": ("Mvua", "")}
    assert [sources.topic_id(text, "x") for text in ("C041", "42", "042")] == ["C041", "C042", "C042"]

# SPDX-License-Identifier: MIT
"""Damaged files: every reader parses what it is given or refuses it by a ValueError of one line naming it.

Valid files of each format are mutated (bits, spans, lines; plain and packed), hypothesis makes others up.
FUZZ=n sets the number of inputs a reader (default 100):    FUZZ=4000 python -m pytest -q tests/test_fuzz.py
"""
import gzip
import json
import lzma
import os
import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import data
import evaluate
from fixture import make, passage, squad, tarred, zipped
from study import baselines, sources, tables

N = int(os.environ.get("FUZZ", 100))
TEXT = "".join(f"d{n}\t{passage(n)} é ſ क्ष\n" for n in range(4))
PAIRS = "".join(f"{passage(n)}\t{passage(n, 'swa')}\n" for n in range(4))
TMX = ('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE tmx SYSTEM "t.dtd">\n<tmx version="1.4"><body>\n'
       + "".join(f'<tu><tuv xml:lang="en"><seg>a &amp; b {n}</seg></tuv>\n<tuv xml:lang="sw"><seg>na <ph/>'
                 f"&#233; {n}</seg></tuv></tu>\n" for n in range(4)) + "</body></tmx>\n")
SGML = "".join(f"<DOC>\n<DOCNO> LA010194-{n:04d} </DOCNO>\n<HEADLINE><P>Caf&eacute; {n}</P></HEADLINE>\n"
               "<TEXT>\n<P>a &amp; b</P>\n</TEXT>\n</DOC>\n" for n in range(4))
TOPICS = "".join(f"<top>\n<num> C{n:03d} </num>\n<EN-title> t {n} </EN-title>\n<EN-desc> d {n}\n</EN-desc>\n"
                 "</top>\n" for n in range(1, 4))
OLD = "<top>\n<num> C001\n<E-title> t\n<E-desc> d\n</top>\n"
CIIR = "query_id: C001\ntitle: a\ndescription: b\n\nquery_id: C002\ntitle: c\n"
WIKICLIR = {"w/english/wiki_en.queries": "7\tNile\tThe Nile\n", "w/swahili/en2sw.rel": "7 s1 2\n",
            "w/swahili/wiki_sw.documents": "s1\tNaili\tMto\n"}


def rows(record):
    return "".join(json.dumps(record(n)) + "\n" for n in range(4))


AFRIQA = rows(lambda n: {"id": str(n), "question_lang": "swali", "question_translated": "what", "title": "T",
                         "context": passage(n), "answer_pivot": {"text": ["x"]}})
ROWS = json.dumps([{"table": "2", "method": "a", "lang": "b", "measure": "map", "value": 0.5}])
FORMATS = {                                    # name: (reader of a path, a valid file)
    "lines": (data.lines, TEXT), "corpus": (data.read_tsv, TEXT), "bitext": (data.read_bitext, PAIRS),
    "triples": (data.read_triples, "q1\td1\td2\nq2\td2\n"), "links": (data.read_links, "0-0 1-2\n\n3-1\n"),
    "tmx": (lambda p: data.read_tmx(p, "sw"), TMX), "json lines": (data.json_lines, AFRIQA),
    "afriqa": (sources.read_afriqa, AFRIQA), "squad": (sources.read_squad, json.dumps(squad(range(3), "de"))),
    "sgml": (sources.read_sgml, SGML),
    "topics": (sources.read_topics, TOPICS), "old topics": (sources.read_topics, OLD),
    "ciir": (lambda p: sources.read_topics(p, "", sources.CIIR), CIIR),
    "drawn lines": (lambda p: sources.sample_lines(p, "", 3, 1), TEXT),
    "lexicon": (baselines.read_lexicon, "goat\tmbuzi\t0.5\ngoat\tbeberu\t0.5\n"),
    "run": (evaluate.read_run, "q1 Q0 d1 1 2.5 t\nq1 Q0 d2 2 1e-3 t\nq2 Q0 d1 1 -3 t\n"),
    "judged": (evaluate.read_qrels, "q1 0 d1 1\nq1 0 d2 0\nq2 0 d1 2\n"), "rows": (tables.read_rows, ROWS)}
PACK = {"gz": gzip.compress, "xz": lzma.compress, "zip": lambda body: zipped({"a.tmx": body})}
BITS = [b"\t", b"\n", b" ", b"\r\n", b"\0", b"\xff", b"\xc3", b'"', b"{", b"}", b"[", b"<", b">", b"&",
        b"&lt", b"&#x110000;", b"-1", b"1e999", b"nan", b"9" * 20, b"null", b"\xe2\x80\xa8", b"\xef\xbb\xbf"]


def mutated(body, rng):
    """`body` with one to four things gone wrong."""
    for _ in range(rng.randint(1, 4)):
        at, n = rng.randrange(len(body) + 1), rng.choice((1, 2, 10, 100))
        lines = body.split(b"\n")
        rng.shuffle(lines)
        body = rng.choice([
            body[:at], body[:at] + body[at + n:], body[:at + n] + body[at:], b"\n".join(lines),
            body[:at] + rng.choice(BITS) + body[at:], body[:at] + rng.randbytes(n) + body[at:],
            body[:at] + bytes(b ^ 1 << rng.randrange(8) for b in body[at:at + 1]) + body[at + 1:]])
    return body


def taken(read, path):
    """Whether `read` took the file; asserts that it refused it properly where it did not."""
    began = time.monotonic()
    try:
        list(read(path))
        return True
    except ValueError as error:
        assert path.name in str(error) and "\n" not in str(error), repr(error)
        return False
    finally:
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", FORMATS)
def test_a_mutated_file_is_parsed_or_refused_by_name(name, tmp_path):
    (read, text), rng = FORMATS[name], random.Random(f"fuzz {name}")
    assert taken(read, make(tmp_path, "file", text))
    took = sum(taken(read, make(tmp_path, "file", mutated(text.encode(), rng))) for _ in range(N))
    assert 0 < took < N or name in ("lines", "drawn lines", "old topics", "muse", "links")    # both happen


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("name", ["lines", "corpus", "tmx", "afriqa", "drawn lines"])
def test_a_mutated_archive_is_parsed_or_refused_by_name(name, pack, tmp_path):
    (read, text), rng = FORMATS[name], random.Random(f"fuzz {name} {pack}")
    assert taken(read, make(tmp_path, f"file.{pack}", PACK[pack](text.encode())))
    for i in range(N // 2):
        body = PACK[pack](mutated(text.encode(), rng)) if i % 2 else mutated(PACK[pack](text.encode()), rng)
        taken(read, make(tmp_path, f"file.{pack}", body))


def test_a_mutated_tar_of_wikiclir_is_parsed_or_refused_by_name(tmp_path):
    rng = random.Random("fuzz tar")
    for i in range(N):
        members = {name: mutated(text.encode(), rng) for name, text in WIKICLIR.items()}
        path = make(tmp_path, "wiki.tar.gz", tarred(members) if i % 2 else mutated(tarred(WIKICLIR), rng))
        taken(lambda path: sources.read_wikiclir(path, "swahili", "sw"), path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5), max_leaves=6, extend=lambda x: st.lists(
        x, max_size=3) | st.dictionaries(st.sampled_from(["id", "data", "x"]), x, max_size=3))


@pytest.mark.parametrize("name", FORMATS)
def test_any_bytes_are_parsed_or_refused_by_name(name, tmp_path):
    @settings(max_examples=max(10, N // 4), deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.binary(max_size=200), VALUES.map(lambda value: json.dumps(value).encode()),
                     st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace"))))
    def check(body):
        taken(FORMATS[name][0], make(tmp_path, "file", body))
    check()

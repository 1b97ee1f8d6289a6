# SPDX-License-Identifier: MIT
"""Damaged files: every reader parses what it is given or refuses it by a ValueError of one line that names it.

Valid files of each format are mutated (bits, bytes, spans, lines, fields; plain and packed), and hypothesis makes
others up. FUZZ=n sets the number of inputs a reader (default 100):

    FUZZ=4000 python -m pytest -q tests/test_fuzz.py
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

import baselines
import data
import evaluate
import paper
import report
import xtreme
from fixture import make, passage, squad, tarred, zipped

N = int(os.environ.get("FUZZ", 100))
TEXT = "".join(f"d{n}\t{passage(n)} é ſ क्ष\n" for n in range(4))
PAIRS = "".join(f"{passage(n)}\t{passage(n, 'swa')}\n" for n in range(4))
TMX = ('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n<tmx version="1.4"><header/><body>\n'
       + "".join(f'<tu tuid="{n}"><tuv xml:lang="en"><seg>a &amp; b {n}</seg></tuv>\n<tuv xml:lang="sw"><seg>na <ph/>'
                 f"&#233; {n}</seg></tuv></tu>\n" for n in range(4)) + "</body></tmx>\n")
AFRIQA = "".join(json.dumps({"id": str(n), "question_lang": "swali", "question_translated": "what", "title": "T",
                             "context": passage(n), "answer_pivot": {"text": ["x"]}}) + "\n" for n in range(4))
SGML = "".join(f"<DOC>\n<DOCNO> LA010194-{n:04d} </DOCNO>\n<HEADLINE><P>Caf&eacute; {n}</P></HEADLINE>\n<TEXT>\n<P>a"
               f" &amp; b</P>\n</TEXT>\n</DOC>\n" for n in range(4))
TOPICS = "".join(f"<top>\n<num> C{n:03d} </num>\n<EN-title> t {n} </EN-title>\n<EN-desc> d {n}\n</EN-desc>\n</top>\n"
                 for n in range(1, 4))
OLD = "<top>\n<num> C001\n<E-title> t\n<E-desc> d\n</top>\n"
CLIRMATRIX = "".join(json.dumps({"src_id": str(n), "src_query": f"t {n}", "tgt_results": [[f"d{n}", 6], ["d0", 2]]})
                     + "\n" for n in range(4))
WIKICLIR = {"w/english/wiki_en.queries": "7\tNile\tThe Nile\n", "w/swahili/en2sw.rel": "7 s1 2\n",
            "w/swahili/wiki_sw.documents": "s1\tNaili\tMto\n"}
PANLEX = "id\tlangvar\ttxt\ttxt_degr\tmeaning\tlangvar_uid\n1\t187\tgoat\tgoat\t70\teng-000\n"
TERMS = 'id,sourceLang,targetLang,sourceString,targetString\n1,en,sw,"a, b",c\n2,en,sw,d,e\n'
ROWS = json.dumps([{"table": "2", "method": "a", "lang": "b", "measure": "map", "value": 0.5}])

FORMATS = {                                    # name: (reader of a path, a valid file)
    "lines": (lambda p: list(data.lines(p)), TEXT), "corpus": (data.read_tsv, TEXT),
    "bitext": (data.read_bitext, PAIRS), "qrels": (data.read_qrels, "q1 0 d1 1\nq1 0 d2 0\nq2 0 d1 -1\n"),
    "triples": (data.read_triples, "q1\td1\td2\td3\nq2\td2\n"), "links": (data.read_links, "0-0 1-2\n\n3-1\n"),
    "tmx": (lambda p: list(data.read_tmx(p, "sw")), TMX), "afriqa": (lambda p: list(data.read_afriqa(p)), AFRIQA),
    "squad": (lambda p: list(data.read_squad(p)), json.dumps(squad(range(3), "de"))),
    "muse": (lambda p: list(data.read_muse(p)), "goat ziege\nsun\tsonne\n"),
    "terms": (lambda p: list(data.read_terms(p)), TERMS), "panlex": (lambda p: list(data.read_panlex(p)), PANLEX),
    "clirmatrix": (lambda p: list(data.read_clirmatrix(p, make(p.parent, "docs.tsv", TEXT))), CLIRMATRIX),
    "json lines": (lambda p: list(paper.read_jsonl(p, "src_query")), CLIRMATRIX),
    "sgml": (lambda p: list(paper.read_sgml(p)), SGML), "topics": (paper.read_topics, TOPICS),
    "old topics": (paper.read_topics, OLD), "drawn lines": (lambda p: paper.sample_lines(p, "", 3, 1), TEXT),
    "entities": (lambda p: dict(xtreme.records(p, xtreme.entity, "an entity")), "".join(json.dumps(
        {"entity_id": f"Q{n}", "title": f"t{n}", "description": passage(n)}) + "\n" for n in range(4))),
    "mentions": (lambda p: [row for _, rows in xtreme.records(p, xtreme.mentions, "an article") for row in rows],
                 "".join(json.dumps({"context": {"language": "de", "text": passage(n), "sentence_spans": [
                     {"start": 0, "end": 20}]}, "mentions": [{"example_id": f"m{n}", "entity_id": "Q1", "mention_span":
                      {"start": 0, "end": 5, "text": "x"}}]}) + "\n" for n in range(4))),
    "ciir": (paper.read_ciir_topics, "query_id: C001\ntitle: a\ndescription: b\n\nquery_id: C002\ntitle: c\n"),
    "judgements": (paper.read_judgements, "C001 0 LA-1 1\n2 0 LA-2 0\n"),
    "lexicon": (baselines.read_lexicon, "goat\tmbuzi\t0.5\ngoat\tbeberu\t0.5\n"), "texts": (baselines.read_texts, TEXT),
    "run": (evaluate.read_run, "q1 Q0 d1 1 2.5 t\nq1 Q0 d2 2 1e-3 t\nq2 Q0 d1 1 -3 t\n"),
    "judged": (evaluate.read_qrels, "q1 0 d1 1\nq1 0 d2 0\nq2 0 d1 2\n"), "rows": (report.read_rows, ROWS)}
PACK = {"gz": gzip.compress, "xz": lzma.compress, "zip": lambda body: zipped({"a.tmx": body})}
BITS = [b"\t", b"\n", b" ", b"\r\n", b"\0", b"\xff", b"\xc3", b'"', b"{", b"}", b"[", b"<", b">", b"&", b"&#x110000;",
        b"&lt", b"-1", b"1e999", b"nan", b"99999999999999999999", b"null", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\x1a"]


def mutated(body, rng):
    """`body` with one to four things gone wrong."""
    for _ in range(rng.randint(1, 4)):
        at, n = rng.randrange(len(body) + 1), rng.choice((1, 2, 10, 100))
        kind = rng.randrange(7)
        if kind == 0:
            body = body[:at]
        elif kind == 1:
            body = body[:at] + body[at + n:]
        elif kind == 2:
            body = body[:at] + body[at:at + n] * 2 + body[at + n:]
        elif kind == 3:
            body = body[:at] + rng.choice(BITS) + body[at:]
        elif kind == 4:
            body = body[:at] + bytes(b ^ 1 << rng.randrange(8) for b in body[at:at + 1]) + body[at + 1:]
        elif kind == 5:
            rows = body.split(b"\n")
            rng.shuffle(rows)
            body = b"\n".join(rows)
        else:
            body = body[:at] + rng.randbytes(n) + body[at:]
    return body


def parsed_or_refused(read, path):
    """Whether `read` took the file; asserts that it refused it properly where it did not."""
    began = time.monotonic()
    try:
        read(path)
        taken = True
    except ValueError as error:
        assert path.name in str(error) and "\n" not in str(error), repr(error)
        taken = False
    assert time.monotonic() - began < 5
    return taken


@pytest.mark.parametrize("name", FORMATS)
def test_a_mutated_file_is_parsed_or_refused_by_name(name, tmp_path):
    read, text = FORMATS[name]
    rng, taken = random.Random(f"fuzz {name}"), 0
    assert parsed_or_refused(read, make(tmp_path, "file", text))
    for _ in range(N):
        body = mutated(text.encode(), rng)
        taken += parsed_or_refused(read, make(tmp_path, "file", body))
    assert 0 < taken < N or name in ("lines", "drawn lines", "old topics", "muse", "links")    # both happen


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("name", ["lines", "corpus", "tmx", "afriqa", "drawn lines"])
def test_a_mutated_archive_is_parsed_or_refused_by_name(name, pack, tmp_path):
    read, text = FORMATS[name]
    rng = random.Random(f"fuzz {name} {pack}")
    assert parsed_or_refused(read, make(tmp_path, f"file.{pack}", PACK[pack](text.encode())))
    for i in range(N // 2):
        body = PACK[pack](mutated(text.encode(), rng)) if i % 2 else mutated(PACK[pack](text.encode()), rng)
        parsed_or_refused(read, make(tmp_path, f"file.{pack}", body))


def test_a_mutated_tar_of_wikiclir_is_parsed_or_refused_by_name(tmp_path):
    rng = random.Random("fuzz tar")
    for i in range(N):
        members = {name: mutated(text.encode(), rng) for name, text in WIKICLIR.items()}
        body = tarred(members) if i % 2 else mutated(tarred(WIKICLIR), rng)
        parsed_or_refused(lambda path: list(data.read_wikiclir(path, "swahili", "sw")),
                          make(tmp_path, "wiki.tar.gz", body))


@pytest.mark.parametrize("name", FORMATS)
def test_any_bytes_are_parsed_or_refused_by_name(name, tmp_path):
    read, _ = FORMATS[name]

    @settings(max_examples=max(10, N // 4), deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")),
                     st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda inner: st.lists(
                         inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "data", "x"]), inner, max_size=3),
                         max_leaves=6).map(lambda value: json.dumps(value).encode())))
    def check(body):
        parsed_or_refused(read, make(tmp_path, "file", body))
    check()

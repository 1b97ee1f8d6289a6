# SPDX-License-Identifier: MIT
"""data.py: each format on small files with the traps of published ones; the collection as it is written."""
import ast
import gzip
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys

import pytest

import data
from conftest import ROOT
from fixture import make, tarred, zipped


def tree(folder):
    """{path below a folder: the bytes of the file}."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def tmx(*pairs, head='<?xml version="1.0"?>', lang="sw"):
    units = "".join(f'<tu><tuv xml:lang="en"><seg>{e}</seg></tuv>'
                    f'<tuv xml:lang="{lang}"><seg>{s}</seg></tuv></tu>\n' for e, s in pairs)
    return f'{head}\n<tmx version="1.4"><header/><body>\n{units}</body></tmx>'


# ------------------------------------------------------------------------------------- text, streams
def test_clean_is_nfc_with_single_spaces_and_nothing_unprintable():
    assert data.clean("e\u0301t\u00e9\u00a0\u2028 x\u0085y\tz\r\n") == "\u00e9t\u00e9 x y z"
    assert data.clean("\ufeffa\x00b\x1fc") == "a b c"
    assert data.clean("half \ud800 surrogate").encode() == "half \ufffd surrogate".encode()
    assert data.clean("क्\u200dष") == "क्\u200dष"                # joiners carry meaning, they stay
    assert data.fold("Who founded FORD-Kenya?") == "who founded ford kenya"
    for text in ("  a\u0301 \u212b b ", "\u1e9b\u0323", "ｆｕｌｌ ｗｉｄｔｈ", ""):
        assert data.clean(data.clean(text)) == data.clean(text)


def test_lines_end_at_newlines_only_and_marks_and_returns_go(tmp_path):
    path = make(tmp_path, "a.txt", "\ufeffone\r\ntwo\u2028still two\x85\x0b\x0c\n\nlast without end")
    assert list(data.lines(path)) == [(1, "one"), (2, "two\u2028still two\x85\x0b\x0c"), (3, ""),
                                      (4, "last without end")]


def test_packed_files_read_like_plain_ones_whatever_their_name(tmp_path):
    body = "a\té\nb\tü\n".encode()
    archive = {"folder/": "", "__MACOSX/._c.tsv": "x", "folder/c.tsv": body}
    for packed in (body, gzip.compress(body), lzma.compress(body), zipped(archive)):
        assert data.read_tsv(make(tmp_path, "corpus", packed)) == {"a": "é", "b": "ü"}
    assert data.read_tsv(make(tmp_path, "text", "PK1\tsounds like a zip")) == {"PK1": "sounds like a zip"}
    path = make(tmp_path, "m.zip", zipped({x: x + "\n" for x in ("x.en-sw.en", "x.en-sw.sw", "README")}))
    assert list(data.lines(path, ".sw")) == [(1, "x.en-sw.sw")]
    for member, message in ((".fi", "0 of x.en-sw.en, x.en-sw.sw, README end in '.fi'"), ("", "m.zip: 3 of")):
        with pytest.raises(ValueError, match=message):
            list(data.lines(path, member))


def test_an_archive_that_is_damaged_or_not_what_its_name_says_is_refused(tmp_path):
    for name in ("a.gz", "a.zip", "a.tmx.zip"):
        with pytest.raises(ValueError, match="starts with b'<html>', not as its name says"):
            list(data.lines(make(tmp_path, name, "<html>error 404")))
    body = bytearray(zipped({"a.txt": "hello\n" * 100}))
    body[60] ^= 1
    with pytest.raises(ValueError, match="truncated or damaged zip file .*CRC"):
        list(data.lines(make(tmp_path, "a.zip", bytes(body))))


def test_a_line_longer_than_the_limit_is_refused_before_it_fills_the_memory(tmp_path):
    line = b"x" * data.LINE
    for name, pack in {"a": bytes, "a.gz": gzip.compress, "a.xz": lzma.compress, "a.zip": lambda body: zipped(
            {"x": body}), "a.tar.gz": lambda body: tarred({"x": body})}.items():
        with pytest.raises(ValueError, match=f"{name}:2: a line of more than 16 MB"):
            list(data.lines(make(tmp_path, name, pack(b"a\n" + line + b"x")), "x"))
    assert len(list(data.lines(make(tmp_path, "a", line[:-1] + b"\nb\n")))) == 2


# ------------------------------------------------------------------------------------------- bitext
def test_aligned_files_give_pairs_without_empty_sides_and_must_be_of_one_length(tmp_path):
    english = make(tmp_path, "t.en", "\ufeffOne  dog\r\n\r\nThree\nFour")
    source = make(tmp_path, "t.sw", "Mbwa mmoja\nMbili\n\u00a0\nNne\n")
    assert list(data.read_pairs(english, source)) == [("One dog", "Mbwa mmoja"), ("Four", "Nne")]
    assert len(list(data.aligned(english, source))) == 4
    for lengths in ((5, 3), (3, 5), (0, 1)):
        paths = [make(tmp_path, f"t{i}", "x\n" * n) for i, n in enumerate(lengths)]
        with pytest.raises(ValueError, match="not aligned: {2} has {0} lines, {3} has {1} lines".format(
                *lengths, *paths)):
            list(data.read_pairs(*paths))


def test_tmx_reads_packed_files_utf_16_external_doctypes_old_lang_and_inline_codes(tmp_path):
    text = tmx(("A &amp; b", "C &lt; d"), ("e\u0301", " x \n y "), lang="SW-KE")
    for name, body in {"a.tmx": text, "a.tmx.gz": gzip.compress(text.encode()),
                       "a.tmx.zip": zipped({"README.md": "no", "all.tmx": text})}.items():
        pairs = data.read_pairs(make(tmp_path, name, body), lang="sw")
        assert list(pairs) == [("A & b", "C < d"), ("\u00e9", "x y")]
    head = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE tmx SYSTEM "tmx14.dtd">'
    text = tmx(('<bpt i="1">\\b </bpt>bold<ept i="1">\\b0 </ept> <hi>word</hi>', "ñ"), head=head)
    text = text.replace('xml:lang="sw"', 'lang="sw"')
    assert list(data.read_tmx(make(tmp_path, "a.tmx", text.encode("utf-16")), "sw")) == [("bold word", "ñ")]
    path = make(tmp_path, "b.tmx", tmx(("a", "b"), ("c", ""), lang="so"))
    assert list(data.read_tmx(path, "so")) == [("a", "b"), ("c", "")]
    assert list(data.read_tmx(path, "sw")) == [("a", ""), ("c", "")]
    assert not list(data.read_pairs(path, lang="sw"))


ENTITIES = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij"))
BOMB = f'<!DOCTYPE tmx [<!ENTITY a "{"ha" * 50}">{ENTITIES}]>'
OUTSIDE = '<!DOCTYPE tmx [<!ENTITY x SYSTEM "file:///etc/hostname">]>'


def test_our_own_files_read_back_by_hand(tmp_path):
    assert data.read_tsv(make(tmp_path, "a", "d1\ta  b\tc\n\nd2\t\n")) == {"d1": "a b c", "d2": ""}
    assert data.read_bitext(make(tmp_path, "b", "a\tb\r\nc\td")) == [("a", "b"), ("c", "d")]
    assert data.read_triples(make(tmp_path, "d", "q\tp\nq\tp\tn\tm\n")) == [
        ("q", "p", []), ("q", "p", ["n", "m"])]
    assert data.read_links(make(tmp_path, "e", "0-0 1-2\n\n10-3\n")) == [[(0, 0), (1, 2)], [], [(10, 3)]]
    assert list(data.json_lines(make(tmp_path, "f", '{"a": 1}\n\n[2]\n'))) == [
        (1, '{"a": 1}', {"a": 1}), (3, "[2]", [2])]


def swahili(path):
    return list(data.read_tmx(path, "sw"))


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
    (data.read_triples, "q\n", ":1: expected qid<TAB>positive"),
    (data.read_triples, "q\tp\t\tn\n", ":1: expected"),
    (data.read_links, "0-0\n0:1\n", ":2: expected links"),
    (lambda path: list(data.json_lines(path)), "{}\n{\n", ":2: not JSON"),
    (swahili, tmx(("&j;", "x"), head=BOMB), "not well-formed, limit on"),
    (swahili, tmx(("&x;", "x"), head=OUTSIDE), "undefined entity"),
    (swahili, tmx(("a", "x")).replace("</tu>", ""), "not well-formed, mismatched tag"),
    (swahili, tmx(("a", "x"))[:-20], "not well-formed"),
    (swahili, tmx(("a", "x\udcff")).encode(errors="surrogateescape"), ":3: not well-formed"),
    (swahili, "", "no element found"),
])
def test_bad_input_is_one_line_that_names_the_file_and_the_line(tmp_path, reader, content, message):
    path = make(tmp_path, "bad", content)
    with pytest.raises(ValueError) as e:
        reader(path)
    assert message in str(e.value) and str(path) in str(e.value) and "\n" not in str(e.value)


# --------------------------------------------------------------------------------------- collection
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
            "counts": [{"source": "mini", "read": 0, "kept": 0, "skipped": {}}]}


def test_the_files_and_the_manifest_are_as_documented(tmp_path):
    c = tiny() | {"wiki": {"docs": {"w": "Nile", "v": "x"}, "titles": {"sw": {"w": "Naili"}},
                           "negatives": {"sw": {"w": ["v"]}}},
                  "translations": {"sw": {"q1": "b?"}}, "parallel": {"sw": {"docs": {"d1": "p"}}}}
    c["docs"]["mini"]["d3"], c["bitext"]["sw"]["dev"] = "a\tb\r\nc\u2028d", [("a\nb", "c\td")]
    data.write_collection(c, tmp_path / "out")
    files, m = tree(tmp_path / "out"), data.load_manifest(tmp_path / "out")
    assert files["bitext/sw.train.tsv"] == b"a cat\tpaka\nx\ty\n"
    assert files["bitext/sw.train.links"] == b"1-0\n\n" and files["bitext/sw.dev.tsv"] == b"a b\tc d\n"
    assert files["docs/mini.tsv"] == b"d1\ta\nd3\ta b c d\n"
    assert files["train/triples.tsv"] == b"q1\td1\td2\n"
    assert files["test/sw/qrels.txt"] == b"q 0 d1 2\nq 0 d3 0\n"
    assert files["wiki/sw.triples.tsv"] == b"w\tw\tv\n"
    assert m["langs"]["sw"] == {
        "name": "Swahili", "family": "Niger-Congo", "class": "low", "pairs": 2, "bitext": "mini",
        "train": "bitext/sw.train.tsv", "train_links": "bitext/sw.train.links", "dev": "bitext/sw.dev.tsv",
        "dev_links": None,
        "wiki": {"docs": "wiki/docs.tsv", "queries": "wiki/sw.queries.tsv", "triples": "wiki/sw.triples.tsv"},
        "translations": "translations/en-sw/train.tsv", "parallel": {"docs": "train/sw.docs.tsv"}}
    assert data.language(tmp_path / "out", "sw") == m["langs"]["sw"]
    assert m["tests"] == [{"set": "sw", "lang": "sw", "name": "Swahili", "class": "low", "docs": "mini",
                           "queries": "test/sw/queries.tsv", "english": "test/sw/english.tsv",
                           "qrels": "test/sw/qrels.txt"}]
    assert m["docs"] == {"mini": "docs/mini.tsv"} and m["version"] == 1 and m["pretrain"] == "pretrain.txt"
    assert m["counts"] == c["counts"] and m["train"]["dev_qrels"] == "train/dev.qrels.txt"
    del files["collection.json"]
    assert {name: hashlib.sha256(body).hexdigest() for name, body in files.items()} == m["sha256"]
    schema = (ROOT / "examples" / "own" / "README.md").read_text(encoding="utf-8").split("what may be absent")[1]
    shape = " ".join([*data.SHAPE, *data.SHAPE["langs"]["*"], *data.SHAPE["train?"], *data.TEST])
    for name in (*shape.replace("?", "").split(), *m, *m["counts"][0]):
        assert f"`{name}`" in schema, f"{name} is not documented"


def test_a_collection_is_there_whole_or_not_there(tmp_path, monkeypatch):
    out = tmp_path / "out"
    make(tmp_path, "out.part/left", "by a run that was killed")
    data.write_collection(tiny(), out)
    before = tree(tmp_path)
    assert "out/collection.json" in before and "out.part/left" not in before

    def full(text):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(data, "clean", full)
        with pytest.raises(ValueError, match="/out: No space left on device; nothing was kept"):
            data.write_collection(tiny() | {"seed": 4}, out)
    assert tree(tmp_path) == before                              # the older one, and nothing beside it
    data.write_collection(tiny() | {"pretrain": None}, out)
    assert "pretrain.txt" not in tree(out) and data.load_manifest(out)["pretrain"] is None
    make(tmp_path, "mine/notes.txt", "mine")
    with pytest.raises(ValueError, match="mine: is there and is no collection; choose another folder"):
        data.write_collection(tiny(), tmp_path / "mine")
    assert tree(tmp_path / "mine") == {"notes.txt": b"mine"}


@pytest.mark.parametrize("text, message", [(None, ": no such file; "), ("{", ":1: not JSON"), (b"\xff", ":1: byte")])
def test_a_manifest_that_is_missing_or_no_json_is_one_line(tmp_path, text, message):
    if text is not None:
        make(tmp_path, "collection.json", text)
    with pytest.raises(ValueError) as e:
        data.language(tmp_path, "sw")
    assert f"collection.json{message}" in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize("damage, message", [
    (lambda m: [m], "collection.json: expected an object, got [{"),
    (lambda m: m.update(version=2), "collection.json: version: expected 1, got 2"),
    (lambda m: m.update(langs=[]), "langs: expected an object, got []"),
    (lambda m: m["langs"].update(sw=None), "langs.sw: expected an object, got null"),
    (lambda m: m["langs"]["sw"].__delitem__("dev"), "langs.sw.dev: expected a text, got null"),
    (lambda m: m["langs"]["sw"].update(pairs="2"), 'langs.sw.pairs: expected a whole number, got "2"'),
    (lambda m: m.__delitem__("tests"), "tests: expected a list, got null"),
    (lambda m: m["tests"][0].update({"class": "mid"}), "tests[0].class: expected 'low' or 'high', got \"mid\""),
    (lambda m: m["tests"][0].update(docs="gone"), "tests[0].docs: expected 'mini', got \"gone\""),
    (lambda m: m["tests"][0].__delitem__("qrels"), "tests[0].qrels: expected a text, got null"),
    (lambda m: m["train"].update(triples=3), "train.triples: expected a text, got 3"),
    (lambda m: m["langs"].clear(), "no language 'sw'; ")])
def test_a_damaged_manifest_is_one_line_that_names_file_key_and_what_is_expected(tmp_path, damage, message):
    data.write_collection(tiny(), tmp_path / "out")
    manifest = data.load_manifest(tmp_path / "out")
    make(tmp_path, "out/collection.json", json.dumps(damage(manifest) or manifest))
    with pytest.raises(ValueError) as e:
        data.language(tmp_path / "out", "sw")
    assert "out/collection.json: " in str(e.value) and message in str(e.value) and "\n" not in str(e.value)


def test_a_collection_without_training_queries_is_written_and_read(tmp_path):
    data.write_collection(tiny() | {"train": None}, tmp_path / "out")
    assert data.load_manifest(tmp_path / "out")["train"] is None
    assert not [name for name in tree(tmp_path / "out") if name.startswith("train/")]
    make(tmp_path, "out/collection.json", json.dumps({"version": 1, "seed": 1, "langs": {}, "docs": {}, "tests": []}))
    manifest = data.load_manifest(tmp_path / "out")
    assert manifest["train"] is None and manifest["pretrain"] is None


@pytest.mark.parametrize("damage, message", [
    (lambda c: c["tests"][0].update(qrels={"q": {"gone": 1}}), r"sw: no document relevant to \['q'\], 1"),
    (lambda c: c["tests"][0].update(qrels={"q": {"d1": 0}}), "sw: nothing is relevant"),
    (lambda c: c["tests"][0].update(queries={}), "sw: nothing is relevant, or something to an unknown query"),
    (lambda c: c["tests"][0]["qrels"].update(other={"d1": 1}), "sw: .* to an unknown query"),
    (lambda c: c["docs"].update(mini={}), "sw: no document relevant"),
    (lambda c: c["train"]["dev_qrels"].update(q2={"gone": 1}), "dev: no document relevant"),
    (lambda c: c["train"]["triples"].append(("q9", "d1", [])), "triple of q9 names an unknown query"),
    (lambda c: c["train"]["triples"].append(("q1", "d1", ["d9"])), "triple of q1 names an unknown"),
    (lambda c: c["bitext"]["sw"].update(train=[], train_links=None), "sw train: no sentence pairs"),
    (lambda c: c["bitext"]["sw"].update(train_links=[[]]), "sw train: .* links that do not fit"),
])
def test_a_collection_that_contradicts_itself_is_not_written(tmp_path, damage, message):
    c = tiny()
    damage(c)
    with pytest.raises(ValueError, match=message):
        data.write_collection(c, tmp_path / "out")
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------------- copy
USER = """import data
pairs = data.read_bitext("own.tsv")
for english, swahili in pairs:
    print(f"{swahili} is {english}")
print(len(pairs))
"""


def test_copied_alone_data_py_passes_its_doctests_and_reads_a_file(tmp_path):
    shutil.copy(ROOT / "data.py", tmp_path)
    make(tmp_path, "own.tsv", "one dog\tmbwa mmoja\ntwo\tmbili\n")
    make(tmp_path, "user.py", USER)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    for argv, printed in ((["-m", "doctest", "data.py"], ""),
                          (["user.py"], "mbwa mmoja is one dog\nmbili is two\n2\n")):
        done = subprocess.run([sys.executable, *argv], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, printed), done.stderr
    nodes = list(ast.walk(ast.parse((ROOT / "data.py").read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names

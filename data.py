# SPDX-License-Identifier: MIT
"""Texts, sentence pairs, and the collection of a study: how they are read and written.

    corpus, queries  id<TAB>text                                     read_tsv
    bitext           english<TAB>source                              read_bitext; two files, TMX: read_pairs
    triples          qid<TAB>positive docid<TAB>negative docid ...   read_triples
    links            0-0 1-2 ... per line: English word - source word, as str.split() cuts them: read_links
    qrels            qid 0 docid relevance                           evaluate.read_qrels

Text is UTF-8 and Unicode NFC, white space is collapsed to single spaces, and "\\n" alone ends a line. Files
are read as streams, plain or packed; what is malformed is a ValueError that names file:line.

A collection is a folder of such files and collection.json, the manifest; its keys stand in SHAPE, and
examples/own/README.md says what each is.

Needs: the standard library. Imports nothing else from this repository. Check: python -m doctest data.py
"""
import contextlib
import gzip
import hashlib
import io
import itertools
import json
import lzma
import os
import re
import shutil
import tarfile
import unicodedata
import zipfile
import zlib
from pathlib import Path
from xml.etree import ElementTree

LINE = 16 << 20                                            # bytes of the longest line that is read
MAGIC = {b"\x1f\x8b": "gz", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\xfd7zXZ": "xz"}
DAMAGED = (EOFError, RuntimeError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)
# Control characters become spaces; byte order marks go; half surrogates, which JSON can hold, are replaced.
CLEAN = dict.fromkeys([*range(32), *range(127, 160)], " ") | {0xFEFF: None}
CLEAN |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
NO_TEXT = ("bpt", "ept", "it", "ph", "ut", "note")         # in a unit of TMX: inline codes, remarks
TESTS, PARTS = ("tests", "monolingual", "retrieval"), ("queries", "english", "qrels")     # of test sets
# Of collection.json: {"key key?": kind of value}; "key?" may be absent or null, "*" is any key; [of each]
KINDS, CLASS = {str: "a text", int: "a whole number", dict: "an object", list: "a list"}, ("low", "high")
TEST = {"set lang name docs queries english? qrels measure?": str, "class": CLASS}
SHAPE = {
    "version": (1,), "seed": int, "profile? pretrain?": str, "tests monolingual? retrieval?": [TEST],
    "langs": {"*": {"name family? bitext? train dev train_links? dev_links? translations?": str, "pairs": int,
                    "class": CLASS, "wiki?": {"docs queries triples": str}, "parallel?": {"*": str}}},
    "train?": {"docs queries triples dev_queries dev_docs? dev_qrels": str}, "docs": {"*": str}}


def clean(text):
    """NFC, and one space for any run of white space or control characters.

    >>> clean("  Cafe\\u0301 \\u00a0 au\\u2028lait\\r")
    'Caf\xe9 au lait'
    """
    text = text if text.isprintable() else text.translate(CLEAN)
    return " ".join(unicodedata.normalize("NFC", text).split())


def fold(text):
    """`text` without case and punctuation, for comparisons: "FORD-Kenya?" is "ford kenya"."""
    return " ".join(re.findall(r"\w+", clean(text).casefold()))


@contextlib.contextmanager
def open_bytes(path, member=""):
    """A plain, gz, xz, zip, or tar.gz file as a binary stream. `member`: how a name inside an archive ends; a
    zip must have one such name, a tar, which has no index, is read up to the first."""
    with open(path, "rb") as f:
        head = f.read(6)
        f.seek(0)
        kind = next((kind for start, kind in MAGIC.items() if head.startswith(start)), "")
        if Path(path).suffix in (".gz", ".zip", ".xz") and Path(path).suffix != "." + kind:
            raise ValueError(f"{path}: starts with {head!r}, not as its name says; fetch it again")
        try:
            if kind == "zip":
                archive = zipfile.ZipFile(f)
                names = [n for n in archive.namelist() if n[-1] != "/" and not n.startswith("__MACOSX/")]
                hits = [n for n in names if n.endswith(member)]
                if len(hits) != 1:
                    raise ValueError(f"{path}: {len(hits)} of {', '.join(names)} end in {member!r}, not one")
                yield io.BufferedReader(archive.open(hits[0]), 1 << 16)
            else:
                stream = {"gz": gzip, "xz": lzma}[kind].open(f) if kind else f
                if member and ".tar" in Path(path).suffixes:
                    archive = tarfile.open(fileobj=stream, mode="r|")
                    found = next((m for m in archive if m.isfile() and m.name.endswith(member)), None)
                    if found is None:
                        raise ValueError(f"{path}: no member ends in {member!r}")
                    stream = archive.extractfile(found)
                yield stream
        except DAMAGED as e:
            raise ValueError(f"{path}: truncated or damaged {kind} file ({e}); fetch it again") from None


def lines(path, member="", encoding="utf-8"):
    r"""Yield (line number, text) of a file, without line ends; only "\n" and "\r\n" end a line."""
    with open_bytes(path, member) as stream:
        for number, raw in enumerate(iter(lambda: stream.readline(LINE + 1), b""), 1):
            if len(raw) > LINE:
                raise ValueError(f"{path}:{number}: a line of more than {LINE >> 20} MB; is it a text file?")
            try:
                text = raw.decode("utf-8-sig" if number == 1 and encoding == "utf-8" else encoding)
            except UnicodeDecodeError as e:
                raise ValueError(f"{path}:{number}: byte 0x{raw[e.start]:02x} at position {e.start + 1} is "
                                 "not UTF-8; convert the file, e.g. with iconv") from None
            yield number, text.removesuffix("\n").removesuffix("\r")


def columns(path, member, n):
    """Yield the n columns of a tab-separated file, or of an archive's member, as they are."""
    for number, line in lines(path, member):
        row = line.split("\t")
        if len(row) != n:
            raise ValueError(f"{path}:{number}: {len(row)} columns by tab, expected {n}: {line[:60]!r}")
        yield row


def from_json(text, path, line=None):
    """The value of JSON text. Raises: ValueError that names the file and the line."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:          # a number of thousands of digits, lists in lists ...
        raise ValueError(f"{path}:{line or getattr(e, 'lineno', 1)}: not JSON ({e})") from None


def read_json(path):
    """The value of a JSON file. Raises: ValueError that names the file and the line."""
    return from_json("\n".join(text for _, text in lines(path)), path)


def json_lines(path):
    """Yield (line number, line, value) of a JSON-lines file; blank lines are skipped."""
    return ((n, line, from_json(line, path, n)) for n, line in lines(path) if line.strip())


def aligned(*paths, members=None):
    """Yield the n-th lines, cleaned, of files, or of their members, that must have as many lines."""
    members = members or [""] * len(paths)
    streams = [lines(*p) for p in zip(paths, members)]
    for number, rows in enumerate(itertools.zip_longest(*streams)):
        if None in rows:
            counts = [number + (row is not None) + sum(1 for _ in rest) for row, rest in zip(rows, streams)]
            told = [f"{f'{p} {m}'.strip()} has {n} lines" for p, m, n in zip(paths, members, counts)]
            raise ValueError(f"not aligned: {', '.join(told)}; they must have as many lines as each other")
        yield tuple(clean(text) for _, text in rows)


def read_tmx(path, lang):
    """Yield (english, source) of a TMX file: no regions (sw is sw-KE), no inline codes, "" for no side."""
    def text_of(node):
        parts = [("" if part.tag in NO_TEXT else text_of(part)) + (part.tail or "") for part in node]
        return (node.text or "") + "".join(parts)

    with open_bytes(path, ".tmx") as stream:
        try:
            for _, unit in ElementTree.iterparse(stream):
                if unit.tag == "tu":
                    sides = {re.split("[-_]", (v.get(XML_LANG) or v.get("lang", "")).lower())[0]:
                             clean(text_of(v)) for v in reversed(list(unit.iter("tuv")))}
                    yield sides.get("en", ""), sides.get(lang, "")
                    unit.clear()
        except (ElementTree.ParseError, LookupError, ValueError) as e:
            raise ValueError(f"{path}:{getattr(e, 'position', [1])[0]}: not well-formed, {e}") from None


def read_pairs(english, source=None, lang=""):
    """Yield (english, source) of two aligned files, one TMX (give `lang`), or one TSV; empty sides go."""
    tmx = re.search(r"\.tmx(\.\w+)?$", str(english))
    rows = (aligned(english, source) if source else read_tmx(english, lang) if tmx else
            (tuple(map(clean, row)) for row in columns(english, "", 2)))
    return (row for row in rows if all(row))


def read_bitext(path):
    """The sentence pairs of a TSV file `english<TAB>source` as a list."""
    return list(read_pairs(path))


def read_links(path):
    """Word links as a list of (English word, source word) per line; an empty line is a pair without any."""
    pairs = []
    for number, line in lines(path):
        if not all(re.fullmatch(r"\d+-\d+", link) for link in line.split()):
            raise ValueError(f"{path}:{number}: expected links like 0-0 1-2, got {line[:60]!r}")
        pairs.append([tuple(map(int, link.split("-"))) for link in line.split()])
    return pairs


def read_tsv(path):
    """A corpus or queries file `id<TAB>text` as {id: text}; blank lines are skipped."""
    texts = {}
    for number, line in lines(path):
        key, tab, text = line.partition("\t")
        if not line.strip():
            continue
        if not tab or not key or key.split() != [key]:
            raise ValueError(f"{path}:{number}: expected id<TAB>text, got {line[:60]!r}")
        if key in texts:
            raise ValueError(f"{path}:{number}: id {key!r} occurs twice; ids must be unique")
        texts[key] = clean(text)
    if not texts:
        raise ValueError(f"{path}: empty, expected lines id<TAB>text")
    return texts


def read_triples(path):
    """Training triples `qid<TAB>positive<TAB>negative...` as a list of (qid, positive, [negative, ...])."""
    triples = []
    for number, line in lines(path):
        row = line.split("\t")
        if len(row) < 2 or not all(row):
            raise ValueError(f"{path}:{number}: expected qid<TAB>positive<TAB>negative..., got {line[:60]!r}")
        triples.append((row[0], row[1], row[2:]))
    return triples


def load_manifest(folder):
    """collection.json as a dict. Raises: ValueError that names the file, the key, and what is expected."""
    path = Path(folder) / "collection.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; python -m study.collections prepare PROFILE --out {folder}")
    manifest = {"train": None, "pretrain": None} | _expect(read_json(path), SHAPE, f"{path}: ")
    for i, test in enumerate(manifest["tests"]):
        _expect(test["docs"], tuple(manifest["docs"]), f"{path}: tests[{i}].docs")
    return manifest


def _expect(value, shape, where):
    """The value, of JSON. Raises: ValueError where it, or what is in it, has not the shape, see SHAPE."""
    if isinstance(shape, dict) and isinstance(value, dict):
        for key, inner in ((key, inner) for keys, inner in shape.items() for key in keys.split()):
            for name in value if key == "*" else [key.rstrip("?")]:
                if key[-1] != "?" or value.get(name) is not None:
                    _expect(value.get(name), inner, f"{where}{name}.")
    elif isinstance(shape, list) and isinstance(value, list):
        for i, each in enumerate(value):
            _expect(each, shape[0], f"{where.rstrip('.')}[{i}].")
    elif not (value in shape if isinstance(shape, tuple) else type(value) is shape):
        told = KINDS.get(shape if isinstance(shape, type) else type(shape)) or " or ".join(map(repr, shape))
        raise ValueError(f"{where.rstrip('.: ')}: expected {told}, got {json.dumps(value)[:60]}")
    return value


def language(folder, lang):
    """The manifest's entry of a language. Raises: ValueError where the collection lacks it."""
    entry = load_manifest(folder)["langs"].get(lang)
    if entry is None:
        raise ValueError(f"{folder}/collection.json: no language {lang!r}; prepare it with --langs {lang}")
    return entry


def validate(c):
    """Raise ValueError where a collection, as write_collection takes it, contradicts itself."""
    train = c["train"] or {}
    for qid, positive, negatives in train.get("triples", ()):
        if qid not in train["queries"] or not train["docs"].keys() >= {positive, *negatives}:
            raise ValueError(f"the training triple of {qid} names an unknown query or document")
    dev = train and [("dev", train["dev_queries"], train["dev_qrels"], train.get("dev_docs", train["docs"]))]
    sets = [*dev, *((t["set"], t["queries"], t["qrels"], c["docs"][t["docs"]])
                    for kind in TESTS for t in c.get(kind, ()))]
    for name, queries, qrels, docs in sets:
        found = {q: [d for d, grade in row.items() if grade > 0] for q, row in qrels.items()}
        lost = [q for q, wanted in found.items() if wanted and docs.keys().isdisjoint(wanted)]
        if lost:
            raise ValueError(f"{name}: no document relevant to {lost[:3]}, {len(lost)} in all, is there")
        if not any(found.values()) or not queries.keys() >= found.keys():
            raise ValueError(f"{name}: nothing is relevant, or something to an unknown query")
    for (lang, parts), part in itertools.product(c["bitext"].items(), ("train", "dev")):
        if not parts[part] or len(parts.get(part + "_links") or parts[part]) != len(parts[part]):
            raise ValueError(f"{lang} {part}: no sentence pairs, or links that do not fit them")


def write_collection(c, folder):
    """Write a collection to a folder that is there, whole, or not there; an older collection gives way.

    c: a manifest with contents for paths, as their readers return them, but beside "langs" what belongs to a
    language: c[part][lang] of bitext, translations, parallel; wiki {docs, titles, [negatives]}.
    """
    validate(c)
    folder, sha256 = Path(folder), {}
    if folder.exists() and any(folder.iterdir()) and not (folder / "collection.json").exists():
        raise ValueError(f"{folder}: is there and is no collection; choose another folder, or delete it")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)

    def put(name, rows):
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        with open(part / name, "w", encoding="utf-8", newline="\n") as f:
            f.writelines("\t".join(row) + "\n" for row in rows)
        with open(part / name, "rb") as f:
            sha256[name] = hashlib.file_digest(f, "sha256").hexdigest()
        return name

    try:
        manifest = _manifest(c, put) | {"sha256": sha256}
        put("collection.json", [[json.dumps(manifest, ensure_ascii=False, indent=1)]])
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    except OSError as e:                                   # a full disk's does not name the file
        raise ValueError(f"{e.filename or folder}: {e.strerror}; nothing was kept") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _manifest(c, put):
    """The manifest of a collection, whose files go through put(name, rows), which returns the name."""
    def texts(name, mapping):
        return put(name, ((key, clean(text)) for key, text in mapping.items()))

    def qrels(name, rels):
        return put(name, ([f"{q} 0 {d} {rel}"] for q, row in rels.items() for d, rel in row.items()))

    def test(t):
        own = {k: texts(f"test/{t['set']}/{k}.tsv", t[k]) for k in ("queries", "english") if k in t}
        return t | own | {"qrels": qrels(f"test/{t['set']}/qrels.txt", t["qrels"])}

    train, langs, wiki = c["train"], {}, c.get("wiki")
    articles = wiki and texts("wiki/docs.tsv", wiki["docs"])
    for lang, row in c["langs"].items():
        parts, langs[lang] = c["bitext"][lang], dict(row)
        for part in ("train", "dev"):
            links = parts.get(part + "_links")
            langs[lang][part] = put(f"bitext/{lang}.{part}.tsv", (map(clean, pair) for pair in parts[part]))
            langs[lang][part + "_links"] = links and put(f"bitext/{lang}.{part}.links", (
                [" ".join(f"{i}-{j}" for i, j in row)] for row in links))
        if wiki and lang in wiki["titles"]:            # a title is a query, its article the relevant document
            titles, hard = wiki["titles"][lang], wiki.get("negatives", {}).get(lang, {})
            langs[lang]["wiki"] = {
                "docs": articles, "queries": texts(f"wiki/{lang}.queries.tsv", titles),
                "triples": put(f"wiki/{lang}.triples.tsv", ((d, d, *hard.get(d, ())) for d in titles))}
        if lang in c.get("translations", ()):          # as study/nmt.py writes them
            langs[lang]["translations"] = texts(f"translations/en-{lang}/train.tsv", c["translations"][lang])
        if "parallel" in c:
            langs[lang]["parallel"] = {kind: texts(f"train/{lang}.{kind}.tsv", rows)
                                       for kind, rows in c["parallel"][lang].items()}
    return {
        "profile": c["profile"], "seed": c["seed"], "version": 1, "langs": langs,
        "pretrain": c.get("pretrain") and put("pretrain.txt", ([clean(text)] for text in c["pretrain"])),
        "train": train and {part: texts(f"train/{part}.tsv", train[part]) for part in ("docs", "queries")} | {
            "triples": put("train/triples.tsv", ((q, pos, *neg) for q, pos, neg in train["triples"])),
            "dev_queries": texts("train/dev.queries.tsv", train["dev_queries"]),
            **{part: texts("train/dev.docs.tsv", train[part]) for part in train if part == "dev_docs"},
            "dev_qrels": qrels("train/dev.qrels.txt", train["dev_qrels"])},
        "docs": {name: texts(f"docs/{name}.tsv", docs) for name, docs in c["docs"].items()},
        **{kind: [test(t) for t in c[kind]] for kind in TESTS if kind in c}, "counts": c["counts"]}

# SPDX-License-Identifier: MIT
"""Every data set of the study: where it comes from, under which licence, how to fetch, read, and store it.

A source is a row of SOURCES. `Files.find` looks for its files in MIRROR, then in the cache, then downloads
them. The `read_*` functions are streams over the publishers' formats. `real_collection` joins them into one
dict, of the shape that mini.py makes for the embedded collection, and `write_collection` stores it as text:

    corpus, queries  id<TAB>text               bitext   english<TAB>source
    qrels            qid 0 docid relevance     triples  qid<TAB>positive docid<TAB>negative docid ...
    links            0-0 1-2 ... per line: English word - source word, words as str.split() cuts them

Text is UTF-8 and Unicode NFC, white space is collapsed to single spaces, and "\\n" alone ends a line.

Needs: the standard library; tqdm for progress bars if it is there; huggingface_hub for data sets on the hub.
Imports nothing else from this repository, except mini.py, paper.py and xtreme.py inside its own commands.
Check a copy: python -m doctest data.py

    python data.py check                                  which sources are here, missing, or wrong
    python data.py prepare mini --out out/data            write a collection
    python data.py show mini --lang sw -n 5               read sentence pairs, with their word links

MIRROR=folder      files are taken from this folder (any depth) and nothing is downloaded, unless DOWNLOAD=1
OFFLINE=1          the cache is used, nothing is downloaded
DATA_CACHE=folder  where downloads are kept, default ~/.cache/optical-data
"""
import argparse
import contextlib
import csv
import errno
import gzip
import hashlib
import heapq
import http.client
import io
import itertools
import json
import lzma
import os
import random
import re
import shutil
import sys
import tarfile
import time
import unicodedata
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from xml.parsers import expat

# ---------------------------------------------------------------------------------------------- sources
LANGS = {                                                  # name, family, class, NTREX code
    "swa": ("Swahili", "Niger-Congo", "low", "swa"), "hau": ("Hausa", "Afro-Asiatic", "low", "hau"),
    "ibo": ("Igbo", "Niger-Congo", "low", "ibo"), "twi": ("Twi", "Niger-Congo", "low", None),
    "yor": ("Yoruba", "Niger-Congo", "low", "yor"), "zul": ("Zulu", "Niger-Congo", "low", "zul"),
    "ar": ("Arabic", "Afro-Asiatic", "high", "arb"), "de": ("German", "Indo-European", "high", "deu"),
    "el": ("Greek", "Indo-European", "high", "ell"), "es": ("Spanish", "Indo-European", "high", "spa"),
    "hi": ("Hindi", "Indo-European", "high", "hin"), "ru": ("Russian", "Indo-European", "high", "rus"),
    "th": ("Thai", "Kra-Dai", "high", "tha"), "tr": ("Turkish", "Turkic", "high", "tur"),
    "vi": ("Vietnamese", "Austroasiatic", "high", "vie"), "zh": ("Chinese", "Sino-Tibetan", "high", "zho-CN")}
LOW = [code for code, row in LANGS.items() if row[2] == "low"]              # AfriQA, lafand-mt
HIGH = [code for code, row in LANGS.items() if row[2] == "high"]            # XQuAD-R, NTREX-128
ISO = {"swa": "sw", "hau": "ha", "ibo": "ig", "twi": "tw", "yor": "yo", "zul": "zu"}     # others: their own
PAPER = ["sw", "so", "tl", "mr", "fi", "de", "fr"]                      # the paper's languages, see paper.py
WIKICLIR = "ar de es fi fr ru sw tl tr vi zh".split()            # of its 25 languages those that we have
TICO = {"sw": "sw_KE", "so": "so_SO", "tl": "tl_XX", "mr": "mr_IN", "fi": "fi_FI", "de": "de_DE",
        "fr": "fr_XX"}
PANLEX = {"sw": "swh", "so": "som", "tl": "tgl", "mr": "mar", "fi": "fin", "de": "deu", "fr": "fra"}
MUSE = "ar de el es fi fr hi ru th tl tr vi zh".split()
LINE = 16 << 20                                            # bytes of the longest line that is read
TESTS = ("tests", "monolingual", "retrieval")              # of a collection: table 2's, table 8's, table 9's
PARTS = ("queries", "english", "qrels")                    # of a test set
SPLITS, GITHUB = ("train", "dev", "test"), "https://raw.githubusercontent.com/"


def source(name, base, files, licence, cite, format, profile="real", parents=0, sums="", algorithm="sha256",
           hub="", sizes=""):
    """One row of SOURCES: an address is base + file; format says which reader takes it (see `examine`).

    hub: the name of a data set on the Hugging Face hub, instead of base. sizes: of the files in bytes, "-"
    where not known.
    profile: the profiles that read it. base may be MADE and by what, where there is no address.
    parents: how many folders above a file belong to its name when it is looked for in a mirror.
    sums: first hex digits of the files' checksums, in order, "-" where not known. SQuAD's is published; the
    others were computed from the files at the commit noted beside the address.
    """
    sums = {file: f"{algorithm}:{s}" for file, s in zip(files, sums.split()) if s != "-"}
    sizes = {file: int(n) for file, n in zip(files, sizes.split()) if n != "-"}
    base = f"https://huggingface.co/datasets/{hub}/resolve/main/" if hub else base
    return {"name": name, "base": base, "files": files, "licence": licence, "cite": cite, "format": format,
            "profile": profile, "parents": parents, "sums": sums, "sizes": sizes, "hub": hub}


def opus_file(lang):
    """The name of OPUS's zip of a language and English: its two aligned files, languages in order."""
    return f"{'-'.join(sorted(('en', lang)))}.txt.zip"


def opus(corpus, version, langs, licence, cite, **more):
    """The row of an OPUS corpus."""
    return source(corpus.lower(), f"https://object.pouta.csc.fi/OPUS-{corpus}/{version}/moses/",
                  [opus_file(lang) for lang in langs], licence, cite, "moses", parents=3, **more)


MADE = "made by "                                          # no address: a program of the publishers makes it

SOURCES = {row["name"]: row for row in [
    source("afriqa", GITHUB + "masakhane-io/afriqa/main/data/gold_passages/",           # @5c29933
           [f"{x}/gold_span_passages.afriqa.{x}.en.{s}.json" for x, parts in [
               ("bem", SPLITS), ("hau", SPLITS), ("ibo", SPLITS), ("kin", SPLITS), ("swa", ["test"]),
               ("twi", SPLITS), ("yor", ["train", "test"]), ("zul", SPLITS)] for s in parts],
           "CC-BY-4.0", "Ogundepo et al. 2023, AfriQA, Findings of EMNLP", "afriqa",
           sums="17dfc3 3ec8d5 72e7f7 21d975 ef9cb2 e1a0d5 5300a2 9636bf 490af9 967a84 5598ac fe067f "
                "18609b cdbba2 d9bd33 329221 864d91 - a5bd82 3332f7 e6edc9"),
    source("afriqa-queries", GITHUB + "masakhane-io/afriqa/main/data/queries/",         # @5c29933
           [f"{x}/queries.afriqa.{x}.en.{s}.json"
            for x in ("bem", "hau", "ibo", "kin", "swa", "twi", "yor", "zul") for s in SPLITS],
           "CC-BY-4.0", "Ogundepo et al. 2023, AfriQA, Findings of EMNLP", "afriqa",
           sums="- - - 0788da 200d94 34f89d 38a5ec a3bb13 c02c61 c6c238 5ed279 6d7483 d5d03c cdc61a "
                "0804e9 8400b5 af5830 61e3af - - - fe52db c851f2 2fe78d"),
    source("lafand-mt", GITHUB + "masakhane-io/lafand-mt/main/data/text_files/",        # @d441f8b
           [f"en-{x}/{s}.{side}" for x in LOW for s in SPLITS for side in ("en", x)], "CC-BY-NC-4.0",
           "Adelani et al. 2022, A few thousand translations go a long way, NAACL", "lines", parents=1,
           sums="bc6c6f 561e4e 1424c0 7cc6dd 584837 ec71f7 1ba52e 6749e5 6dcc2b 62afae c824cb e1f71b "
                "b03219 7aa786 99510f 8f8e8a 456746 d90aeb 0c3e37 4f3358 9ae73d 458d5e 7e26c8 a0fe22 "
                "2f0f1a ba3ec6 cca844 daba8d 144508 4afdb8 104478 9ce4ac 4c2fb2 194eb4 14b62a f809e5"),
    source("ntrex", GITHUB + "MicrosoftTranslator/NTREX/main/",                         # @8561f6a
           ["DOCUMENT_IDS.tsv", "NTREX-128/newstest2019-src.eng.txt"]
           + [f"NTREX-128/newstest2019-ref.{x}.txt" for x in
              [row[3] for row in LANGS.values() if row[3]] + ["som", "fil", "mar", "fin", "fra"]],
           "CC-BY-SA-4.0", "Federmann et al. 2022, NTREX-128, SUMEval", "lines", "real paper",
           sums="88a8b0 389e8f 076cec e6665d e63746 - 498c1d - 259d74 - - - - - - - - 2d13c1 a87a71 "
                "a72aae 81582e 1dd80d"),
    source("xquad-r", GITHUB + "google-research-datasets/lareqa/master/xquad-r/",       # @9bc8c7f
           [f"{x}.json" for x in ["en"] + HIGH],
           "CC-BY-SA-4.0", "Roy et al. 2020, LAReQA, EMNLP", "squad", "real paper", parents=1,
           sums="7b0954 - 16fb0f - f8e836 - - - - - -"),
    source("tico19", GITHUB + "tico-19/tico-19.github.io/master/data/TM/",              # @d97615f
           [f"all.en-{x}.tmx.zip" for x in ("sw", "so", "tl", "mr", "fr")],
           "CC0-1.0", "Anastasopoulos et al. 2020, TICO-19, NLP for COVID-19 at EMNLP", "tmx",
           sums="665d68 0809ea dca3db b6c45e 6163c1"),
    source("tatoeba", GITHUB + "facebookresearch/LASER/main/data/tatoeba/v1/",          # @74bc6ae
           [f"tatoeba.{x}-eng.{y}" for x in ("swh", "tgl", "mar", "fin", "deu", "fra") for y in (x, "eng")],
           "CC-BY-2.0-FR", "Artetxe and Schwenk 2019, Massively multilingual embeddings, TACL", "lines",
           "real paper",
           sums="1c6729 e85396 f99165 e7c9be - - - - edfa6f eb9cc8 - -"),
    source("mewsli-x", MADE + "get-mewsli-x.sh of github.com/google-research/google-research: ",
           ["candidate_set_entities.jsonl", "wikinews_mentions-test.jsonl"],
           "CC-BY-SA (Wikipedia), CC-BY-2.5 (WikiNews)", "Ruder et al. 2021, XTREME-R, EMNLP", "lines",
           "real paper"),
    source("squad", "https://rajpurkar.github.io/SQuAD-explorer/dataset/", ["train-v1.1.json"],     # 30 MB
           "CC-BY-SA-4.0", "Rajpurkar et al. 2016, SQuAD, EMNLP", "squad",
           algorithm="md5", sums="981b29407e0affa3b1b156f72073b945"),
    source("wikiclir", "https://www.cs.jhu.edu/~kevinduh/a/wikiclir2018/", ["wiki-clir.tar.gz"],    # 7.0 GB
           "not stated; text of Wikipedia, CC-BY-SA",
           "Sasaki et al. 2018, Cross-lingual learning-to-rank with shared representations, NAACL", "tar",
           algorithm="md5", sums="705abb611eb8cbab9ced2b8767a3bdb6"),
    source("clirmatrix", "https://www.cs.jhu.edu/~shuosun/clirmatrix/data/", ["DOCS/en.tsv.gz"]
           + [f"BI-139/base/{x}/{x}.en.train.base.jl.gz" for x in [*ISO.values(), *HIGH]],
           "CC-BY-4.0", "Sun and Duh 2020, CLIRMatrix, EMNLP", "lines", parents=1),
    source("muse", "https://dl.fbaipublicfiles.com/arrival/dictionaries/",
           [f"{a}-{b}.txt" for x in MUSE for a, b in (("en", x), (x, "en"))],
           "CC-BY-NC-4.0", "Lample et al. 2018, Word translation without parallel data, ICLR", "lines",
           parents=1),
    source("tico-terms", GITHUB + "tico-19/tico-19.github.io/master/data/terminologies/",       # @d97615f
           [f"f_en-{x}.csv" for x in TICO.values()],
           "CC0-1.0", "Anastasopoulos et al. 2020, TICO-19, NLP for COVID-19 at EMNLP", "lines"),
    source("panlex", "", [f"data/{x}.tsv" for x in ("eng", *PANLEX.values())], "CC0-1.0",
           "Kamholz et al. 2014, PanLex, LREC", "lines", parents=1, hub="cointegrated/panlex-meanings"),
    opus("XLEnt", "v1.2", sorted({*ISO.values(), *HIGH, *PAPER}), "see the zip's LICENSE",
         "El-Kishky et al. 2021, XLEnt, EMNLP"),
    opus("CCAligned", "v1", PAPER, "see the zip's LICENSE", "El-Kishky et al. 2020, CCAligned, EMNLP",
         profile="paper"),
    opus("CCMatrix", "v1", PAPER, "see the zip's LICENSE", "Schwenk et al. 2021, CCMatrix, ACL",
         profile="paper"),
    opus("ParaCrawl", "v8", ["sw", "so", "tl", "fi", "de", "fr"], "CC0-1.0",
         "Bañón et al. 2020, ParaCrawl, ACL", profile="paper"),
    opus("Europarl", "v8", ["fi", "de", "fr"], "see the zip's LICENSE", "Koehn 2005, Europarl, MT Summit",
         profile="paper"),
    source("flores", "https://dl.fbaipublicfiles.com/nllb/", ["flores200_dataset.tar.gz"], "CC-BY-SA-4.0",
           "NLLB Team 2022, No language left behind", "flores", profile="paper"),
    source("mmarco", "", [f"data/google/{name}.tsv" for name in (
               "collections/english_collection", "queries/train/english_queries.train",
               "queries/dev/english_queries.dev.small", "queries/train/german_queries.train",
               "queries/train/french_queries.train")]
           + ["data/qrels.dev.small.tsv", "data/triples.train.ids.small.tsv"],
           "MS MARCO's: non-commercial research only",
           "Bonifacio et al. 2021, mMARCO; Bajaj et al. 2016, MS MARCO", "lines", profile="paper",
           hub="unicamp-dl/mmarco", algorithm="md5",
           sums="- - - 41461df4fd61a98d76d846daa2b797c2 cbedd13e92ad9d70d049e0262e6956dd "
                "38a80559a561707ac2ec0f150ecd1e8a cc7865df9f2345132dea1c0746a4699c",
           sizes="- - - 39404290 42857975 143300 905211990"),
    source("msmarco", "https://msmarco.z22.web.core.windows.net/msmarcoranking/",
           ["collectionandqueries.tar.gz", "queries.tar.gz", "qidpidtriples.train.full.2.tsv.gz"],
           "non-commercial research only", "Bajaj et al. 2016, MS MARCO, NeurIPS workshop", "marco",
           profile="paper", algorithm="md5",
           sums="31644046b18952c1386cd4564ba2ae69 c177b2795d5f2dcc524cf00fcd973be1 "
                "219083e80a0a751c08b968c2f31a4e0b", sizes="1057717952 18882551 1841693309"),
    source("belebele", "", [f"data/{x}.jsonl" for x in
                           "eng_Latn swh_Latn som_Latn tgl_Latn mar_Deva fin_Latn deu_Latn fra_Latn".split()],
           "CC-BY-SA-4.0", "Bandarkar et al. 2024, Belebele, ACL", "lines", profile="paper", parents=1,
           hub="facebook/belebele"),
    source("mlqa", "https://dl.fbaipublicfiles.com/MLQA/", ["MLQA_V1.zip"], "CC-BY-SA-3.0",
           "Lewis et al. 2020, MLQA, ACL", "mlqa", profile="paper"),
    source("ciral-corpus", "",
           [f"translated-passages-v1.0/{x}_passages.jsonl" for x in ("somali", "swahili")],
           "Apache-2.0", "Adeyemi et al. 2024, CIRAL, SIGIR", "lines", profile="paper", parents=1,
           hub="CIRAL/ciral-corpus"),
    source("ciral", "", [f"ciral-{name}/{kind}/{kind}.ciral-v1.0-{x}-{split}.tsv"
                         for name, x in (("somali", "so"), ("swahili", "sw"))
                         for split in ("dev", "test-a", "test-b") for kind in ("topics", "qrels")],
           "Apache-2.0", "Adeyemi et al. 2024, CIRAL, SIGIR", "lines", profile="paper", hub="CIRAL/ciral"),
    source("ciral-native", GITHUB + "castorini/anserini-tools/master/topics/",
           [f"topics.ciral-v1.0-{x}-{split}-native.tsv" for x in ("so", "sw")
            for split in ("dev", "test-a", "test-b")],
           "Apache-2.0", "Adeyemi et al. 2024, CIRAL, SIGIR", "lines", profile="paper", algorithm="md5",
           sums="a774a34c9a5d66f3eb3f10dd641cd690 42263fa262ce0475901d64c2088c8ecc "
                "193c068b4892d801fee3afa0bce7b567 f8f01a66943507ae12d3bf50a746b168 "
                "6785308400ffe72343214f9c22dfb87e a9034884ff92550ca95343ab86005449"),
    source("ciir", "https://ciir.cs.umass.edu/downloads/ictir19_simulate_low_resource/",
           ["ictir19_simulate_low_resource.zip"], "for research, see its page",
           "Bonab et al. 2019, Simulating CLIR translation resource scarcity, ICTIR", "ciir",
           profile="paper"),
]}


# ------------------------------------------------------------------------------------- finding, fetching
def verify_or_remove(path, checksum):
    """As `verify`, where there is a checksum; a wrong file goes, or the next call would resume or take it."""
    try:
        if checksum:
            verify(path, checksum)
    except ValueError:
        path.unlink()
        raise


def verify(path, checksum):
    """Raise ValueError unless the file's digest starts with `checksum`, "algorithm:hex digits"."""
    algorithm, expected = checksum.split(":")
    with open(path, "rb") as f:
        got = hashlib.file_digest(f, algorithm).hexdigest()[:len(expected)]
    if got != expected:
        raise ValueError(f"{path}: {algorithm} {got}, expected {expected}; fetch it again, or put a version "
                         "that you trust into MIRROR")


def crc32_of(path):
    """CRC-32 of a file."""
    crc = 0
    with open(path, "rb") as f:
        while block := f.read(1 << 22):
            crc = zlib.crc32(block, crc)
    return crc


def sums_of(folder):
    """{file below `folder`: [bytes, CRC-32]}, but for sums.json."""
    return {path.relative_to(folder).as_posix(): [path.stat().st_size, crc32_of(path)]
            for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name != "sums.json"}


def seal(folder, about=""):
    """Write sums.json into a folder that is finished: what it is of, size and CRC-32 of every file in it."""
    text = json.dumps({"about": about, "files": sums_of(folder)}, indent=1)
    (Path(folder) / "sums.json").write_text(text + "\n", encoding="utf-8")


def check_seal(folder, about=None):
    """Raise ValueError unless a sealed folder is as it was sealed and, where `about` is given, of that."""
    path = Path(folder) / "sums.json"
    try:
        sums = json.loads(path.read_text(encoding="utf-8"))
        was, of = sums["files"], sums["about"]
    except (OSError, ValueError, TypeError, KeyError):
        raise ValueError(f"{path}: missing or damaged; delete {folder} and run the command again") from None
    if about not in (None, of):
        raise ValueError(f"{folder}: holds what was made of other texts or by another model; delete it or "
                         "choose another folder")
    now = sums_of(folder)
    for name in was:
        if now.get(name) != was[name]:
            raise ValueError(f"{Path(folder) / name}: {'changed' if name in now else 'gone'} since it was "
                             f"written; delete {folder} and run the command again")


def audit(folder):
    """Raise ValueError where a file changed since the last call and its time did not: a flipped bit.

    FOLDER/audit.json keeps time (ns), size and CRC-32 of the files below from call to call, but of logs, of
    folders that have a seal, of hidden files and of what is under a temporary name. What was written since
    has another time and is taken as it is.
    """
    root, kept, now = Path(folder), Path(folder) / "audit.json", {}
    before = from_json(kept.read_text(encoding="utf-8"), kept) if kept.exists() else {}
    for at, folders, files in os.walk(root):
        sealed = "sums.json" in files
        folders[:] = sorted(f for f in folders if not (sealed or f == "logs" or f.endswith(".part")))
        for path in (Path(at) / name for name in files if not sealed):
            if path == kept or path.name.startswith(".") or path.suffix == ".tmp":
                continue
            stat = path.stat()
            now[path.relative_to(root).as_posix()] = [stat.st_mtime_ns, stat.st_size, crc32_of(path)]
    for name, row in now.items():
        was = before.get(name, row)
        if was != row and was[0] == row[0]:
            raise ValueError(f"{root / name}: damaged: its content changed, but nobody wrote it; delete it "
                             f"and the stamp of the stage that made it (PLAN=1 lists them), or {root}")
    part = kept.with_suffix(".tmp")
    part.write_text(json.dumps(now, indent=0), encoding="utf-8")
    os.replace(part, kept)


class Files:
    """Finds the files of SOURCES: in a mirror folder, else in the cache, else at the publisher's address.

    mirror: a folder that is looked in at any depth, by file name, and by the folder above where names repeat
    (lafand-mt has an en-swa/train.en and an en-hau/train.en). With a mirror only the mirror is used, so that
    it alone decides the result, unless `download` is True. Defaults come from the environment, see above.
    """

    def __init__(self, mirror=None, cache=None, download=None):
        mirror, env = mirror or os.environ.get("MIRROR"), os.environ.get
        if download is None:
            download = env("DOWNLOAD") == "1" if mirror else env("OFFLINE", "0") in ("", "0")
        self.mirror, self.download, self.use_cache = mirror and Path(mirror), download, download or not mirror
        self.cache = Path(cache or env("DATA_CACHE") or Path.home() / ".cache" / "optical-data")
        self.where, self.names = self.mirror or self.cache, {}
        if mirror and not self.mirror.is_dir():
            raise ValueError(f"MIRROR={mirror}: no such folder")
        for path in sorted(self.mirror.rglob("*")) if mirror else []:
            self.names.setdefault(path.name, []).append(path)

    def here(self, name, file):
        """The path of a file that is already on this machine, or None."""
        row = SOURCES[name]
        key = Path(row["base"], file).parts[-1 - row["parents"]:]               # e.g. ("en-swa", "train.en")
        found = [p for p in self.names.get(key[-1], []) if p.parts[-len(key):] == key]
        if len(found) > 1 and len({p.read_bytes() for p in found}) > 1:
            raise ValueError(f"{found[0]} and {found[1]} differ, both could be {name} {file}; keep one")
        cached = self.cache / name / file
        return found[0] if found else cached if self.use_cache and cached.is_file() else None

    def find(self, name, file):
        """The path of a file, downloaded if need be; None where there is none (mirror, HTTP 404)."""
        path, row = self.here(name, file), SOURCES[name]
        if path or not self.download or row["base"].startswith(MADE):
            return path
        if not (self.cache / name).is_dir():
            print(f"{name}: {row['licence']}; {row['cite']}", file=sys.stderr)
        with contextlib.suppress(FileNotFoundError):
            if row["hub"]:
                return hub_download(row["hub"], file, self.cache / name, row["sums"].get(file))
            return download(row["base"] + file, self.cache / name / file, row["sums"].get(file))


def _allowed(url, prefix=""):
    parts = urllib.parse.urlsplit(url)
    loopback = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if parts.scheme != "https" and not loopback:
        raise ValueError(f"{prefix}{url}: refused, only https addresses are fetched")
    return loopback


class _Redirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, fp, code, message, headers, url):
        _allowed(url, f"{request.full_url}: redirects to ")
        return super().redirect_request(request, fp, code, message, headers, url)


def download(url, path, checksum=None, tries=5, timeout_s=60):
    """Fetch `url` into `path`, going on from what an earlier call left in `path`.part; return the path.

    The file gets its name only when it is whole and its checksum (see verify) is right. Raises
    FileNotFoundError for HTTP 404, ValueError, one line, for everything else.
    """
    path, loopback, problem = Path(path), _allowed(url), ""
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = urllib.request.build_opener(_Redirect, *[urllib.request.ProxyHandler({})] * loopback)
    for attempt in range(tries):
        have = part.stat().st_size if part.exists() else 0
        try:
            request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
            with opener.open(request, timeout=timeout_s) as answer:
                if have and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                    have = 0                                            # all of it comes, not only the rest
                total = have + int(answer.headers.get("Content-Length") or 0)
                free = shutil.disk_usage(path.parent).free
                if total - have > free:
                    raise ValueError(f"{url}: needs {total - have:,} bytes, {path.parent} has {free:,} free")
                with open(part, "ab" if have else "wb") as out, _bar(path.name, total or None, have) as bar:
                    while chunk := answer.read(1 << 16):
                        out.write(chunk)
                        bar.update(len(chunk))
            have = part.stat().st_size
            if have >= total:
                break
            problem = f"the connection ended after {have:,} of {total:,} bytes"
        except urllib.error.HTTPError as e:
            problem = clean(f"HTTP {e.code} {e.reason}")
            if e.code == 404:
                raise FileNotFoundError(f"{url}: {problem}") from None
            if e.code == 416:                                               # nothing after what we have
                if e.headers.get("Content-Range") == f"bytes */{have}":
                    break
                part.unlink()
            elif e.code < 500 and e.code != 429:
                raise ValueError(f"{url}: {problem}; if you have the file, put it into MIRROR") from None
        except (OSError, http.client.HTTPException) as e:
            if getattr(e, "errno", None) == errno.ENOSPC:
                raise ValueError(f"{part}: disk full; free some space and run the same command") from None
            problem = f"{getattr(e, 'reason', e)}" or type(e).__name__
        time.sleep(0.05 if loopback else 2 ** attempt)
    else:
        raise ValueError(f"{url}: {problem}, after {tries} tries; the same command goes on from there")
    try:
        verify_or_remove(part, checksum)
    except ValueError as e:
        raise ValueError(f"{url}: {e}") from None
    os.replace(part, path)
    return path


def hub_download(repo, file, folder, checksum=None):
    """Fetch a file of a data set on the Hugging Face hub, or on HF_ENDPOINT, into `folder`; return its path.

    By huggingface_hub: it resumes, and knows tokens and mirrors. Raises FileNotFoundError where the data set
    has no such file, ValueError, one line, for everything else.
    """
    try:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise ValueError(f"{repo}: is on the Hugging Face hub; pip install huggingface_hub") from None
    where = f"{constants.ENDPOINT}/datasets/{repo}/{file}"
    try:
        path = Path(hf_hub_download(repo, file, repo_type="dataset", local_dir=folder))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as e:
        if isinstance(e, EntryNotFoundError) and not isinstance(e, LocalEntryNotFoundError):
            raise FileNotFoundError(f"{where}: no such file") from None
        e = e.__cause__ or e
        status = getattr(getattr(e, "response", None), "status_code", None)
        why = f"HTTP {status}" if status else clean(str(e)).split(". ")[0]
        raise ValueError(f"{where}: {why}; the same command tries again; if you have the file, put it into "
                         "MIRROR") from None
    verify_or_remove(path, checksum)
    return path


def _bar(name, total, initial):
    try:
        from tqdm import tqdm
    except ImportError:
        return contextlib.nullcontext(argparse.Namespace(update=lambda n: None))
    return tqdm(desc=name, total=total, initial=initial, unit="B", unit_scale=True, disable=None)


# ---------------------------------------------------------------------------------------------- reading
class Count:
    """What was read from one source, and why some of it was skipped.

    >>> count = Count("a"); count.read = 3; count.skip("empty"); count.row()
    {'source': 'a', 'read': 3, 'kept': 2, 'skipped': {'empty': 1}}
    """

    def __init__(self, source=""):
        self.source, self.read, self.skipped, self.note = source, 0, {}, ""

    def skip(self, why, n=1):
        if n:
            self.skipped[why] = self.skipped.get(why, 0) + n

    def each(self, rows):
        """The same rows, counted as read."""
        for row in rows:
            self.read += 1
            yield row

    def row(self):
        row = {"source": self.source, "read": self.read, "kept": self.read - sum(self.skipped.values()),
               "skipped": dict(self.skipped)}
        return row | {"note": self.note} if self.note else row


# Control characters become spaces; byte order marks go; half surrogates, which JSON can hold, are replaced.
_TABLE = dict.fromkeys([*range(32), *range(127, 160)], " ") | {0xFEFF: None}
_TABLE |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def clean(text):
    """NFC, and one space for any run of white space or control characters.

    >>> clean("  Cafe\\u0301 \\u00a0 au\\u2028lait\\r")
    'Caf\xe9 au lait'
    """
    text = text if text.isprintable() else text.translate(_TABLE)
    return " ".join(unicodedata.normalize("NFC", text).split())


def fold(text):
    """`text` without case and punctuation, for comparisons.

    >>> fold("Who founded FORD-Kenya?")
    'who founded ford kenya'
    """
    return " ".join(re.findall(r"\w+", clean(text).casefold()))


class Unpacked(io.RawIOBase):
    """The bytes of an archive, refused once they are far more than text ever packs into its size: a bomb."""

    def __init__(self, stream, path):
        self.stream, self.path, self.left = stream, path, max(1 << 26, 100 * Path(path).stat().st_size)

    def readable(self):
        return True

    def readinto(self, buffer):
        n = self.stream.readinto(buffer)
        self.left -= n
        if self.left < 0:
            raise ValueError(f"{self.path}: unpacks to more than 100 times its size, as no text does; "
                             "fetch it again")
        return n


@contextlib.contextmanager
def open_bytes(path, member=""):
    """A plain, gz, xz, zip, or tar.gz file as a binary stream; `member`: how a name inside an archive ends.

    A zip must have one such name. A tar, which has no index, is read up to the first; nothing is unpacked.
    """
    def bounded(stream):
        return io.BufferedReader(Unpacked(stream, path), 1 << 16)

    with open(path, "rb") as f:
        head = f.read(6)
        f.seek(0)
        magic = {b"\x1f\x8b": "gz", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\xfd7zXZ": "xz"}
        kind = next((kind for start, kind in magic.items() if head.startswith(start)), "")
        if Path(path).suffix in (".gz", ".zip", ".xz") and Path(path).suffix != "." + kind:
            raise ValueError(f"{path}: starts with {head!r}, not as its name says; fetch it again")
        try:
            if kind == "zip":
                archive = zipfile.ZipFile(f)
                names = [n for n in archive.namelist() if not re.match("__MACOSX/", n) and n[-1] != "/"]
                hits = [n for n in names if n.endswith(member)]
                if len(hits) != 1:
                    raise ValueError(f"{path}: {len(hits)} members end in {member!r}, expected one; "
                                     f"it has {', '.join(names) or 'none'}")
                with archive, archive.open(hits[0]) as stream:
                    yield bounded(stream)
            elif member and ".tar" in Path(path).suffixes:
                try:
                    archive = tarfile.open(fileobj=f, mode="r|*")
                    found = next((m for m in archive if m.isfile() and m.name.endswith(member)), None)
                except TypeError as e:                                # tarfile's, where a header is damaged
                    raise tarfile.ReadError(str(e)) from None
                if found is None:
                    raise ValueError(f"{path}: no member ends in {member!r}")
                with archive:
                    yield bounded(archive.extractfile(found))
            elif kind:
                with {"gz": gzip.open, "xz": lzma.open}[kind](f) as stream:
                    yield bounded(stream)
            else:
                yield f
        except (EOFError, RuntimeError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
                tarfile.TarError) as e:
            if isinstance(e, OSError) and e.errno not in (None, errno.EINVAL):    # EINVAL: of a place below 0
                raise
            raise ValueError(f"{path}: truncated or damaged {kind} file ({e}); fetch it again") from None


def raw_lines(stream, path):
    """Yield the lines of a binary stream. Raises: ValueError at one of more than LINE bytes."""
    for number, raw in enumerate(iter(lambda: stream.readline(LINE + 1), b""), 1):
        if len(raw) > LINE:
            raise ValueError(f"{path}:{number}: a line of more than {LINE >> 20} MB; it is no file of lines")
        yield raw


def lines(path, member="", encoding="utf-8"):
    r"""Yield (line number, text) of a file, without line ends; only "\n" and "\r\n" end a line."""
    with open_bytes(path, member) as stream:
        for number, raw in enumerate(raw_lines(stream, path), 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 and encoding == "utf-8" else encoding)
            except UnicodeDecodeError as e:
                raise ValueError(f"{path}:{number}: byte 0x{raw[e.start]:02x} at position {e.start + 1} is "
                                 "not UTF-8; convert the file, e.g. with iconv") from None
            yield number, text.removesuffix("\n").removesuffix("\r")


def aligned(*paths, members=None):
    """Yield (text, text, ...): the n-th lines, cleaned, of files whose n-th lines belong together.

    members: how their names inside the archives `paths` end.
    """
    streams, number = [lines(*p) for p in zip(paths, members or [""] * len(paths))], 0
    for rows in itertools.zip_longest(*streams):
        if None in rows:
            counts = [number + (row is not None) + sum(1 for _ in rest) for row, rest in zip(rows, streams)]
            names = [" ".join(name) for name in zip(map(str, paths), members)] if members else paths
            raise ValueError("not aligned: " + ", ".join(f"{p} has {n} lines" for p, n in zip(names, counts))
                             + "; they must have as many lines as each other")
        number += 1
        yield tuple(clean(text) for _, text in rows)


def read_tmx(path, lang):
    """Yield (english, source) of a TMX file, plain or packed; a side that a unit lacks is "".

    Entity declarations, and entities beyond XML's five, are refused: expanding them is how a small file fills
    a memory. Region codes are ignored (sw matches sw-KE); inline formatting codes are left out.
    """
    done, unit, text = [], {}, None                     # pairs to yield; the open <tu>; its open <seg>
    open_codes, now = 0, ""

    def refuse(*_):
        raise ValueError(f"{path}:{parser.CurrentLineNumber}: entities and their declarations are refused")

    def start(tag, attributes):
        nonlocal unit, text, open_codes, now
        open_codes += tag in ("bpt", "ept", "it", "ph", "ut")
        unit = {} if tag == "tu" else unit
        text = [] if tag == "seg" else text
        if tag == "tuv":
            now = re.split("[-_]", (attributes.get("xml:lang") or attributes.get("lang") or "").lower())[0]

    def end(tag):
        nonlocal text, open_codes
        open_codes -= tag in ("bpt", "ept", "it", "ph", "ut")
        if tag == "seg":
            unit.setdefault(now, clean("".join(text)))
            text = None
        elif tag == "tu":
            done.append((unit.get("en", ""), unit.get(lang, "")))

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda data: None if text is None or open_codes else text.append(data)
    parser.EntityDeclHandler = parser.SkippedEntityHandler = refuse
    parser.StartDoctypeDeclHandler = lambda name, system, public, internal: refuse() if internal else None
    with open_bytes(path, ".tmx") as stream:
        try:
            chunk = True
            while chunk:
                chunk = stream.read(1 << 16)
                parser.Parse(chunk, not chunk)
                yield from done
                done.clear()
        except expat.ExpatError as e:
            raise ValueError(f"{path}:{e.lineno}: not well-formed, {expat.ErrorString(e.code)}") from None
        except LookupError as e:                                     # its first line names an encoding
            raise ValueError(f"{path}:1: {e}") from None


def read_pairs(english, source=None, lang="", count=None):
    """Yield (english, source) of two aligned files, one TMX (give `lang`), or one TSV; empty sides go."""
    count = count or Count()
    tmx = re.search(r"\.tmx(\.\w+)?$", str(english))
    rows = (aligned(english, source) if source else read_tmx(english, lang) if tmx else
            (map(clean, row) for row in columns(english, "", 2)))
    for e, s in count.each(rows):
        if e and s:
            yield e, s
        else:
            count.skip("empty side")


def columns(path, member, n):
    """Yield the n columns of a tab-separated file, or of an archive's member, as they are."""
    for number, line in lines(path, member):
        row = line.split("\t")
        if len(row) != n:
            raise ValueError(f"{path}:{number}: {len(row)} columns by tab, expected {n}: {line[:60]!r}")
        yield row


def read_bitext(path):
    """The sentence pairs of a TSV file `english<TAB>source` as a list."""
    return list(read_pairs(path))


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


def read_qrels(path):
    """A qrels file `qid 0 docid relevance` as {qid: {docid: int}}."""
    qrels = {}
    for number, line in lines(path):
        row = line.split()
        if len(row) != 4 or not re.fullmatch(r"-?\d+", row[3]):
            raise ValueError(f"{path}:{number}: expected 'qid 0 docid relevance', got {line[:60]!r}")
        if qrels.setdefault(row[0], {}).setdefault(row[2], int(row[3])) != int(row[3]):
            raise ValueError(f"{path}:{number}: {row[0]} {row[2]} is judged twice, differently")
    return qrels


def read_triples(path):
    """Training triples `qid<TAB>positive<TAB>negative...` as a list of (qid, positive, [negative, ...])."""
    triples = []
    for number, line in lines(path):
        row = line.split("\t")
        if len(row) < 2 or not all(row):
            raise ValueError(f"{path}:{number}: expected qid<TAB>positive<TAB>negative..., got {line[:60]!r}")
        triples.append((row[0], row[1], row[2:]))
    return triples


def read_links(path):
    """Word links as a list of (English word, source word) per line; an empty line is a pair without any."""
    pairs = []
    for number, line in lines(path):
        if not all(re.fullmatch(r"\d+-\d+", link) for link in line.split()):
            raise ValueError(f"{path}:{number}: expected links like 0-0 1-2, got {line[:60]!r}")
        pairs.append([tuple(map(int, link.split("-"))) for link in line.split()])
    return pairs


def from_json(text, path, line=None):
    """The value of JSON text. Raises: ValueError that names the file and the line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        raise ValueError(f"{path}:{line or e.lineno}: not JSON, {e.msg} at column {e.colno}") from None
    except (ValueError, RecursionError) as e:          # a number of thousands of digits, lists in lists ...
        raise ValueError(f"{path}:{line or 1}: JSON that cannot be read ({e})") from None


def json_lines(path):
    """Yield (line number, line, value) of a JSON-lines file; blank lines are skipped."""
    for number, line in lines(path):
        if line.strip():
            yield number, line, from_json(line, path, number)


def read_afriqa(path):
    """Yield {id, question, english, context, title} of AfriQA JSON lines; a null or missing text is ""."""
    seen = set()
    for number, line, record in json_lines(path):
        try:
            row = {"id": str(record["id"])}
        except (KeyError, TypeError):
            raise ValueError(f"{path}:{number}: expected an object with an id, got {line[:60]!r}") from None
        if row["id"] in seen:
            raise ValueError(f"{path}:{number}: id {row['id']!r} occurs twice; ids must be unique")
        seen.add(row["id"])
        for name, key, key_in_queries in [("question", "question_lang", "question"), ("title", "title", ""),
                                          ("english", "question_translated", "translated_question"),
                                          ("context", "context", "")]:
            value = record.get(key, record.get(key_in_queries))
            row[name] = clean(value) if isinstance(value, str) else ""         # N.B. some are null, some NaN
        yield row


def read_squad(path, member=".json"):
    """Yield {title, context, sentences, questions: [(id, question, index of the answer's sentence or None)]}.

    Reads SQuAD, XQuAD, MLQA, and XQuAD-R, which adds `sentence_breaks`, character spans into the context. An
    answer belongs to the sentence that it starts in.
    """
    seen = set()
    with open_bytes(path, member) as stream:
        try:
            articles = from_json(stream.read().decode("utf-8-sig"), path)["data"]
        except UnicodeDecodeError as e:
            line = e.object.count(b"\n", 0, e.start) + 1
            raise ValueError(f"{path}:{line}: byte 0x{e.object[e.start]:02x} is not UTF-8") from None
        except (KeyError, TypeError):
            raise ValueError(f"{path}: expected an object with a list 'data'") from None
    try:
        paragraphs = [(article, paragraph) for article in articles for paragraph in article["paragraphs"]]
    except (KeyError, TypeError):
        raise ValueError(f"{path}: expected a list 'data' of articles with 'paragraphs'") from None
    for n, (article, paragraph) in enumerate(paragraphs, 1):
        try:
            context, spans, questions = paragraph["context"], paragraph.get("sentence_breaks", []), []
            twice = None
            for qa in paragraph["qas"]:
                start = qa["answers"][0]["answer_start"] if qa["answers"] else -1
                sentence = next((i for i, (first, end) in enumerate(spans) if first <= start < end), None)
                questions.append((qa["id"], clean(qa["question"]), sentence))
                twice = qa["id"] if qa["id"] in seen else twice
                seen.add(qa["id"])
            row = {"title": clean(article.get("title", "").replace("_", " ")), "context": clean(context),
                   "sentences": [clean(context[first:end]) for first, end in spans], "questions": questions}
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise ValueError(f"{path}: paragraph {n}: not SQuAD's format ({type(e).__name__}: {e})") from None
        if twice is not None:
            raise ValueError(f"{path}: question id {twice!r} occurs twice; ids must be unique")
        yield row


def read_wikiclir(path, name, code):
    """Yield (title, docid, article) of WikiCLIR (Sasaki et al. 2018) for a language, "swahili", "sw".

    The archive has English queries and documents of the language. This is it turned round: the query is the
    title of such a document, the article the title and first sentence of its mate (relevance 2) in English.
    """
    def rows(member, n, separator="\t"):
        for number, line in lines(path, member):
            row = line.split(separator)
            if len(row) < n:
                what = f"{len(row)} columns, expected {n}: {line[:60]!r}"
                raise ValueError(f"{path}: {member}:{number}: {what}")
            yield row

    mates, titles = {}, {}
    for qid, docid, grade, *_ in rows(f"{name}/en2{code}.rel", 3, None):
        if grade == "2":
            mates[docid] = qid
    for docid, title, *_ in rows(f"{name}/wiki_{code}.documents", 2):
        if docid in mates and clean(title):
            titles.setdefault(mates[docid], clean(title))
    for qid, *text in rows("english/wiki_en.queries", 2):
        if qid in titles:
            yield titles.pop(qid), qid, clean(". ".join(text))


def read_clirmatrix(path, articles):
    """Yield (title, docid, article) of CLIRMatrix (Sun and Duh 2020), BI-139: JSON lines, docid<TAB>text.

    A query is a title, its article the English mate, grade 6. Lower grades are not used: BM25 gave them.
    """
    titles = {}
    for number, _, row in json_lines(path):
        try:
            title, mate = clean(row["src_query"]), [d for d, grade in row["tgt_results"] if grade == 6]
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            why = f"{type(e).__name__}: {e}"
            raise ValueError(f"{path}:{number}: not CLIRMatrix's format ({why})") from None
        if title and mate:
            titles.setdefault(str(mate[0]), title)
    for number, line in lines(articles):
        docid, tab, text = line.partition("\t")
        if not tab:
            raise ValueError(f"{articles}:{number}: expected docid<TAB>text, got {line[:60]!r}")
        if docid in titles:
            yield titles.pop(docid), docid, clean(text)


def read_muse(path):
    """Yield (word, translation) of a MUSE dictionary: a pair a line, separated by white space."""
    for number, line in lines(path):
        if line.strip():
            row = clean(line).split()
            if len(row) != 2:
                raise ValueError(f"{path}:{number}: expected 'word translation', got {line[:60]!r}")
            yield tuple(row)


def read_terms(path):
    """Yield (English term, translation) of one of TICO-19's terminologies, a CSV file with a header."""
    for number, line in lines(path):
        try:
            row = next(csv.reader([line], strict=True), [])
        except csv.Error as e:
            raise ValueError(f"{path}:{number}: {e}: {line[:60]!r}") from None
        if len(row) != 5:
            raise ValueError(f"{path}:{number}: {len(row)} columns, expected 5: {line[:60]!r}")
        if number > 1:
            yield clean(row[3]), clean(row[4])


def read_panlex(path):
    """Yield (meaning, text) of a language's file of PanLex: tab-separated, columns named in its header."""
    place = None
    for row in columns(path, "", 6):
        if place is None:
            if not {"meaning", "txt"} <= set(row):
                raise ValueError(f"{path}:1: expected a header with txt and meaning, got "
                                 f"{' '.join(row)[:60]!r}")
            place = row.index("meaning"), row.index("txt")
        else:
            yield row[place[0]], clean(row[place[1]])


def same_meaning(english, foreign):
    """Yield (English text, translation): what two files of PanLex say of the same meaning."""
    texts = {}
    for meaning, text in read_panlex(foreign):
        texts.setdefault(meaning, []).append(text)
    for meaning, text in read_panlex(english):
        yield from ((text, translation) for translation in texts.get(meaning, ()))


def counted(pairs, most=10):
    """(word, translation, probability) from pairs of names that stand for each other, frequent words first.

    Only single words are looked up; of a word's translations the `most` frequent share its probability.

    >>> counted([("Nile", "Nili"), ("Nile", "Nili"), ("Nile", "Mto Nili"), ("Dar es Salaam", "Dar")])
    [('nile', 'nili', '0.666667'), ('nile', 'mto nili', '0.333333')]
    """
    table = {}
    for word, translation in pairs:
        if word and translation and len(word.split()) == 1:
            table.setdefault(word.casefold(), Counter())[translation.casefold()] += 1
    rows = []
    for word, found in sorted(table.items(), key=lambda item: (-item[1].total(), item[0])):
        top = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:most]
        rows += [(word, translation, f"{n / sum(n for _, n in top):.6f}") for translation, n in top]
    return rows


# -------------------------------------------------------------------------------------- the real profile
def filter_pairs(pairs, count, max_words=200, max_ratio=4.0):
    """Yield the pairs worth training on, and count the others.

    Those are repetitions, copies of the English (not translated), sides over `max_words` words, and pairs
    with one side more than `max_ratio` times longer, in characters + 10 so that short greetings pass. Give
    None for professional translations: lengths tell little between, say, English and Chinese.
    """
    seen = set()
    for english, source in pairs:
        short, long = sorted((len(english) + 10, len(source) + 10))
        why = ("repeated" if (english, source) in seen else "copy of the English" if english == source else
               f"over {max_words} words" if max(len(english.split()), len(source.split())) > max_words else
               f"length ratio over {max_ratio}" if max_ratio and long > max_ratio * short else "")
        seen.add((english, source))
        if why:
            count.skip(why)
        else:
            yield english, source


def _afriqa(files, counts, titles):
    """All AfriQA passages and questions: {docid: text}, {(lang, split): [row of read_afriqa + docid]}."""
    pool, parts = {}, {}
    for file in SOURCES["afriqa"]["files"]:
        _, _, lang, _, split, _ = file.split(".")
        count, path = Count(f"afriqa {lang} {split}"), files.find("afriqa", file)
        count.note = "" if path else "file not found"
        for row in read_afriqa(path) if path else []:
            count.read += 1
            need = ["context", "english"] + ["question"] * (split == "test")
            if row["context"]:
                # The id is a hash: it stays when files are added, and ties are broken by chance. The title is
                # part of the text, because 45% of the passages do not contain it ("He was elected in 1992");
                # 13 of 5,108 have none.
                row["docid"] = "p" + hashlib.sha1(row["context"].encode()).hexdigest()[:10]
                title = row["title"] + ". " if titles and row["title"] else ""
                pool.setdefault(row["docid"], title + row["context"])
            if all(row[k] for k in need):
                parts.setdefault((lang, split), []).append(row)
            else:
                count.skip("empty " + next(k for k in need if not row[k]))
        counts.append(count.row())
    return pool, parts


def _teacher(pool, parts, counts, seed, strict, squad):
    """English questions with passages, less those of the tests; about 200 are held out for selection."""
    tests = [row for (_, split), rows in parts.items() if split == "test" for row in rows]
    asked, answers = {fold(row["english"]) for row in tests}, {row["docid"] for row in tests}
    texts, rows, count = dict(pool), [], Count("teacher training pairs")
    for (lang, split), part in parts.items():
        rows += [(f"{lang}.{split}.{r['id']}", r["english"], r["docid"]) for r in part if split != "test"]
    for n, paragraph in enumerate(read_squad(squad) if squad else []):
        texts[f"squad{n:05d}"] = f"{paragraph['title']}. {paragraph['context']}"
        rows += [(f"squad.{qid}", question, f"squad{n:05d}") for qid, question, _ in paragraph["questions"]]
    by_passage = {}
    for row in rows:
        if fold(row[1]) in asked:
            count.skip("question is in a test set")
        elif strict and row[2] in answers:
            count.skip("passage answers a test question")
        else:
            by_passage.setdefault(row[2], []).append(row)
    # Held out are passages with all their questions: what selects the teacher is never a training positive.
    passages, dev, n = sorted(by_passage), [], min(200, sum(map(len, by_passage.values())) // 10)
    random.Random(seed).shuffle(passages)
    while passages and len(dev) < n:
        dev += by_passage.pop(passages.pop())
    said = {fold(text) for _, text, _ in dev}
    kept = [row for part in by_passage.values() for row in part]
    train = [row for row in kept if fold(row[1]) not in said]
    count.read, overlap = len(rows), sum(row[2] in answers for row in train)
    count.skip("held out as dev", len(dev))
    count.skip("question is in dev", len(kept) - len(train))
    count.note = f"of those kept, {overlap} have a passage that also answers a test question"
    counts.append(count.row())
    return {"docs": {docid: texts[docid] for *_, docid in train + dev},
            "queries": {qid: text for qid, text, _ in train},
            "triples": [(qid, docid, []) for qid, _, docid in train],         # hard negatives are mined later
            "dev_queries": {qid: text for qid, text, _ in dev},
            "dev_qrels": {qid: {docid: 1} for qid, _, docid in dev}}


def xquad(files, counts, langs=HIGH):
    """{"docs": English collections, lang: [paragraph set, sentence set]} of the XQuAD-R files found."""
    paragraphs, sentences, english, found, sets = {}, {}, {}, {}, {}
    for lang in ["en", *langs]:
        path, count, queries = files.find("xquad-r", f"{lang}.json"), Count(f"xquad-r {lang}"), {}
        for p, row in enumerate(read_squad(path) if path else []):
            if lang == "en":
                paragraphs[f"x{p:03d}"] = row["context"]
                sentences |= {f"x{p:03d}.{s:02d}": text for s, text in enumerate(row["sentences"])}
            for qid, question, s in row["questions"]:
                count.read += 1
                if lang == "en" and s is not None:
                    english[qid], found[qid] = question, (f"x{p:03d}", f"x{p:03d}.{s:02d}")
                if question and qid in english:
                    queries[qid] = question
                else:
                    count.skip("no answer sentence in English" if question else "empty question")
        counts += [count.row()] * bool(path)
        if lang != "en" and queries:
            sets[lang] = [{"set": f"{lang}.{unit}", "docs": f"xquad.{unit}", "queries": queries,
                           "english": {q: english[q] for q in queries},
                           "qrels": {q: {found[q][i]: 1} for q in queries}}
                          for i, unit in enumerate(["paragraphs", "sentences"])]
    return sets | {"docs": {"xquad.paragraphs": paragraphs, "xquad.sentences": sentences}}


def _lafand(files, lang, counts, asked, question_pairs):
    """lafand-mt: its training part, and 500 pairs spread over its dev part; None where a file is absent."""
    paths = {s: [files.find("lafand-mt", f"en-{lang}/{s}.{x}") for x in ("en", lang)] for s in SPLITS[:2]}
    if None in paths["train"] + paths["dev"]:
        return None
    count = Count(f"lafand-mt {lang} dev")
    dev = list(filter_pairs(read_pairs(*paths["dev"], count=count), count))
    count.skip("over 500", max(0, len(dev) - 500))
    dev = [dev[i * len(dev) // 500] for i in range(500)] if len(dev) > 500 else dev
    counts.append(count.row())
    count, known = Count(f"lafand-mt {lang} train"), {text for pair in dev for text in pair}
    clear = list(filter_pairs(read_pairs(*paths["train"], count=count), count))
    train = [pair for pair in clear if known.isdisjoint(pair)]
    count.skip("a side is in dev", len(clear) - len(train))
    counts.append(count.row())
    for split in SPLITS[:2] if question_pairs else []:
        path = files.find("afriqa-queries", f"{lang}/queries.afriqa.{lang}.en.{split}.json")
        rows, count = list(read_afriqa(path)) if path else [], Count(f"afriqa-queries {lang} {split}")
        extra = [(r["english"], r["question"]) for r in rows
                 if r["english"] and r["question"] and fold(r["english"]) not in asked]
        count.read = len(rows)
        count.skip("empty, or in a test set", len(rows) - len(extra))
        counts.append(count.row())
        train += extra
    return {"train": train, "dev": dev, "train_links": None, "dev_links": None}


def _ntrex(files, lang, counts):
    """NTREX-128: its last documents, a tenth of the sentences, are dev; None where a file is absent."""
    paths = [files.find("ntrex", file) for file in ("DOCUMENT_IDS.tsv", "NTREX-128/newstest2019-src.eng.txt",
                                                    f"NTREX-128/newstest2019-ref.{LANGS[lang][3]}.txt")]
    if None in paths:
        return None
    rows, count = list(aligned(*paths)), Count(f"ntrex {lang}")
    documents = [row[0] for row in rows]
    split = documents.index(documents[len(rows) * 9 // 10]) if rows else 0    # dev begins with a document
    pairs = [row[1:] for row in rows if row[1] and row[2]]
    held = {row[1:] for row in rows[split:]}
    count.read = len(rows)
    count.skip("empty side", len(rows) - len(pairs))
    pairs = list(filter_pairs(pairs, count, max_ratio=None))
    counts.append(count.row())
    return {"train": [p for p in pairs if p not in held], "dev": [p for p in pairs if p in held],
            "train_links": None, "dev_links": None}


def _titles(files, kind, code, name):
    """(title, docid, article) of a Wikipedia, "sw", "Swahili"; nothing where its files are not there."""
    paths = []
    if kind == "clirmatrix":
        paths = [f"BI-139/base/{code}/{code}.en.train.base.jl.gz", "DOCS/en.tsv.gz"]
    elif code in WIKICLIR:
        paths = ["wiki-clir.tar.gz"]
    paths = [files.find(kind, path) for path in paths]
    if not paths or None in paths:
        return ()
    return read_clirmatrix(*paths) if kind == "clirmatrix" else read_wikiclir(*paths, name.lower(), code)


def wiki_titles(files, kind, langs, counts, seed, most=50_000, words=200):
    """Titles of Wikipedias and the first words of their English articles, of "wikiclir" or "clirmatrix".

    Args: langs {language: {"name"}}; most, titles a language, drawn by chance. Returns {"docs", "titles"}.
    """
    wiki = {"docs": {}, "titles": {}}
    for lang, row in langs.items():
        count = Count(f"{kind} {lang}")
        drawn = heapq.nsmallest(                       # in little memory, and whatever the files' order is
            most, count.each(_titles(files, kind, ISO.get(lang, lang), row["name"])),
            key=lambda row: hashlib.sha256(f"{seed} {row[1]}".encode()).digest())
        count.skip(f"over {most:,}", count.read - len(drawn))
        count.note = "" if drawn else "not found"
        counts.append(count.row())
        if drawn:
            drawn.sort(key=lambda row: row[1])
            wiki["titles"][lang] = {docid: title for title, docid, _ in drawn}
            wiki["docs"] |= {docid: " ".join(text.split()[:words]) for _, docid, text in drawn}
    return wiki


def term_pairs(files, kind, code):
    """(English term, translation) of a language, by XLEnt, TICO-19 or PanLex; none where it is not found."""
    if kind == "xlent":
        path = files.find(kind, opus_file(code))
        return aligned(path, path, members=(".en", f".{code}")) if path else ()
    if kind == "tico":
        path = files.find("tico-terms", f"f_en-{TICO[code]}.csv") if code in TICO else None
        return read_terms(path) if path else ()
    names = ("eng", PANLEX[code]) if code in PANLEX else ()
    paths = [files.find("panlex", f"data/{name}.tsv") for name in names]
    return same_meaning(*paths) if paths and all(paths) else ()


def dictionaries(files, kind, langs, counts):
    """{language: (from English, into English)}, lists of (word, translation) or with a probability."""
    found = {}
    for lang in langs:
        count, code, both = Count(f"{kind} {lang}"), ISO.get(lang, lang), ([], [])
        if kind == "muse" and code in MUSE:
            paths = [files.find(kind, f"{name}.txt") for name in (f"en-{code}", f"{code}-en")]
            both = tuple(list(count.each(read_muse(path))) if path else [] for path in paths)
        elif kind != "muse":
            pairs = list(count.each(term_pairs(files, kind, code)))
            both = counted(pairs), counted((x, e) for e, x in pairs)
        if all(both):
            found[lang] = both
        count.note = "" if all(both) else "not found"
        counts.append(count.row())
    return found


def extras(files, langs, counts, seed, wiki=None, dictionary=None):
    """The parts "wiki" and "dictionaries" of a collection, where asked for.

    Raises: ValueError where nothing is found for any of `langs`, {language: {"name"}}.
    """
    parts = {}
    if wiki:
        parts["wiki"] = wiki_titles(files, wiki, langs, counts, seed)
    if dictionary:
        parts["dictionaries"] = dictionaries(files, dictionary, langs, counts)
    for kind, part in ((wiki, "wiki"), (dictionary, "dictionaries")):
        if kind and not any(parts[part].values()):
            raise ValueError(f"{kind}: nothing found for {' '.join(langs)} in {files.where}; "
                             "python data.py check tells more")
    return parts


def real_collection(langs=None, mirror=None, seed=1, titles=True, strict=False, squad=False,
                    question_pairs=False, cache=None, wiki=None, dictionary=None):
    """The real profile as one dict, of the shape that write_collection stores.

    Low-resource languages: AfriQA's test questions against all its English passages; bitext lafand-mt. High:
    XQuAD-R's questions against its English paragraphs (set "de.paragraphs") and, as LAReQA does, sentences
    ("de.sentences"); bitext NTREX-128. Teacher: AfriQA's English training and development questions, the same
    for any `langs`.

    Args: langs, codes of LANGS, default all that have their files; seed, which questions are held out;
    titles, passages begin with their title; strict, no training passage (not only no question) is that of a
    test; squad, train the teacher on SQuAD v1.1 too; question_pairs, AfriQA's training questions
    with their human translations join the bitext; wiki, "wikiclir" or "clirmatrix", Wikipedia's titles and
    articles; dictionary, "muse", "xlent", "tico" or "panlex"; mirror, cache, see Files.
    Raises: ValueError for an unknown language, and for one that is named and lacks its files.
    """
    for lang in langs or []:
        if lang not in LANGS:
            raise ValueError(f"unknown language {lang!r}; the real profile has {' '.join(LANGS)}")
    files, counts, tests, bitext, about = Files(mirror, cache), [], [], {}, {}
    pool, parts = _afriqa(files, counts, titles)
    asked = {fold(row["english"]) for (_, split), rows in parts.items() if split == "test" for row in rows}
    squad_path = files.find("squad", "train-v1.1.json") if squad else None
    if squad and not squad_path:
        raise ValueError(f"squad: train-v1.1.json not found in {files.where}")
    train, found = _teacher(pool, parts, counts, seed, strict, squad_path), xquad(files, counts)
    docs = {"afriqa": pool} | found.pop("docs")
    for lang, (name, family, kind, _) in LANGS.items():
        if langs and lang not in langs:
            continue
        low, rows, pairs = kind == "low", parts.get((lang, "test"), []), None
        asks, translates = ("AfriQA", "lafand-mt") if low else ("XQuAD-R", "NTREX-128")
        sets = found.get(lang, []) if not rows else [
            {"set": lang, "docs": "afriqa", "queries": {f"{lang}.{r['id']}": r["question"] for r in rows},
             "english": {f"{lang}.{r['id']}": r["english"] for r in rows},
             "qrels": {f"{lang}.{r['id']}": {r["docid"]: 1} for r in rows}}]
        if sets:
            pairs = (_lafand(files, lang, counts, asked, question_pairs) if low else
                     _ntrex(files, lang, counts))
        if not pairs:
            lacks = f"no {translates} bitext found" if sets else f"no {asks} test questions found"
            if langs:
                raise ValueError(f"{lang}: {lacks} in {files.where}; python data.py check tells more")
            counts.append({"source": f"{lang} left out", "read": 0, "kept": 0, "skipped": {}, "note": lacks})
            continue
        tests += [{"set": s["set"], "lang": lang, "name": name, "class": kind, **s} for s in sets]
        bitext[lang] = pairs
        about[lang] = {"name": name, "family": family, "class": kind, "pairs": len(pairs["train"]),
                       "bitext": translates}
    if not tests or not train["triples"]:
        what = "training questions" if tests else "language with test questions and bitext"
        raise ValueError(f"no {what} in {files.where}; python data.py check tells more")
    used = {t["docs"] for t in tests}
    collection = {"profile": "real", "seed": seed, "langs": about, "pretrain": None, "train": train,
                  "bitext": bitext, "docs": {k: v for k, v in docs.items() if k in used}, "tests": tests,
                  "counts": counts}
    return collection | extras(files, about, counts, seed, wiki, dictionary)


def cut(c, queries=60, n=300):
    """A collection so small that every stage takes seconds: the first of everything and what it refers to."""
    def first(mapping, n, need=()):
        need = {key for key in need if key in mapping}
        extra = itertools.islice((key for key in mapping if key not in need), max(0, n - len(need)))
        keys = need.union(extra)
        return {key: value for key, value in mapping.items() if key in keys}

    triples, dev, tests = c["train"]["triples"][:n], first(c["train"]["dev_queries"], n // 6), {}
    rels = {q: c["train"]["dev_qrels"][q] for q in dev}
    need = [d for _, pos, neg in triples for d in [pos, *neg]]
    judged = [d for row in rels.values() for d in row]
    train = {"docs": first(c["train"]["docs"], n, need + judged), "triples": triples, "dev_queries": dev,
             "dev_qrels": rels, "queries": {qid: c["train"]["queries"][qid] for qid, *_ in triples}}
    if "dev_docs" in c["train"]:
        train["dev_docs"] = first(c["train"]["dev_docs"], n, judged)
    for kind, test in ((kind, test) for kind in TESTS for test in c.get(kind, ())):
        kept = first(test["queries"], queries)
        tests.setdefault(kind, []).append(
            test | {k: {q: test[k][q] for q in kept if q in test[k]} for k in PARTS if k in test})
    docs = {name: first(texts, n, [docid for t in itertools.chain(*tests.values()) if t["docs"] == name
                                   for row in t["qrels"].values() for docid in row])
            for name, texts in c["docs"].items()}
    bitext = {lang: {k: rows and rows[:n if k.startswith("train") else n // 6] for k, rows in parts.items()}
              for lang, parts in c["bitext"].items()}
    langs = {lang: row | {"pairs": min(row["pairs"], n)} for lang, row in c["langs"].items()}
    c = c | {"langs": langs, "train": train, "docs": docs, "bitext": bitext} | tests
    if "wiki" in c:
        titles = {lang: first(rows, n) for lang, rows in c["wiki"]["titles"].items()}
        articles = {docid: c["wiki"]["docs"][docid] for rows in titles.values() for docid in rows}
        c["wiki"] = {"docs": articles, "titles": titles}
    if "translations" in c:
        c["translations"] = {lang: {qid: texts[qid] for qid in train["queries"] if qid in texts}
                             for lang, texts in c["translations"].items()}
    return c


# ---------------------------------------------------------------------------------------------- on disk
def found_in(docs, judged):
    """The relevant ones of a query's judgements {docid: grade} that are documents.

    One that is not there stays in the judgements, as in trec_eval: no method can find it, and it counts.
    """
    return [docid for docid, grade in judged.items() if grade > 0 and docid in docs]


def validate(c):
    """Raise ValueError where a collection contradicts itself."""
    def need(condition, message):
        if not condition:
            raise ValueError(f"collection {c['profile']}: {message}")

    train = c["train"]
    for qid, *docids in ((q, pos, *neg) for q, pos, neg in train["triples"]):
        need(qid in train["queries"], f"triple of an unknown query, {qid}")
        need(all(docid in train["docs"] for docid in docids), f"triple of {qid} names unknown documents")
    sets = [("train dev", train["dev_queries"], train["dev_qrels"], train.get("dev_docs", train["docs"]))]
    sets += [(t["set"], t["queries"], t["qrels"], c["docs"][t["docs"]])
             for t in itertools.chain.from_iterable(c.get(kind, ()) for kind in TESTS)]
    for name, queries, qrels, docs in sets:
        asked = {q: row for q, row in qrels.items() if any(rel > 0 for rel in row.values())}
        lost = [q for q, row in asked.items() if not found_in(docs, row)]
        need(queries and docs, f"{name}: no queries or no documents")
        need(all(q in queries for q in qrels), f"{name}: qrels of unknown queries")
        need(asked, f"{name}: nothing is relevant")
        need(not lost, f"{name}: of queries {lost[:3]}, {len(lost)} in all, no relevant document is there")
    for lang, titles in c["wiki"]["titles"].items() if c.get("wiki") else ():
        need(titles and titles.keys() <= c["wiki"]["docs"].keys(), f"{lang}: a title without an article")
    for lang, texts in c.get("translations", {}).items():
        need(texts.keys() >= train["queries"].keys(), f"{lang}: a training query is not translated")
    for lang, parts in c.get("parallel", {}).items():
        for kind, texts in parts.items():
            need(texts.keys() == train[kind].keys(), f"{lang}: training {kind} differ from the English ones")
    for lang in c["langs"]:
        parts = c["bitext"][lang]
        need(parts["train"] and parts["dev"], f"{lang}: no sentence pairs, to train on or to choose by")
        for part in ("train", "dev"):
            links = parts.get(part + "_links")
            need(links is None or len(links) == len(parts[part]), f"{lang} {part}: links do not fit")


def write_collection(collection, folder):
    """Write a collection to a folder; collection.json, which names all other files, comes last.

    Files are written under a temporary name and renamed. An older collection.json is removed first: where
    there is one, what it names is there and belongs together.
    """
    validate(collection)
    c, folder, sha256 = collection, Path(folder), {}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "collection.json").unlink(missing_ok=True)

    def put(name, rows):
        target, digest = folder / name, hashlib.sha256()
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "wb") as f:
                for row in rows:
                    line = ("\t".join(row) + "\n").encode()
                    digest.update(line)
                    f.write(line)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        sha256[name] = digest.hexdigest()
        return name

    def texts(name, mapping):
        return put(name, ((key, clean(text)) for key, text in mapping.items()))

    def qrels(name, rels):
        return put(name, ((f"{q} 0 {d} {rel}",) for q, row in rels.items() for d, rel in row.items()))

    def links(name, rows):
        return None if rows is None else put(name, ((" ".join(f"{i}-{j}" for i, j in row),) for row in rows))

    def test(t):
        return {k: t[k] for k in ("set", "lang", "name", "class", "docs", "measure") if k in t} | {
            k: texts(f"test/{t['set']}/{k}.tsv", t[k]) for k in ("queries", "english") if k in t} | {
            "qrels": qrels(f"test/{t['set']}/qrels.txt", t["qrels"])}

    train, langs, wiki = c["train"], {}, c.get("wiki")
    articles = wiki and texts("wiki/docs.tsv", wiki["docs"])
    for lang, row in c["langs"].items():
        parts, langs[lang] = c["bitext"][lang], dict(row)
        for part in ("train", "dev"):
            langs[lang][part] = put(f"bitext/{lang}.{part}.tsv", (map(clean, pair) for pair in parts[part]))
            langs[lang][part + "_links"] = links(f"bitext/{lang}.{part}.links", parts.get(part + "_links"))
        if wiki and lang in wiki["titles"]:          # a title is the query, its article the relevant document
            titles = wiki["titles"][lang]
            langs[lang]["wiki"] = {"docs": articles, "queries": texts(f"wiki/{lang}.queries.tsv", titles),
                                   "triples": put(f"wiki/{lang}.triples.tsv", ((d, d) for d in titles))}
        if lang in c.get("dictionaries", ()):
            langs[lang]["dictionary"] = [put(f"dictionary/{name}.txt", rows) for name, rows in
                                         zip((f"en-{lang}", f"{lang}-en"), c["dictionaries"][lang])]
        if lang in c.get("translations", ()):        # of the training queries, as nmt.py writes them
            langs[lang]["translations"] = texts(f"translations/en-{lang}/train.tsv", c["translations"][lang])
        if "parallel" in c:                          # the training queries and documents in this language
            langs[lang]["parallel"] = {kind: texts(f"train/{lang}.{kind}.tsv", rows)
                                       for kind, rows in c["parallel"][lang].items()}
    manifest = {
        "profile": c["profile"], "seed": c["seed"], "version": 1, "langs": langs,
        "pretrain": c.get("pretrain") and put("pretrain.txt", ((clean(text),) for text in c["pretrain"])),
        "train": {"docs": texts("train/docs.tsv", train["docs"]),
                  "queries": texts("train/queries.tsv", train["queries"]),
                  "triples": put("train/triples.tsv", ((q, pos, *neg) for q, pos, neg in train["triples"])),
                  "dev_queries": texts("train/dev.queries.tsv", train["dev_queries"]),
                  **{part: texts("train/dev.docs.tsv", train[part]) for part in train.keys() & {"dev_docs"}},
                  "dev_qrels": qrels("train/dev.qrels.txt", train["dev_qrels"])},
        "docs": {name: texts(f"docs/{name}.tsv", docs) for name, docs in c["docs"].items()},
        **{kind: [test(t) for t in c[kind]] for kind in TESTS if kind in c},
        "counts": c["counts"], "sha256": sha256}
    put("collection.json", [(json.dumps(manifest, ensure_ascii=False, indent=1),)])


def load_manifest(folder):
    """collection.json as a dict; its paths are relative to the folder."""
    path = Path(folder) / "collection.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; python data.py prepare PROFILE --out {folder} writes it")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if manifest.get("version") != 1:
        raise ValueError(f"{path}: version {manifest.get('version')}, this program reads 1; prepare it again")
    return manifest


def load_collection(folder):
    """What write_collection wrote, in memory again."""
    root, c, wiki = Path(folder), load_manifest(folder), {"titles": {}}
    parts = {"parallel": {}, "dictionaries": {}, "translations": {}}
    for lang, row in c["langs"].items():
        if paths := row.pop("parallel", None):
            parts["parallel"][lang] = {kind: read_tsv(root / path) for kind, path in paths.items()}
        if paths := row.pop("wiki", None):
            wiki["titles"][lang] = read_tsv(root / paths["queries"])
            wiki["docs"] = read_tsv(root / paths["docs"])
        if path := row.pop("translations", None):
            parts["translations"][lang] = read_tsv(root / path)
        if paths := row.pop("dictionary", None):
            parts["dictionaries"][lang] = tuple(
                [tuple(line.split("\t")) for _, line in lines(root / path)] for path in paths)
    c["bitext"] = {lang: {k: read(root / path) if (path := row.pop(k)) else None for k, read in [
        ("train", read_bitext), ("dev", read_bitext), ("train_links", read_links), ("dev_links", read_links)]}
        for lang, row in c["langs"].items()}
    c["pretrain"] = c["pretrain"] and [text for _, text in lines(root / c["pretrain"])]
    readers = {"triples": read_triples, "qrels": read_qrels, "dev_qrels": read_qrels}
    c["train"] = {k: readers.get(k, read_tsv)(root / path) for k, path in c["train"].items()}
    c["docs"] = {name: read_tsv(root / path) for name, path in c["docs"].items()}
    for kind in (kind for kind in TESTS if kind in c):
        c[kind] = [t | {k: readers.get(k, read_tsv)(root / t[k]) for k in PARTS if k in t} for t in c[kind]]
    c |= {"wiki": wiki} if wiki["titles"] else {}
    c |= {part: rows for part, rows in parts.items() if rows}
    return {k: v for k, v in c.items() if k not in ("version", "sha256")}


# --------------------------------------------------------------------------------------------- commands
def summary(c):
    """Yield a collection in a few lines for people."""
    yield (f"teacher: {len(c['train']['triples']):,} questions, {len(c['train']['dev_queries']):,} dev, "
           f"{len(c['train']['docs']):,} documents")
    yield from (f"documents {name}: {len(docs):,}" for name, docs in c["docs"].items())
    for lang, row in c["langs"].items():
        sets = ", ".join(f"{t['set']} {len(t['queries']):,} queries" for t in c["tests"] if t["lang"] == lang)
        yield (f"{lang} {row['name']} ({row['class']}): {sets}; {row['bitext']} bitext, "
               f"{len(c['bitext'][lang]['train']):,} pairs, {len(c['bitext'][lang]['dev']):,} dev")
    for row in c["counts"]:
        why = [f"{n:,} {why}" for why, n in row["skipped"].items()] + [row.get("note", "")]
        text = f"  {row['source']}: read {row['read']:,}, kept {row['kept']:,}"
        yield "; ".join(filter(None, [text, *why]))


def examine(path, format):
    """Read a file of SOURCES through; raise ValueError where it cannot be read."""
    readers = {"afriqa": read_afriqa, "squad": read_squad, "lines": lines, "tmx": lambda p: read_tmx(p, ""),
               "tar": lambda p: lines(p, "wiki_en.queries"), "moses": lambda p: lines(p, ".en"),
               "flores": lambda p: lines(p, "dev/eng_Latn.dev"), "ciir": lambda p: lines(p, "_SWAHILI.txt"),
               "mlqa": lambda p: read_squad(p, "test/test-context-en-question-en.json"),
               "marco": lambda p: lines(p, {"co": "collection.tsv", "qu": "train.tsv"}.get(p.name[:2], ""))}
    if not sum(1 for _ in readers[format](path)):
        raise ValueError(f"{path}: empty")


def check(profile=None, mirror=None, cache=None):
    """Print the state of every source; return how many files are wrong: unreadable, or damaged in the cache.

    A file of a mirror that is not the one we know "differs"; it is used as it is.
    """
    files, wrong = Files(mirror, cache), 0
    for row in SOURCES.values():
        if profile and profile not in row["profile"].split():
            continue
        paths, notes = {file: files.here(row["name"], file) for file in row["files"]}, []
        for file, path in paths.items():
            state = "missing"
            try:
                if path:
                    state = "wrong"
                    examine(path, row["format"])
                    state = "differs" if files.mirror else "wrong"
                    verify(path, row["sums"].get(file, "sha256:"))
                else:
                    size = f"  {row['sizes'][file]:,} bytes" if file in row["sizes"] else ""
                    notes.append(f"  missing  {row['base']}{file}{size}")
            except ValueError as e:
                wrong += state == "wrong"
                notes.append(f"  {state:7s}  {str(e).split('; ')[0]}")
        here = [path for path in paths.values() if path]
        size = sum(path.stat().st_size for path in here)
        print(f"{row['name']}: {len(here)} of {len(paths)} files present, {size:,} bytes; {row['licence']}; "
              f"{row['cite']}", *notes, sep="\n")
    return wrong


def show(c, lang, n):
    """Print sentence pairs of a language with their word links, and test queries with a relevant document."""
    if lang not in c["langs"]:
        raise ValueError(f"unknown language {lang!r}; this collection has {' '.join(c['langs'])}")
    parts = c["bitext"][lang]
    for i, (english, source) in enumerate(parts["train"][:n]):
        print(f"\n{english}\n{source}")
        if parts.get("train_links"):
            e, s = english.split(), source.split()
            print("    " + "   ".join(f"{e[a]} = {s[b]}" for a, b in parts["train_links"][i]))
    for test in (t for t in c["tests"] if t["lang"] == lang):
        docs = c["docs"][test["docs"]]
        print(f"\n{test['set']}: {len(test['queries']):,} queries, {len(docs):,} documents")
        for qid in itertools.islice(test["qrels"], n):
            best = max(test["qrels"][qid], key=test["qrels"][qid].get)
            print(f"  {qid}  {test['queries'][qid]}  ({test['english'][qid]})\n"
                  f"      {best}  {docs.get(best, '')[:150]}")


def main(argv=None):
    parser = argparse.ArgumentParser(prog="data.py", allow_abbrev=False, description="The study's data sets.")
    commands, yes = parser.add_subparsers(dest="command", required=True), argparse.BooleanOptionalAction
    p = commands.add_parser("prepare", allow_abbrev=False, help="write a collection to a folder")
    p.add_argument("profile", choices=["mini", "real", "paper"])
    p.add_argument("--out", required=True, help="folder to write")
    p.add_argument("--langs", nargs="+", help="language codes, default all that have their files")
    p.add_argument("--seed", type=int, default=1, help="what is drawn by chance, default 1")
    p.add_argument("--smoke", action=yes, default=False, help="cut to a few hundred of everything")
    p.add_argument("--mirror", help="folder with the publishers' files, default $MIRROR")
    p.add_argument("--titles", action=yes, default=True, help="real: passages begin with their title")
    p.add_argument("--strict", action=yes, default=False, help="real: no training passage is that of a test")
    p.add_argument("--squad", action=yes, default=False, help="real: teach the teacher SQuAD v1.1 too")
    p.add_argument("--question-pairs", action=yes, default=False, help="real: AfriQA questions as bitext too")
    p.add_argument("--wiki", choices=["wikiclir", "clirmatrix"], help="Wikipedia titles and articles")
    p.add_argument("--dictionary", choices=["muse", "xlent", "tico", "panlex"],
                   help="dictionaries for code-switching")
    p.add_argument("--bitext", choices=["ccaligned", "ccmatrix", "paracrawl", "europarl"],
                   default="ccaligned", help="paper: corpus of OPUS")
    p.add_argument("--pairs", type=int, default=500_000, help="paper: sentence pairs a language, at most")
    p.add_argument("--triples", type=int, default=3_200_000, help="paper: of MS MARCO, at most")
    p.add_argument("--clef", help="paper: the user's CLEF folder, default $CLEF")
    p = commands.add_parser("check", allow_abbrev=False, help="report every source: present, missing, wrong")
    p.add_argument("--profile", choices=("real", "paper"), help="default all")
    p.add_argument("--mirror", help="folder with the publishers' files, default $MIRROR")
    p = commands.add_parser("audit", allow_abbrev=False, help="tell a file that changed unwritten")
    p.add_argument("folder", help="of a run; keeps audit.json there")
    p = commands.add_parser("show", allow_abbrev=False, help="print sentence pairs and queries to read")
    p.add_argument("what", help="mini, or a folder that prepare wrote")
    p.add_argument("--lang", required=True, help="language code")
    p.add_argument("-n", type=int, default=5, help="how many, default 5")
    p.add_argument("--seed", type=int, default=1, help="mini: seed, default 1")
    args = parser.parse_args(argv)
    try:
        if args.command == "check":
            return 1 if check(args.profile, args.mirror) else 0
        if args.command == "audit":
            return audit(args.folder)
        if args.command == "show":
            if args.what != "mini":
                return show(load_collection(args.what), args.lang, args.n)
            import mini
            return show(mini.collection(seed=args.seed, langs=[args.lang]), args.lang, args.n)
        langs = re.findall(r"[^\s,]+", " ".join(args.langs or [])) or None
        drawn = {"wiki": args.wiki, "dictionary": args.dictionary}
        if args.profile == "mini":
            import mini
            collection = mini.collection(seed=args.seed, langs=langs, smoke=args.smoke)
        elif args.profile == "paper":
            import paper
            clef = args.clef or os.environ.get("CLEF")
            collection = paper.collection(langs, args.mirror, args.seed, None, args.bitext,
                                          args.pairs, args.triples, clef, **drawn)
        else:
            collection = real_collection(langs, args.mirror, args.seed, args.titles, args.strict,
                                         args.squad, args.question_pairs, **drawn)
        if args.profile != "mini":
            import xtreme
            collection = xtreme.extend(collection, args.mirror)
            collection = cut(collection) if args.smoke else collection
        write_collection(collection, args.out)
        print(*summary(collection), sep="\n")
    except (ValueError, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

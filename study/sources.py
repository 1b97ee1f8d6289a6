# SPDX-License-Identifier: MIT
"""Every data set of the real and the paper profile: where it is, its licence, how it is fetched and read.

LANGUAGES, of languages.tsv, has a row for each query language; SOURCES, of sources.tsv, for each data set.

    python -m study.sources check [--profile real] [--mirror DIR]     which files are here, missing, or wrong

MIRROR=folder      files are taken from this folder (any depth) and nothing is downloaded, unless DOWNLOAD=1
OFFLINE=1          the cache is used, nothing is downloaded
DATA_CACHE=folder  where downloads are kept, default ~/.cache/optical-data
"""
import argparse
import contextlib
import hashlib
import heapq
import html
import os
import random
import re
import sys
from collections import Counter, namedtuple
from pathlib import Path

import data
from study import status_of


# A query language; cls: "low" or "high" resource; codes: {source: what the source calls it}.
Language = namedtuple("Language", "name family cls profiles iso flores codes")
# A data set; parents: folders above a file that belong to its name in a mirror; read: what reads it through;
# base: how an address begins; files: {file: its MD5, or how its SHA-256 begins, or ""}.
Source = namedtuple("Source", "profile parents read licence cite note base files")
OPUS = ("ccaligned", "ccmatrix", "paracrawl", "europarl")


def _languages(path):
    """{code: Language} of a file. What a source calls it: as `usual` or the row says, else ISO 639-1."""
    found = {}
    for code, iso, name, family, cls, profiles, flores, own in list(data.columns(path, "", 8))[1:]:
        usual = dict.fromkeys(("ntrex", "tatoeba"), flores[:3]) | {"belebele": flores, "sib-200": flores}
        usual |= dict.fromkeys(("ciral", "mmarco"), name.lower())
        usual |= dict.fromkeys(("afriqa-train", "afriqa-dev", "afriqa-test"), code)
        usual |= dict.fromkeys(OPUS, "-".join(sorted(("en", iso))))
        own = own.split() + ["ccaligned", "ccmatrix", "belebele"] * ("paper" in profiles)
        pairs = (entry.partition("=") for entry in own)
        found[code] = Language(name, family, cls, profiles, iso, flores, {
            source: given or usual.get(source, iso) for source, _, given in pairs})
    return found


LANGUAGES = _languages(Path(__file__).with_name("languages.tsv"))
PROFILES = {kind: [x for x, row in LANGUAGES.items() if kind in row.profiles.split()]
            for kind in ("real", "headlines", "paper")}
ENGLISH = "eng_Latn"                             # FLORES-200's code, also NLLB's and Belebele's


def codes(source, langs=None):
    """{language: its code} of a source, for those of `langs`, or of all, that it has."""
    return {x: LANGUAGES[x].codes[source] for x in langs or LANGUAGES if source in LANGUAGES[x].codes}


def _sources(path):
    """{name: Source} of the catalogue; files are file[=checksum], {source} stands for all codes of one."""
    found = {}
    for name, *about, files in list(data.columns(path, "", 9))[1:]:
        known = {}
        for file, _, checksum in (entry.partition("=") for entry in files.split()):
            key = re.search("{(.+?)}", file)
            names = [file.replace(key[0], x) for x in codes(key[1]).values()] if key else [file]
            known |= dict.fromkeys(names, checksum)
        found[name] = Source(*about, known)
    return found


SOURCES = _sources(Path(__file__).with_name("sources.tsv"))
HUB = "https://huggingface.co/datasets/"


# ----------------------------------------------------------------------------------- finding, fetching
class Count(dict):
    """{source, read, kept, skipped: {why: n}, perhaps note}: what was read, and why some was skipped."""

    def skip(self, why, n=1):
        if n:
            self["skipped"][why] = self["skipped"].get(why, 0) + n
            self["kept"] -= n

    def each(self, rows, why=lambda row: ""):
        """The rows, counted as read, without those that why(row) gives a reason to skip."""
        for row in rows:
            self["read"] += 1
            self["kept"] += 1
            reason = why(row)
            if reason:
                self.skip(reason)
            else:
                yield row


class Files:
    """Finds the files of SOURCES; `counts` what is read of them, `right`: {path: whether its checksum is}.

    A mirror is searched by name, and by the folder above where names repeat (en-swa/train.en).
    """

    def __init__(self, mirror=None, cache=None):
        mirror, env = mirror or os.environ.get("MIRROR"), os.environ.get
        self.mirror, self.counts, self.names, self.right = mirror and Path(mirror), [], {}, {}
        self.download = env("DOWNLOAD") == "1" if mirror else env("OFFLINE", "0") in ("", "0")
        self.cache = Path(cache or env("DATA_CACHE") or Path.home() / ".cache" / "optical-data")
        self.where = self.mirror or self.cache

        def refuse(error):
            raise ValueError(f"MIRROR: {error.filename}: {error.strerror}")
        for folder, below, names in os.walk(mirror, onerror=refuse, followlinks=True) if mirror else ():
            below.sort()
            for name in sorted(names):
                self.names.setdefault(name, []).append(Path(folder, name))

    def count(self, source, read=0, **note):
        """A new Count, which `counts` ends with."""
        self.counts.append(Count(source=source, read=read, kept=read, skipped={}, **note))
        return self.counts[-1]

    def here(self, name, file):
        """The path of a file that is already on this machine, or None."""
        key = Path(SOURCES[name].base, file).parts[-1 - int(SOURCES[name].parents):]
        found = [path for path in self.names.get(key[-1], []) if path.parts[-len(key):] == key]
        if len(found) > 1 and len({path.read_bytes() for path in found}) > 1:
            raise ValueError(f"{found[0]} and {found[1]} differ, both could be {name} {file}; keep one")
        # A mirror alone is used, so that it decides the result, unless DOWNLOAD=1.
        cached = [self.cache / name / file] if self.download or not self.mirror else []
        return next((path for path in found + cached if path.is_file()), None)

    def find(self, name, file):
        """The path of a file, downloaded if need be; None where there is none (mirror, HTTP 404)."""
        path, row = self.here(name, file), SOURCES[name]
        if path and row.files.get(file) and path not in self.right:          # once: some have gigabytes
            try:
                verify(path, row.files[file])
                self.right[path] = True
            except ValueError:
                self.right[path] = False
        if path or not self.download:
            return path
        if not (self.cache / name).is_dir():
            print(f"{name}: {row.licence}; {row.cite}", file=sys.stderr)
        with contextlib.suppress(FileNotFoundError):
            return fetch(row.base + file, self.cache / name / file, row.files.get(file, ""))

    def find_all(self, name, *files):
        """The paths of files, none where one is not there."""
        paths = [self.find(name, file) for file in files]
        return [] if None in paths else paths


def verify(path, checksum):
    """Raise ValueError where a file's digest does not begin with `checksum`."""
    algorithm = "md5" if len(checksum) == 32 else "sha256"
    with open(path, "rb") as f:
        got = hashlib.file_digest(f, algorithm).hexdigest()[:len(checksum)]
    if got != checksum:
        raise ValueError(f"{path}: {algorithm} {got}, expected {checksum}; fetch it again, or put a version "
                         "that you trust into MIRROR")


def fetch(url, path, checksum=""):
    """Fetch `url` into `path`, going on from what an earlier call left in `path`.part; return the path.

    By huggingface_hub, which tries again where a connection fails, and knows tokens and HF_ENDPOINT.
    Raises: FileNotFoundError where there is none, ValueError, one line, for everything else.
    """
    from huggingface_hub import errors, file_download
    part, hub = Path(f"{path}.part"), re.fullmatch(HUB + "(.+)/resolve/([^/]+)/(.+)", url)
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        if hub:
            folder = str(path).removesuffix(hub[3])
            Path(file_download.hf_hub_download(hub[1], hub[3], repo_type="dataset", revision=hub[2],
                                               local_dir=folder)).replace(part)
        else:
            with open(part, "ab") as f:
                file_download.http_get(url, f, resume_size=f.tell())
    except (errors.HTTPError, OSError) as e:
        cause = e.__cause__ or e
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if part.exists() and (status == 416 or not part.stat().st_size):     # nothing is left, or came
            part.unlink()
        if isinstance(e, errors.RemoteEntryNotFoundError) or status == 404 and not hub:
            raise FileNotFoundError(f"{url}: HTTP 404") from None
        why = f"HTTP {status}" if status else data.clean(str(cause))
        raise ValueError(f"{url}: {why}; the same command goes on from there; if you have the file, put it "
                         "into MIRROR") from None
    try:
        verify(part, checksum)
    except ValueError:
        part.unlink()                                               # or the next call would go on from it
        raise
    return part.replace(path)                                       # whole, and its checksum is right


# ---------------------------------------------------------------------------------------------- readers
def sample_lines(path, member, n, seed):
    """[(line number, line)] of `n` lines at most, drawn by chance, in order, and how many the file has."""
    rng, kept, total = random.Random(seed), [], 0
    for total, line in data.lines(path, member):          # in memory for n lines: Vitter 1985, algorithm R
        if total <= n:
            kept.append((total, line))
        elif (place := rng.randrange(total)) < n:
            kept[place] = total, line
    return sorted(kept), total


def realigned(pairs, count, price=3.0):
    """The pairs of a file; many in a row that fit better one row up or down are put right. `count` notes it.

    Fit is the share of equal numbers, capitalised words and marks; the best path of offsets (Viterbi) pays
    `price` for each change, so that single rows do not matter. TICO-19's Somali needs it in 1,752 rows.
    """
    pairs, alike = list(pairs), re.compile(r"\d+|\b[^\W\d_a-z]\w+|[?!:;()%]").findall
    sides = [[set(alike(text)) for text in side] for side in zip(*pairs)]
    best, steps, path = {0: 0.0, -1: -price, 1: -price}, [], []
    for i, marks in enumerate(sides[0] if pairs else ()):
        others = [sides[1][i + to] if 0 <= i + to < len(pairs) else set() for to in best]
        steps.append({to: max(best, key=lambda last: best[last] - price * (last != to)) for to in best})
        best = {to: best[last] - price * (last != to) + len(marks & found) / (1 + len(marks | found))
                for (to, last), found in zip(steps[-1].items(), others)}
    offset = max(best, key=best.get)
    for step in reversed(steps):
        path.append(offset)
        offset = step[offset]
    moved = [i for i, offset in enumerate(reversed(path), 1) if offset]
    if moved:
        count["note"] = f"{len(moved):,} rows from {moved[0]} to {moved[-1]} one row off, put right"
    return [(pairs[i][0], pairs[i + offset][1]) for i, offset in enumerate(reversed(path))
            if 0 <= i + offset < len(pairs)]


def filter_pairs(pairs, count, max_words=200, max_ratio=4.0):
    """Yield the pairs worth training on, count the others; max_ratio is of lengths in characters, or None."""
    pairs, seen = list(pairs), set()
    others = [Counter(side) for side in zip(*set(pairs))]                  # of each text, on the other side
    for english, source in pairs:
        short, long = sorted((len(english) + 10, len(source) + 10))        # + 10: short greetings pass
        why = ("empty side" if not re.search(r"\w", english) or not re.search(r"\w", source) else
               "repeated" if (english, source) in seen else
               "copy of the English" if english == source else                       # not translated
               "a side with 5 or more others" if max(others[0][english], others[1][source]) >= 5 else
               f"over {max_words} words" if max(len(english.split()), len(source.split())) > max_words else
               f"length ratio over {max_ratio}" if max_ratio and long > max_ratio * short else "")
        seen.add((english, source))
        if why:
            count.skip(why)
        else:
            yield english, source


def records(path, parse, shape):
    """Yield parse(record) of a JSON-lines file. Raises: ValueError naming the line of another shape."""
    for number, line, record in data.json_lines(path):
        try:
            yield parse(record)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ValueError(f"{path}:{number}: expected {shape}, got {line[:60]!r}") from None


def read_afriqa(path):
    """Yield {id, question, english, context, title} of AfriQA JSON lines; a null or missing text is ""."""
    def parse(record):                           # files without passages have other keys; some texts are NaN
        texts = {"question": record.get("question_lang", record.get("question")),
                 "english": record.get("question_translated", record.get("translated_question")),
                 "context": record.get("context"), "title": record.get("title")}
        return {"id": str(record["id"])} | {
            key: data.clean(text) if isinstance(text, str) else "" for key, text in texts.items()}

    seen = set()
    for row in records(path, parse, "an object with an id"):
        if row["id"] in seen:
            raise ValueError(f"{path}: id {row['id']!r} occurs twice; ids must be unique")
        seen.add(row["id"])
        yield row


def read_squad(path, member=".json"):
    """Yield {title, context, sentences, questions: [(id, question, index of answer's sentence or None)]}."""
    with data.open_bytes(path, member) as stream:
        raw, seen, n = stream.read(), set(), 0
    try:
        articles = data.from_json(raw.decode("utf-8-sig"), path)["data"]
        for n, (article, paragraph) in enumerate(((a, p) for a in articles for p in a["paragraphs"]), 1):
            # XQuAD-R has character spans of sentences; an answer belongs to the one that it starts in.
            context, spans, questions = paragraph["context"], paragraph.get("sentence_breaks", []), []
            for qa in paragraph["qas"]:
                start = qa["answers"][0]["answer_start"] if qa["answers"] else -1
                sentence = next((i for i, (first, end) in enumerate(spans) if first <= start < end), None)
                questions.append((qa["id"], data.clean(qa["question"]), sentence))
                if qa["id"] in seen:
                    raise ValueError(f"question id {qa['id']!r} occurs twice")
                seen.add(qa["id"])
            yield {"title": data.clean(article.get("title", "").replace("_", " ")), "questions": questions,
                   "context": data.clean(context),
                   "sentences": [data.clean(context[first:end]) for first, end in spans]}
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise ValueError(f"{path}: paragraph {n}: not SQuAD's format ({type(e).__name__}: {e})") from None


def read_wikiclir(path, name, code):
    """Yield (title, docid, article) of WikiCLIR (Sasaki et al. 2018) for a language, "swahili", "sw"."""
    def rows(member, n, separator="\t"):
        for number, line in data.lines(path, member):
            row = line.split(separator)
            if len(row) < n:
                raise ValueError(f"{path}: {member}:{number}: {len(row)} columns, not {n}: {line[:60]!r}")
            yield row

    # Its queries are English. Turned round, a document's title asks for the article of its mate, relevance 2.
    titles = {}
    mates = {docid: qid for qid, docid, grade, *_ in rows(f"{name}/en2{code}.rel", 3, None) if grade == "2"}
    for docid, title, *_ in rows(f"{name}/wiki_{code}.documents", 2):
        if docid in mates and data.clean(title):
            titles.setdefault(mates[docid], data.clean(title))
    for qid, *text in rows("english/wiki_en.queries", 2):
        if qid in titles:
            yield titles.pop(qid), qid, data.clean(". ".join(text))


def wiki_titles(files, langs, seed, most=50_000, words=200):
    """{"docs", "titles"}: titles of Wikipedias, `most` a language, and how their English articles begin."""
    wiki = {"docs": {}, "titles": {}}
    for lang in langs:
        row, count, titles = LANGUAGES[lang], files.count(f"wikiclir {lang}"), ()
        if "wikiclir" in row.codes and (path := files.find("wikiclir", "wiki-clir.tar.gz")):
            titles = read_wikiclir(path, row.name.lower(), row.iso)
        drawn = heapq.nsmallest(                       # in little memory, and whatever the files' order is
            most, count.each(titles), key=lambda row: hashlib.sha256(f"{seed} {row[1]}".encode()).digest())
        count.skip(f"over {most:,}", count["read"] - len(drawn))
        for title, docid, text in sorted(drawn, key=lambda row: row[1]):
            wiki["titles"].setdefault(lang, {})[docid] = title
            wiki["docs"][docid] = " ".join(text.split()[:words])
        if not drawn:
            count["note"] = "not found"
    return wiki


def read_sgml(path):
    """Yield (docno, text) of a CLEF or TREC file: headline and text of each <DOC>, without mark-up."""
    record, began = [], 0
    for number, line in data.lines(path, encoding="iso-8859-1"):
        if re.match(r"\s*<DOC>", line, re.I):
            if began:
                raise ValueError(f"{path}:{number}: <DOC> inside the one of line {began}")
            record, began = [], number
        record.append(line)
        if began and re.search(r"</DOC>", line, re.I):
            text = "\n".join(record)
            docno = re.search(r"<DOCNO>\s*(\S+)\s*</DOCNO>", text, re.I)     # the judgements use no DOCID
            if not docno:
                raise ValueError(f"{path}:{began}: a <DOC> without <DOCNO>")
            parts = re.findall(r"<HEADLINE>(.*?)</HEADLINE>", text, re.S | re.I)
            parts += re.findall(r"<TEXT>(.*?)</TEXT>", text, re.S | re.I)
            yield docno[1], data.clean(html.unescape(re.sub(r"<[^>]*>", " ", " ".join(parts))))
            began = 0
    if began:
        raise ValueError(f"{path}:{began}: a <DOC> that does not end")


def topic_id(text, where):
    """C007 of "C007", "7" or "007": some years' judgements leave the C out."""
    found = re.fullmatch(r"C?0*(\d{1,3})", text.strip())
    if not found:
        raise ValueError(f"{where}: {text.strip()[:20]!r} is no topic number such as C041")
    return f"C{int(found[1]):03d}"


# A topic, a field of it, the encoding. CLEF's tags have a prefix of the language and need not close.
CLEF = (r"(?si)<top>.*?</top>", r"(?i)<(?:[A-Z]{1,2}-)?(num|title|desc)>([^<]*)", "iso-8859-1")
CIIR = (r"(?s)\S.*?(?=\n\s*\n|\Z)",
        r"(?ims)^(query_id|title|description):(.*?)(?=^query_id:|^title:|^description:|\Z)", "utf-8")


def read_topics(path, member="", style=CLEF):
    """{topic: (title, description)} of a CLEF file or, style CIIR, of one of its translations."""
    (tops, fields, encoding), found = style, {}
    text = "\n".join(line for _, line in data.lines(path, member, encoding))
    for top in re.finditer(tops, text):
        where = f"{path}:{text.count(chr(10), 0, top.start()) + 1}"
        own = {key[0].lower(): data.clean(html.unescape(value)) for key, value in re.findall(fields, top[0])}
        topic = topic_id(own.get("n", own.get("q", "")), where)
        if not own.get("t") or topic in found:
            raise ValueError(f"{where}: topic {topic} has no title, or occurs twice")
        found[topic] = own["t"], own.get("d", "")
    if not found:
        raise ValueError(f"{path}: no topic of {'CIIR' if style == CIIR else 'CLEF'}'s format")
    return found


def check(profile=None, mirror=None):
    """Print the state of every source; return how many are wrong: unreadable, or damaged in the cache."""
    files, wrong = Files(mirror), 0
    for name, row in SOURCES.items():
        notes, sizes, (kind, *member) = [], [], row.read.split()
        read = {"afriqa": read_afriqa, "squad": read_squad, "lines": data.lines}[kind]
        for file, checksum in row.files.items() if profile in (None, *row.profile.split()) else ():
            state, path = "missing", files.here(name, file)
            try:
                if not path:
                    raise ValueError(row.base + file)
                state = "wrong"
                sizes.append(path.stat().st_size)
                if not sum(1 for _ in read(path, *member)):
                    raise ValueError(f"{path}: empty")
                state = "differs" if files.mirror else "wrong"      # a mirror's file is used as it is
                verify(path, checksum)
            except ValueError as e:
                wrong += state == "wrong"
                notes.append(f"  {state:7s}  {str(e).split('; ')[0]}")
        if notes or sizes:
            head = f"{name}: {len(sizes)} of {len(row.files)} files present, {sum(sizes):,} bytes"
            print("; ".join(filter(None, (head, row.licence, row.cite, row.note))), *notes, sep="\n")
    return wrong


def main(argv=None):
    parser = argparse.ArgumentParser(prog="study.sources", allow_abbrev=False, description="The data sets.")
    p = parser.add_subparsers(dest="command", required=True).add_parser(
        "check", allow_abbrev=False, help="report every source: present, missing, wrong")
    p.add_argument("--profile", choices=PROFILES, help="default all")
    p.add_argument("--mirror", help="folder with the publishers' files, default $MIRROR")
    args = parser.parse_args(argv)
    return status_of(lambda: int(check(args.profile, args.mirror) > 0))


if __name__ == "__main__":
    sys.exit(main())

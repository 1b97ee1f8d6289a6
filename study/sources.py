# SPDX-License-Identifier: MIT
"""Every data set of the real and the paper profile: where it is, its licence, how it is fetched and read.

LANGUAGES, of languages.tsv, has a row for each query language; SOURCES, of sources.tsv, for each data set.

    python -m study.sources check [--profile real] [--mirror DIR]     which files are here, missing, or wrong

MIRROR=folder      files are taken from this folder (any depth) and nothing is downloaded, unless DOWNLOAD=1
OFFLINE=1          the cache is used, nothing is downloaded
DATA_CACHE=folder  where downloads are kept, default ~/.cache/optical-data
"""
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
from study import parser_of, status_of


# A query language; cls: "low" or "high" resource; codes: {source: what the source calls it}.
Language = namedtuple("Language", "name family cls profiles iso flores codes")
# A data set; parents: folders above a file that belong to its name in a mirror; member: what is read of
# an archive; base: how an address begins; files: {file: its MD5, or how its SHA-256 begins, or ""}.
Source = namedtuple("Source", "profile parents member licence cite note base files")
OPUS = ("ccaligned", "ccmatrix", "paracrawl", "europarl")


def _languages(path):
    """{code: Language} of a file; a source without a code of its own calls the language as ISO 639-1 does."""
    found = {}
    for code, iso, name, family, cls, profiles, flores, own in list(data.columns(path, "", 8))[1:]:
        codes = {source: given or iso for source, _, given in (entry.partition("=") for entry in own.split())}
        found[code] = Language(name, family, cls, profiles, iso, flores, codes)
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
            if reason := why(row):
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
            self.right[path] = not damage(path, row.files[file])
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


def damage(path, checksum):
    """What is wrong with a file whose digest does not begin with `checksum`, else ""."""
    algorithm = "md5" if len(checksum) == 32 else "sha256"
    with open(path, "rb") as f:
        got = hashlib.file_digest(f, algorithm).hexdigest()[:len(checksum)]
    fix = "fetch it again, or put a version that you trust into MIRROR"
    return "" if got == checksum else f"{path}: {algorithm} {got}, expected {checksum}; {fix}"


def fetch(url, path, checksum=""):
    """Fetch `url` into `path`, going on from what an earlier call left in `path`.part; return the path.

    By huggingface_hub, which tries again where a connection fails, and knows tokens and HF_ENDPOINT.
    Raises: FileNotFoundError where there is none, ValueError, one line, for everything else.
    """
    from huggingface_hub import constants, errors, file_download, utils
    part, headers = Path(f"{path}.part"), utils.build_hf_headers() if url.startswith(HUB) else None
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(part, "ab") as f:
            file_download.http_get(url.replace(HUB, constants.ENDPOINT + "/datasets/"), f,
                                   resume_size=f.tell(), headers=headers)
    except (errors.HTTPError, OSError) as e:
        cause = e.__cause__ or e
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if status == 416 or not part.stat().st_size:                         # nothing is left, or came
            part.unlink()
        if status == 404:
            raise FileNotFoundError(f"{url}: HTTP 404") from None
        why = f"HTTP {status}" if status else data.clean(str(cause))
        raise ValueError(f"{url}: {why}; the same command goes on from there; if you have the file, put it "
                         "into MIRROR") from None
    if why := damage(part, checksum):
        part.unlink()                                               # or the next call would go on from it
        raise ValueError(why)
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


def usable(rows, count, max_ratio=4.0):
    """The pairs of a file that are worth training on, as a list; `count` tells of the others."""
    return list(filter_pairs(realigned(count.each(rows), count), count, max_ratio=max_ratio))


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


def apart(pairs, dev, count):
    """Training and dev pairs; no text of dev is in training."""
    known = {text for pair in dev for text in pair}
    train = [pair for pair in pairs if known.isdisjoint(pair)]
    count.skip("a side is in dev", count["kept"] - len(train))
    return {"train": train, "dev": dev}


def records(path, parse, shape):
    """Yield parse(record) of a JSON-lines file. Raises: ValueError naming the line of another shape."""
    for number, line, record in data.json_lines(path):
        try:
            yield parse(record)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ValueError(f"{path}:{number}: expected {shape}, got {line[:60]!r}") from None


def read_afriqa(path):
    """Yield {id, question, english, context, title} of AfriQA's gold passages; a null or no text is ""."""
    keys = dict(question="question_lang", english="question_translated", context="context", title="title")

    def parse(record):                                                                # some texts are NaN
        texts = {key: record.get(own) for key, own in keys.items()}
        return {"id": str(record["id"])} | {
            key: data.clean(text) if isinstance(text, str) else "" for key, text in texts.items()}

    seen = set()
    for row in records(path, parse, "an object with an id"):
        if row["id"] in seen:
            raise ValueError(f"{path}: id {row['id']!r} occurs twice; ids must be unique")
        seen.add(row["id"])
        yield row


def read_squad(path, member=".json"):
    """Yield XQuAD-R's {context, sentences, questions: [(id, question, index of the answer's or None)]}."""
    with data.open_bytes(path, member) as stream:
        raw, seen, n = stream.read(), set(), 0
    try:
        articles = data.from_json(raw.decode("utf-8-sig"), path)["data"]
        for n, paragraph in enumerate((p for article in articles for p in article["paragraphs"]), 1):
            # Sentences are spans of characters; an answer belongs to the one that it starts in.
            context, spans, questions = paragraph["context"], paragraph["sentence_breaks"], []
            for qa in paragraph["qas"]:
                start = qa["answers"][0]["answer_start"]
                sentence = next((i for i, (first, end) in enumerate(spans) if first <= start < end), None)
                questions.append((qa["id"], data.clean(qa["question"]), sentence))
                if qa["id"] in seen:
                    raise ValueError(f"question id {qa['id']!r} occurs twice")
                seen.add(qa["id"])
            yield {"context": data.clean(context), "questions": questions,
                   "sentences": [data.clean(context[first:end]) for first, end in spans]}
    except (LookupError, TypeError, ValueError, AttributeError) as e:
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


def blocks(path, pattern, encoding, member=""):
    """Yield (file:line, text) of each match of a pattern in a file."""
    text, line, at = "\n".join(line for _, line in data.lines(path, member, encoding)), 1, 0
    for found in re.finditer(pattern, text):
        line, at = line + text.count("\n", at, found.start()), found.start()
        yield f"{path}:{line}", found[0]


def read_sgml(path, encoding="iso-8859-1"):
    """Yield (docno, text) of a CLEF or TREC file: headline and text of each <DOC>, without mark-up."""
    for where, text in blocks(path, r"(?ims)^[^\S\n]*<DOC>.*?(?=^[^\S\n]*<DOC>|\Z)", encoding):
        docno = re.search(r"<DOCNO>\s*(\S+)\s*</DOCNO>.*</DOC>", text, re.S | re.I)
        if not docno:                                                        # the judgements use no DOCID
            raise ValueError(f"{where}: a <DOC> without <DOCNO>, or that does not end")
        parts = re.findall(r"<HEADLINE>(.*?)</HEADLINE>", text, re.S | re.I)
        parts += re.findall(r"<TEXT>(.*?)</TEXT>", text, re.S | re.I)
        yield docno[1], data.clean(html.unescape(re.sub(r"<[^>]*>", " ", " ".join(parts))))


def topic_id(text, where):
    """C007 of "C007", "7" or "007": some years' judgements leave the C out."""
    found = re.fullmatch(r"C?0*(\d{1,3})", text.strip())
    if not found:
        raise ValueError(f"{where}: {text.strip()[:20]!r} is no topic number such as C041")
    return f"C{int(found[1]):03d}"


# A topic, a field of it, the encoding. CLEF's tags have a prefix of the language and need not close; TREC's
# topics are called as they are.
CLEF = (r"(?si)<top>.*?</top>", r"(?i)<(?:[A-Z]{1,2}-)?(num|title|desc)>([^<]*)", "iso-8859-1")
TREC = (CLEF[0], r"(?i)<(num|title|desc)>(?:\s*Number:)?([^<]*)", "utf-8")
CIIR = (r"(?s)\S.*?(?=\n\s*\n|\Z)",
        r"(?ims)^(query_id|title|description):(.*?)(?=^query_id:|^title:|^description:|\Z)", "utf-8")


def read_topics(path, member="", style=CLEF):
    """{topic: (title, description)} of a CLEF file or, by style, of one of its translations or TREC's."""
    (tops, fields, encoding), found = style, {}
    for where, top in blocks(path, tops, encoding, member):
        own = {key[0].lower(): data.clean(html.unescape(value)) for key, value in re.findall(fields, top)}
        topic = own.get("n", own.get("q", ""))
        topic = topic if style == TREC else topic_id(topic, where)
        if not own.get("t") or topic in found:
            raise ValueError(f"{where}: topic {topic} has no title, or occurs twice")
        found[topic] = own["t"], own.get("d", "")
    if not found:
        raise ValueError(f"{path}: no topic of {'CIIR' if style == CIIR else 'CLEF'}'s format")
    return found


def check(args):
    """Print the state of every source; exit status 1 where one is unreadable, or damaged in the cache."""
    files, wrong = Files(args.mirror), 0
    for name, row in SOURCES.items():
        notes, sizes = [], []
        read = {"afriqa": read_afriqa, "xquad-r": read_squad}.get(name, data.lines)
        for file, checksum in row.files.items() if args.profile in (None, *row.profile.split()) else ():
            state, path = "missing", files.here(name, file)
            try:
                if not path:
                    raise ValueError(row.base + file)
                state = "wrong"
                sizes.append(path.stat().st_size)
                if not sum(1 for _ in read(path, *filter(None, [row.member]))):
                    raise ValueError(f"{path}: empty")
                state = "differs" if files.mirror else "wrong"      # a mirror's file is used as it is
                if why := damage(path, checksum):
                    raise ValueError(why)
            except ValueError as e:
                wrong += state == "wrong"
                notes.append(f"  {state:7s}  {str(e).split('; ')[0]}")
        if notes or sizes:
            head = f"{name}: {len(sizes)} of {len(row.files)} files present, {sum(sizes):,} bytes"
            print("; ".join(filter(None, (head, row.licence, row.cite, row.note))), *notes, sep="\n")
    return int(wrong > 0)


def main(argv=None):
    args = parser_of("sources", __doc__, {"check": check}, profiles=PROFILES).parse_args(argv)
    return status_of(args.run, args)


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""The paper's own setting: MS MARCO for the teacher, OPUS for the students, seven query languages.

The paper tests on CLEF 2000-2003, which has to be bought: CLEF=folder names it, laid out as ELRA-E0008 is.
CIIR translated its topics into Swahili and Somali. Open collections stand in for it, or beside it:

    sw.belebele   questions in the language, 488 English passages (Bandarkar et al. 2024); all seven
    sw.ciral      human Swahili and Somali topics, the English translations of the passages that were judged
                  (Adeyemi et al. 2024). The pairing is ours; judges saw the passages in the original
    de.mlqa       German questions of MLQA's test part, all its English paragraphs (Lewis et al. 2020)
    sw.clef       topics C001 to C200, title and description; LA Times 94 and Glasgow Herald 95

No source has Tagalog or Marathi topics for CLEF. MS MARCO is read from mMARCO's copy on the hub, else from
the host that serves it today; triples are drawn by chance from the published ones without loading them.
"""
import html
import itertools
import math
import random
import re
from pathlib import Path

import data

LANGS = {                                                  # name, family, class, FLORES-200 code
    "sw": ("Swahili", "Niger-Congo", "low", "swh_Latn"), "so": ("Somali", "Afro-Asiatic", "low", "som_Latn"),
    "tl": ("Tagalog", "Austronesian", "low", "tgl_Latn"),
    "mr": ("Marathi", "Indo-European (Indo-Aryan)", "low", "mar_Deva"),
    "fi": ("Finnish", "Uralic", "high", "fin_Latn"),
    "de": ("German", "Indo-European (Germanic)", "high", "deu_Latn"),
    "fr": ("French", "Indo-European (Romance)", "high", "fra_Latn")}
NTREX = {"sw": "ref.swa", "so": "ref.som", "tl": "ref.fil", "mr": "ref.mar", "fi": "ref.fin", "de": "ref.deu",
         "fr": "ref.fra"}
CIRAL = {"sw": "swahili", "so": "somali"}
MLQA = ("de",)
MMARCO = {"de": "german", "fr": "french"}
CLEF = {"de": ("de", "d"), "fi": ("fi",), "fr": ("fr", "f"), "en": ("en", "e")}          # 2001 on, 2000


# -------------------------------------------------------------------------------------------- 1. Formats

def sample_lines(path, member, n, seed):
    """`n` lines (or all, if fewer) of a file, drawn by chance: [(line number, line)], and how many it has.

    In their order. One pass, memory for n lines; lines between two draws are skipped unread (Li 1994,
    algorithm L).
    """
    rng, counter = random.Random(seed), itertools.count(1)
    with data.open_bytes(path, member) as stream:
        numbered = zip(data.raw_lines(stream, path), counter)            # N.B. the lines first: they may end
        kept = list(itertools.islice(numbered, n))
        w = math.exp(math.log(rng.random()) / n)
        while len(kept) == n:
            skip = int(math.log(rng.random()) / math.log1p(-w))
            row = next(itertools.islice(numbered, skip, None), None)
            if row is None:
                break
            kept[rng.randrange(n)] = row
            w *= math.exp(math.log(rng.random()) / n)
        total = next(counter) - 1
    found = []
    for raw, number in sorted(kept, key=lambda row: row[1]):
        try:
            found.append((number, raw.decode().rstrip("\r\n")))
        except UnicodeDecodeError as e:
            raise ValueError(f"{path}:{number}: byte 0x{raw[e.start]:02x} is not UTF-8") from None
    return found, total


def read_jsonl(path, *keys):
    """Yield the objects of a JSON-lines file, which must have `keys`; blank lines are skipped."""
    for number, line, record in data.json_lines(path):
        if not isinstance(record, dict) or not record.keys() >= set(keys):
            raise ValueError(f"{path}:{number}: expected an object with {', '.join(keys)}, got {line[:60]!r}")
        yield record


def read_sgml(path, encoding="iso-8859-1", most=20_000_000):
    """Yield (docno, text) of a CLEF or TREC file: headline and text of each <DOC>, without mark-up.

    The id is DOCNO's: LA Times 94 has a DOCID too, which the judgements do not use.
    """
    record, began, size = [], 0, 0
    for number, line in data.lines(path, encoding=encoding):
        if re.match(r"\s*<DOC>", line, re.I):
            if began:
                raise ValueError(f"{path}:{number}: <DOC> inside the one of line {began}")
            record, began, size = [], number, 0
        if not began:
            continue
        record.append(line)
        size += len(line)
        if size > most:
            raise ValueError(f"{path}:{began}: a <DOC> of more than {most:,} letters")
        if re.search(r"</DOC>", line, re.I):
            text = "\n".join(record)
            docno = re.search(r"<DOCNO>\s*(\S+)\s*</DOCNO>", text, re.I)
            if not docno:
                raise ValueError(f"{path}:{began}: a <DOC> without <DOCNO>")
            parts = [part for tag in ("HEADLINE", "TEXT")
                     for part in re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S | re.I)]
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


def read_topics(path, encoding="iso-8859-1"):
    """{topic: (title, description)} of a CLEF file: tags have a language prefix and may not close."""
    text, found = "\n".join(line for _, line in data.lines(path, encoding=encoding)), {}
    for top in re.finditer(r"<top>(.*?)</top>", text, re.S | re.I):
        where = f"{path}:{text.count(chr(10), 0, top.start()) + 1}"
        fields = {name.lower(): data.clean(html.unescape(value)) for name, value in re.findall(
            r"<(?:[A-Z]{1,2}-)?(num|title|desc)>([^<]*)", top[1], re.I)}
        if not fields.get("num") or not fields.get("title"):
            raise ValueError(f"{where}: a <top> without number or title")
        topic = topic_id(fields["num"], where)
        if topic in found:
            raise ValueError(f"{where}: topic {topic} occurs twice")
        found[topic] = fields["title"], fields.get("desc", "")
    if not found:
        raise ValueError(f"{path}: no <top>; expected a CLEF topic file")
    return found


def read_ciir_topics(path, member=""):
    """{topic: (title, description)} of CIIR's translations: query_id:, title:, description:, a blank line."""
    found, fields, last = {}, {}, None
    for number, line in itertools.chain(data.lines(path, member), [(0, "")]):
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        if not line.strip():
            if fields:
                topic = topic_id(fields.get("query_id", ""), f"{path}:{fields['line']}")
                if not fields.get("title"):
                    raise ValueError(f"{path}:{fields['line']}: topic {topic} has no title")
                found[topic] = data.clean(fields["title"]), data.clean(fields.get("description", ""))
            fields, last = {}, None
        elif colon and key in ("query_id", "title", "description"):
            fields.setdefault("line", number)
            fields[key], last = value, key
        elif last:
            fields[last] += " " + line                                   # a text that goes on
        else:
            raise ValueError(f"{path}:{number}: expected query_id:, title: or description:, "
                             f"got {line[:60]!r}")
    if not found:
        raise ValueError(f"{path}: no topic; expected records of query_id:, title:, description:")
    return found


def read_judgements(path):
    """{topic: {docno: grade}} of CLEF's qrels, topics with or without their C."""
    found = {}
    for qid, row in data.read_qrels(path).items():
        found.setdefault(topic_id(qid, path), {}).update(row)
    return found


# ------------------------------------------------------------------------------------ 2. Its collections

def belebele(files, lang, counts):
    """Questions of a language and the English passages of the same number; None where a file is absent."""
    paths = [files.find("belebele", f"data/{code}.jsonl") for code in ("eng_Latn", LANGS[lang][3])]
    if None in paths:
        return None
    english, own = ([((row["link"], row["question_number"]), row["flores_passage"], row["question"])
                     for row in read_jsonl(path, "link", "question_number", "flores_passage", "question")]
                    for path in paths)
    return questions("belebele", lang, english, own, counts, "passage", lambda key, doc: f"{doc}.{key[1]}")


def questions(name, lang, english, own, counts, unit, qid_of):
    """A test set: the questions of a language, and the English passages that answer the same ones in English.

    Args: english, own: [(key, passage, question), ...] of the English file and of the language's, whose
    passages are not looked at; unit: what a document's id begins with; qid_of(key, document): a query's id,
    the same in every language, by which a question in several is known.
    """
    passages, known = {}, {}
    for key, passage, question in english:
        docid = passages.setdefault(data.clean(passage), f"{unit}{len(passages)}")
        known[key] = docid, data.clean(question)
    count, queries, asked, qrels = data.Count(f"{name} {lang}"), {}, {}, {}
    for key, _, question in count.each(own):
        docid, original = known.get(key, (None, ""))
        if not docid or not data.clean(question):
            count.skip("empty, or not in the English file")
            continue
        qid = qid_of(key, docid)
        queries[qid], asked[qid], qrels[qid] = data.clean(question), original, {docid: 1}
    counts.append(count.row())
    return {"set": f"{lang}.{name}", "docs": name, "queries": queries, "english": asked,
            "qrels": qrels}, {docid: text for text, docid in passages.items()}


def mlqa(files, lang, counts):
    """MLQA's test part: questions in a language and all its English paragraphs; None where it has none."""
    zipped = files.find("mlqa", "MLQA_V1.zip") if lang in MLQA else None
    if not zipped:
        return None
    english, own = ([(qid, row["context"], question)
                     for row in data.read_squad(zipped, f"test/test-context-en-question-{code}.json")
                     for qid, question, _ in row["questions"]] for code in ("en", lang))
    return questions("mlqa", lang, english, own, counts, "paragraph", lambda key, doc: key)


def ciral(files, lang, counts, splits=("test-a", "test-b")):
    """Human topics in Swahili or Somali and the English translations of CIRAL's passages, else None."""
    if lang not in CIRAL:
        return None
    name, tests = CIRAL[lang], {"queries": {}, "english": {}, "qrels": {}}
    corpus = files.find("ciral-corpus", f"translated-passages-v1.0/{name}_passages.jsonl")
    parts = [(files.find("ciral-native", f"topics.ciral-v1.0-{lang}-{split}-native.tsv"),
              files.find("ciral", f"ciral-{name}/topics/topics.ciral-v1.0-{lang}-{split}.tsv"),
              files.find("ciral", f"ciral-{name}/qrels/qrels.ciral-v1.0-{lang}-{split}.tsv"))
             for split in splits]
    if corpus is None or any(None in part for part in parts):
        return None
    for native, english, qrels in parts:
        tests["queries"] |= data.read_tsv(native)
        tests["english"] |= data.read_tsv(english)
        tests["qrels"] |= data.read_qrels(qrels)
    docs = {str(row["docid"]): data.clean(f"{row.get('title') or ''}. {row['text'] or ''}".removeprefix(". "))
            for row in read_jsonl(corpus, "docid", "text")}
    docs = {docid: text for docid, text in docs.items() if text}
    queries = {q: text for q, text in tests["queries"].items()
               if data.found_in(docs, tests["qrels"].get(q, {}))}
    count = data.Count(f"ciral {lang}")
    count.read = len(tests["queries"])
    count.skip("no relevant passage", len(tests["queries"]) - len(queries))
    counts.append(count.row())
    own = {kind: {q: tests[kind][q] for q in queries if q in tests[kind]} for kind in ("english", "qrels")}
    return ({"set": f"{lang}.ciral", "docs": f"ciral.{name}", "queries": queries, **own}, docs)


def clef(folder, files, langs, counts):
    """Title and description of CLEF's topics 2000-2003 against LA Times 94 and Glasgow Herald 95.

    Returns ([test set of each language that has topics], {docno: text}). The folders of ELRA-E0008 are told
    by name, at any depth: editions differ. Swahili and Somali topics are CIIR's, from it or downloaded.
    """
    folder = Path(folder)
    below = {path: str(path.relative_to(folder)).lower() for path in sorted(folder.rglob("*"))
             if path.is_file()}
    if not below:
        raise ValueError(f"CLEF={folder}: no such folder, or nothing in it")

    def matching(pattern, what):
        found = [path for path, name in below.items() if re.search(pattern, name)]
        if not found and what:
            raise ValueError(f"CLEF={folder}: no {what} below it; expected the folders of ELRA-E0008")
        return found

    docs = {}
    for pattern, what in ((r"latimes", "LA Times 94 (LATimes94)"),
                          (r"glasgow|gh95", "Glasgow Herald 95 (GH95)")):
        count = data.Count(f"clef {what.split(' (')[0]}")
        for path in matching(pattern, what):
            with data.open_bytes(path) as stream:
                if b"<doc>" not in stream.read(1 << 16).lower():
                    continue                                             # a readme, a DTD
            for docno, text in count.each(read_sgml(path)):
                if not text:
                    count.skip("no headline, no text")
                elif docs.setdefault(docno, text) != text:
                    raise ValueError(f"{path}: {docno} occurs twice, with other text")
        counts.append(count.row())
    qrels = {}
    for path in matching(r"qrels[^/]*eng", "judgements (qrels_english)"):
        for topic, row in read_judgements(path).items():
            qrels.setdefault(topic, {}).update(row)

    def topics(lang):
        found = {}
        for path in matching(rf"(^|/)top-({'|'.join(CLEF.get(lang, ['-']))})(0[0-3])?\.txt$", ""):
            found |= read_topics(path)
        if lang in CIRAL:                                                # CIIR has the same two languages
            paths = [(path, "") for path in matching(rf"_{CIRAL[lang]}\.txt$", "")]
            zipped = None if paths else files.find("ciir", "ictir19_simulate_low_resource.zip")
            if zipped:
                paths = [(zipped, f"_{CIRAL[lang].upper()}.txt")]
            for path, member in paths:
                found |= read_ciir_topics(path, member)
        return {topic: " ".join(filter(None, fields)) for topic, fields in found.items()}

    english, tests = topics("en"), []
    if not english:
        raise ValueError(f"CLEF={folder}: no English topics below it (Top-en01.txt and so on)")
    for lang in langs:
        asked = topics(lang)
        known = [t for t in asked if t in english and data.found_in(docs, qrels.get(t, {}))]
        count = data.Count(f"clef {lang} topics")
        count.read = len(asked)
        count.skip("without English topic or relevant document", len(asked) - len(known))
        count.note = "" if asked else "no topics found"
        counts.append(count.row())
        if known:
            tests.append({"set": f"{lang}.clef", "docs": "clef", "lang": lang,
                          **{kind: {t: of[t] for t in known} for kind, of in (
                              ("queries", asked), ("english", english), ("qrels", qrels))}})
    return tests, docs


MARCO = [                             # source, {part: (file, member)}; the first that is whole is taken
    ("mmarco", {"docs": ("data/google/collections/english_collection.tsv", ""),
                "queries": ("data/google/queries/train/english_queries.train.tsv", ""),
                "dev_queries": ("data/google/queries/dev/english_queries.dev.small.tsv", ""),
                "dev_qrels": ("data/qrels.dev.small.tsv", ""),
                "triples": ("data/triples.train.ids.small.tsv", "")}),
    ("msmarco", {"docs": ("collectionandqueries.tar.gz", "collection.tsv"),
                 "queries": ("queries.tar.gz", "queries.train.tsv"),
                 "dev_queries": ("collectionandqueries.tar.gz", "queries.dev.small.tsv"),
                 "dev_qrels": ("collectionandqueries.tar.gz", "qrels.dev.small.tsv"),
                 "triples": ("qidpidtriples.train.full.2.tsv.gz", "")})]


def marco(files, counts, seed, triples, dev=200, pool=20_000):
    """The teacher's training data: `triples` of MS MARCO's, drawn by chance, and the passages they name.

    Dev: `dev` queries of its small development part; their passages among `pool` others of these.
    """
    for name, parts in MARCO:
        paths = {part: (files.find(name, file), member) for part, (file, member) in parts.items()}
        if all(path for path, _ in paths.values()):
            break
    else:
        raise ValueError(f"MS MARCO: not found in {files.where}, neither as mmarco nor as msmarco; "
                         "python data.py check --profile paper tells more")
    drawn, total = sample_lines(*paths["triples"], triples, seed)
    rows = []
    for number, line in drawn:
        row = line.split("\t")
        if len(row) != 3:
            raise ValueError(f"{paths['triples'][0]}:{number}: expected qid, pid, pid by tab, "
                             f"got {line[:60]!r}")
        rows.append((row[0], row[1], [row[2]]))
    count = data.Count(f"{name} triples")
    count.read = total
    count.skip(f"not among the {triples:,} drawn", total - len(rows))
    counts.append(count.row())
    queries = dict(data.columns(*paths["queries"], 2))
    dev_qrels = {}
    for qid, _, pid, grade in data.columns(*paths["dev_qrels"], 4):
        dev_qrels.setdefault(qid, {})[pid] = int(grade)
    rng = random.Random(f"{seed}/dev")
    dev_queries = dict(data.columns(*paths["dev_queries"], 2))
    asked = sorted(rng.sample(sorted(dev_queries.keys() & dev_qrels.keys()), min(dev, len(dev_qrels))))
    wanted = {pid for _, positive, negatives in rows for pid in (positive, *negatives)}
    own = {pid for qid in asked for pid in dev_qrels[qid]}
    texts = {pid: data.clean(text) for pid, text in data.columns(*paths["docs"], 2)
             if pid in wanted or pid in own}
    missing = next((pid for pid in sorted(wanted | own) if pid not in texts), None)
    missing = missing or next((qid for qid, *_ in rows if qid not in queries), None)
    if missing:
        raise ValueError(f"{name}: triples or judgements name {missing!r}, which its texts lack; "
                         "fetch it again")
    others = rng.sample(sorted(wanted - own), min(pool, len(wanted - own)))
    return {"docs": {pid: texts[pid] for pid in sorted(wanted)}, "triples": rows,
            "queries": {qid: data.clean(queries[qid]) for qid in dict.fromkeys(qid for qid, *_ in rows)},
            "dev_queries": {qid: data.clean(dev_queries[qid]) for qid in asked},
            "dev_qrels": {qid: dev_qrels[qid] for qid in asked},
            "dev_docs": {pid: texts[pid] for pid in sorted(own.union(others))}}


def opus(files, corpus, lang, counts, pairs, seed):
    """At most `pairs` pairs of an OPUS corpus, drawn by chance and filtered; dev: NTREX-128.

    Half as many again are drawn as are wanted, for the filters to take from. N.B. dev is not FLORES-200:
    Belebele's passages are made of nearly all its sentences, so a choice by them would be one by test
    documents. None of them is trained on either.
    """
    zipped = files.find(corpus, data.opus_file(lang))
    flores = files.find("flores", "flores200_dataset.tar.gz")
    ntrex = [files.find("ntrex", f"NTREX-128/newstest2019-{side}.txt") for side in ("src.eng", NTREX[lang])]
    if None in (zipped, flores, *ntrex):
        return None
    (english, total), (source, other) = (
        sample_lines(zipped, f".{side}", pairs + pairs // 2, f"{seed}/{lang}") for side in ("en", lang))
    if total != other:
        raise ValueError(f"{zipped}: not aligned, its .en has {total} lines and its .{lang} {other}")
    count = data.Count(f"{corpus} {lang}")
    count.read = total
    count.skip("not drawn", total - len(english))
    rows = [(data.clean(e), data.clean(x)) for (_, e), (_, x) in zip(english, source)]
    full = [row for row in rows if all(row)]
    count.skip("empty side", len(rows) - len(full))
    dev, known = [pair for pair in data.aligned(*ntrex) if all(pair)], set()
    for part in ("dev", "devtest"):
        known.update(*data.aligned(flores, flores, members=[
            f"{part}/{code}.{part}" for code in ("eng_Latn", LANGS[lang][3])]))
    known.update(*dev)
    clear = list(data.filter_pairs(full, count))
    train = [pair for pair in clear if known.isdisjoint(pair)]
    count.skip("a side is in FLORES-200 or NTREX-128", len(clear) - len(train))
    count.skip(f"over {pairs:,}", max(0, len(train) - pairs))
    counts.append(count.row())
    return {"train": train[:pairs], "dev": dev, "train_links": None, "dev_links": None}


def collection(langs=None, mirror=None, seed=1, cache=None, corpus="ccaligned", pairs=500_000,
               triples=3_200_000, clef_folder=None, wiki=None, dictionary=None):
    """The paper profile as one dict, of the shape that data.write_collection stores.

    Args: langs, codes of LANGS; corpus, an OPUS corpus of data.SOURCES; pairs a language and triples, at most
    so many; clef_folder, the user's CLEF; wiki, dictionary, mirror, cache, as in data.real_collection.
    Raises: ValueError for an unknown language, and for one that is named and lacks bitext or a test set.
    """
    for lang in langs or []:
        if lang not in LANGS:
            raise ValueError(f"unknown language {lang!r}; the paper profile has {' '.join(LANGS)}")
    if min(pairs, triples) < 1:
        raise ValueError(f"--pairs {pairs}, --triples {triples}: both must be at least 1")
    files, counts, docs, about, bitext, tests = data.Files(mirror, cache), [], {}, {}, {}, []
    train = marco(files, counts, seed, triples)
    clef_tests = []
    if clef_folder:
        clef_tests, docs["clef"] = clef(clef_folder, files, langs or LANGS, counts)
    for lang in langs or LANGS:
        name, family, kind, _ = LANGS[lang]
        found = [made for make in (belebele, ciral, mlqa) if (made := make(files, lang, counts))]
        sets = [test for test, _ in found] + [test for test in clef_tests if test["lang"] == lang]
        own = opus(files, corpus, lang, counts, pairs, seed)
        if not own or not sets:
            lacks = (f"no {corpus} bitext with FLORES-200 and NTREX-128 found" if sets
                     else "no test collection found")
            if langs:
                raise ValueError(f"{lang}: {lacks} in {files.where}; "
                                 "python data.py check --profile paper tells more")
            counts.append({"source": f"{lang} left out", "read": 0, "kept": 0, "skipped": {}, "note": lacks})
            continue
        docs |= {test["docs"]: texts for test, texts in found}
        tests += [{"set": test["set"], "lang": lang, "name": name, "class": kind, **test} for test in sets]
        bitext[lang] = own
        about[lang] = {"name": name, "family": family, "class": kind, "pairs": len(own["train"]),
                       "bitext": corpus}
    if not tests:
        raise ValueError(f"no language with a test collection and bitext in {files.where}; "
                         "python data.py check --profile paper tells more")
    used = {test["docs"] for test in tests}
    made = {"profile": "paper", "seed": seed, "langs": about, "pretrain": None, "train": train,
            "bitext": bitext, "docs": {name: texts for name, texts in docs.items() if name in used},
            "tests": tests, "counts": counts, **data.extras(files, about, counts, seed, wiki, dictionary)}
    for lang in (lang for lang in about if lang in MMARCO):
        path = files.find("mmarco", f"data/google/queries/train/{MMARCO[lang]}_queries.train.tsv")
        if path:
            made.setdefault("translations", {})[lang] = {
                qid: data.clean(text) for qid, text in data.columns(path, "", 2) if qid in train["queries"]}
    return made

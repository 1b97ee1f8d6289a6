# SPDX-License-Identifier: MIT
"""The collections of the study: the publishers' files, joined into one dict for data.write_collection.

    python -m study.collections prepare real --out DIR         write a collection: mini, real, paper ..., own

real    AfriQA's test questions in low-resource languages against all its English passages, bitext lafand-mt;
        XQuAD-R's in high-resource ones against its English paragraphs and, as LAReQA does, sentences, bitext
        NTREX-128. The teacher learns from AfriQA's other English questions, the same for any languages.
headlines  of NTREX-128, in the paper's seven languages, ask for its English articles among lafand-mt's;
        bitext TICO-19, SIB-200, HornMT; the same teacher.
paper   The paper's own setting: MS MARCO, OPUS, seven languages, CLEF 2000-2003, which has to be bought:
        CLEF=folder names it, laid out as ELRA-E0008 is; CIIR translated its topics into Swahili and Somali.
        Open collections stand in for it, or beside it: Belebele, CIRAL.
both    XTREME-R's tasks (Ruder et al. 2021), for table 9, with English documents alone: LAReQA without other
        languages' candidates, Tatoeba with equal sentences as one.
"""
import hashlib
import itertools
import random
import re
import sys
from collections import Counter
from pathlib import Path

import data
import evaluate
from study import baselines, mini, own, parser_of, sources, status_of
from study.sources import LANGUAGES, Files

NTREX = "NTREX-128/newstest2019-"
CHECK = "python -m study.sources check tells more"


def test_set(lang, name, docs, rows, measure=None):
    """A test set of rows (qid, query, {docid: grade}, query in English); with a measure, without the last."""
    t = {"set": name, "lang": lang, "name": LANGUAGES[lang].name, "class": LANGUAGES[lang].cls, "docs": docs}
    t |= {"measure": measure} if measure else {}
    parts = {"queries": 1, "qrels": 2} if measure else {"queries": 1, "english": 3, "qrels": 2}
    return t | {part: {row[0]: row[i] for row in rows} for part, i in parts.items()}


# ------------------------------------------------------------------------------------------------- real
def shingles(text, n=13):
    """The runs of `n` words of a folded text; of a shorter text all of it."""
    words = data.fold(text).split()
    return {" ".join(words[i:i + n]) for i in range(max(1, len(words) - n + 1))}


def twins(texts, share=.8):
    """{docid: the longer text's} of texts more than `share` of whose runs of 13 words are in that one. At .8
    no question of AfriQA loses its answer; at .5 ten would."""
    runs, holding, found = {docid: shingles(text) for docid, text in texts.items()}, {}, {}
    for docid in sorted(runs, key=lambda docid: (-len(runs[docid]), docid)):
        shared = Counter(other for run in runs[docid] for other in holding.get(run, ()))
        n, other = max(((n, other) for other, n in shared.items()), default=(0, None))
        if n > share * len(runs[docid]):
            found[docid] = other
        for run in runs[docid] if docid not in found else ():
            holding.setdefault(run, []).append(docid)
    return found


def _afriqa(files):
    """AfriQA's passages, twins as one, and questions: {docid: text}, {(lang, split): [its row + docid]}."""
    pool, texts, parts = {}, {}, {}
    listed = [file.split(".")[2:5:2] + [file] for file in sources.SOURCES["afriqa"].files]
    for lang, split, file in sorted(listed, key=lambda row: (row[0], ("train", "dev", "test").index(row[1]))):
        path = files.find("afriqa", file)
        count = files.count(f"afriqa {lang} {split}", **{} if path else {"note": "file not found"})
        for row in count.each(sources.read_afriqa(path) if path else []):
            if row["context"]:
                # The id is a hash: it stays when files are added, and ties are broken by chance. The title is
                # part of the text, because 45% of the passages lack it ("He was elected in 1992").
                row["docid"] = "p" + hashlib.sha1(row["context"].encode()).hexdigest()[:10]
                title = row["title"] + ". " if row["title"] else ""
                pool.setdefault(row["docid"], title + row["context"])
                texts.setdefault(row["docid"], row["context"])
            empty = [k for k in ["context", "english"] + ["question"] * (split == "test") if not row[k]]
            if empty:
                count.skip("empty " + empty[0])
            else:
                parts.setdefault((lang, split), []).append(row)
    same, count = twins(texts), files.count("afriqa passages", len(texts))
    count.skip("twin of a longer passage", len(same))
    for row in itertools.chain(*parts.values()):
        row["docid"] = same.get(row["docid"], row["docid"])
    return {docid: text for docid, text in pool.items() if docid not in same}, parts


def _teacher(files, pool, parts, seed):
    """English questions with passages, none of a test; about 200 are held out for selection."""
    tests = [row for (_, split), rows in parts.items() if split == "test" for row in rows]
    answers, asked = ({row["docid"] for row in tests}, {data.fold(row["english"]) for row in tests})
    tested, by_passage = set().union(*(shingles(pool[docid]) for docid in answers)), {}

    def copied(docid):                           # a test passage, or half of it stands in such
        runs = shingles(pool[docid])
        return docid in answers or 2 * len(runs & tested) > len(runs)

    rows = [(f"{lang}.{split}.{row['id']}", row["english"], row["docid"])
            for (lang, split), part in parts.items() if split != "test" for row in part]
    count = files.count("teacher training pairs")
    for row in count.each(rows, lambda row: (
            "question is in a test set" if data.fold(row[1]) in asked else
            "passage answers a test question" if copied(row[2]) else "")):
        by_passage.setdefault(row[2], []).append(row)
    # Held out are passages with all their questions: what selects the teacher is never a training positive.
    passages, dev, n = sorted(by_passage), [], min(200, count["kept"] // 10)
    random.Random(seed).shuffle(passages)
    while passages and len(dev) < n:
        dev += by_passage.pop(passages.pop())
    said = {data.fold(text) for _, text, _ in dev}
    train = [row for part in by_passage.values() for row in part if data.fold(row[1]) not in said]
    count.skip("held out as dev", len(dev))
    count.skip("question is in dev", count["kept"] - len(train))
    return {"docs": {docid: pool[docid] for *_, docid in train + dev},
            "queries": {qid: text for qid, text, _ in train},
            "triples": [(qid, docid, []) for qid, _, docid in train],
            "dev_queries": {qid: text for qid, text, _ in dev},
            "dev_qrels": {qid: {docid: 1} for qid, _, docid in dev}}


def xquad(files, langs):
    """{name: English documents}, {lang: [paragraph set, sentence set]} of the XQuAD-R files found."""
    docs, english, sets = {"xquad.paragraphs": {}, "xquad.sentences": {}}, {}, {}
    for lang in ["en", *langs]:
        path, rows = files.find("xquad-r", f"{lang}.json"), []
        count = files.count(f"xquad-r {lang}") if path else None
        for p, row in enumerate(sources.read_squad(path) if path else []):
            if lang == "en":
                docs["xquad.paragraphs"][f"x{p:03d}"] = row["context"]
                docs["xquad.sentences"] |= {f"x{p:03d}.{s:02d}": x for s, x in enumerate(row["sentences"])}
                english |= {qid: (question, f"x{p:03d}", f"x{p:03d}.{s:02d}")
                            for qid, question, s in row["questions"] if s is not None}
            rows += [(qid, question, *english[qid]) for qid, question, _ in count.each(
                row["questions"], lambda row: "empty question" if not row[1] else
                "" if row[0] in english else "no answer sentence in English")]
        if lang != "en" and rows:
            sets[lang] = [test_set(lang, f"{lang}.{unit}", f"xquad.{unit}",
                                   [(qid, text, {found[i]: 1}, asked) for qid, text, asked, *found in rows])
                          for i, unit in enumerate(["paragraphs", "sentences"])]
    return docs, sets


def _lafand(files, lang):
    """lafand-mt: its training part, and 500 pairs spread over its dev part."""
    paths = {split: files.find_all("lafand-mt", f"en-{lang}/{split}.en", f"en-{lang}/{split}.{lang}")
             for split in ("dev", "train")}
    if not all(paths.values()):
        raise FileNotFoundError("no lafand-mt bitext found")
    count = files.count(f"lafand-mt {lang} dev")
    dev = sources.usable(data.aligned(*paths["dev"]), count)
    count.skip("over 500", max(0, len(dev) - 500))
    dev, count = spread(dev, 500), files.count(f"lafand-mt {lang} train")
    return sources.apart(sources.usable(data.aligned(*paths["train"]), count), dev, count)


def spread(rows, n):
    """At most `n` of the rows, spread evenly."""
    return [rows[i * len(rows) // n] for i in range(n)] if len(rows) > n else rows


def _ntrex(files, lang):
    """NTREX-128: its last documents, a tenth, are dev. Lengths tell little between English and Chinese."""
    paths = files.find_all("ntrex", "DOCUMENT_IDS.tsv", NTREX + "src.eng.txt",
                           f"{NTREX}ref.{LANGUAGES[lang].codes['ntrex']}.txt")
    if not paths:
        raise FileNotFoundError("no NTREX-128 bitext found")
    rows = list(data.aligned(*paths))
    documents = [row[0] for row in rows]
    split = documents.index(documents[len(rows) * 9 // 10]) if rows else 0    # dev begins with a document
    held = {row[1:] for row in rows[split:]}
    pairs = sources.usable((row[1:] for row in rows), files.count(f"ntrex {lang}"), max_ratio=None)
    return {"train": [p for p in pairs if p not in held], "dev": [p for p in pairs if p in held]}


def real_collection(files, langs=None, seed=1, wiki=None):
    """The real profile as data.write_collection takes it; options as of the command, see `main`. Raises:
    ValueError for an unknown language, and for one of `langs` that lacks its files."""
    langs, high = known(langs, "real"), sources.codes("xquad-r")
    pool, parts = _afriqa(files)
    train, (docs, found) = _teacher(files, pool, parts, seed), xquad(files, high)

    def make(lang):
        rows = parts.get((lang, "test"), [])
        if lang in found:
            return found[lang], "NTREX-128", _ntrex(files, lang)
        if not rows:
            raise FileNotFoundError(f"no {'XQuAD-R' if lang in high else 'AfriQA'} test questions found")
        rows = [(f"{lang}.{row['id']}", row["question"], {row["docid"]: 1}, row["english"]) for row in rows]
        sets = [test_set(lang, lang, "afriqa", rows)]
        return sets, "lafand-mt", _lafand(files, lang)

    return _collection(files, "real", langs, seed, train, {"afriqa": pool} | docs, make, wiki)


def articles(files):
    """English articles of lafand-mt's documents, twins as one: {docid: text}; a blank row ends an article."""
    texts = {}
    for file in sources.SOURCES["lafand-doc"].files:
        rows, path = [], files.find("lafand-doc", file)
        for _, line in [*data.lines(path), (0, "")][1:] if path else ():
            rows.append(data.clean(line.partition("\t")[0].strip('"').replace('""', '"')))
            if not rows[-1]:
                text, rows = " ".join(rows).strip(), []
                texts |= {"a" + hashlib.sha1(text.encode()).hexdigest()[:10]: text} if text else {}
    count, same = files.count("lafand-mt articles", len(texts)), twins(texts)
    count.skip("twin of a longer article", len(same))
    return {docid: text for docid, text in texts.items() if docid not in same}


def _news(files, lang, n=300):
    """Bitext that shares no sentence with NTREX-128: TICO-19, SIB-200, HornMT; at most `n` pairs are dev."""
    row, found = LANGUAGES[lang], {}
    if path := files.find("tico19", f"TM/all.en-{row.iso}.tmx.zip"):
        found["TICO-19"] = data.read_tmx(path, row.iso)
    sides = [{record[0]: data.clean(record[2]) for part in ("train", "dev", "test")
              for path in files.find_all("sib-200", f"{code}/{part}.tsv")
              for record in [*data.columns(path, "", 3)][1:]} for code in (sources.ENGLISH, row.flores)]
    if all(sides):
        found["SIB-200"] = ((sides[0][key], sides[1].get(key, "")) for key in sorted(sides[0], key=int))
    if "hornmt" in row.codes and (paths := files.find_all("hornmt", "eng.txt", "som.txt")):
        found["HornMT"] = data.aligned(*paths)
    pairs = []
    for name, rows in found.items():
        pairs += sources.usable(rows, files.count(f"{name} {lang}"))
    if not pairs:
        raise FileNotFoundError("no TICO-19, SIB-200 or HornMT bitext found")
    dev, count = spread(pairs, min(n, len(pairs) // 4)), files.count(f"{lang} bitext", len(pairs))
    return ", ".join(found), sources.apart(pairs, dev, count)


def headlines_collection(files, langs=None, seed=1, wiki=None):
    """Known-item search: a headline of NTREX-128 asks for its English article; else as real_collection."""
    langs, docs, train = known(langs, "headlines"), articles(files), _teacher(files, *_afriqa(files), seed)

    def first(name):                             # {document: its first sentence}, {document: the others}
        paths, heads, rest = files.find_all("ntrex", "DOCUMENT_IDS.tsv", f"{NTREX}{name}.txt"), {}, {}
        for doc, text in data.aligned(*paths) if paths else ():
            rest.setdefault(doc, []).append(text) if doc in heads else heads.setdefault(doc, text)
        return heads, {doc: " ".join(texts) for doc, texts in rest.items()}
    english, bodies = first("src.eng")

    def make(lang):
        asked, _ = first(f"ref.{LANGUAGES[lang].codes['ntrex']}")
        rows = [(f"{lang}.{doc}", text, {doc: 1}, english[doc]) for doc, text in asked.items()]
        if not rows:
            raise FileNotFoundError("no headlines of NTREX-128 found")
        return [test_set(lang, lang, "headlines", rows)], *_news(files, lang)

    return _collection(files, "headlines", langs, seed, train, {"headlines": bodies | docs}, make, wiki)


def known(langs, profile):
    """`langs` in the profile's order, or [] for None. Raises: ValueError for one that the profile has not."""
    everyone = sources.PROFILES[profile]
    for lang in langs or []:
        if lang not in everyone:
            raise ValueError(f"unknown language {lang!r}; the {profile} profile has {' '.join(everyone)}")
    return sorted(langs or [], key=everyone.index)


def _collection(files, profile, langs, seed, train, docs, make, wiki):
    """The collection of `langs`, or of all that can be in it; make(lang): test sets, the bitext's name, the
    bitext, or FileNotFoundError; their documents, {name: {docid: text}}, are or come into `docs`."""
    c = {"profile": profile, "seed": seed, "langs": {}, "train": train, "bitext": {}, "tests": []}
    for lang in langs or sources.PROFILES[profile]:
        row = LANGUAGES[lang]
        try:
            sets, corpus, c["bitext"][lang] = make(lang)
        except FileNotFoundError as lacks:
            if langs:
                raise ValueError(f"{lang}: {lacks} in {files.where}; {CHECK}") from None
            files.count(f"{lang} left out")["note"] = str(lacks)
            continue
        c["tests"] += sets
        family = row.family if profile == "paper" else row.family.split(" (")[0]
        c["langs"][lang] = {"name": row.name, "family": family, "class": row.cls,
                            "pairs": len(c["bitext"][lang]["train"]), "bitext": corpus}
    c["docs"] = {name: docs[name] for name in docs if name in {test["docs"] for test in c["tests"]}}
    if not c["tests"] or not train["triples"]:
        raise ValueError(f"no training questions, or no tests and bitext, in {files.where}; {CHECK}")
    if wiki:
        c["wiki"] = sources.wiki_titles(files, c["langs"], seed)
        if not c["wiki"]["titles"]:
            raise ValueError(f"{wiki}: nothing found for {' '.join(c['langs'])} in {files.where}; {CHECK}")
    c["retrieval"] = list(xtreme(files, c["docs"], c["langs"]))
    return c | {"counts": [row for i, row in enumerate(files.counts) if row not in files.counts[:i]]}


def xtreme(files, docs, langs):
    """Yield the test sets of XTREME-R's tasks whose files are there; their documents join `docs`."""
    for lang, code in sources.codes("tatoeba", langs).items():
        paths = files.find_all("tatoeba", f"tatoeba.{code}-eng.eng", f"tatoeba.{code}-eng.{code}")
        texts, pairs = {}, files.count(f"tatoeba {lang}").each(
            enumerate(data.aligned(*paths)), lambda row: "" if all(row[1]) else "empty side") if paths else ()
        rows = [(f"{lang}.{i}", text, {texts.setdefault(english, f"sentence{i}"): 1})
                for i, (english, text) in pairs]
        if rows:
            docs[f"tatoeba.{lang}"] = {docid: text for text, docid in texts.items()}
            yield test_set(lang, f"{lang}.tatoeba", f"tatoeba.{lang}", rows, "accuracy, Tatoeba")
    high = sources.codes("xquad-r", langs)
    english, found = xquad(files, high) if high else ({}, {})
    for lang, (_, test) in found.items():
        docs["xquad.sentences"] = english["xquad.sentences"]
        rows = [(qid, text, test["qrels"][qid]) for qid, text in test["queries"].items()]
        yield test_set(lang, f"{lang}.lareqa", "xquad.sentences", rows, "mAP@20, LAReQA")


# ------------------------------------------------------------------------------------------------ paper
def questions(files, lang):
    """Yield a test set and its documents: questions of Belebele, passages of the same ones in English."""
    def parse(record):
        key = record["link"], record["question_number"]           # one in every language
        return key, data.clean(record["flores_passage"]), data.clean(record["question"])

    row, docs, asked, rows = LANGUAGES[lang], {}, {}, []
    paths = files.find_all("belebele", f"data/{sources.ENGLISH}.jsonl", f"data/{row.flores}.jsonl")
    if paths:
        shape = "an object with link, question_number, flores_passage, question"
        english, own = (list(sources.records(path, parse, shape)) for path in paths)
        for key, text, question in english:
            asked[key] = docs.setdefault(text, f"passage{len(docs)}"), question
        for key, _, question in files.count(f"belebele {lang}").each(own, lambda row: (
                "" if row[0] in asked and row[2] else "empty, or not in the English file")):
            docid, original = asked[key]
            rows.append((f"{docid}.{key[1]}", question, {docid: 1}, original))
        found = {docid: text for text, docid in docs.items()}
        yield test_set(lang, f"{lang}.belebele", "belebele", rows), found


def answered(queries, qrels, english, docs):
    """Rows, as test_set takes them, of the queries with an English one and a relevant document in `docs`."""
    return [(qid, text, qrels[qid], english[qid]) for qid, text in queries.items() if qid in english
            and any(grade > 0 and docid in docs for docid, grade in qrels.get(qid, {}).items())]


def native(path, count):
    """CIRAL's topics {qid: text}. N.B. as published, Swahili has 237 twice: the second is 238 in English."""
    rows, found = list(data.columns(path, "", 2)), {}
    for qid, text in rows:
        if qid in found and (after := str(int(qid) + 1)) not in dict(rows):
            count["note"], qid = f"the second topic {qid} is {after}", after
        if qid in found:
            raise ValueError(f"{path}: topic {qid} occurs twice; ids must be unique")
        found[qid] = data.clean(text)
    return found


def ciral(files, lang):
    """Yield CIRAL's human topics with translations of its passages; judges saw these in the original."""
    def parse(record):
        text = f"{record.get('title') or ''}. {record['text'] or ''}".removeprefix(". ")
        return str(record["docid"]), data.clean(text)

    name = LANGUAGES[lang].codes.get("ciral")
    corpus = files.find("ciral-corpus", f"translated-passages-v1.0/{name}_passages.jsonl") if name else None
    kinds = [files.find_all(source, *(pattern.format(x) for x in "ab")) for source, pattern in (
        ("ciral-native", f"topics.ciral-v1.0-{lang}-test-{{}}-native.tsv"),
        ("ciral", f"ciral-{name}/topics/topics.ciral-v1.0-{lang}-test-{{}}.tsv"),
        ("ciral", f"ciral-{name}/qrels/qrels.ciral-v1.0-{lang}-test-{{}}.tsv"))] if corpus else []
    if not corpus or not all(kinds):
        return
    count = files.count(f"ciral {lang}")
    queries, english, qrels = (read(a) | read(b) for (a, b), read in zip(
        kinds, (lambda path: native(path, count), data.read_tsv, evaluate.read_qrels)))
    count["read"] = count["kept"] = len(queries)
    docs = dict(row for row in sources.records(corpus, parse, "an object with docid, text") if row[1])
    rows = answered(queries, qrels, english, docs)
    count.skip("no relevant passage", len(queries) - len(rows))
    yield test_set(lang, f"{lang}.ciral", f"ciral.{name}", rows), docs


def clef(folder, files, langs):
    """CLEF 2000-2003: {language: test set of title and description, if it has topics}, {docno: text}."""
    below = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]    # editions differ
    if not below:
        raise ValueError(f"CLEF={folder}: no such folder, or nothing in it")

    def matching(pattern, what=""):
        found = [path for path in below if re.search(pattern, str(path.relative_to(folder)).lower())]
        if not found and what:
            raise ValueError(f"CLEF={folder}: no {what} below it; expected the folders of ELRA-E0008")
        return found

    def topics(ends, name):
        found = {}
        for path in matching(rf"(^|/)top-({ends.replace(',', '|')})(0[0-3])?\.txt$"):
            found |= sources.read_topics(path)
        ciir = "ictir19_simulate_low_resource.zip"            # of two languages, in the folder or downloaded
        for path in (matching(rf"_{name}\.txt$") or files.find_all("ciir", ciir)) if name else []:
            found |= sources.read_topics(path, f"_{name.upper()}.txt", sources.CIIR)
        return {topic: " ".join(filter(None, fields)) for topic, fields in found.items()}

    docs, qrels, tests = {}, {}, {}
    for name, pattern in (("LA Times 94", "latimes"), ("Glasgow Herald 95", "glasgow|gh95")):
        count = files.count(f"clef {name}")
        for path in matching(pattern, name):
            with data.open_bytes(path) as stream:
                document = b"<doc>" in stream.read(1 << 16).lower()      # else a readme, a DTD
            for docno, text in count.each(sources.read_sgml(path) if document else [],
                                          lambda row: "" if row[1] else "no headline, no text"):
                if docs.setdefault(docno, text) != text:
                    raise ValueError(f"{path}: {docno} occurs twice, with other text")
    for path in matching(r"qrels[^/]*eng", "judgements (qrels_english)"):
        for topic, row in evaluate.read_qrels(path).items():
            qrels.setdefault(sources.topic_id(topic, path), {}).update(row)
    english = topics("en,e", None)
    if not english:
        raise ValueError(f"CLEF={folder}: no English topics below it (Top-en01.txt and so on)")
    for lang in langs:
        asked = topics(LANGUAGES[lang].codes.get("clef", "-"), LANGUAGES[lang].codes.get("ciral"))
        rows = answered(asked, qrels, english, docs)
        count = files.count(f"clef {lang} topics", len(asked), **{} if asked else {"note": "no topics found"})
        count.skip("without English topic or relevant document", len(asked) - len(rows))
        if rows:
            tests[lang] = test_set(lang, f"{lang}.clef", "clef", rows)
    return tests, docs


def marco(files, seed, triples, dev=200, pool=20_000):
    """The teacher's `triples` of MS MARCO, by chance; `dev` queries, their passages among `pool` others."""
    paths = files.find_all("mmarco", *(f"data/{name}.tsv" for name in (          # MS MARCO as mMARCO keeps it
        "google/collections/english_collection", "google/queries/train/english_queries.train",
        "google/queries/dev/english_queries.dev.small", "qrels.dev.small", "triples.train.ids.small")))
    if not paths:
        raise ValueError(f"MS MARCO: its files in mMARCO not found in {files.where}; {CHECK}")
    drawn, total = sources.sample_lines(paths[4], "", triples, seed)
    rows = []
    for number, line in drawn:
        row = line.split("\t")
        if len(row) != 3:
            raise ValueError(f"{paths[4]}:{number}: expected qid, pid, pid by tab: {line[:60]!r}")
        rows.append((row[0], row[1], row[2:]))
    files.count("mmarco triples", total).skip(f"not among the {triples:,} drawn", total - len(rows))
    queries, dev_queries = (dict(data.columns(path, "", 2)) for path in paths[1:3])
    dev_qrels = evaluate.read_qrels(paths[3])
    rng = random.Random(f"{seed}/dev")
    asked = sorted(rng.sample(sorted(dev_queries.keys() & dev_qrels.keys()), min(dev, len(dev_qrels))))
    wanted = {pid for _, positive, negatives in rows for pid in (positive, *negatives)}
    own = {pid for qid in asked for pid in dev_qrels[qid]}
    needed = wanted | own
    texts = {pid: data.clean(text) for pid, text in data.columns(paths[0], "", 2) if pid in needed}
    missing = sorted(needed - texts.keys()) + [qid for qid, *_ in rows if qid not in queries]
    if missing:
        raise ValueError(f"mmarco: triples, qrels name {missing[0]!r}, which its texts lack; fetch it again")
    others = rng.sample(sorted(wanted - own), min(pool, len(wanted - own)))
    return {"docs": {pid: texts[pid] for pid in sorted(wanted)}, "triples": rows,
            "queries": {qid: data.clean(queries[qid]) for qid, *_ in rows},
            "dev_queries": {qid: data.clean(dev_queries[qid]) for qid in asked},
            "dev_qrels": {qid: dev_qrels[qid] for qid in asked},
            "dev_docs": {pid: texts[pid] for pid in sorted(own.union(others))}}


def _opus(files, corpus, lang, pairs, seed):
    """At most `pairs` pairs of an OPUS corpus, of half as many again drawn by chance; dev: NTREX-128."""
    row, flores = LANGUAGES[lang], files.find("flores", "flores200_dataset.tar.gz")
    ntrex = files.find_all("ntrex", NTREX + "src.eng.txt", f"{NTREX}ref.{row.codes['ntrex']}.txt")
    zipped = files.find(corpus, f"{row.codes[corpus]}.txt.zip") if corpus in row.codes else None
    if not zipped or not flores or not ntrex:
        raise FileNotFoundError(f"no {corpus} bitext with FLORES-200 and NTREX-128 found")
    (english, total), (source, other) = (
        sources.sample_lines(zipped, f".{x}", pairs + pairs // 2, f"{seed}/{lang}") for x in ("en", lang))
    if total != other:
        raise ValueError(f"{zipped}: not aligned, its .en has {total} lines and its .{lang} {other}")
    dev = list(data.read_pairs(*ntrex))
    held = {text for pair in dev for text in pair}
    # N.B. FLORES-200 is not for dev: Belebele's passages are made of nearly all its sentences, so a choice by
    # them would be one by test documents. None of them is trained on either.
    for part in ("dev", "devtest"):
        members = [f"{part}/{code}.{part}" for code in (sources.ENGLISH, row.flores)]
        held.update(*data.aligned(flores, flores, members=members))
    count = files.count(f"{corpus} {lang}", total)
    count.skip("not drawn", total - len(english))
    drawn = ((data.clean(e), data.clean(x)) for (_, e), (_, x) in zip(english, source))
    train = [pair for pair in sources.filter_pairs(drawn, count) if held.isdisjoint(pair)]
    count.skip("a side is in FLORES-200 or NTREX-128", count["kept"] - len(train))
    count.skip(f"over {pairs:,}", max(0, len(train) - pairs))
    return {"train": train[:pairs], "dev": dev}


def paper_collection(files, langs=None, seed=1, corpus="ccaligned", clef_folder=None, wiki=None,
                     pairs=500_000, triples=3_200_000):
    """The paper profile as data.write_collection takes it; options, errors as of real_collection."""
    langs = known(langs, "paper")
    train, docs, topics = marco(files, seed, triples), {}, {}
    if clef_folder:
        topics, docs["clef"] = clef(clef_folder, files, langs or sources.PROFILES["paper"])

    def make(lang):
        found = [*questions(files, lang), *ciral(files, lang)]
        docs.update((test["docs"], texts) for test, texts in found)
        sets = [test for test, _ in found] + ([topics[lang]] if lang in topics else [])
        if not sets:
            raise FileNotFoundError("no test collection found")
        return sets, corpus, _opus(files, corpus, lang, pairs, seed)

    c = _collection(files, "paper", langs, seed, train, docs, make, wiki)
    for lang, name in sources.codes("mmarco", c["langs"]).items():
        path = files.find("mmarco", f"data/google/queries/train/{name}_queries.train.tsv")
        if path:
            c.setdefault("translations", {})[lang] = {
                qid: data.clean(text) for qid, text in data.columns(path, "", 2) if qid in train["queries"]}
    return c


def cut(c, queries=60, n=300):
    """A collection so small that every stage takes seconds: the first of everything and what it refers to."""
    def of(mapping, keys):
        return {key: mapping[key] for key in keys if key in mapping}

    def first(mapping, n, need=()):
        need = mapping.keys() & need
        keys = need.union([key for key in mapping if key not in need][:max(0, n - len(need))])
        return {key: value for key, value in mapping.items() if key in keys}

    train = c["train"] or {"triples": []} | dict.fromkeys(("docs", "queries", "dev_queries", "dev_qrels"), {})
    triples, dev = train["triples"][:n], first(train["dev_queries"], n // 6)
    rels = of(train["dev_qrels"], dev)
    judged = [docid for row in rels.values() for docid in row]
    need = [docid for _, positive, negatives in triples for docid in (positive, *negatives)]
    small = {"docs": first(train["docs"], n, need + judged), "triples": triples, "dev_queries": dev,
             "queries": of(train["queries"], [qid for qid, *_ in triples]), "dev_qrels": rels}
    small |= {"dev_docs": first(train["dev_docs"], n, judged)} if "dev_docs" in train else {}
    tests = {kind: [t | {part: of(t[part], first(t["queries"], queries)) for part in data.PARTS if part in t}
                    for t in c[kind]] for kind in data.TESTS if kind in c}
    docs = {name: first(texts, n, [docid for t in itertools.chain(*tests.values()) if t["docs"] == name
                                   for row in t["qrels"].values() for docid in row])
            for name, texts in c["docs"].items()}
    bitext = {x: {"train": p["train"][:n], "dev": p["dev"][:n // 6]} for x, p in c["bitext"].items()}
    langs = {lang: row | {"pairs": min(row["pairs"], n)} for lang, row in c["langs"].items()}
    c = c | {"langs": langs, "train": c["train"] and small, "docs": docs, "bitext": bitext} | tests
    if "wiki" in c:
        titles = {lang: first(rows, n) for lang, rows in c["wiki"]["titles"].items()}
        c["wiki"] = {"docs": of(c["wiki"]["docs"], itertools.chain(*titles.values())), "titles": titles}
    if "translations" in c:
        c["translations"] = {lang: of(texts, small["queries"]) for lang, texts in c["translations"].items()}
    return c


def mine(c, n=8):
    """DEVIATION 2: `n` negatives by BM25 for training triples, and Wikipedia's titles, that bring none."""
    queries, bm25, relevant = c["train"]["queries"], baselines.BM25(c["train"]["docs"]), {}
    for qid, docid, _ in c["train"]["triples"]:
        relevant.setdefault(qid, set()).add(docid)
    triples = [(qid, docid, negatives or bm25.negatives(queries[qid], relevant[qid], n))
               for qid, docid, negatives in c["train"]["triples"]]
    c = c | {"train": c["train"] | {"triples": triples}}
    if "wiki" in c:
        bm25 = baselines.BM25(c["wiki"]["docs"])
        c["wiki"] = c["wiki"] | {"negatives": {
            lang: {docid: bm25.negatives(title, {docid}, n) for docid, title in titles.items()}
            for lang, titles in c["wiki"]["titles"].items()}}
    return c


def prepare(args):
    """Make a collection, write it, and tell what was read and what was left out."""
    profile = vars(args).get("profile", "own")
    langs = list(dict.fromkeys(re.findall(r"[^\s,]+", " ".join(vars(args).get("langs") or [])))) or None
    files = profile not in ("mini", "own") and Files(args.mirror)
    if profile == "mini":
        c = mini.collection(seed=args.seed, langs=langs, smoke=args.smoke)
    elif profile == "paper":
        c = paper_collection(files, langs, args.seed, args.bitext, args.clef, args.wiki)
        c = cut(c) if args.smoke else c
    elif profile == "own":
        c = own.collection(args)
        c = cut(c) if args.smoke else c
        c = mine(c) if c["train"] else c
    else:
        make = real_collection if profile == "real" else headlines_collection
        c = make(files, langs, args.seed, args.wiki)
        c = mine(cut(c) if args.smoke else c)
    data.write_collection(c | ({"profile": f"{profile} SMOKE"} if args.smoke else {}), args.out)
    for lang, row in c["langs"].items():
        sets = ", ".join(f"{t['set']} {len(t['queries']):,} queries, {len(c['docs'][t['docs']]):,} documents"
                         for t in c["tests"] if t["lang"] == lang)
        print(f"{lang} {row['name']}: {sets}; {row['bitext']} {len(c['bitext'][lang]['train']):,} pairs")
    for row in c["counts"]:
        why = [f"{n:,} {why}" for why, n in row["skipped"].items()] + [row[k] for k in row if k == "note"]
        print("; ".join([f"  {row['source']}: read {row['read']:,}, kept {row['kept']:,}", *why]))
    wrong = sorted(str(path) for path, right in files.right.items() if not right) if files else ()
    if wrong:
        print("note: of other checksums than in sources.tsv:", *wrong, file=sys.stderr)


def main(argv=None):
    args = parser_of("collections", __doc__, {"prepare": prepare, "own": prepare}, corpora=sources.OPUS,
                     profiles=["mini", *sources.PROFILES]).parse_args(argv)
    return status_of(args.run, args)


if __name__ == "__main__":
    sys.exit(main())

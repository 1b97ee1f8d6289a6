# SPDX-License-Identifier: MIT
"""XTREME-R's three retrieval tasks (Ruder et al. 2021) as test sets of table 9, model size.

    de.tatoeba   a sentence finds its English translation: accuracy               (Artetxe and Schwenk 2019)
    de.lareqa    an XQuAD-R question finds the English sentence that answers it: mAP@20   (Roy et al. 2020)
    de.mewsli    a mention in its sentence finds the entity by its description: mAP@20

Ours, not XTREME-R's: only the query encoder is trained, and the teacher's documents are English, so LAReQA's
candidates in other languages are left out; equal English sentences of Tatoeba are one; a query of Mewsli-X
is the mention, then its sentence. The texts of Mewsli-X are cut from dumps of WikiNews: its makers'
get-mewsli-x.sh writes both files, and MIRROR names their folder. Its million descriptions are in 50
languages.
"""
import data

TATOEBA = {"swa": "swh", "sw": "swh", "tl": "tgl", "mr": "mar", "fi": "fin", "de": "deu", "fr": "fra"}
MEWSLI = "ar de es tr".split()                              # of its languages those that we have


def tatoeba(files, langs, counts):
    """Yield (test set, its English sentences) of Tatoeba in each of `langs` whose files are there."""
    for lang in (lang for lang in langs if lang in TATOEBA):
        code = TATOEBA[lang]
        paths = [files.find("tatoeba", f"tatoeba.{code}-eng.{side}") for side in ("eng", code)]
        if None in paths:
            continue
        count, docs, queries, qrels = data.Count(f"tatoeba {lang}"), {}, {}, {}
        for i, (english, text) in enumerate(count.each(data.aligned(*paths))):
            if not english or not text:
                count.skip("empty side")
                continue
            docid, qid = docs.setdefault(english, f"sentence{i}"), f"{lang}.{i}"
            queries[qid], qrels[qid] = text, {docid: 1}
        counts.append(count.row())
        if queries:
            yield ({"set": f"{lang}.tatoeba", "lang": lang, "docs": f"tatoeba.{lang}",
                    "measure": "accuracy, Tatoeba", "queries": queries, "qrels": qrels},
                   {docid: text for text, docid in docs.items()})


def lareqa(files, langs, counts):
    """Yield (test set, the English sentences) of XQuAD-R in each of `langs` whose files are there."""
    langs = [lang for lang in langs if lang in data.HIGH]
    found = data.xquad(files, counts, langs) if langs else {}
    for lang in (lang for lang in langs if lang in found):
        test = found[lang][1]
        yield ({"set": f"{lang}.lareqa", "lang": lang, "docs": test["docs"], "measure": "mAP@20, LAReQA",
                "queries": test["queries"], "qrels": test["qrels"]}, found["docs"][test["docs"]])


def records(path, parse, shape):
    """Yield parse(record) of a JSON-lines file. Raises: ValueError naming the line of another shape."""
    for number, line, record in data.json_lines(path):
        try:
            yield parse(record)
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"{path}:{number}: expected {shape}, got {line[:60]!r}") from None


def entity(record):
    """(id, title and description) of a candidate of Mewsli-X."""
    return str(record["entity_id"]), data.clean(f"{record['title']}. {record['description']}")


def mentions(record):
    """(language, [(id, entity, query, "" without text), ...]) of an article of Mewsli-X."""
    text, found = record["context"]["text"], []
    sentences = [(span["start"], span["end"]) for span in record["context"]["sentence_spans"]]
    for mention in record["mentions"]:
        span = mention["mention_span"]
        start, end = next((own for own in sentences if own[0] <= span["start"] and span["end"] <= own[1]),
                          (span["start"], span["end"]))
        query = data.clean(f"{span['text']}: {text[start:end]}") if text else ""
        found.append((str(mention["example_id"]), str(mention["entity_id"]), query))
    return str(record["context"]["language"]), found


def mewsli(files, langs, counts):
    """Yield (test set, all entities) of Mewsli-X's test part in each of `langs` that it has."""
    langs = [lang for lang in langs if lang in MEWSLI]
    paths = [files.find("mewsli-x", name) if langs else None
             for name in ("candidate_set_entities.jsonl", "wikinews_mentions-test.jsonl")]
    if None in paths:
        return
    docs, found = dict(records(paths[0], entity, "an object with entity_id, title, description")), {}
    for lang, rows in records(paths[1], mentions, "an object with context and mentions, by get-mewsli-x.sh"):
        found.setdefault(lang, []).extend(rows)
    for lang in (lang for lang in langs if lang in found):
        count, queries, qrels = data.Count(f"mewsli-x {lang}"), {}, {}
        for qid, answer, query in count.each(found[lang]):
            if not query or answer not in docs:
                count.skip("unknown entity" if query else "no text; get-mewsli-x.sh puts it there")
                continue
            queries[qid], qrels[qid] = query, {answer: 1}
        counts.append(count.row())
        if queries:
            yield ({"set": f"{lang}.mewsli", "lang": lang, "docs": "mewsli-x", "measure": "mAP@20, Mewsli-X",
                    "queries": queries, "qrels": qrels}, docs)


def extend(collection, mirror=None, cache=None):
    """A collection with the tasks that its languages have as "retrieval", with their documents and counts."""
    files, tests, docs, counts, langs = data.Files(mirror, cache), [], {}, [], collection["langs"]
    for make in (tatoeba, lareqa, mewsli):
        for test, texts in make(files, list(langs), counts):
            tests.append(test | {key: langs[test["lang"]][key] for key in ("name", "class")})
            docs[test["docs"]] = texts
    counts = [row for row in counts if row not in collection["counts"]]      # XQuAD-R may stand there
    return collection | {"docs": collection["docs"] | docs, "retrieval": tests,
                         "counts": collection["counts"] + counts}

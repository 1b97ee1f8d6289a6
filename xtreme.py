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


def tatoeba(files, lang, counts):
    """(test set, its English sentences) of Tatoeba in a language, None where its files are not there."""
    code = TATOEBA.get(lang)
    names = [f"tatoeba.{code}-eng.{side}" for side in ("eng", code)]
    paths = [files.find("tatoeba", name) if code else None for name in names]
    if None in paths:
        return None
    count, docs, queries, qrels = data.Count(f"tatoeba {lang}"), {}, {}, {}
    for i, (english, text) in enumerate(count.each(data.aligned(*paths))):
        if not english or not text:
            count.skip("empty side")
            continue
        docid, qid = docs.setdefault(english, f"sentence{i}"), f"{lang}.{i}"
        queries[qid], qrels[qid] = text, {docid: 1}
    counts.append(count.row())
    english = {docid: text for text, docid in docs.items()}
    return ({"set": f"{lang}.tatoeba", "docs": f"tatoeba.{lang}", "measure": "accuracy, Tatoeba",
             "queries": queries, "qrels": qrels}, english) if queries else None


def lareqa(files, lang, counts):
    """(test set, the English sentences) of XQuAD-R in a language, None where its files are not there."""
    found = data.xquad(files, counts, [lang]) if lang in data.HIGH else {}
    if lang not in found:
        return None
    test = found[lang][1] | {"set": f"{lang}.lareqa", "measure": "mAP@20, LAReQA"}
    return {key: test[key] for key in test if key != "english"}, found["docs"][test["docs"]]


def records(path, parse, shape):
    """Yield parse(record) of a JSON-lines file. Raises: ValueError naming the line of another shape."""
    for number, line, record in data.json_lines(path):
        try:
            yield parse(record)
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"{path}:{number}: expected {shape}, got {line[:60]!r}") from None


def entity(record):
    """(id, title and description) of a candidate of Mewsli-X."""
    return record["entity_id"], data.clean(f"{record['title']}. {record['description']}")


def mentions(record):
    """(language, [(id, entity, query, "" without text), ...]) of an article of Mewsli-X."""
    text, found = record["context"]["text"], []
    sentences = [(span["start"], span["end"]) for span in record["context"]["sentence_spans"]]
    for mention in record["mentions"]:
        span = mention["mention_span"]
        start, end = next((own for own in sentences if own[0] <= span["start"] and span["end"] <= own[1]),
                          (span["start"], span["end"]))
        query = data.clean(f"{span['text']}: {text[start:end]}") if text else ""
        found.append((mention["example_id"], mention["entity_id"], query))
    return record["context"]["language"], found


def mewsli(files, lang, counts):
    """(test set, all entities) of Mewsli-X's test part in a language, None where its files are not there."""
    paths = [files.find("mewsli-x", name) if lang in MEWSLI else None
             for name in ("candidate_set_entities.jsonl", "wikinews_mentions-test.jsonl")]
    if None in paths:
        return None
    docs = dict(records(paths[0], entity, "an object with entity_id, title, description"))
    count, queries, qrels = data.Count(f"mewsli-x {lang}"), {}, {}
    articles = records(paths[1], mentions, "an object with context and mentions, by get-mewsli-x.sh")
    for qid, answer, query in count.each(row for own, rows in articles if own == lang for row in rows):
        if not query or answer not in docs:
            count.skip("unknown entity" if query else "no text; get-mewsli-x.sh puts it there")
            continue
        queries[qid], qrels[qid] = query, {answer: 1}
    counts.append(count.row())
    return ({"set": f"{lang}.mewsli", "docs": "mewsli-x", "measure": "mAP@20, Mewsli-X",
             "queries": queries, "qrels": qrels}, docs) if queries else None


def extend(collection, mirror=None, cache=None):
    """A collection with the tasks that its languages have as "retrieval", with their documents and counts."""
    files, tests, docs, counts = data.Files(mirror, cache), [], {}, []
    for lang, row in collection["langs"].items():
        for make in (tatoeba, lareqa, mewsli):
            if found := make(files, lang, counts):
                tests.append(found[0] | {"lang": lang, "name": row["name"], "class": row["class"]})
                docs[found[0]["docs"]] = found[1]
    counts = [row for i, row in enumerate(counts) if row not in collection["counts"] + counts[:i]]
    return collection | {"docs": collection["docs"] | docs, "retrieval": tests,
                         "counts": collection["counts"] + counts}

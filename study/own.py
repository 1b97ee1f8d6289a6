# SPDX-License-Identifier: MIT
"""A collection of your own files: documents, queries, judgements, sentence pairs; see examples/own."""
import re
from pathlib import Path

import data
import evaluate
from study import sources

HEADER = ("id", "_id", "docid", "doc_id", "doc-id", "corpus-id", "pid", "qid", "query_id", "query-id")


def read_texts(files, path, kind):
    """{id: text} of a "corpus" or "queries"; how the first line begins tells the form."""
    path, texts = Path(path, f"{kind}.jsonl") if Path(path).is_dir() else Path(path), {}
    first = next((line.lstrip()[:1] for _, line in data.lines(path) if line.strip()), "")
    form = {"{": "BEIR", "<": "trec"}.get(first, "TSV")
    rows = (data.read_tsv(path).items() if form == "TSV" else
            sources.records(path, lambda row: (str(row["_id"]), data.clean(f"{row.get('title') or ''} "
                            + row["text"])), "an object with _id and text") if form == "BEIR" else
            sources.read_sgml(path, "utf-8") if kind == "corpus" else
            [(topic, title) for topic, (title, _) in sources.read_topics(path, style=sources.TREC).items()])
    count = files.count(f"{path.name}: {form}, {kind}")
    for key, text in count.each(rows, lambda row: "without text" if not row[1] else "header row" if (
            form == "TSV" and count["read"] == 1 and row[0].casefold() in HEADER) else ""):
        if key in texts or key.split() != [key]:
            raise ValueError(f"{path}: id {key!r} occurs twice, or is no single word; ids must be unique")
        texts[key] = text
    if not texts:
        raise ValueError(f"{path}: no text in it, read as {form}")
    return texts


def read_qrels(files, path, split, queries, docs):
    """{qid: {docid: grade}} of known queries; unknown documents stay in it, relevant and never found."""
    path, qrels = Path(path, "qrels", f"{split}.tsv") if Path(path).is_dir() else Path(path), {}
    if next((line for _, line in data.lines(path)), "").startswith("query-id"):                   # BEIR
        for number, (qid, docid, grade) in [*enumerate(data.columns(path, "", 3), 1)][1:]:
            if not re.fullmatch(r"-?\d+", grade):
                raise ValueError(f"{path}:{number}: grade {grade!r} is not a whole number")
            qrels.setdefault(qid, {})[docid] = int(grade)
    qrels = qrels or evaluate.read_qrels(path)
    judged = [docid for row in qrels.values() for docid in row]
    for kind, known, found in (("query", queries, [*qrels]), ("document", docs, judged)):
        if known.keys().isdisjoint(found):
            raise ValueError(f"{path}: none of its {kind} ids has a text: {', '.join(found[:3])}; those with "
                             f"text are {', '.join([*known][:3])}")
    count = files.count(f"{path.name}: judgements", len(judged))
    count["note"] = f"{sum(docid not in docs for docid in judged):,} of unknown documents"
    count.skip("of unknown queries", sum(len(row) for qid, row in qrels.items() if qid not in queries))
    return {qid: row for qid, row in qrels.items() if qid in queries}


def training(files, paths, tested):
    """The teacher's part of a collection, without questions of the test; every tenth is dev, 200 at most."""
    queries, docs = (read_texts(files, path, kind) for path, kind in zip(paths * 2, ("queries", "corpus")))
    if "triples" in Path(paths[-1]).name:
        rows = data.read_triples(paths[-1])
    else:
        qrels = read_qrels(files, paths[-1], "train", queries, docs)
        rows = [(qid, docid, []) for qid, row in qrels.items() for docid, grade in row.items() if grade > 0]
    count = files.count("training pairs")
    rows = list(count.each(rows, lambda row: (
        "of unknown queries or documents" if row[0] not in queries or {row[1], *row[2]} - docs.keys() else
        "of questions in the test set" if data.fold(queries[row[0]]) in tested else "")))
    dev = [*dict.fromkeys(qid for qid, *_ in rows)][::10][:200]
    said = {data.fold(queries[qid]) for qid in dev}
    train = [row for row in rows if data.fold(queries[row[0]]) not in said]
    count.skip("of questions held out as dev", len(rows) - len(train))
    if not train:
        raise ValueError(f"{paths[-1]}: no training question; give two with a relevant document, or more")
    return {"docs": docs, "queries": {qid: queries[qid] for qid, *_ in train}, "triples": train,
            "dev_queries": {qid: queries[qid] for qid in dev},
            "dev_qrels": {qid: {row[1]: 1 for row in rows if row[0] == qid} for qid in dev}}


def collection(args):
    """The user's files as data.write_collection takes them; `args` of the command. Raises: ValueError."""
    if len(args.bitext) > 2 or len(args.train or ".") not in (1, 3) or re.search(r"[^\w-]", args.lang):
        raise ValueError("expected --bitext of 1 or 2 files, --train of a folder or 3, --lang of a code")
    files, row = sources.Files(), sources.LANGUAGES.get(args.lang)
    row = row or sources.Language(args.lang, "", "low", "own", args.lang, "", {})
    docs, asked = read_texts(files, args.corpus, "corpus"), read_texts(files, args.queries, "queries")
    count, parts = files.counts[-1], {"queries": asked}
    parts["qrels"] = qrels = read_qrels(files, args.qrels, "test", asked, docs)
    parts |= {"english": read_texts(files, args.english, "queries")} if args.english else {}
    kept = [qid for qid in asked if qid in parts.get("english", asked) and any(
        grade > 0 and docid in docs for docid, grade in qrels.get(qid, {}).items())]
    count.skip("without a relevant document, or English version", len(asked) - len(kept))
    if not kept:
        raise ValueError(f"{args.qrels}: no query has a relevant document and, if given, an English text")
    own = {"name": row.name, "class": row.cls}
    test = {"set": args.lang, "lang": args.lang, "docs": "own", **own} | {
        part: {qid: texts[qid] for qid in kept} for part, texts in parts.items()}
    name = ", ".join(Path(path).name for path in args.bitext)
    count = files.count(f"{name}: sentence pairs")
    pairs = list(sources.filter_pairs(count.each(data.read_pairs(*args.bitext, lang=row.iso)), count))
    n = min(500, len(pairs) // 10)
    if not n:
        raise ValueError(f"{args.bitext[0]}: {len(pairs)} of {count['read']} en-{row.iso} pairs fit; give 10")
    count.skip("held out as dev", n)
    held, english = sources.apart(pairs[:-n], pairs[-n:], count), test.get("english", {}).values()
    own |= {"family": row.family, "bitext": name, "pairs": len(held["train"])}
    return {"profile": "own", "seed": 1, "langs": {args.lang: own}, "bitext": {args.lang: held},
            "train": args.train and training(files, args.train, set(map(data.fold, english))),
            "docs": {"own": docs}, "tests": [test], "counts": files.counts}

# SPDX-License-Identifier: MIT
"""What OPTICAL is compared with: BM25, IBM Model 1, lexical query translation, code-switching.

Needs: numpy, scipy, and data.py and evaluate.py for files. Check: `python -m doctest study/baselines.py`.
Letters: n documents, w word, q query, d document, e English (target) word, f source word; lexicon {f: {e: p}}

(21) BM25 (Robertson et al. 1994), as Lucene has it since version 8: without the factor k1 + 1 (same order).
        score(q, d) = sum_w q(w) idf(w) tf(w, d) / (tf(w, d) + k1 (1 - b + b |d| / avg|d|))
        idf(w) = ln(1 + (n - df(w) + 0.5) / (df(w) + 0.5))
    N.B. |d| is exact here, one byte in Lucene. k1 = 0.9, b = 0.4 are Anserini's. No stop list: idf does that.
(22) IBM Model 1 (Brown et al. 1993): t(e|f), the probability that source word f, or NULL, gives word e.
    EM repeats, from a uniform t, with the sum over sentence pairs and the occurrences of e and f in them,
        c(e, f) = sum t(e|f) / sum_{f' in NULL + source} t(e|f')        t(e|f) = c(e, f) / sum_e' c(e', f)
(23) Both directions: p(e|f) proportional to sqrt(t(e|f) t(f|e)). One refuses what rare words get in another.
(24) Probabilistic structured queries (Darwish and Oard 2003): (21) with a source word's expected counts,
        tf(f, d) = sum_e p(e|f) tf(e, d)        df(f) = sum_e p(e|f) df(e)
(25) Alignment error rate (Och and Ney 2003), links A against sure links S and possible ones P (S within P):
        AER = 1 - (|A & S| + |A & P|) / (|A| + |S|)
"""
import copy
import itertools
import math
import re
import sys
import unicodedata
from bisect import bisect
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import data
import evaluate
from study import parser_of, status_of


class _WordCharacters(dict):
    """For str.translate: letters, marks, digits stay, joiners and soft hyphens go, else a space."""

    def __missing__(self, code):
        mapped = code if unicodedata.category(chr(code))[0] in "LMN" else 0x20
        return self.setdefault(code, None if code in (0xAD, 0x200C, 0x200D, 0x2060) else mapped)


_WORD_CHARACTERS = _WordCharacters()


def _folded(text):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def words(text):
    """The words of a text in any script: NFC, case-folded runs of letters, combining marks and digits.

    >>> words("L'été à Dar-es-Salaam, 1964: नमस्ते!")
    ['l', 'été', 'à', 'dar', 'es', 'salaam', '1964', 'नमस्ते']
    """
    return _folded(text).translate(_WORD_CHARACTERS).split()


def english(text):
    """`words`, then the plural's -s off each word of four letters or more (after Harman 1991)."""
    text = re.sub(r"(?<=[^\sea])ies(?!\S)", "y", " ".join(words(text)))
    return re.sub(r"(?<=\S\S\S)(?<![usi])s(?!\S)", "", text).split()               # -is is ours: this


def indexed_words(text):
    """One word for each piece of `text.split()`: positions are those of the collection's alignment links."""
    return ["".join(words(piece)) or piece for piece in text.split()]


class BM25:
    """Exact BM25 (21) over a documents x words sparse matrix.

    Args: docs {docid: text}, at least one with a word; k1 >= 0, how slowly repeats of a word saturate; b in
    [0, 1], how much long documents pay; analyse: text -> words, for documents and for queries given as text.

    >>> BM25({"d1": "a cat", "d2": "a dog"}).search("cat") == {"d1": math.log(2) / (1 + 0.9)}   # |d| = avg|d|
    True
    """

    def __init__(self, docs, k1=0.9, b=0.4, analyse=words):
        if not k1 >= 0 or not 0 <= b <= 1:
            raise ValueError(f"BM25 needs k1 >= 0 and 0 <= b <= 1, got k1={k1} b={b}")
        self.k1, self.b, self.analyse = k1, b, analyse
        self.docids = sorted(docs, reverse=True)  # a stable sort by score leaves ties docid descending
        ids = self.ids = {}
        tokens = [[ids.setdefault(word, len(ids)) for word in analyse(docs[docid])] for docid in self.docids]
        if not ids:
            raise ValueError(f"BM25: {len(docs)} documents without a word; give at least one with text")
        self.length = np.array([len(row) for row in tokens])                        # (n,)
        row, column = np.repeat(np.arange(len(docs)), self.length), list(itertools.chain(*tokens))
        self.counts = sp.csc_matrix((np.ones(len(row)), (row, column)), (len(docs), len(ids)))  # (n, words)
        self.df = np.diff(self.counts.indptr).astype(np.float64)                    # (words,)
        self.weights = self._weights(self.counts, self.df)

    def _weights(self, counts, df):
        """(n, words) matrix: what a word in the query adds to a document's score (21)."""
        idf = np.log1p((len(self.docids) - df + 0.5) / (df + 0.5))
        half = self.k1 * (1 - self.b + self.b * self.length / self.length.mean())  # (n,) tf of half weight
        added = np.repeat(idf, np.diff(counts.indptr)) * counts.data / (counts.data + half[counts.indices])
        return sp.csc_matrix((added, counts.indices, counts.indptr), counts.shape)

    def search(self, query, depth=1000):
        """{docid: score > 0}, the `depth` best for text, words or {word: weight}; ties: docid descending."""
        query = Counter(self.analyse(query) if isinstance(query, str) else query)
        wanted = {self.ids[word]: weight for word, weight in query.items() if word in self.ids}
        scores = self.weights[:, list(wanted)] @ np.array(list(wanted.values()), np.float64)      # (n,)
        least = np.partition(scores, -depth)[-depth] if depth < len(scores) else 0.0
        candidates = np.flatnonzero((scores >= least) & (scores > 0))   # the best, ties of the last included
        order = candidates[np.argsort(-scores[candidates], kind="stable")][:depth]
        return {self.docids[i]: float(scores[i]) for i in order}

    def search_all(self, queries, depth=1000):
        """{qid: query} -> run {qid: {docid: score}}; a query without a match keeps an empty ranking."""
        return {qid: self.search(query, depth) for qid, query in queries.items()}

    def negatives(self, query, exclude, n):
        """The `n` best docids that are not in `exclude` (the relevant ones): hard negatives to train on."""
        return [docid for docid in self.search(query, n + len(exclude)) if docid not in exclude][:n]


def translations(word, table, cut=1.0, min_p=0.0, top=None, keep=0.0):
    """The translations of a word that are searched for, {translation: p}, p summing to 1.

    Args: top, how many at most; cut, likeliest until their p sum to it (Darwish and Oard 2003); min_p, the
    least p save the best; keep, p that the word stands for itself, as names do. Unknown words always do.
    """
    kept, mass = {}, 0.0
    for translation, p in sorted(table.get(word, {}).items(), key=lambda item: (-item[1], item[0]))[:top]:
        if kept and (mass >= cut - 1e-9 or p < min_p):
            break
        kept[translation], mass = p, mass + p
    kept = {translation: (1 - keep) * p / mass for translation, p in kept.items()}
    if keep or not kept:
        kept[word] = kept.get(word, 0.0) + (keep if kept else 1.0)
    return kept


def psq(index, queries, table, depth=1000, **choice):
    """Probabilistic structured queries (24): an English index, {qid: text} in another language."""
    tokens = {qid: words(query) for qid, query in queries.items()}
    chosen = {f: translations(f, table, **choice) for f in dict.fromkeys(itertools.chain(*tokens.values()))}
    entries = [(p, index.ids[word], column) for column, row in enumerate(chosen.values())
               for e, p in row.items() for word in index.analyse(e) if word in index.ids]
    p, e, f = zip(*entries) if entries else ((), (), ())
    probability = sp.csc_matrix((p, (e, f)), (len(index.ids), len(chosen)))     # forms with one stem: summed
    through = copy.copy(index)                                      # the same documents over the source words
    through.ids = {word: column for column, word in enumerate(chosen)}
    through.weights = index._weights(sp.csc_matrix(index.counts @ probability), index.df @ probability)
    return through.search_all(tokens, depth)


def bm25_lexicon(index, queries, table, depth=1000, top=1, **choice):
    """BM25 on lexical translation: each source word replaced by its `top` translations, weighted by p."""
    run = {}
    for qid, query in queries.items():
        weights, rows = Counter(), (translations(word, table, top=top, **choice) for word in words(query))
        for token, p in ((token, p) for row in rows for e, p in row.items() for token in index.analyse(e)):
            weights[token] += p
        run[qid] = index.search(weights, depth)
    return run


def interpolate(one, other, weight):
    """The run weight * one + (1 - weight) * other, scores by query from 0, the least or none, to 1, the best.

    >>> interpolate({"q": {"a": 3.0, "b": 1.0, "c": 2.0}}, {"q": {"b": 9.0, "d": 4.0}}, 0.5)
    {'q': {'a': 0.5, 'b': 0.5, 'c': 0.25, 'd': 0.0}}
    """
    def scaled(scores):
        low, high = min(scores.values(), default=0), max(scores.values(), default=0)
        return {docid: (score - low) / ((high - low) or 1) for docid, score in scores.items()}

    run = {}
    for qid in sorted(one.keys() | other.keys()):
        a, b = scaled(one.get(qid, {})), scaled(other.get(qid, {}))
        run[qid] = {d: weight * a.get(d, 0) + (1 - weight) * b.get(d, 0) for d in sorted({*a, *b})}
    return run


def known_items(pairs):
    """Sentence pairs [(English, source), ...] as known-item search: queries, documents, judgements."""
    place = {e: str(i) for i, e in enumerate(dict.fromkeys(e for e, _ in pairs))}
    return ({str(i): f for i, (_, f) in enumerate(pairs)}, {docid: e for e, docid in place.items()},
            {str(i): {place[e]: 1} for i, (e, _) in enumerate(pairs)})


METHODS = {"psq": psq, "bm25-lexicon": bm25_lexicon}
GRIDS = {"psq": {"keep": (0.0, 0.1, 0.3), "cut": (0.95, 0.8, 0.6), "min_p": (0.01, 0.05)},
         "bm25-lexicon": {"keep": (0.0, 0.1, 0.3), "top": (1, 2, 3, 5)}}


def tune(method, table, dev):
    """Parameters chosen on held-out bitext [(English, source), ...], where a source is to find its English.

    Returns [(mean reciprocal rank, {parameter: value}), ...], best first.
    """
    index = BM25({str(i): e for i, (e, _) in enumerate(dev)}, analyse=english)
    queries, tried = {str(i): f for i, (_, f) in enumerate(dev)}, []
    for values in itertools.product(*GRIDS[method].values()):
        choice = dict(zip(GRIDS[method], values))
        run = METHODS[method](index, queries, table, depth=100, **choice)
        reciprocal = [1 / (1 + list(run[qid]).index(qid)) for qid in queries if qid in run[qid]]
        tried.append((sum(reciprocal) / len(dev), choice))
    return sorted(tried, key=lambda entry: -entry[0])


class Model1:
    """t(target word | source word) by EM (22) from pairs [(source words, target words), ...], NULL included.

    Left out: pairs with a side that is empty or over `max_words`. block: pairs made into arrays at once.
    """

    def __init__(self, pairs, iterations=5, max_words=100, block=4096):
        used = [(f, e) for f, e in pairs if 0 < len(f) <= max_words and 0 < len(e) <= max_words]
        if not used:
            raise ValueError(f"none of {len(pairs)} pairs has 1 to {max_words} words a side; check them all")
        self.source = {w: i for i, w in enumerate(["", *sorted({w for f, _ in used for w in f})])}   # 0: NULL
        self.target = {w: i for i, w in enumerate(sorted({w for _, e in used for w in e}))}
        self.source_count = np.bincount([0] + [self.source[w] for f, _ in used for w in f])    # NULL once
        # One entry for each (occurrence of e, occurrence of f or NULL) of a pair. Entries of one occurrence
        # of e lie together: they share (22)'s denominator. Parameter t(e|f) has key f * target words + e.
        blocks = []
        for start in range(0, len(used), block):
            keys, sizes = [], []
            for f, e in used[start:start + block]:
                given = np.array([0] + [self.source[w] for w in f]) * len(self.target)
                keys.append(np.add.outer([self.target[w] for w in e], given).ravel())
                sizes += [len(given)] * len(e)
            unique, entry = np.unique(np.concatenate(keys), return_inverse=True)
            blocks.append((unique, entry.ravel().astype(np.int32), np.array(sizes)))
        self.keys = np.unique(np.concatenate([unique for unique, _, _ in blocks]))      # (parameters,) sorted
        blocks = [(np.searchsorted(self.keys, unique), entry, sizes) for unique, entry, sizes in blocks]
        given, self.t = self.keys // len(self.target), np.full(len(self.keys), 1.0 / len(self.target))
        for _ in range(iterations):
            counts = np.zeros_like(self.t)
            for where, entry, sizes in blocks:
                share = self.t[where][entry]
                share /= np.repeat(np.add.reduceat(share, np.cumsum(sizes) - sizes), sizes)
                counts[where] += np.bincount(entry, share, minlength=len(where))
            self.t = counts / np.bincount(given, counts)[given]

    def probability(self, source, target):
        """(target words, 1 + source words) array of t, column 0 for NULL; 0 where a word is unknown."""
        f = np.array([0] + [self.source.get(w, -1) for w in source])
        e = np.array([self.target.get(w, -1) for w in target], dtype=np.int64)
        keys = np.add.outer(e, f * len(self.target))                                    # (target, 1 + source)
        where = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where((self.keys[where] == keys) & (f >= 0) & (e >= 0)[:, None], self.t[where], 0.0)

    def best(self, source, target):
        """For each target word the position of its likeliest source word; -1 for NULL or unknown."""
        return (self.probability(source, target).argmax(axis=1) - 1).tolist()

    def lexicon(self, min_p=0.01):
        """{source word: {target word: t}}, t >= min_p and always the best; frequent words first."""
        sources, targets, table = list(self.source), list(self.target), {}
        given, e = np.divmod(self.keys, len(targets))
        order = np.lexsort((e, -self.t, given, -self.source_count[given]))
        for i in order[given[order] > 0].tolist():                                      # NULL is not listed
            row = table.setdefault(sources[given[i]], {})
            if self.t[i] >= min_p or not row:
                row[targets[e[i]]] = float(self.t[i])
        return table


def lexicon(pairs, iterations=5, min_p=0.01):
    """Lexicons ({source: {English: p}}, {English: {source: p}}) of pairs [(English, source), ...] by (23).

    Args: iterations (more fit rare words too closely); min_p, least p save the best.

    >>> list(lexicon([("the cat", "paka"), ("the dog", "mbwa"), ("the cat", "paka")])[0]["paka"])[0]
    'cat'
    """
    tokens = [(words(e), words(f)) for e, f in pairs]
    to_e = Model1([(f, e) for e, f in tokens], iterations).lexicon(min_p)
    to_f = Model1(tokens, iterations).lexicon(min_p)
    return _combined(to_e, to_f, min_p), _combined(to_f, to_e, min_p)


def _combined(table, reverse, min_p):
    """(23); a word whose translations all lack the way back keeps its own row."""
    combined = {}
    for f, row in table.items():
        p = {e: math.sqrt(t * reverse[e][f]) for e, t in row.items() if f in reverse.get(e, {})}
        total = sum(p.values())
        ranked = sorted(p.items(), key=lambda item: (-item[1], item[0]))
        combined[f] = {e: x / total for k, (e, x) in enumerate(ranked) if k == 0 or x >= min_p * total} or row
    return combined


def align(english_words, source_words, forward, backward=None):
    """Links [(i, j), ...], each English word i to its likeliest source word j by `forward`, Model1 of English
    given source; with `backward`, Model1 of source given English, only those both choose: fewer, surer.
    """
    links = {(i, j) for i, j in enumerate(forward.best(source_words, english_words)) if j >= 0}
    if backward is not None:
        links &= {(i, j) for j, i in enumerate(backward.best(english_words, source_words)) if i >= 0}
    return sorted(links)


def aer(links, sure, possible=None):
    """Alignment error rate (25) over a corpus: a list of links (i, j) a sentence; possible: default sure."""
    sets = [({*a}, {*s}, {*s, *p}) for a, s, p in zip(links, sure, possible or sure, strict=True)]
    total = sum(len(a) + len(s) for a, s, _ in sets)
    if not total:
        raise ValueError("aer of no links against no gold links; there is nothing to measure")
    return 1 - sum(len(a & s) + len(a & p) for a, s, p in sets) / total


def read_lexicon(path, limit=None):
    """Reads `word translation [probability]` lines, or with tabs, as {word: {translation: p}}, case-folded.

    limit: how many words from the top, the frequent ones. Without a third column words share 1 equally.
    """
    table = {}
    for number, line in (row for row in data.lines(path) if row[1].strip()):
        fields = [" ".join(_folded(field).split()) for field in line.split("\t" if "\t" in line else None)]
        try:
            p = float(fields[2]) if len(fields) == 3 else None
        except ValueError:
            p = math.nan
        if len(fields) not in (2, 3) or not all(fields) or not (p is None or 0 < p <= 1):
            raise ValueError(f"{path}:{number}: expected `word translation [probability in (0, 1]]`, found "
                             f"{line!r}; words with spaces stand between tabs")
        if fields[0] in table or limit is None or len(table) < limit:
            table.setdefault(fields[0], {})[fields[1]] = p
    if not table:
        raise ValueError(f"{path}: no entry; expected lines `word translation [probability]`")
    return {word: {e: p or 1 / len(row) for e, p in row.items()} for word, row in table.items()}


def code_switch(text, lexicons, p, rng):
    """Replaces words by dictionary translations with probability p (Litschko et al. 2023).

    Args: lexicons, of which one that knows the word is drawn uniformly, its translation by probability; p, of
    the words that some lexicon knows; rng with random(), as random.Random. All else stays, capitals too.
    N.B. three draws a word whatever p: with one seed, the words switched at p are switched at any larger p.

    >>> code_switch("A cat, a dog", [{"cat": {"paka": 1}}, {"dog": {"aja": 1}}], 1, np.random.default_rng(1))
    'A paka, a aja'
    """
    if not 0 <= p <= 1:
        raise ValueError(f"code_switch with p={p}; give a probability between 0 and 1")
    pieces = text.split()
    for k, piece in enumerate(pieces):
        switch, language, choice = rng.random(), rng.random(), rng.random()
        inside = [i for i, letter in enumerate(piece) if _WORD_CHARACTERS[ord(letter)] == ord(letter)]
        start, end = (inside[0], inside[-1] + 1) if inside else (0, 0)
        core = _folded(piece[start:end])
        knowing = [table[core] for table in lexicons if core in table]
        if knowing and switch < p:
            row = knowing[int(language * len(knowing))]
            reached = list(itertools.accumulate(row.values()))
            word = list(row)[bisect(reached, choice * reached[-1], hi=len(row) - 1)]
            word = word[0].upper() + word[1:] if piece[start].isupper() else word
            pieces[k] = piece[:start] + word + piece[end:]
    return " ".join(pieces)


def search(args, method):
    """A run of BM25, perhaps through a lexicon or on translated queries, for each test set."""
    root, manifest, indexes = Path(args.data), data.load_manifest(args.data), {}
    translated = method == "bm25" and args.translations
    method = "bm25-nmt" if translated else method
    for test in manifest["tests"]:
        name, lang = test["set"], test["lang"]
        path = Path(args.out, name, f"{method}.s{args.seed_tag}.trec")
        if path.exists():
            print(f"{path}: there already, kept")
            continue
        docs = manifest["docs"][test["docs"]]
        if docs not in indexes:
            indexes[docs] = BM25(data.read_tsv(root / docs), analyse=english)
        queries = data.read_tsv(Path(translated, f"{lang}-en", f"test.{name}.tsv") if translated else
                                root / test["queries"])
        if method in METHODS:
            table = read_lexicon(Path(args.lexicon, f"{lang}-en.txt"))
            mrr, choice = tune(method, table, data.read_bitext(root / data.language(root, lang)["dev"]))[0]
            print(f"{name}: {choice}, dev bitext reciprocal rank {mrr:.4f}")
            run = METHODS[method](indexes[docs], queries, table, **choice)
        else:
            run = indexes[docs].search_all(queries)
        evaluate.write_run(path, run, method)
        print(f"{path}: {len(run)} queries, {sum(not found for found in run.values())} without a match")


def hybrid(args):
    """Runs of students `ours`, interpolated with structured queries.

    One weight for all languages: with it held-out sentences find their English side best.
    """
    root, manifest, scores = Path(args.data), data.load_manifest(args.data), {}
    for lang in sorted({test["lang"] for test in manifest["tests"]}):
        dev = data.read_bitext(root / data.language(root, lang)["dev"])
        table, (asked, docs, qrels) = read_lexicon(Path(args.lexicon, f"{lang}-en.txt")), known_items(dev)
        lexical = psq(BM25(docs), asked, table, depth=100, **tune("psq", table, dev)[0][1])
        neural = evaluate.read_run(Path(args.students, lang, "ours", "dev.trec"))
        for weight in (tenths / 10 for tenths in range(11)):
            mixed = interpolate(neural, lexical, weight)
            scores.setdefault(weight, []).append(evaluate.summary(qrels, mixed)["map"])
    best = max(scores, key=lambda weight: sum(scores[weight]))
    print(f"weight of ours: {best}; dev MAP by weight: " + ", ".join(
        f"{weight} {sum(own) / len(own):.4f}" for weight, own in scores.items()))
    for test in manifest["tests"]:
        neural, lexical = (evaluate.read_run(Path(args.out, test["set"], f"{name}.trec"))
                           for name in (f"ours.s{args.seed_tag}", "psq.s1"))
        tag, run = f"hybrid.s{args.seed_tag}", interpolate(neural, lexical, best)
        evaluate.write_run(Path(args.out, test["set"], f"{tag}.trec"), run, tag)


def learn(args):
    """IBM Model 1 lexicons, both ways, from the training bitext."""
    for lang in data.load_manifest(args.data)["langs"]:
        entry, path = data.language(args.data, lang), Path(args.out, f"{lang}-en.txt")
        if path.exists():                                       # written last: both directions are there
            print(f"{path}: there already, kept")
            continue
        pairs = data.read_bitext(Path(args.data, entry["train"]))[:max(0, args.pairs or entry["pairs"])]
        to_english, to_source = lexicon(pairs)
        for file, table in (path.with_name(f"en-{lang}.txt"), to_source), (path, to_english):
            rows = (f"{word}\t{e}\t{p!r}\n" for word, row in table.items() for e, p in row.items())
            evaluate.write_text(file, "".join(rows))
        print(f"{path}: {len(to_english)} words from {len(pairs)} pairs")


def main(argv=None):
    runs = {method: partial(search, method=method) for method in ("bm25", *METHODS)}
    args = parser_of("baselines", __doc__, runs | {"lexicon": learn, "hybrid": hybrid}).parse_args(argv)
    return status_of(args.run, args)


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""What OPTICAL is compared with: BM25, IBM Model 1, lexical query translation, code-switching.

For anyone who needs a strong cross-lingual baseline without a neural network: an exact BM25 over a sparse
matrix, a translation lexicon learned from sentence pairs, and the two classical ways to search through it.
Needs: numpy, scipy. Imports nothing else of this repository. Check a copy: `python -m doctest baselines.py`.

(1) BM25 (Robertson et al. 1994) as Lucene has had it since version 8, without the factor k1 + 1, which
    leaves the order as it is:
        score(q, d) = sum_w q(w) idf(w) tf(w, d) / (tf(w, d) + k1 (1 - b + b |d| / avg|d|))
        idf(w) = ln(1 + (n - df(w) + 0.5) / (df(w) + 0.5))
    N.B. |d| is exact here; Lucene rounds it to one byte. k1 = 0.9, b = 0.4 are Anserini's defaults, those of
    most published baselines on passages; Lucene's own are 1.2, 0.75.
(2) IBM Model 1 (Brown et al. 1993): t(e|f), the probability that source word f, or NULL, gives target word e.
    EM repeats, from a uniform t, with the sum over sentence pairs and the occurrences of e and f in them,
        c(e, f) = sum t(e|f) / sum_{f' in NULL + source sentence} t(e|f')
        t(e|f) = c(e, f) / sum_e' c(e', f)
(3) Both directions in one lexicon: p(e|f) proportional to sqrt(t(e|f) t(f|e)). Rare words collect
    translations in one direction that the other direction refuses.
(4) Probabilistic structured queries (Darwish and Oard 2003): (1) with a source word's expected counts,
        tf(f, d) = sum_e p(e|f) tf(e, d)        df(f) = sum_e p(e|f) df(e)
(5) Alignment error rate (Och and Ney 2003), links A against sure links S and possible ones P (S within P):
        AER = 1 - (|A & S| + |A & P|) / (|A| + |S|)

Analysis, all of it. Every language: NFC and case folding; words are runs of letters, combining marks and
digits (Devanagari vowel signs stay inside, an apostrophe or a hyphen separates). English documents and
English words under `analysis="english"`: also the plural's -s is taken off (after Harman 1991). No stop
list and no other stemmer: idf (1) weighs function words down.

Letters: n documents, w a word, q a query, d a document, e an English or target word, f a source word.
A lexicon is {word: {translation: probability}}.
"""
import argparse
import copy
import itertools
import json
import math
import os
import random
import sys
import unicodedata
from array import array
from bisect import bisect_right
from collections import Counter

import numpy as np
import scipy.sparse as sp


# ---- words -------------------------------------------------------------------------------------------------

class _WordCharacters(dict):
    """For str.translate: letters, marks, digits stay, joiners and soft hyphens go, else a space."""

    def __missing__(self, code):
        keep = unicodedata.category(chr(code))[0] in "LMN"
        self[code] = code if keep else None if code in (0xAD, 0x200C, 0x200D, 0x2060) else 0x20
        return self[code]


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
    """`words`, then the plural's -s off each word (after Harman 1991).

    >>> english("The Cities' buses, this class of horses")
    ['the', 'city', 'buse', 'this', 'class', 'of', 'horse']
    """
    return [_singular(word) for word in words(text)]


def _singular(word):
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("us", "ss", "is")):  # -is is ours: this
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    return word[:-1]


ANALYSES = {"words": words, "english": english}


def indexed_words(text):
    """One word for each piece of `text.split()`: positions are those of the collection's alignment links.

    >>> indexed_words("Dar-es-Salaam , 1964.")
    ['daressalaam', ',', '1964']
    """
    return ["".join(words(piece)) or piece for piece in text.split()]


# ---- BM25 --------------------------------------------------------------------------------------------------

class BM25:
    """Exact BM25 (1) over a documents x words sparse matrix.

    Args: docs {docid: text}; k1 >= 0, how slowly repeats of a word saturate; b in [0, 1], how much long
    documents pay; analyse: text -> words, for documents and for queries given as text.
    Raises: ValueError if there is no document, or no word in any.

    >>> run = BM25({"d1": "a cat", "d2": "a dog"}).search("cat")          # tf 1, idf ln 2, |d| = avg|d|
    >>> run["d1"] == math.log(2) / (1 + 0.9), len(run)
    (True, 1)
    """

    def __init__(self, docs, k1=0.9, b=0.4, analyse=words):
        if not k1 >= 0 or not 0 <= b <= 1:
            raise ValueError(f"BM25 needs k1 >= 0 and 0 <= b <= 1, got k1={k1} b={b}")
        self.k1, self.b, self.analyse = k1, b, analyse
        self.docids = sorted(docs, reverse=True)  # a stable sort by score leaves ties docid descending
        self.ids, indices, tf, ends = {}, array("i"), array("d"), array("q", [0])
        for docid in self.docids:
            counts = Counter(analyse(docs[docid]))
            indices.extend(self.ids.setdefault(word, len(self.ids)) for word in counts)
            tf.extend(counts.values())
            ends.append(len(indices))
        if not indices:
            raise ValueError(f"BM25: {len(docs)} documents without a word; give at least one with text")
        parts = (np.frombuffer(tf), np.frombuffer(indices, np.int32), np.frombuffer(ends, np.int64))
        self.counts = sp.csr_matrix(parts, shape=(len(self.docids), len(self.ids))).tocsc()   # tf(w, d)
        self.length = np.asarray(self.counts.sum(axis=1)).ravel()                         # (n,)
        self._weigh(np.diff(self.counts.indptr).astype(np.float64))

    def _weigh(self, df):
        """Fills self.weights, (n, words): what a word in the query adds to a document's score (1)."""
        self.df = df                                                                    # (words,)
        idf = np.log1p((len(self.docids) - df + 0.5) / (df + 0.5))
        saturation = self.k1 * (1 - self.b + self.b * self.length / self.length.mean())   # (n,)
        self.weights = self.counts.copy()
        column = np.repeat(np.arange(self.counts.shape[1]), np.diff(self.counts.indptr))
        tf = self.counts.data
        self.weights.data = idf[column] * tf / (tf + saturation[self.counts.indices])

    def search(self, query, depth=1000):
        """The best documents for a query given as text, list of words or {word: weight}.

        Returns {docid: score}, at most `depth`, score > 0, in order: score descending, then docid descending.
        """
        if depth < 1:
            raise ValueError(f"depth is {depth}; ask for at least 1 document")
        if not isinstance(query, dict):
            query = Counter(self.analyse(query) if isinstance(query, str) else query)
        wanted = {self.ids[word]: weight for word, weight in query.items() if word in self.ids}
        if not wanted:
            return {}
        scores = self.weights[:, list(wanted)] @ np.array(list(wanted.values()), dtype=np.float64)     # (n,)
        least = np.partition(scores, -depth)[-depth] if depth < len(scores) else 0.0
        candidates = np.flatnonzero((scores >= least) & (scores > 0))   # the best, ties of the last included
        order = candidates[np.argsort(-scores[candidates], kind="stable")][:depth]
        return {self.docids[i]: float(scores[i]) for i in order}

    def search_all(self, queries, depth=1000):
        """{qid: query} -> run {qid: {docid: score}}; a query without a match keeps an empty ranking."""
        return {qid: self.search(query, depth) for qid, query in queries.items()}

    def negatives(self, query, exclude, n):
        """The `n` best docids that are not in `exclude` (the relevant ones): hard negatives to train on.

        >>> BM25({"d1": "a cat", "d2": "cat cat", "d3": "a dog"}).negatives("cat", {"d2"}, n=5)
        ['d1']
        """
        exclude = set(exclude)
        return [docid for docid in self.search(query, n + len(exclude)) if docid not in exclude][:n]

    def through(self, table):
        """These documents as an index over source words, through a table {source: {English: p}} (4)."""
        rows, cols, values = [], [], []
        for col, row in enumerate(table.values()):
            for translation, p in row.items():
                for word in self.analyse(translation):
                    if word in self.ids:
                        rows.append(self.ids[word])
                        cols.append(col)
                        values.append(p)
        shape = (len(self.ids), len(table))
        probability = sp.csc_matrix((values, (rows, cols)), shape=shape)    # forms with one stem are summed
        other = copy.copy(self)
        other.ids, other.analyse = {word: col for col, word in enumerate(table)}, words
        other.counts = sp.csc_matrix(self.counts @ probability)
        other._weigh(np.asarray(self.df @ probability).ravel())
        return other


# ---- IBM Model 1 -------------------------------------------------------------------------------------------

class Model1:
    """t(target word | source word) learned from sentence pairs by EM (2), with a NULL source word.

    Args: pairs [(source words, target words), ...]; iterations of EM, >= 1; max_words: a pair with a longer
    side is left out (cost grows with the product of the lengths), as is one with an empty side; .skipped
    counts both; block: pairs made into arrays at once, for memory only.
    Raises: ValueError if no pair is left.
    """

    def __init__(self, pairs, iterations=5, max_words=100, block=4096):
        if iterations < 1:
            raise ValueError(f"IBM Model 1 with iterations={iterations}; give at least 1")
        used = [(f, e) for f, e in pairs if 0 < len(f) <= max_words and 0 < len(e) <= max_words]
        if not used:
            few = f"none of {len(pairs)} sentence pairs has 1 to {max_words} words a side"
            raise ValueError(f"IBM Model 1: {few}; check the bitext")
        self.skipped = len(pairs) - len(used)
        self.source_words = [""] + sorted({w for f, _ in used for w in f})             # 0 is NULL
        self.target_words = sorted({w for _, e in used for w in e})
        self.source = {w: i for i, w in enumerate(self.source_words)}
        self.target = {w: i for i, w in enumerate(self.target_words)}
        occurrences = [self.source[w] for f, _ in used for w in f]
        self.source_count = np.bincount(occurrences, minlength=len(self.source))
        # One entry for each (occurrence of e, occurrence of f or NULL) of a pair. Entries of one occurrence
        # of e lie together: they share the denominator of (2). Parameter t(e|f) has key f * target words + e.
        blocks = []
        for start in range(0, len(used), block):
            keys, sizes = [], []
            for f, e in used[start:start + block]:
                given = np.array([0] + [self.source[w] for w in f]) * len(self.target)
                keys.append(np.add.outer([self.target[w] for w in e], given).ravel())
                sizes += [len(given)] * len(e)
            unique, entry = np.unique(np.concatenate(keys), return_inverse=True)
            blocks.append((unique, entry.ravel().astype(np.int32), np.array(sizes)))
        self.keys = np.unique(np.concatenate([unique for unique, _, _ in blocks]))     # (parameters,) sorted
        blocks = [(np.searchsorted(self.keys, unique), entry, sizes) for unique, entry, sizes in blocks]
        given = self.keys // len(self.target)
        self.t = np.full(len(self.keys), 1.0 / len(self.target))
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
        p = self.probability(source, target)
        return np.where(p.max(axis=1) > 0, p.argmax(axis=1) - 1, -1).tolist()

    def lexicon(self, min_p=0.01):
        """{source word: {target word: t}}, t >= min_p and always the best; frequent words first."""
        given, e = np.divmod(self.keys, len(self.target))
        order = np.lexsort((e, -self.t, given, -self.source_count[given]))
        table = {}
        for i in order[given[order] > 0].tolist():                                      # NULL is not listed
            row = table.setdefault(self.source_words[given[i]], {})
            if self.t[i] >= min_p or not row:
                row[self.target_words[e[i]]] = float(self.t[i])
        return table


def lexicon(pairs, iterations=5, min_p=0.01, both=True):
    """A lexicon each way from sentence pairs [(English, source), ...], by IBM Model 1 (2).

    Args: iterations of EM (5: more fits rare words too closely); min_p, least probability kept, the best
    always is; both: combine the directions (3), otherwise each is plain t.
    Returns ({source word: {English word: p}}, {English word: {source word: p}}).

    >>> pairs = [("the cat", "paka"), ("the dog", "mbwa"), ("the cat and the dog", "paka na mbwa")]
    >>> to_english, to_source = lexicon(pairs)
    >>> [max(to_english[word], key=to_english[word].get) for word in ("paka", "mbwa")]
    ['cat', 'dog']
    """
    tokens = [(words(e), words(f)) for e, f in pairs]
    to_english = Model1([(f, e) for e, f in tokens], iterations).lexicon(min_p)
    to_source = Model1(tokens, iterations).lexicon(min_p)
    if not both:
        return to_english, to_source
    return _combined(to_english, to_source, min_p), _combined(to_source, to_english, min_p)


def _combined(table, reverse, min_p):
    """(3); a word whose translations all lack the way back keeps its own row."""
    combined = {}
    for f, row in table.items():
        p = {e: math.sqrt(t * reverse[e][f]) for e, t in row.items() if f in reverse.get(e, {})}
        total = sum(p.values())
        ranked = sorted(p.items(), key=lambda item: (-item[1], item[0]))
        combined[f] = {e: x / total for k, (e, x) in enumerate(ranked) if k == 0 or x >= min_p * total} or row
    return combined


def align(english_words, source_words, forward, backward=None):
    """Word links [(i, j), ...] of one sentence pair, i in the English words and j in the source words.

    `forward`, Model1 of English given source, links each English word to its likeliest source word; with
    `backward`, Model1 of source given English, only links both choose are kept (intersection: fewer, surer).
    """
    links = {(i, j) for i, j in enumerate(forward.best(source_words, english_words)) if j >= 0}
    if backward is not None:
        links &= {(i, j) for j, i in enumerate(backward.best(english_words, source_words)) if i >= 0}
    return sorted(links)


def aer(links, sure, possible=None):
    """Alignment error rate (5) over a corpus: a list of links (i, j) a sentence; possible is sure if None.

    >>> aer([[(0, 0), (1, 1)]], [[(0, 0), (1, 2)]])
    0.5
    """
    possible = sure if possible is None else possible
    if not len(links) == len(sure) == len(possible):
        counts = f"{len(links)}, {len(sure)}, {len(possible)}"
        raise ValueError(f"aer: {counts} sentences for links, sure, possible; give each one list a sentence")
    hits = total = 0
    for a, s, p in zip(map(set, links), map(set, sure), map(set, possible)):
        hits += len(a & s) + len(a & (p | s))
        total += len(a) + len(s)
    if not total:
        raise ValueError("aer of no links against no gold links; there is nothing to measure")
    return 1 - hits / total


def write_lexicon(path, table):
    """Writes a MUSE-style dictionary with a third column: `word translation probability` a line."""
    _write(path, (f"{word}\t{translation}\t{p!r}\n"
                  for word, row in table.items() for translation, p in row.items()))


def read_lexicon(path, limit=None):
    """Reads `word translation [probability]` lines, split at tabs if any (words may then hold spaces).

    Args: limit, how many different words to read from the top (dictionaries list frequent ones first).
    Returns {word: {translation: p}}, case-folded; without a third column the translations share 1 equally.
    """
    table, given = {}, set()
    for where, line in _lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        fields = [" ".join(_folded(field).split()) for field in fields]
        if len(fields) not in (2, 3) or not all(fields):
            raise ValueError(f"{where}: expected `word translation [probability]`, found {line!r}; use tabs")
        if fields[0] not in table and limit is not None and len(table) >= limit:
            continue
        try:
            p = float(fields[2]) if len(fields) == 3 else None
        except ValueError:
            p = math.nan
        if p is not None and not 0 < p <= 1:
            raise ValueError(f"{where}: {fields[2]!r} is no probability in (0, 1]; correct or omit it")
        given.add(p is not None)
        table.setdefault(fields[0], {})[fields[1]] = p
    if len(given) != 1:
        problem = "some lines have a probability and some have none" if given else "no entry"
        raise ValueError(f"{path}: {problem}; give `word translation` on every line, or a probability too")
    return table if True in given else {word: dict.fromkeys(row, 1 / len(row)) for word, row in table.items()}


# ---- translating and mixing --------------------------------------------------------------------------------

def translations(word, table, cut=1.0, min_p=0.0, top=None, keep=0.0):
    """The translations of a word that are searched for, {translation: p}, p summing to 1.

    Args: top, how many at most; cut in (0, 1]: the likeliest are taken until their probabilities sum to it
    (the cumulative probability of Darwish and Oard 2003); min_p: less likely ones are dropped, except the
    best; keep in [0, 1]: probability that the word stands for itself, as names and numbers do. A word that
    the table lacks always stands for itself.

    >>> translations("benki", {"benki": {"bank": 0.5, "banks": 0.25, "the": 0.25}}, top=2, keep=0.25)
    {'bank': 0.5, 'banks': 0.25, 'benki': 0.25}
    """
    if not (0 < cut <= 1 and 0 <= min_p <= 1 and 0 <= keep <= 1 and (top is None or top >= 1)):
        options = f"cut={cut} min_p={min_p} top={top} keep={keep}"
        raise ValueError(f"translations: {options}; cut in (0, 1], min_p, keep in [0, 1], top at least 1")
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
    """Probabilistic structured queries (4): a run of source-language queries {qid: text} on an English index.

    `choice` goes to `translations`.
    """
    tokens = {qid: words(query) for qid, query in queries.items()}
    vocabulary = dict.fromkeys(itertools.chain.from_iterable(tokens.values()))
    through = index.through({word: translations(word, table, **choice) for word in vocabulary})
    return through.search_all(tokens, depth)


def bm25_lexicon(index, queries, table, depth=1000, top=1, **choice):
    """BM25 on lexical translation: each source word replaced by its `top` translations, weighted by p."""
    run = {}
    for qid, query in queries.items():
        weights = {}
        for word in words(query):
            for translation, p in translations(word, table, top=top, **choice).items():
                for token in index.analyse(translation):
                    weights[token] = weights.get(token, 0.0) + p
        run[qid] = index.search(weights, depth)
    return run


METHODS = {"psq": psq, "bm25-lexicon": bm25_lexicon}
GRIDS = {"psq": {"keep": (0.0, 0.1, 0.3), "cut": (0.95, 0.8, 0.6), "min_p": (0.01, 0.05)},
         "bm25-lexicon": {"keep": (0.0, 0.1, 0.3), "top": (1, 2, 3, 5)}}


def tune(method, table, dev, analyse=english, k1=0.9, b=0.4, given=None):
    """Chooses a method's parameters on held-out bitext: source sentence -> its English side among all.

    Args: dev [(English, source), ...]; given {parameter: value}, not to be chosen.
    Returns [(mean reciprocal rank, choice), ...], best first; of equal ones the first in GRIDS.
    """
    if not dev:
        raise ValueError(f"no sentence pair to choose the parameters of {method} on; give a dev bitext")
    index = BM25({str(i): e for i, (e, _) in enumerate(dev)}, k1, b, analyse)
    queries, tried = {str(i): f for i, (_, f) in enumerate(dev)}, []
    grid = {**GRIDS[method], **{name: (value,) for name, value in (given or {}).items()}}
    for values in itertools.product(*grid.values()):
        choice = dict(zip(grid, values))
        run = METHODS[method](index, queries, table, depth=100, **choice)
        reciprocal = [1 / (1 + list(run[qid]).index(qid)) for qid in queries if qid in run[qid]]
        tried.append((sum(reciprocal) / len(dev), choice))
    return sorted(tried, key=lambda entry: -entry[0])


def code_switch(text, lexicons, p, rng):
    """Replaces words by dictionary translations with probability p (Litschko et al. 2023).

    Args: lexicons, a list of {word: {translation: probability}}: one is bilingual; several are multilingual,
    the language drawn uniformly among those that know the word, the translation by its probability. p: the
    share of the words that some lexicon knows. rng: random.Random. Unknown words, the punctuation around a
    word and a capital at its start stay; white space becomes one space.
    N.B. three draws a word whatever p: with one seed, the words switched at p are switched at any larger p.

    >>> code_switch("The cat, a dog.", [{"cat": {"paka": 1.0}}, {"dog": {"aja": 1.0}}], 1.0, random.Random(1))
    'The paka, a aja.'
    """
    if not 0 <= p <= 1:
        raise ValueError(f"code_switch with p={p}; give a probability between 0 and 1")
    switched = []
    for piece in text.split():
        switch, language, choice = rng.random(), rng.random(), rng.random()
        inside = [i for i, letter in enumerate(piece) if _WORD_CHARACTERS[ord(letter)] == ord(letter)]
        start, end = (inside[0], inside[-1] + 1) if inside else (0, 0)
        core = _folded(piece[start:end])
        knowing = [table[core] for table in lexicons if core in table]
        if knowing and switch < p:
            row = knowing[int(language * len(knowing))]
            reached = list(itertools.accumulate(row.values()))
            word = list(row)[min(bisect_right(reached, choice * reached[-1]), len(row) - 1)]
            word = word[0].upper() + word[1:] if piece[start].isupper() else word
            piece = piece[:start] + word + piece[end:]
        switched.append(piece)
    return " ".join(switched)


# ---- files and commands ------------------------------------------------------------------------------------

def _lines(path):
    """Yields ("file:line", text) of a UTF-8 file, NFC, without empty lines."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = unicodedata.normalize("NFC", line.decode("utf-8")).rstrip("\r\n")
            except UnicodeDecodeError as error:
                byte = f"byte {error.object[error.start]:#04x}"
                raise ValueError(f"{path}:{number}: {byte} is not UTF-8; convert the file") from None
            if text.strip():
                yield f"{path}:{number}", text


def _pairs(path):
    """The two columns of a tab-separated file."""
    for where, line in _lines(path):
        fields = line.split("\t")
        if len(fields) != 2:
            raise ValueError(f"{where}: expected two fields separated by one tab, found {line[:80]!r}")
        yield where, fields


def read_texts(path):
    """{id: text} of an `id<TAB>text` file."""
    texts = {}
    for where, (key, text) in _pairs(path):
        if key in texts:
            raise ValueError(f"{where}: id {key!r} occurs twice; ids must be unique")
        texts[key] = text
    if not texts:
        raise ValueError(f"{path}: no line; expected `id<TAB>text`")
    return texts


def _write(path, lines):
    """Writes a file whole or not at all."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def write_run(path, run, tag):
    """Writes `qid Q0 docid rank score tag` lines, atomically; scores by repr, so that no digit is lost."""
    ordered = {qid: sorted(sorted(ranking, reverse=True), key=lambda docid: -ranking[docid])
               for qid, ranking in run.items()}                      # stable: score, docid descending
    _write(path, (f"{qid} Q0 {docid} {rank} {run[qid][docid]!r} {tag}\n"
                  for qid, docids in ordered.items() for rank, docid in enumerate(docids, 1)))


def _manifest(args, kind, asked):
    """DATA/collection.json, and of its tests or languages those asked for (all by default)."""
    path = os.path.join(args.data, "collection.json")
    if not os.path.exists(path):
        raise ValueError(f"{path} is not there; prepare the collection first, --data is its folder")
    try:
        manifest = json.loads("\n".join(line for _, line in _lines(path)))
        known = list(manifest["langs"]) if kind == "langs" else [test["set"] for test in manifest["tests"]]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        problem = f"not a collection manifest ({type(error).__name__}: {error})"
        raise ValueError(f"{path}: {problem}; prepare the collection again") from None
    for name in asked or []:
        if name not in known:
            raise ValueError(f"--{kind} {name!r} is not in {path}; choose among: {' '.join(known)}")
    return manifest, list(asked or known)


def _search_command(args):
    """Commands bm25, bm25-lexicon, psq: a run for each test set; documents are indexed once a collection."""
    manifest, sets = _manifest(args, "sets", args.sets)
    analyse, indexes = ANALYSES[args.analysis], {}
    for test in (test for test in manifest["tests"] if test["set"] in sets):
        method = "bm25-nmt" if args.command == "bm25" and args.translations else args.command
        path = os.path.join(args.out, test["set"], f"{method}.s{args.seed_tag}.trec")
        if os.path.exists(path):
            print(f"{path}: there already, kept")
            continue
        if test["docs"] not in indexes:
            docs = read_texts(os.path.join(args.data, manifest["docs"][test["docs"]]))
            indexes[test["docs"]] = BM25(docs, args.k1, args.b, analyse)
        index, queries = indexes[test["docs"]], read_texts(os.path.join(args.data, test["queries"]))
        if args.command == "bm25" and args.translations:
            translated = os.path.join(args.translations, f"{test['lang']}-en", f"test.{test['set']}.tsv")
            if not os.path.exists(translated):
                raise ValueError(f"set {test['set']}: no {translated} to search with; first nmt.py train")
            queries = read_texts(translated)
        if args.command == "bm25":
            run, note = index.search_all(queries, args.depth), ""
        else:
            lexicon_path = os.path.join(args.lexicon, f"{test['lang']}-en.txt")
            if test["lang"] not in manifest["langs"]:
                raise ValueError(f"set {test['set']}: the collection has no bitext; leave the set out")
            if not os.path.exists(lexicon_path):
                fix = f"first `baselines.py lexicon --langs {test['lang']}`"
                raise ValueError(f"set {test['set']}: no {lexicon_path} to translate with; {fix}")
            table = read_lexicon(lexicon_path)
            dev = os.path.join(args.data, manifest["langs"][test["lang"]]["dev"])
            dev = [pair for _, pair in _pairs(dev)]
            given = {name: getattr(args, name) for name in GRIDS[args.command]}
            given = {name: value for name, value in given.items() if value is not None}
            mrr, choice = tune(args.command, table, dev, analyse, args.k1, args.b, given)[0]
            settings = " ".join(f"{name}={value}" for name, value in choice.items())
            note = f"; {settings}, dev bitext reciprocal rank {mrr:.4f}"
            run = METHODS[args.command](index, queries, table, args.depth, **choice)
        write_run(path, run, method)
        unmatched = sum(not ranking for ranking in run.values())
        print(f"{path}: {len(queries)} queries, {unmatched} without a match{note}")


def _lexicon_command(args):
    """Command lexicon: IBM Model 1 both ways from the training bitext."""
    manifest, langs = _manifest(args, "langs", args.langs)
    for lang in langs:
        paths = [os.path.join(args.out, name) for name in (f"en-{lang}.txt", f"{lang}-en.txt")]
        if all(map(os.path.exists, paths)):
            print(f"{paths[1]}: there already, kept")
            continue
        limit = manifest["langs"][lang]["pairs"] if args.pairs is None else args.pairs
        if limit < 1:
            raise ValueError(f"--pairs {limit}: a lexicon needs at least 1 sentence pair")
        bitext = os.path.join(args.data, manifest["langs"][lang]["train"])
        pairs = [pair for _, pair in itertools.islice(_pairs(bitext), limit)]
        if not pairs:
            raise ValueError(f"{bitext}: no sentence pair; expected `english<TAB>source` lines")
        to_english, to_source = lexicon(pairs, args.iterations, args.min_p, args.both)
        write_lexicon(paths[0], to_source)
        write_lexicon(paths[1], to_english)
        entries = sum(map(len, to_english.values()))
        print(f"{paths[1]}: {len(to_english)} words, {entries} translations from {len(pairs)} pairs")


def main(argv=None):
    parser = argparse.ArgumentParser(description="Baselines for cross-lingual retrieval.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("bm25", "search with the query as it is"),
                       ("bm25-lexicon", "translate each query word by a lexicon, then BM25"),
                       ("psq", "probabilistic structured queries through a lexicon")):
        sub = commands.add_parser(name, help=text, allow_abbrev=False)
        sub.add_argument("--data", required=True, help="folder with collection.json")
        sub.add_argument("--sets", nargs="+", help="test sets (all of them)")
        sub.add_argument("--out", required=True, help="folder for SET/METHOD.sN.trec; if there, kept")
        sub.add_argument("--depth", type=int, default=1000, help="documents a query (1000)")
        sub.add_argument("--k1", type=float, default=0.9, help="saturation of repeats, >= 0 (0.9)")
        sub.add_argument("--b", type=float, default=0.4, help="length normalisation, 0 to 1 (0.4)")
        sub.add_argument("--analysis", choices=sorted(ANALYSES), default="english", help="(english)")
        sub.add_argument("--seed-tag", type=int, default=1, help="N in the run's name; no chance here (1)")
        if name == "bm25":
            sub.add_argument("--translations", help="folder of translated queries, by nmt.py (as they are)")
            continue
        chosen = "(chosen on the dev bitext)"
        sub.add_argument("--lexicon", required=True, help="folder with LANG-en.txt, by `lexicon` or your own")
        sub.add_argument("--keep", type=float, help=f"probability that a word stands for itself {chosen}")
        if name == "psq":
            sub.add_argument("--cut", type=float, help=f"cumulative probability of the translations {chosen}")
            sub.add_argument("--min-p", type=float, help=f"least probability of a translation {chosen}")
        else:
            sub.add_argument("--top", type=int, help=f"translations a word, weighted by probability {chosen}")
    sub = commands.add_parser("lexicon", help="IBM Model 1 from the bitext, both ways", allow_abbrev=False)
    sub.add_argument("--data", required=True, help="folder with collection.json")
    sub.add_argument("--langs", nargs="+", help="languages (all of them)")
    sub.add_argument("--out", required=True, help="folder for LANG-en.txt and en-LANG.txt; if there, kept")
    sub.add_argument("--pairs", type=int, help="pairs from the top of the bitext (the manifest's number)")
    sub.add_argument("--iterations", type=int, default=5, help="of EM (5; 10 fits rare words too closely)")
    sub.add_argument("--min-p", type=float, default=0.01, help="least probability, the best stays (0.01)")
    sub.add_argument("--both", action=argparse.BooleanOptionalAction, default=True,
                     help="geometric mean of both directions; off: plain Model 1, for study (on)")
    args = parser.parse_args(argv)
    try:
        (_lexicon_command if args.command == "lexicon" else _search_command)(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

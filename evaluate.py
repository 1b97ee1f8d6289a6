# SPDX-License-Identifier: MIT
"""Evaluation of ranked retrieval as trec_eval 10.0 does it: files, measures, significance.

Needs: numpy, scipy; only the commands of an experiment need report.py. Copy this one file (rename it where
you use Hugging Face's `evaluate`, which it would hide). Check a copy: `python -m doctest evaluate.py`.

>>> evaluate({"q1": {"a": 1, "b": 2}}, {"q1": {"a": 3.0, "x": 2.5, "b": 1.0}}, ["map", "P_2"])
{'map': {'q1': 0.8333333333333333}, 'P_2': {'q1': 0.5}}

In a shell `python evaluate.py trec [-qcnJ] [-l N] [-M N] [-N N] [--float32] [-m MEASURE]... QRELS RUN` prints
the text of trec_eval 10.0 byte for byte: nicknames official, set and all_trec less rbp, rbp_resid, G,
Rndcg and ndcg_rel; the prefs and jg formats and -Z are left out too. The rank column is not read.

Letters: T topics; in a topic R relevant documents in the qrels (grade >= level), n retrieved, k the relevant
ones down to rank r. Measures need only where the *pooled* documents (those in the qrels) stand, so a run is
reduced, block by block, to (topic, rank, grade) of these.
  (1) AP = 1/R sum over retrieved relevant documents of k / r
  (2) rank: place by score descending, then docid descending in byte order; cut at -M; then closed up by -J
  (3) DCG = sum of gain / log2(r + 1); ndcg = DCG / the largest possible one
  (4) interpolated precision at recall x = max of k / r over k >= round(x R)

Where this differs from trec_eval 10.0, on purpose:
  1. A score that is no number, or a grade without a leading integer, is an error with file:line (there: 0).
  2. Without -c a judged topic that the run lacks is left out, with a note (there: exit 4).
  3. No common topic is exit 7 whatever the run holds. Topics with negative grades only, -M 0, and a -J that
     leaves nothing score 0 (there: exit 4, or nan).
  4. num_rel counts grades >= level with -c too (there: > 0). A missing topic scores 0 and '' also where
     utility or relstring have parameters.
  5. Lines that start with '#' may stand anywhere in both files; pipes and .gz are read.
  6. ndcg's gains that differ by less than 1, and 11pt_avg's points in any order, are put in order; a level
     above every grade is safe.
"""
import argparse
import gzip
import hashlib
import math
import os
import re
import sys
import zlib
from typing import NamedTuple

import numpy as np
from scipy import special

VERSION = 1        # of the scores, part of every signature: raised when a number could change
BLOCK = 1 << 19    # bytes of a file read at a time: fits the cache
LONGEST = 4096     # bytes from the first to the last field of a line: one longer is no run or qrels
REPORT = ("score", "tables", "expect", "check")    # commands of report.py, which a copy does without


class TrecError(ValueError):
    """An error with trec_eval's exit status: 1 usage or measure, 2 input, 4 evaluation, 7 no common topic."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


# ---- files: bytes in, columns out ----

def _bytes(name):
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")


def _str(name):
    return name.decode("utf-8", "surrogateescape")


def _open(path):
    if path == "-":
        return open(sys.stdin.fileno(), "rb", closefd=False)
    return gzip.open(path, "rb") if str(path).endswith(".gz") else open(path, "rb")


def _fields(text, F):
    """Find the fields of whole lines: (buffer, edges (L, F, 2)), or None unless every line has exactly F.

    Fields end at C's isspace, bytes 9 to 13 and 32, and nowhere else: a no-break space is part of a docid.
    """
    buffer = np.frombuffer(b"\n" + text, np.uint8)
    space = (buffer == 32) | (buffer - np.uint8(9) < 5)                   # unsigned, so 0 - 9 wraps to 247
    edges = np.flatnonzero(space[1:] != space[:-1]) + 1
    if edges.size % (2 * F):
        return None
    edges = edges.reshape(-1, F, 2)                                       # (L, F, 2)
    stop = edges[:, -1, 1] + (buffer[edges[:, -1, 1]] == 13)              # "\r\n"
    if (buffer[stop] != 10).any() or np.count_nonzero(buffer == 10) != len(edges) + 1:
        return None
    return None if (buffer[edges[:, 0, 0]] == ord("#")).any() or not buffer.all() else (buffer, edges)


def _tidy(path, text, first, F, exact):
    """The slow way, which complains: the same without comments, blanks and surplus fields."""
    lines, numbers = [], []
    for number, line in enumerate(text[:-1].split(b"\n"), first):
        fields = line.split()                                             # as isspace; str.split would not
        if fields[:1] and fields[0][:1] == b"#" or not fields and not exact:
            continue
        if len(fields) < F or exact and len(fields) > F or b"\0" in line:
            found = "a null byte" if b"\0" in line else f"{len(fields)} fields"
            shape = "qid iter docid grade" if exact else "qid iter docid rank score tag"
            raise ValueError(f"{path}:{number}: {found} in {line[:60]!r}; expected `{shape}`")
        lines.append(b" ".join(fields[:F]) + b"\n")
        numbers.append(number)
    return *_fields(b"".join(lines), F), np.array(numbers, np.int64)


def _blocks(path, F, exact=False):
    """Yield (buffer, edges (L, F, 2), line numbers (L,)) of a file, a block of whole lines at a time."""
    tail, number = b"", 1
    with _open(path) as file:
        while True:
            chunk = file.read(BLOCK)
            cut = chunk.rfind(b"\n") + 1
            text, tail = (tail + chunk[:cut], chunk[cut:]) if cut else (b"", tail + chunk)
            if not chunk:
                if number == 1 and not tail:
                    raise ValueError(f"{path}: the file is empty")
                text = tail and tail + b"\n"                              # the last line may lack its end
            if text:
                found = _fields(text, F)
                block = ((*found, number + np.arange(len(found[1]))) if found
                         else _tidy(path, text, number, F, exact))
                long = block[1][:, -1, 1] - block[1][:, 0, 0] > LONGEST
                if long.any():
                    raise ValueError(f"{path}:{block[2][long.argmax()]}: fields of over {LONGEST:,} bytes")
                yield block
                number += text.count(b"\n")
            if not chunk:
                return


_KEEP = np.frombuffer(b"".join(b"\xff" * i + b"\0" * (8 - i) for i in range(9)), np.uint64)


def _text(buffer, edges):
    """Byte strings (L,) from edges (L, 2): gather whole 8-byte words, then clear what lies after each end."""
    length = edges[:, 1] - edges[:, 0]
    width = 8 * (int(length.max(initial=1) - 1) // 8 + 1)
    if len(edges) and edges[-1, 0] + width > buffer.size:
        buffer = np.append(buffer, np.zeros(width, np.uint8))
    windows = np.ndarray((max(0, buffer.size - width + 1),), f"S{width}", buffer, strides=(1,))
    words = windows[edges[:, 0]].view(np.uint64).reshape(-1, width // 8)  # (L, width / 8)
    words &= _KEEP[np.clip(length[:, None] - np.arange(0, width, 8), 0, 8)]
    return words.view(f"S{width}").ravel()                                # (L,)


_FLOAT = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_SCORE = re.compile(rf"({_FLOAT}|[+-]?inf(inity)?)".encode(), re.I).fullmatch
_GRADE = re.compile(rb"[+-]?\d{1,18}(?!\d)").match                        # as atol: 1.5 is 1


def _values(path, words, numbers, parse, accept, dtype, what):
    """Parse a column; whatever `parse` takes but `accept` does not (nan, 1_000) is an error with its line."""
    words = words.tolist()
    try:
        values = np.fromiter(map(parse, words), dtype, len(words))
        if np.isfinite(values).all() and b"_" not in b"".join(words):
            return values
    except (ValueError, TypeError):
        pass
    for number, word in zip(numbers, words):
        if not accept(word):
            raise ValueError(f"{path}:{number}: {what} {word!r} is not a number")
    return values                                                         # infinite


class Qrels(NamedTuple):
    """Judgements as columns: qids in byte order, then topic number, docid and grade of each, by topic."""
    qids: list
    topic: np.ndarray
    docid: np.ndarray
    grade: np.ndarray

    @classmethod
    def load(cls, qrels):
        """From a path, {qid: {docid: grade}}, or Qrels; a pair that comes twice is an error."""
        if isinstance(qrels, cls):
            return qrels
        if isinstance(qrels, dict):
            qid = np.array([_bytes(q) for q, docs in qrels.items() for _ in docs], np.bytes_)
            docid = np.array([_bytes(d) for docs in qrels.values() for d in docs], np.bytes_)
            grade = np.array([g for docs in qrels.values() for g in docs.values()], np.int64)
        else:
            columns = []
            for buffer, edges, numbers in _blocks(qrels, 4, exact=True):
                qid, docid, grade = (_text(buffer, edges[:, i]) for i in (0, 2, 3))
                grade = _values(qrels, grade, numbers, lambda g: int(_GRADE(g)[0]), _GRADE, np.int64, "grade")
                columns.append((qid, docid, grade))
            qid, docid, grade = map(np.concatenate, zip(*columns))
        qids, topic = np.unique(qid, return_inverse=True)
        order, qids = np.argsort(topic, kind="stable"), qids.tolist()
        _distinct(topic, docid, qids, qrels)
        return cls(qids, topic[order], docid[order], grade[order])


def _batches(run, index, info, whole=False, grow=False):
    """Yield (topic, docid, score) columns of complete topics, numbered by index {qid: number}; skip others.

    A file grouped by topic is never in memory as a whole; `whole` holds everything back for one that is not.
    `grow` numbers new topics. info receives "tag", of the last line, and "others", the qids not in index.
    """
    if isinstance(run, dict):
        info["others"].update(_bytes(q) for q in run if _bytes(q) not in index)
        docs = {index[_bytes(q)]: docs for q, docs in run.items() if _bytes(q) in index}
        score = np.array([s for d in docs.values() for s in d.values()], np.float64)
        if np.isnan(score).any():
            raise ValueError("run: a score is nan")
        yield (np.repeat(np.array(list(docs), np.int64), [len(d) for d in docs.values()]),
               np.array([_bytes(d) for ds in docs.values() for d in ds], np.bytes_), score)
        return
    held = []                                                             # the last topic may yet go on
    for buffer, edges, numbers in _blocks(run, 6):
        if not len(edges):
            continue
        qid = _text(buffer, edges[:, 0])
        starts = np.append(0, np.flatnonzero(qid[1:] != qid[:-1]) + 1)
        names = qid[starts].tolist()
        if grow:
            for name in names:
                index.setdefault(name, len(index))
        info["others"].update(name for name in names if name not in index)
        info["tag"] = _text(buffer, edges[-1:, 5]).tolist()[0]
        topic = np.array([index.get(name, -1) for name in names], np.int32)
        topic = np.repeat(topic, np.diff(starts, append=len(qid)))        # (L,)
        known = topic >= 0
        last = np.count_nonzero(known[starts[-1]:])
        topic, edges, numbers = topic[known], edges[known], numbers[known]
        score = _values(run, _text(buffer, edges[:, 4]), numbers, float, _SCORE, np.float64, "score")
        held.append((topic, _text(buffer, edges[:, 2]), score))
        if len(names) > 1 and not whole:
            columns = [np.concatenate(column) for column in zip(*held)]
            cut = len(columns[0]) - last
            yield [column[:cut] for column in columns]
            held = [[column[cut:] for column in columns]]
    if held:
        columns = [np.concatenate(column) for column in zip(*held)]
        held.clear()
        order = np.argsort(columns[0], kind="stable")
        bounds = np.searchsorted(columns[0], np.arange(0, len(index) + 64, 64), sorter=order)
        for a, b in zip(bounds, bounds[1:]):                              # 64 topics at a time
            if a < b:
                yield [column[order[a:b]] for column in columns]


def read_run(path):
    """Read `qid iter docid rank score tag` lines into {qid: {docid: score}}; ValueError names file:line."""
    index, run = {}, {}
    for topic, docid, score in _batches(path, index, {"others": set()}, whole=True, grow=True):
        _distinct(topic, docid, qids := list(index), path)
        for t, d, s in zip(topic.tolist(), docid.tolist(), score.tolist()):
            run.setdefault(_str(qids[t]), {})[_str(d)] = s
    return run


def read_qrels(path):
    """Read `qid iter docid grade` lines into {qid: {docid: grade}}; ValueError names file:line."""
    table, qrels = Qrels.load(path), {}
    for t, d, g in zip(table.topic, table.docid.tolist(), table.grade.tolist()):
        qrels.setdefault(_str(table.qids[t]), {})[_str(d)] = g
    return qrels


def write_text(path, text):
    """Whole or not at all: a temporary name in the same folder, then os.replace."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(_bytes(text))
    os.replace(temporary, path)


def _field(name):
    if _bytes(name).split() != [_bytes(name)]:
        raise ValueError(f"{name!r} cannot stand in a run or qrels file: it is empty or holds white space")
    return name


def write_run(path, run, tag):
    """Write {qid: {docid: score}} in ranked order, scores by repr so that reading gives the same floats."""
    lines = []
    for qid in sorted(run, key=_bytes):
        docids, scores = list(run[qid]), [float(score) for score in run[qid].values()]
        order = ranking(np.array(scores), np.array([_bytes(d) for d in docids], np.bytes_))
        lines += [f"{_field(qid)} Q0 {_field(docids[i])} {rank} {scores[i]!r} {_field(tag)}\n"
                  for rank, i in enumerate(order, 1)]
    write_text(path, "".join(lines))


def write_qrels(path, qrels):
    """Write {qid: {docid: grade}}, sorted."""
    write_text(path, "".join(f"{_field(qid)} 0 {_field(docid)} {grade:d}\n"
                         for qid in sorted(qrels) for docid, grade in sorted(qrels[qid].items())))


# ---- ranking, and where the pooled documents stand ----

def ranking(score, docid, topic=None):
    """Order of documents, best first, by (2).

    Args: score (L,) floats; docid (L,) byte strings; topic (L,) integers, or None for one topic.
    Returns: indices (L,), topics ascending.

    >>> ranking(np.array([1.0, 2.0, 1.0]), np.array([b"a", b"b", b"c"])).tolist()
    [1, 2, 0]
    """
    topic = np.zeros(len(score), np.int64) if topic is None else topic
    order, s, t = np.arange(len(score)), score, topic
    if ((t[1:] < t[:-1]) | (t[1:] == t[:-1]) & (s[1:] > s[:-1])).any():   # most files are in order already
        order = np.lexsort((-score, topic))
        s, t = score[order], topic[order]
    tied = (s[1:] == s[:-1]) & (t[1:] == t[:-1])
    if tied.any():                                                        # strings matter only here
        group = np.cumsum(np.append(True, ~tied))
        member = np.append(tied, False) | np.append(False, tied)
        tie = order[member]
        order[member] = tie[np.lexsort((docid[tie], -group[member]))[::-1]]
    return order


def _keys(topic, docid, salt):
    """A 64-bit key of each (topic, docid); words of zeros add nothing, so any width of strings will do."""
    width = -(-docid.itemsize // 8)
    odd = [np.uint64((2 * i + 62 * salt + 1) * 0x9E3779B97F4A7C15 % 2**64) for i in range(width + 2)]
    docid = np.ascontiguousarray(docid, f"S{8 * width}")
    key = topic.astype(np.uint64) * odd[0]
    for j, word in enumerate(docid.view(np.uint64).reshape(-1, width).T, 1):
        word = word * odd[j]
        key += (word ^ (word >> np.uint64(29))) * odd[j + 1]
    return key


def _distinct(topic, docid, qids, source):
    """(order, sorted keys, salt) of documents, an error if one comes twice; keys that clash get new salt."""
    for salt in range(100):
        key = _keys(topic, docid, salt)
        order = np.argsort(key)
        key = key[order]
        twin = np.flatnonzero(key[1:] == key[:-1])
        if not twin.size:
            return order, key, salt
        a, b = order[twin], order[twin + 1]
        for i in a[(topic[a] == topic[b]) & (docid[a] == docid[b])]:
            where = "" if isinstance(source, dict) else f"{source}: "
            raise TrecError(f"{where}duplicate docs {_str(docid[i])} in topic {_str(qids[topic[i]])}", 4)
    raise AssertionError("keys of different documents keep clashing")


class Judged:
    """Where the pooled documents of a run stand in every topic of the qrels; measures are functions of this.

    (J,), by topic and rank: topic, rank, grade; of these the relevant ones: rel_topic, rel_rank, and k, how
    many so far. (T,): n retrieved, R relevant, N judged not relevant, found both relevant and retrieved,
    present in the run. Arguments: as `evaluate`.
    """

    def __init__(self, qrels, run, level=1, depth=None, judged_only=False, float32=False, n_docs=0):
        self.qrels, self.run, self.n_docs = Qrels.load(qrels), run, n_docs
        self.info = {"tag": b"", "others": set()}
        qrels, level, self.T = self.qrels, max(level, 0), len(self.qrels.qids)
        T, index = self.T, {qid: i for i, qid in enumerate(qrels.qids)}
        regular = isinstance(run, dict) or os.path.isfile(run)            # a pipe cannot be read twice
        for whole in (False, True) if regular else (True,):
            self.n, self.present, parts = np.zeros(T, int), np.zeros(T, bool), [[np.zeros(0, int)] * 3]
            for topic, docid, score in _batches(run, index, self.info, whole):
                if self.present[topic].any():                             # not grouped by topic: start again
                    break
                parts.append(self._stand(topic, docid, score.astype(np.float32) if float32 else score, depth))
            else:
                break
        topic, rank, grade = map(np.concatenate, zip(*parts))
        order = np.lexsort((rank, topic))
        if judged_only:
            order = order[grade[order] >= 0]
            self.n = np.bincount(topic[order], minlength=T)
            rank[order] = np.arange(len(order)) - (np.cumsum(self.n) - self.n)[topic[order]] + 1
        self.topic, self.rank, self.grade = topic[order], rank[order], grade[order]
        self.first = np.searchsorted(self.topic, np.arange(T))            # where each topic begins
        self.is_rel = self.grade >= level
        self.rel_topic, self.rel_rank = self.topic[self.is_rel], self.rank[self.is_rel]
        self.k = self.so_far(self.is_rel)
        self.R = np.bincount(qrels.topic[qrels.grade >= level], minlength=T)
        self.N = np.bincount(qrels.topic[(qrels.grade >= 0) & (qrels.grade < level)], minlength=T)
        self.found = self.found_by(np.inf)

    def _stand(self, topic, docid, score, depth):
        """Rank one batch, cut it, look its documents up: (topic, rank, grade) of the pooled ones."""
        order, count, qrels = ranking(score, docid, topic), np.bincount(topic, minlength=self.T), self.qrels
        rank = np.arange(len(topic)) - (np.cumsum(count) - count)[topic[order]] + 1
        self.present |= count > 0
        if depth is not None:
            order, rank, count = order[rank <= depth], rank[rank <= depth], np.minimum(count, max(depth, 0))
        self.n += count
        topic, docid, entry = topic[order], docid[order], np.flatnonzero((count > 0)[qrels.topic])
        order, key, salt = _distinct(topic, docid, qrels.qids, self.run)
        sought = _keys(qrels.topic[entry], qrels.docid[entry], salt)
        place = np.searchsorted(key, sought).clip(0, max(len(key) - 1, 0))
        hit = key[place] == sought
        line, entry = order[place[hit]], entry[hit]
        hit = (topic[line] == qrels.topic[entry]) & (docid[line] == qrels.docid[entry])
        return topic[line[hit]], rank[line[hit]], qrels.grade[entry[hit]]

    def so_far(self, mask):
        """At each relevant document: how many of its topic's in mask (J,) have come, itself included."""
        total = np.append(0, np.cumsum(mask))
        return (total[1:] - total[self.first[self.topic]])[self.is_rel]

    def total(self, weight, topic=None):
        """Sum per topic (T,), added one after the other as a loop in C does."""
        return np.bincount(self.rel_topic if topic is None else topic, weight, self.T)

    def found_by(self, cut):
        """Relevant documents in the top cut, a number or one a topic (T,)."""
        top = self.rel_rank <= np.broadcast_to(cut, self.T)[self.rel_topic]
        return np.bincount(self.rel_topic[top], minlength=self.T)


# ---- measures ----

def _ratio(a, b):
    return np.divide(a, b, out=np.zeros(len(a)), where=np.asarray(b) != 0)     # 0 / 0 is 0


def _ap(x, cut=np.inf):
    return _ratio(x.total(np.where(x.rel_rank <= cut, x.k / x.rel_rank, 0)), x.R)     # (1)


def _bpref(x, _):
    above, R = x.so_far((x.grade >= 0) & ~x.is_rel), x.R[x.rel_topic]
    return _ratio(x.total(1 - _ratio(np.minimum(above, R), np.minimum(x.N[x.rel_topic], R))), x.R)


def _inf_ap(x, _):
    j, judged, pooled = x.rel_rank - 1, x.so_far(x.grade >= 0) - 1, x.so_far(x.grade == x.grade) - 1
    expected = _ratio(pooled, j) * ((x.k - 1 + 1e-5) / (judged + 2e-5))  # precision among the judged above
    return _ratio(x.total(np.where(j == 0, 1.0, 1.0 / (j + 1) + j / (j + 1) * expected)), x.R)


def _iprec(x, recall):
    reached, best = x.k >= np.floor(recall * x.R + 0.5)[x.rel_topic], np.zeros(x.T)     # (4)
    np.maximum.at(best, x.rel_topic[reached], (x.k / x.rel_rank)[reached])
    return best


def _ndcg(x, gains, cut=np.inf):
    levels, q = np.unique(np.append(x.qrels.grade, 0)), x.qrels
    gain = np.array([gains.get(int(level), float(level)) if level >= 0 else 0 for level in levels])
    ideal = gain[np.searchsorted(levels, q.grade)]
    ideal = ideal[np.lexsort((-ideal, q.topic))]                               # each topic's best first
    rank = np.arange(len(ideal)) - np.searchsorted(q.topic, q.topic) + 1
    best = x.total(np.where((ideal > 0) & (rank <= cut), ideal / np.log2(rank + 1), 0), q.topic)     # (3)
    dcg = np.where(x.rank <= cut, gain[np.searchsorted(levels, x.grade)] / np.log2(x.rank + 1), 0)
    return _ratio(x.total(dcg, x.topic), best)


def _set_f(x, p):
    P, R = _ratio(x.found, x.n), _ratio(x.found, x.R)
    return _ratio((p[0] + 1) * P * R, p[0] * P + R)


def _utility(x, p):
    if len(p) != 4:
        raise TrecError(f"utility takes 4 coefficients, not {len(p)}", 4)
    cells = x.found, x.n - x.found, x.R - x.found, x.n_docs + x.found - x.n - x.R
    return np.where(x.present, sum(weight * cell for weight, cell in zip(p, cells)), 0.0)


def _relstring(x, p):
    n, grade = max(int(p[0]), 0), np.where(x.grade < 0, 11, x.grade.clip(0, 10))
    marks, top = np.full((x.T, n + 1), b"-"), x.rank <= n                      # "-": not in the pool
    marks[x.topic[top], x.rank[top] - 1] = np.array([*b"0123456789>."], np.uint8).view("S1")[grade[top]]
    return [_str(b"".join(row[:min(n, ret)])) for row, ret in zip(marks.tolist(), x.n)]


_CUTS, _TENTHS = "5,10,15,20,30,100,200,500,1000", "0,.1,.2,.3,.4,.5,.6,.7,.8,.9,1"
# In trec_eval's order, name: (how to sum up topics, kind of parameters, their default, function of Judged and
# one parameter). A `cut` (whole number) or `point` (fraction) is a line each, `values` or `gains` are one.
MEASURES = {
    "runid": ("tag", "", "", None),
    "num_q": ("count", "", "", lambda x, _: np.ones(x.T, int)),
    "num_ret": ("sum", "", "", lambda x, _: x.n),
    "num_rel": ("sum", "", "", lambda x, _: x.R),
    "num_rel_ret": ("sum", "", "", lambda x, _: x.found),
    "map": ("mean", "", "", lambda x, _: _ap(x)),
    "gm_map": ("geometric", "", "", lambda x, _: _ap(x)),
    "Rprec": ("mean", "", "", lambda x, _: _ratio(x.found_by(x.R), x.R)),
    "bpref": ("mean", "", "", _bpref),
    "recip_rank": ("mean", "", "", lambda x, _: x.total((x.k == 1) / x.rel_rank)),
    "iprec_at_recall": ("mean", "point", _TENTHS, _iprec),
    "P": ("mean", "cut", _CUTS, lambda x, cut: x.found_by(cut) / cut),
    "relstring": ("text", "values", "10", _relstring),
    "recall": ("mean", "cut", _CUTS, lambda x, cut: _ratio(x.found_by(cut), x.R)),
    "infAP": ("mean", "", "", _inf_ap),
    "gm_bpref": ("geometric", "", "", _bpref),
    "Rprec_mult": ("mean", "point", ".2,.4,.6,.8,1,1.2,1.4,1.6,1.8,2",
                   lambda x, m: _ratio(x.found_by(np.floor(m * x.R + 0.9)), np.floor(m * x.R + 0.9))),
    "utility": ("mean", "values", "1,-1,0,0", _utility),
    "11pt_avg": ("mean", "values", _TENTHS, lambda x, p: sum(_iprec(x, point) for point in p[::-1]) / len(p)),
    "binG": ("mean", "", "", lambda x, _: _ratio(x.total(1 / np.log2(2 + x.rel_rank - x.k)), x.R)),
    "ndcg": ("mean", "gains", "", _ndcg),
    "ndcg_cut": ("mean", "cut", _CUTS, lambda x, cut: _ndcg(x, {}, cut)),
    "map_cut": ("mean", "cut", _CUTS, _ap),
    "relative_P": ("mean", "cut", _CUTS, lambda x, cut: _ratio(x.found_by(cut), np.minimum(cut, x.R))),
    "success": ("mean", "cut", "1,5,10", lambda x, cut: (x.found_by(cut) > 0) * 1.0),
    "set_P": ("mean", "", "", lambda x, _: _ratio(x.found, x.n)),
    "set_relative_P": ("mean", "", "", lambda x, _: _ratio(x.found, np.minimum(x.n, x.R))),
    "set_recall": ("mean", "", "", lambda x, _: _ratio(x.found, x.R)),
    "set_map": ("mean", "", "", lambda x, _: _ratio(x.found * x.found, x.n * x.R)),
    "set_F": ("mean", "values", "1", _set_f),
    "num_nonrel_judged_ret": ("sum", "", "", lambda x, _: np.bincount(
        x.topic[(x.grade >= 0) & ~x.is_rel], minlength=x.T)),
    "unj": ("mean", "cut", "5,10,20", lambda x, cut: (np.minimum(x.n, cut) - np.bincount(
        x.topic[(x.grade >= 0) & (x.rank <= cut)], minlength=x.T)) / cut),
}
NICKNAMES = {"official": list(MEASURES)[:12], "all_trec": list(MEASURES),
             "set": [*list(MEASURES)[:5], "utility", *(name for name in MEASURES if name.startswith("set_"))]}


def _parameters(name, kind, text, default):
    """[(printed name, parameter)] of a measure; numbers are read as by atol and atof, a leading part or 0."""
    number = lambda word, form=_FLOAT: (re.match(form, word) or "0")[0]       # noqa: E731
    words, suffix = (text or default).split(","), text and f"_{text}"
    if not kind:
        return [(name, None)]
    if kind == "gains":
        pairs = [word.split("=") for word in words] if text else []
        if any(len(pair) != 2 for pair in pairs):
            raise TrecError(f"malformed pairs in {name}.{text}; write {name}.GRADE=GAIN,GRADE=GAIN", 2)
        return [(name + suffix, {int(a): float(number(b)) for a, b in pairs if re.fullmatch(r"[+-]?\d+", a)})]
    if kind == "values":
        return [(name + suffix, [float(number(word)) for word in words])]
    values = sorted(int(number(w, r"[+-]?\d+")) if kind == "cut" else float(number(w)) for w in words)
    if kind == "cut" and values[0] <= 0 or len(set(values)) < len(values):
        raise TrecError(f"cut-offs {text!r} of {name}: they must be above 0 and all different", 2)
    return [(f"{name}_{value}" if kind == "cut" else f"{name}_{value:3.2f}", value) for value in values]


def parse_measures(specs, strict=False):
    """[(printed name, summary, function of Judged)] in trec_eval's order, for map, P.5,10, P_5, official ...

    strict reads as trec_eval: no P_5, and the first parameters given for a name; otherwise cut-offs add up.
    """
    chosen = {}
    for spec in [specs] if isinstance(specs, str) else specs:
        base, dot, text = spec.partition(".")
        if not (strict or dot or base in MEASURES or base in NICKNAMES):
            base, dot, text = spec.rpartition("_")
        if dot and not text or base not in MEASURES and base not in NICKNAMES:
            raise TrecError(f"illegal measure {spec!r}; there are {', '.join([*NICKNAMES, *MEASURES])}", 1)
        for name in NICKNAMES.get(base, [base]):
            _, kind, default, _ = MEASURES[name]
            before, new = chosen.get(name), text if name == base and kind else ""
            if before is not None and not strict and kind in ("cut", "point"):
                both = dict.fromkeys(f"{before or default},{new or default}".split(","))
                before, new = None, ",".join(both)
            chosen[name] = before or new
    result = []
    for name, (summary, kind, default, function) in MEASURES.items():
        for printed, p in _parameters(name, kind, chosen[name], default) if name in chosen else ():
            result.append((printed, summary, lambda x, f=function, p=p: f(x, p)))
    return result


def average(summary, values):
    """A measure's summary over topics: sum, mean, or geometric mean with values raised to 1e-5 at least."""
    if summary in ("sum", "count"):
        return int(np.sum(values))
    values = np.log(np.maximum(values, 1e-5)) if summary == "geometric" else values
    mean = float(np.cumsum(values)[-1] / len(values))                     # adds in order, np.sum would not
    return math.exp(mean) if summary == "geometric" else mean


def evaluate(qrels, run, measures=("map",), level=1, depth=None, judged_only=False, complete=True,
             float32=False):
    """Values per query {measure: {qid: value}}, as trec_eval -q prints them.

    Args:
        qrels: {qid: {docid: grade}} or a path. A grade below 0: in the pool, not judged.
        run: {qid: {docid: score}} or a path, which is by far the fastest for a large run.
        measures: names, see `parse_measures`.
        level: lowest grade that counts as relevant (-l).
        depth: documents kept a topic (-M); None keeps all.
        judged_only: drop documents that are not judged, close the gaps (-J).
        complete: every judged query, 0 where the run lacks it (-c): leaving them out would inflate means.
        float32: rank by scores rounded to float32, as trec_eval did before 2023.
    Raises: ValueError for bad input, unknown measures, and no common query unless complete.
    """
    x, result = Judged(qrels, run, level, depth, judged_only, float32), {}
    if not (complete or x.present.any()):
        raise TrecError(no_common_topic(x, qrels, run), 7)
    for name, summary, function in parse_measures(measures):
        if summary != "tag":
            values = function(x) if summary == "text" else function(x).tolist()
            result[name] = {_str(q): v for q, v, ok in zip(x.qrels.qids, values, x.present) if ok or complete}
    return result


def no_common_topic(x, qrels, run):
    """The message for a Judged x none of whose topics is in the run: what either side has."""
    names = [("the run" if isinstance(run, dict) else run, sorted(x.info["others"])),
             ("the qrels" if isinstance(qrels, (dict, Qrels)) else qrels, x.qrels.qids)]
    return "no topic in common: " + ", ".join(
        f"{name} has {len(qids)} topics" + (f" such as {_str(qids[0])!r}" if qids else "")
        for name, qids in names)


def trec(qrels, run, measures=("official",), by_query=False, complete=False, summary=True, level=1,
         depth=None, judged_only=False, n_docs=0, float32=False):
    """The text trec_eval 10.0 prints; the arguments are its -m -q -c -n -l -M -J -N. Notes go to stderr."""
    measures = parse_measures(measures, strict=True)
    x = Judged(qrels, run, level, depth, judged_only, float32, n_docs)
    if not (x.present.any() or complete and x.T):
        raise TrecError(no_common_topic(x, qrels, run), 7)
    if missing := np.count_nonzero(~x.present):
        print(f"note: {missing} of {x.T} judged topics are not in the run:",
              "they score 0" if complete else "left out; -c scores them 0", file=sys.stderr)
    if not len(x.topic):
        print(f"note: none of {x.n.sum()} retrieved documents is in the qrels; same docids?", file=sys.stderr)
    columns = [(f"{name:<22}", how, how != "tag" and function(x)) for name, how, function in measures]
    keep, lines = np.flatnonzero(x.present | complete), []
    show = {"sum": str, "count": str, "text": "'{}'".format}
    show["mean"] = show["geometric"] = "{:6.4f}".format
    for i in keep if by_query else ():
        lines += [f"{name}\t{_str(x.qrels.qids[i])}\t{show[how](values[i])}\n"
                  for name, how, values in columns if how in ("sum", "mean", "text")]
    for name, how, values in columns if summary else ():
        if how != "text":
            value = _str(x.info["tag"]) if how == "tag" else show[how](average(how, values[keep]))
            lines.append(f"{name}\tall\t{value}\n")
    return "".join(lines)


# ---- significance: paired over queries, two-sided ----

def differences(a, b):
    """Differences a - b (Q,) of two lists of values, or of two {qid: value} with the same queries."""
    if isinstance(a, dict):
        if a.keys() != b.keys():
            raise ValueError(f"{len(a)} and {len(b)} queries, only {len(a.keys() & b.keys())} in common")
        a, b = [a[q] for q in sorted(a)], [b[q] for q in sorted(a)]
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"{len(a)} and {len(b)} values; a paired test takes as many of both, 2 or more")
    return np.asarray(a, float) - np.asarray(b, float)


def t_test(a, b):
    """Paired t-test: (t, two-sided p). Without any difference (0, 1); one and the same everywhere (+-inf, 0).

    >>> [round(value, 4) for value in t_test([3, 4, 5, 8], [1, 2, 3, 2])]
    [3.0, 0.0577]
    """
    d = differences(a, b)
    if np.ptp(d) == 0:
        return (math.copysign(math.inf, d[0]), 0.0) if d[0] else (0.0, 1.0)
    t = float(d.mean() / d.std(ddof=1) * math.sqrt(len(d)))
    return t, float(2 * special.stdtr(len(d) - 1, -abs(t)))


def effect_size(a, b):
    """Cohen's d of paired values: mean difference over standard deviation of differences; t = d sqrt(Q)."""
    return t_test(a, b)[0] / math.sqrt(len(a))


def randomisation_test(a, b, samples=10_000, seed=0):
    """Two-sided p of the mean difference if the sign of each query's difference were a coin toss (Fisher).

    Exact over all 2^Q signs where they are no more than samples; otherwise (1 + as extreme) / (1 + samples).
    """
    d = differences(a, b)
    exact, rng, extreme = len(d) <= math.log2(samples), np.random.default_rng(seed), 0
    total, step = 2 ** len(d) if exact else samples, max(1, 2**22 // len(d))
    for start in range(0, total, step):                                   # some rows of signs at a time
        rows = np.arange(start, min(start + step, total))
        heads = rows[:, None] >> np.arange(len(d)) & 1 if exact else rng.integers(0, 2, (len(rows), len(d)))
        extreme += np.count_nonzero(abs((2 * heads - 1) @ d) >= abs(d.sum()) - 1e-12 * abs(d).sum())
    return extreme / total if exact else (1 + extreme) / (1 + total)


def bootstrap_interval(a, b=None, confidence=0.95, samples=10_000, seed=0):
    """Percentile interval (low, high) of the mean of a, or of a - b, over queries drawn with replacement."""
    a = [a[q] for q in sorted(a)] if isinstance(a, dict) and b is None else a
    d = np.asarray(a, float) if b is None else differences(a, b)
    rng, step = np.random.default_rng(seed), max(1, 2**22 // len(d))
    means = [d[rng.integers(0, len(d), (min(step, samples - i), len(d)))].mean(1)
             for i in range(0, samples, step)]
    return tuple(np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2]).tolist())


def bonferroni(p):
    """Adjusted p-values: times the number of comparisons, at most 1."""
    return [min(1.0, len(p) * value) for value in p]


def holm(p):
    """Adjusted p-values (Holm 1979): i-th smallest of m times m - i + 1, not below the one before, at most 1.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, worst = [0.0] * len(p), 0.0
    for i, k in enumerate(sorted(range(len(p)), key=lambda k: p[k])):
        adjusted[k] = worst = max(worst, min(1.0, (len(p) - i) * p[k]))
    return adjusted


# ---- what a score was computed on ----

def qrels_hash(qrels):
    """Six hexadecimal digits of the judgements, whatever their order."""
    table = Qrels.load(qrels)
    lines = sorted(b"%s %s %d\n" % (table.qids[topic], docid, grade)
                   for topic, docid, grade in zip(table.topic, table.docid.tolist(), table.grade))
    return hashlib.sha256(b"".join(lines)).hexdigest()[:6]


def signature(measure, qrels, n, missing):
    """What a score was computed on: n queries, the judgements, how many judged queries had no result.

    >>> signature("map", {"q": {"d": 1}}, 1, 0)
    'map|nq:1|qrels:c2ffe4|ties:docid-desc|missing:0|v:1'
    """
    return f"{measure}|nq:{n}|qrels:{qrels_hash(qrels)}|ties:docid-desc|missing:{missing}|v:{VERSION}"


# ---- commands ----

class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(1, f"error: {message}\n")                               # trec_eval's status


def _arguments(argv):
    parser = _Parser(description=__doc__.split("\n")[0], allow_abbrev=False,
                     epilog=f"of an experiment, by report.py: {', '.join(REPORT)}")
    text = "print what trec_eval 10.0 prints"
    p = parser.add_subparsers(metavar="trec", required=True).add_parser(
        "trec", help=text, description=text, allow_abbrev=False)
    p.add_argument("-q", dest="by_query", action="store_true", help="print every topic before the summary")
    p.add_argument("-c", dest="complete", action="store_true", help="all judged topics, missing ones 0")
    p.add_argument("-n", dest="summary", action="store_false", help="no summary")
    p.add_argument("-l", dest="level", type=int, default=1, help="lowest grade that is relevant (default 1)")
    p.add_argument("-M", dest="depth", type=int, help="documents kept a topic (default: all)")
    p.add_argument("-J", dest="judged_only", action="store_true", help="drop documents that are not judged")
    p.add_argument("-N", dest="n_docs", type=int, default=0, help="size of the collection, for utility")
    p.add_argument("-m", dest="measures", action="append", help="name or name.parameters (default: official)")
    p.add_argument("--float32", action="store_true", help="scores in float32, as trec_eval before 2023")
    p.add_argument("qrels", help="judgements, `qid iter docid grade` a line")
    p.add_argument("run", help="ranking, `qid iter docid rank score tag` a line; - is standard input")
    args = vars(parser.parse_args(argv))
    return args | {"measures": args["measures"] or ["official"]}


def main(argv=None):
    """Run a command; bad input is one line on stderr and trec_eval's status, or 2."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] and argv[0] in REPORT:
        import report
        return report.main(argv)
    try:
        text = trec(**_arguments(argv))
        sys.stdout.flush()
        sys.stdout.buffer.write(_bytes(text))                             # names may be any bytes
        sys.stdout.flush()
        return 0
    except (ValueError, OSError, EOFError, zlib.error) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "status", 2)


if __name__ == "__main__":
    sys.exit(main())

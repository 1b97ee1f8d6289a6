# SPDX-License-Identifier: MIT
"""Evaluation of ranked retrieval as trec_eval 10.0 does it: files, measures, significance.

Needs: numpy, scipy; imports nothing else of ours: copy this one file (rename it where you use Hugging Face's
`evaluate`, which it would hide). Check a copy: `python -m doctest evaluate.py`.

>>> qrels, run = {"q1": {"a": 1, "b": 2}}, {"q1": {"a": 3.0, "x": 2.5, "b": 1.0}}
>>> evaluate(qrels, run, ["map", "P@2"])
{'map': {'q1': 0.8333333333333333}, 'P@2': {'q1': 0.5}}
>>> summary(qrels, run, ["MRR@10", "Judged@4"])
{'MRR@10': 1.0, 'Judged@4': 0.5}

In a shell `python evaluate.py trec [-qcnJ] [-l N] [-M N] [-N N] [--float32] [-m MEASURE]... QRELS RUN` prints
trec_eval 10.0's text byte for byte, but for rbp, rbp_resid, G, Rndcg, ndcg_rel, prefs and jg formats and -Z;
`python evaluate.py compare QRELS RUN RUN...` a table of each run beside the first.

Letters: T topics; in a topic R relevant documents in the qrels (grade >= level), n retrieved, k the relevant
ones down to rank r. Measures need only where the *pooled* documents (those in the qrels) stand.
  (31) AP = 1/R sum over retrieved relevant documents of k / r
  (32) rank: place by score descending, then docid descending in byte order; cut at -M; then closed up by -J
  (33) DCG = sum of gain / log2(r + 1); ndcg = DCG / the largest possible one
  (34) interpolated precision at recall x = max of k / r over k >= round(x R)

Where this differs from trec_eval 10.0, on purpose:
  1. A word that is no number, a null byte, a byte-order mark are an error with file:line (there: 0, or kept).
  2. Without -c a judged topic that the run lacks is left out, with a note (there: exit 4).
  3. No common topic is exit 7 whatever the run holds. Topics with negative grades only, -M 0, a -J that
     leaves nothing, and 0 / 0 as in set_F.-1 score 0 (there: exit 4, or nan).
  4. num_rel counts grades >= level with -c too (there: > 0). A missing topic scores 0 and '' also where
     utility or relstring have parameters.
  5. Lines that start with '#' may stand anywhere in both files; pipes and gzip are read.
  6. ndcg's gains that differ by less than 1, and 11pt_avg's points in any order, are put in order; a level
     above every grade is safe; the gain of a level below 0 is 0 (there -1 is what is not pooled).
  7. -l and -M below 0 count as 0 (there -l -1 makes relevant what is not pooled). They and -N are whole
     numbers: 1.5 is an error (there: 1), and so is an infinite parameter.
"""
import argparse
import gzip
import hashlib
import math
import os
import re
import sys
import warnings
import zlib
from array import array
from collections import namedtuple
from itertools import groupby, product

import numpy as np
from scipy import special

BLOCK = 1 << 16        # bytes of a file read at a time: fits the cache
BOM = b"\xef\xbb\xbf"  # a byte-order mark, which would be part of the first qid
_FLOAT = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_SCORE = re.compile(rf"{_FLOAT}|[+-]?inf(?:inity)?".encode(), re.I).fullmatch
_GRADE = re.compile(rb"[+-]?\d{1,18}(?!\d)").match                        # as atol: 1.5 is 1
_JSON = re.compile(rb'\s*[{[]\s*(["{[]|$)').match
_FORM = {4: "`qid iter docid grade`; `awk 'NR > 1 {print $1, 0, $2, $3}'` makes it of BEIR's three columns",
         6: "`qid iter docid rank score tag`; `awk '{print $1, \"Q0\", $2, $3, -$3, \"tag\"}'` makes it of "
            "MS MARCO's three columns, `awk '{print $0, \"tag\"}'` of five"}


class TrecError(ValueError):
    """A message and trec_eval's exit status: 1 usage or measure, 2 input, 4 evaluation, 7 no common topic."""

    def __str__(self):
        return self.args[0]


def _bytes(name):
    if not isinstance(name, str):
        raise ValueError(f"the id {name!r} is of type {type(name).__name__}; make it a str")
    if name[:1] == "\ufeff":
        raise ValueError(f"the id {name!r} begins with a byte-order mark; read its file as 'utf-8-sig'")
    return name.encode("utf-8", "surrogateescape")


def _str(name):
    return name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")


def _tidy(path, text, first, F):
    """The slow way, which complains: as `_blocks`, less comments, blanks and a run's surplus fields."""
    kept, numbers = [], []
    for number, line in enumerate(text[:-1].split(b"\n"), first):
        fields = line.split()
        n = len(fields)
        if n and fields[0][:1] == b"#" or not n and F == 6:
            continue
        wrong = ("a byte-order mark; save the file as UTF-8 without one" if line[:3] == BOM
                 else "a null byte; is it text in UTF-8?" if b"\0" in line
                 else "JSON; give evaluate() the dictionary it holds" if number == 1 and _JSON(line)
                 else "CSV; put blanks for the commas" if b"," in line and n < 3
                 else "QRELS comes before RUN" if {n, F} == {4, 6}
                 else f"expected {_FORM[F]}" if n < F or n > F == 4 else "")
        if wrong:
            raise ValueError(f"{path}:{number}: {n} fields in {line[:60]!r}: {wrong}")
        kept += [*fields[:F], b"\0"]
        numbers.append(number)
    return kept, numbers


def _blocks(path, F):
    """Yield (fields, line numbers) of a file, some lines at a time: F fields and a null byte a line."""
    number, text = 1, b"\n"
    with open(sys.stdin.fileno() if path == "-" else path, "rb", closefd=path != "-") as file:
        file = gzip.open(file) if file.peek(2)[:2] == b"\x1f\x8b" else file
        while text:
            try:
                text = file.read(BLOCK) + file.readline()
            except (OSError, EOFError, zlib.error) as error:              # gzip's do not name the file
                raise ValueError(f"{path}: {error}") from None
            if not text and number == 1:
                raise ValueError(f"{path}: the file is empty")
            text += b"\n" * (text[-1:] not in (b"", b"\n"))               # the last line may lack its end
            # Fields end at C's isspace, as bytes.split has it: a no-break space is part of a docid.
            L, fields = text.count(b"\n"), text.replace(b"\n", b" \0 ").split()
            plain = len(fields) == L * (F + 1) and fields[F::F + 1] == [b"\0"] * L and b"\0" not in text
            odd = _JSON(text) or any(qid[:1] == b"#" or qid[:3] == BOM for qid in set(fields[::F + 1]))
            yield (fields, range(number, number + L)) if plain and not odd else _tidy(path, text, number, F)
            number += L


def _numbers(words, what, where):
    """Scores or grades of a file's words, as C reads them, or a dictionary's values; where(i) is a place."""
    code, kind, form = ("d", float, _SCORE) if what == "score" else ("q", int, _GRADE)
    text = words and isinstance(words[0], bytes)
    try:
        values = array(code, map(kind, words) if text else words)
        if math.isfinite(sum(values)) and not (text and b"_" in b"".join(words)):
            return values
    except (TypeError, ValueError, OverflowError):
        pass
    values = array(code)
    for i, word in enumerate(words):
        try:
            number = form(word)[0] if text else float(word)
            values.append(kind(number))
            if not text and values[-1] != number:                         # nan, or 0.9 for a grade
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            wanted = "number" if kind is float else "whole number below 2**63"
            raise ValueError(f"{where(i)}: {what} {word!r:.60} is not a {wanted}") from None
    return values


def _topics(source, what):
    """A run ("score") or qrels ("grade"), path or dictionary, as {qid: (docids, numbers)}; its last tag."""
    found, tag, F = {}, b"", 6 if what == "score" else 4
    if isinstance(source, dict):
        for qid, docs in source.items():
            if not isinstance(docs, dict):
                raise ValueError(f"qid {qid!r}: {docs!r:.60} is no dictionary {{docid: {what}}}")
            names, place = list(docs), lambda i: f"qid {qid!r}, docid {names[i]!r}"
            for name in [qid] if {type(qid), *map(type, names)} == {str} else [qid, *names]:
                _bytes(name)
            found[qid] = names, _numbers(list(docs.values()), what, place)
        return found, ""
    for fields, lines in _blocks(source, F):                              # docids of a file stay bytes
        docids, start = fields[2::F + 1], 0
        numbers = _numbers(fields[4 if F == 6 else 3::F + 1], what, lambda i: f"{source}:{lines[i]}")
        for qid, group in groupby(fields[::F + 1]):
            stop = start + len(list(group))
            own = found.setdefault(qid, ([], array(numbers.typecode)))
            own[0].extend(docids[start:stop])
            own[1].extend(numbers[start:stop])
            start = stop
        tag = fields[-2] if fields else tag
    return {_str(qid): own for qid, own in found.items()}, _str(tag)


def _distinct(docids, values, source, qid):
    """{docid: value}, or an error if a docid comes twice."""
    found = dict(zip(docids, values))
    if len(found) < len(docids):
        raise TrecError(f"{source}: duplicate docs {_str(max(found, key=docids.count))} in topic {qid}", 4)
    return found


def read_run(path, what="score"):
    """Read `qid iter docid rank score tag` lines, less the rank, into {qid: {docid: score}}."""
    return {qid: _distinct(list(map(_str, docids)), numbers, path, qid)
            for qid, (docids, numbers) in _topics(path, what)[0].items()}


def read_qrels(path):
    """Read `qid iter docid grade` lines into {qid: {docid: grade}}; ValueError names file:line."""
    return read_run(path, "grade")


def qrels_hash(qrels):
    """Six hexadecimal digits of the judgements, whatever their order."""
    lines = sorted(f"{qid} {docid} {grade}\n".encode("utf-8", "surrogateescape")
                   for qid, docs in read_qrels(qrels).items() for docid, grade in docs.items())
    return hashlib.sha256(b"".join(lines)).hexdigest()[:6]


def write_text(path, text):
    """Whole or not at all: a temporary name in the same folder, then os.replace."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
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
        lines += [f"{_field(qid)} Q0 {_field(docids[i])} {rank} {scores[i]!r} {_field(tag)}\n"
                  for rank, i in enumerate(ranking(np.array(scores), docids), 1)]
    write_text(path, "".join(lines))


# ---- ranking, and where the pooled documents stand ----

def ranking(score, docid):
    """Indices (n,) of one topic's documents, best first, by (32), from score (n,) floats, docid (n,) strings.

    >>> ranking(np.array([1.0, 2.0, 1.0]), ["a", "b", "c"]).tolist()
    [1, 2, 0]
    """
    order = np.arange(len(score)) if (score[1:] <= score[:-1]).all() else np.argsort(-score)
    tied = score[order[1:]] == score[order[:-1]]
    if tied.any():                                                        # strings matter only here
        group, member = np.cumsum(np.append(True, ~tied)), np.append(tied, False) | np.append(False, tied)
        tie = order[member]
        names = [d if isinstance(d, bytes) else _bytes(d) for d in map(docid.__getitem__, tie)]
        order[member] = tie[np.lexsort((np.array(names, np.bytes_), -group[member]))[::-1]]
    return order


def _ratio(a, b):
    return np.divide(a, b, out=np.zeros(len(a)), where=np.asarray(b) != 0)     # 0 / 0 is 0


class Judged:
    """Where the pooled documents of a run stand in every topic of the qrels; measures are functions of this.

    (J,), by topic and rank: topic, rank, grade; of these the relevant ones: rel_topic, rel_rank, and k, how
    many so far. (T,): n retrieved, R relevant, N judged not relevant, found both relevant and retrieved,
    present in the run. (E,), all entries of the qrels: pool_topic, pool_grade. Arguments: as `evaluate`.
    """

    def __init__(self, qrels, run, level=1, depth=None, judged_only=False, float32=False, n_docs=0):
        self.names = [f"the {n}" if isinstance(s, dict) else s for n, s in (("run", run), ("qrels", qrels))]
        self.qrels = {qid: docs for qid, docs in read_qrels(qrels).items() if docs}
        (self.run, self.tag), self.n_docs, level = _topics(run, "score"), n_docs, max(level, 0)
        self.qids, pooled = sorted(self.qrels, key=_bytes), []
        self.T = T = len(self.qids)
        self.n, self.present = np.zeros(T, int), np.zeros(T, bool)
        for t, qid in enumerate(self.qids):
            docids, score = self.run.get(qid, ([], array("d")))
            score = np.array(score, np.float32 if float32 else np.float64)
            order = ranking(score, docids)[:None if depth is None else max(depth, 0)].tolist()     # (32)
            rank = _distinct([*map(docids.__getitem__, order)], range(1, len(order) + 1), self.names[0], qid)
            self.n[t], self.present[t] = len(order), len(docids) > 0
            judged = self.qrels[qid] if isinstance(run, dict) else map(_bytes, self.qrels[qid])
            pooled += sorted((t, rank[docid], grade) for docid, grade in zip(judged, self.qrels[qid].values())
                             if docid in rank)
        topic, rank, grade = np.array(pooled, np.int64).reshape(-1, 3).T
        if judged_only:
            topic, rank, grade = topic[grade >= 0], rank[grade >= 0], grade[grade >= 0]
            self.n = np.bincount(topic, minlength=T)
            rank = np.arange(len(topic)) - (np.cumsum(self.n) - self.n)[topic] + 1
        self.topic, self.rank, self.grade, self.is_rel = topic, rank, grade, grade >= level
        self.first = np.searchsorted(topic, np.arange(T))                 # where each topic begins
        self.rel_topic, self.rel_rank = topic[self.is_rel], rank[self.is_rel]
        self.k = self.so_far(self.is_rel)
        self.pool_topic = np.repeat(np.arange(T), [len(self.qrels[qid]) for qid in self.qids])
        self.pool_grade = np.array([g for qid in self.qids for g in self.qrels[qid].values()], np.int64)
        self.R = np.bincount(self.pool_topic[self.pool_grade >= level], minlength=T)
        self.N = np.bincount(self.pool_topic[self.pool_grade >= 0], minlength=T) - self.R
        self.found = self.found_by(np.inf)
        self.precision, self.recall = _ratio(self.found, self.n), _ratio(self.found, self.R)

    def mismatch(self, complete):
        """A message where run and qrels share no topic (an error unless complete) or no document; or ''."""
        if len(self.topic):
            return ""
        what, sides = "topic", [{qid: docids for qid, (docids, _) in self.run.items() if docids}, self.qrels]
        if self.present.any():
            what, sides = "document", [{_str(d) for docs in side.values() for d in docs} for side in sides]
        message = "" if set(sides[0]) & set(sides[1]) else f"no {what} in common: " + ", ".join(
            f"{name} has {len(ids)} {what}s" + (f" such as {min(ids)!r}" if ids else "")
            for name, ids in zip(self.names, sides))
        if not (self.present.any() or complete and self.T):
            raise TrecError(message, 7)
        return message

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

    def judged_by(self, cut):
        """Judged documents in the top cut (T,)."""
        return np.bincount(self.topic[(self.grade >= 0) & (self.rank <= cut)], minlength=self.T)

    def ap(self, cut=np.inf):
        return _ratio(self.total(np.where(self.rel_rank <= cut, self.k / self.rel_rank, 0)), self.R)    # (31)

    def bpref(self, _):
        t, above = self.rel_topic, self.so_far((self.grade >= 0) & ~self.is_rel)
        lost = _ratio(np.minimum(above, self.R[t]), np.minimum(self.N[t], self.R[t]))
        return _ratio(self.total(1 - lost), self.R)

    def inf_ap(self, _):
        j, judged, pooled = self.rel_rank, self.so_far(self.grade >= 0), self.so_far(self.rank > 0)
        above = _ratio(pooled - 1, j - 1) * ((self.k - 1 + 1e-5) / (judged - 1 + 2e-5))
        return _ratio(self.total(np.where(j == 1, 1.0, 1.0 / j + (j - 1) / j * above)), self.R)

    def iprec(self, recall):
        reached, best = self.k >= np.floor(recall * self.R + 0.5)[self.rel_topic], np.zeros(self.T)     # (34)
        np.maximum.at(best, self.rel_topic[reached], (self.k / self.rel_rank)[reached])
        return best

    def ndcg(self, gains, cut=np.inf):
        levels, topic = np.unique(np.append(self.pool_grade, 0)), self.pool_topic
        gain = np.array([gains.get(int(level), float(level)) if level >= 0 else 0 for level in levels])
        ideal = gain[np.searchsorted(levels, self.pool_grade)]
        ideal = ideal[np.lexsort((-ideal, topic))]                            # each topic's best first
        rank = np.arange(len(ideal)) - np.searchsorted(topic, topic) + 1
        best = self.total(np.where((ideal > 0) & (rank <= cut), ideal / np.log2(rank + 1), 0), topic)   # (33)
        own = np.where(self.rank <= cut, gain[np.searchsorted(levels, self.grade)], 0)
        return _ratio(self.total(own / np.log2(self.rank + 1), self.topic), best)

    def utility(self, p):
        if len(p) != 4:
            raise TrecError(f"utility takes 4 coefficients, not {len(p)}", 4)
        found, n, R = self.found, self.n, self.R
        cells = found, n - found, R - found, self.n_docs + found - n - R
        return np.where(self.present, sum((weight * cell for weight, cell in zip(p, cells)), -0.0), 0.0)

    def relstring(self, p):
        n = int(min(max(p[0], 0), self.n.max(initial=0)))
        marks, top = np.full((self.T, n + 1), b"-"), self.rank <= n           # "-": not in the pool
        grade = np.where(self.grade < 0, 11, self.grade.clip(0, 10))[top]
        marks[self.topic[top], self.rank[top] - 1] = np.array([*b"0123456789>."], np.uint8).view("S1")[grade]
        return np.array([_str(b"".join(row[:min(n, m)])) for row, m in zip(marks.tolist(), self.n)], object)


_CUTS, _TENTHS = "5,10,15,20,30,100,200,500,1000", "0,.1,.2,.3,.4,.5,.6,.7,.8,.9,1"
# In trec_eval's order, name: (how to sum up topics, kind of parameters, their default, function of Judged and
# one parameter). A `cut` (whole number) or `point` (fraction) is a line each, `values` or `gains` are one.
MEASURES = {
    "runid": ("tag", "", "", None), "num_q": ("count", "", "", lambda x, _: np.ones(x.T, int)),
    "num_ret": ("sum", "", "", lambda x, _: x.n), "num_rel": ("sum", "", "", lambda x, _: x.R),
    "num_rel_ret": ("sum", "", "", lambda x, _: x.found),
    "map": ("mean", "", "", lambda x, _: x.ap()), "gm_map": ("geometric", "", "", lambda x, _: x.ap()),
    "Rprec": ("mean", "", "", lambda x, _: _ratio(x.found_by(x.R), x.R)),
    "bpref": ("mean", "", "", Judged.bpref),
    "recip_rank": ("mean", "", "", lambda x, _: x.total((x.k == 1) / x.rel_rank)),
    "iprec_at_recall": ("mean", "point", _TENTHS, Judged.iprec),
    "P": ("mean", "cut", _CUTS, lambda x, cut: x.found_by(cut) / cut),
    "relstring": ("text", "values", "10", Judged.relstring),
    "recall": ("mean", "cut", _CUTS, lambda x, cut: _ratio(x.found_by(cut), x.R)),
    "infAP": ("mean", "", "", Judged.inf_ap), "gm_bpref": ("geometric", "", "", Judged.bpref),
    "Rprec_mult": ("mean", "point", ".2,.4,.6,.8,1,1.2,1.4,1.6,1.8,2",
                   lambda x, m: _ratio(x.found_by(np.floor(m * x.R + 0.9)), np.floor(m * x.R + 0.9))),
    "utility": ("mean", "values", "1,-1,0,0", Judged.utility),
    "11pt_avg": ("mean", "values", _TENTHS, lambda x, p: sum(x.iprec(point) for point in p[::-1]) / len(p)),
    "binG": ("mean", "", "", lambda x, _: _ratio(x.total(1 / np.log2(2 + x.rel_rank - x.k)), x.R)),
    "ndcg": ("mean", "gains", "", Judged.ndcg),
    "ndcg_cut": ("mean", "cut", _CUTS, lambda x, cut: x.ndcg({}, cut)),
    "map_cut": ("mean", "cut", _CUTS, Judged.ap),
    "relative_P": ("mean", "cut", _CUTS, lambda x, cut: _ratio(x.found_by(cut), np.minimum(cut, x.R))),
    "success": ("mean", "cut", "1,5,10", lambda x, cut: (x.found_by(cut) > 0) * 1.0),
    "set_P": ("mean", "", "", lambda x, _: x.precision),
    "set_relative_P": ("mean", "", "", lambda x, _: _ratio(x.found, np.minimum(x.n, x.R))),
    "set_recall": ("mean", "", "", lambda x, _: x.recall),
    "set_map": ("mean", "", "", lambda x, _: _ratio(x.found * x.found, x.n * x.R)),
    "set_F": ("mean", "values", "1", lambda x, p: _ratio((p[0] + 1) * x.precision * x.recall,
                                                         p[0] * x.precision + x.recall)),
    "num_nonrel_judged_ret": ("sum", "", "", lambda x, _: x.judged_by(np.inf) - x.found),
    "unj": ("mean", "cut", "5,10,20", lambda x, cut: (np.minimum(x.n, cut) - x.judged_by(cut)) / cut),
    "recip_rank_cut": ("mean", "cut", "10",                                    # these two are not trec_eval's
                       lambda x, cut: x.total((x.k == 1) * (x.rel_rank <= cut) / x.rel_rank)),
    "judged": ("mean", "cut", "10", lambda x, cut: x.judged_by(cut) / cut),
}
_TREC = list(MEASURES)[:-2]
NICKNAMES = {"official": _TREC[:12], "all_trec": _TREC,
             "set": [*_TREC[:5], "utility", *(name for name in _TREC if name.startswith("set_"))]}
# As users write them, in any case, bare and with `@` and a cut-off.
BARE = dict(ap="map", map="map", ndcg="ndcg", rr="recip_rank", mrr="recip_rank")
CUT = {name: f"{measure}_cut" for name, measure in BARE.items()} | dict(
    p="P", r="recall", recall="recall", recip_rank="recip_rank_cut", success="success", judged="judged")
_FORMS = {"": "(?!)", "cut": r"\d+(,\d+)*", "gains": rf"\d+={_FLOAT}(,\d+={_FLOAT})*",
          "point": f"{_FLOAT}(,{_FLOAT})*", "values": f"{_FLOAT}(,{_FLOAT})*"}


def _parameters(name, text, strict):
    """[(printed name, parameter)] of a measure; strict reads words as atol and atof: a leading part, or 0."""
    _, kind, default, _ = MEASURES[name]
    if text and not strict and not re.fullmatch(_FORMS[kind], text):
        raise TrecError(f"{name} takes no {text}" + f"; write {name}@{text}" * (f"{name}_cut" in MEASURES), 1)
    if not kind or not (text or default):
        return [(name, {})]
    words, whole = (text or default).split(","), r"[+-]?\d+"
    numbers = [float((re.match(whole if kind == "cut" else _FLOAT, word.rpartition("=")[2]) or "0")[0])
               for word in words]
    if kind == "gains" and any(word.count("=") != 1 for word in words) or math.inf in map(abs, numbers):
        raise TrecError(f"{name}.{text}: too large, or not of the form {name}.GRADE=GAIN,GRADE=GAIN", 2)
    if kind == "gains":
        grades = [re.fullmatch(whole, word.partition("=")[0]) for word in words]
        numbers = {int(grade[0]): gain for grade, gain in zip(grades, numbers) if grade}
    if kind not in ("cut", "point"):
        return [(f"{name}_{text}" if text else name, numbers)]
    values = sorted(min(int(number), 2**63 - 1) if kind == "cut" else number for number in numbers)
    if kind == "cut" and values[0] <= 0 or len(set(values)) < len(values):
        raise TrecError(f"cut-offs {text!r} of {name}: they must be above 0 and all different", 2)
    return [(f"{name}_{value}" if kind == "cut" else f"{name}_{value:3.2f}", value) for value in values]


def parse_measures(specs, strict=False):
    """[(printed name, summary, function of Judged)] for map, P.5,10, P_5, official, MRR@10, AP and the like.

    strict reads as trec_eval: no P_5 or MRR@10, the first parameters given for a name, and in its order.
    Raises: TrecError for an unknown measure and, unless strict, for parameters that it would not read.
    """
    asked, found, texts, known = [], {}, {}, sorted(_TREC if strict else MEASURES, key=len, reverse=True)
    for spec in [specs] if isinstance(specs, str) else specs:
        match = re.fullmatch(rf"({'|'.join(known)})(?:[{'.' if strict else '._'}](.+))?", spec)
        base, at, cut = spec.partition("@")
        alias = "" if strict else (CUT if at else BARE).get(base.lower())
        if match or spec in NICKNAMES:
            for name in [match[1]] if match else NICKNAMES[spec]:
                asked.append((name, match and match[2] or "", ""))
        elif alias and cut.isdecimal() == bool(at):
            asked.append((alias, cut, spec))
        else:
            raise TrecError(f"illegal measure {spec!r}; there are {', '.join([*NICKNAMES, *_TREC])}"
                            + ", AP@10, nDCG@10, MRR@10, P@10, R@10, Success@10, Judged@10" * (not strict), 1)
    if strict:
        for name, text, _ in asked:
            texts[name] = texts.get(name) or text
        asked = [(name, texts[name], "") for name in _TREC if name in texts]
    for name, text, label in asked:
        for printed, p in _parameters(name, text, strict):
            how, *_, function = MEASURES[name]
            found.setdefault(label or printed, (label or printed, how, lambda x, f=function, p=p: f(x, p)))
    return list(found.values())


def average(summary, values):
    """A measure's summary over topics: sum, mean, or geometric mean with values raised to 1e-5 at least."""
    if summary in ("sum", "count"):
        return int(np.sum(values))
    values = np.log(np.maximum(values, 1e-5)) if summary == "geometric" else values
    mean = float(np.cumsum([0.0, *values])[-1] / len(values))             # adds in order, np.sum would not
    return math.exp(mean) if summary == "geometric" else mean


def evaluate(qrels, run, measures=("map",), level=1, depth=None, judged_only=False, complete=True,
             float32=False):
    """Values per query {measure: {qid: value}}, as trec_eval -q prints them.

    Args:
        qrels: {qid: {docid: grade}} or a path. A grade below 0: in the pool, not judged.
        run: {qid: {docid: score}} or a path, which is by far the fastest for a large run.
        measures: names, see `parse_measures`; level: lowest grade that counts as relevant (-l).
        depth: documents kept a topic (-M), None: all; judged_only: drop the unjudged, close the gaps (-J).
        complete: every judged query, 0 where the run lacks it (-c): leaving them out would inflate means.
        float32: rank by scores rounded to float32, as trec_eval did before 2023.
    Raises: ValueError for bad input, or no common query unless complete. Warns where no query or docid is.
    """
    measures, x = parse_measures(measures), Judged(qrels, run, level, depth, judged_only, float32)
    if problem := x.mismatch(complete):
        warnings.warn(problem, stacklevel=2)
    return {name: {qid: v for qid, v, ok in zip(x.qids, function(x).tolist(), x.present) if ok or complete}
            for name, how, function in measures if how != "tag"}


def summary(qrels, run, measures=("map",), **options):
    """{measure: mean over queries}, of counts the sum, of gm_map the geometric; arguments as `evaluate`."""
    values = evaluate(qrels, run, measures, **options)
    return {name: average(how, list(values[name].values())) for name, how, _ in parse_measures(measures)
            if how not in ("tag", "text")}


def trec(qrels, run, measures=("official",), by_query=False, complete=False, summary=True, level=1,
         depth=None, judged_only=False, n_docs=0, float32=False):
    """The text trec_eval 10.0 prints; the arguments are its -m -q -c -n -l -M -J -N. Notes go to stderr."""
    measures = parse_measures(measures, strict=True)
    x = Judged(qrels, run, level, depth, judged_only, float32, n_docs)
    if problem := x.mismatch(complete):
        print(f"note: {problem}", file=sys.stderr)
    if missing := np.count_nonzero(~x.present):
        print(f"note: {missing} of {x.T} judged topics are not in the run:",
              "they score 0" if complete else "left out; -c scores them 0", file=sys.stderr)
    columns = [(f"{name:<22}", how, how != "tag" and function(x)) for name, how, function in measures]
    keep, lines = np.flatnonzero(x.present | complete), []
    form = {"text": "'{}'", "mean": "{:6.4f}", "geometric": "{:6.4f}"}
    for i in keep if by_query else ():
        lines += [f"{name}\t{x.qids[i]}\t{form.get(how, '{}').format(values[i])}\n"
                  for name, how, values in columns if how in ("sum", "mean", "text")]
    for name, how, values in columns if summary else ():
        if how != "text":
            value = x.tag if how == "tag" else average(how, values[keep])
            lines.append(f"{name}\tall\t{form.get(how, '{}').format(value)}\n")
    return "".join(lines)


# ---- significance: paired over queries, two-sided ----

def differences(a, b=None):
    """Differences a - b (Q,), or a alone, of lists of values or of {query: value} with the same queries.

    Raises: ValueError where the queries differ, are less than 2, or have a value that is nan or infinite.
    """
    both, names = [a] if b is None else [a, b], sorted(a) if isinstance(a, dict) else range(len(a))
    if len(both[-1]) != len(a) or len(a) < 2 or isinstance(a, dict) and set(both[-1]) != set(a):
        raise ValueError(f"{len(a)} and {len(both[-1])} values; must be of the same queries, 2 or more")
    both = np.array([[values[query] for query in names] for values in both], float)     # (1 or 2, Q)
    for i in np.flatnonzero(~np.isfinite(both).all(0)):
        raise ValueError(f"query {names[i]!r} has {both[:, i].tolist()}; give it numbers, or leave it out")
    return both[0] - both[1:].sum(0)


Paired = namedtuple("Paired", "mean low high t p")         # difference, 95% interval, statistic, two-sided p


def t_test(a, b, seeds=()):
    """Paired t-test over queries, and over seeds if given. No difference: t 0, p 1; one everywhere: +-inf, 0.

    Args: a, b as for `differences`, or lists of {query: value}, one a test set. Of several sets the mean of
    their means is tested: a query that several have is one observation, and the degrees of freedom are the
    smallest set's, the careful choice. seeds: the mean difference (S,) of each; both queries and seeds are
    drawn by chance, so their variances of the mean add up (degrees of freedom: Satterthwaite 1946).

    >>> [round(value, 4) for value in t_test([3, 4, 5, 8], [1, 2, 3, 2])]
    [3.0, -0.1824, 6.1824, 3.0, 0.0577]
    """
    sets = list(zip(a, b, strict=True)) if isinstance(next(iter(a), 0), dict) else [(a, b)]
    found, parts = [differences(*pair) for pair in sets], {}
    mean, largest = float(np.mean([d.mean() for d in found])), max(abs(d).max() for d in found)
    for d, (values, _) in zip(found, sets):
        off = (d - d.mean()) / len(found) / math.sqrt(len(d) * (len(d) - 1))      # its part in the error
        for query, part in zip(sorted(values) if isinstance(values, dict) else range(len(d)), off):
            parts.setdefault(query, []).append(part)
    squares, free = [sum(sum(own) ** 2 for own in parts.values())], [min(map(len, found)) - 1]
    if len(seeds) > 1:
        squares, free = [*squares, np.var(seeds, ddof=1) / len(seeds)], [*free, len(seeds) - 1]
    error = math.sqrt(sum(squares))
    if error <= 1e-12 * largest:                                          # the same in every query
        same = abs(mean) <= 1e-12 * largest
        return Paired(mean, mean, mean, 0.0 if same else math.copysign(math.inf, mean), float(same))
    df = sum(squares) ** 2 / sum(square ** 2 / n for square, n in zip(squares, free))
    half, p = special.stdtrit(df, 0.975) * error, 2 * special.stdtr(df, -abs(mean / error))
    return Paired(mean, float(mean - half), float(mean + half), mean / error, float(p))


def randomisation_test(a, b, samples=10_000, seed=0):
    """Two-sided p of the mean difference if its signs were coin tosses (Fisher), exact if 2^Q <= samples."""
    d, rng = differences(a, b), np.random.default_rng(seed)
    exact = len(d) <= math.log2(samples)
    sides = product((0, 1), repeat=len(d)) if exact else rng.integers(0, 2, (samples, len(d)), np.int8)
    sums = abs(np.array([2 * np.dot(d, heads) for heads in sides]) - d.sum())
    extreme = np.count_nonzero(sums >= abs(d.sum()) - 1e-12 * abs(d).sum())
    return extreme / len(sums) if exact else (1 + extreme) / (1 + samples)


def holm(p):
    """Adjusted p-values (Holm 1979): i-th smallest of m times m - i + 1, not below the one before, at most 1.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, worst = [0.0] * len(p), 0.0
    for i, k in enumerate(sorted(range(len(p)), key=lambda k: p[k])):
        if not 0 <= p[k] <= 1:
            raise ValueError(f"comparison {k + 1} of {len(p)}: p is {p[k]}, not from 0 to 1")
        adjusted[k] = worst = max(worst, min(1.0, (len(p) - i) * p[k]))
    return adjusted


def compare(qrels, runs, measures=("map",), test="t", form="markdown", **options):
    """A table of each run's means and what they gain on the first run's, with 95% intervals and p-values.

    Args: runs {name: run}; test: "t" or "randomisation"; form: "markdown" or "latex"; else as for `evaluate`.
    """
    if wrong := [measure for measure, how, _ in parse_measures(measures) if how != "mean"]:
        raise ValueError(f"{wrong[0]} is no mean over queries, as a difference needs; take map, P_10 ...")
    found, p = {name: evaluate(qrels, run, measures, **options) for name, run in runs.items()}, {}
    base, lines = next(iter(found)), [["measure", "run", "mean", "difference", "95% interval", "p"]]
    for measure, name in product(found[base], found):
        pair = found[name][measure], found[base][measure]
        lines.append([measure, name, f"{average('mean', list(pair[0].values())):.4f}", "", "", ""])
        if name != base:
            found_t = t_test(*pair)
            p[len(lines) - 1] = found_t.p if test == "t" else randomisation_test(*pair)
            lines[-1][3:5] = f"{found_t.mean:+.4f}", f"{found_t.low:+.4f} to {found_t.high:+.4f}"
    for i, value in zip(p, holm(list(p.values()))):
        lines[i][5] = f"{value:.4f}"
    note = (f"Differences to {base}, paired over queries; intervals: t; p: two-sided paired "
            f"{'t-' if test == 't' else 'randomisation '}test, Holm correction over {len(p)} comparisons.\n")
    if form == "markdown":
        lines.insert(1, ["---", "---", *["---:"] * 4])
        return "".join(f"| {' | '.join(line)} |\n" for line in lines) + f"\n{note}"
    rows = "".join(" & ".join(line) + r" \\" + "\n" for line in lines)
    return re.sub(r"([_%#$])", r"\\\1", "\\begin{tabular}{llrrrr}\n" + rows + "\\end{tabular}\n\n" + note)


def _arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="trec|compare", required=True)
    for command, text in (("trec", "print what trec_eval 10.0 prints"), ("compare", "runs beside the first")):
        p = commands.add_parser(command, help=text, description=text, allow_abbrev=False)
        p.add_argument("-m", dest="measures", action="append", help="a measure (default: official, or map)")
        p.add_argument("-l", dest="level", type=int, default=1, help="lowest relevant grade (default 1)")
        p.add_argument("-M", dest="depth", type=int, help="documents kept a topic (default: all)")
        p.add_argument("-J", dest="judged_only", action="store_true", help="drop what is not judged")
        p.add_argument("--float32", action="store_true", help="scores in float32, as before 2023")
        p.add_argument("qrels", help="judgements, `qid iter docid grade` a line")
        if command == "trec":
            p.add_argument("-q", dest="by_query", action="store_true", help="every topic before the summary")
            p.add_argument("-c", dest="complete", action="store_true", help="all judged topics, missing: 0")
            p.add_argument("-n", dest="summary", action="store_false", help="no summary")
            p.add_argument("-N", dest="n_docs", type=int, default=0, help="collection's size, for utility")
            p.add_argument("run", help="ranking, `qid iter docid rank score tag` a line; - is standard input")
        else:
            p.add_argument("--test", choices=["t", "randomisation"], default="t", help="default t")
            p.add_argument("--format", dest="form", choices=["markdown", "latex"], default="markdown")
            p.add_argument("runs", nargs="+", metavar="run", help="rankings, the first is the baseline")
    return {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}


def main(argv=None):
    """Run a command; bad input is one line on stderr and trec_eval's status, or 2."""
    try:
        args = _arguments(argv)
        if args.pop("command") == "trec":
            text = trec(**args)
        else:
            warnings.formatwarning = lambda message, *_: f"note: {message}\n"
            text = compare(runs={run: run for run in args.pop("runs")}, **args)
        with open(sys.stdout.fileno(), "wb", closefd=False) as file:
            file.write(text.encode("utf-8", "surrogateescape"))           # names may be any bytes
        return 0
    except SystemExit as stop:                                            # argparse's 2 is trec_eval's 1
        sys.exit(1 if stop.code else 0)
    except (ValueError, OSError, MemoryError, KeyboardInterrupt) as error:
        print(f"error: {str(error) or type(error).__name__}", file=sys.stderr)
        return error.args[1] if isinstance(error, TrecError) else 2


if __name__ == "__main__":
    sys.exit(main())

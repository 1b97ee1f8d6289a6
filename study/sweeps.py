# SPDX-License-Identifier: MIT
"""The studies around the main table: answers (7), hybrid batches (8), size (9), alignment (10), cost (11).

The students of tables 3 to 7 are those of `study.students train`.
"""
import re
import shutil
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np

import data
import evaluate
from optical import documents_of, fit, length_batches, links, maxsim, plans_of, ranking_loss
from study import baselines, tables
from study.experiment import (close_experiment, commands_of, languages, load, open_experiment, run_command,
                              training_of, write_json)
from study.students import arguments, as_chosen, choices, search_tests, tests_of, train_one


def row_of(args, table, method, lang, head, measure, value, n, facts):
    """A row of scores.json; `head`: the manifest's entry of `lang`; `facts`: what it was measured on."""
    return {"table": table, "method": method, "lang": lang, "measure": measure,
            "value": round(float(value), 6), "n_queries": n, "seeds": [args.seed], "name": head["name"],
            "class": head["class"], "signature": f"{measure.partition(',')[0]}|{facts}|v:1"}


def token_f1(text, gold):
    """F1 of the words two texts share, as SQuAD counts: lower case, no punctuation, no English article.

    >>> token_f1("The farmer sold a goat.", "the farmer sold two goats")         # 2 of 3 words, 2 of 4
    0.5714285714285714
    """
    words = [Counter(word for word in re.sub(r"[^\w\s]", "", t.lower()).split()
                     if word not in ("a", "an", "the")) for t in (text, gold)]
    common = sum((words[0] & words[1]).values())
    return 2 * common / max(1, sum(words[0].values()) + sum(words[1].values()))


def answers(args):
    """Accuracy and token F1 of the first document of every run in RUNS/<set>, as rows of table 7.

    Right is a document of the query's highest grade; F1 is against the nearest of these.
    """
    root, manifest, rows = Path(args.data), data.load_manifest(args.data), []
    for test in manifest["tests"]:
        docs = data.read_tsv(root / manifest["docs"][test["docs"]])
        qrels = evaluate.read_qrels(root / test["qrels"])
        gold = {q: [d for d, grade in row.items() if grade == max(row.values())] for q, row in qrels.items()}
        for path in sorted((Path(args.runs) / test["set"]).glob(f"*.s{args.seed}.trec")):
            run, values = evaluate.read_run(path), []
            for qid, right in gold.items():
                found = run.get(qid, {})
                first = max(found, key=lambda d: (found[d], d), default=None)
                f1 = max(token_f1(docs[first], docs[d]) for d in right) if first else 0.0
                values.append((first in right, f1))
            name, facts = path.name.removesuffix(f".s{args.seed}.trec"), f"nq:{len(gold)}|qrels:"
            rows += [row_of(args, "7", name, test["set"], test, measure, value, len(gold),
                            facts + evaluate.qrels_hash(qrels))
                     for measure, value in zip(("accuracy", "F1"), np.mean(values, 0))]
    if not rows:
        raise ValueError(f"{args.runs}: no run; expected files <set>/<method>.s{args.seed}.trec")
    tables.write_rows(args.out, rows)


class Hybrid:
    """Training queries in a language drawn from `langs`, with English documents with probability `cross`,
    else with those of their own language. Other queries' documents are negatives, but for relevant ones.
    """

    def __init__(self, args, langs, encoder):
        root, manifest = Path(args.data), data.load_manifest(args.data)
        self.args, self.langs = args, langs
        self.triples = data.read_triples(root / manifest["train"]["triples"])
        self.queries, self.docs, self.relevant = {}, {}, {}                    # (language, id): token ids
        for lang in ["en", *langs]:
            paths = manifest["train"] if lang == "en" else manifest["langs"][lang].get("parallel")
            if not paths:
                raise ValueError(f"{args.data}/collection.json: no training documents in {lang!r}; "
                                 "leave it out of --langs")
            for rows, kind, name in ((self.queries, "query", "queries"), (self.docs, "doc", "docs")):
                texts = data.read_tsv(root / paths[name])
                rows |= {(lang, key): row for key, row in zip(texts, encoder.tokens(texts.values(), kind))}
        for qid, docid, _ in self.triples:
            self.relevant.setdefault(qid, set()).update((lang, docid) for lang in ["en", *langs])

    def batch(self, index, step, cross):
        """A batch: [(language, qid), ...], [(language, docid), ...], target and other of documents_of."""
        rng = np.random.default_rng([self.args.seed, step])
        queries, batch = [], []
        for qid, docid, negatives in (self.triples[i] for i in index):
            lang = self.langs[rng.integers(len(self.langs))]
            side = "en" if rng.random() < cross else lang
            queries.append((lang, qid))
            batch.append((qid, (side, docid), [(side, d) for d in negatives]))
        return queries, *documents_of(batch, self.relevant, self.args.negatives, rng)

    def loss(self, encoder, index, step, cross):
        """Equation (3) of optical.py for one batch, both sides trained."""
        queries, docs, target, other = self.batch(index, step, cross)
        q, q_mask = encoder([self.queries[key] for key in queries])
        d, d_mask = encoder([self.docs[key] for key in docs])
        loss, stats = ranking_loss(maxsim(q, q_mask, d, d_mask), target, other)
        return loss, {**stats, "tokens": int(q_mask.sum() + d_mask.sum())}


def hybrid(args):
    """An encoder for each share of cross-lingual samples (--cross), and its runs: table 8.

    In low-resource languages it searches the English documents, in high-resource ones those of the language.
    """
    manifest, langs = data.load_manifest(args.data), languages(args)
    tests = [test for kind, key in (("low", "tests"), ("high", "monolingual"))
             for test in manifest.get(key, ()) if test["class"] == kind and test["lang"] in langs]
    for cross in args.cross:
        folder = Path(args.out) / f"cross={cross:g}"
        part = open_experiment(folder, args, cross=cross)
        if part is None:
            continue
        encoder = load(args.teacher, args)
        lesson = Hybrid(args, langs, encoder)
        lengths = [len(lesson.docs["en", docid]) for _, docid, _ in lesson.triples]
        spent = fit(encoder, length_batches(lengths, args.batch, args.steps, args.seed),
                    lambda index, step: lesson.loss(encoder, index, step, cross), part, args.lr,
                    name=folder.name, **training_of(args))
        own = Namespace(**{**vars(args), "cache": part / "vectors"})
        spent |= search_tests(own, tests, encoder, encoder, folder.name)
        shutil.rmtree(part / "vectors")
        close_experiment(part, folder, {"cross": cross, **spent})


def scale(args):
    """OPTICAL with each of --teachers: runs and rows of table 9, accuracy on dev and the retrieval tasks."""
    manifest, rows, sizes, langs = data.load_manifest(args.data), [], [], languages(args)
    tasks = [test for test in manifest.get("retrieval", ()) if test["lang"] in langs]
    for folder in args.teachers:
        own = as_chosen(args, "optical")
        own.teacher, own.cache = folder, Path(folder).parent / "vectors"
        teacher, bitexts = load(folder, own), {}
        name = f"params={sum(p.numel() for p in teacher.parameters()) / 1e6:.2f}M"
        if name in sizes:
            raise ValueError(f"--teachers: two of {name}; give one of each size")
        sizes.append(name)
        for lang in langs:

            def then(student, _):
                tests = tests_of(own, lang)
                search_tests(own, tests, teacher, teacher, f"{name},english", "english")
                tests += [task for task in tasks if task["lang"] == lang]
                return search_tests(own, tests, student, teacher, name)

            done = train_one(Path(args.out) / name / lang, lang, "optical", own, teacher, bitexts, then)
            entry = manifest["langs"][lang]
            n = len(data.read_bitext(Path(args.data) / entry["dev"]))
            rows.append(row_of(args, "9", name, lang, entry, "accuracy", done["dev_accuracy"], n,
                               f"dev pairs:{n}"))
    for test in tasks:
        qrels = evaluate.read_qrels(Path(args.data) / test["qrels"])
        measure = "success_1" if test["measure"].startswith("accuracy") else "map_cut_20"   # one is relevant
        for name in sizes:
            run = Path(args.runs) / test["set"] / f"{name}.s{args.seed}.trec"
            values = list(evaluate.evaluate(qrels, run, [measure])[measure].values())
            rows.append(row_of(args, "9", name, test["lang"], test, test["measure"], np.mean(values),
                               len(values), f"nq:{len(values)}|qrels:{evaluate.qrels_hash(qrels)}"))
    tables.write_rows(args.rows, rows)


def align(args):
    """Alignment error rates against gold links of the dev bitext, for every language that has them: OUT.

    --plan: one pair's plan for a drawing, {"rows": English words, "columns": source words, "plan": mass}.
    """
    root, manifest, rows = Path(args.data), data.load_manifest(args.data), []
    teacher = load(args.teacher, args)
    for lang in languages(args):
        entry, found = manifest["langs"][lang], {}
        pairs = data.read_bitext(root / entry["dev"])
        optical = load(Path(args.students) / lang / "optical", args)
        if args.plan and not Path(args.plan).exists():
            (plan, _), = plans_of(teacher, optical, pairs[:1], args.epsilon, args.max_tokens)
            english, source = (text.split()[:n] for text, n in zip(pairs[0], plan.shape))    # may be cut
            gold = data.read_links(root / entry["dev_links"])[0] if entry.get("dev_links") else []
            write_json(args.plan, {"rows": english, "columns": source, "plan": plan.tolist(), "links": gold})
        if not entry.get("dev_links"):
            continue
        gold = data.read_links(root / entry["dev_links"])
        students, greedy = {"zero-shot": teacher}, Path(args.students) / lang / "greedy"
        students |= {"greedy student": load(greedy, args)} if greedy.exists() else {}
        students["optical student"] = optical
        for name, student in students.items():
            for matrices in plans_of(teacher, student, pairs, args.epsilon, args.max_tokens):
                for way, matrix in zip(("plan", "greedy match"), matrices):
                    for mutual in (False, True):
                        found.setdefault((f"{name}, {way}", mutual), []).append(links(matrix, mutual))
        train = data.read_bitext(root / entry["train"])[:entry["pairs"]]
        tokens = [[baselines.indexed_words(text) for text in pair] for pair in train]
        to_english = baselines.Model1([(x, e) for e, x in tokens])
        to_source = baselines.Model1(tokens)
        for e, x in ([baselines.indexed_words(text) for text in pair] for pair in pairs):
            reverse = {(i, j) for j, i in enumerate(to_source.best(e, x)) if i >= 0}
            found.setdefault(("IBM Model 1", False), []).append(sorted(reverse))
            found.setdefault(("IBM Model 1", True), []).append(baselines.align(e, x, to_english, to_source))
        rows += [row_of(args, "10", name, lang, entry, "aer, both ways" if mutual else "aer",
                        baselines.aer(guessed, gold), len(gold),
                        f"pairs:{len(gold)}|links:{sum(map(len, gold))}")
                 for (name, mutual), guessed in found.items()]
    tables.write_rows(args.out, rows)


def cost(args):
    """Rows of table 11, medians over what table 2 was made with: done.json and train.jsonl of experiments."""
    root, rows, device = Path(args.root), {}, None
    for path in sorted(root.glob("s*/*/**/done.json")):
        unit, done = path.parent.relative_to(root).parts, data.read_json(path)
        if unit[1] not in ("encoder", "teacher", "students", "nmt", "search") or "tune" in unit:
            continue
        if unit[1] == "search":
            searched = done
        else:
            device = data.read_json(path.parent / "args.json")["device"]
            name = done.get("method") or ("NMT" if "dev_chrf" in done else unit[1])
            searched, log = {name: done}, path.with_name("train.jsonl")
            if log.exists():                                         # a pre-trained translator has none
                lines, kind = [line for *_, line in data.json_lines(log)], rows.setdefault(name, {})
                kind.setdefault("seconds", []).append(done["seconds"])
                kind.setdefault("tokens_per_s", []).append(lines[-1]["tokens_per_s"])
                kind.setdefault("memory_gb", []).append(max(line["memory_gb"] for line in lines))
        for name, spent in searched.items():
            for value in spent.get("search_ms", {}).values():
                rows.setdefault(name, {}).setdefault("search_ms_per_query", []).append(value)
    if device is None:
        raise ValueError(f"{root}: no finished experiment; run bash run_all.sh first")
    tables.write_rows(args.out, [
        {"table": "11", "method": name, "lang": "all", "measure": measure, "n_queries": len(values),
         "value": round(float(np.median(values)), 4), "seeds": [], "name": device,
         "signature": f"median|n:{len(values)}|device:{device}"}
        for name, kinds in rows.items() for measure, values in kinds.items()])


def parser():
    return commands_of("sweeps", __doc__, {"answers": answers, "cost": cost, "hybrid": hybrid, "scale": scale,
                                           "align": align}, **choices())


def main(argv=None):
    return run_command(arguments(parser(), sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""The studies around the main table: what each part of OPTICAL adds, alignment, cost.

    1. sweep   students under changed settings, each searched with: tables 3 to 7
    2. answers accuracy and F1 of the first document of a run: table 7
    3. hybrid  one encoder for queries and documents, from batches that mix languages: table 8
    4. scale   OPTICAL with teachers of several sizes: table 9
    5. align   alignment error rate of plan, greedy match and IBM Model 1: table 10
    6. cost    seconds, tokens per second and memory of everything that was trained: table 11
    7. figures MAP against bitext size, mixing and model size, the plan of a sentence pair: TSV, and SVG
               where matplotlib is installed

A setting is `key=value` of an option of `optical.py distil`, several are joined by commas:
`plan=ipot`, `methods=mean,pairs=250`, `augment`. Its name is the row of the table.
"""
import argparse
import re
import shutil
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

import baselines
import data
import evaluate
import ot
import report
from optical import (Bitext, Encoder, close_experiment, command_options, document_indexes, documents_of,
                     finish_student, finished, fit, language_options, languages, length_batches, load_teacher,
                     open_experiment, rate_options, rates, read_json, read_jsonl, run_command,
                     search, set_dropout, share_out, shared_options, student_options, teacher_loss,
                     teacher_options, training_options)


def row_of(args, table, method, lang, head, measure, value, n, facts):
    """A row of scores.json; `head`: the manifest's entry of `lang`; `facts`: what it was measured on."""
    return {"table": table, "method": method, "lang": lang, "measure": measure,
            "value": round(float(value), 6), "n_queries": n, "seeds": [args.seed], "name": head["name"],
            "class": head["class"], "signature": f"{measure.partition(',')[0]}|{facts}|v:1"}


# ---------------------------------------------------------------------------------------- 1. Sweeps

def tests_of(args):
    """{language or several, "sw+so": its test sets}. Raises: ValueError where the collection has none."""
    tests = data.load_manifest(args.data)["tests"]
    found = {lang: [test for test in tests if test["lang"] in lang.split("+")] for lang in languages(args)}
    for lang, own in found.items():
        if not own:
            raise ValueError(f"{args.data}/collection.json: no test set in {lang!r}; leave it out of --langs")
    return found


def search_tests(args, tests, encoder, index_of, name, queries="queries"):
    """Runs RUNS/<set>/<name>.s<seed>.trec of some test sets; index_of(documents) -> (docids, vectors)."""
    for test in tests:
        docids, vectors = index_of(test["docs"])
        run = search(encoder, data.read_tsv(Path(args.data) / test[queries]), vectors, docids)
        evaluate.write_run(Path(args.runs) / test["set"] / f"{name}.s{args.seed}.trec", run,
                           f"{name}.s{args.seed}")


def sweep(args):
    """Students under each of --variants, and their runs RUNS/<set>/<variant>.s<seed>.trec.

    A number of pairs that a language does not reach is left out there: table 2 has the student of all.
    """
    teacher, rate, tests, texts = load_teacher(args), rates(args), tests_of(args), {}
    index_of = document_indexes(args.data, teacher, args.cache)
    units = {(lang, name): Path(args.out) / lang / name for lang in tests for name in args.variants}
    sizes = {name: own.pairs for name, own in args.variants.items() if own.pairs}
    for lang in tests if sizes else ():
        most = Bitext(args.data, lang, teacher, args.cache, max(sizes.values()), args.max_tokens).fewest
        few = [name for name, size in sizes.items() if size > most]
        if few:
            print(f"  {lang}: {most:,} pairs that fit; left out: {' '.join(few)}", flush=True)
        for name in few:
            del units[lang, name]

    def one(folder, lang, name):
        own = args.variants[name]
        method = own.methods[0]
        return finish_student(folder, lang, method, rate(method, own.lr), own, teacher, texts,
                              lambda student, _: search_tests(args, tests[lang], student, index_of, name))

    share_out("sweep", units, one)


def variants(argv, texts):
    """{variant: arguments of `sweep` with its settings}, each checked as an option of the command line is."""
    found = {}
    for text in texts:
        extra = []
        for setting in text.split(","):
            key, _, value = setting.partition("=")
            extra += ["--" + key] + ([value] if value else [])
        found[text] = own = parser().parse_args([*argv, *extra])
        del own.run
        if len(own.methods) != 1:
            own.methods = ["optical"]
    return found


# --------------------------------------------------------------------------------------- 2. Answers

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

    Right is a document of the query's highest grade; F1 is against the nearest of these. Where the documents
    are sentences it is that of the sentence found and the sentence with the answer.
    """
    root, manifest, rows = Path(args.data), data.load_manifest(args.data), []
    for test in manifest["tests"]:
        docs, qrels = (read(root / path) for read, path in (
            (data.read_tsv, manifest["docs"][test["docs"]]), (evaluate.read_qrels, test["qrels"])))
        gold = {q: [d for d, grade in row.items() if grade == max(row.values())] for q, row in qrels.items()}
        for path in sorted((Path(args.runs) / test["set"]).glob(f"*.s{args.seed}.trec")):
            run, values = evaluate.read_run(path), []
            for qid, right in gold.items():
                found = run.get(qid, {})
                first = max(found, key=lambda d: (found[d], d), default=None)
                f1 = max(token_f1(docs[first], docs[d]) for d in right) if first else 0.0
                values.append((first in right, f1))
            for measure, value in zip(("accuracy", "F1"), np.mean(values, 0)):
                rows.append(row_of(args, "7", path.name.removesuffix(f".s{args.seed}.trec"), test["set"],
                                   test, measure, value, len(gold),
                                   f"nq:{len(gold)}|qrels:{evaluate.qrels_hash(qrels)}"))
    if not rows:
        raise ValueError(f"{args.runs}: no run; expected files <set>/<method>.s{args.seed}.trec")
    report.write_rows(args.out, rows)


# ---------------------------------------------------------------------------------------- 3. Hybrid

class Hybrid:
    """Training queries in several languages, each with documents in its own language or in English.

    A query is in a language drawn from `langs`; its documents are English with probability `cross`, else in
    the query's language. The documents of the other queries are its negatives, but for one relevant to it,
    whatever its language.
    """

    def __init__(self, args, langs, encoder):
        root, manifest = Path(args.data), data.load_manifest(args.data)
        self.langs, self.seed, self.negatives = langs, args.seed, args.negatives
        self.triples = data.read_triples(root / manifest["train"]["triples"])
        self.queries, self.docs, self.relevant = {}, {}, {}                    # (language, id): token ids
        for lang in ["en", *langs]:
            paths = manifest["train"] if lang == "en" else manifest["langs"][lang].get("parallel")
            if not paths:
                raise ValueError(f"{args.data}/collection.json: no training documents in {lang!r}; "
                                 "leave it out of --langs")
            for rows, kind, texts in ((self.queries, "query", data.read_tsv(root / paths["queries"])),
                                      (self.docs, "doc", data.read_tsv(root / paths["docs"]))):
                rows |= {(lang, key): row for key, row in zip(texts, encoder.tokens(texts.values(), kind))}
        for qid, docid, _ in self.triples:
            self.relevant.setdefault(qid, set()).update((lang, docid) for lang in ["en", *langs])

    def batch(self, index, step, cross):
        """A batch: [(language, qid), ...], [(language, docid), ...], target and other of documents_of."""
        rng = np.random.default_rng([self.seed, step])
        queries, batch = [], []
        for qid, docid, negatives in (self.triples[i] for i in index):
            lang = self.langs[rng.integers(len(self.langs))]
            side = "en" if rng.random() < cross else lang
            queries.append((lang, qid))
            batch.append((qid, (side, docid), [(side, d) for d in negatives]))
        return queries, *documents_of(batch, self.relevant, self.negatives, rng)

    def loss(self, encoder, index, step, cross):
        """Equation (3) of optical.py for one batch, both sides trained."""
        queries, docs, target, other = self.batch(index, step, cross)
        return teacher_loss(encoder, [self.queries[q] for q in queries], [self.docs[d] for d in docs], target,
                            other)


def hybrid(args):
    """An encoder for each share of cross-lingual samples (--cross), and its runs: table 8.

    Searched with: the English documents in low-resource languages, and in high-resource ones the documents
    of the same language.
    """
    manifest, langs = data.load_manifest(args.data), languages(args)
    tests = [test for kind, key in (("low", "tests"), ("high", "monolingual"))
             for test in manifest.get(key, ()) if test["class"] == kind and test["lang"] in langs]
    lesson = cache(lambda: Hybrid(args, langs, load_teacher(args)))

    def one(folder, cross):
        part = open_experiment(folder, args, {"cross": cross})
        if part is None:
            return finished(folder)
        torch.manual_seed(args.seed)
        encoder = load_teacher(args)
        set_dropout(encoder, args.dropout)
        lengths = [len(lesson().docs["en", docid]) for _, docid, _ in lesson().triples]
        batches = length_batches(lengths, args.batch, args.steps, args.seed)
        spent = fit(encoder, batches, lambda index, step: lesson().loss(encoder, index, step, cross),
                    part, args.lr, accumulate=args.accumulate, log_every=args.log_every,
                    save_every_s=args.save_every_s, name=f"hybrid {folder.name}")
        index_of = document_indexes(args.data, encoder, part / "vectors")
        search_tests(args, tests, encoder, index_of, folder.name)
        shutil.rmtree(part / "vectors", ignore_errors=True)
        return close_experiment(part, folder, {"cross": cross, **spent})

    share_out("hybrid", {(cross,): Path(args.out) / f"cross={cross:g}" for cross in args.cross}, one)


# ----------------------------------------------------------------------------------------- 4. Scale

def scale(args):
    """OPTICAL with each of --teachers, searched with beside its English queries: runs and rows of table 9.

    The rows: accuracy on the dev bitext, and the measures of the collection's retrieval tasks (xtreme.py).
    """
    manifest, rate, tests, texts = data.load_manifest(args.data), rates(args), tests_of(args), {}
    tasks = [test for test in manifest.get("retrieval", ()) if test["lang"] in tests]
    names = {f"params={parameters(folder) / 1e6:.2f}M": folder for folder in args.teachers}
    if len(names) < len(args.teachers):
        raise ValueError(f"--teachers: {len(args.teachers)} of {len(names)} sizes, {', '.join(names)}; "
                         "give one of each size")

    held = {}

    def loaded(name):
        if name not in held:
            held.clear()                                        # one of billions leaves before the next comes
            texts.clear()
            own = argparse.Namespace(**{**vars(args), "teacher": names[name],
                                        "cache": str(Path(names[name]).parent / "vectors")})
            teacher = load_teacher(own)
            held[name] = own, teacher, document_indexes(args.data, teacher, own.cache)
        return held[name]

    def one(folder, name, lang):
        own, teacher, index_of = loaded(name)

        def then(student, _):
            search_tests(args, tests[lang], student, index_of, name)
            search_tests(args, tests[lang], teacher, index_of, f"{name},english", "english")
            search_tests(args, [test for test in tasks if test["lang"] == lang], student, index_of, name)
        return finish_student(folder, lang, "optical", rate("optical"), own, teacher, texts, then)

    found = share_out("scale", {(name, lang): Path(args.out) / name / lang
                                for name in names for lang in tests}, one)
    rows = []
    for (name, lang), done in found.items():
        entry = manifest["langs"][lang]
        n = len(data.read_bitext(Path(args.data) / entry["dev"]))
        rows.append(row_of(args, "9", name, lang, entry, "accuracy", done["dev_accuracy"], n,
                           f"dev pairs:{n}"))
    for test in tasks:
        qrels = evaluate.read_qrels(Path(args.data) / test["qrels"])
        measure = "success_1" if test["measure"].startswith("accuracy") else "map_cut_20"   # one is relevant
        for name in names:
            run = Path(args.runs) / test["set"] / f"{name}.s{args.seed}.trec"
            values = list(evaluate.evaluate(qrels, run, [measure])[measure].values())
            rows.append(row_of(args, "9", name, test["lang"], test, test["measure"], np.mean(values),
                               len(values), f"nq:{len(values)}|qrels:{evaluate.qrels_hash(qrels)}"))
    report.write_rows(args.rows, rows)


def parameters(folder):
    """How many parameters an encoder of optical.py has, read off its files."""
    total = 0
    for path in [*Path(folder).glob("*.safetensors"), *Path(folder).glob("1_Dense/*.safetensors")]:
        with safe_open(path, "pt") as weights:
            total += sum(int(np.prod(weights.get_slice(name).get_shape())) for name in weights.keys())
    if not total:
        raise ValueError(f"{folder}: no encoder there; give folders written by optical.py teacher")
    return total


# ------------------------------------------------------------------------------------- 5. Alignment

def word_of(encoder, text, max_tokens):
    """For each token of a text as a query its word's place in `text.split()`, -1 for markers and the like."""
    pieces = encoder.tokenizer(text, truncation=True, max_length=max_tokens - 1, return_offsets_mapping=True)
    spans, at, word = [], 0, {}
    for n, piece in enumerate(text.split()):
        at = text.index(piece, at)
        word |= dict.fromkeys(range(at, at + len(piece)), n)
        at += len(piece)
    for start, end in pieces["offset_mapping"]:
        inside = [word[i] for i in range(start, end) if i in word]     # a piece may begin with a space
        spans.append(inside[-1] if inside else -1)
    return spans[:1] + [-1] + spans[1:]                                 # the marker follows the first token


def word_matrix(values, rows, columns, gather):
    """Token values (N, M) to word values (words, words): of a word pair's tokens the sum or the maximum.

    Args: rows (N), columns (M): each token's word, -1 for none; gather: np.add or np.maximum.
    """
    rows, columns = np.array(rows), np.array(columns)
    out = np.full((rows.max() + 1, columns.max() + 1), 0.0 if gather is np.add else -np.inf)
    i, j = np.nonzero((rows[:, None] >= 0) & (columns >= 0))
    gather.at(out, (rows[i], columns[j]), values[i, j])
    return out


def links(matrix, mutual):
    """Each source word (column) to its best English word (row); mutual: only where that holds both ways."""
    found = {(int(i), j) for j, i in enumerate(matrix.argmax(0))}
    if mutual:
        found &= {(i, int(j)) for i, j in enumerate(matrix.argmax(1))}
    return sorted(found)


def align(args):
    """Alignment error rates against gold links of the dev bitext, for every language that has them."""
    root, manifest, teacher, rows = Path(args.data), data.load_manifest(args.data), load_teacher(args), []
    langs = [lang for lang in languages(args) if manifest["langs"][lang]["dev_links"]]
    for lang in langs:
        entry = manifest["langs"][lang]
        pairs, gold = data.read_bitext(root / entry["dev"]), data.read_links(root / entry["dev_links"])
        found = {}
        for method in ("zero-shot", "greedy", "optical"):
            student = teacher
            if method != "zero-shot":
                student = Encoder.load(Path(args.students) / lang / method).place(args)
            student.eval()
            for plan, cosine in plans_of(teacher, student, pairs, args):
                for name, matrix in (("plan", plan), ("greedy match", cosine)):
                    for mutual in (False, True):
                        key = f"{method} student, {name}" if student is not teacher else f"zero-shot, {name}"
                        found.setdefault((key, mutual), []).append(links(matrix, mutual))
        train = data.read_bitext(root / entry["train"])[:entry["pairs"]]
        tokens = [[baselines.indexed_words(text) for text in pair] for pair in train]
        to_english = baselines.Model1([(x, e) for e, x in tokens])
        to_source = baselines.Model1([(e, x) for e, x in tokens])
        for english, source in pairs:
            e, x = baselines.indexed_words(english), baselines.indexed_words(source)
            reverse = {(i, j) for j, i in enumerate(to_source.best(e, x)) if i >= 0}
            found.setdefault(("IBM Model 1", False), []).append(sorted(reverse))
            found.setdefault(("IBM Model 1", True), []).append(baselines.align(e, x, to_english, to_source))
        for (name, mutual), guessed in found.items():
            value = baselines.aer(guessed, gold)
            measure = "aer, both ways" if mutual else "aer"
            rows.append(row_of(args, "10", name, lang, entry, measure, value, len(gold),
                               f"pairs:{len(gold)}|links:{sum(map(len, gold))}"))
            print(f"  {lang} {name}, {measure}: {value:.4f}", flush=True)
    report.write_rows(args.out, rows)


@torch.inference_mode()
def plans_of(teacher, student, pairs, args, batch=64):
    """Word matrices of each pair: the plan's mass, summed, and the cosines, the largest: (E, X) arrays."""
    out = []
    for start in range(0, len(pairs), batch):
        some = pairs[start:start + batch]                                        # (B)
        vectors, marginals = [], []
        for encoder, texts in zip((teacher, student), zip(*some)):
            ids, mask = encoder.pad(encoder.tokens(texts, "query", args.max_tokens))
            vectors.append(encoder(ids, mask))                                   # (B, N, H), (B, M, H)
            marginals.append(ot.uniform_marginal(mask))
        C = ot.cosine_cost(*vectors)                                             # (B, N, M)
        plans = ot.sinkhorn(C, *marginals, args.epsilon, tol=1e-4, warn=False).plan
        for pair, plan, cosine in zip(some, plans.cpu().numpy(), (1 - C).cpu().numpy()):
            places = [word_of(teacher, text, args.max_tokens) for text in pair]
            n, m = map(len, places)
            out.append((word_matrix(plan[:n, :m], *places, np.add),
                        word_matrix(cosine[:n, :m], *places, np.maximum)))
    return out


# ------------------------------------------------------------------------------------------ 6. Cost

def cost(args):
    """Rows of table 11 from the done.json and train.jsonl of experiments and the log of searches."""
    root, rows, device = Path(args.root), {}, None
    for log_of in sorted(root.glob("s*/**/train.jsonl")):        # a pre-trained translator has none
        path = log_of.with_name("done.json")
        unit = path.parent.relative_to(root).parts
        if not path.exists() or unit[1] not in ("encoder", "teacher", "students", "nmt") or "tune" in unit:
            continue                                   # what table 2 was made with, not the studies
        done, log = read_json(path), read_jsonl(log_of)
        device = read_json(path.parent / "args.json")["device"]
        name = done.get("method") or ("NMT" if "dev_chrf" in done else unit[1])
        kind = rows.setdefault(name, {"seconds": [], "tokens_per_s": [], "memory_gb": []})
        kind["seconds"].append(done["seconds"])
        kind["tokens_per_s"].append(log[-1]["tokens_per_s"])
        kind["memory_gb"].append(max(line["memory_gb"] for line in log))
    searches = {}                                      # a line a shard: together one search
    for path in sorted(root.glob("runs/search.s*.jsonl")):
        for line in read_jsonl(path):
            own = searches.setdefault((line["method"], path, line["set"]), {})
            own[line.get("shard", 0)] = 1000 * line["seconds"] / line["queries"]
    for (method, *_), spent in searches.items():
        rows.setdefault(method, {}).setdefault("search_ms_per_query", []).append(sum(spent.values()))
    out = [{"table": "11", "method": name, "lang": "all", "measure": measure, "n_queries": len(values),
            "value": round(float(np.median(values)), 4), "seeds": [], "name": device,
            "signature": f"median|n:{len(values)}|device:{device}"}
           for name, kinds in rows.items() for measure, values in kinds.items() if values]
    if not out:
        raise ValueError(f"{root}: no finished experiment; run bash run_all.sh first")
    report.write_rows(args.out, out)


# --------------------------------------------------------------------------------------- 7. Figures

def curves(rows):
    """The curves of tables 4, 5, 9: {figure: (label of x, {series: {x: MAP}})}, table 2 at its own x.

    A point is a mean over languages, and there only where all languages of the table have it.
    """
    pairs = {row["lang"]: row["value"] for row in rows if row["table"] == "1" and row["measure"] == "pairs"}
    own = [row for row in rows if row["measure"] == "map" and row["table"] in ("2", "4", "5", "9")]
    langs = {table: {row["lang"] for row in own if row["table"] == table} for table in ("4", "5")}
    size, mix, scale = {}, {}, {}
    for row in own:
        settings = dict(setting.partition("=")[::2] for setting in row["method"].split(","))
        if row["table"] == "4":
            line = size.setdefault(settings["methods"], {})
            line.setdefault(int(settings["pairs"]), []).append(row["value"])
        elif row["table"] == "5" or row["method"] == "optical" and row["lang"] in langs["5"]:
            share = float(settings.get("mix", 0))
            mix.setdefault(f"{row['class']} mean", {}).setdefault(share, []).append(row["value"])
        elif row["table"] == "9":
            line = "English queries" if "english" in settings else f"{row['class']} mean"
            millions = float(settings["params"].removesuffix("M"))
            scale.setdefault(line, {}).setdefault(millions, []).append(row["value"])
    for row in own:
        if row["table"] == "2" and row["method"] in size and row["lang"] in langs["4"]:
            size[row["method"]].setdefault(pairs[row["lang"]], []).append(row["value"])
    size = {method: {x: float(np.mean(ys)) for x, ys in sorted(line.items()) if len(ys) == len(langs["4"])}
            for method, line in size.items()}
    mix, scale = ({group: {x: float(np.mean(ys)) for x, ys in sorted(line.items())}
                   for group, line in lines.items()} for lines in (mix, scale))
    if {"low mean", "high mean"} <= mix.keys():
        low, high = mix["low mean"], mix["high mean"]
        mix["gap"] = {x: high[x] - low[x] for x in low if x in high}
    found = {"size": ("sentence pairs", size), "mix": ("share of source words replaced by English", mix),
             "scale": ("parameters, millions", scale)}
    return {name: figure for name, figure in found.items() if figure[1]}


def figures(args):
    """MAP against bitext size, against mixing, and the plan of one dev pair, into a folder."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        import matplotlib
        matplotlib.use("Agg")
        matplotlib.rcParams["svg.hashsalt"] = "optical"                 # the same bytes every time
        import matplotlib.pyplot as plt
    except ImportError:
        plt = None
        print("  matplotlib is not installed: figures are written as TSV only", flush=True)

    def drawing(name, draw):
        if plt:
            figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
            draw(axes)
            figure.savefig(out / f"{name}.svg", metadata={"Date": None})
            plt.close(figure)

    for name, (label, series) in curves(report.read_rows(args.scores)).items():
        xs = sorted({x for line in series.values() for x in line})
        table = [[label, *series]] + [[f"{x:g}", *(f"{line[x]:.4f}" if x in line else "" for line in
                                                   series.values())] for x in xs]
        (out / f"{name}.tsv").write_text("".join("\t".join(row) + "\n" for row in table), encoding="utf-8")

        def draw(axes):
            for method, line in series.items():
                axes.plot(list(line), list(line.values()), marker="o", label=method)
            axes.set(xlabel=label, ylabel="MAP", xscale="linear" if name == "mix" else "log")
            axes.legend()
        drawing(name, draw)

    manifest, teacher = data.load_manifest(args.data), load_teacher(args)
    english, source = data.read_bitext(Path(args.data) / manifest["langs"][args.lang]["dev"])[args.pair]
    student = Encoder.load(Path(args.students) / args.lang / "optical").place(args).eval()
    (plan, _), = plans_of(teacher, student, [(english, source)], args)
    rows, columns = english.split()[:plan.shape[0]], source.split()[:plan.shape[1]]     # --max-tokens cuts
    table = [["", *columns]] + [[word, *(f"{p:.4f}" for p in row)] for word, row in zip(rows, plan)]
    (out / "plan.tsv").write_text("".join("\t".join(row) + "\n" for row in table), encoding="utf-8")

    def draw(axes):
        axes.imshow(plan, cmap="Blues")
        axes.set_xticks(range(plan.shape[1]), columns, rotation=45, ha="right")
        axes.set_yticks(range(plan.shape[0]), rows)
    drawing("plan", draw)
    print(f"  figures: {', '.join(sorted(path.name for path in out.iterdir()))}", flush=True)


# -------------------------------------------------------------------------------------- 8. Commands

def parser():
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    commands = top.add_subparsers(dest="run_command", required=True)
    add = command_options(commands, "sweep", sweep, student_options, rate_options)
    add("--runs", required=True, help="folder of runs")
    add("--variants", nargs="+", required=True, help="settings, key=value joined by commas, a student each")

    def plan_options(add):
        add("--students", required=True, help="folder written by distil")
        add("--epsilon", type=float, default=0.1, help="entropy weight of the plan")
        add("--max-tokens", type=int, default=64, help="longest sentence, in tokens")

    add = command_options(commands, "answers", answers)
    add("--runs", required=True, help="folder of runs")
    add("--out", required=True, help="JSON file of rows")

    add = command_options(commands, "hybrid", hybrid, training_options, teacher_options, shared_options,
                          language_options)
    add("--cross", type=float, nargs="+", required=True, help="shares of samples with English documents")
    add("--steps", type=int, default=400, help="training steps")
    add("--lr", type=float, required=True, help="peak learning rate")
    add("--negatives", type=int, default=1, help="hard negatives a query and step")
    add("--runs", required=True, help="folder of runs")

    add = command_options(commands, "scale", scale, student_options, rate_options)
    add("--teachers", nargs="+", required=True, help="folders of teachers; their vectors go beside each")
    add("--runs", required=True, help="folder of runs")
    add("--rows", required=True, help="JSON file of rows")

    add = command_options(commands, "align", align, teacher_options, plan_options, language_options)
    add("--out", required=True, help="JSON file of rows")

    add = command_options(commands, "figures", figures, teacher_options, plan_options)
    add("--scores", required=True, help="scores.json of a run")
    add("--lang", required=True, help="language of the sentence pair")
    add("--pair", type=int, default=0, help="which pair of its dev bitext, from 0")
    add("--out", required=True, help="folder of figures")

    add = command_options(commands, "cost", cost)
    add("--root", required=True, help="OUT of a run")
    add("--out", required=True, help="JSON file of rows")
    return top


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)
    if args.run_command == "sweep":
        args.variants = variants(argv, args.variants)
    return run_command(args, argv)


if __name__ == "__main__":
    sys.exit(main())

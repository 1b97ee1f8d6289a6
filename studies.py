# SPDX-License-Identifier: MIT
"""The studies around the main table: what each part of OPTICAL adds, alignment, cost.

    1. sweep   students under changed settings, each searched with: tables 3 and 4     (any number a process)
    2. align   alignment error rate of plan, greedy match and IBM Model 1: table 10
    3. cost    seconds, tokens per second and memory of everything that was trained: table 11
    4. figures MAP against bitext size and against mixing, the plan of a sentence pair: TSV, and SVG
               where matplotlib is installed

A setting is `key=value` of an option of `optical.py distil`, several are joined by commas:
`plan=ipot`, `methods=mean,pairs=250`, `augment`. Its name is the row of the table.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

import baselines
import data
import evaluate
import ot
from optical import (Encoder, command_options, document_index, finish_student, language_options, languages,
                     load_teacher, rate_options, rates, read_json, read_jsonl, run_command, search, share_out,
                     student_options, teacher_options)

# ---------------------------------------------------------------------------------------- 1. Sweeps


def sweep(args):
    """Students under each of --variants, and their runs RUNS/<set>/<variant>.s<seed>.trec."""
    teacher, manifest, rate = load_teacher(args), data.load_manifest(args.data), rates(args)
    texts, index = {}, {}
    tests = {lang: [test for test in manifest["tests"] if test["lang"] == lang] for lang in languages(args)}
    for lang, own in tests.items():
        if not own:
            raise ValueError(f"{args.data}/collection.json: no test set in {lang!r}; leave it out of --langs")

    def one(folder, lang, name):
        own = args.variants[name]

        def search_with(student, _):
            for test in tests[lang]:
                if test["docs"] not in index:
                    index[test["docs"]] = document_index(args, manifest, test["docs"], teacher)
                docids, vectors = index[test["docs"]]
                run = search(student, data.read_tsv(Path(args.data) / test["queries"]), vectors, docids)
                path = Path(args.runs) / test["set"] / f"{name}.s{args.seed}.trec"
                evaluate.write_run(path, run, f"{name}.s{args.seed}")

        method = own.methods[0]
        return finish_student(folder, lang, method, rate(method, own.lr), own, teacher, texts, search_with)

    share_out("sweep", {(lang, name): Path(args.out) / lang / name
                        for lang in tests for name in args.variants}, one)


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


# ------------------------------------------------------------------------------------- 2. Alignment

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


def word_matrix(values, rows, columns, how):
    """Sum or max of token values (N, M) over the tokens of each word pair: (words, words)."""
    out = np.zeros((max(rows) + 1, max(columns) + 1)) if how == "sum" else \
        np.full((max(rows) + 1, max(columns) + 1), -np.inf)
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            if r >= 0 and c >= 0:
                out[r, c] = out[r, c] + values[i, j] if how == "sum" else max(out[r, c], values[i, j])
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
            for english, source in pairs:
                plan, cosine = plan_of(teacher, student, english, source, args)
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
            rows.append({"table": "10", "method": name, "lang": lang, "measure": measure,
                         "value": round(value, 6), "n_queries": len(gold), "seeds": [args.seed],
                         "name": entry["name"], "class": entry["class"],
                         "signature": f"aer|pairs:{len(gold)}|links:{sum(map(len, gold))}|v:1"})
            print(f"  {lang} {name}, {measure}: {value:.4f}", flush=True)
    evaluate.write_rows(args.out, rows)


@torch.inference_mode()
def plan_of(teacher, student, english, source, args):
    """Word matrices of one pair: the plan's mass, summed, and the cosines, the largest: (E, X) arrays."""
    t, s = (encoder(*encoder.pad(encoder.tokens([text], "query", args.max_tokens)))
            for encoder, text in ((teacher, english), (student, source)))       # (1, N, H), (1, M, H)
    C = ot.cosine_cost(t, s)                                                     # (1, N, M)
    a, b = (ot.uniform_marginal(torch.ones(v.shape[:2], dtype=torch.bool, device=v.device)) for v in (t, s))
    plan = ot.sinkhorn(C, a, b, args.epsilon, tol=1e-4, warn=False).plan
    rows, columns = (word_of(teacher, text, args.max_tokens) for text in (english, source))
    return (word_matrix(plan[0].cpu().numpy(), rows, columns, "sum"),
            word_matrix(1 - C[0].cpu().numpy(), rows, columns, "max"))


# ------------------------------------------------------------------------------------------ 3. Cost

def cost(args):
    """Rows of table 11 from the done.json and train.jsonl of experiments and the log of searches."""
    root, rows, device = Path(args.root), {}, None
    for path in sorted(root.glob("**/done.json")):
        done, log = read_json(path), read_jsonl(path.parent / "train.jsonl")
        unit = path.parent.relative_to(root).parts
        if "tune" in unit or not log:
            continue
        device = read_json(path.parent / "args.json")["device"]
        name = done.get("method") or ("NMT" if "dev_chrf" in done else unit[1])
        kind = rows.setdefault(name, {"seconds": [], "tokens_per_s": [], "memory_gb": []})
        kind["seconds"].append(done["seconds"])
        kind["tokens_per_s"].append(log[-1]["tokens_per_s"])
        kind["memory_gb"].append(max(line["memory_gb"] for line in log))
    for path in sorted(root.glob("runs/search.s*.jsonl")):
        for line in read_jsonl(path):
            rows.setdefault(line["method"], {}).setdefault("search_ms_per_query", []).append(
                1000 * line["seconds"] / line["queries"])
    out = [{"table": "11", "method": name, "lang": "all", "measure": measure, "n_queries": len(values),
            "value": round(float(np.median(values)), 4), "seeds": [], "name": device,
            "signature": f"median|n:{len(values)}|device:{device}"}
           for name, kinds in rows.items() for measure, values in kinds.items() if values]
    if not out:
        raise ValueError(f"{root}: no finished experiment; run bash run_all.sh first")
    evaluate.write_rows(args.out, out)


# --------------------------------------------------------------------------------------- 4. Figures

def curves(rows):
    """The curves of tables 4 and 5: {figure: (label of x, {series: {x: MAP}})}, table 2 at its own x.

    A point is a mean over languages, and there only where all languages of the table have it.
    """
    pairs = {row["lang"]: row["value"] for row in rows if row["table"] == "1" and row["measure"] == "pairs"}
    own = [row for row in rows if row["measure"] == "map" and row["table"] in ("2", "4", "5")]
    langs = {table: {row["lang"] for row in own if row["table"] == table} for table in ("4", "5")}
    size, mix = {}, {}
    for row in own:
        settings = dict(setting.partition("=")[::2] for setting in row["method"].split(","))
        if row["table"] == "4":
            line = size.setdefault(settings["methods"], {})
            line.setdefault(int(settings["pairs"]), []).append(row["value"])
        elif row["table"] == "5" or row["method"] == "optical" and row["lang"] in langs["5"]:
            share = float(settings.get("mix", 0))
            mix.setdefault(f"{row['class']} mean", {}).setdefault(share, []).append(row["value"])
    for row in own:
        if row["table"] == "2" and row["method"] in size and row["lang"] in langs["4"]:
            size[row["method"]].setdefault(pairs[row["lang"]], []).append(row["value"])
    size = {method: {x: float(np.mean(ys)) for x, ys in sorted(line.items()) if len(ys) == len(langs["4"])}
            for method, line in size.items()}
    mix = {group: {x: float(np.mean(ys)) for x, ys in sorted(line.items())} for group, line in mix.items()}
    if {"low mean", "high mean"} <= mix.keys():
        low, high = mix["low mean"], mix["high mean"]
        mix["gap"] = {x: high[x] - low[x] for x in low if x in high}
    found = {"size": ("sentence pairs", size), "mix": ("share of source words replaced by English", mix)}
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

    for name, (label, series) in curves(evaluate.read_rows(args.scores)).items():
        xs = sorted({x for line in series.values() for x in line})
        table = [[label, *series]] + [[f"{x:g}", *(f"{line[x]:.4f}" if x in line else "" for line in
                                                   series.values())] for x in xs]
        (out / f"{name}.tsv").write_text("".join("\t".join(row) + "\n" for row in table), encoding="utf-8")

        def draw(axes):
            for method, line in series.items():
                axes.plot(list(line), list(line.values()), marker="o", label=method)
            axes.set(xlabel=label, ylabel="MAP", xscale="log" if name == "size" else "linear")
            axes.legend()
        drawing(name, draw)

    manifest, teacher = data.load_manifest(args.data), load_teacher(args)
    english, source = data.read_bitext(Path(args.data) / manifest["langs"][args.lang]["dev"])[args.pair]
    student = Encoder.load(Path(args.students) / args.lang / "optical").place(args).eval()
    plan, _ = plan_of(teacher, student, english, source, args)
    table = [["", *source.split()]] + [[word, *(f"{p:.4f}" for p in row)]
                                       for word, row in zip(english.split(), plan)]
    (out / "plan.tsv").write_text("".join("\t".join(row) + "\n" for row in table), encoding="utf-8")

    def draw(axes):
        axes.imshow(plan, cmap="Blues")
        axes.set_xticks(range(plan.shape[1]), source.split(), rotation=45, ha="right")
        axes.set_yticks(range(plan.shape[0]), english.split())
    drawing("plan", draw)
    print(f"  figures: {', '.join(sorted(path.name for path in out.iterdir()))}", flush=True)


# -------------------------------------------------------------------------------------- 5. Commands

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

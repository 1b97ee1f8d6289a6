# SPDX-License-Identifier: MIT
"""Which dev measure ranks settings as real questions do? Students of many settings, three measures of each.

    MIRROR=folder python tests/proxy.py --data out/real/data --teacher out/real/s1/teacher \
        --lexicon out/real/lexicon --cache out/real/s1/vectors --langs hau ibo --out out/proxy

Candidates are measured without a question in the language: `sentences`, MAP of held-out sentence pairs, and
`switched`, MAP of English dev questions whose words are translated by the lexicon of the bitext. The truth is MAP
of AfriQA's dev questions in the language, which are used for nothing else. A measure points the right way where
its rank correlation (Spearman) with the truth over the settings of a language is high, and where the setting that
it would choose loses little against the best one (regret). OUT/proxy.md is the report.
"""
import argparse
import itertools
import sys
from pathlib import Path

from scipy.stats import spearmanr

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import evaluate  # noqa: E402
from optical import Vectors, search  # noqa: E402
from study import collections, sources, students  # noqa: E402
from study.experiment import keeper, load, multiplies_bf16  # noqa: E402

MEASURES = {"sentences": "dev_map", "switched": "dev_switched"}
SETTINGS = [*(f"methods={method},lr={lr}" for method in ("optical", "contrastive", "mean")
              for lr in ("1e-5", "3e-5", "1e-4", "3e-4")),
            *(f"methods=optical,epsilon={epsilon},lr=1e-4" for epsilon in ("0.05", "0.5")),
            *(f"methods={method},lr=1e-4,steps=50" for method in ("optical", "contrastive"))]


def truth(langs):
    """{lang: (questions, judgements)} of AfriQA's dev part, and the passages."""
    pool, parts = collections._afriqa(sources.Files())
    found = {}
    for lang in langs:
        rows = [row for row in parts[lang, "dev"] if row["question"]]
        found[lang] = ({row["id"]: row["question"] for row in rows}, {row["id"]: {row["docid"]: 1} for row in rows})
    return found, pool


def report(rows, args, teacher):
    """Markdown of rows (lang, setting, {measure: value})."""
    rows = sorted(rows, key=lambda row: args.langs.index(row[0]))
    size = sum(p.numel() for p in teacher.parameters()) / 1e6
    lines = [f"# {args.title}", "",
             f"`python tests/proxy.py --langs {' '.join(args.langs)} --steps {args.steps} --settings ...`: a teacher of "
             f"{size:.0f} M parameters on AfriQA, students of one seed, {args.steps} steps of 32 pairs; MAP of each "
             "measure. The dev questions of AfriQA in the language are used here alone, and choose nothing.", "",
             "| language | setting | sentences | switched | real questions |", "|---|---|---:|---:|---:|"]
    lines += [f"| {lang} | {name} | {v['sentences']:.3f} | {v['switched']:.3f} | {v['real']:.3f} |"
              for lang, name, v in rows]
    lines += ["", "| language | measure | Spearman's rank correlation | chosen | its MAP | best MAP | regret |",
              "|---|---|---:|---|---:|---:|---:|"]
    for lang in dict.fromkeys(lang for lang, *_ in rows):
        own = [(name, v) for own_lang, name, v in rows if own_lang == lang]
        best = max(v["real"] for _, v in own)
        for measure in [*MEASURES, "both"]:
            score = [v["sentences"] + v["switched"] if measure == "both" else v[measure] for _, v in own]
            name, chosen = own[max(range(len(own)), key=lambda i: score[i])]
            rho = spearmanr(score, [v["real"] for _, v in own]).statistic
            lines.append(f"| {lang} | {measure} | {rho:+.2f} | {name} | {chosen['real']:.3f} | {best:.3f} | "
                         f"{best - chosen['real']:.3f} |")
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    for name in ("data", "teacher", "lexicon", "cache", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--langs", nargs="+", default=["hau", "ibo"])
    parser.add_argument("--steps", default="200")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--settings", nargs="+", default=SETTINGS)
    parser.add_argument("--title", default="Which dev measure ranks settings as real questions do?")
    args = parser.parse_args(argv)
    real, pool = truth(args.langs)
    options = ["train", "--data", args.data, "--teacher", args.teacher, "--cache", args.cache, "--lexicon",
               args.lexicon, "--steps", args.steps, "--batch", "32", "--threads", args.threads, "--runs", "none",
               "--out", args.out, "--lr", "1", "--variants", *args.settings]
    own = students.arguments(students.parser(), options)
    torch.set_num_threads(int(args.threads))
    for each in [own, *own.variants.values()]:
        each.bf16 = multiplies_bf16("cpu")
    teacher, bitexts, rows = load(args.teacher, own), {}, []
    index = keeper(args.cache, "afriqa")(teacher, pool, "doc")
    for lang, (asked, qrels) in real.items():
        zero = students.dev_scores(teacher, teacher, lang, own)
        run = search(teacher, asked, index)
        rows.append((lang, "zero-shot", {name: zero[key] for name, key in MEASURES.items()}
                     | {"real": evaluate.summary(qrels, run)["map"]}))
    for lang, (name, variant) in itertools.product(args.langs, own.variants.items()):
        asked, qrels = real[lang]

        def then(student, part):
            return {"real": evaluate.summary(qrels, search(student, asked, index))["map"]}

        done = students.train_one(Path(args.out) / lang / name, lang, variant.methods[0], variant,
                                  teacher, bitexts, then)
        rows.append((lang, name, {key: done[value] for key, value in MEASURES.items()} | {"real": done["real"]}))
        evaluate.write_text(Path(args.out) / "proxy.md", report(rows, args, teacher))
    print(report(rows, args, teacher))


if __name__ == "__main__":
    main()

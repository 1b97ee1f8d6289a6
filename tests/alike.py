# SPDX-License-Identifier: MIT
"""Where do students lose? How alike the vectors of different questions are, beside what they find.

    python tests/alike.py out/real --out alike.md

Of each language and each student that a finished run kept: the mean cosine between the mean token vectors of two
questions (alike), the mean of 1 - cosine between a token of the English question and its nearest token of the
question (far), MAP. A student moves a question towards its English words; where it moves all questions to the same
place, they find the same documents.
"""
import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import data  # noqa: E402
import evaluate  # noqa: E402
from optical import Encoder, Vectors  # noqa: E402
from study.tables import METHODS  # noqa: E402


def alike(vectors, mask):
    """The mean cosine between the means of two texts' vectors. Args: vectors (B, L, H), mask (B, L)."""
    means = F.normalize((vectors * mask[:, :, None]).sum(1), dim=-1)                         # (B, H)
    return ((means.sum(0) ** 2).sum() - len(means)).item() / (len(means) * (len(means) - 1))


def far(english, e_mask, vectors, mask):
    """The mean of 1 - cosine between a token of an English text and the nearest of its translation."""
    cosines = (english @ vectors.mT).masked_fill(~mask[:, None], -1)                         # (B, N, M)
    return 1 - cosines.amax(2)[e_mask].mean().item()


def measured(out, seed=1):
    """Rows (language, method, alike, far, MAP) of a run's students and of its teacher."""
    teacher, manifest = Encoder.load(out / f"s{seed}" / "teacher"), data.load_manifest(out / "data")
    for test in manifest["tests"]:
        if not test.get("english"):
            continue
        read = {key: dict(data.columns(out / "data" / test[key], "", 2)) for key in ("queries", "english")}
        qrels, lang = evaluate.read_qrels(out / "data" / test["qrels"]), test["lang"]
        asked = [qid for qid in read["queries"] if qid in read["english"]]

        def encoded(encoder, key):
            return Vectors.encode(encoder, [read[key][qid] for qid in asked], "query").batch(range(len(asked)), "cpu")
        english = encoded(teacher, "english")
        for method in METHODS:
            folder = {"english": out / f"s{seed}" / "teacher", "zero-shot": out / f"s{seed}" / "teacher"}.get(
                method, out / f"s{seed}" / "students" / lang / method)
            run = out / "runs" / test["set"] / f"{method}.s{seed}.trec"
            if (folder / "model.safetensors").exists() and run.exists():
                own = english if method == "english" else encoded(Encoder.load(folder), "queries")
                value = evaluate.summary(qrels, evaluate.read_run(run), ["map"])["map"]
                yield manifest["langs"][lang]["name"], method, alike(*own), far(*english, *own), value


def report(rows, out):
    """Markdown of the rows, and each language's rank correlation over its students."""
    lines = ["# How alike a student's questions are", "",
             f"`python tests/alike.py {out}`. alike: mean cosine between the mean vectors of two test questions; "
             "far: mean 1 - cosine between an English question's token and the nearest of its translation's; MAP.",
             "", "| language | method | alike | far | MAP |", "|---|---|---:|---:|---:|"]
    lines += [f"| {lang} | {METHODS[method]} | {a:.3f} | {f:.3f} | {value:.3f} |"
              for lang, method, a, f, value in rows]
    lines += ["", "Spearman's rank correlation with MAP, over the teacher and its students:", "",
              "| language | alike | far |", "|---|---:|---:|"]
    for lang in dict.fromkeys(row[0] for row in rows):
        some = [row[2:] for row in rows if row[0] == lang and row[1] != "english"]
        a, f, value = zip(*some)
        lines.append(f"| {lang} | {spearmanr(a, value)[0]:+.2f} | {spearmanr(f, value)[0]:+.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(2)
    evaluate.write_text(args.out, report(list(measured(args.run)), args.run))
    print(args.out.read_text())

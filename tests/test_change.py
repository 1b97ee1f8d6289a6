# SPDX-License-Identifier: MIT
"""A researcher's three changes: an objective or a cost is a function and a row, a language is a row."""
import inspect
import json
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import torch

import data
import fixture
import optical
import ot
from conftest import ROOT, options
from study import students


def train(work, out, *more):
    argv = ["train", *options(work, "--lr", "3e-3", *more), "--steps", 30, "--log-every", 1, "--langs", "sw",
            "--out", out / "students", "--runs", out / "runs"]
    assert students.main([str(arg) for arg in argv]) == 0


def lowered(folder):
    losses = [json.loads(line)["loss"] for line in (folder / "train.jsonl").read_text().splitlines()]
    return len(losses) == 30 and np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def soft_loss(b, tau=0.1):
    """Greedy match, softened: each student token is near the softmax-weighted teacher tokens around it."""
    sim = torch.einsum("bnh,bmh->bnm", b.teacher, b.student).masked_fill(~b.t_mask[:, :, None], -torch.inf)
    cost = 1 - (torch.softmax(sim / tau, 1) * sim.masked_fill(~b.t_mask[:, :, None], 0.0)).sum(1)     # (B, M)
    return ((cost * b.s_mask).sum(1) / b.s_mask.sum(1)).mean(), {}


def test_a_new_objective_is_a_function_and_a_row(work, tmp_path, monkeypatch):
    assert len(inspect.getsource(soft_loss).splitlines()) + 1 <= 12
    monkeypatch.setitem(optical.OBJECTIVES, "soft", optical.Objective(soft_loss, "query"))
    teacher = optical.Encoder.load(work / "teacher")
    (tmp_path / "notebook").mkdir()
    optical.distil(teacher, data.read_bitext(work / "data" / "bitext" / "sw.train.tsv"), "soft", 30, 8, 3e-3,
                   folder=tmp_path / "notebook", training={"log_every": 1}, tau=0.2)
    train(work, tmp_path, "--methods", "soft")
    assert lowered(tmp_path / "notebook") and lowered(tmp_path / "students" / "sw" / "soft")
    assert (tmp_path / "runs" / "sw" / "soft.s1.trec").stat().st_size > 0


def angle_cost(x, y):
    """The angle between two token vectors, in radians."""
    return torch.arccos((1 - ot.cosine_cost(x, y)).clamp(-0.999, 0.999))         # (B, N, M)


def test_a_new_cost_is_a_function_and_a_row(work, tmp_path, monkeypatch):
    monkeypatch.setitem(students.COSTS, "angle", angle_cost)
    train(work, tmp_path, "--variants", "cost=angle")
    assert lowered(tmp_path / "students" / "sw" / "cost=angle")
    args = json.loads((tmp_path / "students" / "sw" / "cost=angle" / "args.json").read_text())["args"]
    assert args["cost"] == "angle" and (tmp_path / "runs" / "sw" / "cost=angle.s1.trec").stat().st_size > 0


def test_a_new_language_is_a_row(tmp_path):
    """Kinyarwanda, of which AfriQA has questions and lafand-mt bitext; the files are made-up Swahili's."""
    mirror, out = tmp_path / "mirror", tmp_path / "out"
    fixture.write(mirror)
    for path in list(mirror.rglob("*swa/*.*")):
        fixture.make(mirror, str(path.relative_to(mirror)).replace("swa", "kin"), path.read_bytes())
    code = tmp_path / "code"
    shutil.copytree(ROOT / "study", code / "study", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("data.py", "evaluate.py"):
        shutil.copy(ROOT / name, code)
    argv = [sys.executable, "-m", "study.collections", "prepare", "real", "--langs", "kin", "--mirror"]
    prepare = partial(subprocess.run, [*argv, mirror, "--out", out], cwd=code, capture_output=True, text=True)
    assert "error: unknown language 'kin'" in prepare().stderr
    with open(code / "study" / "languages.tsv", "a") as rows:
        rows.write("kin\trw\tKinyarwanda\tNiger-Congo\tlow\treal\tkin_Latn\tafriqa-test=kin\n")
    done = prepare()
    assert done.returncode == 0, done.stderr
    entry = data.language(out, "kin")
    assert entry["name"] == "Kinyarwanda" and len(data.read_bitext(out / entry["train"])) > 100
    test, = data.load_manifest(out)["tests"]
    assert test["lang"] == "kin" and len(data.read_tsv(out / test["queries"])) == 30

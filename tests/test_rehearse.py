# SPDX-License-Identifier: MIT
"""tests/rehearse.py: every part of the paper profile is measured; its hours count the steps of run_all.sh."""
import json
import re

import numpy as np
import pytest
import torch

import rehearse
from conftest import ROOT


def test_the_rehearsal_measures_every_part(tmp_path, capsys):
    rehearse.main(["--out", str(tmp_path), "--tiny", "--seconds", "0.2", "--batch", "8", "--device", "cpu"])
    found = json.loads((tmp_path / "rehearsal.json").read_text())
    assert list(found) == list(json.loads((ROOT / "results" / "rehearsal.json").read_text()))
    assert all(found[key] > 0 for key in found if key.endswith(("_s", "_gb")) and key not in (
        "disk_gb", "index_gb", "write_s", "bitext_ready_s", "index_write_s"))
    assert 300 < found["pairs"] <= 400 and 0 <= found["padding_student"] < 0.1
    assert min(found[f"{key}_s"] for key in ("transport", "student_step", "student_step_without_cache")) > 0
    counts = found["counts"]
    assert counts["transport"]["kernels"] < counts["student"]["kernels"] < 4000
    assert counts["student"]["tflop"] < counts["supervised"]["tflop"] and counts["transport"]["tflop"] > 0
    text, cost = ((tmp_path / name).read_text() for name in ("rehearsal.md", "stages.tsv"))
    assert text in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "rehearsal.json", "rehearsal.md", "run.trec", "stages.tsv"]
    hours = sum(row[-1] for row in found["hours"])
    assert f"| all |  |  |  | {hours:.1f} |" in text and sum(
        float(line.split("\t")[1]) for line in cost.splitlines()[1:]) == pytest.approx(3600 * hours)


def test_counts_are_those_of_matrix_products_bytes_and_kernels_by_hand():
    x, weight = torch.ones(4, 8), torch.ones(8, 16)

    def step(i):
        y = x @ weight                                     # 2 x 4 x 8 x 16 operations; 32 + 128 + 64 numbers
        y.view(8, 8).add_(1)                               # a view is free; in place: read 64, written 64

    found = rehearse.counted(step)
    assert found == {"tflop": 1024e-12, "gb": 4 * (224 + 128) / 1e9, "kernels": 2}
    assert rehearse.gpu_seconds(found) == 2 * rehearse.LAUNCH
    busy = rehearse.gpu_seconds({"tflop": 1.0, "gb": 3.0, "kernels": 2})
    assert busy == pytest.approx(1e12 / (312e12 * 0.6) + 3e9 / (2e12 * 0.8))


def test_the_hours_count_the_steps_of_run_all_and_the_published_ones_stay_in_a_day_and_60_gb():
    script = (ROOT / "run_all.sh").read_text()
    profile = script[script.index('elif [ "$profile" = paper ]'):script.index("jobs=2 translator")]
    found = json.loads((ROOT / "results" / "rehearsal.json").read_text())
    parts = {(stage, part): steps for stage, rows in rehearse.steps_of(found).items() for part, steps, _ in rows}
    teacher, student, tuning = (int(re.search(pattern, profile)[1]) for pattern in (
        r"--augment --steps (\d+)", r" steps=(\d+)", r"tune_steps=(\d+)"))
    rates = len(re.search(r"grid=\(([^)]*)\)", profile)[1].split())
    methods = len(re.search(r"\bmethods=\(([^)]*)\)", script)[1].split()) + 1              # and translate-train
    trained = {stage: sum(parts[stage, f"steps on {what}"] for what in ("bitext", "judged queries"))
               for stage in ("tune", "students")}
    assert parts["teacher", "steps"] == teacher and trained["students"] == 7 * methods * student
    assert trained["tune"] == methods * rates * tuning and 10 * tuning == student
    assert rehearse.hours(found) == found["hours"]
    assert sum(row[-1] for row in found["hours"]) <= 24 and sum(row[-1] for row in found["disk_gb"]) <= 60


def test_padding_is_the_share_of_tokens_that_are_none():
    assert rehearse.padding([2, 4, 4, 4], [np.array([0, 1]), np.array([2, 3])]) == pytest.approx(2 / 16)

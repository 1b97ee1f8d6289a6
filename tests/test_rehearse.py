# SPDX-License-Identifier: MIT
"""tests/rehearse.py: every part of the paper profile is measured; its hours count the steps of run_all.sh."""
import json
import re

import numpy as np
import pytest

import rehearse
from conftest import ROOT


def test_the_rehearsal_measures_every_part(tmp_path, capsys):
    rehearse.main(["--out", str(tmp_path), "--tiny", "--seconds", "0.2", "--batch", "8", "--device", "cpu"])
    found = json.loads((tmp_path / "rehearsal.json").read_text())
    assert list(found) == list(json.loads((ROOT / "results" / "rehearsal.json").read_text()))
    assert all(found[key] > 0 for key in found if key.endswith(("_s", "_gb")) and key not in (
        "disk_gb", "index_gb", "bitext_vectors_gb", "write_s", "bitext_ready_s", "index_write_s"))
    assert 300 < found["pairs"] <= 400 and 0 <= found["padding_student"] < 0.1
    assert 0 < found["transport_s"] < found["student_step_s"] < found["student_step_without_cache_s"] * 2
    parts = [value for name, value in found["hours"].items() if name != "all"]
    assert len(parts) == 7 and found["hours"]["all"] == pytest.approx(sum(parts), abs=0.06)
    assert found["disk_gb"]["all"] > 2 * 3_000_000 * 75 * 260 / 1e9
    assert (tmp_path / "rehearsal.md").read_text() in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rehearsal.json", "rehearsal.md", "run.trec"]


def test_the_predicted_hours_count_the_steps_of_run_all():
    script = (ROOT / "run_all.sh").read_text()
    profile = script[script.index('elif [ "$profile" = paper ]'):script.index("jobs=2 translator")]
    found = dict.fromkeys(("teacher_step_s", "student_step_s", "search_s"), 3600.0) | {
        "encode_tokens_per_s": 1.0, "bitext_tokens": 0}
    hours = rehearse.hours(found, 0)
    teacher, student, tuning = (int(re.search(pattern, profile)[1]) for pattern in (
        r"--augment --steps (\d+)", r" steps=(\d+)", r"tune_steps=(\d+)"))
    rates = len(re.search(r"grid=\(([^)]*)\)", profile)[1].split())
    methods = len(re.search(r"\bmethods=\(([^)]*)\)", script)[1].split()) + 1              # and translate-train
    assert hours["teacher"] == teacher and hours["students"] == 7 * methods * student
    assert hours["learning rates"] == methods * rates * tuning


def test_padding_is_the_share_of_tokens_that_are_none():
    assert rehearse.padding([2, 4, 4, 4], [np.array([0, 1]), np.array([2, 3])]) == pytest.approx(2 / 16)

# SPDX-License-Identifier: MIT
"""tests/alike.py: both measures by hand, and a report of a run."""
import shutil

import pytest
import torch

import alike
from conftest import make, options


def test_both_measures_by_hand():
    """Three texts of which two share a direction and one is at a right angle; padding counts for nothing."""
    x, y = [1.0, 0.0], [0.0, 1.0]
    vectors = torch.tensor([[x, [9.0, 9.0]], [x, x], [y, y]])
    mask = torch.tensor([[True, False], [True, True], [True, True]])
    assert alike.alike(vectors, mask) == pytest.approx(1 / 3)                # of three pairs one is alike
    assert alike.far(vectors[1:2], mask[1:2], vectors[2:], mask[2:]) == pytest.approx(1)
    assert alike.far(torch.tensor([[x, y]]), torch.tensor([[True, True]]), vectors[:1], mask[:1]) == pytest.approx(0.5)


def test_a_report_has_a_row_of_the_teacher_of_each_student_and_of_the_english_question(work, tmp_path):
    shutil.copytree(work / "data", tmp_path / "data")
    shutil.copytree(work / "teacher", tmp_path / "s1" / "teacher")
    make("study.students", "search", *options(work)[:6], "--runs", tmp_path / "runs", "--out", tmp_path / "s1" / "search")
    make("study.students", "train", *options(work), "--langs", "sw", "--methods", "mean", "--lr", 1e-3, "--save",
         "--runs", tmp_path / "runs", "--out", tmp_path / "s1" / "students")
    rows = {row[1]: row for row in alike.measured(tmp_path)}
    assert list(rows) == ["zero-shot", "mean", "english"] and rows["english"][3] == pytest.approx(0, abs=1e-3)
    assert all(row[0] == "Swahili" and -1 <= row[2] <= 1 and 0 <= row[4] <= 1 for row in rows.values())
    assert rows["zero-shot"][2] != rows["mean"][2] != rows["english"][2]
    text = alike.report(list(rows.values()), "out/x")
    assert "| Swahili | zero-shot teacher |" in text and text.count("\n| Swahili |") == 4

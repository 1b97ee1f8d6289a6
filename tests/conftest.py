"""Tests run from anywhere: the repository's folder comes first on the path, torch keeps to two threads.

And what the tests that run commands have in common: a small collection with its teacher, commands on it.
"""
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for a hub fails at once
OFFLINE = ROOT / "tests" / "offline"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")]))
runpy.run_path(str(OFFLINE / "sitecustomize.py"))


@pytest.fixture
def no_environment(monkeypatch):
    """No variable of the user's that data.py obeys."""
    for name in ("MIRROR", "DOWNLOAD", "OFFLINE", "DATA_CACHE", "CLEF"):
        monkeypatch.delenv(name, raising=False)


def pytest_configure(config):
    try:
        import torch
        torch.set_num_threads(2)
    except ImportError:  # the copyable files without torch are tested without it
        pass


def command(*argv, **kwargs):
    return subprocess.run([sys.executable, *map(str, argv)], cwd=ROOT, capture_output=True, text=True,
                          **kwargs)


def run_all(*argv, **env):
    return subprocess.run(["bash", "run_all.sh", *argv], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "PYTHON": sys.executable, **env})


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Data, encoder and teacher of the smoke profile, in Swahili only: what the tests below start from."""
    root = tmp_path_factory.mktemp("work")
    for argv in (["data.py", "prepare", "mini", "--smoke", "--langs", "sw", "--out", root / "data"],
                 ["optical.py", "pretrain", "--data", root / "data", "--out", root / "encoder",
                  "--vocab", 800, "--hidden", 32, "--layers", 1, "--steps", 3, "--batch", 16],
                 ["optical.py", "teacher", "--data", root / "data", "--encoder", root / "encoder", "--out",
                  root / "teacher", "--dim", 16, "--steps", 3, "--batch", 4]):
        done = command(*argv)
        assert done.returncode == 0, done.stderr
    return root


def distil(work, out, *more, steps=40):
    return ["optical.py", "distil", "--data", work / "data", "--teacher", work / "teacher",
            "--cache", work / "vectors", "--out", out, "--methods", "optical", "mean", "--lr", "1e-3",
            "--steps", steps, "--batch", 8, *more]


def search(work, students, out):
    return ["optical.py", "search", "--data", work / "data", "--teacher", work / "teacher", "--cache",
            work / "vectors", "--students", students, "--out", out, "--methods", "optical", "mean", "english"]


def runs(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.trec"))}

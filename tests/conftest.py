"""Tests run from anywhere: the repository's folder comes first on the path, torch keeps to two threads.

And what the tests that run commands have in common: a small collection with its teacher, commands on it.
"""
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for a hub fails at once
OFFLINE = ROOT / "tests" / "offline"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")]))
FORKS = multiprocessing.get_context("forkserver")            # a process that has imported torch once, for all commands
FORKS.set_forkserver_preload(["torch", "scipy.special", "scipy.sparse", "transformers.models.bert.modeling_bert",
                              "transformers.models.auto.modeling_auto", "transformers.generation.utils"])
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


def command(*argv):
    """What `python ARGV...` in the repository's folder ends with, in a process of its own that is warm already."""
    argv = [str(arg) for arg in argv]
    with tempfile.TemporaryDirectory() as folder:
        texts = [Path(folder) / name for name in ("stdout", "stderr")]
        process = FORKS.Process(target=_command, args=(argv, dict(os.environ), *map(str, texts)))
        process.start()
        process.join()
        return subprocess.CompletedProcess(argv, process.exitcode, *(t.read_text(encoding="utf-8") for t in texts))


def _command(argv, environ, stdout, stderr):
    for fd, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), fd)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(ROOT)
    sys.argv, sys.path[0], status = argv, str(ROOT), 1
    try:
        runpy.run_path(argv[0], run_name="__main__")
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)


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

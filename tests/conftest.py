"""Tests run from anywhere: the repository's folder comes first on the path, torch keeps to two threads.

And what the tests that run commands have in common: a small collection with its teacher, commands on it.
"""
import multiprocessing
import os
import re
import runpy
import signal
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
FORKS = multiprocessing.get_context("forkserver")    # a process that imported torch once, for all commands
FORKS.set_forkserver_preload([
    "torch", "scipy.special", "scipy.sparse", "transformers.models.bert.modeling_bert",
    "transformers.models.auto.modeling_auto", "transformers.generation.utils"])
runpy.run_path(str(OFFLINE / "sitecustomize.py"))


def pytest_configure(config):
    signal.signal(signal.SIGINT, signal.default_int_handler)    # in the background too: tests send it
    try:
        import torch
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    except ImportError:  # the copyable files without torch are tested without it
        pass


def command(name, *argv):
    """What `python -m NAME ARGV...` in the repository's folder ends with; `python NAME ARGV...` of a file."""
    with tempfile.TemporaryDirectory() as folder:
        process = begin(folder, name, *argv)
        process.join()
        stdout, stderr = (Path(folder, name).read_text(encoding="utf-8") for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess([name, *argv], process.exitcode, stdout, stderr)


def begin(folder, name, *argv):
    """That command under way, in a process of its own that is warm already: FOLDER/stdout, FOLDER/stderr."""
    texts, argv = (str(Path(folder, text)) for text in ("stdout", "stderr")), list(map(str, (name, *argv)))
    process = FORKS.Process(target=_command, args=(argv, dict(os.environ), *texts))
    process.start()
    return process


def _command(argv, environ, stdout, stderr):
    for fd, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), fd)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(ROOT)
    sys.argv, sys.path[0], status = argv, str(ROOT), 1
    try:
        run = runpy.run_path if argv[0].endswith(".py") else runpy.run_module
        run(argv[0], run_name="__main__")
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)


def make(name, *argv):
    """A command that has to succeed; returns what it printed."""
    done = command(name, *argv)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(done, message):
    """Asserts that a command ended with status 2 and one line that matches `message`."""
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and re.search(f"error: .*{message}", last), done.stderr
    assert "Traceback" not in done.stderr


def run_all(*argv, **env):
    return subprocess.run(["bash", "run_all.sh", *argv], cwd=ROOT, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHON": sys.executable, **env})


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    """Data, lexicon, encoder and teacher of the smoke profile, Swahili only; tests add to vectors/ alone."""
    root = tmp_path_factory.mktemp("work")
    make("study.collections", "prepare", "mini", "--smoke", "--langs", "sw", "--out", root / "data")
    make("study.baselines", "lexicon", "--data", root / "data", "--out", root / "lexicon")
    make("study.students", "pretrain", "--data", root / "data", "--out", root / "encoder", "--vocab", 800,
         "--hidden", 32, "--layers", 2, "--steps", 3, "--batch", 16)
    make("study.students", "teacher", "--data", root / "data", "--encoder", root / "encoder", "--out",
         root / "teacher", "--dim", 16, "--steps", 3, "--batch", 4)
    return root


@pytest.fixture(scope="session")
def two(tmp_path_factory):
    """Data and lexicons of Swahili and German, for the teacher of `work`."""
    root = tmp_path_factory.mktemp("two")
    make("study.collections", "prepare", "mini", "--smoke", "--langs", "sw", "de", "--out", root / "data")
    make("study.baselines", "lexicon", "--data", root / "data", "--out", root / "lexicon")
    return root


def options(work, *more, data=None):
    """Options that every command which trains students takes."""
    return ["--data", data or work / "data", "--teacher", work / "teacher", "--cache", work / "vectors",
            "--steps", 2, "--batch", 8, "--device", "cpu", *more]


def runs(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*.trec"))
            if path.name != "dev.trec"}

# SPDX-License-Identifier: MIT
"""What happens when: damaged files, full disks, no memory, two runs at once, a run that is told to stop."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

import data
from conftest import ROOT, command, distil, run_all, runs, search


def flip(path, at=0.5):
    """Turns one bit of a file, `at` that part of its length."""
    body = bytearray(path.read_bytes())
    body[int(at * (len(body) - 1))] ^= 4
    path.write_bytes(bytes(body))


def cut(path):
    """Keeps the first two thirds of a file."""
    path.write_bytes(path.read_bytes()[:path.stat().st_size * 2 // 3])


DAMAGE = {"flipped": flip, "cut": cut, "gone": lambda path: path.unlink()}


def refused(done, message):
    """Asserts that a command ended with status 2 and one line that matches `message`."""
    last = done.stderr.strip().split("\r")[-1].splitlines()[-1]
    assert done.returncode == 2 and re.search(f"^error: .*{message}", last), done.stderr
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------------ sealed folders

@pytest.fixture
def sealed(tmp_path):
    folder = tmp_path / "made"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.bin").write_bytes(bytes(range(256)) * 40)
    (folder / "sub" / "b.txt").write_text("hello\n")
    data.seal(folder, "these texts")
    return folder


def test_a_sealed_folder_is_as_it_was_written(sealed):
    data.check_seal(sealed)
    data.check_seal(sealed, "these texts")
    assert json.loads((sealed / "sums.json").read_text())["files"]["sub/b.txt"] == [6, 0x363a3020]
    (sealed / "a new file").write_text("that someone put there does no harm\n")
    data.check_seal(sealed)
    with pytest.raises(ValueError, match="made: holds what was made of other texts or by another model; delete"):
        data.check_seal(sealed, "other texts")


@pytest.mark.parametrize("name", ["a.bin", "sub/b.txt"])
@pytest.mark.parametrize("how", DAMAGE)
def test_damage_to_a_sealed_folder_is_named(sealed, name, how):
    DAMAGE[how](sealed / name)
    state = "gone" if how == "gone" else "changed"
    with pytest.raises(ValueError, match=f"made/{name}: {state} since it was written; delete .*made and run"):
        data.check_seal(sealed)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": {}', "\xff"])
def test_a_seal_that_is_itself_damaged_is_no_seal(sealed, text):
    (sealed / "sums.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="sums.json: missing or damaged; delete"):
        data.check_seal(sealed)
    (sealed / "sums.json").unlink()
    with pytest.raises(ValueError, match="sums.json: missing or damaged; delete"):
        data.check_seal(sealed)


# ----------------------------------------------------------------------------------- a finished experiment

@pytest.fixture(scope="module")
def done(work, tmp_path_factory):
    """A folder of the data, the teacher, two students and their caches, after a search."""
    return finish(work, tmp_path_factory.mktemp("done") / "w")


def finish(work, root):
    """Trains and searches in a copy of `work`, `root`; returns it."""
    shutil.copytree(work, root)
    assert command(*distil(root, root / "students", steps=3)).returncode == 0
    assert command(*search(root, root / "students", root / "runs")).returncode == 0
    return root


FILES = {"a student's weights": "students/sw/optical/model.safetensors",
         "its projection": "students/sw/optical/1_Dense/model.safetensors",
         "its tokenizer": "students/sw/mean/tokenizer.json",
         "the teacher's weights": "teacher/model.safetensors",
         "document vectors": "vectors/mini/00000/vectors.npy",
         "their places": "vectors/mini/00000/offsets.npy"}


@pytest.mark.parametrize("what, how", [(what, "flipped") for what in FILES] + [
    ("a student's weights", "cut"), ("document vectors", "gone")])
def test_a_damaged_file_of_an_experiment_is_refused_and_no_run_written(done, tmp_path, what, how):
    shutil.copytree(done, tmp_path / "w")
    root = tmp_path / "w"
    shutil.rmtree(root / "runs")
    DAMAGE[how](root / FILES[what])
    again = command(*search(root, root / "students", root / "runs"), "--methods", "optical", "mean")
    refused(again, f"{FILES[what]}: {'gone' if how == 'gone' else 'changed'} since it was written; delete ")
    left = {path.name for path in (root / "runs").rglob("*.trec")}
    assert left <= ({"optical.s1.trec"} if "mean" in FILES[what] else set())


def test_a_damaged_student_is_not_taken_for_finished_nor_damaged_token_ids_for_text(work, tmp_path):
    root = finish(work, tmp_path / "w")
    flip(root / "students/sw/mean/done.json")
    refused(command(*distil(root, root / "students", steps=3)), "mean/done.json: changed since it was written")
    shutil.rmtree(root / "students/sw/mean")
    tokens = next((root / "vectors/sw").glob("english-tokens-*"))
    flip(tokens / "ids.int32")
    refused(command(*distil(root, root / "students", steps=3)), "ids.int32: changed since it was written")
    shutil.rmtree(tokens)
    assert command(*distil(root, root / "students", steps=3)).returncode == 0
    assert command(*search(root, root / "students", root / "runs-2")).returncode == 0
    assert runs(root / "runs") == runs(root / "runs-2")


def test_vectors_of_another_teacher_are_not_taken_for_this_ones(done, tmp_path):
    shutil.copytree(done, tmp_path / "w")
    root = tmp_path / "w"
    shutil.rmtree(root / "runs")
    argv = search(root, root / "students", root / "runs")
    argv[argv.index("--teacher") + 1] = root / "students/sw/mean"
    refused(command(*argv), "vectors/mini/00000: holds what was made of other texts or by another model")


def test_a_checkpoint_with_a_flipped_bit_or_a_lost_end_is_refused(tmp_path):
    import torch

    import optical
    path, generator = tmp_path / "s.part" / "checkpoint.pt", torch.Generator().manual_seed(1)
    path.parent.mkdir()
    state = {"model": {"w": torch.randn(40, 8, generator=generator)}, "step": 7, "rng": torch.get_rng_state()[:64]}
    optical.save_checkpoint(path, state)
    whole, found = path.read_bytes(), optical.load_checkpoint(path)
    assert found["step"] == 7 and torch.equal(found["model"]["w"], state["model"]["w"])
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1:])
        with pytest.raises(ValueError, match=r"checkpoint\.pt: damaged; delete .*s\.part, and the training starts anew"):
            optical.load_checkpoint(path)
    for length in (0, 1, 32, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="damaged; delete"):
            optical.load_checkpoint(path)


def test_a_training_does_not_resume_from_a_damaged_checkpoint(work, tmp_path):
    argv = [sys.executable, *map(str, distil(work, tmp_path, "--save-every-s", 0, steps=2000))]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint, deadline = tmp_path / "sw/optical.part/checkpoint.pt", time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    flip(checkpoint)
    refused(command(*distil(work, tmp_path, "--save-every-s", 0, steps=2000)), r"checkpoint\.pt: damaged; delete ")
    assert not (tmp_path / "sw/optical").exists()


def test_a_bit_that_flips_in_a_file_at_rest_is_told_and_a_file_that_was_written_is_not(tmp_path):
    files = ("runs/sw/optical.s1.trec", "data/collection.json", "scores.json")
    ignored = ("logs/a.log", "s1/students/sw/optical/done.json", "s1/x.part/log", ".lock", "runs/b.tmp")
    for name in (*files, *ignored, "s1/students/sw/sums.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1 0.12345\n")

    def at_rest(name, content):                      # as a disk does it: the time stays
        path = tmp_path / name
        time_ns = path.stat().st_mtime_ns
        path.write_bytes(content)
        os.utime(path, ns=(time_ns, time_ns))

    data.audit(tmp_path)
    assert set(json.loads((tmp_path / "audit.json").read_text())) == set(files)
    for name in files:
        for damaged in (b"1 0.12245\n", b"1 0.12", b""):
            at_rest(name, damaged)
            for _ in range(2):                       # it stays told
                with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path / name))}: damaged: "):
                    data.audit(tmp_path)
        refused(command("data.py", "audit", tmp_path), f"{re.escape(str(tmp_path / name))}: damaged: ")
        at_rest(name, b"1 0.12345\n")
        data.audit(tmp_path)
    for name in ignored:
        at_rest(name, b"")
    data.audit(tmp_path)
    (tmp_path / files[0]).write_text("other\n")      # written anew, removed, added: no damage
    (tmp_path / files[2]).unlink()
    (tmp_path / "lr.json").write_text("{}")
    data.audit(tmp_path)
    assert set(json.loads((tmp_path / "audit.json").read_text())) == {*files[:2], "lr.json"}
    (tmp_path / "audit.json").write_text("{")
    with pytest.raises(ValueError, match=r"audit\.json:1: not JSON"):
        data.audit(tmp_path)


# ------------------------------------------------------------------------------------- no room, no memory

@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no right to mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("what", ["students", "checkpoints", "vectors", "runs", "data"])
def test_a_full_disk_is_one_line_and_nothing_half_written_is_kept(done, small_disk, tmp_path, what):
    shutil.copytree(done, tmp_path / "w")
    root = tmp_path / "w"
    full = small_disk / "filler"
    full.write_bytes(b"x" * (300_000 if what in ("runs", "data") else 200_000))
    if what == "students":
        failed = command(*distil(root, small_disk / "out", steps=3))
    elif what == "checkpoints":
        failed = command(*distil(root, small_disk / "out", "--save-every-s", 0, "--log-every", 1, steps=30))
    elif what == "vectors":
        argv = search(root, root / "students", root / "runs-2")
        argv[argv.index("--cache") + 1] = small_disk / "out"
        failed = command(*argv)
    elif what == "runs":
        failed = command(*search(root, root / "students", small_disk / "out"))
    else:
        failed = command("data.py", "prepare", "mini", "--smoke", "--langs", "sw", "--out", small_disk / "out")
    refused(failed, "No space left on device")
    kept = [path for path in small_disk.rglob("*") if path.is_file() and ".part" not in str(path)
            and not path.name.endswith((".tmp", ".lock")) and path != full]
    assert kept == [] or what == "data" and not (small_disk / "out/collection.json").exists()


def test_a_read_only_file_system_is_one_line(done, small_disk, tmp_path):
    (small_disk / "out").mkdir()
    shutil.copytree(done, tmp_path / "w")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    refused(command(*distil(tmp_path / "w", small_disk / "out", steps=3)), "Read-only file system")
    refused(command("data.py", "prepare", "mini", "--smoke", "--langs", "sw", "--out", small_disk / "out"),
            "Read-only file system")
    whole = run_all(SMOKE="1", LANGS="sw", OUT=str(small_disk / "out"))
    assert whole.returncode == 2 and whole.stdout == "" and whole.stderr.splitlines()[-1] == (
        f"error: {small_disk}/out: cannot be written; set OUT to another folder")


def test_memory_that_runs_out_is_told_from_other_errors():
    import torch

    import optical
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 50)
    assert re.fullmatch(r"out of memory \(.*you tried to allocate.*\); lower --batch or --jobs, or raise "
                        "--accumulate", optical.exhausted(error.value))
    assert optical.exhausted(torch.OutOfMemoryError("CUDA out of memory.\nmore")).startswith(
        "out of memory (CUDA out of memory.); lower")
    assert optical.exhausted(OSError("3175 requested and 992 written")) == optical.exhausted(OSError(28, os.strerror(28)))
    assert optical.exhausted(MemoryError()) and not optical.exhausted(RuntimeError("shapes do not match"))


# -------------------------------------------------------------------------------------------- run_all.sh

def test_a_second_run_in_the_same_folder_is_refused_and_the_first_stops_when_told(tmp_path):
    out, env = tmp_path / "out", {**os.environ, "PYTHON": sys.executable, "SMOKE": "1", "LANGS": "sw"}
    first = subprocess.Popen(["bash", "run_all.sh"], cwd=ROOT, env={**env, "OUT": str(out)}, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not (out / "s1/encoder.part").exists() and time.monotonic() < deadline:     # its first training
        time.sleep(0.05)
    second = run_all(SMOKE="1", LANGS="sw", OUT=str(out))
    assert second.returncode == 2 and second.stdout == "" and second.stderr == (
        f"error: {out}: another run is at work there; wait for it or set OUT to another folder\n")
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 143
    assert first.stdout.read().endswith("error: stopped; the same command goes on from here\n")
    lock = [sys.executable, "-c", "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)",
            out / ".lock"]
    assert subprocess.run(lock).returncode == 0              # none of its processes is left
    assert not list(out.rglob("*.pipe"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    done = run_all(OUT=str(tmp_path / "file" / "out"))
    assert done.returncode == 2 and done.stderr.splitlines()[-1] == (
        f"error: {tmp_path}/file/out: cannot be written; set OUT to another folder")

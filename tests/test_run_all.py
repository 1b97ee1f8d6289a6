"""run_all.sh and optical.py's commands as a user runs them: plan, kill and resume, bad input."""
import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import data
import evaluate
import optical
from conftest import ROOT, command, distil, run_all, runs, search


def test_a_distillation_killed_in_the_middle_ends_in_the_same_runs(work, tmp_path):
    assert command(*distil(work, tmp_path / "a", steps=150)).returncode == 0
    argv = [sys.executable, *map(str, distil(work, tmp_path / "b", "--save-every-s", 0, steps=150))]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "b" / "sw" / "optical.part" / "train.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count("\n") > 4):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "b" / "sw" / "optical.part" / "checkpoint.pt").exists()
    again = command(*distil(work, tmp_path / "b", steps=150))
    assert again.returncode == 0 and "resumed at step" in again.stdout
    for name in "ab":
        assert command(*search(work, tmp_path / name, tmp_path / f"runs-{name}")).returncode == 0
    assert runs(tmp_path / "runs-a") == runs(tmp_path / "runs-b") and len(runs(tmp_path / "runs-a")) == 3


def test_several_gpus_share_a_folder_and_other_devices_do_not(work, tmp_path, monkeypatch):
    monkeypatch.setattr(optical, "device_name", str)
    given = argparse.Namespace(run_command="distil", data=work / "data", seed=1)
    part = optical.open_experiment(tmp_path / "one", argparse.Namespace(**vars(given), device="cuda:0"))
    (part / "done.json").write_text("{}")
    first = part.rename(tmp_path / "one")
    assert optical.open_experiment(first, argparse.Namespace(**vars(given), device="cuda:1")) is None
    with pytest.raises(ValueError, match="was made with device='cuda', now it is 'cpu'"):
        optical.open_experiment(first, argparse.Namespace(**vars(given), device="cpu"))


def test_a_finished_unit_is_not_trained_again_and_other_arguments_are_refused(work, tmp_path):
    assert command(*distil(work, tmp_path, steps=2)).returncode == 0
    before = (tmp_path / "sw" / "optical" / "model.safetensors").stat().st_mtime_ns
    again = command(*distil(work, tmp_path, steps=2))
    assert again.returncode == 0 and again.stdout == "  distil: 2 of 2 are there\n"
    assert (tmp_path / "sw" / "optical" / "model.safetensors").stat().st_mtime_ns == before
    other = command(*distil(work, tmp_path, steps=3))
    assert other.returncode == 2 and re.fullmatch(
        r"error: .*args\.json: was made with steps=2, now it is 3; delete .* or choose another OUT\n",
        other.stderr.split("\r")[-1])


def test_processes_share_the_units_of_a_command_and_each_is_done_once(work, tmp_path):
    one = command(*distil(work, tmp_path / "a", "--threads", 1, steps=5))
    two = command(*distil(work, tmp_path / "b", "--threads", 1, "--jobs", 2, steps=5))
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    for n, unit in enumerate(("sw optical", "sw mean"), 1):
        assert two.stdout.count(f"distil {n} of 2: {unit}: dev map") == 1
    for name in "ab":
        assert command(*search(work, tmp_path / name, tmp_path / f"runs-{name}"), "--threads", 1,
                       "--jobs", 1 + (name == "b")).returncode == 0
    assert runs(tmp_path / "runs-a") == runs(tmp_path / "runs-b") and len(runs(tmp_path / "runs-a")) == 3
    other = command(*distil(work, tmp_path / "b", "--threads", 1, "--jobs", 2, steps=6))
    assert other.returncode == 2 and other.stderr.count("error:") == 1 and "steps=5" in other.stderr


def test_a_command_that_is_told_to_stop_stops_its_helpers(work, tmp_path):
    argv = distil(work, tmp_path, "--threads", 1, "--jobs", 2, steps=100_000)
    process = subprocess.Popen([sys.executable, *map(str, argv)], cwd=ROOT, stdout=subprocess.DEVNULL)
    logs = [tmp_path / "sw" / f"{method}.part" / "train.jsonl" for method in ("optical", "mean")]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not all(log.exists() and log.read_text() for log in logs):
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 143
    deadline = time.monotonic() + 30
    for method in ("optical", "mean"):                     # both locks are free: nobody works on
        free = False
        while not free and time.monotonic() < deadline:
            with optical.locked(tmp_path / "sw" / method, wait=False) as free:
                pass
            time.sleep(0.05)
        assert free


def test_a_helper_process_that_died_is_said(monkeypatch, capsys):

    class Dead:
        returncode = -9
        def wait(self):
            return self.returncode

        def terminate(self):
            pass
    monkeypatch.setattr(optical.subprocess, "Popen", lambda *argv, **options: Dead())
    monkeypatch.setattr(optical.signal, "signal", lambda *_: None)
    monkeypatch.setattr(optical.torch, "set_num_threads", lambda n: None)
    args = argparse.Namespace(run=lambda args: None, jobs=3, threads=1, seed=1, precision="float32", device="cpu")
    assert optical.run_command(args, []) == 0
    assert capsys.readouterr().err == \
        "note: a helper process ended with status -9; what it left undone was done here\n" * 2


def test_a_unit_that_another_process_holds_is_left_to_the_end_and_then_waited_for(tmp_path):
    done, units = [], {(name,): tmp_path / name for name in "abc"}

    def finish(path, name):
        done.append((name, path.exists()))
        path.mkdir(exist_ok=True)
        if name == "c":
            release.set()
        return {}

    held, release = threading.Event(), threading.Event()

    def other():
        with optical.locked(tmp_path / "a") as mine:
            assert mine
            held.set()
            release.wait(30)
            (tmp_path / "a").mkdir()                        # the other process finishes its unit
    thread = threading.Thread(target=other)
    thread.start()
    held.wait(30)
    with optical.locked(tmp_path / "a", wait=False) as mine:
        assert not mine
    found = optical.share_out("unit", units, finish)
    thread.join()
    assert done == [("b", False), ("c", False), ("a", True)] and list(found) == list(units)


def test_a_trained_student_keeps_args_log_and_costs_beside_its_weights(work, tmp_path):
    assert command(*distil(work, tmp_path, steps=2)).returncode == 0
    folder = tmp_path / "sw" / "optical"
    args = json.loads((folder / "args.json").read_text())
    assert {"argv", "args", "commit", "dirty", "versions", "device", "threads"} <= set(args)
    line = json.loads((folder / "train.jsonl").read_text().splitlines()[0])
    assert {"step", "loss", "plan_entropy", "marginal_error", "lr", "grad_norm", "tokens_per_s",
            "memory_gb"} <= set(line)
    assert 0 < line["marginal_error"] < 0.1 and 0 < line["loss"] < 2
    assert not (folder / "checkpoint.pt").exists()


def test_only_the_query_encoder_differs_between_teacher_and_student(work, tmp_path):
    """The student starts as the teacher: at learning rate 0 it still is the teacher, token for token."""
    import torch

    argv = distil(work, tmp_path, steps=2)
    argv[argv.index("1e-3")] = "1e-30"
    assert command(*argv).returncode == 0
    teacher = optical.Encoder.load(work / "teacher").eval()
    student = optical.Encoder.load(tmp_path / "sw" / "optical").eval()
    ids, mask = teacher.pad(teacher.tokens(["mkulima aliuza mbuzi"], "query"))
    with torch.no_grad():
        assert torch.allclose(teacher(ids, mask), student(ids, mask), atol=1e-6)


def test_shards_are_searched_one_by_one_and_the_joined_run_is_that_of_one_search(work, tmp_path, monkeypatch):
    monkeypatch.setattr(optical, "SHARD", 800)
    argv = search(work, "none", tmp_path / "runs")[1:]
    argv[argv.index("--cache") + 1] = tmp_path / "cache"
    argv = [*map(str, argv), "--methods", "zero-shot", "--depth", "50", "--device", "cpu",
            "--precision", "float32"]
    assert optical.main(argv) == 0
    whole, folder = tmp_path / "runs" / "sw" / "zero-shot.s1.trec", tmp_path / "runs" / "sw"
    assert [path.name for path in folder.iterdir() if not path.name.endswith(".lock")] == [whole.name]
    teacher, content = optical.Encoder.load(work / "teacher").eval(), whole.read_bytes()
    docs = list(data.read_tsv(work / "data" / "docs" / "mini.tsv"))
    vectors = optical.Vectors(tmp_path / "cache" / "mini")
    queries = data.read_tsv(work / "data" / "test" / "sw" / "queries.tsv")
    expected = optical.search(teacher, queries, vectors, docs, 50)
    assert len(vectors.flats) > 2 and evaluate.read_run(whole) == expected
    whole.unlink()                                                       # a kill came when one shard was done
    start, end = vectors.starts[1:3]
    evaluate.write_run(folder / ".zero-shot.s1.trec.00001",
                       optical.search(teacher, queries, vectors.shard(1), docs[start:end], 50), "zero-shot.s1")
    asked, real = [], optical.search
    monkeypatch.setattr(optical, "search", lambda *args: asked.append(len(args[3])) or real(*args))
    assert optical.main(argv) == 0
    assert whole.read_bytes() == content and asked == np.delete(np.diff(vectors.starts), 1).tolist()
    assert optical.main(argv) == 0 and len(asked) == len(vectors.flats) - 1              # nothing left to do


def test_rerank_keeps_the_documents_of_the_run_and_scores_them_as_search_does(work, tmp_path):
    done = command("optical.py", "search", "--data", work / "data", "--teacher", work / "teacher",
                   "--cache", work / "vectors", "--students", "none", "--out", tmp_path / "r",
                   "--methods", "english")
    assert done.returncode == 0
    full = evaluate.read_run(tmp_path / "r" / "sw" / "english.s1.trec")
    first = {q: dict(list(row.items())[:5]) for q, row in full.items()}
    evaluate.write_run(tmp_path / "first.trec", {q: {d: 1.0 for d in row} for q, row in first.items()}, "x")
    test = json.loads((work / "data" / "collection.json").read_text())["tests"][0]
    done = command("optical.py", "rerank", "--data", work / "data", "--teacher", work / "teacher",
                   "--student", work / "teacher", "--docs", work / "data" / "docs" / "mini.tsv",
                   "--queries", work / "data" / test["english"], "--run", tmp_path / "first.trec",
                   "--cache", tmp_path / "v", "--out", tmp_path / "reranked.trec")
    assert done.returncode == 0, done.stderr
    assert evaluate.read_run(tmp_path / "reranked.trec") == first


BAD_INPUT = {
    "no data folder": (lambda w: shutil.rmtree(w / "data"), r"collection\.json"),
    "a corpus that is gone": (lambda w: (w / "data/docs/mini.tsv").unlink(), r"docs/mini\.tsv"),
    "an empty corpus": (lambda w: (w / "data/docs/mini.tsv").write_text(""),
                        r"docs/mini\.tsv.*empty|no documents"),
    "a corpus line without a tab": (lambda w: (w / "data/docs/mini.tsv").write_text("d1\tx\nd2 y\n"),
                                    r"mini\.tsv:2"),
    "a byte that is not UTF-8": (lambda w: (w / "data/docs/mini.tsv").write_bytes(b"d1\tx\nd2\t\xff\n"),
                                 r"mini\.tsv:2"),
    "queries twice": (lambda w: (w / "data/test/sw/english.tsv").write_text("q\ta\nq\tb\n"),
                      r"english\.tsv:2"),
    "a teacher that is gone": (lambda w: shutil.rmtree(w / "teacher"), r"teacher: no encoder can be loaded"),
    "vectors of another collection": (lambda w: (w / "data/docs/mini.tsv").write_text("d1\tx\n"),
                                      r"other texts"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_that_names_the_file_exit_2_and_no_run(case, work, tmp_path):
    shutil.copytree(work, tmp_path / "w")
    if case == "vectors of another collection":
        done = command(*search(tmp_path / "w", "none", tmp_path / "runs"), "--methods", "english")
        assert done.returncode == 0
        shutil.rmtree(tmp_path / "runs")
    change, message = BAD_INPUT[case]
    change(tmp_path / "w")
    done = command(*search(tmp_path / "w", "none", tmp_path / "runs"), "--methods", "english")
    last = done.stderr.strip().splitlines()[-1].split("\r")[-1]
    assert done.returncode == 2 and last.startswith("error: ") and re.search(message, last), done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.rglob("*.trec"))


def test_an_unknown_language_is_named(work, tmp_path):
    done = command(*distil(work, tmp_path / "s", "--langs", "xx"))
    assert done.returncode == 2 and "no language 'xx'" in done.stderr and not (tmp_path / "s").exists()
    done = command("data.py", "prepare", "mini", "--langs", "xx", "--out", tmp_path / "d")
    assert done.returncode == 2 and "xx" in done.stderr and not (tmp_path / "d").exists()


def test_bitext_with_a_missing_side_is_named_with_its_line(work, tmp_path):
    shutil.copytree(work, tmp_path / "w")
    path = tmp_path / "w/data/bitext/sw.train.tsv"
    path.write_text(path.read_text(encoding="utf-8") + "no translation\n", encoding="utf-8")
    done = command(*distil(tmp_path / "w", tmp_path / "s"))
    assert done.returncode == 2 and re.search(r"sw\.train\.tsv:\d+", done.stderr)


def test_a_loss_that_is_nan_stops_the_distillation_and_leaves_no_student(work, tmp_path):
    done = command(*distil(work, tmp_path / "e", "--epsilon", "nan"))
    assert done.returncode == 2 and re.search("error: .*epsilon.* nan", done.stderr)
    argv = distil(work, tmp_path / "s", "--log-every", 1)
    argv[argv.index("1e-3")] = "inf"
    done = command(*argv)
    message = r"train\.jsonl: the loss of sw optical lr inf is nan .* lower --lr"
    assert done.returncode == 2 and re.search(message, done.stderr), done.stderr
    assert not (tmp_path / "s" / "sw" / "optical").exists()


def test_plan_prints_every_stage_and_runs_nothing(tmp_path):
    out = tmp_path / "out"
    done = run_all("mini", PLAN="1", OUT=str(out), SEEDS="1 2", LANGS="sw,de")
    names = re.findall(r"^\[todo\] ([\w-]+): \S+ \w+\.py \w+", done.stdout, re.M)
    each = ["bm25-nmt", "distil", "search", "ablation", "teacher-masks", "masks", "size", "mix", "switch", "share", "answers", "hybrid",
            "pretrain-32x2", "teacher-32x2", "pretrain-64x2", "teacher-64x2", "scale", "align"]
    assert names == ["data", "bm25", "lexicon", "bm25-lexicon", "psq", "pretrain-s1", "teacher-s1", "nmt-s1",
                     "tune", "subwords", *(f"{name}-s1" for name in each), "pretrain-s2", "teacher-s2", "nmt-s2",
                     *(f"{name}-s2" for name in each), "scores", "tables", "costs", "figures",
                     "costs-table"]
    one = run_all("mini", PLAN="1", OUT=str(out), TABLES="1 2 4").stdout
    assert [name for name in each if f"] {name}-s1:" in one] == ["bm25-nmt", "distil", "search", "size"]
    real = run_all("real", PLAN="1", OUT=str(out)).stdout
    assert "nmt" not in real.replace("/nmt", "") and "translate-train" not in real       # none by default
    named = run_all("real", PLAN="1", OUT=str(out), NMT="some/model").stdout
    assert "nmt.py pretrained" in named and "--name some/model --reverse" in named
    assert "translate-train" in named and "zero-shot nmt contrastive optical" in named and "] bm25-nmt-s1:" in named
    own = run_all("real", PLAN="1", OUT=str(out), WIKI="wikiclir", DICTIONARY="muse", TABLES="5").stdout
    assert "--strict --wiki wikiclir --dictionary muse" in own and "--methods code-switch wikiclir contrastive optical" in own
    assert own.count(f"--lexicon {out}/data/dictionary {out}/lexicon --translations") == 3   # tune, distil, mix
    paper = run_all("paper", PLAN="1", OUT=str(out), CLEF="disc", MIRROR="files").stdout
    assert "data.py prepare paper" in paper and "--mirror files" in paper and "--clef disc" in paper
    assert f"--translations {out}/data/translations {out}/s1/nmt" in paper and "--steps 100000" in paper
    masks = run_all("paper", PLAN="1", OUT=str(out), TABLES="3").stdout         # its default has mask tokens
    assert "--augment --steps 100000 --batch 32 --negatives 1 --lr 3e-6 --no-augment" in masks
    assert re.search(r"] masks-s1: .* --variants no-augment$", masks, re.M)
    low = run_all("mini", PLAN="1", OUT=str(out), LANGS="sw so", TABLES="7").stdout
    assert "] share-s1:" not in low                                # a share of low-resource ones takes both kinds
    real = run_all("real", PLAN="1", OUT=str(out), TABLES="3 8 9 10", MODELS="some/model").stdout
    assert "align" not in real and "hybrid" not in real            # no gold links, no parallel passages
    assert "] teacher-model-s1:" in real and "] scale-s1:" in real and "pretrain" not in real
    frozen = run_all("real", PLAN="1", OUT=str(out), TABLES="3 9", MODELS="some/model", FREEZE="1", SMOKE="1").stdout
    assert frozen.count("--freeze") == 3 and "layers=1" in real and "layers=1" not in frozen
    quick = run_all("mini", PLAN="1", OUT=str(out), COMPILE="1", TABLES="3").stdout
    assert re.findall(r"] ([\w-]+)-s1:.* --compile", quick) == ["teacher", "distil", "ablation", "teacher-masks", "masks"]
    assert re.search(r"] tune:.* --compile", quick) and "--compile" not in done.stdout
    lists = run_all("mini", PLAN="1", OUT=str(out), LANGS="sw,  so", SEEDS="2, 3", TABLES="3,9", MODELS="8x1, 9x1", FREEZE="0", COMPILE="0",
                    SMOKE="0").stdout
    assert lists == run_all("mini", PLAN="1", OUT=str(out), LANGS="sw so", SEEDS="2 3", TABLES="3 9", MODELS="8x1 9x1").stdout
    coded = run_all("real", PLAN="1", OUT=str(out), NMT="some/model", CODES="sw=sw, en=en").stdout
    assert "--reverse --codes sw=sw en=en --out" in coded
    second = next(line for line in done.stdout.splitlines() if "] nmt-s2:" in line)
    assert f"--lr-file {out}/s1/nmt/lr.json" in second          # rates are chosen once, by the first seed
    extra = next(line for line in done.stdout.splitlines() if "] scores:" in line)
    rows = [f"{out}/s{seed}/{name}.json" for seed in (1, 2) for name in ("answers", "scale", "alignment")]
    assert f"--extra {' '.join(rows)} --out" in extra
    assert "--langs sw de" in done.stdout and not out.exists() and done.returncode == 0


def test_a_done_stage_is_skipped_and_one_of_another_command_stops(tmp_path):
    out = tmp_path / "out with a space"
    (out / "stamps").mkdir(parents=True)
    plan = run_all("mini", PLAN="1", OUT=str(out)).stdout.splitlines()
    (out / "stamps" / "data").write_text(plan[0].split(": ", 1)[1] + "\n")
    assert run_all("mini", PLAN="1", OUT=str(out)).stdout.startswith("[done] data")
    (out / "stamps" / "data").write_text("another command\n")
    done = run_all("mini", OUT=str(out))
    assert done.returncode == 2 and "stage data was made by another command: another command" in done.stderr


def test_scores_and_tables_are_made_again_when_anything_before_them_was(tmp_path):
    derived = {"scores", "tables", "costs", "figures", "costs-table"}

    def todo(tables):
        lines = run_all("mini", PLAN="1", OUT=str(tmp_path), TABLES=tables).stdout.splitlines()
        return {line.split("] ")[1].split(":")[0] for line in lines if line.startswith("[todo]")}
    (tmp_path / "stamps").mkdir()
    for line in run_all("mini", PLAN="1", OUT=str(tmp_path), TABLES="1 2").stdout.splitlines():
        name, command = line.removeprefix("[todo] ").split(": ", 1)
        (tmp_path / "stamps" / name).write_text(command + "\n")
    assert todo("1 2") == set()
    assert todo("1 2 4") == {"size-s1"} | derived
    (tmp_path / "stamps" / "bm25").unlink()
    assert todo("1 2") == {"bm25"} | derived


def test_an_unknown_profile_is_an_error():
    done = run_all("papper")
    assert done.returncode == 2 and "no profile 'papper'" in done.stderr


def test_a_bit_that_flips_between_two_stages_stops_the_run_there(tmp_path):
    """A python that, once BM25 is done, damages the corpus as a disk does: its time stays."""
    python = tmp_path / "python"
    corpus = tmp_path / "out" / "data" / "docs" / "mini.tsv"
    python.write_text(f'#!/bin/sh\n"{sys.executable}" "$@" || exit\n'
                      f'if [ "$2" = bm25 ]; then touch -r "{corpus}" "{tmp_path}/time"\n'
                      f'printf "x" | dd of="{corpus}" conv=notrunc 2> /dev/null\n'
                      f'touch -r "{tmp_path}/time" "{corpus}"; fi\n')
    python.chmod(0o755)
    done = run_all(SMOKE="1", LANGS="sw", OUT=str(tmp_path / "out"), PYTHON=str(python))
    assert done.returncode == 2 and f"error: {corpus}: damaged: its content changed" in done.stderr, done.stderr
    assert sorted(path.name for path in (tmp_path / "out" / "stamps").iterdir()) == ["bm25", "data"]


def test_each_stage_tells_the_time_left_by_what_it_took_for_the_results(tmp_path):
    """A python that does nothing: a stage takes no time, so after the first known ones nothing is left."""
    (tmp_path / "python").write_text("#!/bin/sh\n")
    (tmp_path / "python").chmod(0o755)
    done = run_all("real", OUT=str(tmp_path / "out"), PYTHON=str(tmp_path / "python"))
    usual = dict(line.split("\t") for line in (ROOT / "results/real/stages.tsv").read_text().splitlines())
    names = [name.removesuffix("-s1") for name in re.findall(r"^== \d+ of \d+, (\S+), after", done.stdout, re.M)]
    told = re.findall(r"after \d+ min, about (\d+) min left \(log", done.stdout)
    assert int(told[0]) == sum(int(usual[name]) for name in names) // 60 + 1 and int(told[-1]) == 1
    noted = (tmp_path / "out" / "stages.tsv").read_text().splitlines()
    assert [line.split("\t")[0].removesuffix("-s1") for line in noted] == names

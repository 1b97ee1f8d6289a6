# SPDX-License-Identifier: MIT
"""run_all.sh as a user runs it: each profile's plan, settings, what is skipped, one run at a time."""
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT, run_all
from study import nmt, students, sweeps

EACH = """nmt search bm25-nmt students interpolate ablation teacher-masks masks size mix switch share answers hybrid
    pretrain-32x2 teacher-32x2 pretrain-64x2 teacher-64x2 scale scale-rows align""".split()
DERIVED = ["scores", "costs", "costs-table", "figures"]


def plan(profile="mini", **env):
    """{stage: command} of PLAN=1, all of them still to do."""
    done = run_all(profile, PLAN="1", **{"OUT": "nowhere", **env})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return dict(re.fullmatch(r"\[todo\] (\S+): \S+ -m (study\..*?)(?:  # .*)?", line).groups() for line in lines)


def fake(folder, *cases):
    """A python that only notes its commands and writes the tables; `cases` are the shell's, on "$2 $3"."""
    path = folder / "python"
    path.write_text(f"""#!/bin/sh
[ "$1" = -m ] || exec "{sys.executable}" "$@"
echo "$*" >> "{folder}/commands"
for last; do :; done
case "$last" in *.md) echo table > "$last";; esac
case "$2 $3" in {' '.join(cases)} *) ;; esac
""")
    path.chmod(0o755)
    return str(path)


def lost(folder):
    """Every other kill does nothing, as bash may lose one that comes as a process begins."""
    (folder / "env").write_text('kill() { n=$((n + 1)); [ $((n % 2)) = 1 ] || builtin kill "$@"; }\n')
    return str(folder / "env")


def commands(folder):
    return [line[3:].split(" --")[0] for line in (folder / "commands").read_text().splitlines()]


# ---- the plan ----------------------------------------------------------------------------------------------

def test_plan_prints_every_stage_and_runs_nothing(tmp_path):
    stages = plan(OUT=str(tmp_path / "out"), SEEDS="1 2", LANGS="sw,de")
    assert list(stages) == [
        "data", "bm25", "lexicon", "bm25-lexicon", "psq", "pretrain-s1", "teacher-s1", "nmt-tune-s1",
        *(f"{name}-s1" for name in EACH[:3]), "tune", "students-s1", "interpolate-s1", "table-2",
        *(f"{name}-s1" for name in EACH[5:]), "pretrain-s2",
        "teacher-s2", *(f"{name}-s2" for name in EACH), *DERIVED]
    assert not (tmp_path / "out").exists() and "prepare mini" in stages["data"]
    for name in ("nmt-s1", "nmt-s2"):                               # rates are chosen once, by the first seed
        assert f"--rates {tmp_path}/out/tune-nmt" in stages[name]
    assert f"--root {tmp_path}/out --" in stages["scores"]
    test = run_all("test", PLAN="1")
    assert re.fullmatch(r"\[todo\] test: \S+ -m pytest -q .*tests\n", test.stdout) and test.returncode == 0
    unknown = run_all("papper", PLAN="1")
    assert unknown.returncode == 2 and "no profile 'papper'" in unknown.stderr


def test_help_lists_profiles_and_settings_and_a_setting_that_is_none_is_refused():
    told = run_all("--help")
    assert told.returncode == 0 and told.stdout.startswith("bash run_all.sh ") and "TEACHER=" in told.stdout
    for name in ("SEED", "STEPS"):
        wrong = run_all(**{name: "2"})
        assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and f"{name}=2: no setting" in wrong.stderr
    wrong = run_all(TABLES="2 12", PLAN="1")
    assert wrong.returncode == 2 and "TABLES: no table 12; of 1 to 11" in wrong.stderr
    wrong = run_all("quick", METHODS="mean greedy", PLAN="1")
    assert wrong.returncode == 2 and "METHODS: no greedy; of mean contrastive optical ours" in wrong.stderr


def test_further_seeds_of_some_methods_leave_the_first_seed_as_it_is():
    some = plan("real", SEEDS="2", METHODS="optical, mean", RATES="known")
    assert some["students-s2"].split("--methods ")[1].startswith("optical mean --")
    assert "tune" not in some and "interpolate-s2" not in some and "students-s1" not in some
    assert "size-s1" not in plan(METHODS="ours") and "size-s1" in plan(METHODS="ours", TABLES="4")


def test_quick_is_mini_in_two_languages_with_known_rates():
    stages = plan("quick")
    assert "prepare mini --langs sw de" in stages["data"] and "nmt-s1" not in stages and "tune" not in stages
    assert "--rates results/mini" in stages["students-s1"] and "--methods mean contrastive optical ours" in stages["students-s1"]


def test_own_takes_files_and_without_training_queries_what_needs_none():
    own = {"LANGS": "sw", "CORPUS": "c", "QUERIES": "q", "QRELS": "r", "BITEXT": "en x", "TEACHER": "t", "TABLES": "1 2 3"}
    stages = plan("own", **own)
    assert "own --lang sw --corpus c --queries q --qrels r --bitext en x --out" in stages["data"]
    assert "teacher-s1" not in stages and "interpolate-s1" not in stages and "masks-s1" not in stages
    assert "--methods contrastive optical mean greedy --" in stages["students-s1"] and "--teacher t" in stages["students-s1"]
    assert "init=bare" not in stages["ablation-s1"] and "questions" not in stages["ablation-s1"]
    assert "marginals=idf" in stages["ablation-s1"] and "epsilon=0.02" in stages["ablation-s1"]
    more = plan("own", **own, ENGLISH="e", TRAIN="a b c")
    assert "--english e --train a b c --out" in more["data"] and "ours" in more["students-s1"]


def test_another_run_gives_its_teachers_and_rates(tmp_path):
    (tmp_path / "real" / "s2" / "teacher").mkdir(parents=True)
    stages = plan("headlines", TEACHER=str(tmp_path / "real"), RATES="known", SEEDS="1 2")
    assert f"--teacher {tmp_path}/real/s2/teacher " in stages["students-s2"] and "tune" not in stages
    assert f"--teacher {tmp_path}/real " in stages["students-s1"] and "--rates known" in stages["students-s2"]


@pytest.mark.parametrize("profile", ["mini", "real", "paper"])
def test_every_command_of_the_plan_has_options_that_its_module_knows(profile):
    parsers = {"students": students.parser(), "nmt": nmt.parser(), "sweeps": sweeps.parser()}
    for smoke in "01":
        stages, found = plan(profile, TABLES="1 2 3 4 5 6 7 8 9 10 11", MODELS="8x1", SMOKE=smoke,
                             NMT="bitext", WIKI="wikiclir"), set()
        for command in stages.values():
            name, *argv = command.removeprefix("study.").split()
            argv, items = " ".join(argv).partition(" <- ")[::2]
            if name in parsers:
                argv = argv.replace("{}", items).split()
                found.add((name, students.arguments(parsers[name], argv).run.__name__))
        assert {("students", "tune"), ("students", "train"), ("nmt", "train"), ("sweeps", "scale"),
                ("sweeps", "align"), ("sweeps", "cost")} <= found


def test_tables_choose_the_stages():
    some = plan(TABLES="1,2 4")
    assert [name for name in EACH if f"{name}-s1" in some] == [
        "nmt", "search", "bm25-nmt", "students", "interpolate", "size", "align"]
    assert "share-s1" not in plan(LANGS="sw so", TABLES="7")         # a share takes both kinds of languages
    real = plan("real", TABLES="3 8 9 10", MODELS="some/model")
    assert not [name for name in real if re.search("hybrid|pretrain|nmt", name)]      # no parallel documents
    assert "teacher-model-s1" in real and "scale-s1" in real
    assert "alignment.json" not in real["scores"] and "--plan" in real["align-s1"]    # no gold links
    lists = {"LANGS": "sw,  so", "SEEDS": "2, 3", "TABLES": "3,9", "MODELS": "8x1, 9x1", "SMOKE": "0"}
    plain = {"LANGS": "sw so", "SEEDS": "2 3", "TABLES": "3 9", "MODELS": "8x1 9x1"}
    assert plan(**lists, FREEZE="0") == plan(**plain)


def test_settings_change_the_commands():
    real = plan("real")
    assert "nmt-s1" not in real and "translate-train" not in real["students-s1"]             # none by default
    named = plan("real", NMT="some/model", CODES="sw=sw, en=en")
    assert re.match("study.nmt pretrained .*--name some/model --codes sw=sw en=en --out", named["nmt-s1"])
    assert "bm25-nmt-s1" in named and "translate-train" in named["students-s1"]
    assert "--translations nowhere/s1/nmt" in named["search-s1"]
    own = plan("real", WIKI="wikiclir", DICTIONARY="own", TABLES="5", MIRROR="files", ENCODER="some/encoder")
    assert "--mirror files --wiki wikiclir" in own["data"]
    assert "--encoder some/encoder" in own["teacher-s1"] and "code-switch wikiclir" in own["students-s1"]
    for name in ("tune", "students-s1", "mix-s1"):
        assert "--lexicon own nowhere/lexicon --translations" in own[name]
    paper = plan("paper", CLEF="disc", TABLES="3")
    assert "prepare paper" in paper["data"] and "--clef disc" in paper["data"]
    assert "--translations nowhere/data/translations nowhere/s1/nmt" in paper["students-s1"]
    assert "--augment --steps 100000" in paper["teacher-s1"]                    # its default has mask tokens
    assert paper["teacher-masks-s1"].endswith("--no-augment") and "--variants no-augment" in paper["masks-s1"]
    frozen, thawed = (plan("real", TABLES="3 9", MODELS="some/model", FREEZE=on, SMOKE="1") for on in "10")
    assert [name for name in frozen if "--freeze" in frozen[name]] == [
        "teacher-s1", "teacher-masks-s1", "teacher-model-s1"]
    assert "layers=1" in thawed["ablation-s1"] and "layers=1" not in frozen["ablation-s1"]
    assert "--device cuda" in plan(DEVICE="cuda")["teacher-s1"]


# ---- what is done ------------------------------------------------------------------------------------------

def test_a_done_stage_is_skipped_and_one_of_another_command_stops(tmp_path):
    out = tmp_path / "out with a space"
    (out / "stamps").mkdir(parents=True)
    first = run_all(PLAN="1", OUT=str(out)).stdout.splitlines()[0]
    (out / "stamps" / "data").write_text(first.split(" -m study.")[1].split("  #")[0] + "\n")
    assert run_all(PLAN="1", OUT=str(out)).stdout.startswith("[done] data")
    (out / "stamps" / "data").write_text("another command\n")
    done = run_all(OUT=str(out))
    assert done.returncode == 2
    assert f"{out}/stamps/data: made by another command: another command" in done.stderr


def test_scores_and_tables_are_made_again_when_anything_before_them_was(tmp_path):
    def todo(tables):
        lines = run_all(PLAN="1", OUT=str(tmp_path), TABLES=tables).stdout.splitlines()
        return [line.split("] ")[1].split(":")[0] for line in lines if line.startswith("[todo]")]
    (tmp_path / "stamps").mkdir()
    for name, command in plan(OUT=str(tmp_path), TABLES="1 2").items():
        (tmp_path / "stamps" / name).write_text(command.removeprefix("study.") + "\n")
    assert todo("1 2") == [] and todo("1 2 4") == ["table-2", "size-s1", *DERIVED]
    (tmp_path / "stamps" / "bm25").unlink()
    assert todo("1 2") == ["bm25", *DERIVED]


def test_a_stage_that_fails_is_told_with_its_log_and_the_same_command_goes_on_there(tmp_path):
    failing = fake(tmp_path, '"study.students teacher") echo "error: no room" >&2; exit 3;;')
    env = {"OUT": str(tmp_path / "out"), "TABLES": "2", "NMT": "none", "SMOKE": "1", "JOBS": "2"}
    done = run_all(**env, PYTHON=failing)
    log = f"{tmp_path}/out/logs/teacher-s1.log"
    assert done.returncode == 3 and done.stderr.startswith("error: no room\nerror: stage teacher-s1 ")
    assert log in done.stderr and commands(tmp_path)[-1] == "study.students teacher"
    before = len(commands(tmp_path))
    done = run_all(**env, PYTHON=fake(tmp_path))
    assert done.returncode == 0 and done.stdout.startswith("== 7 of ") and "\ntable\ntable\n" in done.stdout
    assert commands(tmp_path)[before] == "study.students teacher"
    tuned = [line.partition("--methods ")[2].split(" --")[0].split()      # two processes share the methods
             for line in (tmp_path / "commands").read_text().splitlines() if "study.students tune" in line]
    assert sorted(map(len, tuned)) == [3, 4] and len(set(sum(tuned, []))) == 7
    before = len(commands(tmp_path))
    assert run_all(**env, PYTHON=fake(tmp_path)).returncode == 0 and len(commands(tmp_path)) == before


def test_each_stage_tells_the_time_left_by_what_it_took_for_the_results(tmp_path):
    """With a python that does nothing a stage takes no time, so after the last known one nothing is left."""
    done = run_all(OUT=str(tmp_path / "out"), PYTHON=fake(tmp_path))
    usual = dict(line.split("\t") for line in (ROOT / "results/mini/stages.tsv").read_text().splitlines())
    said = re.findall(r"^== \d+ of (\d+), (\S+), about (\d+) min left \(log: (\S+)\)$", done.stdout, re.M)
    names = [name.removesuffix("-s1") for _, name, _, _ in said]
    assert done.returncode == 0 and {int(total) for total, _, _, _ in said} == {len(said)}
    seconds = sum(int(usual.get(name, 0)) for name in names)
    assert int(said[0][2]) == seconds // 60 + 1 > 1 == int(said[-1][2])
    noted = (tmp_path / "out" / "stages.tsv").read_text().splitlines()
    assert [line.split("\t")[0].removesuffix("-s1") for line in noted] == names


def test_the_plan_of_paper_tells_the_minutes_and_gb_of_its_rehearsal_and_a_smoke_run_none():
    rows = [line.split("\t") for line in (ROOT / "results/paper/stages.tsv").read_text().splitlines()[1:]]
    want = {name: f"  # {int(seconds) // 60} min, {size} GB" for name, seconds, size in rows}
    lines = re.findall(r"^\[todo\] (\S+?)(?:-s1)?: .*?(  # .*)?$", run_all("paper", PLAN="1").stdout, re.M)
    assert {name: told for name, told in lines if told} == want
    assert "  # " not in run_all(PLAN="1", SMOKE="1").stdout


# ---- one run at a time, and its end ------------------------------------------------------------------------

@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_second_run_in_the_same_folder_is_refused_and_the_first_stops_when_told(tmp_path, told):
    out, python = tmp_path / "out", fake(tmp_path, '"study.students pretrain") exec sleep 300;;')
    first = subprocess.Popen(["bash", "run_all.sh"], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, env={
                                 **os.environ, "PYTHON": python, "OUT": str(out), "BASH_ENV": lost(tmp_path)})
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (out / "logs" / "pretrain-s1.log").exists():
        time.sleep(0.02)
    second = run_all(OUT=str(out))
    assert second.returncode == 2 and second.stdout == "" and re.fullmatch(
        rf"error: .*{out}: another run is at work there; wait for it or set .*\n", second.stderr)
    first.send_signal(told)
    assert first.wait(10) == 130
    assert first.stdout.read().endswith("error: stopped; the same command goes on from here\n")
    lock = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    assert subprocess.run([sys.executable, "-c", lock, out / ".lock"]).returncode == 0      # nothing runs on


def test_a_run_waits_for_what_a_kill_left_behind(tmp_path):
    (tmp_path / "out").mkdir()
    hold = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); time.sleep(1)"
    left = subprocess.Popen([sys.executable, "-c", hold, tmp_path / "out" / ".lock"], stdout=subprocess.PIPE)
    left.stdout.readline()
    done = run_all(OUT=str(tmp_path / "out"), TABLES="2", SMOKE="1", PYTHON=fake(tmp_path))
    assert (done.returncode, done.stderr, left.wait()) == (0, "", 0)


def test_what_tells_how_far_a_stage_is_ends_with_it_though_a_signal_is_lost(tmp_path):
    done = run_all(OUT=str(tmp_path / "out"), TABLES="2", SMOKE="1", PYTHON=fake(tmp_path), BASH_ENV=lost(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    done = run_all(OUT=str(tmp_path / "file" / "out"))
    assert done.returncode == 2 and re.fullmatch(
        rf"error: .*{tmp_path}/file/out: cannot be written.*", done.stderr.splitlines()[-1])

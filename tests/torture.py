# SPDX-License-Identifier: MIT
"""Kills the smoke run at random moments, gives the same command again, compares what it ends with.

    python tests/torture.py --kills 50 --out DIR

First an uninterrupted run. Then rounds: the same run in a new folder, killed (SIGKILL, the whole process
group, or now and then one process of it) after a random time, started again and killed again, --a-round
times, and then left to finish. Its scores, runs and tables must be those of the uninterrupted run, byte for
byte. Moments come from --seed, drawn over the time that the uninterrupted run took: every stage is hit.
"""
import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def start(out, log):
    """The smoke run in folder `out`, in a process group of its own."""
    env = {**os.environ, "SMOKE": "1", "OUT": str(out), "PYTHON": sys.executable}
    with open(log, "a") as stream:
        return subprocess.Popen(["bash", "run_all.sh"], cwd=ROOT, env=env, stdout=stream, stderr=stream,
                                start_new_session=True)


def group_of(process):
    """The ids of all living processes of its group."""
    found = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in found.stdout.splitlines()]
    return [int(pid) for pid, group, state in rows if int(group) == process.pid and not state.startswith("Z")]


def kill(process, rng):
    """SIGKILL to the group; one time in five to one process of it, whose fellows get some seconds to end."""
    group, one = group_of(process), rng.random() < 0.2
    if one and len(group) > 1:
        os.kill(rng.choice(group), signal.SIGKILL)
        time.sleep(rng.uniform(0, 3))
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    while group_of(process):                               # killed is not yet gone
        time.sleep(0.05)
    return "one" if one else "all"


def outcome(out):
    """{name: bytes} of all that a run is for: scores, tables, runs. Costs are times, so they differ."""
    paths = [out / "scores.json", out / "tables.md", *sorted(out.glob("runs*/**/*.trec"))]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def last_stage(log):
    """The stage that a log ends in."""
    found = re.findall(r"^== \d+ of \d+, ([\w-]+)", log.read_text(errors="replace"), re.M)
    return found[-1] if found else "start"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--a-round", type=int, default=10, help="kills of one run before it may finish")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="an empty folder")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if any(args.out.iterdir()):
        sys.exit(f"error: {args.out} is not empty")
    began = time.monotonic()
    if start(args.out / "whole", args.out / "whole.log").wait():
        sys.exit(f"error: the uninterrupted run failed: {args.out}/whole.log")
    took, rng = time.monotonic() - began, random.Random(args.seed)
    expected, same, killed, rounds = outcome(args.out / "whole"), 0, 0, 0
    print(f"uninterrupted: {took:.0f} s, {len(expected)} files to compare", flush=True)
    while killed < args.kills:
        n, before, failed = min(args.a_round, args.kills - killed), killed, 0
        rounds += 1
        out, log = args.out / f"round-{rounds}", args.out / f"round-{rounds}.log"
        for _ in range(n):
            process, moment = start(out, log), rng.uniform(0.5, 2.2 * took / n)
            try:
                failed = process.wait(moment)          # it ended by itself: no more of this round
                break
            except subprocess.TimeoutExpired:
                how = kill(process, rng)
            killed += 1
            print(f"{killed} of {args.kills}: {moment:.1f} s, in {last_stage(log)}, killed {how}", flush=True)
        status = failed or start(out, log).wait()          # a run that ended in an error by itself, too
        now = outcome(out) if status == 0 else {}
        wrong = sorted(name for name in expected.keys() | now.keys() if expected.get(name) != now.get(name))
        same += (killed - before) * (not wrong)
        print(f"  finished with {status}: {'DIFFERENT: ' + ' '.join(wrong[:5]) if wrong else 'byte-equal'}",
              flush=True)
    print(f"{same} of {killed} kills: scores, tables and {len(expected) - 2} runs byte-equal")
    return same != args.kills


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""Copies what a run made into results/ and README.md, so that no number is ever typed.

    python results/publish.py out/mini "bash run_all.sh" --tolerance 0.02

Writes results/<profile>/: scores.json, tables.md, expected.json, lr.json (the learning rates' dev values) and
environment.txt (commit, versions, device, seconds a stage); puts the tables between their marks in README.md.
"""
import argparse
import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import evaluate  # noqa: E402


def environment(out, command):
    """What the numbers were made with, from the teachers' args.json and every done.json."""
    lines = [f"command: {command}"]
    for path in sorted(out.glob("s*/teacher/args.json")):
        args = json.loads(path.read_text(encoding="utf-8"))
        state = " (changed)" if args["dirty"] else ""
        lines += [f"{path.parent.parent.name}: commit {args['commit']}{state}",
                  f"  device: {args['device']}, {args['threads']} threads, bf16: {args['args']['bf16']}",
                  "  " + ", ".join(f"{k} {v}" for k, v in args["versions"].items()),
                  f"  data sha256: {args['args']['data_sha256']}"]
    for path in sorted(out.glob("**/done.json")):
        done = json.loads(path.read_text(encoding="utf-8"))
        dev = f", dev map {done['dev_map']:.4f}" if "dev_map" in done else ""
        lines.append(f"{path.parent.relative_to(out)}: {done['steps']} steps, {done['seconds']} s{dev}")
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("out", type=Path, help="folder of a finished run")
    parser.add_argument("command", help="the command that made it, without paths of your machine")
    parser.add_argument("--tolerance", type=float, default=0.02, help="of expected.json (default 0.02)")
    args = parser.parse_args(argv)
    profile = json.loads((args.out / "data" / "collection.json").read_text(encoding="utf-8"))["profile"]
    folder = ROOT / "results" / profile
    folder.mkdir(exist_ok=True)
    for name in ("scores.json", "tables.md"):
        shutil.copyfile(args.out / name, folder / name)
    shutil.copyfile(args.out / "tune" / "lr.json", folder / "lr.json")
    (folder / "environment.txt").write_text(environment(args.out, args.command), encoding="utf-8")
    evaluate.main(["expect", str(folder / "scores.json"), "--command", args.command, "--tolerance",
                   str(args.tolerance), "--out", str(folder / "expected.json")])
    tables = (folder / "tables.md").read_text(encoding="utf-8")
    readme = ROOT / "README.md"
    mark = rf"(<!-- results/{profile}/tables\.md -->\n).*?(<!-- end -->)"
    text, n = re.subn(mark, lambda m: m[1] + tables + m[2], readme.read_text(encoding="utf-8"), flags=re.S)
    assert n == 1, f"README.md: no mark for {profile}"
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

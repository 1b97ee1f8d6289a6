# SPDX-License-Identifier: MIT
"""Copies what a run made into results/ and README.md, so that no number is ever typed.

    python results/publish.py out/mini "bash run_all.sh"

Writes results/<profile>/: scores.json, tables.md, costs.json, costs.md, figures, expected.json, lr.json (the
learning rates' dev values), environment.txt (commit, versions, device, seconds an experiment) and stages.tsv
(seconds a stage); puts table 2 between its marks in README.md. With --part NAME, a study beside the main run:
only its scores, tables and environment, as NAME.json, NAME.md and NAME.txt.
"""
import argparse
import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import report  # noqa: E402


def environment(out, command):
    """What the numbers were made with, from the args.json and done.json of every experiment."""
    lines = [f"command: {command}"]
    found = sorted(path for path in out.glob("**/args.json") if (path.parent / "done.json").exists())
    made = {path.parent: json.loads(path.read_text(encoding="utf-8")) for path in found}
    for key in ("commit", "dirty", "device", "threads", "versions"):
        values = dict.fromkeys(json.dumps(args[key]) for args in made.values())
        lines.append(f"{key}: {' and '.join(values)}")
    for key in ("bf16", "data_sha256"):
        lines.append(f"{key}: {' and '.join(dict.fromkeys(str(a['args'].get(key)) for a in made.values()))}")
    for folder in made:
        done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
        dev = "".join(f", {key.replace('_', ' ')} {done[key]:.4f}" for key in ("dev_map", "dev_chrf")
                      if key in done)
        trained = f"{done['steps']} steps, {done['seconds']} s" if "steps" in done else done["model"]
        trained += f", {done['examples']:,} examples" if "examples" in done else ""
        lines.append(f"{folder.relative_to(out)}: {trained}{dev}")
    return "\n".join(lines) + "\n"


def stages(out):
    """Lines `stage<TAB>seconds`, the mean over seeds: what run_all.sh tells the time left by."""
    seconds = {}
    for line in (out / "stages.tsv").read_text(encoding="utf-8").splitlines():
        name, spent = line.split("\t")
        seconds.setdefault(name, 0)
        seconds[name] += int(spent)                         # a stage that failed and went on has two lines
    means = {}
    for name, spent in seconds.items():
        means.setdefault(re.sub(r"-s\d+$", "", name), []).append(spent)
    return "".join(f"{name}\t{round(sum(own) / len(own))}\n" for name, own in means.items())


def short(tables, link):
    """Table 2 for the README; all of them, and every signature, are in the linked file."""
    first = tables[tables.index("## Table 2"):].split("\n## Table ")[0]
    text = re.sub(r"\nSignatures:\n(- .*\n)*", "", first).rstrip()
    return f"{text}\n\nAll tables and every signature: [{link}]({link}).\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("out", type=Path, help="folder of a finished run")
    parser.add_argument("command", help="the command that made it, without paths of your machine")
    parser.add_argument("--tolerance", type=float, default=0.03, help="of expected.json (default 0.03)")
    parser.add_argument("--repeats", type=Path, nargs="*", default=[],
                        help="scores.json of the same command on other machines, which measure the tolerance")
    parser.add_argument("--into", type=Path, default=ROOT, help="folder of results/ and README.md (this one)")
    parser.add_argument("--part", help="a study beside the main run: its name")
    args = parser.parse_args(argv)
    profile = json.loads((args.out / "data" / "collection.json").read_text(encoding="utf-8"))["profile"]
    folder = args.into / "results" / profile
    folder.mkdir(parents=True, exist_ok=True)
    if args.part:
        shutil.copyfile(args.out / "scores.json", folder / f"{args.part}.json")
        shutil.copyfile(args.out / "tables.md", folder / f"{args.part}.md")
        text = environment(args.out, args.command)
        (folder / f"{args.part}.txt").write_text(text, encoding="utf-8")
        return
    for name in ("scores.json", "tables.md", "costs.json", "costs.md"):
        shutil.copyfile(args.out / name, folder / name)
    shutil.rmtree(folder / "figures", ignore_errors=True)    # none of an earlier run beside this one's data
    for path in sorted((args.out / "figures").glob("*")):
        if profile == "mini" or path.stem != "plan":        # sentences of other people's data stay with them
            (folder / "figures").mkdir(exist_ok=True)
            shutil.copyfile(path, folder / "figures" / path.name)
    if not list((folder / "figures").glob("*.svg")):
        print(f"note: {args.out}/figures has data alone; `python studies.py figures` draws where matplotlib is")
    rates = [args.out / "tune" / "lr.json", *sorted(args.out.glob("s*/nmt/lr.json"))]
    merged = {str(path.parent.relative_to(args.out)): json.loads(path.read_text("utf-8")) for path in rates}
    (folder / "lr.json").write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")
    (folder / "environment.txt").write_text(environment(args.out, args.command), encoding="utf-8")
    (folder / "stages.tsv").write_text(stages(args.out), encoding="utf-8")
    rows = report.read_rows(folder / "scores.json")
    report.write_rows(folder / "expected.json", report.expect(
        rows, args.command, args.tolerance, [report.read_rows(path) for path in args.repeats]))
    tables = short((folder / "tables.md").read_text(encoding="utf-8"), f"results/{profile}/tables.md")
    readme = args.into / "README.md"
    mark = rf"(<!-- results/{profile}/tables\.md -->\n).*?(<!-- end -->)"
    text, n = re.subn(mark, lambda m: m[1] + tables + m[2], readme.read_text(encoding="utf-8"), flags=re.S)
    if n != 1:
        parser.error(f"{readme}: {n} places marked for results/{profile}/tables.md, must be one")
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

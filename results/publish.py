# SPDX-License-Identifier: MIT
"""Copies what a run made into results/ and README.md, so that no number is ever typed.

    python results/publish.py out/mini "bash run_all.sh"

Writes results/<profile>/: scores.json, tables.md, costs.json, costs.md, figures, expected.json, lr.json (each
method's learning rates and their dev values), environment.txt (commit, versions, device, experiments) and
stages.tsv (how many languages, seconds a stage); puts the means of all profiles between the marks of README.md.
With --part NAME, a study beside the main run: its scores, tables and environment, NAME.json, NAME.md, NAME.txt.
With --more OUT, the same collection in other languages: their rows and experiments stand in the same files.
"""
import argparse
import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from study import tables  # noqa: E402


def environment(outs, command):
    """What the numbers were made with, from the args.json and done.json of every experiment."""
    lines = [f"command: {command}"]
    found = [(path.parent, out) for out in outs for path in sorted(out.glob("**/args.json"))
             if (path.parent / "done.json").exists()]
    made = {folder: json.loads((folder / "args.json").read_text(encoding="utf-8")) for folder, _ in found}
    for key in ("commit", "dirty", "device", "threads", "versions"):
        values = dict.fromkeys(json.dumps(args[key]) for args in made.values())
        lines.append(f"{key}: {' and '.join(values)}")
    for key in ("bf16", "data_sha256"):
        lines.append(f"{key}: {' and '.join(dict.fromkeys(str(a['args'].get(key)) for a in made.values()))}")
    for folder, out in found:
        done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
        dev = "".join(f", {key.replace('_', ' ')} {done[key]:.4f}" for key in ("dev_map", "dev_chrf")
                      if key in done)
        trained = (f"{done['steps']} steps, {done['seconds']} s" if "steps" in done else
                   done.get("model", "searched"))
        trained += f", {done['examples']:,} examples" if "examples" in done else ""
        lines.append(f"{folder.relative_to(out)}: {trained}{dev}")
    return "\n".join(lines) + "\n"


def stages(out):
    """Lines `stage<TAB>seconds` for run_all.sh's estimates: of languages the sum, of seeds the mean."""
    seconds = {}
    for line in (out / "stages.tsv").read_text(encoding="utf-8").splitlines():
        name, spent = line.split("\t")                      # students-s1: of seed 1
        base, seed = (re.findall(r"(.+)(-s\d+)", name) or [(name, "")])[0]
        own = seconds.setdefault(base, {})
        own[seed] = own.get(seed, 0) + int(spent)           # a stage that failed and went on has two lines
    return "".join(f"{base}\t{round(sum(own.values()) / len(own))}\n" for base, own in seconds.items())


def means(results):
    """The low-resource means of table 2 of every published profile: a column each of the README's table."""
    columns = {}                                            # {profile: {method: mean}}
    for profile in ("real", "headlines", "paper", "mini"):
        path = results / profile / "tables.md"
        text = path.read_text(encoding="utf-8") if path.exists() else "## Table 2"
        parts = text[text.index("## Table 2"):].split("\n\n")
        table = next((part for part in parts if part.startswith("| ")), "")
        rows = [line[2:-2].split(" | ") for line in table.splitlines()]
        if rows and "low mean" in rows[0]:
            i = rows[0].index("low mean")
            columns[f"[{profile}](results/{profile}/tables.md)"] = {row[0]: row[i] for row in rows[2:]}
    methods = [name for name in tables.METHODS.values() if any(name in column for column in columns.values())]
    return tables.markdown(["method", *columns], [
        [name, *(column.get(name, "") for column in columns.values())] for name in methods])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("out", type=Path, help="folder of a finished run")
    parser.add_argument("command", help="the command that made it, without paths of your machine")
    parser.add_argument("--tolerance", type=float, default=0.03, help="of expected.json (default 0.03)")
    parser.add_argument("--repeats", type=Path, nargs="*", default=[],
                        help="scores.json of the same command on other machines, which measure the tolerance")
    parser.add_argument("--into", type=Path, default=ROOT, help="folder of results/ and README.md (this one)")
    parser.add_argument("--part", help="a study beside the main run: its name")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="runs of other languages")
    args = parser.parse_args(argv)
    manifest = json.loads((args.out / "data" / "collection.json").read_text(encoding="utf-8"))
    profile = manifest["profile"]
    folder = args.into / "results" / profile
    rows = [row for out in (args.out, *args.more) for row in tables.read_rows(out / "scores.json")]
    if len({tuple(row[key] for key in tables.KEY) for row in rows}) < len(rows):
        parser.error(f"{args.out} and --more have numbers of the same name; give runs of other languages")
    folder.mkdir(parents=True, exist_ok=True)
    if args.part:
        shutil.copyfile(args.out / "scores.json", folder / f"{args.part}.json")
        shutil.copyfile(args.out / "tables.md", folder / f"{args.part}.md")
        (folder / f"{args.part}.txt").write_text(environment([args.out], args.command), encoding="utf-8")
        return
    for name in ("scores.json", "tables.md", "costs.json", "costs.md"):
        shutil.copyfile(args.out / name, folder / name)
    if args.more:
        tables.write_rows(folder / "scores.json", rows)
        (folder / "tables.md").write_text(tables.tables(rows), encoding="utf-8")
    shutil.rmtree(folder / "figures", ignore_errors=True)    # none of an earlier run beside this one's data
    for path in sorted((args.out / "figures").glob("*")):
        if profile == "mini" or path.stem != "plan":        # sentences of other people's data stay with them
            (folder / "figures").mkdir(exist_ok=True)
            shutil.copyfile(path, folder / "figures" / path.name)
    rates = [json.loads(path.read_text("utf-8")) for path in sorted(args.out.glob("tune*/lr.*.json"))]
    merged = {rate.pop("method"): rate for rate in rates}
    (folder / "lr.json").write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")
    (folder / "environment.txt").write_text(environment([args.out, *args.more], args.command), encoding="utf-8")
    known = f"languages\t{len(manifest['langs'])}\n"
    (folder / "stages.tsv").write_text(known + stages(args.out), encoding="utf-8")
    tables.write_rows(folder / "expected.json", tables.expect(
        rows, args.command, args.tolerance, [tables.read_rows(path) for path in args.repeats]))
    readme = args.into / "README.md"
    shown = means(args.into / "results")
    text, n = re.subn(r"(<!-- results -->\n).*?(<!-- end -->)", lambda m: m[1] + shown + m[2],
                      readme.read_text(encoding="utf-8"), flags=re.S)
    if n != 1:
        parser.error(f"{readme}: {n} places marked for the means of results/, must be one")
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""Copies what a run made into results/ and README.md, so that no number is ever typed.

    python results/publish.py out/mini "bash run_all.sh"

Writes results/<profile>/: scores.json, tables.md, costs.json, costs.md, figures, expected.json, lr.json (each
method's learning rates and their dev values), environment.txt (commit, versions, device, experiments) and
stages.tsv (how many languages, seconds a stage); puts the means of all profiles between the marks of README.md.
With --part NAME, a study beside the main run: its scores, tables and environment, NAME.json, NAME.md, NAME.txt.
With --add, what is published stays, and OUT's languages, methods or seeds join it.
"""
import argparse
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from study import figures, tables  # noqa: E402


def merged(rows):
    """Rows of several runs as one table's: languages and methods side by side, other seeds in one row.

    A number that two have (BM25's has no seed) must be the same in both: ValueError if not, or of other data.
    """
    cells = {}                                              # {key: {seeds: row}}
    for row in rows:
        same = cells.setdefault(tables.key_of(row), {})
        known = same.setdefault(tuple(row["seeds"]), row)
        seeds = [seed for seeds in same for seed in seeds]
        signed = {re.sub(r"missing:\d+", "", each["signature"]): 0 for each in (*same.values(), row)}
        if known["value"] != row["value"] or len(set(seeds)) < len(seeds) or len(signed) > 1:
            raise ValueError(f"two of table {row['table']}: {row['method']}, {row['lang']}, {row['measure']}: "
                             f"{known['value']} and {row['value']}, seeds {seeds}, {' and '.join(signed)}")
    groups = [[*same.values()] for same in cells.values()]
    return [joined(group) if len(group) > 1 else group[0] for group in groups]


def joined(rows):
    """One row of those of other seeds, its seeds in order, its signature that of the most missing queries."""
    found = sorted(each for row in rows for each in zip(
        row["seeds"], row.get("by_seed", [row["value"]]),
        row.get("each_seed") or [[*row["per_query"].values()]] * len(row["seeds"])))     # or their mean
    seeds, values, queries = zip(*found)
    row = max(rows, key=lambda row: int(re.search(r"missing:(\d+)", row["signature"])[1]))
    row = row | tables.over_seeds(seeds, values) | {
        "per_query": dict(zip(row["per_query"], np.mean(queries, axis=0).round(6).tolist()))}
    return row | ({"each_seed": [*queries]} if row["measure"] == "map" else {})


def environment(out, command):
    """What the numbers were made with, from the args.json and done.json of every experiment."""
    lines = [f"command: {command}"]
    made = {path.parent: json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(out.glob("**/args.json")) if (path.parent / "done.json").exists()}
    for key in ("commit", "dirty", "device", "threads", "versions"):
        values = dict.fromkeys(json.dumps(args[key]) for args in made.values())
        lines.append(f"{key}: {' and '.join(values)}")
    for key in ("bf16", "data_sha256"):
        lines.append(f"{key}: {' and '.join(dict.fromkeys(str(a['args'].get(key)) for a in made.values()))}")
    for folder in made:
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
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--part", help="a study beside the main run: its name")
    what.add_argument("--add", action="store_true", help="what is published stays; default: it is replaced")
    args = parser.parse_args(argv)
    manifest = json.loads((args.out / "data" / "collection.json").read_text(encoding="utf-8"))
    profile = manifest["profile"]
    folder = args.into / "results" / profile
    rows, made = tables.read_rows(args.out / "scores.json"), environment(args.out, args.command)
    if args.add:
        try:
            rows = merged(tables.read_rows(folder / "scores.json") + rows)
            made = (folder / "environment.txt").read_text(encoding="utf-8") + "\n" + made
        except (OSError, ValueError) as error:
            parser.error(f"{args.out} cannot be added: {error}")
    folder.mkdir(parents=True, exist_ok=True)
    scores, table, told = (f"{args.part}{kind}" for kind in (".json", ".md", ".txt")) if args.part else (
        "scores.json", "tables.md", "environment.txt")
    tables.write_rows(folder / scores, rows)
    (folder / table).write_text(tables.tables(rows), encoding="utf-8")
    (folder / told).write_text(made, encoding="utf-8")
    if args.part:
        return
    if not args.add:                                        # costs, rates and times stay those of the first
        for name in ("costs.json", "costs.md"):
            shutil.copyfile(args.out / name, folder / name)
        rates = [json.loads(path.read_text("utf-8")) for path in sorted(args.out.glob("tune*/lr.*.json"))]
        chosen = {rate.pop("method"): rate for rate in rates}
        (folder / "lr.json").write_text(json.dumps(chosen, indent=1) + "\n", encoding="utf-8")
        known = f"languages\t{len(manifest['langs'])}\n"
        (folder / "stages.tsv").write_text(known + stages(args.out), encoding="utf-8")
    shutil.rmtree(folder / "figures", ignore_errors=True)   # none of an earlier run beside this one's data
    figures.figures(folder / "scores.json", min(args.out.glob("s*/plan.json")), folder / "figures")
    for path in (folder / "figures").glob("plan.*"):
        if profile != "mini":                               # sentences of other people's data stay with them
            path.unlink()
    commands = re.findall("^command: (.*)", made, re.M)
    tables.write_rows(folder / "expected.json", tables.expect(
        rows, "; ".join(commands), args.tolerance, [tables.read_rows(path) for path in args.repeats]))
    readme = args.into / "README.md"
    shown = means(args.into / "results")
    text, n = re.subn(r"(<!-- results -->\n).*?(<!-- end -->)", lambda m: m[1] + shown + m[2],
                      readme.read_text(encoding="utf-8"), flags=re.S)
    if n != 1:
        parser.error(f"{readme}: {n} places marked for the means of results/, must be one")
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

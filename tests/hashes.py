# SPDX-License-Identifier: MIT
"""Checks what pip would install against constraints.txt: every package known, its version and SHA-256 listed.

    pip install --dry-run --ignore-installed --report report.json -r requirements-dev.txt -c versions.txt
    python tests/hashes.py report.json

constraints.txt is made by `uv pip compile --universal --python-version 3.11 --generate-hashes --no-header
--no-annotate requirements-dev.txt -o constraints.txt`: all packages, for all systems, with the SHA-256 of all
their files. pip installs by its versions alone (run_all.sh): it takes hashes only where every package has one
of the same index, which torch's own builds for CPUs have not.
"""
import json
import re
import sys
from pathlib import Path

ELSEWHERE = {("torch", "2.13.0+cpu"): {"6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"}}


def read_constraints(path):
    """{(name, version): {sha256, ...}} of a requirements file with hashes."""
    found, own = {}, None
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([\w.-]+)==([\w.+!]+)", line):
            own = found.setdefault((normal(match[1]), match[2]), set())
        elif match := re.match(r"\s+--hash=sha256:([0-9a-f]{64})\b", line):
            own.add(match[1])
    return found


def normal(name):
    """A package's name as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def problems(report, known):
    """A line for each package of pip's report (a dict) that `known` lacks, or has with other hashes."""
    for package in report["install"]:
        name, version = normal(package["metadata"]["name"]), package["metadata"]["version"]
        sha256 = package["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if (name, version) not in known:
            yield f"{name}=={version}: not in constraints.txt; make it anew"
        elif sha256 not in known[name, version]:
            yield f"{name}=={version}: its file has SHA-256 {sha256}, which constraints.txt does not list"


def main(argv):
    report = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    known = read_constraints(Path(__file__).parent.parent / "constraints.txt") | ELSEWHERE
    found = list(problems(report, known))
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    print(f"{len(report['install'])} packages, {len(found)} not as in constraints.txt")
    return 2 if found or not report["install"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

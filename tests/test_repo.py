"""The repository as a whole: what imports what, what is pinned, that every table comes from stored scores."""
import ast
import json
import re
import socket
import subprocess
import sys
import urllib.request

import pytest

import hashes
import report
from conftest import ROOT

sys.path.append(str(ROOT / "results"))
import publish  # noqa: E402

MODULES = ["ot", "data", "evaluate", "report", "baselines", "mini", "optical", "nmt", "studies", "paper",
           "rehearse", "xtreme"]
PROFILES = sorted(path.parent.name for path in (ROOT / "results").glob("*/scores.json"))


def imports(name):
    """Top-level and nested imports of a module of ours: {(module, line inside a function or not)}."""
    tree = ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else \
            [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found |= {(n.split(".")[0], node in tree.body) for n in names}
    return found


@pytest.mark.parametrize("name", ["ot", "baselines", "mini"])
def test_a_leaf_imports_none_of_our_modules(name):
    assert not {module for module, _ in imports(name)} & set(MODULES)


def test_evaluate_imports_report_for_its_commands_only_and_report_the_measures():
    assert {(m, top) for m, top in imports("evaluate") if m in MODULES} == {("report", False)}
    assert {m for m, _ in imports("report")} & set(MODULES) == {"evaluate"}


def test_data_imports_the_profiles_only_inside_a_function():
    assert {(m, top) for m, top in imports("data") if m in MODULES} == {
        ("mini", False), ("paper", False), ("xtreme", False)}
    assert {m for name in ("paper", "xtreme") for m, _ in imports(name)} & set(MODULES) == {"data"}


def test_optical_imports_the_leaves_and_nothing_but_the_studies_around_it_imports_optical():
    assert {m for m, top in imports("optical") if top} & set(MODULES) == {"baselines", "data", "evaluate", "ot"}
    assert ("rehearse", False) in imports("optical")
    assert [name for name in MODULES if "optical" in {m for m, _ in imports(name)}] == [
        "nmt", "studies", "rehearse"]


@pytest.mark.parametrize("name", MODULES)
def test_only_the_stated_packages_are_imported(name):
    shipped = {"torch", "transformers", "scipy", "tqdm",
               "numpy", "tokenizers", "safetensors", "huggingface_hub"}
    found = imports(name) - ({("matplotlib", False)} if name == "studies" else set())   # figures, if it is there
    assert {m for m, _ in found} <= shipped | set(MODULES) | set(sys.stdlib_module_names)


def test_the_requirements_are_four_exact_pins():
    lines = (ROOT / "requirements.txt").read_text().split()
    assert [line.split("==")[0] for line in lines] == ["torch", "transformers", "scipy", "tqdm"]
    assert all(re.fullmatch(r"\w+==\d+(\.\d+)+", line) for line in lines)


def test_constraints_hold_every_pin_and_a_hash_for_every_package():
    known = hashes.read_constraints(ROOT / "constraints.txt")
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().split():
            assert "==" not in line or tuple(line.split("==")) in known, line
    assert len(known) > 50 and all(known.values())
    stripped = subprocess.run(["sed", "-n", r"s/ \\$//; /==/p", ROOT / "constraints.txt"], capture_output=True,
                              text=True).stdout.splitlines()                 # as run_all.sh gives them to pip
    assert r"sed -n 's/ \\$//; /==/p' constraints.txt" in (ROOT / "run_all.sh").read_text()
    assert len(stripped) == len(known) and not any("hash" in line or line.endswith("\\") for line in stripped)


def test_a_package_of_another_version_or_hash_or_none_is_told(tmp_path, capsys):
    known = {("a-b", "1.0"): {"1" * 64, "2" * 64}}

    def package(name, version, sha256):
        return {"metadata": {"name": name, "version": version},
                "download_info": {"archive_info": {"hashes": {"sha256": sha256}}}}

    good = package("A_b", "1.0", "2" * 64)
    assert not list(hashes.problems({"install": [good]}, known))
    for bad, told in ((package("a.b", "1.1", "1" * 64), "a-b==1.1: not in constraints.txt"),
                      (package("c", "1.0", "1" * 64), "c==1.0: not in"),
                      (package("a-b", "1.0", "3" * 64), "a-b==1.0: its file has SHA-256 333"),
                      ({**good, "download_info": {"dir_info": {}}}, "a-b==1.0: its file has SHA-256 None")):
        found = list(hashes.problems({"install": [good, bad]}, known))
        assert len(found) == 1 and told in found[0]
    tqdm = next(name for name in hashes.read_constraints(ROOT / "constraints.txt") if name[0] == "tqdm")
    for install, status in (([], 2), ([package(*tqdm, "0" * 64)], 2)):
        (tmp_path / "report.json").write_text(json.dumps({"install": install}))
        assert hashes.main([str(tmp_path / "report.json")]) == status
    assert "error: tqdm" in capsys.readouterr().err


def test_lines_are_at_most_110_columns_and_the_readme_at_most_250_lines():
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.sh")]:
        lines = path.read_text(encoding="utf-8").splitlines()
        long = [i for i, line in enumerate(lines, 1) if len(line) > 110]
        assert not long, f"{path.name}: lines {long}"
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 250


@pytest.mark.parametrize("name", MODULES)
def test_no_module_asks_the_clock_that_can_be_set_back(name):
    """Durations come from time.monotonic; times of files are compared for equality alone."""
    code = (ROOT / f"{name}.py").read_text(encoding="utf-8")
    asked = {f"{node.value.id}.{node.attr}" for node in ast.walk(ast.parse(code))
             if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time"}
    assert asked <= {"time.monotonic", "time.sleep", "time.perf_counter"} and "datetime" not in code


def test_nothing_is_executed_on_import():
    code = "import os; before = os.getcwd(); " + "; ".join(f"import {name}" for name in MODULES)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("profile", PROFILES)
def test_committed_tables_are_rebuilt_byte_for_byte_from_committed_scores(profile):
    folder = ROOT / "results" / profile
    rows = report.read_rows(folder / "scores.json")
    tables = (folder / "tables.md").read_text(encoding="utf-8")
    assert report.tables(rows) == tables
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = publish.short(tables, f"results/{profile}/tables.md")
    assert f"<!-- results/{profile}/tables.md -->\n{shown}<!-- end -->" in readme
    if (folder / "costs.json").exists():
        costs = report.tables(report.read_rows(folder / "costs.json"))
        assert costs == (folder / "costs.md").read_text(encoding="utf-8")


def test_tables_of_studies_beside_a_main_run_are_rebuilt_from_their_scores_too():
    for path in (ROOT / "results").glob("*/*.txt"):
        scores = path.with_suffix(".json")
        if path.name != "environment.txt":
            assert report.tables(report.read_rows(scores)) == path.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize("profile", PROFILES)
def test_committed_scores_pass_their_own_check(profile):
    folder = ROOT / "results" / profile
    done = subprocess.run([sys.executable, "evaluate.py", "check", str(folder / "scores.json"),
                           str(folder / "expected.json")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("ok ") and done.stdout.endswith(" ok, 0 FAIL\n")


def test_publishing_puts_a_run_into_results_and_between_the_marks_of_the_readme(tmp_path):
    out, mark = tmp_path / "out", "<!-- results/mini/tables.md -->"
    score = {"table": "3", "method": "a", "lang": "b", "measure": "map", "value": 0.5, "seeds": [1]}
    args = {"commit": "c0ffee", "dirty": False, "device": "cpu", "threads": 2, "versions": {},
            "args": {"bf16": False, "data_sha256": "ab"}}
    files = {"data/collection.json": {"profile": "mini"}, "tune/lr.json": {}, "scores.json": [score],
             "s1/teacher/done.json": {"steps": 7, "seconds": 1.5, "examples": 1200}, "s1/teacher/args.json": args,
             "s1/nmt/sw-en/done.json": {"model": "a/model", "dev_chrf": 50.0}, "s1/nmt/sw-en/args.json": args}
    texts = {path: json.dumps(value) for path, value in files.items()}
    tables = "## Table 1\n\n| data |\n\n## Table 2\n\n| new |\n\nSignatures:\n- `map` (a)\n\ngain\n\n## Table 3\n\n| long |\n"
    for path, text in (texts | {"tables.md": tables, "costs.json": "[]\n", "costs.md": "", "figures/size.tsv": "x\n",
                                   "figures/plan.tsv": "y\n", "stages.tsv": "tune\t5\nteacher-s1\t3\n"
                                   "teacher-s1\t4\nteacher-s2\t10\nnmt-s2\t2\n"}).items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text)
    (tmp_path / "README.md").write_text(f"before\n{mark}\n| old |\n<!-- end -->\nafter\n")
    argv = [sys.executable, "results/publish.py", str(out), "make it", "--into", str(tmp_path)]
    made = tmp_path / "results" / "mini"
    (made / "figures").mkdir(parents=True)
    (made / "figures" / "size.svg").write_text("of an earlier run")
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "figures has data alone" in done.stdout
    assert not (made / "figures" / "size.svg").exists()
    assert (tmp_path / "README.md").read_text() == (
        f"before\n{mark}\n## Table 2\n\n| new |\n\ngain\n\nAll tables and every signature: "
        "[results/mini/tables.md](results/mini/tables.md).\n<!-- end -->\nafter\n")
    assert report.read_rows(made / "expected.json")[0]["command"] == "make it"
    environment = (made / "environment.txt").read_text()
    assert (made / "figures" / "size.tsv").read_text() == "x\n"
    assert "c0ffee" in environment and "s1/teacher: 7 steps, 1.5 s, 1,200 examples" in environment
    assert "s1/nmt/sw-en: a/model, dev chrf 50.0000" in environment
    assert (made / "figures" / "plan.tsv").exists()
    assert (made / "stages.tsv").read_text() == "tune\t5\nteacher\t8\nnmt\t2\n"    # 3 + 4, 10: 8 on average
    assert subprocess.run([*argv, "--part", "limits"], cwd=ROOT).returncode == 0
    assert (made / "limits.md").read_text() == tables and report.read_rows(made / "limits.json") == [score]
    assert (made / "limits.txt").read_text() == environment
    (out / "data" / "collection.json").write_text('{"profile": "real"}')
    assert subprocess.run(argv, cwd=ROOT, capture_output=True).returncode == 2              # no mark for real
    assert [p.name for p in (tmp_path / "results" / "real" / "figures").iterdir()] == ["size.tsv"]
    (tmp_path / "README.md").write_text("no marks\n")
    assert subprocess.run(argv, cwd=ROOT, capture_output=True).returncode == 2


@pytest.mark.parametrize("attempt", ["socket.create_connection(('192.0.2.1', 80), timeout=5)",
                                     "socket.getaddrinfo('example.org', 443)",
                                     "urllib.request.urlopen('https://huggingface.co/', timeout=5)"])
def test_neither_a_test_nor_a_command_it_starts_reaches_the_network(attempt):
    with pytest.raises(RuntimeError, match="tests have no network"):
        eval(attempt, {"socket": socket, "urllib": urllib})
    done = subprocess.run([sys.executable, "-c", f"import socket, urllib.request; {attempt}"], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 1 and "tests have no network" in done.stderr


def test_every_command_refuses_abbreviated_options():
    for name, command in (("optical", "distil"), ("data", "prepare"), ("evaluate", "score"),
                          ("baselines", "bm25"), ("nmt", "train"), ("studies", "sweep")):
        done = subprocess.run([sys.executable, f"{name}.py", command, "--dat", "x", "--ou", "y"], cwd=ROOT,
                              capture_output=True, text=True)
        assert done.returncode == 2, f"{name} {command}"

"""The repository as a whole: what imports what, how large it is, what is pinned, that tables come from scores."""
import ast
import json
import re
import socket
import subprocess
import sys
import urllib.request

import pytest

import hashes
from conftest import ROOT
from study import tables

sys.path.append(str(ROOT / "results"))
import publish  # noqa: E402

CORE = ["ot", "data", "evaluate", "optical"]
STUDY = sorted(path.stem for path in (ROOT / "study").glob("*.py") if path.stem != "__init__")
FILES = [*(ROOT / f"{name}.py" for name in CORE), *(ROOT / "study" / f"{name}.py" for name in STUDY)]
MODULES = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in FILES]
SHIPPED = [*FILES, ROOT / "study" / "__init__.py", ROOT / "run_all.sh"]
PROFILES = sorted(path.parent.name for path in (ROOT / "results").glob("*/scores.json"))
PACKAGES = {"torch", "transformers", "scipy", "tqdm", "numpy", "tokenizers", "safetensors", "huggingface_hub"}


def lines_of(path):
    return path.read_text(encoding="utf-8").splitlines()


def imports(path):
    """{module of ours or package} that a file imports, anywhere in it; "study.tables" for `from study import tables`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = node.module == "study"
            found |= {f"study.{a.name}" if a.name in STUDY else "study" for a in node.names} if inside else {node.module or ""}
    return {name if name.startswith("study.") else name.split(".")[0] for name in found}


def test_arrows_only_go_down():
    allowed = {"ot": set(), "data": set(), "evaluate": set(), "optical": {"ot", "data", "evaluate"}}
    seen = {}
    for path, name in zip(FILES, MODULES):
        seen[name] = imports(path) & set(MODULES)
        if name in allowed:
            assert seen[name] <= allowed[name], name
    while seen:                                              # no circle among the modules of study/ either
        leaves = [name for name, needs in seen.items() if not needs & seen.keys()]
        assert leaves, f"a circle: {seen}"
        for name in leaves:
            del seen[name]


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_only_the_stated_packages_are_imported(path):
    found = imports(path)
    assert found <= PACKAGES | set(MODULES) | {"study"} | set(sys.stdlib_module_names)


def test_optical_brings_no_module_of_the_study_and_nothing_runs_on_import():
    code = "import sys, optical; assert not [m for m in sys.modules if m.startswith('study')]"
    code += "".join(f"; import {name}" for name in MODULES)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_top_level_is_what_the_user_named():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    top = {name.split("/")[0] for name in tracked if name}
    assert not top or top <= {
        "ot.py", "optical.py", "data.py", "evaluate.py", "run_all.sh", "study", "tests", "results", "README.md",
        "CHANGELOG.md", "LICENSE", "requirements.txt", "requirements-dev.txt", "constraints.txt",
        "requirements-interop.txt", "examples", ".ci", ".gitignore"}


def test_the_lines_stay_within_their_budget():
    count = {path.name: len(lines_of(path)) for path in SHIPPED}
    budget = {"ot.py": 400, "optical.py": 860, "data.py": 350, "evaluate.py": 700, "run_all.sh": 290}
    assert {name: count[name] for name in budget if count[name] > budget[name]} == {}
    assert sum(count[name] for name in budget) <= 2570 and sum(count.values()) <= 6565


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_no_line_is_over_110_columns_and_no_function_over_60_lines(path):
    assert [n for n, line in enumerate(lines_of(path), 1) if len(line) > 110] == []
    if path.suffix == ".py":
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        long = [n.name for n in nodes if isinstance(n, ast.FunctionDef) and n.end_lineno - n.lineno >= 60]
        assert long == []


def test_the_readme_is_short_and_its_files_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"<!-- results.*?<!-- end -->", "", text, flags=re.S)
    assert len(text.split()) <= 1800 and [line for line in prose.split("\n") if len(line) > 110] == []
    shown = re.search(r"whole\noutput\]\(results/quick.txt\).*?```\n(.*?)\n```", text, re.S)[1].split("\n")
    output = [line.rstrip() for line in (ROOT / "results" / "quick.txt").read_text("utf-8").split("\n")]
    for line in shown:                                                          # what is shown is what it printed
        assert any(whole == line or line[-1] == "…" and whole.startswith(line[:-1]) for whole in output), line
    for name in re.findall(r"\]\((?!http)([^)]+)\)", text):
        assert (ROOT / name).exists(), name
    deviations = re.findall(r"^(\d+)\. \*\*", text[text.index("## Deviations"):], re.M)
    tagged = {number for path in SHIPPED for number in re.findall(r"DEVIATION (\d+)", path.read_text("utf-8"))}
    assert sorted(tagged) == sorted(deviations) == [str(n) for n in range(1, 10)]


def test_every_equation_that_a_comment_names_is_one_of_its_file_or_of_optical():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        known = set(re.findall(r"^ *\((\d+)\) ", text, re.M))
        known |= set(re.findall(r"^ *\((\d+)\) ", (ROOT / "optical.py").read_text(encoding="utf-8"), re.M))
        named = set(re.findall(r"[Ee]quations? \((\d+)\)", text))
        assert named <= known, (path.name, named - known)


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


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_no_module_asks_the_clock_that_can_be_set_back(path):
    code = path.read_text(encoding="utf-8")
    asked = {f"{node.value.id}.{node.attr}" for node in ast.walk(ast.parse(code))
             if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time"}
    assert asked <= {"time.monotonic", "time.sleep"} and "datetime" not in code


@pytest.mark.parametrize("profile", PROFILES)
def test_committed_tables_are_rebuilt_byte_for_byte_and_pass_their_own_check(profile, capsys):
    folder = ROOT / "results" / profile
    made = (folder / "tables.md").read_text(encoding="utf-8")
    assert tables.tables(tables.read_rows(folder / "scores.json")) == made
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"<!-- results -->\n{publish.means(ROOT / 'results')}<!-- end -->" in readme
    costs = tables.tables(tables.read_rows(folder / "costs.json"))
    assert costs == (folder / "costs.md").read_text(encoding="utf-8")
    assert tables.main(["check", str(folder / "scores.json"), str(folder / "expected.json")]) == 0
    assert capsys.readouterr().out.endswith(" ok, 0 FAIL\n")


def test_tables_of_studies_beside_a_main_run_are_rebuilt_from_their_scores_too():
    for path in (path for path in (ROOT / "results").glob("*/*.txt") if path.name != "environment.txt"):
        made = tables.tables(tables.read_rows(path.with_suffix(".json")))
        assert made == path.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize("attempt", ["socket.create_connection(('192.0.2.1', 80), timeout=5)",
                                     "socket.getaddrinfo('example.org', 443)",
                                     "urllib.request.urlopen('https://huggingface.co/', timeout=5)"])
def test_neither_a_test_nor_a_command_it_starts_reaches_the_network(attempt):
    with pytest.raises(RuntimeError, match="tests have no network"):
        eval(attempt, {"socket": socket, "urllib": urllib})
    done = subprocess.run([sys.executable, "-c", f"import socket, urllib.request; {attempt}"], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 1 and "tests have no network" in done.stderr


@pytest.mark.parametrize("name, command", [("study.students", "train"), ("study.collections", "prepare"),
                                           ("study.tables", "score"), ("study.baselines", "bm25"),
                                           ("study.nmt", "train"), ("study.sweeps", "align"), ("optical", "distil"),
                                           ("evaluate", "compare")])
def test_every_command_has_a_help_and_refuses_abbreviated_options(name, command):
    done = subprocess.run([sys.executable, "-m", name, command, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "--" in done.stdout
    done = subprocess.run([sys.executable, "-m", name, command, "--dat", "x", "--ou", "y"], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode in (1, 2) and not done.stdout and "Traceback" not in done.stderr


def test_every_score_in_the_readme_stands_in_a_file_of_results():
    text = re.sub(r"(?s)```.*?```", "", (ROOT / "README.md").read_text("utf-8"))
    found = "".join(path.read_text("utf-8") for path in sorted((ROOT / "results").rglob("*.md")))
    scores = re.findall(r"\b\d\.\d{3}\b", text)
    assert len(scores) > 20 and [score for score in scores if score not in found] == []

"""study/figures.py: what is drawn, against values by hand, and that it is whole SVG."""
import json
import xml.etree.ElementTree as ElementTree

import pytest

import optical
from conftest import ROOT
from study import figures, tables


def cell(table, method, lang, value, group="low", measure="map", **more):
    return {"table": table, "method": method, "lang": lang, "measure": measure, "value": value, "class": group, **more}


def lines_of(page):
    return {label: {x: (round(float(y), 9), round(float(d), 9)) for x, y, d in points} for label, _, _, points in page[-1]}


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(optical, "plan_svg", lambda plan, *more: f"<svg>{plan.tolist()} {more}</svg>", raising=False)

    def draw(rows, plan):
        tables.write_rows(tmp_path / "scores.json", rows)
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        argv = ["--scores", str(tmp_path / "scores.json"), "--plan", str(tmp_path / "plan.json"), "--out"]
        assert figures.main([*argv, str(tmp_path / "out")]) == 0
        return {path.name: path.read_text("utf-8") for path in (tmp_path / "out").iterdir()}

    return draw


SIZES = [cell("1", "data", "sw", 500, measure="pairs"), cell("2", "zero-shot", "sw", 0.1), cell("2", "bm25", "sw", 0.7),
         cell("2", "optical", "sw", 0.5, name="<Swahili> & co", seeds=[1, 2], by_seed=[0.4, 0.6]),
         cell("4", "methods=optical,pairs=250", "sw", 0.25, name="<Swahili> & co")]
SIZES = [row | {"per_query": {"q1": row["value"], "q2": 0.2}} if row["table"] == "2" else row for row in SIZES]


def test_sizes_have_table_2_at_its_own_size_deviations_and_levels_and_an_x_that_all_languages_have():
    found = lines_of(figures.curves(SIZES)["size"])
    assert found == {"OPTICAL": {250: (0.25, 0), 500: (0.5, 0.141421356)},
                     "zero-shot teacher": {250: (0.1, 0), 500: (0.1, 0)}}           # bm25 is not varied
    more = [cell("1", "data", "so", 500, measure="pairs"), cell("2", "optical", "so", 0.3),
            *(cell("4", f"methods=optical,pairs={n}", "so", 0.2) for n in (250, 1000))]
    assert lines_of(figures.curves(SIZES + more)["size"]) == {"OPTICAL": {250: (0.225, 0), 500: (0.35, 0)}}
    first = [row if "by_seed" in row else row | {"seeds": [1]} for row in SIZES]             # the sizes have one seed
    assert lines_of(figures.curves(first)["size"])["OPTICAL"][500] == (0.4, 0)
    assert figures.curves(SIZES[:4]) == {}


def test_mixing_has_means_by_class_and_their_gap_and_sizes_of_models_the_english_queries():
    rows = [cell("2", "optical", "sw", 0.4), cell("2", "optical", "fi", 0.8, "high")]
    rows += [cell("5", "mix=0.5", lang, y, group) for lang, y, group in (("sw", 0.3, "low"), ("fi", 0.7, "high"))]
    rows += [cell("9", f"params={size}M{kind}", "sw", y) for size, kind, y in
             ((0.5, "", 0.2), (0.5, ",english", 0.7), (1.5, "", 0.3), (1.5, ",english", 0.8))]
    mix, scale = (lines_of(figures.curves(rows)[name]) for name in ("mix", "scale"))
    assert mix == {"OPTICAL, low mean": {0: (0.4, 0), 0.5: (0.3, 0)}, "OPTICAL, high mean": {0: (0.8, 0), 0.5: (0.7, 0)},
                   "gap: high−low": {0: (0.4, 0), 0.5: (0.4, 0)}}
    assert scale == {"OPTICAL, low mean": {0.5: (0.2, 0), 1.5: (0.3, 0)},
                     "ceiling: English query": {0.5: (0.7, 0), 1.5: (0.8, 0)}}


def test_every_figure_is_whole_svg_with_its_numbers_beside_it_and_the_same_bytes_twice(drawn):
    plan = {"rows": ["a", "goat"], "columns": ["mbuzi"], "plan": [[0.25], [0.75]], "links": [[1, 0]]}
    files = drawn(SIZES, plan)
    assert {*files} == {f"{name}.{kind}" for name in ("size", "differences", "plan") for kind in ("svg", "tsv")}
    assert files == drawn(SIZES, plan)
    for name in ("size", "differences"):
        page = ElementTree.fromstring(files[f"{name}.svg"])
        words = [text.text for text in page.iter("{http://www.w3.org/2000/svg}text")]
        assert any("<Swahili> & co" in (word or "") for word in words), words
    assert "500" in files["size.svg"] and "<Swahili> & co: 1 better, 0 worse" in words
    assert files["size.tsv"].splitlines()[:2] == ["series\tsentence pairs (log scale)\tvalue\tdeviation",
                                                  "OPTICAL\t250\t0.2500\t0.0000"]
    assert files["plan.svg"] == "<svg>[[0.25], [0.75]] (['a', 'goat'], ['mbuzi'], [(1, 0)])</svg>"
    assert files["plan.tsv"] == "\tmbuzi\na\t0.2500\ngoat\t0.7500\n"


def test_a_plan_that_is_none_is_one_line(tmp_path, capsys):
    (tmp_path / "plan.json").write_text("[]")
    (tmp_path / "scores.json").write_text("[]")
    argv = [str(tmp_path / name) for name in ("scores.json", "plan.json", "out")]
    assert figures.main([*sum(zip(["--scores", "--plan", "--out"], argv), ())]) == 2
    assert "plan.json: not an object" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("profile", ["mini"])
def test_committed_drawings_are_those_of_the_committed_scores(profile, drawn):
    files = drawn(tables.read_rows(ROOT / "results" / profile / "scores.json"), {"rows": [], "columns": [], "plan": []})
    made = {path.name: path.read_text("utf-8") for path in (ROOT / "results" / profile / "figures").iterdir()}
    assert {name: files[name] for name in files if "plan" not in name} == {name: made[name] for name in made if "plan" not in name}

"""study/own.py: a user's files in each form, the example of its README from raw files to a table, broken inputs."""
import gzip
import json
import re
import shlex

import pytest

import data
from conftest import ROOT, command, options, refused
from conftest import make as succeed
from fixture import make, zipped
from study import collections

EXAMPLE = ROOT / "examples" / "own"
FILES = {name: (EXAMPLE / file).read_text(encoding="utf-8") for name, file in {
    "corpus": "corpus.tsv", "queries": "queries.tsv", "qrels": "qrels.txt", "bitext": "bitext.tsv"}.items()}
ROWS = {name: [line.split("\t") for line in text.splitlines()] for name, text in FILES.items()}
JUDGED = [line.split() for line in FILES["qrels"].splitlines()]


def beir(rows, title=None):
    return "".join(json.dumps({"_id": key, "title": title, "text": text}) + "\n" for key, text in rows)


def tmx(lang):
    units = (f'<tu><tuv xml:lang="en"><seg>{e}</seg></tuv><tuv xml:lang="{lang}"><seg>{x}</seg></tuv></tu>\n'
             for e, x in ROWS["bitext"])
    return f"<tmx><body>{''.join(units)}</body></tmx>"


def prepare(folder, *more, lang="sw", **files):
    """The exit status of `prepare own` with the example's files, some of them other: text, or {name: text}."""
    argv = ["own", "--lang", lang, "--out", str(folder / "out"), *map(str, more)]
    for name, content in (FILES | files).items():
        content = content if isinstance(content, dict) else {f"{name}.txt": content}
        argv += [f"--{name}", *(str(make(folder, file, text)) for file, text in content.items())]
    return collections.main(argv)


def prepared(folder, *more, **files):
    """(collection.json, {file: text}) of that."""
    assert prepare(folder, *more, **files) == 0
    return data.load_manifest(folder / "out"), {path.relative_to(folder / "out").as_posix(): path.read_text("utf-8")
                                                for path in folder.rglob("out/*/**/*.t*")}


def test_each_form_gives_the_same_collection_and_is_said(tmp_path, capsys):
    sgml = "".join(f"<DOC>\n<DOCNO> {key} </DOCNO>\n<TEXT>\n{text}\n</TEXT>\n</DOC>\n" for key, text in ROWS["corpus"])
    topics = "".join(f"<top>\n<num> Number: {key}\n<title> {text}\n<desc> x\n</top>\n" for key, text in ROWS["queries"])
    forms = {
        "TSV": {name: "\ufeffdocid\ttext\r\n" + FILES[name].replace("\n", "\r\n\r\n")
                for name in ("corpus", "queries")},
        "BEIR": {"corpus": gzip.compress(beir(ROWS["corpus"]).encode()), "queries": beir(ROWS["queries"]),
                 "qrels": "query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t{n}\n" for q, _, d, n in JUDGED),
                 "bitext": {f"b.{i}": "".join(row[i] + "\n" for row in ROWS["bitext"]) for i in (0, 1)}},
        "trec": {"corpus": sgml, "queries": topics, "qrels": gzip.compress(FILES["qrels"].encode()),
                 "bitext": {"b.tmx.zip": zipped({"b.tmx": tmx("sw-KE")})}}}
    plain = prepared(tmp_path / "plain")[1]
    for form, files in forms.items():
        assert prepared(tmp_path / form, **files)[1] == plain
        said = capsys.readouterr().out
        assert re.search(rf"corpus.txt: {form}, corpus: read 1[23], kept 12", said)
        assert f"queries.txt: {form}, queries: " in said and ("; 1 header row\n" in said) == (form == "TSV")
    assert plain["test/sw/qrels.txt"] == FILES["qrels"] and plain["docs/own.tsv"] == FILES["corpus"]
    assert plain["bitext/sw.train.tsv"] + plain["bitext/sw.dev.tsv"] == FILES["bitext"]


def test_a_folder_of_beir_stands_for_its_files_and_a_title_goes_before_its_text(tmp_path):
    make(tmp_path, "beir/corpus.jsonl", beir(ROWS["corpus"], "A  title."))
    make(tmp_path, "beir/queries.jsonl", beir(ROWS["queries"]))
    for split in ("test", "train"):
        make(tmp_path, f"beir/qrels/{split}.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n")
    argv = [word for name in ("corpus", "queries", "qrels", "train") for word in (f"--{name}", str(tmp_path / "beir"))]
    argv += ["--bitext", str(EXAMPLE / "bitext.tsv"), "--lang", "xyz", "--out", str(tmp_path / "out")]
    assert collections.main(["own", *argv]) == 0
    assert data.read_tsv(tmp_path / "out/docs/own.tsv")["d2"] == f"A title. {ROWS['corpus'][1][1]}"
    assert data.load_manifest(tmp_path / "out")["langs"]["xyz"]["class"] == "low"


def test_what_is_unknown_or_has_nothing_relevant_is_counted_and_said(tmp_path, capsys):
    qrels = FILES["qrels"].replace("q2 0 d6 1", "q2 0 d6 0") + "q9 0 d1 1\nq1 0 gone 1\n"
    manifest, files = prepared(tmp_path, qrels=qrels, queries=FILES["queries"] + "q7\t\n")
    said = capsys.readouterr().out
    assert "qrels.txt: judgements: read 8, kept 7; 1 of unknown queries; 1 of unknown documents\n" in said
    assert "queries: read 5, kept 3; 1 without text; 1 without a relevant document, or English version\n" in said
    assert "q1 0 gone 1\n" in files["test/sw/qrels.txt"] and "q2" not in files["test/sw/queries.tsv"]
    assert "english" not in manifest["tests"][0] and manifest["train"] is None


def test_training_questions_of_the_test_are_left_out_a_tenth_is_dev_and_dev_pairs_are_not_trained_on(tmp_path):
    english = make(tmp_path, "english", "q1\tWho  repaired the ROAD\nq2\tx\nq3\tx\n")
    files = [EXAMPLE / "train" / file for file in ("queries.jsonl", "corpus.jsonl")]
    triples = make(tmp_path, "triples.tsv", "".join(f"t{i}\tp{i}\tp{i % 12 + 1}\n" for i in range(1, 14)))
    pairs = FILES["bitext"] + FILES["bitext"].splitlines()[-1].split("\t")[0] + "\tsentensi nyingine\n"
    manifest, found = prepared(tmp_path, "--english", english, "--train", *files, triples, bitext=pairs)
    assert "q4" not in found["test/sw/queries.tsv"]                           # has no English version
    trained = {line.split("\t")[0] for line in found["train/triples.tsv"].splitlines()}
    dev = set(data.read_tsv(tmp_path / "out" / manifest["train"]["dev_queries"]))
    assert dev == {"t1", "t12"} and trained == {f"t{i}" for i in range(1, 13)} - dev - {"t7"}
    assert "t2\tp2\tp3\n" in found["train/triples.tsv"]                       # its own negatives stay
    train, held = (data.read_bitext(tmp_path / "out" / f"bitext/sw.{part}.tsv") for part in ("train", "dev"))
    assert len(held) == 3 and not {text for pair in held for text in pair} & {text for pair in train for text in pair}
    assert prepare(tmp_path / "smoke", "--smoke", "--english", english, "--train", *files, triples) == 0
    assert prepare(tmp_path / "small", "--smoke") == 0


@pytest.mark.parametrize("files, message", [
    ({"corpus": FILES["corpus"] + "d13 no tab\n"}, r"corpus.txt:13: expected id<TAB>text, got 'd13 no tab'"),
    ({"corpus": FILES["corpus"] + "d1\tagain\n"}, r"corpus.txt:13: id 'd1' occurs twice"),
    ({"corpus": FILES["corpus"].encode() + b"d13\tcaf\xe9\n"}, r"corpus.txt:13: byte 0xe9 .* is not UTF-8"),
    ({"corpus": beir(ROWS["corpus"]) + '{"id": "d13"}\n'}, r"corpus.txt:13: expected an object with _id and text"),
    ({"corpus": beir(ROWS["corpus"] * 2)}, r"corpus.txt: id 'd1' occurs twice, or is no single word"),
    ({"corpus": "<DOC>\n<DOCNO>d1</DOCNO>\n"}, r"corpus.txt:1: a <DOC> without <DOCNO>, or that does not end"),
    ({"qrels": "q1\td1\t1\n"}, r"qrels.txt:1: 3 fields .* expected `qid iter docid grade`"),
    ({"qrels": "query-id\tcorpus-id\tscore\nq1\td1\thigh\n"}, r"qrels.txt:2: grade 'high' is not a whole number"),
    ({"qrels": "Q1 0 d1 1\n"}, r"none of its query ids has a text: Q1; those with text are q1, q2, q3$"),
    ({"qrels": "q1 0 D1 1\n"}, r"none of its document ids has a text: D1; those with text are d1, d2, d3$"),
    ({"qrels": "q1 0 d1 0\n"}, r"qrels.txt: no query has a relevant document"),
    ({"bitext": {"b.en": "a\nb\n", "b.sw": "c\n"}}, r"not aligned: .*b.en has 2 lines, .*b.sw has 1 lines"),
    ({"bitext": FILES["bitext"] + "\nx\ty\n"}, r"bitext.txt:31: 1 columns by tab, expected 2: ''"),
    ({"bitext": {"b.tmx": tmx("fr")}}, r"b.tmx: 0 of 0 en-sw pairs fit; give 10"),
    ({"bitext": {"b.tmx.gz": gzip.compress(tmx("sw").encode())[:-20]}}, r"b.tmx.gz: truncated or damaged gz file"),
    ({"lang": "sw/so"}, r"--lang of a code")])
def test_a_broken_input_is_one_line_with_its_place_and_nothing_is_written(tmp_path, capsys, files, message):
    assert prepare(tmp_path, **files) == 2
    err = capsys.readouterr().err
    assert re.match("error: .*" + message, err) and err.count("\n") == 1
    assert not list(tmp_path.glob("out*"))


def stages(root, out, teacher, methods):
    """The table of a collection, by the stages of run_all.sh with tiny settings."""
    argv = ["--data", root, "--device", "cpu", "--teacher", teacher, "--cache", out / "vectors"]
    succeed("study.baselines", "lexicon", "--data", root, "--out", out / "lexicon")
    succeed("study.baselines", "psq", "--data", root, "--lexicon", out / "lexicon", "--out", out / "runs")
    succeed("study.students", "search", *argv, "--runs", out / "runs", "--out", out / "search")
    argv += ["--batch", 8, "--lexicon", out / "lexicon", "--langs", "sw", "--methods"]
    succeed("study.students", "tune", *argv, *methods, "--lr", "1e-3", "--steps", 2, "--save", "--out", out / "tune")
    succeed("study.students", "train", *argv, *methods, "--rates", out / "tune", "--tuned", out / "tune",
            "--runs", out / "runs", "--out", out / "students")
    succeed("study.tables", "score", "--data", root, "--runs", out / "runs", "--out", out / "scores.json")
    succeed("study.tables", "tables", out / "scores.json", "--out", out / "tables.md")
    return (out / "tables.md").read_text(encoding="utf-8")


def test_the_example_goes_from_raw_files_to_a_table_by_the_documented_command_alone(work, tmp_path):
    block = (EXAMPLE / "README.md").read_text(encoding="utf-8").split("```\n")[1].replace("\\\n", " ")
    python, flag, *argv = shlex.split(block.replace("out/own-data", str(tmp_path / "data")))
    assert "sw Swahili: sw 4 queries, 12 documents; bitext.tsv 27 pairs\n" in succeed(*argv)
    succeed("study.students", "teacher", "--data", tmp_path / "data", "--encoder", work / "encoder", "--out",
            tmp_path / "teacher", "--dim", 16, "--steps", 3, "--batch", 4)
    text = stages(tmp_path / "data", tmp_path, tmp_path / "teacher", ["optical", "ours", "code-switch"])
    assert "| Swahili | Niger-Congo | low | 27 | 4 | 12 | 1.25 |" in text
    assert all(f"| {method} | 0." in text or f"| {method} | 1." in text for method in (
        "OPTICAL", "zero-shot teacher", "code-switched training", "ceiling: English query"))


def test_without_english_queries_and_training_data_a_teacher_is_needed_and_the_ceiling_is_left_out(work, tmp_path):
    assert prepare(tmp_path) == 0
    root, told = tmp_path / "out", "collection.json: no training queries; prepare it with --train, or give a TEACHER"
    refused(command("study.students", "teacher", "--data", root, "--encoder", work / "encoder", "--out",
                    tmp_path / "teacher"), told)
    text = stages(root, tmp_path, work / "teacher", ["contrastive", "optical"])
    assert "| OPTICAL | 0." in text and "ceiling" not in text
    done = data.read_json(tmp_path / "students/sw/optical/done.json")
    assert done["dev"] == done["dev_map"] and "dev_switched" not in done
    refused(command("study.students", "train", *options(work, "--lexicon", tmp_path / "lexicon", data=root), "--lr", 1,
                    "--methods", "ours", "--runs", tmp_path / "runs", "--out", tmp_path / "more"), told)

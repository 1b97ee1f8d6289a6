# SPDX-License-Identifier: MIT
"""Writes tiny files in the formats of the real profile, with made-up people and towns, for offline runs.

    python tests/fixture.py DIR && SMOKE=1 MIRROR=DIR bash run_all.sh real

AfriQA for Swahili and Hausa (tests) and Bemba (training), lafand-mt for Swahili and Hausa, NTREX-128 and
XQuAD-R for German, one TICO-19 TMX; CLIRMatrix and XLEnt for Swahili. A null passage and a NaN question are
among them, as published.
"""
import gzip
import json
import sys
import zipfile
from pathlib import Path

FIRST = "Amina Baraka Chiku Dalila Enzi Farida Gasira Hamisi Imani Juma Kito Lulu".split()
LAST = "Orwinde Takkelu Bremasi Holvari Quantoro".split()
TOWNS = "Melwa Tarindo Kusagi Ambereni Lofanza Ochidu Pelamba Rivuti Sanjora Umbali Wekora Yandile".split()
JOBS = {"en": ["teacher", "farmer", "doctor", "tailor", "fisherman", "baker"],
        "swa": ["mwalimu", "mkulima", "daktari", "fundi cherehani", "mvuvi", "mwokaji"],
        "hau": ["malami", "manomi", "likita", "tela", "masunci", "mai yin burodi"],
        "de": ["Lehrer", "Bauer", "Arzt", "Schneider", "Fischer", "Bäcker"]}
SAYS = {"en": ["{s} was born in the town of {town}.", "{s} was born in the year {year}.",
               "{s} worked as a {job}."],
        "swa": ["{s} alizaliwa katika mji wa {town}.", "{s} alizaliwa mwaka wa {year}.",
                "{s} alifanya kazi kama {job}."],
        "hau": ["An haifi {s} a garin {town}.", "An haifi {s} a shekarar {year}.",
                "{s} ya yi aiki a matsayin {job}."],
        "de": ["{s} wurde in der Stadt {town} geboren.", "{s} wurde im Jahr {year} geboren.",
               "{s} arbeitete als {job}."]}
ASKS = {"en": ["In which town was {s} born?", "In which year was {s} born?", "What work did {s} do?"],
        "swa": ["{s} alizaliwa katika mji gani?", "{s} alizaliwa mwaka gani?", "{s} alifanya kazi gani?"],
        "hau": ["A wane gari aka haifi {s}?", "A wace shekara aka haifi {s}?", "Wane aiki {s} ya yi?"],
        "de": ["In welcher Stadt wurde {s} geboren?", "In welchem Jahr wurde {s} geboren?",
               "Als was arbeitete {s}?"]}


def person(n):
    """Name, town and year of person number n, 0 to 59."""
    return {"s": f"{FIRST[n % 12]} {LAST[n // 12]}", "town": TOWNS[n * 5 % 12], "year": 1850 + n * 7 % 131}


def say(lang, n, i, templates=SAYS):
    return templates[lang][i].format(**person(n), job=JOBS[lang][n % 6])


def passage(n, lang="en"):
    return " ".join(say(lang, n, i) for i in range(3))


def afriqa(people, lang):
    """AfriQA gold passages: three questions a person; a language not made here asks in English."""
    rows = []
    for n in people:
        for i in range(3):
            rows.append({
                "answer_pivot": {"answer_start": [0], "text": [person(n)["s"]]}, "context": passage(n),
                "id": str(len(rows)), "question_lang": say(lang if lang in ASKS else "en", n, i, ASKS),
                "question_translated": say("en", n, i, ASKS), "title": person(n)["s"], "answer_lang": ""})
    return rows


def squad(people, lang):
    """XQuAD-R: a paragraph a person, with its sentence breaks."""
    articles = []
    for n in people:
        sentences, breaks, at = [say(lang, n, i) for i in range(3)], [], 0
        for sentence in sentences:
            breaks.append([at, at + len(sentence)])
            at += len(sentence) + 1
        qas = [{"id": f"{n:02d}{i}", "question": say(lang, n, i, ASKS),
                "answers": [{"answer_start": breaks[i][1] - 5, "text": sentences[i][-5:-1]}]}
               for i in range(3)]
        articles.append({"title": person(n)["s"].replace(" ", "_"), "paragraphs": [
            {"context": " ".join(sentences), "qas": qas, "sentences": sentences, "sentence_breaks": breaks}]})
    return {"version": "1.1", "data": articles}


def write(folder):
    """Write every file below `folder`, laid out as in the publishers' repositories."""
    def put(name, text):
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())

    def put_rows(name, rows):
        put(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    gold = "afriqa/gold_passages/{0}/gold_span_passages.afriqa.{0}.en.{1}.json"
    parts = {("swa", "test"): range(0, 10), ("hau", "test"): range(10, 20), ("bem", "train"): range(20, 45),
             ("bem", "dev"): range(45, 52), ("hau", "train"): range(52, 56)}
    for (lang, split), people in parts.items():
        rows = afriqa(people, lang)
        if split == "train":
            rows[-1]["context"], rows[-2]["question_lang"] = None, float("nan")
        put_rows(gold.format(lang, split), rows)
    put_rows("afriqa/queries/swa/queries.afriqa.swa.en.train.json", [
        {"id": i, "question": say("swa", 56, i, ASKS), "translated_question": say("en", 56, i, ASKS),
         "answers": "[]", "lang": "swa", "split": "train", "translation_type": "human_translation"}
        for i in range(3)])
    for lang in ("swa", "hau"):
        for split, people in [("train", range(0, 44)), ("dev", range(44, 54)), ("test", range(54, 60))]:
            for side, code in [("en", "en"), (lang, lang)]:
                put(f"lafand-mt/en-{lang}/{split}.{side}",
                    "".join(say(code, n, i) + "\n" for n in people for i in range(3)))
    put("ntrex/DOCUMENT_IDS.tsv", "".join(f"paper.{n // 4}\n" for n in range(60) for _ in range(3)))
    for code, side in [("en", "src.eng"), ("de", "ref.deu")]:
        put(f"ntrex/newstest2019-{side}.txt",
            "".join(say(code, n, i) + "\r\n" for n in range(60) for i in range(3)))
    for lang in ("en", "de"):
        put(f"xquad-r/{lang}.json", json.dumps(squad(range(0, 16), lang), ensure_ascii=False))
    units = "".join(f'<tu tuid="{n}"><tuv xml:lang="en"><seg>{passage(n)}</seg></tuv>'
                    f'<tuv xml:lang="sw"><seg>{passage(n, "swa")}</seg></tuv></tu>\n' for n in range(10))
    (Path(folder) / "tico19").mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(Path(folder) / "tico19" / "all.en-sw.tmx.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("all.en-sw.tmx"),
                         '<?xml version="1.0" encoding="UTF-8"?>\n<tmx version="1.4"><header srclang="en"/>'
                         f"<body>\n{units}</body></tmx>\n")
    for name, text in (("DOCS/en.tsv.gz", "".join(f"{n}\t{passage(n)}\n" for n in range(60))),
                       ("BI-139/base/sw/sw.en.train.base.jl.gz", "".join(json.dumps(
                           {"src_id": str(n), "src_query": f"{person(n)['s']} {JOBS['swa'][n % 6]}",
                            "tgt_results": [[str(n), 6], [str(n - 1), 2]]}) + "\n" for n in range(20, 60)))):
        path = Path(folder) / "clirmatrix" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    zipped = Path(folder) / "OPUS-XLEnt/v1.2/moses/en-sw.txt.zip"
    zipped.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(zipped, "w") as archive:
        for side, code in (("en", "en"), ("sw", "swa")):
            lines = "".join(f"{job}\n" for job in JOBS[code])
            archive.writestr(zipfile.ZipInfo(f"XLEnt.en-sw.{side}"), lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/fixture.py DIR")
    write(sys.argv[1])

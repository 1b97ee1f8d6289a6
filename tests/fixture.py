# SPDX-License-Identifier: MIT
"""Writes tiny files in the formats of the real profile, with made-up people and towns, for offline runs.

    python tests/fixture.py DIR && SMOKE=1 MIRROR=DIR bash run_all.sh real
    python tests/fixture.py DIR paper && SMOKE=1 MIRROR=DIR CLEF=DIR/clef bash run_all.sh paper

AfriQA for Swahili and Hausa (tests) and Bemba (training), lafand-mt for Swahili and Hausa, NTREX-128 and
XQuAD-R for German, one TICO-19 TMX; WikiCLIR for Swahili; Tatoeba;
for headlines SIB-200 and lafand-mt's documents. A null passage and a NaN question are among them.
"""
import gzip
import io
import json
import sys
import tarfile
import zipfile
from functools import partial
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


def make(folder, name, content):
    """Write a file below `folder`, text or bytes; returns its path."""
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def zipped(members):
    """The bytes of a zip archive of {name: text or bytes}."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def tarred(members):
    """The bytes of a tar.gz archive of {name: text or bytes}."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            content = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), mtime=0)


def write(folder):
    """Write every file below `folder`, laid out as in the publishers' repositories."""
    put = partial(make, folder)

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
    for lang in ("swa", "hau"):
        for split, people in [("train", range(0, 44)), ("dev", range(44, 54)), ("test", range(54, 60))]:
            for side, code in [("en", "en"), (lang, lang)]:
                put(f"lafand-mt/en-{lang}/{split}.{side}",
                    "".join(say(code, n, i) + "\n" for n in people for i in range(3)))
    put("ntrex/DOCUMENT_IDS.tsv", "".join(f"paper.{n // 4}\n" for n in range(60) for _ in range(3)))
    for code, side in [("en", "src.eng"), ("de", "ref.deu"), ("swa", "ref.swa")]:
        put(f"ntrex/newstest2019-{side}.txt",
            "".join(say(code, n, i) + "\r\n" for n in range(60) for i in range(3)))
    for name, code in (("eng_Latn", "en"), ("swh_Latn", "swa"), ("deu_Latn", "de")):
        for part, people in (("train", range(40)), ("dev", range(40, 50)), ("test", range(50, 60))):
            put(f"sib-200/{name}/{part}.tsv", "index_id\tcategory\ttext\n" + "".join(
                f"{2 * n + i}\tgeography\t{say(code, n, 1 + i)}\n" for n in people for i in range(2)))
    put("doc_level/eng-swa/dev.tsv", "eng\tswa\n" + "".join(
        f'"{say("en", n, i)}"\t{say("swa", n, i)}\n' + "\t\n" * (i == 2) for n in range(30, 60) for i in range(3)))
    write_xtreme(put)
    units = "".join(f'<tu tuid="{n}"><tuv xml:lang="en"><seg>{passage(n)}</seg></tuv>'
                    f'<tuv xml:lang="sw"><seg>{passage(n, "swa")}</seg></tuv></tu>\n' for n in range(10))
    put("tico19/all.en-sw.tmx.zip", zipped({
        "all.en-sw.tmx": '<?xml version="1.0" encoding="UTF-8"?>\n<tmx version="1.4"><header srclang="en"/>'
                         f"<body>\n{units}</body></tmx>\n"}))
    put("wiki-clir.tar.gz", tarred({
        "wiki-clir/english/wiki_en.queries": "".join(f"{n}\t{person(n)['s']}\t{passage(n)}\n" for n in range(60)),
        "wiki-clir/swahili/en2sw.rel": "".join(f"{n}\ts{n}\t2\n{n}\ts{n - 1}\t1\n" for n in range(20, 60)),
        "wiki-clir/german/en2de.rel": "", "wiki-clir/german/wiki_de.documents": "",
        "wiki-clir/swahili/wiki_sw.documents": "".join(
            f"s{n}\t{person(n)['s']} {JOBS['swa'][n % 6]}\t{passage(n, 'swa')}\n" for n in range(20, 60))}))


def write_xtreme(put):
    """XQuAD-R in German, Tatoeba in Swahili and German."""
    for lang in ("en", "de"):
        put(f"xquad-r/{lang}.json", json.dumps(squad(range(0, 16), lang), ensure_ascii=False))
    for code, lang in (("swh", "swa"), ("deu", "de")):
        for side, said in (("eng", "en"), (code, lang)):
            put(f"tatoeba/tatoeba.{code}-eng.{side}", "".join(say(said, n, 2) + "\n" for n in (*range(20), 0)))


def write_paper(folder):
    """Small files of the paper profile in Swahili and German, laid out as published; clef/ is CLEF."""
    put = partial(make, folder)
    write_xtreme(put)

    def rows(*columns):
        return "".join("\t".join(map(str, row)) + "\n" for row in columns)

    def asked(people, code="en"):
        return rows(*((n * 3 + i, say(code, n, i, ASKS)) for n in people for i in range(3)))

    train, dev = range(0, 50), range(50, 60)
    marco, texts = "mmarco/data/google/", {"sw": "swa", "de": "de"}
    put(marco + "collections/english_collection.tsv", rows(*((n, passage(n)) for n in range(60))))
    put(marco + "queries/train/english_queries.train.tsv", asked(train))
    put(marco + "queries/train/german_queries.train.tsv", asked(train, "de"))
    put(marco + "queries/dev/english_queries.dev.small.tsv", asked(dev))
    put("mmarco/data/qrels.dev.small.tsv", rows(*((n * 3 + i, 0, n, 1) for n in dev for i in range(3))))
    put("mmarco/data/triples.train.ids.small.tsv",
        rows(*((n * 3 + i, n, (n + 7) % 60) for n in train for i in range(3))))
    for code, side in (("en", "src.eng"), ("swa", "ref.swa"), ("de", "ref.deu")):
        put(f"ntrex/newstest2019-{side}.txt", "".join(say(code, n, i) + "\r\n" for n in dev for i in range(3)))
    put("flores/flores200_dataset.tar.gz", tarred({                        # Belebele's passages are made of it
        f"flores200_dataset/{part}/{name}.{part}": "".join(say(code, n, i) + "\n" for n in people for i in range(3))
        for part, people in (("dev", range(20, 25)), ("devtest", range(25, 30)))
        for name, code in (("eng_Latn", "en"), ("swh_Latn", "swa"), ("deu_Latn", "de"))}))
    for lang, code in texts.items():
        pair = "-".join(sorted(("en", lang)))
        put(f"OPUS-CCAligned/v1/moses/{pair}.txt.zip", zipped({"README": "x"} | {
            f"CCAligned.{pair}.{side}": "".join(say(name, n, i) + "\n" for n in range(60) for i in range(3))
            for side, name in (("en", "en"), (lang, code))}))
    for name, code in (("eng_Latn", "en"), ("swh_Latn", "swa"), ("deu_Latn", "de")):
        put(f"belebele/data/{name}.jsonl", "".join(json.dumps({
            "link": f"https://example.org/{n // 2}", "question_number": n % 2 * 2 + i,
            "flores_passage": passage(n, code), "question": say(code, n, i, ASKS), "mc_answer1": "x",
            "correct_answer_num": "1", "dialect": name}, ensure_ascii=False) + "\n"
            for n in range(20, 40) for i in range(2)))
    put("ciral-corpus/translated-passages-v1.0/swahili_passages.jsonl", "".join(json.dumps(
        {"docid": f"PAPER#{n}#0", "title": person(n)["s"], "text": passage(n), "url": ""}) + "\n"
        for n in range(40)))
    for split, people in (("test-a", range(0, 20)), ("test-b", range(20, 30))):
        for kind, code in (("ciral-native/topics.ciral-v1.0-sw-{}-native.tsv", "swa"),
                           ("ciral/ciral-swahili/topics/topics.ciral-v1.0-sw-{}.tsv", "en")):
            put(kind.format(split), rows(*((n, say(code, n, 0, ASKS)) for n in people)))
        put(f"ciral/ciral-swahili/qrels/qrels.ciral-v1.0-sw-{split}.tsv",
            rows(*((n, "Q0", f"PAPER#{m % 60}#0", int(m == n))
                   for n in people for m in (n, n + 3))).rstrip("\n"))
    parts = {"LATimes94/la010194": ("LA010194-{:04d}", range(0, 25)),
             "GlasgowHerald95/GH95/gh950103": ("GH950103-{:06d}", range(25, 45))}
    for name, (docno, people) in parts.items():
        put(f"clef/DocumentData/DataCollections/English_data/{name}", "".join(
            f"<DOC>\n<DOCNO> {docno.format(n)} </DOCNO>\n<DOCID> {n} </DOCID>\n<HEADLINE>{person(n)['s']}"
            f"</HEADLINE>\n<TEXT>\n<P>{passage(n)}</P>\n</TEXT>\n</DOC>\n" for n in people))
    put("clef/DocumentData/DataCollections/English_data/LATimes94/readme.txt", "Not a document.\n")

    def topics(code, prefix, people, old=False):
        close = "" if old else "</{}-{}>"
        return "".join("<top>\n<num> C{:03d} {}\n".format(n, "" if old else "</num>") + "".join(
            f"<{prefix}-{tag}> {say(code, n, i, ASKS)} {close.format(prefix, tag)}\n"
            for i, tag in enumerate(("title", "desc"))) + "</top>\n" for n in people)

    for code, prefix, long, short in (("en", "EN", "en", "E"), ("de", "DE", "de", "D")):
        put(f"clef/Topics/topics2000/TOP-{short}.txt", topics(code, short, range(1, 21), old=True))
        put(f"clef/Topics/topics2001/Top-{long}01.txt", topics(code, prefix, range(21, 41)).encode("latin-1"))
    put("clef/RelAssess/2000/qrels_english", "".join(f"{n} 0 LA010194-{n:04d} 1\n" for n in range(1, 21)))
    put("clef/RelAssess/2001/qrels_english", "".join(
        f"C{n:03d} 0 {'LA010194' if n < 25 else 'GH950103'}-{n:0{4 if n < 25 else 6}d} {n % 10 > 0:d}\n"
        for n in range(21, 41)))
    ciir = "".join(f"query_id: C{n:03d}\ntitle: {say('swa', n, 0, ASKS)}\n"
                   f"description: {say('swa', n, 1, ASKS)}\n\n" for n in range(1, 41))
    put("ciir/ictir19_simulate_low_resource.zip", zipped({
        f"long_paper/clef-en-2000-2003-wo-narrative-Day-2_{name}.txt": text for name, text in (
            ("SWAHILI", ciir), ("SOMALI", "query_id: C001\ntitle: Magaalo\n"))}))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["paper"]):
        sys.exit("usage: python tests/fixture.py DIR [paper]")
    (write_paper if sys.argv[2:] else write)(sys.argv[1])

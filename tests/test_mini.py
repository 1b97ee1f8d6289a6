# SPDX-License-Identifier: MIT
"""The embedded collection: its sentences against hand-written ones, its parts against what they promise."""
import collections
import doctest
import hashlib
import json
import math
import os
import random
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import mini  # noqa: E402

ALL = ["en"] + list(mini.LANGS)
HASH = "79196fbdbe60cc44"          # of collection(seed=1); changes with any word of mini.tsv
KINDS = {"agent": ("person", "animal", "name"), "verb": ("verb",), "object": ("object", "animal"),
         "mod": ("adj", "number"), "place": ("place", "town"), "time": ("time", "year")}


def event(*words):
    """An event from the first English words of its slots, None for an empty one."""
    ids = []
    for slot, word in zip(mini.SLOTS, words):
        found = [f"{kind}.{word}" for kind in KINDS[slot] if f"{kind}.{word}" in mini.lexicon()]
        assert word is None or len(found) == 1, (slot, word, found)
        ids.append(found[0] if word else None)
    return mini.Event(*ids)


def digest(thing):
    return hashlib.sha256(json.dumps(thing, ensure_ascii=False).encode()).hexdigest()[:16]


def sentences(text):
    return re.split(r"(?<=[.?]) (?!\?)", text)


@pytest.fixture(scope="module")
def full():
    return mini.collection()


@pytest.fixture(scope="module")
def smoke():
    return mini.collection(smoke=True)


# Typed by hand as a speaker would write them: (rule, expected, event, how to say it).
GOAT = ("farmer", "sold", "goat", "big", "at the market", "yesterday")
EXPECTED = {
    "en": [
        ("a", "Yesterday the farmer sold a big goat at the market.", GOAT, "front"),
        ("an before a vowel", "The child ate an egg.", ("child", "ate", "egg"), ""),
        ("an before an adjective", "The king bought an old car.", ("king", "bought", "car", "old"), ""),
        ("mass noun", "The boy drank cold milk at home.", ("boy", "drank", "milk", "cold", "at home"), ""),
        ("irregular plural", "Amina bought three knives in London.",
         ("Amina", "bought", "knife", "three", "in London"), ""),
        ("question", "Who built two houses in the village in 1998?",
         (None, "built", "house", "two", "in the village", "1998"), "ask"),
    ],
    "sw": [
        ("animals are class 1", "Jana mkulima aliuza mbuzi mkubwa sokoni.", GOAT, "front"),
        ("class 2 numbers", "Mvuvi alikamata samaki wawili ziwani.",
         ("fisherman", "caught", "fish", "two", "at the lake"), ""),
        ("class 3", "Mfalme alijenga mnara mrefu.", ("king", "built", "tower", "tall"), ""),
        ("class 4 numbers", "Mkulima alipanda miti mitano.", ("farmer", "planted", "tree", "five"), ""),
        ("class 5 before a vowel", "Mama alinunua gari jekundu mjini Nairobi.",
         ("mother", "bought", "car", "red", "in Nairobi"), ""),
        ("class 5 of a short stem", "Daktari alinunua gari jipya.", ("doctor", "bought", "car", "new"), ""),
        ("class 6 connective", "Mtoto alikunywa maji ya baridi.", ("child", "drank", "water", "cold"), ""),
        ("class 6 numbers", "Bibi alinunua mayai manne.",
         ("grandmother", "bought", "egg", "four"), ""),
        ("class 7", "Mwalimu alinunua kitabu kipya.", ("teacher", "bought", "book", "new"), ""),
        ("class 7 before a vowel", "Mwalimu alinunua kiti cheupe.",
         ("teacher", "bought", "chair", "white"), ""),
        ("class 8 numbers", "Seremala alitengeneza viti vitatu.",
         ("carpenter", "made", "chair", "three"), ""),
        ("class 9 nasal", "Msichana aliandika barua ndefu.", ("girl", "wrote", "letter", "long"), ""),
        ("class 9 before a vowel", "Mwanamke aliona nyumba nyeupe jana usiku.",
         ("woman", "saw", "house", "white", None, "last night"), ""),
        ("class 9 without a trace", "Mwanamke aliona nyumba kubwa.", ("woman", "saw", "house", "big"), ""),
        ("class 11", "Amina aliandika wimbo mzuri.", ("Amina", "wrote", "song", "beautiful"), ""),
        ("class 11 has its plural in 10", "Nani aliuza funguo mbili sokoni wiki iliyopita?",
         (None, "sold", "key", "two", "at the market", "last week"), "ask"),
        ("an Arabic adjective", "Mwaka 1998 hakimu alinunua meza ghali.",
         ("judge", "bought", "table", "expensive", None, "1998"), "front"),
    ],
    "so": [
        ("masculine", "Shalay beeraleygu wuxuu suuqa ku iibiyay ri weyn.", GOAT, "front"),
        ("feminine", "Hooyadu waxay jikada ku karisay hilib.",
         ("mother", "cooked", "meat", None, "in the kitchen"), ""),
        ("feminine, l+t", "Walaashu waxay heshay fure.", ("sister", "found", "key"), ""),
        ("feminine noun after a number", "Amina waxay magaalada Muqdisho ka iibsatay laba koofiyadood.",
         ("Amina", "bought", "hat", "two", "in Mogadishu"), ""),
        ("masculine noun after a number", "Injineerku wuxuu sannadkii 1998 tuulada ka dhisay saddex guri.",
         ("engineer", "built", "house", "three", "in the village", "1998"), ""),
        ("time after the focus word", "Macallinku wuxuu xalay guriga ku qoray warqad dheer.",
         ("teacher", "wrote", "letter", "long", "at home", "last night"), ""),
        ("adjective with ah", "Libaaxu wuxuu arkay maroodi khatar ah.",
         ("lion", "saw", "elephant", "dangerous"), ""),
        ("no place, no preverb", "Gabadhu waxay cabtay caano qabow.", ("girl", "drank", "milk", "cold"), ""),
        ("question", "Yaa shalay ri weyn suuqa ku iibiyay?", (None,) + GOAT[1:], "ask"),
    ],
    "tl": [
        ("linker after a vowel", "Nagbenta ang magsasaka ng malaking kambing sa palengke kahapon.", GOAT, ""),
        ("linker after a consonant", "Kahapon, bumili si Maria ng maliit na bahay sa Maynila.",
         ("Maria", "bought", "house", "small", "in Manila", "yesterday"), "front"),
        ("linker after n", "Bumili ang hari ng luntiang mesa.", ("king", "bought", "table", "green"), "last"),
        ("number in a consonant", "Kumain ang bata ng apat na saging.",
         ("child", "ate", "banana", "four"), ""),
        ("number in a vowel", "Nagtayo ang inhinyero ng tatlong bahay noong 1998.",
         ("engineer", "built", "house", "three", None, "1998"), ""),
        ("digits", "Bumili ang guro ng 20 upuan.", ("teacher", "bought", "chair", "20"), ""),
        ("animal", "Uminom ang unggoy ng malamig na tubig.", ("monkey", "drank", "water", "cold"), ""),
        ("question", "Sino ang nagbenta ng malaking kambing sa palengke kahapon?", (None,) + GOAT[1:], "ask"),
    ],
    "mr": [
        ("feminine", "काल शेतकऱ्याने बाजारात मोठी बकरी विकली.", GOAT, "front"),
        ("masculine", "मुलाने मोठा कुत्रा पाहिला.", ("boy", "saw", "dog", "big"), ""),
        ("neuter", "शिक्षकाने नवे पुस्तक विकत घेतले.", ("teacher", "bought", "book", "new"), ""),
        ("masculine plural", "राजाने दोन घोडे विकले.", ("king", "sold", "horse", "two"), ""),
        ("feminine plural", "सुताराने चार खुर्च्या बनवल्या.", ("carpenter", "made", "chair", "four"), ""),
        ("neuter plural", "आईने तीन अंडी शिजवली.", ("mother", "cooked", "egg", "three"), ""),
        ("a plural mass noun", "चोराने पैसे चोरले.", ("thief", "stole", "money"), ""),
        ("an adjective that does not change", "बालकाने घरी थंड दूध प्यायले.",
         ("child", "drank", "milk", "cold", "at home"), ""),
        ("name, town, year", "अमिनाने 1998 मध्ये मुंबईत घर बांधले.",
         ("Amina", "built", "house", None, "in Mumbai", "1998"), ""),
        ("question", "काल बाजारात मोठी बकरी कोणी विकली?", (None,) + GOAT[1:], "ask"),
    ],
    "fi": [
        ("genitive-accusative", "Eilen maanviljelijä myi torilla ison vuohen.", GOAT, "front"),
        ("partitive of mass nouns", "Lapsi joi kotona kylmää maitoa.",
         ("child", "drank", "milk", "cold", "at home"), ""),
        ("partitive after a number", "Opettaja osti Helsingissä kolme kirjaa.",
         ("teacher", "bought", "book", "three", "in Helsinki"), ""),
        ("partitive of a verb", "Tyttö etsi mustaa kissaa.", ("girl", "looked for", "cat", "black"), ""),
        ("number with such a verb", "Poika etsi kahta avainta.", ("boy", "looked for", "key", "two"), ""),
        ("gradation", "Kuningas rakensi vuonna 1998 pitkän sillan.",
         ("king", "built", "bridge", "long", None, "1998"), ""),
        ("question", "Kuka söi torstaina omenan?", (None, "ate", "apple", None, None, "on Thursday"), "ask"),
    ],
    "de": [
        ("feminine", "Gestern verkaufte der Bauer auf dem Markt eine große Ziege.", GOAT, "front"),
        ("masculine, neuter agent", "Das Mädchen kaufte einen roten Hut.",
         ("girl", "bought", "hat", "red"), ""),
        ("neuter, stem change", "Der Lehrer kaufte ein teures Buch.",
         ("teacher", "bought", "book", "expensive"), ""),
        ("weak nouns", "Der Löwe sah einen kleinen Elefanten.", ("lion", "saw", "elephant", "small"), ""),
        ("hoch", "Der Ingenieur baute im Jahr 1998 in Berlin einen hohen Turm.",
         ("engineer", "built", "tower", "tall", "in Berlin", "1998"), ""),
        ("no article for mass nouns", "Die Mutter kochte in der Küche heiße Suppe.",
         ("mother", "cooked", "soup", "hot", "in the kitchen"), ""),
        ("plural", "Amina fing im Wald drei Füchse.",
         ("Amina", "caught", "fox", "three", "in the forest"), ""),
        ("question", "Wer aß gestern ein Ei?", (None, "ate", "egg", None, None, "yesterday"), "ask"),
    ],
    "fr": [
        ("before the noun", "Hier, le fermier a vendu une grande chèvre au marché.", GOAT, "front"),
        ("after the noun", "La femme a acheté une robe blanche.", ("woman", "bought", "dress", "white"), ""),
        ("elision", "L'enfant a bu de l'eau froide.", ("child", "drank", "water", "cold"), ""),
        ("bel", "Le roi a vu un bel oiseau.", ("king", "saw", "bird", "beautiful"), ""),
        ("nouvel", "L'ingénieur a acheté un nouvel ordinateur à Paris en 1998.",
         ("engineer", "bought", "computer", "new", "in Paris", "1998"), ""),
        ("partitive du", "La mère a acheté du pain chaud.", ("mother", "bought", "bread", "hot"), ""),
        ("partitive de la", "Le chat a mangé de la viande.", ("cat", "ate", "meat"), ""),
        ("irregular plural", "Le marchand a vendu deux chevaux.", ("merchant", "sold", "horse", "two"), ""),
        ("question", "Qui a mangé trois œufs à l'école hier ?",
         (None, "ate", "egg", "three", "at the school", "yesterday"), "ask"),
    ],
}


class Last:
    """A generator that always takes the last word of a concept."""
    choice = staticmethod(lambda words: words[-1])


@pytest.mark.parametrize("lang, rule, expected, words, how",
                         [(lang,) + case for lang, cases in EXPECTED.items() for case in cases])
def test_a_sentence_is_what_a_speaker_would_write(lang, rule, expected, words, how):
    rng = Last if how == "last" else None
    said = mini.sentence(lang, event(*words), rng, front=how == "front", ask=how == "ask")
    assert mini.text(said) == expected, rule


def test_every_rule_of_the_docstring_has_a_hand_written_sentence_in_every_language():
    assert list(EXPECTED) == ALL and all(len(cases) >= 6 for cases in EXPECTED.values())


def test_the_doctests_hold():
    assert doctest.testmod(mini).failed == 0


# -------------------------------------------------------------------------------------- the lexicon

def test_there_are_at_least_300_concepts_in_all_the_roles():
    kinds = collections.Counter(c.kind for c in mini.lexicon().values())
    assert sum(n for kind, n in kinds.items() if kind != "year") >= 300
    assert set(kinds) == {kind for kinds in KINDS.values() for kind in kinds}
    assert all(1 <= len(c.words["en"]) <= 3 for c in mini.lexicon().values())


# language -> how many forms a word has as (object, agent, verb, adjective, number); some are optional
FORMS = {"en": ((1, 2), (1, 2), (1,), (1,), (1,)), "sw": ((3,), (1, 3), (1,), (1,), (1,)),
         "so": ((1, 2), (2,), (3,), (1,), (1,)), "tl": ((1,), (1,), (1,), (1,), (1,)),
         "mr": ((3,), (1,), (1,), (1,), (1,)), "fi": ((2,), (1,), (1, 2), (2,), (2,)),
         "de": ((3,), (2,), (1,), (1,), (1,)), "fr": ((2, 3), (2, 3), (1,), (2, 3), (1,))}
ROLES = {"object": "object", "animal": "object agent", "person": "agent", "verb": "verb", "adj": "adjective",
         "number": "number"}


def test_every_concept_has_its_forms_in_every_language_for_every_role():
    for c in mini.lexicon().values():
        assert list(c.words) == ALL, c.id
        for lang in ALL:
            for as_object, as_agent in c.words[lang]:
                for role in ROLES.get(c.kind, "").split():
                    forms = as_agent if role == "agent" else as_object
                    position = ("object", "agent", "verb", "adjective", "number").index(role)
                    assert len(forms) in FORMS[lang][position], (c.id, lang, role, forms)
                    assert all(forms) or role == "object" and not mini.takes_number(c.id), (c.id, lang, forms)
                if lang in ("so", "fr", "de") and "agent" in ROLES.get(c.kind, ""):
                    assert as_agent[1] in "mfn", (c.id, lang)
                if lang == "sw" and "object" in ROLES.get(c.kind, ""):
                    assert as_object[2] in mini._SW_CONCORD, c.id
                if lang in ("mr", "de") and "object" in ROLES.get(c.kind, ""):
                    assert as_object[2] in ("m", "f", "n", "mp"), (c.id, lang)


def test_marathi_agents_are_ergative_and_perfectives_can_agree():
    for c in mini.lexicon().values():
        if c.kind in ("person", "animal", "name"):
            assert all(forms[0].endswith(("ने", "नी")) for _, forms in c.words["mr"]), c.id
        if c.kind == "verb":
            assert all(forms[0].endswith("ला") for forms, _ in c.words["mr"]), c.id


def test_finnish_partitives_keep_vowel_harmony():
    for c in mini.lexicon().values():
        for forms, _ in c.words["fi"]:
            if c.kind in ("object", "animal", "adj", "number") and forms[1].isalpha():
                stem = forms[1][:-1].removeprefix("sanoma")                 # a compound: sanoma + lehti
                harmonic = re.findall("[aouäöy]", stem) or ["ä"]            # e and i alone: front
                assert forms[1][-1] == ("a" if harmonic[-1] in "aou" else "ä"), forms


def test_every_verb_has_objects_and_every_object_has_verbs():
    verbs = [c.id for c in mini.lexicon().values() if c.kind == "verb"]
    taken = {o for v in verbs for o in mini.takes(v, False)}
    assert all(mini.takes(v, False) for v in verbs)
    assert taken == {c.id for c in mini.lexicon().values() if c.kind in ("object", "animal")}


@pytest.mark.parametrize("lang", ALL)
def test_scripts_are_clean_and_texts_are_nfc(lang, smoke):
    rng = random.Random(5)
    texts = [mini.text(mini.sentence(lang, mini.draw(rng), rng, i % 2 == 0, i % 5 == 0)) for i in range(2000)]
    joined = "\n".join(texts)
    assert unicodedata.normalize("NFC", joined) == joined
    assert not re.search(r"[~|/<=_#\t]|  |[.,?]\S", joined)
    assert all(text == text.strip() and text[-1] in ".?" for text in texts)
    assert all(text[0].isdigit() or text[0] == text[0].upper() for text in texts)
    letters = {unicodedata.name(x).split()[0] for x in joined if x.isalpha()}
    assert letters == ({"DEVANAGARI"} if lang == "mr" else {"LATIN"})


# --------------------------------------------------------------------------------------- alignments

@pytest.mark.parametrize("lang", mini.LANGS)
def test_links_are_valid_and_every_slot_is_linked(lang):
    rng = random.Random(7)
    for i in range(1500):
        e, ask = mini.draw(rng), i % 4 == 0
        english, source = (mini.sentence(x, e, rng, rng.random() < .5, ask) for x in ("en", lang))
        linked = mini.links(english, source)
        assert len(mini.text(english).split()) == len(english)
        assert len(mini.text(source).split()) == len(source)
        assert linked == sorted(set(linked))
        slots = {english[i][1] for i, j in linked}
        assert slots == {slot for slot, id in zip(mini.SLOTS, e) if id}
        for tokens, side in ((english, 0), (source, 1)):        # a word is linked exactly if it is of a slot
            assert {link[side] for link in linked} == {k for k, (_, slot) in enumerate(tokens) if slot}


def test_links_of_a_pair_by_hand():
    e = event("farmer", "sold", "goat", "big", "at the market", "last week")
    english, source = mini.sentence("en", e), mini.sentence("sw", e)
    assert mini.text(english) == "The farmer sold a big goat at the market last week."
    assert mini.text(source) == "Mkulima aliuza mbuzi mkubwa sokoni wiki iliyopita."
    expected = [(1, 0), (2, 1), (4, 3), (5, 2), (8, 4), (9, 5), (9, 6), (10, 5), (10, 6)]
    assert mini.links(english, source) == expected


def test_stored_links_fit_the_stored_pairs(full):
    for parts in full["bitext"].values():
        for split in ("train", "dev"):
            assert len(parts[split]) == len(parts[split + "_links"])
            for (english, source), linked in zip(parts[split], parts[split + "_links"]):
                assert linked and all(i < len(english.split()) and j < len(source.split()) for i, j in linked)


# ---------------------------------------------------------------------------------------- the parts

def test_sizes_are_those_of_the_design(full):
    assert list(full["langs"]) == list(mini.LANGS)
    assert sum(len(sentences(text)) for text in full["pretrain"]) == 20000 + 3 * 10000 + 4 * 1500
    for lang, info in full["langs"].items():
        low = info["class"] == "low"
        assert info["pairs"] == (500 if low else 2000)
        assert len(full["bitext"][lang]["train"]) == (2000 if low else 4000)
        assert len(full["bitext"][lang]["dev"]) == 300
    train = full["train"]
    assert 1500 <= len(train["queries"]) <= 3000 and len(train["triples"]) == len(train["queries"])
    assert len(train["dev_queries"]) == len(train["dev_qrels"]) == 150
    assert len(full["docs"]["mini"]) >= 1000 and all(len(t["queries"]) >= 120 for t in full["tests"])
    documents = [*full["docs"]["mini"].values(), *train["docs"].values()]
    assert {len(sentences(text)) for text in documents} == {2, 3, 4}


def test_smoke_has_the_same_structure_and_is_tiny(full, smoke):
    def shape(x):
        if isinstance(x, dict) and x.keys() & {"sw", "profile", "train", "name", "mini"}:
            return {k: shape(v) for k, v in x.items()}
        return type(x).__name__
    assert shape(smoke) == shape(full)
    assert len(smoke["docs"]["mini"]) == 80 and len(smoke["tests"][0]["queries"]) == 20
    assert sum(len(sentences(text)) for text in smoke["pretrain"]) < 700


def test_the_collection_is_the_same_in_another_process_and_the_one_recorded(full):
    code = ("import mini, json, hashlib; text = json.dumps(mini.collection(), ensure_ascii=False);"
            "print(hashlib.sha256(text.encode()).hexdigest()[:16])")
    root = Path(mini.__file__).parent
    out = subprocess.run([sys.executable, "-c", code], cwd=root, env={**os.environ, "PYTHONHASHSEED": "77"},
                         capture_output=True, text=True, check=True)
    assert digest(full) == out.stdout.strip() == HASH


def test_another_seed_is_another_collection(smoke):
    other = mini.collection(seed=2, smoke=True)
    assert other["docs"] != smoke["docs"] and other["bitext"]["sw"]["train"] != smoke["bitext"]["sw"]["train"]


def test_bitext_is_prefix_nested_and_holds_no_event_twice(full):
    avoid = {t.event for t in mini.plan()[0].values()} | {t.asked for t in mini.plan()[0].values()}
    seen = set()
    mini._bitext("so", 1, "dev", 300, avoid, seen)
    pairs, linked = mini._bitext("so", 1, "train", 250, avoid, seen)
    assert pairs == full["bitext"]["so"]["train"][:250]
    assert linked == full["bitext"]["so"]["train_links"][:250]
    assert len(seen) == 550


def test_languages_do_not_depend_on_each_other(smoke):
    part = mini.collection(langs=["mr", "de"], smoke=True)
    assert list(part["langs"]) == ["mr", "de"] and [t["set"] for t in part["tests"]] == ["mr", "de"]
    assert part["bitext"] == {x: smoke["bitext"][x] for x in ("mr", "de")}
    assert part["tests"] == [t for t in smoke["tests"] if t["set"] in ("mr", "de")]
    assert part["train"] == smoke["train"] and part["docs"].keys() == {"mini", "mini.mr", "mini.de"}
    assert all(part["docs"][name] == smoke["docs"][name] for name in part["docs"])
    assert part["monolingual"] == [t for t in smoke["monolingual"] if t["lang"] in ("mr", "de")]
    assert part["parallel"] == {x: smoke["parallel"][x] for x in ("mr", "de")}
    assert set(part["pretrain"]) < set(smoke["pretrain"])


def test_an_unknown_language_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="'xx'.*choose from sw so tl mr fi de fr"):
        mini.collection(langs=["sw", "xx"], smoke=True)


def test_words_are_zipfian():
    rng, drawn = random.Random(3), collections.Counter()
    for _ in range(20000):
        drawn.update(id for id in mini.draw(rng) if id)
    lex = mini.lexicon()
    for kind in ("person", "place", "time", "town", "name"):
        counts = [drawn[c.id] for c in lex.values() if c.kind == kind]
        ideal = [1 / (rank + 2) for rank in range(len(counts))]
        for k in (0, len(counts) // 4, len(counts) - 1):            # first, middle and last of the kind
            expected = sum(counts) * ideal[k] / sum(ideal)
            assert abs(counts[k] - expected) < 5 * math.sqrt(expected) + .15 * expected, (kind, k)
    objects = sorted((drawn[c.id] for c in lex.values() if c.kind in ("object", "animal")), reverse=True)
    assert objects[0] > 5 * objects[len(objects) // 2] and sum(objects[:14]) > sum(objects) / 3


# ---------------------------------------------------------------------------------------- retrieval

def test_grades_by_hand():
    topic = event("farmer", "sold", "goat", "big", "at the market", "yesterday")

    def doc(**changed):
        return [topic._replace(**changed)]
    assert mini.grade(topic, doc()) == 2
    assert mini.grade(topic._replace(time=None), doc(time="time.today")) == 2       # not asked for
    assert mini.grade(topic, doc(place="place.at home")) == 1
    assert mini.grade(topic, doc(mod=None)) == 1
    assert mini.grade(topic, doc(object="animal.cow")) == 0                          # the core must be there
    assert mini.grade(topic, doc(verb="verb.bought")) == 0
    assert mini.grade(topic, doc(agent="person.king", time=None)) == 0               # two missing
    assert mini.grade(topic, doc(place=None) + doc(time=None)) == 1          # slots of two events do not add
    assert mini.grade(topic, doc(place=None) + doc()) == 2


@pytest.mark.parametrize("small", [False, True])
def test_qrels_are_the_grades_of_all_documents_and_keep_near_misses(small):
    topics, documents, qrels = mini.plan(smoke=small)
    for qid, topic in topics.items():
        assert sum(id is not None for id in topic.asked) >= 4
        for docid, document in documents.items():
            g = mini.grade(topic.asked, [e for e, _ in document])
            assert qrels[qid].get(docid, 0) == g
        assert 2 in qrels[qid].values() and 0 in qrels[qid].values()


def test_topics_are_the_same_events_in_every_language(full):
    topics = mini.plan()[0]
    assert len({t.event for t in topics.values()}) == len(topics)
    for test in full["tests"]:
        assert list(test["queries"]) == list(test["english"]) == list(test["qrels"]) == list(topics)
        assert test["english"] == mini.render_topics("en")
    assert 20 < sum(t.ask for t in topics.values()) < 100


@pytest.mark.parametrize("lang", ALL)
def test_documents_can_be_rendered_in_every_language(lang, smoke):
    texts = mini.render_documents(lang, smoke=True)
    assert list(texts) == list(smoke["docs"]["mini"])
    assert (texts == smoke["docs"]["mini"]) == (lang == "en")


def test_training_queries_have_a_positive_and_hard_negatives(full):
    train = full["train"]
    for qid, positive, negatives in train["triples"]:
        assert 2 <= len(negatives) <= 4 and positive not in negatives
        assert qid in train["queries"] and {positive, *negatives} <= train["docs"].keys()
    for qid, judged in train["dev_qrels"].items():
        assert qid in train["dev_queries"] and set(judged.values()) <= {1, 2} and 2 in judged.values()
        assert judged.keys() <= train["docs"].keys()


def test_no_test_text_leaks_beyond_a_few_short_sentences(full):
    english = {s for text in full["docs"]["mini"].values() for s in sentences(text)}
    topics = {q for t in full["tests"] for q in [*t["queries"].values(), *t["english"].values()]}
    pretrain = {s for text in full["pretrain"] for s in sentences(text)}
    bitext = {s for parts in full["bitext"].values() for pair in parts["train"] + parts["dev"] for s in pair}
    assert len(english & pretrain) <= 10 and len(english & bitext) <= 10          # of 3,500 sentences
    assert len(topics & (pretrain | bitext)) <= 10                                # of 1,120 queries
    assert not set(full["docs"]["mini"].values()) & {*full["train"]["docs"].values(), *full["pretrain"]}


def bm25(documents, query, k=.9, b=.4):
    words = {docid: re.findall(r"\w+", text.lower()) for docid, text in documents.items()}
    mean = sum(map(len, words.values())) / len(words)
    df = collections.Counter(w for ws in words.values() for w in set(ws))
    scores = {}
    for docid, ws in words.items():
        scores[docid] = sum(math.log(1 + (len(words) - df[w] + .5) / (df[w] + .5)) * ws.count(w)
                            / (ws.count(w) + k * (1 - b + b * len(ws) / mean)) for w in query if w in ws)
    return sorted(scores, key=lambda d: (-scores[d], d))


def test_english_queries_are_neither_trivial_nor_hopeless(full):
    test, aps = full["tests"][0], []
    for qid in list(test["english"])[::4]:
        relevant = {d for d, g in test["qrels"][qid].items() if g}
        ranking = bm25(full["docs"]["mini"], re.findall(r"\w+", test["english"][qid].lower()))
        ranks = [n for n, d in enumerate(ranking, 1) if d in relevant]
        aps.append(sum((k + 1) / n for k, n in enumerate(ranks)) / len(relevant))
    assert .45 < sum(aps) / len(aps) < .8

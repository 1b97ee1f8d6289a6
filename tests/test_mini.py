# SPDX-License-Identifier: MIT
"""The embedded collection: its sentences against hand-written ones, its parts against what they promise."""
import collections
import doctest
import hashlib
import json
import random
import re
import subprocess
import sys
import types
import unicodedata

import pytest

import data
from conftest import ROOT
from study import baselines, mini

ALL = ["en", *mini.LANGS]
HASH = "102dd3236eb33e2c"          # of collection(seed=1); changes with any word of mini.tsv
KINDS = {"agent": ("person", "animal", "name"), "verb": ("verb",), "object": ("object", "animal"),
         "mod": ("adj", "number"), "place": ("place", "town"), "time": ("time", "year")}
LAST = types.SimpleNamespace(choice=lambda words: words[-1])         # a generator that takes the last word


def event(words, ask=False):
    """An event from the English of its slots, less "at the" and the like, or "-"; ask: without its agent."""
    ids = []
    for slot, word in zip(mini.SLOTS, words.replace("GOAT", "farmer sold goat big market yesterday").split()):
        name = rf"({'|'.join(KINDS[slot])})\.((in|at|on) (the )?)?{word.replace('_', ' ')}"
        found = [id for id in mini.lexicon() if re.fullmatch(name, id)]
        assert word == "-" or len(found) == 1, (slot, word, found)
        ids.append(None if word == "-" or ask and slot == "agent" else found[0])
    return mini.Event(*ids, *[None] * (len(mini.SLOTS) - len(ids)))


def sentences(text):
    return re.split(r"(?<=[.?]) (?!\?)", text)


@pytest.fixture(scope="module")
def full():
    return mini.collection()


# Typed by hand as a speaker would write them: event | sentence | how it is said, the rule that it shows.
EXPECTED = """
en
  GOAT | Yesterday the farmer sold a big goat at the market. | front, a
  child ate egg | The child ate an egg. | an before a vowel
  king bought car old | The king bought an old car. | an before an adjective
  boy drank milk cold home | The boy drank cold milk at home. | mass noun
  Amina bought knife three London | Amina bought three knives in London. | irregular plural
  - built house two village 1998 | Who built two houses in the village in 1998? | question
sw
  GOAT | Jana mkulima aliuza mbuzi mkubwa sokoni. | front, animals are class 1
  fisherman caught fish two lake | Mvuvi alikamata samaki wawili ziwani. | class 2 numbers
  king built tower tall | Mfalme alijenga mnara mrefu. | class 3
  farmer planted tree five | Mkulima alipanda miti mitano. | class 4 numbers
  mother bought car red Nairobi | Mama alinunua gari jekundu mjini Nairobi. | class 5 before a vowel
  doctor bought car new | Daktari alinunua gari jipya. | class 5 of a short stem
  child drank water cold | Mtoto alikunywa maji ya baridi. | class 6 connective
  grandmother bought egg four | Bibi alinunua mayai manne. | class 6 numbers
  teacher bought book new | Mwalimu alinunua kitabu kipya. | class 7
  teacher bought chair white | Mwalimu alinunua kiti cheupe. | class 7 before a vowel
  carpenter made chair three | Seremala alitengeneza viti vitatu. | class 8 numbers
  girl wrote letter long | Msichana aliandika barua ndefu. | class 9 nasal
  woman saw house white - last_night | Mwanamke aliona nyumba nyeupe jana usiku. | class 9 before a vowel
  woman saw house big | Mwanamke aliona nyumba kubwa. | class 9 without a trace
  Amina wrote song beautiful | Amina aliandika wimbo mzuri. | class 11
  - sold key two market last_week | Nani aliuza funguo mbili sokoni wiki iliyopita? | class 11, plural in 10
  judge bought table expensive - 1998 | Mwaka 1998 hakimu alinunua meza ghali. | front, an Arabic adjective
so
  GOAT | Shalay beeraleygu wuxuu suuqa ku iibiyay ri weyn. | front, masculine
  mother cooked meat - kitchen | Hooyadu waxay jikada ku karisay hilib. | feminine
  sister found key | Walaashu waxay heshay fure. | feminine, l+t
  Amina bought hat two Mogadishu | Amina waxay magaalada Muqdisho ka iibsatay laba koofiyadood. | feminine 2
  engineer built house three village 1998 | \
    Injineerku wuxuu sannadkii 1998 tuulada ka dhisay saddex guri. | masculine noun after a number
  teacher wrote letter long home last_night | Macallinku wuxuu xalay guriga ku qoray warqad dheer. | later
  lion saw elephant dangerous | Libaaxu wuxuu arkay maroodi khatar ah. | adjective with ah
  girl drank milk cold | Gabadhu waxay cabtay caano qabow. | no place, no preverb
  GOAT | Yaa shalay ri weyn suuqa ku iibiyay? | question
tl
  GOAT | Nagbenta ang magsasaka ng malaking kambing sa palengke kahapon. | linker after a vowel
  Maria bought house small Manila yesterday | Kahapon, bumili si Maria ng maliit na bahay sa Maynila. | front
  king bought table green | Bumili ang hari ng luntiang mesa. | last, linker after n
  child ate banana four | Kumain ang bata ng apat na saging. | number in a consonant
  engineer built house three - 1998 | Nagtayo ang inhinyero ng tatlong bahay noong 1998. | number in a vowel
  teacher bought chair 20 | Bumili ang guro ng 20 upuan. | digits
  monkey drank water cold | Uminom ang unggoy ng malamig na tubig. | animal
  GOAT | Sino ang nagbenta ng malaking kambing sa palengke kahapon? | question
mr
  GOAT | काल शेतकऱ्याने बाजारात मोठी बकरी विकली. | front, feminine
  boy saw dog big | मुलाने मोठा कुत्रा पाहिला. | masculine
  teacher bought book new | शिक्षकाने नवे पुस्तक विकत घेतले. | neuter
  king sold horse two | राजाने दोन घोडे विकले. | masculine plural
  carpenter made chair four | सुताराने चार खुर्च्या बनवल्या. | feminine plural
  mother cooked egg three | आईने तीन अंडी शिजवली. | neuter plural
  thief stole money | चोराने पैसे चोरले. | a plural mass noun
  child drank milk cold home | बालकाने घरी थंड दूध प्यायले. | an adjective that does not change
  Amina built house - Mumbai 1998 | अमिनाने 1998 मध्ये मुंबईत घर बांधले. | name, town, year
  GOAT | काल बाजारात मोठी बकरी कोणी विकली? | question
fi
  GOAT | Eilen maanviljelijä myi torilla ison vuohen. | front, genitive-accusative
  child drank milk cold home | Lapsi joi kotona kylmää maitoa. | partitive of mass nouns
  teacher bought book three Helsinki | Opettaja osti Helsingissä kolme kirjaa. | partitive after a number
  girl looked_for cat black | Tyttö etsi mustaa kissaa. | partitive of a verb
  boy looked_for key two | Poika etsi kahta avainta. | number with such a verb
  king built bridge long - 1998 | Kuningas rakensi vuonna 1998 pitkän sillan. | gradation
  - ate apple - - Thursday | Kuka söi torstaina omenan? | question
de
  GOAT | Gestern verkaufte der Bauer auf dem Markt eine große Ziege. | front, feminine
  girl bought hat red | Das Mädchen kaufte einen roten Hut. | masculine, neuter agent
  teacher bought book expensive | Der Lehrer kaufte ein teures Buch. | neuter, stem change
  lion saw elephant small | Der Löwe sah einen kleinen Elefanten. | weak nouns
  engineer built tower tall Berlin 1998 | Der Ingenieur baute im Jahr 1998 in Berlin einen hohen Turm. | hoch
  mother cooked soup hot kitchen | Die Mutter kochte in der Küche heiße Suppe. | no article for mass nouns
  Amina caught fox three forest | Amina fing im Wald drei Füchse. | plural
  - ate egg - - yesterday | Wer aß gestern ein Ei? | question
fr
  GOAT | Hier, le fermier a vendu une grande chèvre au marché. | front, before the noun
  woman bought dress white | La femme a acheté une robe blanche. | after the noun
  child drank water cold | L'enfant a bu de l'eau froide. | elision
  king saw bird beautiful | Le roi a vu un bel oiseau. | bel
  engineer bought computer new Paris 1998 | L'ingénieur a acheté un nouvel ordinateur à Paris en 1998. | vowel
  mother bought bread hot | La mère a acheté du pain chaud. | partitive du
  cat ate meat | Le chat a mangé de la viande. | partitive de la
  merchant sold horse two | Le marchand a vendu deux chevaux. | irregular plural
  - ate egg three school yesterday | Qui a mangé trois œufs à l'école hier ? | question
"""
CASES = {}
for row in EXPECTED.strip().splitlines():
    cells = [cell.strip() for cell in row.split("|")]
    CASES.setdefault(cells[0], []) if len(cells) == 1 else CASES[list(CASES)[-1]].append(cells)


@pytest.mark.parametrize("lang, words, expected, rule",
                         [(lang, *case) for lang, cases in CASES.items() for case in cases])
def test_a_sentence_is_what_a_speaker_would_write(lang, words, expected, rule):
    ask, how = "?" in expected, rule.split(", ")[0]
    said = mini.sentence(lang, event(words, ask), LAST if how == "last" else None, how == "front", ask)
    assert mini.text(said) == expected, rule


def test_every_language_has_hand_written_sentences_and_the_doctests_hold():
    assert list(CASES) == ALL and all(len(cases) >= 6 for cases in CASES.values())
    assert doctest.testmod(mini).failed == 0


# ------------------------------------------------------------------------------- the lexicon
ROLES = ("object", "agent", "verb", "adj", "number")                # FORMS in each: 12 is one or two
FORMS = {"en": "12 12 1 1 1", "sw": "3 13 1 1 1", "so": "12 2 3 1 1", "tl": "1 1 1 1 1", "mr": "3 1 1 1 1",
         "fi": "2 1 12 2 2", "de": "3 2 1 1 1", "fr": "23 23 1 23 1"}


def test_there_are_300_concepts_with_their_forms_in_every_language_for_every_role():
    classes = {"sw": mini._SW_CONCORD, "mr": ("m", "f", "n", "mp"), "de": ("m", "f", "n", "mp")}
    assert {c.kind for c in mini.lexicon().values()} == {kind for kinds in KINDS.values() for kind in kinds}
    rows = [row.split("\t") for row in (ROOT / "study/mini.tsv").read_text("utf-8").splitlines() if row[0] != "#"]
    assert sum(c.kind != "year" for c in mini.lexicon().values()) == len(rows) - 2 >= 300      # none is twice
    assert {len(row) for row in rows} == {len(rows[0])}
    for c in mini.lexicon().values():
        assert list(c.words) == ALL and 1 <= len(c.words["en"]) <= 3, c.id
        roles = {"animal": ("object", "agent"), "person": ("agent",)}.get(c.kind, {c.kind} & {*ROLES})
        for lang, (as_object, as_agent) in ((lang, word) for lang in ALL for word in c.words[lang]):
            for role in roles:
                forms = as_agent if role == "agent" else as_object
                assert str(len(forms)) in FORMS[lang].split()[ROLES.index(role)], (c.id, lang, role, forms)
                assert all(forms) or role == "object" and not mini.takes_number(c.id), (c.id, lang, forms)
            if lang in ("so", "fr", "de") and "agent" in roles:
                assert as_agent[1] in "mfn", (c.id, lang)
            if lang in classes and "object" in roles:
                assert as_object[2] in classes[lang], (c.id, lang)


def test_marathi_has_ergatives_and_perfectives_that_agree_and_finnish_has_vowel_harmony():
    for c in mini.lexicon().values():
        if c.kind in ("person", "animal", "name"):
            assert all(forms[0].endswith(("ने", "नी")) for _, forms in c.words["mr"]), c.id
        if c.kind == "verb":
            assert all(forms[0].endswith("ला") for forms, _ in c.words["mr"]), c.id
        for forms, _ in c.words["fi"]:                                      # the partitive
            if c.kind in ("object", "animal", "adj", "number") and forms[1].isalpha():
                stem = forms[1][:-1].removeprefix("sanoma")                 # a compound: sanoma + lehti
                harmonic = re.findall("[aouäöy]", stem) or ["ä"]            # e and i alone: front
                assert forms[1][-1] == ("a" if harmonic[-1] in "aou" else "ä"), forms


def test_every_verb_has_objects_and_every_object_has_verbs():
    taken = [mini.takes(c.id, False) for c in mini.lexicon().values() if c.kind == "verb"]
    assert all(taken)
    assert {*sum(taken, ())} == {c.id for c in mini.lexicon().values() if c.kind in ("object", "animal")}


# -------------------------------------------------------------------------------- sentences
@pytest.mark.parametrize("lang", ALL)
def test_texts_are_clean_and_nfc_and_every_slot_is_linked(lang):
    rng, texts = random.Random(7), []
    for i in range(2000):
        e, ask = mini.draw(rng), i % 4 == 0
        english, source = (mini.sentence(x, e, rng, rng.random() < .5, ask) for x in ("en", lang))
        texts.append(mini.text(source))
        linked = mini.links(english, source)
        assert linked == sorted(set(linked))
        assert {english[i][1] for i, j in linked} == {slot for slot, id in zip(mini.SLOTS, e) if id}
        for tokens, side in ((english, 0), (source, 1)):        # a word is linked exactly if it is of a slot
            assert len(mini.text(tokens).split()) == len(tokens)
            assert {link[side] for link in linked} == {k for k, (_, slot) in enumerate(tokens) if slot}
    joined = "\n".join(texts)
    assert unicodedata.normalize("NFC", joined) == joined
    assert not re.search(r"[~|/<=_#\t]|  |[.,?]\S", joined)
    assert all(text == text.strip() and text[-1] in ".?" for text in texts)
    assert all(text[0].isdigit() or text[0] == text[0].upper() for text in texts)
    letters = {unicodedata.name(x).split()[0] for x in joined if x.isalpha()}
    assert letters == ({"DEVANAGARI"} if lang == "mr" else {"LATIN"})


def test_links_of_a_pair_by_hand():
    e = event("farmer sold goat big market last_week")
    english, source = mini.sentence("en", e), mini.sentence("sw", e)
    assert mini.text(english) == "The farmer sold a big goat at the market last week."
    assert mini.text(source) == "Mkulima aliuza mbuzi mkubwa sokoni wiki iliyopita."
    expected = [(1, 0), (2, 1), (4, 3), (5, 2), (8, 4), (9, 5), (9, 6), (10, 5), (10, 6)]
    assert mini.links(english, source) == expected


# --------------------------------------------------------------------------------- the parts
def test_sizes_are_those_of_the_design(full):
    assert list(full["langs"]) == mini.LANGS == "sw so tl mr fi de fr".split()
    assert sum(len(sentences(text)) for text in full["pretrain"]) == 20000 + 3 * 10000 + 4 * 1500
    for lang, info in full["langs"].items():
        parts = full["bitext"][lang]
        sizes = info["pairs"], len(parts["train"]), len(parts["dev"])
        assert sizes == ((500, 2000, 300) if info["class"] == "low" else (2000, 4000, 300))
        for split in ("train", "dev"):
            for (english, source), linked in zip(parts[split], parts[split + "_links"], strict=True):
                assert linked and all(i < len(english.split()) and j < len(source.split()) for i, j in linked)
    train = full["train"]
    assert 1500 <= len(train["queries"]) <= 3000 and len(train["triples"]) == len(train["queries"])
    assert len(train["dev_queries"]) == len(train["dev_qrels"]) == 150
    assert len(full["docs"]["mini"]) >= 1000 and all(len(t["queries"]) >= 120 for t in full["tests"])
    documents = [*full["docs"]["mini"].values(), *train["docs"].values()]
    assert {len(sentences(text)) for text in documents} == {2, 3, 4}


def test_the_collection_is_the_same_in_another_process_and_the_one_recorded(full):
    code = ("import json, hashlib; from study import mini; text = json.dumps(mini.collection(), "
            "ensure_ascii=False); print(hashlib.sha256(text.encode()).hexdigest()[:16])")
    there = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    here = hashlib.sha256(json.dumps(full, ensure_ascii=False).encode()).hexdigest()[:16]
    assert here == there.strip() == HASH


def test_bitext_is_prefix_nested_and_holds_no_event_twice(full):
    avoid, seen = {e for t in mini.plan()[0].values() for e in (t.event, t.asked)}, set()
    mini._bitext("so", 1, "dev", 300, avoid, seen)
    pairs, linked = mini._bitext("so", 1, "train", 250, avoid, seen)
    assert pairs == full["bitext"]["so"]["train"][:250]
    assert linked == full["bitext"]["so"]["train_links"][:250] and len(seen) == 2 * 550   # events, sentences


def test_languages_do_not_depend_on_each_other_but_all_on_the_seed():
    smoke, part = mini.collection(smoke=True), mini.collection(langs=["mr", "de"], smoke=True)
    for kind in ("langs", "bitext", "parallel"):
        assert part[kind] == {x: smoke[kind][x] for x in ("mr", "de")}
    for kind in ("tests", "monolingual"):
        assert part[kind] == [t for t in smoke[kind][::-1] if t["lang"] in ("mr", "de")][::-1]
    assert part["train"] == smoke["train"] and part["docs"].keys() == {"mini", "mini.mr", "mini.de"}
    assert part["docs"].items() <= smoke["docs"].items() and set(part["pretrain"]) < set(smoke["pretrain"])
    assert len(smoke["docs"]["mini"]) == 80 and sum(len(sentences(text)) for text in smoke["pretrain"]) < 700
    other = mini.collection(seed=2, langs=["mr"], smoke=True)
    assert other["docs"]["mini"] != smoke["docs"]["mini"] and other["bitext"]["mr"] != smoke["bitext"]["mr"]
    with pytest.raises(ValueError, match="'xx'.*choose from sw so tl mr fi de fr"):
        mini.collection(langs=["sw", "xx"], smoke=True)


def test_words_are_zipfian():
    rng, drawn = random.Random(3), collections.Counter()
    for _ in range(20000):
        drawn.update(id for id in mini.draw(rng) if id)
    lex = mini.lexicon()
    for kind in ("person", "place", "time", "town", "name"):
        counts = [drawn[c.id] for c in lex.values() if c.kind == kind]
        total = sum(1 / (rank + 2) for rank in range(len(counts)))
        for k in (0, len(counts) // 4, len(counts) - 1):            # first, middle and last of the kind
            expected = sum(counts) / (k + 2) / total
            assert abs(counts[k] - expected) < 5 * expected ** .5 + .15 * expected, (kind, k)
    objects = sorted((drawn[c.id] for c in lex.values() if c.kind in ("object", "animal")), reverse=True)
    assert objects[0] > 5 * objects[len(objects) // 2] and sum(objects[:14]) > sum(objects) / 3


# --------------------------------------------------------------------------------- retrieval
def test_grades_by_hand():
    topic = event("GOAT")

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
            assert qrels[qid].get(docid, 0) == mini.grade(topic.asked, [e for e, _ in document])
        assert 2 in qrels[qid].values() and 0 in qrels[qid].values()


def test_topics_and_documents_are_the_same_events_in_every_language(full):
    topics = mini.plan()[0]
    assert len({t.event for t in topics.values()}) == len(topics)
    for test in full["tests"]:
        assert list(test["queries"]) == list(test["english"]) == list(test["qrels"]) == list(topics)
        assert test["english"] == mini._say("en", topics, 1, "topics")
    assert 20 < sum(t.ask for t in topics.values()) < 100
    docs = {lang: mini._say(lang, mini.plan()[1], 1, "documents") for lang in ALL}
    assert full["docs"] == {"mini": docs.pop("en")} | {f"mini.{lang}": texts for lang, texts in docs.items()}
    assert all(texts.keys() == full["docs"]["mini"].keys() for texts in docs.values())


def test_training_queries_have_a_positive_and_hard_negatives(full):
    train = full["train"]
    for qid, positive, negatives in train["triples"]:
        assert 2 <= len(negatives) <= 4 and positive not in negatives
        assert qid in train["queries"] and {positive, *negatives} <= train["docs"].keys()
    for qid, judged in train["dev_qrels"].items():
        assert qid in train["dev_queries"] and set(judged.values()) <= {1, 2} and 2 in judged.values()
        assert judged.keys() <= train["docs"].keys()


def test_no_test_text_leaks_beyond_a_few_short_sentences(full):
    """A sentence of a document may stand in training by chance; a query never, in no language and seed."""
    english = {s for text in full["docs"]["mini"].values() for s in sentences(text)}
    pretrain = {s for text in full["pretrain"] for s in sentences(text)}
    bitext = {s for parts in full["bitext"].values() for pair in parts["train"] + parts["dev"] for s in pair}
    assert len(english & pretrain) <= 10 and len(english & bitext) <= 10          # of 3,500 sentences
    for c in (full, mini.collection(seed=2), mini.collection(seed=3)):
        topics = {data.fold(q) for t in c["tests"] for part in ("queries", "english") for q in t[part].values()}
        seen = [s for text in c["pretrain"] for s in sentences(text)]
        seen += [s for parts in c["bitext"].values() for pair in parts["train"] + parts["dev"] for s in pair]
        for part in (c["train"], *c["parallel"].values()):
            seen += part["queries"].values()
        assert topics.isdisjoint(map(data.fold, [*seen, *c["train"]["dev_queries"].values()]))
    assert not set(full["docs"]["mini"].values()) & {*full["train"]["docs"].values(), *full["pretrain"]}


def test_english_queries_are_neither_trivial_nor_hopeless(full):
    test, bm25, aps = full["tests"][0], baselines.BM25(full["docs"]["mini"]), []
    for qid in list(test["english"])[::4]:
        relevant = {d for d, g in test["qrels"][qid].items() if g}
        ranking = bm25.search(test["english"][qid], len(bm25.docids))
        ranks = [n for n, d in enumerate(ranking, 1) if d in relevant]
        aps.append(sum((k + 1) / n for k, n in enumerate(ranks)) / len(relevant))
    assert .45 < sum(aps) / len(aps) < .8

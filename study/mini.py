# SPDX-License-Identifier: MIT
"""The embedded collection: a controlled grammar in eight real languages, from the lexicon in mini.tsv.

Everything the study needs, by seed and without a download: pre-training text, bitext with gold word
alignments, training queries with hard negatives, and a test collection with graded relevance. A controlled
study and not real text: every sentence says who did what, to what, where and when, in the past tense.
Needs: Python's standard library, mini.tsv and sources.py. Check: `python -m doctest study/mini.py`.

An *event* fills the slots agent, verb, object, mod (an adjective or a number of the object), place, time with
concepts of the lexicon; the last three may be empty. A concept has one to three words in a language, drawn
each time, so query and document may differ. A *frame* per language orders words and makes them agree:

  Swahili  mod follows the noun class of the object (animals: 1/2), with -a if it must (cha kijani).
  Somali   the object is in focus, after wuxuu/waxay and the verb; numbers take the singular or -ood.
  Tagalog  verb first; ang/si agent, ng object, sa place; mod before the noun with linker -ng, -g, na.
  Marathi  ergative agent; the perfective and adjectives in -aa agree with the object in gender and number.
  Finnish  partitive for mass nouns, after numbers and with some verbs; one finds and steals "from" a place.
  German   verb second; the time, the place, then the object with mixed adjective endings.
  French   passe compose with avoir; partitive for mass nouns; some adjectives before the noun.

Gold alignments link all words of a slot with all ("last week" and "wiki iliyopita" are four links). Articles,
prepositions and other particles ("~" in the lexicon, and what the frames add) stay unlinked; a fused form
("l'école", "kijijini") is a word of its slot. Words are what str.split() gives, the full stop included.
"""
import random
import re
from bisect import bisect
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from study.sources import LANGUAGES, PROFILES

LANGS = PROFILES["paper"]
SLOTS = ("agent", "verb", "object", "mod", "place", "time")
YEARS = range(1961, 2021)

# pretrain in sentences; train, dev in sentence pairs; pairs: how many of train, from its start, table 2 uses
SIZES = {"pretrain": {"en": 20000, "high": 10000, "low": 1500}, "train": {"high": 4000, "low": 2000},
         "pairs": {"high": 2000, "low": 500}, "dev": 300, "wiki": {"high": 1000, "low": 250},
         "queries": 2000, "dev_queries": 150, "topics": 140, "docs": 1300, "near": 6}
SMOKE = {"pretrain": {"en": 250, "high": 75, "low": 30}, "train": {"high": 60, "low": 60},
         "pairs": {"high": 60, "low": 60}, "dev": 20, "wiki": {"high": 30, "low": 20},
         "queries": 40, "dev_queries": 10, "topics": 20, "docs": 80, "near": 1}


class Event(NamedTuple):
    """Who did what: a concept id ("verb.sold", "year.1998") per slot, None where it is empty."""
    agent: str | None
    verb: str
    object: str
    mod: str | None = None
    place: str | None = None
    time: str | None = None


class Concept(NamedTuple):
    id: str
    kind: str
    tags: tuple
    rank: int                       # in its kind, from 0: the Zipf rank
    words: dict                     # language -> [(forms, forms as agent), ...], one entry a word


# -------------------------------------------------------------------------------- the lexicon
@lru_cache(maxsize=1)
def lexicon():
    """{concept id: Concept} in the order of mini.tsv; its line of kind `year` becomes a concept per year."""
    lex, path = {}, Path(__file__).with_name("mini.tsv")
    lines = path.read_text(encoding="utf-8").splitlines()
    columns, *rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    for kind, tags, english, *others in rows:
        for year in YEARS if kind == "year" else [None]:
            id = f"{kind}.{year or english.split('|')[0].split(',')[0].replace('~', '')}"
            words = {}
            for lang, cell in zip(columns[2:], [english, *others], strict=True):
                cell = cell.replace("#", str(year)).replace("=", english)  # Hund,Hunde,m/Hund,m: object/agent
                parts = [[tuple(part.split(",")) for part in word.split("/")] for word in cell.split("|")]
                words[lang] = [(forms[0], forms[-1]) for forms in parts]
            rank = sum(c.kind == kind for c in lex.values())
            lex[id] = Concept(id, kind, tuple(tags.split()), rank, words)
    return lex


# -------------------------------------------------------------------------------- the frames
class _Words(dict):
    """slot -> chosen forms, and what the frames ask about the event."""

    def __missing__(self, slot):
        return ("", "", "")

    def on(self, slot, text=None):
        """The first form of a slot, or another text for it, as tokens (word, slot); "~" words have none."""
        words = (self[slot][0] if text is None else text).split()
        return [(word[1:], None) if word.startswith("~") else (word, slot) for word in words]

    def timed(self, tokens, comma=""):
        """The time before the tokens or after them."""
        time = self.on("time")
        if not self.front:
            return tokens + time
        return time[:-1] + [(time[-1][0] + comma, time[-1][1])] + tokens


def sentence(lang, event, rng=None, front=False, ask=False):
    """One event as a sentence: [(word, slot or None), ...], capital and full stop included.

    rng: chooses among a concept's words (None: the first). front: the time first. ask: "Who ...?", no agent.

    >>> e = Event("person.farmer", "verb.sold", "animal.goat", "adj.big", "place.at the market")
    >>> text(sentence("en", e)), text(sentence("de", e, ask=True))
    ('The farmer sold a big goat at the market.', 'Wer verkaufte auf dem Markt eine große Ziege?')
    """
    lex, w = lexicon(), _Words()
    for slot, id in zip(SLOTS, event):
        if id and not (ask and slot == "agent"):
            variants = lex[id].words[lang]
            w[slot] = (rng.choice(variants) if rng else variants[0])[slot == "agent"]
    w.ask, w.front = ask, front and not ask and event.time is not None
    w.name = event.agent is not None and lex[event.agent].kind == "name"
    w.mass = "mass" in lex[event.object].tags
    w.number = event.mod is not None and lex[event.mod].kind == "number"
    tokens = FRAMES[lang](w)
    tokens[0] = (tokens[0][0][:1].upper() + tokens[0][0][1:], tokens[0][1])
    if ask and lang == "fr":
        return tokens + [("?", None)]                   # French sets a space before the question mark
    tokens[-1] = (tokens[-1][0] + ("?" if ask else "."), tokens[-1][1])
    return tokens


def text(tokens):
    """Tokens as a string."""
    return " ".join(word for word, _ in tokens)


def links(english, source):
    """Gold alignment of two token lists: [(i, j), ...], i: English word, j: source word."""
    return [(i, j) for i, (_, a) in enumerate(english) for j, (_, b) in enumerate(source) if a and a == b]


def _english(w):
    noun = w["object"]
    if w.number:
        what = w.on("mod") + w.on("object", noun[1] if len(noun) > 1 else noun[0] + "s")
    else:
        vowel = (w["mod"][0] or noun[0])[0] in "aeiou"
        what = w.on(None, "" if w.mass else "~an" if vowel else "~a") + w.on("mod") + w.on("object")
    agent = w.on("agent", "who" if w.ask else ("" if w.name else "~the ") + w["agent"][0])
    return w.timed(agent + w.on("verb") + what + w.on("place"))


# noun class: prefix of adjectives, before a vowel, of numbers; connective -a
_SW_CONCORD = {"1": ("m", "mw", "m", "wa"), "2": ("wa", "w", "wa", "wa"), "3": ("m", "mw", "m", "wa"),
               "4": ("mi", "my", "mi", "ya"), "5": ("", "j", "", "la"), "6": ("ma", "m", "ma", "ya"),
               "7": ("ki", "ch", "ki", "cha"), "8": ("vi", "vy", "vi", "vya"), "9": ("n", "ny", "", "ya"),
               "10": ("n", "ny", "", "za"), "11": ("m", "mw", "m", "wa")}
_SW_NASAL = {"refu": "ndefu", "wili": "mbili", "pya": "mpya", "bovu": "mbovu", "bivu": "mbivu"}


def swahili_agree(word, cls, number=False):
    """A Swahili adjective, number or connective in agreement with a noun class.

    >>> [swahili_agree(word, "7") for word in ("-kubwa", "-eusi", "-a kijani", "ghali")]
    ['kikubwa', 'cheusi', '~cha kijani', 'ghali']
    """
    if not word.startswith("-"):
        return word
    stem, (prefix, before_vowel, of_number, connective) = word[1:], _SW_CONCORD[cls]
    if stem.startswith("a "):
        return f"~{connective} {stem[2:]}"
    if cls in ("9", "10") and stem in _SW_NASAL:
        return _SW_NASAL[stem]
    lost = cls in ("9", "10") and stem[0] not in "dgz"                 # n- stays before d, g, z
    plain = "ji" if cls == "5" and stem == "pya" else "" if lost else prefix
    return (of_number if number else before_vowel if stem[0] in "aeiou" else plain) + stem


def _swahili(w):
    singular, plural, cls = w["object"]
    cls = cls if not w.number else "10" if cls == "11" else str(int(cls) + 1)       # of the plural
    mod = swahili_agree(w["mod"][0], cls, w.number)
    what = w.on("object", plural if w.number else singular) + w.on("mod", mod)
    agent = w.on("agent", "nani" if w.ask else None)
    return w.timed(agent + w.on("verb") + what + w.on("place"))


def _somali(w):
    what, (masculine, feminine, preverb) = w.on("object", w["object"][w.number]), w["verb"]
    what = w.on("mod") + what if w.number else what + w.on("mod")
    place = w.on("place") + w.on(None, "~" + preverb) if w["place"][0] else []
    if w.ask:
        return w.on("agent", "yaa") + w.on("time") + what + place + w.on("verb", masculine)
    focus, verb = ("~waxay", feminine) if w["agent"][1] == "f" else ("~wuxuu", masculine)
    return w.timed(w.on("agent") + w.on(None, focus)) + place + w.on("verb", verb) + what


def _tagalog(w):
    mod = w["mod"][0]                                   # with its linker: malaking, luntiang, itim na
    if mod and not mod.isdigit():
        mod += "ng" if mod[-1] in "aeiou" else "g" if mod[-1] == "n" else " ~na"
    agent = w.on("agent", ("~si " if w.name else "~ang ") + w["agent"][0])
    what = w.on(None, "~ng") + w.on("mod", mod) + w.on("object") + w.on("place")
    who = w.on("agent", "sino ~ang") + w.on("verb") if w.ask else w.on("verb") + agent
    return w.timed(who + what, ",")


_MR_ENDING = {"m": "ा", "f": "ी", "n": "े", "mp": "े", "fp": "्या", "np": "ी"}      # gender; p: plural


def _marathi(w):
    ending = _MR_ENDING[w["object"][2] + ("p" if w.number else "")]
    mod, verb = (re.sub("ा$", ending, w[slot][0]) for slot in ("mod", "verb"))
    what = w.on("place") + w.on("mod", None if w.number else mod) + w.on("object", w["object"][w.number])
    if w.ask:
        return w.on("time") + what + w.on("agent", "कोणी") + w.on("verb", verb)
    return w.timed(w.on("agent")) + what + w.on("verb", verb)


def _finnish(w):
    flags, place = "".join(w["verb"][1:]), w["place"][0]
    verb_takes_partitive = "p" in flags
    if "s" in flags and place:                          # löysi torilta, metsästä, kotoa: separative cases
        place = "kotoa" if place == "kotona" else place[:-2] + "t" + place[-1]
    partitive = w.mass or w.number or verb_takes_partitive
    mod = w["mod"][verb_takes_partitive if w.number else partitive]     # rakensi kolme, etsi kolmea taloa
    what = w.on("place", place) + w.on("mod", mod) + w.on("object", w["object"][partitive])
    return w.timed(w.on("agent", "kuka" if w.ask else None) + w.on("verb")) + what


# gender: the (nominative), a (accusative), ending of an adjective (accusative, after ein- or no article)
_DE_ARTICLE = {"m": ("der", "einen", "en"), "f": ("die", "eine", "e"), "n": ("das", "ein", "es")}


def _german(w):
    noun, plural, gender = w["object"]
    _, indefinite, ending = _DE_ARTICLE[gender]
    article = "" if w.mass or w.number else "~" + indefinite
    what = w.on(None, article) + w.on("mod", w["mod"][0] + (ending if w["mod"][0] and not w.number else ""))
    what = w.on("place") + what + w.on("object", plural if w.number else noun)
    definite = "" if w.ask or w.name else f"~{_DE_ARTICLE[w['agent'][1]][0]} "
    agent, verb = w.on("agent", "wer" if w.ask else definite + w["agent"][0]), w.on("verb")
    return w.timed(verb + agent if w.front else agent + verb) + what


def _elides(word):
    return word[0].lower() in "aeiouhéèêâîôœ"           # every h that meets le, la, de here is mute


def _french(w):
    noun, gender, *plural = w["object"]
    feminine = gender == "f"
    if w.number:
        what = w.on("mod") + w.on("object", plural[0] if plural else noun + "s")
    else:
        before, mod = w["mod"][0].startswith("<"), w["mod"][feminine].removeprefix("<")
        if before and not feminine and len(w["mod"]) > 2 and _elides(noun):
            mod = w["mod"][2]                           # un bel oiseau
        article = "~une " if feminine else "~un "
        if w.mass:                                      # partitive; l'eau is one word, of the slot of eau
            article = "~de l'" if _elides(mod if before else noun) else "~de ~la " if feminine else "~du "
        what = (w.on("mod", article + mod) + w.on("object", noun) if before else
                w.on("object", article + noun) + w.on("mod", mod))
    person, *sex = w["agent"]
    definite = "" if w.ask or w.name else "l'" if _elides(person) else "~la " if "f" in sex else "~le "
    agent = w.on("agent", "qui" if w.ask else definite + person)
    return w.timed(agent + w.on("verb") + what + w.on("place"), ",")


FRAMES = {"en": _english, "sw": _swahili, "so": _somali, "tl": _tagalog,
          "mr": _marathi, "fi": _finnish, "de": _german, "fr": _french}


# -------------------------------------------------------------------------------- events
def _is_animal(agent):
    return agent is not None and lexicon()[agent].kind == "animal"


@lru_cache(maxsize=None)
def takes(verb, animal):
    """Ids of the objects a verb may have, of a person or of an animal."""
    tags = lexicon()[verb].tags
    ours = ([t for tag in tags if tag.startswith("animal=") for t in tag[7:].split(",")] if animal else
            [tag for tag in tags if "=" not in tag and tag[0] != "@"])
    return tuple(c.id for c in lexicon().values()
                 if c.kind in ("animal", "object") and any(tag in ours for tag in c.tags))


def takes_number(object):
    """Whether a noun can be counted in every language."""
    c = lexicon()[object]
    return "mass" not in c.tags and all(len(forms) > 1 for forms, _ in c.words["so"])


@lru_cache(maxsize=None)
def _choices(kind, *about):
    """Ids a slot may have, with cumulated Zipf weights: 1 / (rank in the kind + 2); years are all alike."""
    lex, found = lexicon(), [c for c in lexicon().values() if c.kind == kind]
    if kind == "verb":
        found = [c for c in found if takes(c.id, *about)]
    elif kind == "object":
        found = [lex[id] for id in takes(*about)]
    elif kind == "adj":
        found = [c for c in found if any(tag in lex[about[0]].tags for tag in c.tags)]
    elif kind in ("place", "town") and "@none" in lex[about[0]].tags:
        found = []
    elif kind == "place" and ("@open" in lex[about[0]].tags or "building" in lex[about[1]].tags):
        found = [c for c in found if "open" in c.tags]
    return [c.id for c in found], list(accumulate(1 if kind == "year" else 1 / (c.rank + 2) for c in found))


def _pick(rng, kind, *about):
    ids, weights = _choices(kind, *about)
    return ids[bisect(weights, rng.random() * weights[-1])] if ids else None


def _draw_slot(rng, slot, e):
    """A concept for a slot of an event (a dict) that goes with what is there already."""
    if slot == "agent":
        return _pick(rng, "name" if rng.random() < .2 else "person")
    if slot == "verb":
        return _pick(rng, "verb", _is_animal(e["agent"]))
    if slot == "object":
        return _pick(rng, "object", e["verb"], _is_animal(e["agent"]))
    if slot == "mod":
        number = takes_number(e["object"]) and rng.random() < .3
        return _pick(rng, "number") if number else _pick(rng, "adj", e["object"])
    if slot == "place":
        return _pick(rng, "town" if rng.random() < .2 else "place", e["verb"], e["object"])
    return _pick(rng, "year" if rng.random() < .15 else "time")


def draw(rng, agent=None, full=False, avoid=frozenset()):
    """A random event that makes sense, never one of `avoid`, nor without its agent; full: no empty slot."""
    while True:
        e = {"agent": agent or (_pick(rng, "animal") if rng.random() < .07 else _draw_slot(rng, "agent", {}))}
        for slot, p in zip(SLOTS[1:], (1, 1, .6, .75, .75)):
            e[slot] = _draw_slot(rng, slot, e) if full or rng.random() < p else None
        event = Event(**e)
        if event.agent != event.object and avoid.isdisjoint((event, event._replace(agent=None))):
            return event


def change(rng, event, slots):
    """The event with other concepts in these slots; what no longer goes together with them is drawn anew."""
    e = event._asdict()
    for slot in SLOTS:
        stale = {"object": e["object"] not in takes(e["verb"], _is_animal(e["agent"])),
                 "mod": e["mod"] and e["object"] != event.object,
                 "place": e["place"] and (e["verb"], e["object"]) != (event.verb, event.object)}
        tries = 20 if slot in slots else 1 if stale.get(slot) else 0    # not for ever: there may be no other
        for _ in range(tries):
            e[slot] = _draw_slot(rng, slot, e)
            if e[slot] != getattr(event, slot) and e["agent"] != e["object"]:
                break
    return Event(**e)


# -------------------------------------------------------------------------------- documents and topics
class Topic(NamedTuple):
    event: Event                    # what happened
    asked: Event                    # what the query says of it: some slots empty
    ask: bool                       # "Who ...?", agent empty
    front: bool


def grade(asked, events):
    """2: an event of the document has all the slots asked for; 1: all but one, not verb or object; else 0."""
    lack = ([slot for slot, a, b in zip(SLOTS, asked, e) if a and a != b] for e in events)
    return max((2 if not m else int(len(m) == 1 and m[0] not in ("verb", "object")) for m in lack), default=0)


def _judge(topics, docs, near=()):
    """{qid: {docid: grade}} of all documents: grades above 0, and 0 for the pairs (qid, docid) in `near`."""
    holding, qrels = {}, {}                             # a grade above 0 needs verb and object: look there
    for docid, document in docs.items():
        for core in {(e.verb, e.object) for e, _ in document}:
            holding.setdefault(core, []).append((docid, [e for e, _ in document]))
    for qid, t in topics.items():
        found = [(docid, grade(t.asked, e)) for docid, e in holding[t.event.verb, t.event.object]]
        grades = {docid: 0 for q, docid in near if q == qid} | {docid: g for docid, g in found if g}
        qrels[qid] = dict(sorted(grades.items()))
    return qrels


def _topic(rng, avoid):
    while True:
        event = draw(rng, full=True, avoid=avoid)
        drop = rng.choice(((), (), ("time",), ("place",), ("mod",), ("agent",), ("agent",), ("agent", "mod")))
        asked = event._replace(**{slot: None for slot in drop})
        if sum(id is not None for id in asked) >= 4 and asked not in avoid:
            return Topic(event, asked, "agent" in drop, rng.random() < .5)


def _document(rng, event, avoid):
    """2 to 4 sentences ((event, front), ...): the event, at times said again, and one or two more."""
    events = [event]
    if rng.random() < .25:
        events.append(event._replace(**{slot: None for slot in rng.sample(("mod", "place", "time"), 2)}))
    for _ in range(1 if rng.random() < .6 else 2):
        other = draw(rng, agent=event.agent if rng.random() < .4 else None, avoid=avoid)
        events.insert(rng.randrange(len(events) + 1), other)
    return tuple((e, rng.random() < .5) for e in events)


def _cluster(rng, topic, avoid, exact, partial, near):
    """Documents for a topic: exact (2), with one asked slot changed or empty (1), near misses (0)."""
    asked = [slot for slot, id in zip(SLOTS, topic.asked) if id]
    free = [slot for slot in asked if slot not in ("verb", "object")]
    unasked = [slot for slot in SLOTS if slot not in asked and not _is_animal(getattr(topic.event, slot))]
    main, documents = [topic.event] * exact, []
    for _ in range(partial):
        slot = rng.choice(free)
        empty = slot != "agent" and rng.random() < .3
        main.append(topic.event._replace(**{slot: None}) if empty else change(rng, topic.event, (slot,)))
    for i in range(near):                               # another object, or two other slots
        main.append(change(rng, topic.event, ("object",) if i % 3 == 0 else tuple(rng.sample(asked, 2))))
    for i, event in enumerate(main):
        if unasked and rng.random() < .5:
            event = change(rng, event, (rng.choice(unasked),))
        document = _document(rng, event, avoid)
        if i > exact + partial:                         # all the slots, but of two different events
            rest = [slot for slot in asked if getattr(event, slot) == getattr(topic.event, slot)]
            document = document[:3] + ((change(rng, topic.event, rest), rng.random() < .5),)
        documents.append(document)
    return documents


def _shuffled(rng, documents, pattern):
    """Ids in random order: [id of documents[0], ...], {id: document}."""
    name = [pattern.format(i) for i in range(1, len(documents) + 1)]
    rng.shuffle(name)
    return name, dict(sorted(zip(name, documents)))


@lru_cache(maxsize=4)
def plan(seed=1, smoke=False):
    """{qid: Topic}, {docid: ((event, front), ...)}, {qid: {docid: grade}}: cached, so not to be changed."""
    n, rng = SMOKE if smoke else SIZES, random.Random(f"{seed}/test")
    topics, documents, judged, seen = {}, [], [], set()
    for i in range(1, n["topics"] + 1):
        topic = topics[f"t{i:03d}"] = _topic(rng, seen)
        seen.add(topic.event)
        made = _cluster(rng, topic, seen, rng.choice((1, 1, 2, 3)), rng.choice((0, 1, 1, 2)), n["near"])
        judged += [(f"t{i:03d}", len(documents) + j) for j in range(len(made))]
        documents += made
    documents += [_document(rng, draw(rng, avoid=seen), seen) for _ in range(n["docs"] - len(documents))]
    name, docs = _shuffled(rng, documents, "d{:04d}")
    return topics, docs, _judge(topics, docs, {(qid, name[j]) for qid, j in judged})


def _say(lang, items, seed, what):
    """{id: text} of {id: Topic} or of {id: document}, which is ((event, front), ...)."""
    rng, said = random.Random(f"{seed}/{what}/{lang}"), {}
    for id, item in items.items():
        parts = [(item.asked, item.front, item.ask)] if isinstance(item, Topic) else item
        said[id] = " ".join(text(sentence(lang, event, rng, *how)) for event, *how in parts)
    return said


# -------------------------------------------------------------------------------- the collection
def _bitext(lang, seed, split, count, avoid, seen):
    """`count` pairs and their links, the first n the same whatever the count; no event, no source twice."""
    rng, pairs, alignments = random.Random(f"{seed}/bitext/{lang}/{split}"), [], []
    while len(pairs) < count:
        event, ask = draw(rng, avoid=avoid), rng.random() < .1
        english = sentence("en", event, rng, rng.random() < .5, ask)
        source = sentence(lang, event, rng, rng.random() < .5, ask)
        if seen.isdisjoint((event, text(source))):
            seen.update((event, text(source)))
            pairs.append((text(english), text(source)))
            alignments.append(links(english, source))
    return pairs, alignments


def _pretrain(lang, seed, sentences, avoid):
    """Texts of one to three sentences, often about one agent; `sentences` in all."""
    rng, texts = random.Random(f"{seed}/pretrain/{lang}"), []
    while sentences:
        agent, said = None, []
        for _ in range(min(sentences, rng.choice((1, 1, 1, 2, 3)))):
            event = draw(rng, agent=agent if rng.random() < .6 else None, avoid=avoid)
            said.append(text(sentence(lang, event, rng, rng.random() < .5, rng.random() < .1)))
            agent = event.agent
        sentences -= len(said)
        texts.append(" ".join(said))
    return texts


def _train(seed, n, avoid, langs):
    """English documents, queries, triples, dev queries, qrels; {lang: these documents and queries in it}."""
    rng, avoid, documents = random.Random(f"{seed}/train"), set(avoid), []
    queries, triples, dev = {}, [], {}
    while len(queries) < n["queries"] or len(dev) < n["dev_queries"]:
        topic, is_dev, first = _topic(rng, avoid), len(queries) >= n["queries"], len(documents)
        avoid.add(topic.event)
        made = _cluster(rng, topic, avoid, rng.choice((1, 2)) if is_dev else 1, int(is_dev), 4)
        documents += made
        if is_dev:
            dev[f"v{len(dev) + 1:03d}"] = topic
            continue
        drop = rng.choice(("time", "place", "mod", "agent"))            # a second query of the cluster
        other = topic._replace(asked=topic.event._replace(**{drop: None}), ask=drop == "agent")
        for t in (topic, other):
            grades = [grade(t.asked, [e for e, _ in d]) for d in made]
            negatives = [first + i for i, g in enumerate(grades) if g == 0]
            if 2 in grades and len(negatives) >= 2 and len(queries) < n["queries"] and t.asked not in avoid:
                qid = f"q{len(queries) + 1:04d}"
                queries[qid] = t
                triples.append((qid, first + grades.index(2), negatives))
    name, docs = _shuffled(rng, documents, "n{:05d}")
    said = {lang: {"queries": _say(lang, queries, seed, "queries"),
                   "docs": _say(lang, docs, seed, "train")} for lang in langs}
    return {"docs": _say("en", docs, seed, "train"),
            "queries": _say("en", queries, seed, "queries"),
            "triples": [(qid, name[p], [name[i] for i in negatives]) for qid, p, negatives in triples],
            "dev_queries": _say("en", dev, seed, "dev"), "dev_qrels": _judge(dev, docs)}, said


def _wiki(langs, seed, sizes, avoid):
    """An encyclopaedia in English, and titles of its first articles in each language: more in a larger one.

    A title is the first event in short, as queries from Wikipedia are first sentences (Sasaki et al. 2018).
    """
    rng, articles, titles = random.Random(f"{seed}/wiki"), {}, {}
    while len(articles) < max(sizes.values()):
        event = draw(rng, full=True, avoid=avoid)
        short = event._replace(mod=None, place=None, time=None)
        if short not in articles:
            articles[short] = _document(rng, event, avoid)
    shorts, docs = list(articles), {f"w{i:04d}": a for i, a in enumerate(articles.values(), 1)}
    for lang in langs:
        rng, some = random.Random(f"{seed}/titles/{lang}"), shorts[:sizes[LANGUAGES[lang].cls]]
        titles[lang] = {id: text(sentence(lang, short, rng)).rstrip(".") for id, short in zip(docs, some)}
    return {"docs": _say("en", docs, seed, "wiki"), "titles": titles}


def collection(seed=1, langs=None, smoke=False):
    """The whole collection as a dict, the same for the same arguments.

    langs: which source languages, a list of codes (None: all seven); what is made for one does not depend on
    the others. smoke: all of it, tiny. Pre-training text, bitext and training queries avoid the events of the
    test topics; a short sentence may still meet one of a test document by chance.
    """
    langs = list(LANGS if langs is None else dict.fromkeys(langs))
    if unknown := [lang for lang in langs if lang not in LANGS]:
        raise ValueError(f"langs: {unknown[0]!r} is not in this collection; choose from {' '.join(LANGS)}")
    n, (topics, documents, qrels) = SMOKE if smoke else SIZES, plan(seed, smoke)
    avoid = {t.event for t in topics.values()} | {t.asked for t in topics.values()}
    pretrain = _pretrain("en", seed, n["pretrain"]["en"], avoid)
    docs = {"mini": _say("en", documents, seed, "documents")}
    train, parallel = _train(seed, n, avoid, langs)
    info, bitext, tests, monolingual = {}, {}, [], []
    for lang in langs:
        name, group, cls = LANGUAGES[lang][:3]
        info[lang] = {"name": name, "family": group, "class": cls, "pairs": n["pairs"][cls], "bitext": "mini"}
        pretrain += _pretrain(lang, seed, n["pretrain"][cls], avoid)
        seen = set()                                    # dev first, so that train stays prefix-nested
        dev, dev_links = _bitext(lang, seed, "dev", n["dev"], avoid, seen)
        pairs, pair_links = _bitext(lang, seed, "train", n["train"][cls], avoid, seen)
        bitext[lang] = {"train": pairs, "dev": dev, "train_links": pair_links, "dev_links": dev_links}
        tests.append({"set": lang, "lang": lang, "name": name, "class": cls, "docs": "mini",
                      "queries": _say(lang, topics, seed, "topics"),
                      "english": _say("en", topics, seed, "topics"),
                      "qrels": {qid: dict(judged) for qid, judged in qrels.items()}})
        docs[f"mini.{lang}"] = _say(lang, documents, seed, "documents")
        monolingual.append(tests[-1] | {"set": f"{lang}.monolingual", "docs": f"mini.{lang}"})
    random.Random(f"{seed}/pretrain").shuffle(pretrain)
    counts = [{"source": f"mini {what}", "read": k, "kept": k, "skipped": {}} for what, k in
              (("pretrain", len(pretrain)), ("documents", len(documents)), ("topics", len(topics)))]
    return {"profile": "mini", "seed": seed, "langs": info, "pretrain": pretrain, "train": train,
            "parallel": parallel, "bitext": bitext, "docs": docs, "tests": tests, "monolingual": monolingual,
            "counts": counts, "wiki": _wiki(langs, seed, n["wiki"], avoid)}

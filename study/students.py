# SPDX-License-Identifier: MIT
"""Teachers and students of the tables: pre-training, the teacher, learning rates, every student, its runs.

Methods: the rows of optical.OBJECTIVES, from bitext alone; `ours`, OPTICAL with idf marginals, with English
training queries and code-switched ones as further pairs, with weights as far back to the teacher's as is best
on dev (Wortsman et al. 2022); and three supervised ones, from queries with judged English documents, trained
by equation (3) with the teacher's document vectors held constant:

    code-switch      English training queries, each word replaced by a translation of the lexicon with
                     probability `switch`, anew at every step (Litschko et al. 2023); into one language each
    translate-train  English training queries as `study.nmt` translated them
    wikiclir         titles of the language's Wikipedia, their English articles          (Sasaki et al. 2018)

A variant is options of `train` joined by commas, `methods=mean,pairs=250`: the row of a table.
"""
import copy
import itertools
import random
import shutil
import sys
import time
from argparse import Namespace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import data
import evaluate
import ot
from optical import (OBJECTIVES, Bitext, Encoder, Vectors, copy_of, distil, documents_of, fit, length_batches,
                     maxsim, on_grid, pad, ranking_loss, search as search_index, train_plan, train_teacher)
from study import baselines
from study.experiment import (MANY, close_experiment, commands_of, first_of, keeper, languages, load,
                              open_experiment, run_command, training_of, write_json)

SUPERVISED = ("code-switch", "translate-train", "wikiclir")
OURS = {"marginals": "idf", "questions": 0.5, "average": [0.0, 0.25, 0.5]}                # of method "ours"
COSTS = {"cosine": ot.cosine_cost, "sqeuclidean": ot.sqeuclidean_cost}
PLANS = {"sinkhorn": train_plan,                                   # (cost, a, b, epsilon) -> ot.Transport
         "unbalanced": partial(ot.unbalanced, max_iter=100, tol=1e-4, warn=False),
         "ipot": lambda C, a, b, epsilon: ot.ipot(C, a, b, warn=False),
         "exact": lambda C, a, b, epsilon: ot.exact(C, a, b, warn=False),
         "uniform": lambda C, a, b, epsilon: ot.uniform(C, a, b),
         "greedy": lambda C, a, b, epsilon: ot.greedy(C, a, b)}


def idf(bitext):
    """(batch) -> idf of the English and of the source tokens, (B, N) and (B, M), 0 on padding."""
    def of(rows):
        df = np.bincount(np.concatenate([np.unique(row) for row in rows]))       # (vocabulary,)
        weight = np.log((len(rows) + 1) / (df + 0.5))            # near 0 for [CLS], [SEP] and the marker
        return [weight[row].astype(np.float32) for row in rows]
    sides = of(bitext.english), of(bitext.rows)
    return lambda b: [pad([side[i] for i in b.index], b.s_mask.device)[0] for side in sides]


def norms(bitext):
    """(batch) -> lengths that the vectors of both sides had before they became unit vectors."""
    norms, at = bitext.vectors("query").norms, bitext.vectors("query").offsets
    return lambda b: (pad([norms[at[i]:at[i + 1]] for i in b.index], b.s_mask.device)[0], b.norms)


MARGINALS = {"uniform": lambda bitext: None, "idf": idf, "norm": norms}


# ---- pre-training and the teacher --------------------------------------------------------------------------

def train_tokenizer(sentences, vocab, folder):
    """A byte-pair vocabulary of at most `vocab` entries from `sentences`, saved in Hugging Face layout.

    Accents are kept: stripping them, as BERT does, deletes the vowel signs of Devanagari. N.B. WordPiece's
    trainer breaks ties by a random hash: each run would make another vocabulary.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]"]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    pieces = [pre_tokenizers.Punctuation(), pre_tokenizers.Metaspace()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(pieces)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(sentences, trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=specials, min_frequency=2, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]",
                            cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]").save_pretrained(folder)


def mask_tokens(ids, mask, vocab, mask_id, special, generator):
    """BERT's masking (Devlin et al. 2019): of 15 % of the tokens 80 % become [MASK], 10 % random, 10 % stay.

    ids (B, L) int64, mask (B, L); ids up to `special` stay. Returns masked ids and what to predict (B, L).
    """
    r = torch.rand(ids.shape, generator=generator).to(ids.device)
    chosen = mask & (ids > special) & (r < 0.15)
    drawn = torch.randint(special + 1, vocab, ids.shape, generator=generator).to(ids.device)
    out = torch.where(chosen & (r < 0.12), torch.full_like(ids, mask_id), ids)   # 0.12 = 80 % of 0.15
    return torch.where(chosen & (r >= 0.12) & (r < 0.135), drawn, out), chosen


def pretrain(args):
    """A small BERT from scratch on DATA/pretrain.txt, tokenizer included: DEVIATION 1."""
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM
    manifest, part = data.load_manifest(args.data), open_experiment(args.out, args)
    if part is None:
        return
    if not manifest["pretrain"]:
        raise ValueError(f"{args.data}/collection.json: has no pre-training text; give ENCODER")
    sentences = (Path(args.data) / manifest["pretrain"]).read_text(encoding="utf-8").splitlines()
    train_tokenizer(sentences, args.vocab, part)
    tokenizer = AutoTokenizer.from_pretrained(part)
    rows = [np.array(row) for row in tokenizer(sentences, truncation=True, max_length=64)["input_ids"]]
    torch.manual_seed(args.seed)
    model = BertForMaskedLM(BertConfig(
        vocab_size=len(tokenizer), hidden_size=args.hidden, num_hidden_layers=args.layers,
        num_attention_heads=max(1, args.hidden // 32), intermediate_size=args.ffn * args.hidden,
        max_position_embeddings=256, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    model.to(args.device)
    special = tokenizer.convert_tokens_to_ids("[unused1]")

    def loss_of(index, step):
        ids, mask = pad([rows[i] for i in index], args.device, tokenizer.pad_token_id)      # (B, L)
        generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
        masked, chosen = mask_tokens(ids, mask, len(tokenizer), tokenizer.mask_token_id, special, generator)
        with torch.autocast(ids.device.type, torch.bfloat16, args.bf16):
            h = model.bert(input_ids=masked, attention_mask=mask.long()).last_hidden_state  # (B, L, hidden)
            logits = model.cls(h[chosen])                                        # (chosen, vocab)
        return F.cross_entropy(logits.float(), ids[chosen]), {"tokens": int(mask.sum())}

    batches = length_batches([len(row) for row in rows], args.batch, args.steps, args.seed)
    spent = fit(model, batches, loss_of, part, args.lr, name="pretrain", **training_of(args))
    model.bert.save_pretrained(part)
    close_experiment(part, args.out, {"sentences": len(sentences), "vocabulary": len(tokenizer), **spent})


def teacher(args):
    """The English late-interaction retriever, from the collection's triples; scored on its dev queries."""
    root, paths, part = Path(args.data), training(args.data), open_experiment(args.out, args)
    if part is None:
        return
    torch.manual_seed(args.seed)
    encoder = Encoder.load(args.encoder, args.dim, args.query_tokens, args.doc_tokens, bool(args.augment),
                           args.freeze, args.device, args.bf16)
    docs, triples = data.read_tsv(root / paths["docs"]), data.read_triples(root / paths["triples"])
    longest = args.batch * (args.query_tokens + (1 + args.negatives) * args.doc_tokens)
    spent = train_teacher(encoder, data.read_tsv(root / paths["queries"]), docs, triples, args.steps,
                          args.epochs, args.batch, args.lr, args.negatives, args.seed, part,
                          **training_of(args, encoder, longest))
    encoder.save(part)
    asked, qrels, pool = dev_questions(root)
    run = search_index(encoder, asked, Vectors.encode(encoder, pool, "doc"), 100)
    dev_map = evaluate.summary(qrels, run)["map"]
    print(f"  dev map {dev_map:.4f}, {sum(p.numel() for p in encoder.parameters()) / 1e6:,.1f} M parameters")
    close_experiment(part, args.out, {"dev_map": dev_map, "triples": len(triples), **spent})


def subwords(root, tokenizer):
    """{language: subwords per word of its dev sentences}, for table 1."""
    found = {}
    for lang, entry in sorted(data.load_manifest(root)["langs"].items()):
        texts = [x for _, x in data.read_bitext(root / entry["dev"])]
        pieces = tokenizer(texts, add_special_tokens=False)["input_ids"]
        found[lang] = round(sum(map(len, pieces)) / sum(len(text.split()) for text in texts), 4)
    return found


# ---- what students learn from -----------------------------------------------------------------------------
def bitext_of(args, lang, teacher):
    """The sentence pairs of a language, or of several, "sw+so", for one student; args.pairs, of each."""
    parts, encode = [], keeper(args.cache, f"bitext-{lang}")
    for own in lang.split("+"):
        entry = data.language(args.data, own)
        pairs = data.read_bitext(Path(args.data) / entry["train"])[:None if args.pairs else entry["pairs"]]
        if args.questions:
            queries, draw = training(args.data)["queries"], random.Random(args.seed)
            lexicons = [read_lexicon(args, f"en-{own}.txt")]
            pairs += [(text, baselines.code_switch(text, lexicons, args.questions, draw))
                      for text in data.read_tsv(Path(args.data) / queries).values()]
        parts.append(Bitext(pairs, teacher, args.max_tokens, args.pairs or None, encode))
        print(f"  {own}: {len(parts[-1].pairs):,} of {len(pairs):,} pairs, up to {args.max_tokens} tokens")
    pairs = [pair for part in parts for pair in part.pairs]
    return parts[0] if len(parts) == 1 else Bitext(pairs, teacher, args.max_tokens, encode=encode)


def bitext_in(bitexts, args, lang, teacher):
    """The bitext_of a language, from `bitexts`, which keeps the last one for what learns from it next."""
    key = (lang, teacher.augment, args.pairs, args.max_tokens, args.questions)
    if key not in bitexts:
        bitexts.clear()
        bitexts[key] = bitext_of(args, lang, teacher)
    return bitexts[key]


def mixed(bitext, lang, args):
    """Table 5: words of a source sentence become English ones of the lexicon with probability args.mix."""
    lexicons = [read_lexicon(args, f"{own}-en.txt") for own in lang.split("+")]

    def change(index, step):
        draw = random.Random(f"{args.seed}/{step}")
        return [baselines.code_switch(bitext.pairs[i][1], lexicons, args.mix, draw) for i in index]
    return change


def read_lexicon(args, name, limit=None):
    """A lexicon from the first folder of --lexicon that has it."""
    return baselines.read_lexicon(first_of(args.lexicon, name, "study.baselines lexicon"), limit)


def dev_scores(student, teacher, lang, args, folder=None):
    """What settings are chosen by, no objective's own loss: dev_map and dev_accuracy (rank 1), each held-out
    source sentence finds its English side; dev_switched, MAP of English dev queries whose words the lexicon
    translated; dev, the second if there is a lexicon, else the first. The sentences' run is FOLDER/dev.trec.
    """
    asked, docs, qrels = baselines.known_items([pair for own in lang.split("+") for pair in data.read_bitext(
        Path(args.data) / data.language(args.data, own)["dev"])])
    index = keeper(args.cache, f"dev-{lang}")(teacher, docs, "doc", args.max_tokens)
    run = search_index(student, asked, index, 100, args.max_tokens)
    if folder:
        evaluate.write_run(folder / "dev.trec", run, "dev")
    means = evaluate.summary(qrels, run, ["map", "success_1"])
    found = {"dev_map": means["map"], "dev_accuracy": means["success_1"]}
    if args.lexicon and data.load_manifest(args.data)["train"]:
        lexicons = [read_lexicon(args, f"en-{own}.txt") for own in lang.split("+")]
        (asked, qrels, pool), draw = dev_questions(Path(args.data)), random.Random(1)
        asked = {qid: baselines.code_switch(text, lexicons, 1.0, draw) for qid, text in asked.items()}
        index = keeper(args.cache, "dev-questions")(teacher, pool, "doc")
        found["dev_switched"] = evaluate.summary(qrels, search_index(student, asked, index, 100))["map"]
    return found | {"dev": found.get("dev_switched", found["dev_map"])}


def training(root):
    """The manifest's "train". Raises: ValueError where the collection has no training queries."""
    found = data.load_manifest(root)["train"]
    if not found:
        raise ValueError(f"{root}/collection.json: no training queries; prepare it with --train, or give a "
                         "TEACHER and leave out what learns from them: ours, code-switch, translate-train")
    return found


def dev_questions(root):
    """The teacher's dev queries, their judgements, their documents."""
    paths = training(root)
    return (data.read_tsv(root / paths["dev_queries"]), evaluate.read_qrels(root / paths["dev_qrels"]),
            data.read_tsv(root / paths.get("dev_docs", paths["docs"])))


class Questions:
    """Queries with judged English documents, in or mixed with another language: supervised methods."""
    def __init__(self, lang, method, teacher, args):
        root, manifest, langs = Path(args.data), data.load_manifest(args.data), lang.split("+")
        if len(langs) > 1 and method != "code-switch":
            raise ValueError(f"{method} trains a student of one language, not of {lang}")
        paths = manifest["langs"][lang]["wiki"] if method == "wikiclir" else training(root)
        self.args, self.triples = args, data.read_triples(root / paths["triples"])
        self.queries, self.lexicons = data.read_tsv(root / paths["queries"]), []
        if method == "code-switch":
            self.lexicons = self.tables(manifest, langs)
        elif method == "translate-train":
            path = first_of(args.translations, f"en-{lang}/train.tsv", "study.nmt train")
            self.queries = data.read_tsv(path)
        docs, self.relevant = data.read_tsv(root / paths["docs"]), {}
        self.place = {docid: i for i, docid in enumerate(docs)}
        for qid, docid, _ in self.triples:
            self.relevant.setdefault(qid, set()).add(docid)
        name = f"wiki-{lang}" if method == "wikiclir" else "train"
        self.docs, self.teacher, few = docs, teacher, len(docs) <= MANY        # MS MARCO's would take 58 GB
        self.vectors = keeper(args.cache, f"{name}-documents")(teacher, docs, "doc") if few else None
        self.rows = dict(zip(self.queries, teacher.tokens(self.queries.values(), "query")))
        self.lengths = [len(self.rows[qid]) for qid, _, _ in self.triples]

    def tables(self, manifest, langs):
        """(lexicon, probability of its language) of each language."""
        args, kinds = self.args, [manifest["langs"][own]["class"] == "low" for own in langs]
        if args.share >= 0 and len(set(kinds)) < 2:
            raise ValueError(f"--share {args.share:g} of {'+'.join(langs)}: give low- and high-resource ones")
        share = sum(kinds) / len(kinds) if args.share < 0 else args.share
        return [(read_lexicon(args, f"en-{own}.txt", args.lexicon_size or None),
                 (share if low else 1 - share) / kinds.count(low)) for own, low in zip(langs, kinds)]

    def documents(self, names, device):
        """The teacher's vectors of some documents: (D, L, H), mask (D, L)."""
        if self.vectors:
            return self.vectors.batch([self.place[docid] for docid in names], device)
        with torch.no_grad():
            vectors, mask = self.teacher([self.docs[docid] for docid in names], "doc")
        return on_grid(vectors), mask

    def loss(self, student, index, step):
        """Equation (3) of one batch: queries of the other language, the teacher's document vectors."""
        args, batch = self.args, [self.triples[i] for i in index]
        rows = [self.rows[qid] for qid, _, _ in batch]
        if self.lexicons:
            draw, (tables, weights) = random.Random(f"{args.seed}/{step}"), zip(*self.lexicons)
            drawn = draw.choices(tables, weights, k=len(batch))
            rows = student.tokens([baselines.code_switch(self.queries[qid], [own], args.switch, draw)
                                   for (qid, _, _), own in zip(batch, drawn)], "query")
        names, target, other = documents_of(batch, self.relevant, args.negatives,
                                            np.random.default_rng([args.seed, step]))
        q, q_mask = student(rows)
        scores = maxsim(q, q_mask, *self.documents(names, q.device))
        loss, stats = ranking_loss(scores, target, other)
        return loss, {**stats, "tokens": sum(map(len, rows))}


# ---- a student --------------------------------------------------------------------------------------------
def start(teacher, args):
    """The student before its first step: the teacher's copy, or its encoder bare; perhaps partly frozen."""
    student = copy_of(teacher)
    if args.init == "bare":
        torch.manual_seed(args.seed)
        made = data.read_json(Path(args.teacher) / "args.json")["args"]
        bare = Encoder.load(made["encoder"], teacher.dim, freeze=teacher.frozen)
        student.load_state_dict(bare.state_dict())
    if args.layers:
        student.backbone.requires_grad_(False)
        blocks = next(m for m in student.backbone.modules() if isinstance(m, nn.ModuleList))
        blocks[-args.layers:].requires_grad_(True)
    return student


def settings_of(method, args, bitext):
    """What an objective's loss takes beside the batch."""
    if method == "optical":
        return {"epsilon": args.epsilon, "plan": PLANS[args.plan], "cost": COSTS[args.cost],
                "weights": MARGINALS[args.marginals](bitext)}
    return {"tau": args.tau} if method == "contrastive" else {}


def averaged(student, teacher, shares, score):
    """Move the student's weights back to the teacher's by the share with the highest score()["dev"]; returns
    that score() and the share, "average"."""
    own = [weight.detach().clone() for weight in student.parameters()]

    def moved(share):
        for weight, end, before in zip(student.parameters(), own, teacher.parameters()):
            weight.data.copy_(end.lerp(before.data, share))
        return {**score(), "average": share}
    found = [moved(share) for share in shares]
    best = max(found, key=lambda scores: scores["dev"])
    return best if best is found[-1] else moved(best["average"])


def objective_of(method, args):
    """The objective of a method and the arguments with its settings."""
    return ("optical", Namespace(**{**vars(args), **OURS})) if method == "ours" else (method, args)


def train_one(folder, lang, method, args, teacher, bitexts, then):
    """done.json of one student, trained unless it is there; then(student, folder) keeps what is wanted."""
    folder, unit, lr = Path(folder), {"lang": lang, "method": method}, args.lr
    objective, args = objective_of(method, args)
    part = open_experiment(folder, args, **unit)
    if part is None:
        return data.read_json(folder / "done.json")
    if args.augment not in (None, teacher.augment):
        teacher = copy.copy(teacher)
        teacher.augment = args.augment
    lesson, student = bitext_in(bitexts, args, lang, teacher), start(teacher, args)
    score = partial(dev_scores, student, teacher, lang, args, part)
    if objective in OBJECTIVES:
        lesson.change = mixed(lesson, lang, args) if args.mix else None
        _, spent = distil(teacher, lesson, objective, args.steps, args.batch, lr, args.seed, student, part,
                          training_of(args, student, args.batch * args.max_tokens),
                          **settings_of(objective, args, lesson))
        found = averaged(student, teacher, args.average, score)
    else:
        lesson = Questions(lang, method, teacher, args)
        batches = length_batches(lesson.lengths, args.batch, args.steps, args.seed)
        loss_of = partial(lesson.loss, student)
        options = training_of(args, student, args.batch * student.query_tokens)
        spent, found = fit(student, batches, loss_of, part, lr, name=method, **options), score()
    spent |= then(student, part) or {}
    done = {**unit, "lr": lr, **found, "examples": len(lesson.lengths), **spent}
    print(f"  {lang} {folder.name}: dev map {done['dev_map']:.4f}, {done['seconds']} s", flush=True)
    return close_experiment(part, folder, done)


def titled(args, lang):
    """Whether the collection has Wikipedia titles in a language, or in each of "sw+so"."""
    return all(data.language(args.data, own).get("wiki") for own in lang.split("+"))


def tests_of(args, lang):
    """The test sets of a language, or of several, "sw+so". Raises: ValueError where there is none."""
    tests = [t for t in data.load_manifest(args.data)["tests"] if t["lang"] in lang.split("+")]
    if not tests:
        raise ValueError(f"{args.data}/collection.json: no test set in {lang!r}; leave it out of --langs")
    return tests


def search_tests(args, tests, encoder, teacher, name, queries="queries"):
    """Runs RUNS/<set>/<name>.s<seed>.trec of some test sets; returns {"search_ms": {set: ms a query}}."""
    manifest, spent = data.load_manifest(args.data), {}
    for test in (test for test in tests if callable(queries) or queries in test):   # some have no English
        asked = queries(test) if callable(queries) else data.read_tsv(Path(args.data) / test[queries])
        docs = data.read_tsv(Path(args.data) / manifest["docs"][test["docs"]])
        index = keeper(args.cache, test["docs"])(teacher, docs, "doc")
        began = time.monotonic()
        run = search_index(encoder, asked, index)
        spent[test["set"]] = round(1000 * (time.monotonic() - began) / len(asked), 3)
        tag = f"{name}.s{args.seed}"
        evaluate.write_run(Path(args.runs) / test["set"] / f"{tag}.trec", run, tag)
    return {"search_ms": spent}


def search(args):
    """Runs without a student: zero-shot, the ceiling (English queries), queries of --translations."""
    tests, part = data.load_manifest(args.data)["tests"], open_experiment(args.out, args)
    if part is None:
        return
    encoder, kinds = load(args.teacher, args), {"zero-shot": "queries", "english": "english"}
    write_json(part / "subwords.json", subwords(Path(args.data), encoder.tokenizer))
    if args.translations:
        kinds["nmt"] = lambda test: data.read_tsv(
            Path(args.translations) / f"{test['lang']}-en" / f"test.{test['set']}.tsv")
    close_experiment(part, args.out, {name: search_tests(args, tests, encoder, encoder, name, queries)
                                      for name, queries in kinds.items()})


def tune(args):
    """A learning rate and number of steps a method, OUT/lr.<method>.json: by dev_switched, which ranks as
    real questions do (results/proxy.md), without a lexicon by dev_map; wikiclir's where there are titles."""
    out, teacher, bitexts = Path(args.out), load(args.teacher, args), {}
    for method in args.methods:
        langs = languages(args)
        if method == "wikiclir":
            every = [lang for lang in sorted(data.load_manifest(args.data)["langs"]) if titled(args, lang)]
            langs = [lang for lang in langs if lang in every] or every[:1]
            if not langs:
                raise ValueError(f"{args.data}/collection.json: no Wikipedia titles; leave WIKI out")

        def dev(lang, lr, steps):
            own = Namespace(**{**vars(args), "lr": lr, "steps": steps})
            return train_one(kept(out, lang, method, own), lang, method, own, teacher, bitexts,
                             lambda student, part: saved(args, method) and student.save(part))["dev"]
        write_json(out / f"lr.{method}.json", choose(method, langs, args.lr, args.steps, dev))


def choose(method, langs, rates, steps, dev):
    """The rate with the best mean over languages of dev(lang, rate, steps[0]), then the best of `steps` with
    that rate; of equals the lowest."""
    @cache
    def mean(lr, n):
        return sum(dev(lang, lr, n) for lang in langs) / len(langs)
    lr = max(sorted(rates), key=lambda lr: mean(lr, steps[0]))
    n = max(sorted(steps), key=lambda n: mean(lr, n))
    tried = dict.fromkeys([*((each, steps[0]) for each in rates), *((lr, each) for each in steps)])
    scores = {f"{each:g} {number}": mean(each, number) for each, number in tried}
    return {"method": method, "lr": lr, "steps": n, "dev": scores, "langs": langs}


def saved(args, method):
    """Whether --save names a method, or none and so all."""
    return args.save is not None and (not args.save or method in args.save)


def kept(folder, lang, method, args):
    """Where `tune` keeps a student."""
    return Path(folder) / f"{lang}.{method}.{args.lr:g}.{args.steps}.s{args.seed}"


def as_chosen(args, method):
    """The arguments with the learning rate and steps that `tune` chose in --rates, unless they are given.
    A published run has those of all methods in one file, lr.json.
    """
    if args.lr and args.steps:
        return Namespace(**vars(args))
    if not args.rates:
        raise ValueError("no learning rate or no steps; give --lr and --steps, or a tune's folder as --rates")
    path = Path(args.rates, "lr.json")
    path = path if path.exists() else path.with_name(f"lr.{method}.json")
    found = data.read_json(path)
    found = found.get(method, found)
    if not {"lr", "steps"} <= found.keys():
        raise ValueError(f"{path}: no rate and steps of {method}; study.students tune chooses them")
    return Namespace(**{**vars(args), **{key: getattr(args, key) or found[key] for key in ("lr", "steps")}})


def train(args):
    """A student for every language and method or variant, and its runs; a finished one is left as it is.
    --tuned: where `tune` trained the same student and kept it, it is taken.
    A number of pairs that a language does not reach is left out: table 2 has the student of all.
    """
    teacher, bitexts = load(args.teacher, args), {}
    units = args.variants or {method: args for method in args.methods}
    for lang, (name, own) in itertools.product(languages(args), units.items()):
        method, tests = own.methods[0] if args.variants else name, tests_of(args, lang)
        folder, own = Path(args.out) / lang / name, as_chosen(own, method)
        asked = own.pairs * len(lang.split("+"))
        few = asked and len(bitext_in(bitexts, own, lang, teacher).pairs) < asked
        if few or method == "wikiclir" and not titled(args, lang):
            print(f"  {lang} {name}: left out, {'fewer pairs that fit' if few else 'no Wikipedia titles'}")
            continue

        def then(student, part):
            if saved(args, method):
                student.save(part)
            return search_tests(args, tests, student, teacher, name)

        found = kept(args.tuned or "none", lang, method, own)
        if (found / "modules.json").exists() and not folder.exists():            # it has its weights
            open_experiment(found, objective_of(method, own)[1], lang=lang, method=method)     # the same?
            part = folder.with_name(folder.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(found, part)
            spent = search_tests(args, tests, load(part, args), teacher, name)
            close_experiment(part, folder, data.read_json(part / "done.json") | spent)
        train_one(folder, lang, method, own, teacher, bitexts, then)


def choices():
    """What some options of the commands that train students may be."""
    methods = [*OBJECTIVES, "ours", *SUPERVISED]
    return {"methods": methods, "plans": PLANS, "costs": COSTS, "marginals": MARGINALS}


def parser():
    return commands_of("students", __doc__, {"pretrain": pretrain, "teacher": teacher, "search": search,
                                             "tune": tune, "train": train}, **choices())


def arguments(parser, argv):
    """The arguments of a command; --variants become {name: the arguments with its settings}."""
    args = parser.parse_args(argv)
    settings = {text: [part for setting in text.split(",") for part in f"--{setting}".split("=", 1)]
                for text in getattr(args, "variants", None) or ()}
    args.variants = {text: parser.parse_args([*argv, *extra]) for text, extra in settings.items()}
    return args


def main(argv=None):
    return run_command(arguments(parser(), sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())

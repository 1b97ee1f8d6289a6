# SPDX-License-Identifier: MIT
"""The paper profile rehearsed at its real size with generated data: what it will take, before anyone waits.

    python optical.py rehearse --out out/rehearsal

An encoder of mBERT's size with random weights; 169,000 documents of 150 tokens, as many as CLEF's two
newspapers have; 500,000 sentence pairs; 151 queries. Tokenising, reading and search are done whole, on
made-up text and random vectors. Encoding and training, where a step costs what every step costs, are
measured for a while, and the hours of the profile follow from steps and tokens. Measured too: padding, the
share of optimal transport in a student's step, and what it saves to compute the teacher's vectors once.
"""
import argparse
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch

import data
import evaluate
import ot
from optical import (Bitext, Encoder, Vectors, device_name, length_batches, on_grid, peak_memory_gb, search,
                     teacher_loss, train_tokenizer, write_json)

SIZES = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
VOCABULARY = 105_879                                                    # bert-base-multilingual-uncased
QUERIES = 151                                                    # of CLEF, those with a relevant document


class Words:
    """Texts of made-up words with a Zipfian frequency."""

    def __init__(self, seed, n=50_000):
        self.rng = np.random.default_rng(seed)
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        lengths = self.rng.integers(3, 10, n)
        self.words = np.array(["".join(self.rng.choice(letters, k)) for k in lengths])
        self.p = 1 / np.arange(1, n + 1)
        self.p /= self.p.sum()

    def texts(self, lengths):
        """One text of each length, in words."""
        drawn = self.words[self.rng.choice(len(self.words), int(np.sum(lengths)), p=self.p)]
        return [" ".join(part) for part in np.split(drawn, np.cumsum(lengths)[:-1])]


def timed(step, seconds, least=3):
    """Calls step(i) for at least `seconds` and `least` times after one to warm up: (calls, seconds spent)."""
    step(0)
    began, calls = time.monotonic(), 0
    while calls < least or time.monotonic() - began < seconds:
        calls += 1
        step(calls)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return calls, time.monotonic() - began


def resident_gb():
    """Peak memory of this process, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)


def padding(lengths, batches):
    """Share of the tokens of batches that is padding."""
    lengths = np.asarray(lengths)
    real, all_of_it = 0, 0
    for index in batches:
        real += lengths[index].sum()
        all_of_it += lengths[index].max() * len(index)
    return 1 - real / all_of_it


def make_encoder(words, folder, args):
    """An encoder of the given size with random weights and a tokenizer trained on generated text."""
    from transformers import AutoTokenizer, BertConfig, BertModel
    train_tokenizer(words.texts(np.full(20_000, 20)), 30_000, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(args.seed)
    config = BertConfig(vocab_size=max(VOCABULARY, len(tokenizer)), max_position_embeddings=512,
                        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
                        **({"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 1,
                            "intermediate_size": 64} if args.tiny else SIZES))
    return Encoder(BertModel(config, add_pooling_layer=False), tokenizer, 128, 32, 180, True).place(args)


def rehearse(args):
    """Measures every part of the paper profile at its size, on generated data: OUT/rehearsal.json and .md."""
    out, small = Path(args.out), args.tiny
    docs_n, pairs_n = (300, 400) if small else (169_000, 500_000)
    out.mkdir(parents=True, exist_ok=True)
    words, found = Words(args.seed), {"device": device_name(args.device), "threads": torch.get_num_threads(),
                                      "bf16": args.bf16}
    encoder = make_encoder(words, out / "tokenizer", args)
    found["parameters_millions"] = round(sum(p.numel() for p in encoder.parameters()) / 1e6, 1)

    # ---- the collection: written, read and tokenised whole
    ratio = len(encoder.tokens(words.texts([2000]), "doc", 10_000)[0]) / 2000            # tokens a word
    words_a_doc = max(1, round(150 / ratio))
    texts = words.texts(np.full(docs_n, words_a_doc))
    lengths = np.clip(words.rng.lognormal(2.9, 0.5, pairs_n), 3, 60).astype(int)     # 18 words, a long tail
    english, source = words.texts(lengths), words.texts(lengths)
    docs = {f"d{i}": text for i, text in enumerate(texts)}
    queries = {f"q{i}": text for i, text in enumerate(words.texts(np.full(QUERIES, 15)))}
    about = {"name": "made up", "family": "none", "class": "low", "pairs": pairs_n, "bitext": "made up"}
    began = time.monotonic()
    data.write_collection({
        "profile": "rehearsal", "seed": args.seed, "langs": {"xx": about}, "pretrain": None,
        "train": {"docs": {"d0": docs["d0"]}, "queries": {"q0": "x"}, "triples": [("q0", "d0", [])],
                  "dev_queries": {"q0": "x"}, "dev_qrels": {"q0": {"d0": 1}}},
        "bitext": {"xx": {"train": list(zip(english, source)), "dev": [(english[0], source[0])]}},
        "docs": {"made up": docs}, "counts": [],
        "tests": [{"set": "xx", "lang": "xx", "name": "made up", "class": "low", "docs": "made up",
                   "queries": queries, "english": queries, "qrels": {q: {"d0": 1} for q in queries}}]},
        out / "data")
    found["write_s"] = round(time.monotonic() - began, 1)
    began = time.monotonic()
    whole = Bitext(out / "data", "xx", encoder, out / "vectors", max_tokens=64)
    found["bitext_ready_s"] = round(time.monotonic() - began, 1)
    found["pairs"] = len(whole.rows)
    batches = length_batches(whole.rows.lengths, args.batch, 200, args.seed)
    found["padding_student"] = round(float(padding(whole.rows.lengths, batches)), 4)
    tokens_of_bitext = int(whole.english_rows.lengths.sum())
    del whole

    # ---- encoding documents: tokens a second
    sample = encoder.tokens(texts[:2000], "doc")
    encoder.eval()
    per_batch = max(1, 8192 // len(sample[0]))

    def encode(i):
        start = i * per_batch % (len(sample) - per_batch) if len(sample) > per_batch else 0
        with torch.inference_mode():
            on_grid(encoder(*encoder.pad(sample[start:start + per_batch]))).half().cpu()

    calls, spent = timed(encode, args.seconds)
    doc_tokens = float(np.mean([len(row) for row in sample]))
    found["encode_tokens_per_s"] = round(calls * per_batch * doc_tokens / spent)

    # ---- teacher: 32 queries, their positives and a negative each
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-6, fused=True)
    encoder.train()
    asked = encoder.tokens(words.texts(np.full(500, 6)), "query")

    def teach(i):
        rng = np.random.default_rng([args.seed, i])
        q, d = rng.integers(0, len(asked), 32), rng.integers(0, len(sample), 64)
        loss, _ = teacher_loss(encoder, [asked[k] for k in q], [sample[k] for k in d], torch.arange(32),
                               torch.zeros(32, 64, dtype=torch.bool))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    calls, spent = timed(teach, args.seconds)
    found["teacher_step_s"] = round(spent / calls, 4)

    # ---- student: the teacher's vectors from the cache, and computed anew
    few = Bitext(out / "data", "xx", encoder, out / "vectors", pairs=40 * args.batch, max_tokens=64)
    encoder.eval()
    few.vectors("query")
    encoder.train()
    own = length_batches(few.rows.lengths, args.batch, 1000, args.seed)
    settings = student_settings(args)

    def learn(i):
        loss, _ = few.loss(encoder, "optical", own[i % len(own)], i, settings)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def learn_and_encode(i):
        with torch.inference_mode():
            encoder(*encoder.pad([few.english_rows[k] for k in own[i % len(own)]]))
        learn(i)

    calls, spent = timed(learn, args.seconds)
    found["student_step_s"] = round(spent / calls, 4)
    calls, spent = timed(learn_and_encode, args.seconds)
    found["student_step_without_cache_s"] = round(spent / calls, 4)
    t, t_mask = few.vectors("query").batch(own[0], args.device)
    s, s_mask = torch.nn.functional.normalize(t + 0.1 * torch.randn_like(t), dim=-1), t_mask

    def transport(i):
        C = ot.cosine_cost(t, s)
        ot.sinkhorn(C, ot.uniform_marginal(t_mask), ot.uniform_marginal(s_mask), 0.1, max_iter=100, tol=1e-4,
                    warn=False)

    calls, spent = timed(transport, min(5, args.seconds))
    found["transport_share"] = round(spent / calls / found["student_step_s"], 4)
    found["training_memory_gb"] = round(peak_memory_gb(torch.device(args.device)), 2)

    # ---- search: every document, random vectors on disk, larger than a GPU's memory if need be
    began = time.monotonic()
    folder = random_vectors(out / "index", docs_n, 150, encoder.dim, args.seed)
    found["index_gb"] = round(sum(path.stat().st_size for path in folder.iterdir()) / 1e9, 2)
    found["index_write_s"] = round(time.monotonic() - began, 1)
    index, began = Vectors(folder), time.monotonic()
    run = search(encoder, queries, index, list(docs), depth=1000)
    found["search_s"] = round(time.monotonic() - began, 1)
    evaluate.write_run(out / "run.trec", run, "rehearsal")
    found["memory_gb"] = round(resident_gb(), 2)
    found["bitext_vectors_gb"] = round(tokens_of_bitext * encoder.dim * 2 / 1e9, 2)
    found["hours"] = hours(found, tokens_of_bitext, docs_n * doc_tokens)
    write_json(out / "rehearsal.json", found)
    (out / "rehearsal.md").write_text(report(found, args), encoding="utf-8")
    for name in ("index", "vectors", "data", "tokenizer"):
        shutil.rmtree(out / name)
    print((out / "rehearsal.md").read_text(encoding="utf-8"))


def student_settings(args):
    """The arguments that a student of OPTICAL has in the paper profile, for Bitext.loss."""
    return argparse.Namespace(mix=0.0, marginals="uniform", epsilon=0.1, plan="sinkhorn", cost="cosine",
                              tau=0.05, device=args.device, seed=args.seed)


def random_vectors(folder, texts, length, dim, seed):
    """A folder of Vectors with random unit vectors, `length` a text, written a part at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = (texts * length, dim)
    flat = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float16, shape)
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, shape[0], 1 << 18):
        part = torch.randn(min(1 << 18, shape[0] - start), dim, generator=generator)
        flat[start:start + len(part)] = on_grid(torch.nn.functional.normalize(part, dim=-1)).half().numpy()
    flat.flush()
    np.save(folder / "norms.npy", np.ones(shape[0], np.float32))
    np.save(folder / "offsets.npy", np.arange(texts + 1) * length)
    return folder


def hours(found, bitext_tokens, doc_tokens):
    """Hours of the parts of the paper profile, tables 1 and 2, from the steps of run_all.sh and tokens."""
    methods, languages, rates = 5, 7, 4                     # optical, mean, greedy, contrastive, code-switch
    teacher, student, tuning = 100_000, 20_000, 1_000       # a test compares these with run_all.sh
    ciral = 1_776_565 * 130                                 # translated passages, so and sw: tokens, about
    made = {"teacher": teacher * found["teacher_step_s"],
            "teacher vectors of the bitext": 2 * languages * bitext_tokens / found["encode_tokens_per_s"],
            "learning rates": methods * rates * tuning * found["student_step_s"],
            "students": languages * methods * student * found["student_step_s"],
            "document vectors": (doc_tokens + ciral) / found["encode_tokens_per_s"],
            "search": (methods + 3) * languages * found["search_s"]}
    made = {name: round(seconds / 3600, 2) for name, seconds in made.items()}
    return made | {"all": round(sum(made.values()), 1)}


def report(found, args):
    """The measurements as Markdown."""
    saved = 1 - found["student_step_s"] / found["student_step_without_cache_s"]
    rows = [("parameters, millions", found["parameters_millions"]),
            ("documents encoded, tokens/s", f"{found['encode_tokens_per_s']:,}"),
            ("teacher, s a step of 32 queries, 64 documents", found["teacher_step_s"]),
            (f"OPTICAL, s a step of {args.batch} pairs", found["student_step_s"]),
            ("the same, teacher's vectors computed anew", found["student_step_without_cache_s"]),
            ("saved by computing them once", f"{saved:.1%}"),
            ("optimal transport, share of a step", f"{found['transport_share']:.1%}"),
            ("padding, share of a student's tokens", f"{found['padding_student']:.1%}"),
            ("pairs tokenised and ready", f"{found['pairs']:,} in {found['bitext_ready_s']} s"),
            ("collection written", f"{found['write_s']} s"),
            ("exact search, 151 queries", f"{found['search_s']} s"),
            ("document vectors on disk, GB", found["index_gb"]),
            ("teacher's vectors of a language's bitext on disk, GB", found["bitext_vectors_gb"]),
            ("memory of training, GB", found["training_memory_gb"]),
            ("memory of all, GB", found["memory_gb"])]
    hours = [(name, f"{value:,}") for name, value in found["hours"].items()]
    return (f"# The paper profile, rehearsed\n\n{found['device']}, {found['threads']} threads, "
            f"{'bfloat16' if found['bf16'] else 'float32'} inside the encoder. "
            "Made by `python optical.py rehearse`.\n\n"
            + evaluate.markdown(["measured", "value"], [(name, str(value)) for name, value in rows])
            + "\nHours of `bash run_all.sh paper` (tables 1 and 2) here, from these, without translation:\n\n"
            + evaluate.markdown(["part", "hours"], hours))

# SPDX-License-Identifier: MIT
"""The paper profile rehearsed at its real size with generated data: what it will take, before anyone waits.

    python optical.py rehearse --out out/rehearsal

An encoder of mBERT's size with random weights; 169,000 documents of 150 tokens, as many as CLEF's two
newspapers have; 500,000 sentence pairs; 151 queries. Tokenising, reading and search are done whole, on
made-up text and random vectors. Encoding and training, where a step costs what every step costs, are
measured for a while, and the hours of the profile follow from steps and tokens. Measured too: padding, the
share of optimal transport in a student's step, and what it saves to compute the teacher's vectors once.
"""
import shutil
import time
from pathlib import Path

import numpy as np
import torch

import data
import evaluate
import optical
import ot
import report
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


def trained(optimizer, loss):
    """One step of the optimizer down `loss`."""
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


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
    out, (docs, pairs) = Path(args.out), (300, 400) if args.tiny else (169_000, 500_000)
    out.mkdir(parents=True, exist_ok=True)
    words = Words(args.seed)
    encoder = make_encoder(words, out / "tokenizer", args)
    found = {"device": device_name(args.device), "threads": torch.get_num_threads(), "bf16": args.bf16,
             "parameters_millions": round(sum(p.numel() for p in encoder.parameters()) / 1e6, 1)}
    tokens_a_word = len(encoder.tokens(words.texts([2000]), "doc", 10_000)[0]) / 2000
    texts = words.texts(np.full(docs, max(1, round(150 / tokens_a_word))))
    queries = {f"q{i}": text for i, text in enumerate(words.texts(np.full(QUERIES, 15)))}
    found |= time_reading(out, words, pairs, encoder, args)
    sample = encoder.tokens(texts[:2000], "doc")
    found |= time_encoding(sample, encoder, args)
    found |= time_training(out, words, sample, encoder, args)
    found |= time_search(out, dict(zip(map(str, range(docs)), texts)), queries, encoder, args)
    found["memory_gb"] = round(peak_memory_gb(torch.device("cpu")), 2)
    found["bitext_vectors_gb"] = round(found["bitext_tokens"] * encoder.dim * 2 / 1e9, 2)
    found["hours"] = hours(found, docs * float(np.mean([len(row) for row in sample])))
    found["disk_gb"] = disk_gb(found, encoder.dim)
    write_json(out / "rehearsal.json", found)
    (out / "rehearsal.md").write_text(summary(found, args), encoding="utf-8")
    for name in ("index", "vectors", "data", "tokenizer"):
        shutil.rmtree(out / name)
    print((out / "rehearsal.md").read_text(encoding="utf-8"))


def time_reading(out, words, pairs, encoder, args):
    """A collection of `pairs` sentence pairs written, read, tokenised; the padding of its batches."""
    lengths = np.clip(words.rng.lognormal(2.9, 0.5, pairs), 3, 60).astype(int)       # 18 words, a long tail
    english, source = words.texts(lengths), words.texts(lengths)
    one = {"q0": english[0]}
    about = {"name": "made up", "family": "none", "class": "low", "pairs": pairs, "bitext": "made up"}
    began = time.monotonic()
    data.write_collection({
        "profile": "rehearsal", "seed": args.seed, "langs": {"xx": about}, "pretrain": None,
        "train": {"docs": {"d0": source[0]}, "queries": one, "triples": [("q0", "d0", [])],
                  "dev_queries": one, "dev_qrels": {"q0": {"d0": 1}}},
        "bitext": {"xx": {"train": list(zip(english, source)), "dev": [(english[0], source[0])]}},
        "docs": {"made up": {"d0": source[0]}}, "counts": [],
        "tests": [{"set": "xx", "lang": "xx", "name": "made up", "class": "low", "docs": "made up",
                   "queries": one, "english": one, "qrels": {"q0": {"d0": 1}}}]}, out / "data")
    written, began = time.monotonic() - began, time.monotonic()
    bitext = Bitext(out / "data", "xx", encoder, out / "vectors", max_tokens=64)
    ready = time.monotonic() - began
    batches = length_batches(bitext.rows.lengths, args.batch, 200, args.seed)
    return {"write_s": round(written, 1), "bitext_ready_s": round(ready, 1), "pairs": len(bitext.rows),
            "padding_student": round(float(padding(bitext.rows.lengths, batches)), 4),
            "bitext_tokens": int(bitext.english_rows.lengths.sum())}


def time_encoding(sample, encoder, args):
    """Tokens of documents encoded a second."""
    size = min(len(sample), max(1, 8192 // len(sample[0])))
    encoder.eval()

    def encode(i):
        start = i * size % (len(sample) - size + 1)
        with torch.inference_mode():
            on_grid(encoder(*encoder.pad(sample[start:start + size]))).half().cpu()

    calls, spent = timed(encode, args.seconds)
    tokens = calls * size * float(np.mean([len(row) for row in sample]))
    return {"encode_tokens_per_s": round(tokens / spent)}


def time_training(out, words, sample, encoder, args):
    """Seconds a step: teacher, student, student that encodes its English sides anew, transport alone."""
    few = Bitext(out / "data", "xx", encoder, out / "vectors", pairs=40 * args.batch, max_tokens=64)
    encoder.eval()
    vectors = few.vectors("query")
    own = length_batches(few.rows.lengths, args.batch, 1000, args.seed)
    asked = encoder.tokens(words.texts(np.full(500, 6)), "query")
    settings = optical.parser().parse_args([          # a student of OPTICAL as run_all.sh trains it
        "distil", "--data", "", "--teacher", "", "--cache", "", "--out", "", "--device", str(args.device),
        "--seed", str(args.seed)])
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-6, fused=True)
    encoder.train()

    def teach(i):                        # 32 queries, their positives and a negative each
        rng = np.random.default_rng([args.seed, i])
        q, d = rng.integers(0, len(asked), 32), rng.integers(0, len(sample), 64)
        loss, _ = teacher_loss(encoder, [asked[k] for k in q], [sample[k] for k in d], torch.arange(32),
                               torch.zeros(32, 64, dtype=torch.bool))
        trained(optimizer, loss)

    def learn(i):
        trained(optimizer, few.loss(encoder, "optical", own[i % len(own)], i, settings)[0])

    def learn_and_encode(i):
        with torch.inference_mode():
            encoder(*encoder.pad([few.english_rows[k] for k in own[i % len(own)]]))
        learn(i)

    t, t_mask = vectors.batch(own[0], args.device)
    s = torch.nn.functional.normalize(t + 0.1 * torch.randn_like(t), dim=-1)
    a = ot.uniform_marginal(t_mask)

    def transport(i):
        optical.PLANS["sinkhorn"](ot.cosine_cost(t, s), a, a, settings.epsilon)

    found = {}
    for name, step in (("teacher_step_s", teach), ("student_step_s", learn),
                       ("student_step_without_cache_s", learn_and_encode), ("transport_s", transport)):
        calls, spent = timed(step, args.seconds)
        found[name] = round(spent / calls, 4)
    return found | {"training_memory_gb": round(peak_memory_gb(torch.device(args.device)), 2)}


def time_search(out, docs, queries, encoder, args):
    """Exact search over every document: random vectors on disk, larger than a GPU's memory if need be."""
    began = time.monotonic()
    folder = random_vectors(out / "index", len(docs), 150, encoder.dim, args.seed)
    written, began = time.monotonic() - began, time.monotonic()
    run = search(encoder, queries, Vectors(folder), list(docs), depth=1000)
    spent = time.monotonic() - began
    evaluate.write_run(out / "run.trec", run, "rehearsal")
    return {"index_gb": round(sum(path.stat().st_size for path in folder.rglob("*.npy")) / 1e9, 2),
            "index_write_s": round(written, 1), "search_s": round(spent, 1)}


def random_vectors(folder, texts, length, dim, seed):
    """A folder of Vectors with random unit vectors, `length` a text, written a part at a time."""
    shard = folder / "00000"
    shard.mkdir(parents=True, exist_ok=True)
    shape = (texts * length, dim)
    flat = optical.new_array(shard / "vectors.npy", np.float16, shape)
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, shape[0], 1 << 18):
        part = torch.randn(min(1 << 18, shape[0] - start), dim, generator=generator)
        flat[start:start + len(part)] = on_grid(torch.nn.functional.normalize(part, dim=-1)).half().numpy()
    flat.flush()
    np.save(shard / "norms.npy", np.ones(shape[0], np.float32))
    np.save(shard / "offsets.npy", np.arange(texts + 1) * length)
    return folder


LANGUAGES = 7
CIRAL = 1_776_565 * 130               # tokens, about: passages translated from Somali and Swahili
MARCO = 3_000_000 * 75                # tokens, about: the passages that 3,200,000 triples name


def disk_gb(found, dim):
    """GB of the vectors that the paper profile keeps, tables 1 and 2: float16 and a float32 norm a token."""
    token = (2 * dim + 4) / 1e9
    made = {"document vectors": found["index_gb"] + CIRAL * token,
            "vectors of MS MARCO's passages": MARCO * token,
            "teacher vectors of the bitext": 2 * LANGUAGES * found["bitext_tokens"] * token}
    made = {name: round(size, 1) for name, size in made.items()}
    return made | {"all": round(sum(made.values()), 1)}


def hours(found, doc_tokens):
    """Hours of the parts of the paper profile, tables 1 and 2, from the steps of run_all.sh and tokens."""
    methods, rates = 6, 4             # optical, mean, greedy, contrastive, code-switch, translate-train
    teacher, student, tuning = 100_000, 20_000, 1_000       # a test compares these with run_all.sh
    bitext = 2 * LANGUAGES * found["bitext_tokens"]         # as queries and as documents
    made = {"teacher": teacher * found["teacher_step_s"],
            "teacher vectors of the bitext": bitext / found["encode_tokens_per_s"],
            "learning rates": methods * rates * tuning * found["student_step_s"],
            "vectors of MS MARCO's passages": MARCO / found["encode_tokens_per_s"],
            "students": LANGUAGES * methods * student * found["student_step_s"],
            "document vectors": (doc_tokens + CIRAL) / found["encode_tokens_per_s"],
            "search": (methods + 3) * LANGUAGES * found["search_s"]}
    made = {name: round(seconds / 3600, 2) for name, seconds in made.items()}
    return made | {"all": round(sum(made.values()), 1)}


def summary(found, args):
    """The measurements as Markdown."""
    saved = 1 - found["student_step_s"] / found["student_step_without_cache_s"]
    rows = [("parameters, millions", found["parameters_millions"]),
            ("documents encoded, tokens/s", f"{found['encode_tokens_per_s']:,}"),
            ("teacher, s a step of 32 queries, 64 documents", found["teacher_step_s"]),
            (f"OPTICAL, s a step of {args.batch} pairs", found["student_step_s"]),
            ("the same, teacher's vectors computed anew", found["student_step_without_cache_s"]),
            ("saved by computing them once", f"{saved:.1%}"),
            ("optimal transport, share of a step", f"{found['transport_s'] / found['student_step_s']:.1%}"),
            ("padding, share of a student's tokens", f"{found['padding_student']:.1%}"),
            ("pairs tokenised and ready", f"{found['pairs']:,} in {found['bitext_ready_s']} s"),
            ("collection written", f"{found['write_s']} s"),
            ("exact search, 151 queries", f"{found['search_s']} s"),
            ("document vectors on disk, GB", found["index_gb"]),
            ("teacher's vectors of a language's bitext on disk, GB", found["bitext_vectors_gb"]),
            ("memory of training, GB", found["training_memory_gb"]),
            ("memory of all, GB", found["memory_gb"])]
    return (f"# The paper profile, rehearsed\n\n{found['device']}, {found['threads']} threads, "
            f"{'bfloat16' if found['bf16'] else 'float32'} inside the encoder. "
            "Made by `python optical.py rehearse`.\n\n"
            + report.markdown(["measured", "value"], [(name, str(value)) for name, value in rows])
            + "\nHours of `bash run_all.sh paper` (tables 1 and 2) here, from these, without translation:\n\n"
            + report.markdown(["part", "hours"],
                                [(name, f"{value:,}") for name, value in found["hours"].items()])
            + "\nGB of vectors that it keeps on disk:\n\n"
            + report.markdown(["part", "GB"], [(name, f"{v:,}") for name, v in found["disk_gb"].items()]))

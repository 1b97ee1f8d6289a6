# SPDX-License-Identifier: MIT
"""The paper profile rehearsed at its real size with generated data: what it will take, before anyone waits.

    python tests/rehearse.py --out out/rehearsal

An encoder of mBERT's size with random weights; 169,000 documents of 150 tokens, as many as CLEF's two
newspapers have; 500,000 sentence pairs; 151 queries. Tokenising, reading and search are done whole, on
made-up text and random vectors. Encoding and training, where a step costs what every step costs, are
measured for a while, and the hours of the profile follow from steps and tokens. Measured too: padding, the
share of optimal transport in a student's step, and what it saves to compute the teacher's vectors once.
"""
import argparse
import os
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, BertConfig, BertModel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import data  # noqa: E402
import evaluate  # noqa: E402
import ot  # noqa: E402
from optical import (Bitext, Encoder, Vectors, length_batches, maxsim, on_grid,  # noqa: E402
                     optical_loss, ranking_loss, search, train_plan)
from study import experiment, students, tables  # noqa: E402

SIZES = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 64}
VOCABULARY = 105_879                  # bert-base-multilingual-uncased
QUERIES = 151                         # of CLEF, those with a relevant document
LANGUAGES = 7
CIRAL = 1_776_565 * 130               # tokens, about: passages translated from Somali and Swahili
MARCO = 3_000_000 * 75                # tokens, about: the passages that 3,200,000 triples name


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


def memory_gb(device):
    """The most memory that this process has had on a device."""
    return round((torch.cuda.max_memory_allocated() if device != "cpu" else
                  resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) / 1e9, 2)


def padding(lengths, batches):
    """Share of the tokens of batches that is padding."""
    lengths = np.asarray(lengths)
    return 1 - sum(lengths[b].sum() for b in batches) / sum(lengths[b].max() * len(b) for b in batches)


def make_encoder(words, folder, args):
    """An encoder of the given size with random weights and a tokenizer trained on generated text."""
    students.train_tokenizer(words.texts(np.full(20_000, 20)), 30_000, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(args.seed)
    config = BertConfig(vocab_size=max(VOCABULARY, len(tokenizer)), **(TINY if args.tiny else SIZES))
    encoder = Encoder(BertModel(config, add_pooling_layer=False), tokenizer, augment=True).to(args.device)
    encoder.bf16 = experiment.multiplies_bf16(args.device)
    return encoder.eval()


def time_reading(out, words, pairs, encoder, args):
    """A collection of `pairs` sentence pairs written, read, tokenised: its Bitext, and what that took."""
    lengths = np.clip(words.rng.lognormal(2.9, 0.5, pairs), 3, 60).astype(int)       # 18 words, a long tail
    english, source = words.texts(lengths), words.texts(lengths)
    one, qrels = {"q0": english[0]}, {"q0": {"d0": 1}}
    about = {"name": "made up", "family": "none", "class": "low", "pairs": pairs, "bitext": "made up"}
    began = time.monotonic()
    data.write_collection({
        "profile": "rehearsal", "seed": args.seed, "langs": {"xx": about}, "counts": [],
        "train": {"docs": {"d0": source[0]}, "queries": one, "triples": [("q0", "d0", [])],
                  "dev_queries": one, "dev_qrels": qrels},
        "bitext": {"xx": {"train": list(zip(english, source)), "dev": [(english[0], source[0])]}},
        "docs": {"made up": {"d0": source[0]}},
        "tests": [{"set": "xx", "lang": "xx", "name": "made up", "class": "low", "docs": "made up",
                   "queries": one, "english": one, "qrels": qrels}]}, out / "data")
    written, began = time.monotonic() - began, time.monotonic()
    bitext = Bitext(data.read_bitext(out / "data" / data.language(out / "data", "xx")["train"]), encoder)
    ready = time.monotonic() - began
    padded = padding(bitext.lengths, length_batches(bitext.lengths, args.batch, 200, args.seed))
    return bitext, {"write_s": round(written, 1), "bitext_ready_s": round(ready, 1),
                    "pairs": len(bitext.pairs), "padding_student": round(float(padded), 4),
                    "bitext_tokens": sum(map(len, bitext.english))}


def time_encoding(sample, encoder, args):
    """Tokens of documents encoded a second."""
    size = min(len(sample), max(1, 8192 // len(sample[0])))

    def encode(i):
        start = i * size % (len(sample) - size + 1)
        with torch.inference_mode():
            on_grid(encoder(sample[start:start + size])[0]).half().cpu()

    calls, spent = timed(encode, args.seconds)
    tokens = calls * size * float(np.mean([len(row) for row in sample]))
    return {"encode_tokens_per_s": round(tokens / spent)}


def time_training(words, pairs, sample, encoder, args):
    """Seconds a step: teacher, student, student that encodes its English sides anew, transport alone."""
    few = Bitext(pairs, encoder, most=40 * args.batch)
    own = length_batches(few.lengths, args.batch, 1000, args.seed)
    asked = encoder.tokens(words.texts(np.full(500, 6)), "query")
    t, t_mask = few.vectors("query").batch(own[0], args.device)
    s, a = F.normalize(t + 0.1 * torch.randn_like(t), dim=-1), ot.uniform_marginal(t_mask)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-6, fused=True)
    encoder.train()

    def down(loss):
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def teach(i):                        # 32 queries, their positives and a negative each
        rng = np.random.default_rng([args.seed, i])
        q, d = rng.integers(0, len(asked), 32), rng.integers(0, len(sample), 64)
        scores = maxsim(*encoder([asked[k] for k in q]), *encoder([sample[k] for k in d]))
        down(ranking_loss(scores, torch.arange(32), torch.zeros(32, 64, dtype=torch.bool))[0])

    def learn(i):
        down(optical_loss(few.batch(encoder, own[i % len(own)], i, "query"))[0])

    def learn_and_encode(i):
        with torch.inference_mode():
            encoder([few.english[k] for k in own[i % len(own)]])
        learn(i)

    def transport(i):
        train_plan(ot.cosine_cost(t, s), a, a, 0.05)

    found = {}
    for name, step in (("teacher_step_s", teach), ("student_step_s", learn),
                       ("student_step_without_cache_s", learn_and_encode), ("transport_s", transport)):
        calls, spent = timed(step, args.seconds)
        found[name] = round(spent / calls, 4)
    return found | {"training_memory_gb": memory_gb(args.device)}


def time_search(out, docs, queries, encoder):
    """Exact search over `docs` documents: random vectors on disk, larger than a GPU's memory if need be."""
    began, length = time.monotonic(), 150
    flat = np.memmap(out / "index", np.float16, "w+", shape=(docs * length, encoder.dim))
    for start in range(0, len(flat), 1 << 18):
        part = flat[start:start + (1 << 18)]
        part[:] = on_grid(F.normalize(torch.randn(part.shape), dim=-1)).half().numpy()
    flat.flush()
    index = Vectors([str(i) for i in range(docs)], flat, None, np.arange(docs + 1) * length)
    written, began = time.monotonic() - began, time.monotonic()
    run = search(encoder, queries, index)
    spent = time.monotonic() - began
    evaluate.write_run(out / "run.trec", run, "rehearsal")
    return {"index_gb": round(flat.nbytes / 1e9, 2), "index_write_s": round(written, 1),
            "search_s": round(spent, 1)}


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
    methods, rates = 7, 4             # contrastive, optical, ours, mean, greedy, code-switch, translate-train
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
            "Made by `python tests/rehearse.py`.\n\n"
            + tables.markdown(["measured", "value"], [(name, str(value)) for name, value in rows])
            + "\nHours of `bash run_all.sh paper` (tables 1 and 2) here, from these, without translation:\n\n"
            + tables.markdown(["part", "hours"], [(name, f"{v:,}") for name, v in found["hours"].items()])
            + "\nGB of vectors that it keeps on disk:\n\n"
            + tables.markdown(["part", "GB"], [(name, f"{v:,}") for name, v in found["disk_gb"].items()]))


def main(argv=None):
    """Measures every part of the paper profile at its size, on generated data: OUT/rehearsal.json and .md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add, gpu = parser.add_argument, torch.cuda.is_available()
    add("--out", required=True, type=Path, help="folder for rehearsal.json, rehearsal.md, run.trec")
    add("--tiny", action="store_true", help="a tiny encoder and collection: does it run?")
    add("--batch", type=int, default=128, help="sentence pairs a step, default 128")
    add("--seconds", type=float, default=60, help="how long a step is measured, default 60")
    add("--device", default="cuda" if gpu else "cpu", help="cpu or cuda, default cuda where there is one")
    add("--seed", type=int, default=1, help="of texts and weights, default 1")
    args = parser.parse_args(argv)
    out, (docs, pairs), words = args.out, (300, 400) if args.tiny else (169_000, 500_000), Words(args.seed)
    out.mkdir(parents=True, exist_ok=True)
    encoder = make_encoder(words, out / "tokenizer", args)
    cpu = args.device == "cpu"
    found = {"device": f"cpu, {os.cpu_count()} cores" if cpu else torch.cuda.get_device_name(args.device),
             "threads": torch.get_num_threads(), "bf16": encoder.bf16,
             "parameters_millions": round(sum(p.numel() for p in encoder.parameters()) / 1e6, 1)}
    tokens_a_word = len(encoder.tokens(words.texts([2000]), "doc", 10_000)[0]) / 2000
    texts = words.texts(np.full(min(docs, 2000), max(1, round(150 / tokens_a_word))))
    queries = {f"q{i}": text for i, text in enumerate(words.texts(np.full(QUERIES, 15)))}
    bitext, read = time_reading(out, words, pairs, encoder, args)
    sample = encoder.tokens(texts, "doc")
    found |= read | time_encoding(sample, encoder, args)
    found |= time_training(words, bitext.pairs[:100 * args.batch], sample, encoder, args)
    found |= time_search(out, docs, queries, encoder)
    found |= {"memory_gb": memory_gb("cpu"),
              "bitext_vectors_gb": round(found["bitext_tokens"] * encoder.dim * 2 / 1e9, 2)}
    found["hours"] = hours(found, docs * float(np.mean([len(row) for row in sample])))
    found["disk_gb"] = disk_gb(found, encoder.dim)
    experiment.write_json(out / "rehearsal.json", found)
    evaluate.write_text(out / "rehearsal.md", summary(found, args))
    (out / "index").unlink()
    shutil.rmtree(out / "data")
    shutil.rmtree(out / "tokenizer")
    print(summary(found, args))


if __name__ == "__main__":
    main()

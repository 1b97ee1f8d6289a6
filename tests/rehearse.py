# SPDX-License-Identifier: MIT
"""The paper profile rehearsed at its real size with generated data: what it will take, before anyone waits.

    python tests/rehearse.py --out out/rehearsal

An encoder of mBERT's size with random weights; 169,000 documents of 150 tokens, as many as CLEF's two
newspapers have; 500,000 sentence pairs; 151 queries. Tokenising, reading and search are done whole, on
made-up text and random vectors. Encoding and training, where a step costs what every step costs, are
measured for a while.

What a step asks of any device is counted: floating-point operations of its matrix products, bytes that its
operations read and write, kernels. The hours on a GPU follow, from the steps and tokens of run_all.sh paper:
a step takes operations / (PEAK x MATMUL) + bytes / (BANDWIDTH x STREAM), or kernels x LAUNCH, the larger.
Each operation's bytes are taken to come from memory and go there, which caches and fused kernels spare.
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
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer, BertConfig, BertModel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import data  # noqa: E402
import evaluate  # noqa: E402
import optical  # noqa: E402
import ot  # noqa: E402
from optical import (Bitext, Encoder, Vectors, length_batches, maxsim, on_grid,  # noqa: E402
                     optical_loss, ranking_loss, search, train_plan)
from study import experiment, students, tables  # noqa: E402

SIZES = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 64}
VOCABULARY = 105_879                  # bert-base-multilingual-uncased
QUERIES = 151                         # of CLEF, those with a relevant document
LANGUAGES, SEARCHED = 7, 10           # query languages; runs of each: 7 students, zero-shot, English, NMT
CIRAL = 1_776_565 * 130               # tokens, about: passages translated from Somali and Swahili
PASSAGE = 80                          # tokens of one of MS MARCO's, about
TRAIN_QUERIES = 500_000               # of MS MARCO's triples, about, translated into the five languages that
TRANSLATED = 5 * TRAIN_QUERIES * 12   # mMARCO lacks: tokens
NLLB, BEAMS = 615e6, 5                # parameters of its distilled model

GPU = "A100 80 GB"
PEAK, FLOAT32, BANDWIDTH = 312e12, 19.5e12, 2.0e12    # a second: bfloat16 and float32 operations, bytes
MATMUL, STREAM = 0.6, 0.8             # shares of these that large products and long vectors reach
LAUNCH = 8e-6                         # s a kernel: Python's and PyTorch's, when the GPU is the faster


class Counter(TorchDispatchMode):
    """Counts kernels and the bytes that they read and write, of all operations but views."""

    def __init__(self):
        super().__init__()
        self.bytes = self.kernels = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if not func.is_view:
            written = args[:1] if func.__name__.split(".")[0].endswith("_") else made      # in place
            leaves = [x for x in tree_leaves([args, kwargs, written]) if isinstance(x, torch.Tensor)]
            self.bytes += sum(x.numel() * x.element_size() for x in leaves)
            self.kernels += 1
        return made


def counted(step):
    """{"tflop", "gb", "kernels"} of step(0), as a GPU would be asked, which is not waited for."""
    own, optical.on_cpu = optical.on_cpu, lambda tensor: False
    try:
        with FlopCounterMode(display=False) as flops, Counter() as count:
            step(0)
    finally:
        optical.on_cpu = own
    return {"tflop": flops.get_total_flops() / 1e12, "gb": count.bytes / 1e9, "kernels": count.kernels}


def gpu_seconds(count):
    """Seconds of a step on GPU."""
    busy = count["tflop"] * 1e12 / (PEAK * MATMUL) + count["gb"] * 1e9 / (BANDWIDTH * STREAM)
    return max(busy, count["kernels"] * LAUNCH)


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
    """Tokens of documents encoded a second; what a batch of them asks."""
    size = min(len(sample), max(1, 8192 // len(sample[0])))

    @torch.inference_mode()
    def encode(i):
        start = i * size % (len(sample) - size + 1)
        on_grid(encoder(sample[start:start + size])[0]).half().cpu()

    calls, spent = timed(encode, args.seconds)
    tokens = size * float(np.mean([len(row) for row in sample]))
    return {"encode_tokens_per_s": round(calls * tokens / spent),
            "counts": {"encode": counted(encode) | {"tokens": tokens}}}


def time_training(words, pairs, sample, encoder, args):
    """Seconds a step, and what it asks: teacher, student, student that encodes its English sides anew or has
    judged queries and the passages encoded of these, transport alone.
    """
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

    def ranked(i, n, learns):            # n queries, their positives and a negative each
        rng = np.random.default_rng([args.seed, i])
        q, d = rng.integers(0, len(asked), n), rng.integers(0, len(sample), 2 * n)
        with torch.set_grad_enabled(learns):
            shown = encoder([sample[k][:PASSAGE] for k in d])
        scores = maxsim(*encoder([asked[k] for k in q]), *shown)
        down(ranking_loss(scores, torch.arange(n), torch.zeros(n, 2 * n, dtype=torch.bool))[0])

    def teach(i):
        ranked(i, 32, True)

    def supervise(i):                    # its documents are the teacher's, encoded in the step
        ranked(i, args.batch, False)

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
    found["counts"] = {name: counted(step) for name, step in (
        ("teacher", teach), ("student", learn), ("supervised", supervise), ("transport", transport))}
    return found | {"training_memory_gb": memory_gb(args.device)}


def time_search(out, docs, queries, encoder):
    """Exact search over `docs` documents: random vectors on disk, larger than a GPU's memory if need be."""
    began, length = time.monotonic(), 150
    flat = np.memmap(out / "index", np.int8, "w+", shape=(docs * length, encoder.dim))
    for start in range(0, len(flat), 1 << 18):
        part = flat[start:start + (1 << 18)]
        part[:] = (F.normalize(torch.randn(part.shape), dim=-1) * 128).round().clamp(max=127).numpy()
    flat.flush()
    index = Vectors([str(i) for i in range(docs)], flat, None, np.arange(docs + 1) * length)
    written, began = time.monotonic() - began, time.monotonic()
    run = search(encoder, queries, index)
    spent = time.monotonic() - began
    evaluate.write_run(out / "run.trec", run, "rehearsal")
    tokens = sum(map(len, encoder.tokens(queries.values(), "query")))
    return {"index_gb": round(flat.nbytes / 1e9, 2), "index_write_s": round(written, 1),
            "search_s": round(spent, 1), "search_tflop": 2 * tokens * len(flat) * encoder.dim / 1e12}


def disk_gb(found, dim):
    """GB that the paper profile keeps, tables 1 and 2: [(stage, what, GB), ...]. More than 100,000 documents
    have a byte a component; vectors of so many sentences, and of MS MARCO's passages, are made again each time.
    """
    model = 4 * found["parameters_millions"] / 1000
    made = [("data", "texts of MS MARCO, of CIRAL, sentence pairs", 1.3 + 1.6 + LANGUAGES * 0.1),
            ("teacher", "mBERT, the teacher, a checkpoint", 5 * model),
            ("nmt", "NLLB", 2.5),
            ("search", "vectors of CLEF's documents", found["index_gb"]),
            ("search", "vectors of CIRAL's passages", CIRAL * (dim + 4) / 1e9),
            ("students", "OPTICAL's and ours, of each language", 2 * LANGUAGES * model)]
    return [(*row, round(size, 1)) for *row, size in made]


def steps_of(found):
    """{stage: [(part, how many steps, its counts), ...]} of tables 1 and 2, from the steps of run_all.sh."""
    from_bitext, judged, rates = 5, 2, 4      # contrastive, optical, ours, mean, greedy; code-switch, translate-train
    teacher, student, tuning = 100_000, 20_000, 2_000       # a test compares these with run_all.sh
    counts, bitext = found["counts"], 2 * LANGUAGES * found["bitext_tokens"]     # as queries and as documents
    batches = lambda tokens: tokens / counts["encode"]["tokens"]
    documents = found["document_tokens"] + CIRAL
    return {
        "teacher": [("steps", teacher, counts["teacher"])],
        "search": [("documents encoded", batches(documents), counts["encode"])],
        "tune": [("steps on bitext", from_bitext * rates * tuning, counts["student"]),
                 ("steps on judged queries", judged * rates * tuning, counts["supervised"])],
        "students": [("bitext encoded", batches(bitext), counts["encode"]),
                     ("steps on bitext", LANGUAGES * from_bitext * student, counts["student"]),
                     ("steps on judged queries", LANGUAGES * judged * student, counts["supervised"])]}


def hours(found):
    """Hours of the stages of the paper profile on GPU: [[stage, part, steps, s a step, hours], ...]."""
    rows = [(stage, part, steps, gpu_seconds(count), steps * gpu_seconds(count) / 3600)
            for stage, parts in steps_of(found).items() for part, steps, count in parts]
    # A batch of 64 queries: a product with each weight for every token and beam, and, token by token, some 40
    # kernels in each of 24 layers, which the host has to order.
    batches, decoded = TRANSLATED / 12 / 64, TRANSLATED / 64
    spent = TRANSLATED * BEAMS * 2 * NLLB / (PEAK * MATMUL) + decoded * 24 * 40 * LAUNCH
    rows.append(("nmt", "queries translated, 64 at a time", batches, spent / batches, spent / 3600))
    # Each language as if it had CLEF's and both of CIRAL's collections: too much rather than too little.
    index, clef = (CIRAL + found["document_tokens"]) / found["document_tokens"], found["search_tflop"] * 1e12
    spent = clef * index / (FLOAT32 * MATMUL)
    rows.append(("search", "documents searched", SEARCHED * LANGUAGES, spent, SEARCHED * LANGUAGES * spent / 3600))
    return [[*row[:2], round(row[2]), round(row[3], 4), round(row[4], 2)] for row in rows]


def summary(found, args):
    """The measurements as Markdown."""
    saved = 1 - found["student_step_s"] / found["student_step_without_cache_s"]
    rows = [("parameters, millions", found["parameters_millions"]),
            ("documents encoded, tokens/s", f"{found['encode_tokens_per_s']:,}"),
            (f"teacher, s a step of 32 queries, 64 passages of {PASSAGE} tokens", found["teacher_step_s"]),
            (f"OPTICAL, s a step of {args.batch} pairs", found["student_step_s"]),
            ("the same, teacher's vectors computed anew", found["student_step_without_cache_s"]),
            ("saved by computing them once", f"{saved:.1%}"),
            ("optimal transport, share of a step", f"{found['transport_s'] / found['student_step_s']:.1%}"),
            ("padding, share of a student's tokens", f"{found['padding_student']:.1%}"),
            ("pairs tokenised and ready", f"{found['pairs']:,} in {found['bitext_ready_s']} s"),
            ("collection written", f"{found['write_s']} s"),
            ("exact search, 151 queries, 169,000 documents", f"{found['search_s']} s"),
            ("memory of training, GB", found["training_memory_gb"]),
            ("memory of all, GB", found["memory_gb"])]
    counts = [(name, f"{c['tflop']:.4f}", f"{c['gb']:.2f}", f"{c['kernels']:,}", f"{1000 * gpu_seconds(c):.1f}",
               f"{c['tflop'] * 1e12 / gpu_seconds(c) / PEAK:.0%}") for name, c in found["counts"].items()]
    total, disk = (round(sum(row[-1] for row in found[key]), 1) for key in ("hours", "disk_gb"))
    told = [(stage, part, f"{steps:,}", f"{each:.4f}", f"{hour:.2f}") for stage, part, steps, each, hour in found["hours"]]
    return (f"# The paper profile, rehearsed\n\n{found['device']}, {found['threads']} threads, "
            f"{'bfloat16' if found['bf16'] else 'float32'} inside the encoder. "
            "Made by `python tests/rehearse.py`. The machine may have had other work: its seconds are rough.\n\n"
            + tables.markdown(["measured here", "value"], [(name, str(value)) for name, value in rows])
            + "\nCounted, which is the same on every device: operations of matrix products, bytes that all operations "
            f"read and write, kernels. On a GPU of {PEAK / 1e12:.0f} TFLOP/s in bfloat16 and {BANDWIDTH / 1e12:.1f} TB/s "
            f"({GPU}) a step takes operations at {MATMUL:.0%} of the peak and bytes at {STREAM:.0%}, one after the other, "
            f"as large products and long vectors reach these; or {1e6 * LAUNCH:.0f} microseconds a kernel, which Python "
            "and PyTorch take to order one, if that is longer. It comes to the share of the peak in the last column.\n\n"
            + tables.markdown(["a step of", "TFLOP", "GB", "kernels", "ms", "of the peak"], counts)
            + f"\nHours of `bash run_all.sh paper` (tables 1 and 2) on one {GPU}, from these:\n\n"
            + tables.markdown(["stage", "part", "steps", "s each", "hours"], [*told, ("all", "", "", "", str(total))])
            + "\nCPU stages (reading, BM25, Model 1) are not in it. GB on disk, beside the downloads, which may go when the "
            "collection is written:\n\n"
            + tables.markdown(["stage", "kept", "GB"], [
                *((*row, str(size)) for *row, size in found["disk_gb"]), ("all", "", str(disk))]))


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
    trained = time_training(words, bitext.pairs[:100 * args.batch], sample, encoder, args)
    trained["counts"] = found["counts"] | trained["counts"]
    found |= trained | time_search(out, docs, queries, encoder) | {"memory_gb": memory_gb("cpu")}
    found["document_tokens"] = round(docs * float(np.mean([len(row) for row in sample])))
    found |= {"hours": hours(found), "disk_gb": disk_gb(found, encoder.dim)}
    cost = {}                            # of each stage, for PLAN=1: seconds, GB
    for place, key, unit in ((0, "hours", 3600), (1, "disk_gb", 1)):
        for stage, *_, value in found[key]:
            cost.setdefault(stage, [0, 0])[place] += value * unit
    evaluate.write_text(out / "stages.tsv", f"languages\t{LANGUAGES}\n" + "".join(
        f"{stage}\t{seconds:.0f}\t{size:.1f}\n" for stage, (seconds, size) in cost.items()))
    experiment.write_json(out / "rehearsal.json", found)
    evaluate.write_text(out / "rehearsal.md", summary(found, args))
    (out / "index").unlink()
    shutil.rmtree(out / "data")
    shutil.rmtree(out / "tokenizer")
    print(summary(found, args))


if __name__ == "__main__":
    main()

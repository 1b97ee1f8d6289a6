# SPDX-License-Identifier: MIT
"""A student's step, encoding, the kinds of AdamW, by size of encoder; exact search; shares of the device's peak.

    python tests/bench_train.py [--sizes 4x128 6x384 12x768] [--batch 32] [--device cpu] [--out FILE.md]

Encoders of LAYERSxWIDTH with random weights. A student's step is one of OPTICAL: forward, plan, backward,
on batches of pairs of made-up lengths as training draws them. AdamW's kinds take turns on the same gradients.
Peak: what this device reaches in a product of large square matrices, of the encoder's precision, or in float32
for search. Operations are those of matrix products, counted.
"""
import argparse
import importlib.util
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import evaluate  # noqa: E402
import optical  # noqa: E402
from bench_ot import machine, timed  # noqa: E402
from rehearse import Words, counted  # noqa: E402
from study import experiment, students, tables  # noqa: E402


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--sizes", nargs="+", default=["4x128", "6x384", "12x768"], help="LAYERSxWIDTH ...")
    parser.add_argument("--batch", type=int, default=32, help="sentence pairs a step (default: 32)")
    parser.add_argument("--rounds", type=int, default=10, help="batches each variant sees (default: 10)")
    parser.add_argument("--docs", type=int, default=2000, help="documents that are searched (default: 2000)")
    parser.add_argument("--vocab", type=int, default=30_522, help="entries of the vocabulary")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all)")
    parser.add_argument("--before", help="a commit: its step and search take turns with this one's")
    parser.add_argument("--out", default=HERE.parent / "results" / "bench-train.md", help="report to write")
    args = parser.parse_args(argv)
    args.bf16 = experiment.multiplies_bf16(args.device)
    return args


def peak(args, dtype):
    """Operations a second of a product of square matrices of `dtype`."""
    n = 1024 if args.device == "cpu" else 8192
    x = torch.ones(n, n, dtype=dtype, device=args.device)
    with torch.inference_mode():
        return 2 * n ** 3 / statistics.median(timed(lambda: x @ x, args.device)[0] for _ in range(12))


def search(args):
    """Seconds, and operations, of exact search: 151 queries of 32 tokens, documents of 150."""
    class Asked:                                       # an encoder whose queries' vectors are given
        projection = torch.nn.Linear(1, 1, device=args.device)

    def unit(*shape):
        return optical.on_grid(torch.nn.functional.normalize(torch.randn(*shape), dim=-1)).half().numpy()

    def vectors(texts, tokens):
        flat = unit(texts * tokens, 128)
        return optical.Vectors([str(i) for i in range(texts)], flat, None, np.arange(texts + 1) * tokens)

    asked, index = vectors(151, 32), vectors(args.docs, 150)
    queries = {name: "" for name in asked.ids}
    own, optical.Vectors.encode = optical.Vectors.encode, lambda *given: asked
    try:
        seconds = [timed(lambda: optical.search(Asked, queries, index), args.device)[0] for _ in range(4)]
    finally:
        optical.Vectors.encode = own
    return statistics.median(seconds[1:]), 2 * len(asked.flat) * len(index.flat) * 128


def make_encoder(size, folder, args):
    """An encoder of `size` with random weights; the tokenizer is there for its special tokens only."""
    layers, width = map(int, size.split("x"))
    torch.manual_seed(1)
    config = BertConfig(vocab_size=args.vocab, hidden_size=width, num_hidden_layers=layers,
                        num_attention_heads=width // 32 if width < 768 else width // 64,
                        intermediate_size=4 * width)
    backbone = BertModel(config, add_pooling_layer=False)
    encoder = optical.Encoder(backbone, AutoTokenizer.from_pretrained(folder)).to(args.device)
    encoder.bf16 = args.bf16
    return encoder


def module_of(commit, folder):
    """optical.py of a commit, with the ot.py of that commit."""
    for name in ("ot", "optical"):
        text = subprocess.run(["git", "show", f"{commit}:{name}.py"], cwd=HERE.parent, check=True,
                              capture_output=True).stdout
        path = pathlib.Path(folder, f"{name}.py")
        path.write_bytes(text)
        spec = importlib.util.spec_from_file_location(f"{name}_before", path)
        module = importlib.util.module_from_spec(spec)
        own, sys.modules["ot"] = sys.modules["ot"], sys.modules.get("ot_before", sys.modules["ot"])
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        sys.modules["ot"] = own
    return module


def compare(encoder, folder, args):
    """Rows: a step of distillation and a search, before and after, ms, and the median ratio of pairs."""
    words, modules = Words(2, 2000), [module_of(args.before, folder), optical]
    texts = [words.texts(np.full(2 * args.batch, 9)) for _ in range(2)]
    pairs, docs = list(zip(*texts)), {str(i): text for i, text in enumerate(words.texts(np.full(400, 50)))}
    queries, calls = dict(list(docs.items())[:50]), {"a step": [], "a search": []}
    for module in modules:
        own = module.Encoder(encoder.backbone, encoder.tokenizer).to(args.device)
        own.bf16 = args.bf16
        bitext, index = module.Bitext(pairs, own), module.Vectors.encode(own, docs, "doc")

        def step(bitext=bitext, module=module, own=own):
            own.train().zero_grad(set_to_none=True)
            module.optical_loss(bitext.batch(own, np.arange(args.batch), 0, "query"))[0].backward()

        calls["a step"].append(step)
        calls["a search"].append(lambda index=index, module=module, own=own: module.search(own, queries, index))
    for name, both in calls.items():
        rounds = [[timed(call, args.device)[0] for call in both] for _ in range(args.rounds + 1)][1:]
        old, new = (f"{1000 * statistics.median(seconds):,.0f}" for seconds in zip(*rounds))
        yield [name, old, new, f"{statistics.median(b / a for b, a in rounds):.2f}"]


def measure(encoder, args):
    """{name: seconds} of a step, of encoding, of AdamW: medians."""
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.lognormal(3.2, 0.5, 64 * args.batch), 4, 64).astype(int)
    rows = [rng.integers(10, args.vocab, n).astype(np.int32) for n in lengths]
    batches = optical.length_batches(lengths, args.batch, args.rounds + 3, 1)
    batches = [[rows[i] for i in index] for index in batches]

    def learn(model, batch):
        s, mask = model(batch)
        generator = torch.Generator().manual_seed(1)
        noise = 0.1 * torch.randn(s.shape, generator=generator).to(args.device)
        t = torch.nn.functional.normalize(s.detach() + noise, dim=-1)            # a teacher near its student
        model.zero_grad(set_to_none=True)
        optical.optical_loss(optical.Batch(s, mask, t, mask, None, None, None))[0].backward()

    def encode(model, batch):
        with torch.inference_mode():
            model(batch)

    found = {}
    for name, call, mode in (("step", learn, True), ("encoding", encode, False)):
        encoder.train(mode)
        seconds = [timed(lambda b=batch: call(encoder, b), args.device)[0] for batch in batches]
        found[f"{name}_s"] = statistics.median(seconds[3:])
        tokens = [sum(map(len, batch)) for batch in batches]
        found[f"{name}_tokens"] = statistics.median(n / s for n, s in zip(tokens[3:], seconds[3:]))
    encoder.train()
    found["flop_a_token"] = 1e12 * counted(lambda i: learn(encoder, batches[3]))["tflop"] / tokens[3]
    learn(encoder, batches[0])
    kinds = {"fused": {"fused": True}, "foreach": {"foreach": True}, "loop": {"foreach": False}}
    optimizers = {k: torch.optim.AdamW(encoder.parameters(), lr=1e-9, **how) for k, how in kinds.items()}
    rounds = [[timed(optimizer.step, args.device)[0] for optimizer in optimizers.values()]
              for _ in range(args.rounds + 1)]
    for kind, seconds in zip(kinds, zip(*rounds[1:])):
        found[f"adamw_{kind}_s"] = statistics.median(seconds)
    return found


def text(found, searched, peaks, args):
    """The measurements as Markdown."""
    ms = lambda seconds: f"{1000 * seconds:,.1f}"                                # noqa: E731
    rows = [[size, f"{one['parameters'] / 1e6:.1f}", ms(one["step_s"]), f"{one['step_tokens']:,.0f}",
             f"{one['flop_a_token'] * one['step_tokens'] / peaks[0]:.0%}", ms(one["encoding_s"]),
             f"{one['encoding_tokens']:,.0f}"] for size, one in found.items()]
    seconds, operations = searched
    optimizers = [[size, *(ms(one[f"adamw_{kind}_s"]) for kind in ("fused", "foreach", "loop")),
                   f"{one['adamw_fused_s'] / one['step_s']:.0%}"] for size, one in found.items()]
    precision = "bfloat16" if args.bf16 else "float32"
    return (f"# A student's step, encoding, AdamW\n\nMachine: {machine(args.device)}; device {args.device}, "
            f"{args.threads} thread(s), {precision} inside the encoder. Versions: torch {torch.__version__}, "
            f"Python {platform.python_version()}.\n\nMade by `python tests/bench_train.py --batch "
            f"{args.batch} --threads {args.threads} --device {args.device} --rounds {args.rounds}"
            + (f" --before {args.before}" if args.before else "") + "`: encoders "
            f"of LAYERSxWIDTH, random weights, {args.batch} pairs of up to 64 tokens; medians. The machine may "
            "have other work: compare within a run. On a CPU a time is that of all its threads, added up.\n\n"
            + tables.markdown(["size", "million parameters", "step, ms", "tokens/s", "of the peak",
                               "encoding, ms", "tokens/s"], rows)
            + f"\nPeak: {peaks[0] / 1e12:.2f} TFLOP/s in {precision}, {peaks[1] / 1e12:.2f} in float32. Search of 151 "
            f"queries in {args.docs:,} documents: {ms(seconds)} ms, {operations / seconds / peaks[1]:.0%} of the peak "
            "in float32.\n"
            + "\nAdamW, ms a step; share: of a student's step before it.\n\n"
            + tables.markdown(["size", "fused", "foreach", "loop", "fused, share"], optimizers))


def main(argv=None):
    args, found = parse(argv), {}
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        students.train_tokenizer(Words(1, 1000).texts(np.full(200, 20)), 500, folder)
        for size in args.sizes:
            encoder = make_encoder(size, folder, args)
            parameters = sum(p.numel() for p in encoder.parameters())
            found[size] = {"parameters": parameters, **measure(encoder, args)}
            print(size, found[size], flush=True)
        rows = list(compare(encoder, folder, args)) if args.before else []
    peaks = [peak(args, torch.bfloat16 if args.bf16 else torch.float32), peak(args, torch.float32)]
    told = text(found, search(args), peaks, args)
    told += f"\nBefore ({args.before}) and after, at {size}, taking turns; ratio: how many times as fast.\n\n" + (
        tables.markdown(["", "before, ms", "after, ms", "ratio"], rows)) if rows else ""
    evaluate.write_text(args.out, told)


if __name__ == "__main__":
    main()

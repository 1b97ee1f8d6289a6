# SPDX-License-Identifier: MIT
"""ot.py against the two kernels of POT's ot.batch, on the same cost tensors, at equal marginal error.

    python tests/bench_ot.py [--peers DIR] [--device cpu] [--out results/bench-ot.md]

The comparison runs in a subprocess from an empty directory, because our ot.py hides POT's `import ot`;
--peers is a directory that POT lies in, if this python has none. One process, one thread. Every round times
each solver once, so that all meet the same machine; the table gives medians and the median of the ratios
within a round. POT runs as it comes (tol 1e-5, at most 1,000 passes) and its worst marginal error, the larger
L1 error of the two marginals, is measured on the plan it returns. Ours is then asked for that error, though
not under 1e-6, near the floor of float32. Seconds are the process's own on a CPU, as other work shares the
machine.
"""
import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
H, NEAR = 64, 0.1  # width of the vectors; noise per coordinate, a student close to its teacher
CELLS = list(itertools.product(("near copies", "unrelated"), (8, 32, 256), (16, 32, 64), ("full", "ragged"),
                               (0.1, 0.05)))
WITHOUT = {"over-relaxation": {"OMEGA": 1.0}, "Newton steps": {"PATIENCE": 10**6},
           "both": {"OMEGA": 1.0, "PATIENCE": 10**6}}


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--peers", default="", help="directory that POT lies in (default: python's own)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--rounds", type=int, default=7, help="a case; slow solvers: 3 (default: 7)")
    parser.add_argument("--out", default=HERE.parent / "results" / "bench-ot.md", help="the report to write")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def machine(device):
    import torch
    if device == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())


def problem(ours, device, data, B, N, lengths):
    """Cosine costs (B, N, N) and uniform marginals; ragged: lengths from a quarter of N up."""
    import torch
    random = torch.Generator().manual_seed(N)
    x, y = torch.randn(B, N, H, generator=random), torch.randn(B, N, H, generator=random)
    x = torch.nn.functional.normalize(x, dim=-1)
    y = torch.nn.functional.normalize(x + NEAR * y if data == "near copies" else y, dim=-1)
    sizes = torch.randint(N // 4 if lengths == "ragged" else N, N + 1, (2, B, 1), generator=random)
    a, b = (ours.uniform_marginal(torch.arange(N) < n).to(device) for n in sizes)
    return ours.cosine_cost(x.to(device), y.to(device)), a, b


def timed(call, device, repeats=1):
    """(seconds a call, what it returns)."""
    import torch
    clock = time.process_time if device == "cpu" else time.perf_counter
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = clock()
    for _ in range(repeats):
        result = call()
    wait()
    return (clock() - start) / repeats, result


def compare(calls, rounds, device):
    """{name: seconds of each round} of calls that alternate; short ones are repeated to fill 10 ms."""
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, int(0.01 / timed(call, device)[0]))
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(timed(call, device, repeats[name])[0])
    return times


def child(args):
    """Prints one JSON object: versions and rows."""
    import torch
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("transport", HERE.parent / "ot.py")
    ours = sys.modules["transport"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ours)
    from ot.batch import solve_batch
    settings = {"OMEGA": ours.OMEGA, "PATIENCE": ours.PATIENCE}

    def error(plan):
        return float(torch.maximum((plan.sum(2) - a).abs().sum(1), (plan.sum(1) - b).abs().sum(1)).max())

    def solve(tol, **changed):
        vars(ours).update({**settings, **changed})
        return ours.sinkhorn(C, a, b, epsilon, tol=tol, warn=False)
    rows = []
    for data, B, N, lengths, epsilon in CELLS:
        C, a, b = problem(ours, args.device, data, B, N, lengths)
        row = {"data": data, "B": B, "N": N, "lengths": lengths, "epsilon": epsilon}
        for kernel in ("sinkhorn", "log_sinkhorn"):
            def peer():
                return solve_batch(C, epsilon, a, b, 1000, 1e-5, kernel, grad="detach").plan
            seconds, plan = timed(peer, args.device)
            tol = max(error(plan), 1e-6)
            calls = {"peer": peer, "ours": lambda: solve(tol)}
            if kernel == "sinkhorn":
                for name, changed in WITHOUT.items():
                    calls[name] = lambda changed=changed: solve(tol, **changed)
            times = compare(calls, args.rounds if seconds < 0.2 else 3, args.device)
            row[kernel] = {name: statistics.median(t) for name, t in times.items()}
            for name in set(times) - {"ours"}:
                ratios = [p / q for p, q in zip(times[name], times["ours"])]
                row[kernel]["ratio" if name == "peer" else f"without {name}"] = statistics.median(ratios)
            t = solve(tol)
            row[kernel] |= {"error": tol, "passes": float(t.iterations.float().mean())}
        rows.append(row)
        print(".", end="", file=sys.stderr, flush=True)
    versions = {p: importlib.metadata.version(p) for p in ("torch", "POT")}
    print(json.dumps({"versions": versions, "machine": machine(args.device), "rows": rows}))


def text(report, args):
    versions = ", ".join(f"{p} {v}" for p, v in report["versions"].items())
    rows = report["rows"]
    lines = [
        "# ot.py against POT", "",
        f"{report['machine']}; device {args.device}, one thread; {versions}, Python "
        f"{platform.python_version()}. Made by `python tests/bench_ot.py`. Unit vectors of width {H}, cosine "
        f"costs, float32, B problems of N x N a batch. Near copies: y is x with noise {NEAR} per coordinate. "
        "Ragged: lengths from a quarter of N to N. Both solve to the error that POT's plans have, "
        "the largest of the batch (1e-6 at least). Medians of alternating "
        "rounds; ratio: POT's time over ours, in one round. "
        "The machine was shared with other work: read the ratios, not the times.", "",
        "| data | B | N | lengths | epsilon | error | our passes | POT sinkhorn ms | ours ms | ratio "
        "| POT log_sinkhorn ms | ratio |", "|" + "---|" * 12]
    for r in rows:
        s, g = r["sinkhorn"], r["log_sinkhorn"]
        cell = " | ".join(str(r[key]) for key in ("data", "B", "N", "lengths", "epsilon"))
        lines.append(f"| {cell} | {s['error']:.0e} | {s['passes']:.0f} | {1e3 * s['peer']:.2f} "
                     f"| {1e3 * s['ours']:.2f} | {s['ratio']:.2f} | {1e3 * g['peer']:.1f} "
                     f"| {g['ratio']:.1f} |")

    def spread(values):
        return f"{min(values):.2f} | {statistics.median(values):.2f} | {max(values):.2f}"
    lines += ["", "| ratio to | data | B | least | median | largest | cells under 1 |", "|" + "---|" * 7]
    kinds = itertools.product(("sinkhorn", "log_sinkhorn"), ("near copies", "unrelated"), (8, 32, 256))
    for kernel, data, B in kinds:
        ratios = [r[kernel]["ratio"] for r in rows if (r["data"], r["B"]) == (data, B)]
        slower = f"{sum(x < 1 for x in ratios)} of {len(ratios)}"
        lines.append(f"| POT {kernel} | {data} | {B} | {spread(ratios)} | {slower} |")
    lines += ["", "What the accelerations are worth: time without over time with, by cell.", "",
              "| without | data | epsilon | least | median | largest |", "|" + "---|" * 6]
    for name, data, epsilon in itertools.product(WITHOUT, ("near copies", "unrelated"), (0.1, 0.05)):
        cells = [r["sinkhorn"] for r in rows if (r["data"], r["epsilon"]) == (data, epsilon)]
        worth = [cell[f"without {name}"] for cell in cells]
        lines.append(f"| {name} | {data} | {epsilon} | {spread(worth)} |")
    return "\n".join(lines) + "\n"


def main(argv=None):
    args = parse(argv)
    if args.child:
        return child(args)
    environment = {**os.environ, "PYTHONPATH": args.peers, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "bench_ot.py"), "--child", "--device", args.device, "--rounds",
               str(args.rounds)]
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(command, cwd=elsewhere, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print("error: the comparison failed; see above", file=sys.stderr)
        return 2
    out = pathlib.Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    partial.write_text(text(json.loads(done.stdout), args), encoding="utf-8")
    os.replace(partial, out)
    print(f"\nwrote {out.name}")


if __name__ == "__main__":
    sys.exit(main())

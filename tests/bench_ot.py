# SPDX-License-Identifier: MIT
"""ot.py against POT's ot.batch and GeomLoss, on the same cost tensors, at equal marginal error.

    python tests/bench_ot.py [--python PEERS_PYTHON] [--threads 2] [--device cpu] [--out results/bench-ot.md]

The comparison runs in a subprocess from an empty directory, because our ot.py hides POT's `import ot`. Every
round times each solver once, so that all meet the same machine; the table gives medians and the median of the
ratios within a round. A peer runs as it comes (tol 1e-5, at most 1,000 passes) and its worst marginal error,
the larger L1 error of the two marginals, is measured on the plan it returns. Ours is then asked for that
error (not under 1e-6, near the floor of float32) and, in columns of their own, for the default 1e-5.
"""
import argparse
import functools
import importlib.metadata
import importlib.util
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
B, H = 256, 64
NEAR = 0.1  # noise per coordinate, against unit vectors: a student close to its teacher


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--python", default=sys.executable, help="one that has torch, POT, GeomLoss")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--rounds", type=int, default=5, help="a case; slow solvers: 3 (default: 5)")
    parser.add_argument("--out", default=HERE.parent / "results" / "bench-ot.md", help="the report to write")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def machine(device):
    import torch
    name = platform.processor() or platform.machine()
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if "model name" in line), name)
    return torch.cuda.get_device_name() if device == "cuda" else f"{name}, {os.cpu_count()} cores"


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def timed(call, device):
    """(seconds, what it returns) of one call."""
    import torch
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    result = call()
    wait()
    return time.perf_counter() - start, result


def child(args):
    """Prints one JSON object: versions and rows."""
    import torch
    spec = importlib.util.spec_from_file_location("transport", HERE.parent / "ot.py")
    ours = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ours)
    torch.set_num_threads(args.threads)
    versions = {p: version(p) for p in ("torch", "POT", "geomloss")}
    report = {"python": platform.python_version(), "versions": versions, "machine": machine(args.device)}
    report["rows"], report["profile"] = [], []

    def operations(solve, calls=10):
        """[(operation, ms a call)] of torch, slowest first: time of its own, without what it calls."""
        with torch.profiler.profile() as profiled:
            for _ in range(calls):
                solve()
        own = "self_device_time_total" if args.device == "cuda" else "self_cpu_time_total"
        found = [(e.key, getattr(e, own) / 1e3 / calls) for e in profiled.key_averages()]
        return sorted(found, key=lambda row: -row[1])[:6]

    def gap(plan, a, b):
        return float(torch.maximum((plan.sum(2) - a).abs().sum(1), (plan.sum(1) - b).abs().sum(1)).max())

    for data in ("near copies", "unrelated"):
        for N in (32, 64):
            for lengths in ("full", "ragged"):
                generator = torch.Generator().manual_seed(N)
                x, y = torch.randn(B, N, H, generator=generator), torch.randn(B, N, H, generator=generator)
                x = torch.nn.functional.normalize(x, dim=-1)
                y = torch.nn.functional.normalize(x + NEAR * y if data == "near copies" else y, dim=-1)
                least = N // 4 if lengths == "ragged" else N
                sizes = torch.randint(least, N + 1, (2, B, 1), generator=generator)
                x, y, sizes = x.to(args.device), y.to(args.device), sizes.to(args.device)
                a, b = (ours.uniform_marginal(torch.arange(N, device=args.device) < n) for n in sizes)
                C = ours.cosine_cost(x, y)
                for epsilon in (0.1, 0.05):
                    peers = {}
                    if versions["POT"]:
                        from ot.batch import solve_batch
                        for method in ("sinkhorn", "log_sinkhorn"):
                            peers[f"POT {method}"] = lambda m=method: solve_batch(
                                C, epsilon, a, b, max_iter=1000, tol=1e-5, method=m, grad="detach").plan
                    if versions["geomloss"]:
                        from geomloss import SamplesLoss
                        # |x - y|^2 / 2 is the cosine cost of unit vectors; blur^2 is epsilon.
                        loss = SamplesLoss("sinkhorn", p=2, blur=epsilon ** 0.5, debias=False,
                                           potentials=True, backend="tensorized")

                        def geomloss_plan():
                            f, g = loss(a, x, b, y)
                            S = (f.view(B, N, 1) + g.view(B, 1, N) - C) / epsilon
                            return a[:, :, None] * b[:, None] * S.exp()
                        peers["GeomLoss"] = geomloss_plan
                    def default(tol=1e-5):
                        return ours.sinkhorn(C, a, b, epsilon, tol=tol, warn=False)

                    default()
                    for name, peer in peers.items():
                        first, plan = timed(peer, args.device)
                        error = gap(plan, a, b)
                        equal = functools.partial(default, max(error, 1e-6))
                        times = {"peer": [], "equal": [], "default": []}
                        for _ in range(args.rounds if first < 0.2 else 3):
                            for key, solve in (("equal", equal), ("peer", peer), ("default", default)):
                                times[key].append(timed(solve, args.device)[0])
                        got, best = equal(), default()
                        report["rows"].append({
                            "data": data, "N": N, "lengths": lengths, "epsilon": epsilon, "peer": name,
                            "peer_s": statistics.median(times["peer"]), "peer_error": error,
                            "ours_s": statistics.median(times["equal"]), "ours_error": gap(got.plan, a, b),
                            "ratio": statistics.median(p / q for p, q in zip(times["peer"], times["equal"])),
                            "default_s": statistics.median(times["default"]),
                            "default_error": gap(best.plan, a, b),
                            "default_ratio": statistics.median(
                                p / q for p, q in zip(times["peer"], times["default"])),
                            "passes": float(got.iterations.float().mean())})
                        if (name, lengths, epsilon) == ("POT sinkhorn", "full", 0.1):
                            report["profile"].append({"data": data, "N": N, "theirs": operations(peer),
                                                      "passes": report["rows"][-1]["passes"],
                                                      "ours": operations(equal)})
                        print(".", end="", file=sys.stderr, flush=True)
    print(json.dumps(report))


def text(report, args):
    versions = ", ".join(f"{p} {v}" for p, v in report["versions"].items() if v)
    missing = [p for p, v in report["versions"].items() if not v]
    lines = [
        "# ot.py against its peers", "",
        f"Machine: {report['machine']}; device {args.device}, {args.threads} thread(s). "
        f"Versions: {versions}, Python {report['python']}."
        + (f" Not installed, so left out: {', '.join(missing)}." if missing else ""), "",
        f"Made by `python tests/bench_ot.py --threads {args.threads} --device {args.device} --rounds "
        f"{args.rounds}`. {B} problems a batch, unit vectors of width {H}, cosine costs, float32. near copies: y is x with noise {NEAR} per "
        "coordinate; unrelated: independent. ragged: lengths uniform from a quarter of N to N. error: the "
        "largest L1 marginal error in the batch, of the returned plan. Medians over alternating rounds; "
        "ratio: the peer's time over ours, in the same round. POT's default method is log_sinkhorn. "
        "The machine was shared with other work: read the ratios, not the times.", "",
        "| data | N | lengths | epsilon | peer | peer ms | peer error | ours ms, that error | our error "
        "| ratio | ours ms, tol 1e-5 | our error | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for r in report["rows"]:
        lines.append(
            f"| {r['data']} | {r['N']} | {r['lengths']} | {r['epsilon']} | {r['peer']} "
            f"| {1e3 * r['peer_s']:.1f} | {r['peer_error']:.1e} | {1e3 * r['ours_s']:.1f} "
            f"| {r['ours_error']:.1e} | {r['ratio']:.1f} "
            f"| {1e3 * r['default_s']:.1f} | {r['default_error']:.1e} | {r['default_ratio']:.1f} |")
    lines += ["", "| peer | epsilon | least ratio | median ratio | largest ratio |", "|---|---|---|---|---|"]
    for peer in dict.fromkeys(r["peer"] for r in report["rows"]):
        for epsilon in (0.1, 0.05):
            rows = [r for r in report["rows"] if (r["peer"], r["epsilon"]) == (peer, epsilon)]
            least, *_, most = ratios = sorted(r["ratio"] for r in rows)
            middle = statistics.median(ratios)
            lines.append(f"| {peer} | {epsilon} | {least:.1f} | {middle:.1f} | {most:.1f} |")
    lines += ["", "Where the time goes at epsilon 0.1, full lengths, as torch's profiler sees it: ms a call of "
              "the slowest operations, that error.", "",
              "| data | N | passes of ours | ours | POT sinkhorn |", "|---|---|---|---|---|"]
    for p in report["profile"]:
        ours, theirs = (", ".join(f"{name.removeprefix('aten::')} {ms:.1f}" for name, ms in p[side])
                        for side in ("ours", "theirs"))
        lines.append(f"| {p['data']} | {p['N']} | {p['passes']:.0f} | {ours} | {theirs} |")
    return "\n".join(lines) + "\n"


def main(argv=None):
    args = parse(argv)
    if args.child:
        return child(args)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as elsewhere:
        command = [args.python, str(HERE / "bench_ot.py"), "--child", "1", "--threads", str(args.threads),
                   "--device", args.device, "--rounds", str(args.rounds)]
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

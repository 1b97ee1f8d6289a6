# SPDX-License-Identifier: MIT
"""ot.py on 27,648 random transport problems: how many end unconverged, with NaN, or wrongly flagged.

    python tests/sweep_ot.py [--ot ot.py] [--part 1] [--out results/bench-ot.md]

Seeded, one thread. The table goes to the end of the report, which tests/bench_ot.py begins; --part 7 solves
every seventh batch only, --ot takes another version of the file.
"""
import argparse
import importlib.util
import itertools
import pathlib
import sys
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
B = 16
SHAPES = ((3, 4), (8, 8), (16, 16), (32, 32), (12, 40), (64, 16), (48, 48), (64, 5))
EPSILONS = (1.0, 0.3, 0.1, 0.05, 0.02, 0.005)
MASSES = ("uniform", "ragged", "weighted")
COSTS = ("unrelated", "near copies", "nearer copies", "squared distance", "random", "blocks")
DTYPES = ((torch.float32, 1e-5), (torch.float64, 1e-9))
TITLE = "## Random problems"


def costs(kind, N, M, random):
    """(B, N, M) float64."""
    def unit(n):
        x = torch.randn(B, n, 16, generator=random, dtype=torch.float64)
        return torch.nn.functional.normalize(x, dim=2)
    x, y = unit(N), unit(M)
    if kind == "squared distance":
        return torch.cdist(x, y).square()
    if kind == "random":
        return torch.rand(B, N, M, generator=random, dtype=torch.float64)
    if kind == "blocks":  # three groups a side, dear to cross and of unlike masses
        i, j = torch.arange(N) * 3 // N, torch.arange(M) * 3 // M
        return (i[:, None] != j).double() + 0.05 * torch.rand(B, N, M, generator=random, dtype=torch.float64)
    if kind != "unrelated":
        y = x[:, torch.arange(M) % N] + (0.4 if kind == "near copies" else 0.1) * y
    return 1 - x @ torch.nn.functional.normalize(y, dim=2).transpose(1, 2)


def masses(kind, n, random):
    """(B, n) float64, of sum 1."""
    if kind == "ragged":
        a = (torch.arange(n) < torch.randint(1, n + 1, (B, 1), generator=random)).double()
    elif kind == "weighted":
        a = torch.rand(B, n, generator=random, dtype=torch.float64) ** 4 + 1e-9
    else:
        a = torch.ones(B, n, dtype=torch.float64)
    return a / a.sum(1, keepdim=True)


def batches():
    """(epsilon, dtype, tol, C, a, b) of every kind, each from a seed of its own."""
    kinds = itertools.product(SHAPES, EPSILONS, MASSES, COSTS, DTYPES)
    for seed, ((N, M), epsilon, mass, cost, (dtype, tol)) in enumerate(kinds):
        random = torch.Generator().manual_seed(seed)
        C, a, b = costs(cost, N, M, random), masses(mass, N, random), masses(mass, M, random)
        yield epsilon, tol, C.to(dtype), a.to(dtype), b.to(dtype)


def count(ot, part):
    """{epsilon: [problems, unconverged, wrong flags, with NaN, seconds]}."""
    found = {epsilon: [0, 0, 0, 0, 0.0] for epsilon in EPSILONS}
    for epsilon, tol, C, a, b in itertools.islice(batches(), 0, None, part):
        start = time.perf_counter()
        t = ot.sinkhorn(C, a, b, epsilon, tol=tol, warn=False)
        seconds = time.perf_counter() - start
        finite = torch.cat([p.flatten(1) for p in (t.plan, t.f, t.g, t.error[:, None])], 1).isfinite().all(1)
        rows, columns = (t.plan.double().sum(i) - m.double() for i, m in ((2, a), (1, b)))
        error = torch.maximum(rows.abs().sum(1), columns.abs().sum(1))
        slack = 1e-6 if C.dtype == torch.float32 else 1e-14  # rounding, of the error and of a itself
        wrong = t.converged & ~(error <= tol + slack) | ~t.converged & (error <= tol - slack)
        counts = B, int((~t.converged).sum()), int(wrong.sum()), int((~finite).sum()), seconds
        found[epsilon] = [old + new for old, new in zip(found[epsilon], counts)]
    return found


def text(found):
    total = [sum(row[k] for row in found.values()) for k in range(5)]
    lines = [TITLE, "", f"Made by `python tests/sweep_ot.py`: {total[0]:,} problems in batches of {B}, "
             f"{len(SHAPES)} shapes from 3 x 4 to 64 x 16, uniform, ragged and weighted masses, six kinds of "
             "cost, float32 to tol 1e-5 and float64 to 1e-9, at most 1,000 passes. A wrong flag: `converged` "
             "is other than the marginals of the plan, summed in float64, say.", "",
             "| epsilon | problems | unconverged | wrong flags | NaN | seconds |", "|" + "---|" * 6]
    for epsilon, row in [*found.items(), ("all", total)]:
        lines.append(f"| {epsilon} | {row[0]:,} | {row[1]} | {row[2]} | {row[3]} | {row[4]:.0f} |")
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--ot", default=ROOT / "ot.py", help="the file to try (default: ot.py)")
    parser.add_argument("--part", type=int, default=1, help="every so many batches (default: 1, all)")
    parser.add_argument("--out", help="the report whose last section this becomes (default: print only)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("transport", args.ot)
    ot = sys.modules["transport"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ot)
    table = text(count(ot, args.part))
    print(table)
    if args.out:
        out = pathlib.Path(args.out)
        head = out.read_text(encoding="utf-8").split(TITLE)[0] if out.exists() else ""
        out.write_text(head.rstrip("\n") + "\n\n" + table, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Time to read and score one run: evaluate.py beside pytrec_eval-terrier, ranx, ir_measures and trec_eval.

    python tests/bench_evaluate.py [--rounds 3] [--python PYTHON] [--out results/bench-evaluate.md]

Each program runs in a process of its own, in turn within a round, on the same files: a run of 6,980 topics x
1,000 documents (MS MARCO's shape) and one of 50 x 1,000 (a TREC track's). `seconds` counts from opening the
files to the values; `process` is the whole process with start-up and imports. PYTHON is an interpreter that
has the peers; what is not installed there is left out. trec_eval is taken from PATH.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MEASURES = ["map", "recip_rank", "recall_1000", "ndcg_cut_10"]
SIZES = {"6,980 topics x 1,000": (6980, 1000), "50 topics x 1,000": (50, 1000)}
PEERS = ["evaluate.py", "pytrec_eval-terrier", "ir_measures", "ranx", "trec_eval"]


def make(folder, topics, depth, seed=0):
    """A run with distinct scores in order; one to three relevant documents a topic, some not retrieved."""
    rng = np.random.default_rng(seed)
    qids = np.sort(rng.choice(1_100_000, topics, replace=False))
    with open(folder / "run", "w") as run, open(folder / "qrels", "w") as qrels:
        for qid in qids:
            docids = rng.choice(8_841_823, depth, replace=False).tolist()
            scores = np.sort(rng.normal(20, 4, depth))[::-1].tolist()
            run.writelines(f"{qid} Q0 {d} {i} {s:.6f} t\n" for i, (d, s) in enumerate(zip(docids, scores), 1))
            places = (depth * rng.random(1 + rng.integers(3)) ** 3).astype(int)
            for docid in sorted(
                {docids[p] if rng.random() < 0.8 else 9_000_000 + p for p in places.tolist()}
            ):
                qrels.write(f"{qid} 0 {docid} 1\n")


def score(peer, qrels, run):
    """The four means by one peer, from files to values."""
    if peer == "evaluate.py":
        import evaluate

        return list(evaluate.summary(qrels, run, MEASURES).values())
    if peer == "pytrec_eval-terrier":
        import pytrec_eval

        with open(qrels) as file:
            judged = pytrec_eval.parse_qrel(file)
        with open(run) as file:
            values = pytrec_eval.RelevanceEvaluator(judged, set(MEASURES)).evaluate(
                pytrec_eval.parse_run(file)
            )
        return [sum(v[name] for v in values.values()) / len(values) for name in MEASURES]
    if peer == "ir_measures":
        import ir_measures as ir

        measures = [ir.AP, ir.RR, ir.R @ 1000, ir.nDCG @ 10]
        values = ir.calc_aggregate(measures, ir.read_trec_qrels(qrels), ir.read_trec_run(run))
        return [values[measure] for measure in measures]
    import ranx

    values = ranx.evaluate(
        ranx.Qrels.from_file(qrels, kind="trec"),
        ranx.Run.from_file(run, kind="trec"),
        ["map", "mrr", "recall@1000", "ndcg@10"],
    )
    return [float(values[name]) for name in ("map", "mrr", "recall@1000", "ndcg@10")]


def warm(peer):
    """Score one document, so that imports and compilation (ranx) are not in `seconds`."""
    with tempfile.TemporaryDirectory() as name:
        for file, text in (("qrels", "q 0 d 1\n"), ("run", "q Q0 d 1 1.0 t\n")):
            Path(name, file).write_text(text)
        score(peer, os.path.join(name, "qrels"), os.path.join(name, "run"))


def measure(peer, folder, python):
    """One process: {"seconds", "process", "mb", "values"}, or None where the peer is not there."""
    qrels, run, start = str(folder / "qrels"), str(folder / "run"), time.perf_counter()
    if peer == "trec_eval":
        if not shutil.which("trec_eval"):
            return None
        command = [
            "trec_eval",
            *(f"-m{name}" for name in ("map", "recip_rank", "recall.1000", "ndcg_cut.10")),
            qrels,
            run,
        ]
        with open(folder / "out", "w+") as out:
            process = subprocess.Popen(command, stdout=out)
            _, _, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            out.seek(0)
            found = {text.split()[0]: float(text.split()[2]) for text in out}
        return {
            "seconds": seconds,
            "process": seconds,
            "mb": usage.ru_maxrss / 1024,
            "values": [found[m] for m in MEASURES],
        }
    interpreter = sys.executable if peer == "evaluate.py" else python
    done = subprocess.run(
        [interpreter, __file__, "--worker", peer, qrels, run], capture_output=True, text=True
    )
    if done.returncode:
        print(f"{peer} left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1]) | {"process": time.perf_counter() - start}


def worker(peer, qrels, run):
    sys.path.insert(0, str(ROOT))
    warm(peer)
    start = time.perf_counter()
    values = score(peer, qrels, run)
    seconds = time.perf_counter() - start
    print(
        json.dumps(
            {
                "seconds": seconds,
                "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "values": values,
            }
        )
    )


def machine():
    try:
        cpu = next(
            text.split(":")[1].strip() for text in open("/proc/cpuinfo") if text.startswith("model name")
        )
    except (OSError, StopIteration):
        cpu = platform.processor()
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def versions(python):
    code = (
        "import importlib.metadata as m, json\nfound = {}\n"
        "for name in ('numpy', 'pytrec_eval-terrier', 'ir_measures', 'ranx', 'numba'):\n"
        "    try: found[name] = m.version(name)\n    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    peers = json.loads(
        subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    )
    ours = {name: importlib.metadata.version(name) for name in ("numpy", "scipy")}
    return f"evaluate.py with {ours}; peers with {peers}".replace("'", "").replace("{", "").replace("}", "")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=3, help="processes of each peer, in turn (default 3)")
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter that has the peers (default: this one)"
    )
    parser.add_argument(
        "--out", default=str(ROOT / "results" / "bench-evaluate.md"), help="Markdown file to write"
    )
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        return worker(*args.worker)
    text = [
        "# evaluate.py beside its peers",
        "",
        "`python tests/bench_evaluate.py`: read a run and its judgements, score "
        f"{', '.join(MEASURES)}. Medians of {args.rounds} rounds, the programs in turn within a round; "
        "`seconds` from opening the files to the values, after imports and a first call on two lines; "
        "`process` with all of it; MB at the peak; ratio: seconds over "
        "evaluate.py's.",
        "",
        f"Machine: {machine()}. {versions(args.python)}.",
    ]
    for title, (topics, depth) in SIZES.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make(folder, topics, depth)
            size, found = (folder / "run").stat().st_size, {peer: [] for peer in PEERS}
            for i in range(args.rounds):
                for peer in [peer for peer in PEERS if i == 0 or found[peer]]:
                    if result := measure(peer, folder, args.python):
                        found[peer].append(result)
                        print(f"{title}, round {i + 1}, {peer}: {result['seconds']:.2f} s", flush=True)
        ours = found["evaluate.py"]
        base = statistics.median(result["seconds"] for result in ours)
        text += [
            "",
            f"## {title}, {size / 2**20:.1f} MB",
            "",
            "| program | seconds | process | MB | ratio | same values |",
            "| --- | ---: | ---: | ---: | ---: | --- |",
        ]
        for peer, results in found.items():
            if results:
                median = {
                    key: statistics.median(result[key] for result in results)
                    for key in ("seconds", "process", "mb")
                }
                same = np.allclose(
                    results[0]["values"], ours[0]["values"], atol=6e-5 if peer == "trec_eval" else 1e-6
                )
                text.append(
                    f"| {peer} | {median['seconds']:.2f} | {median['process']:.2f} | {median['mb']:.0f} "
                    f"| {median['seconds'] / base:.1f} | {'yes' if same else 'no'} |"
                )
        absent = [peer for peer in PEERS if not found[peer]]
        if absent:
            text += ["", f"Not there: {', '.join(absent)}."]
    os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
    Path(args.out + ".tmp").write_text("\n".join(text) + "\n")
    os.replace(args.out + ".tmp", args.out)
    print("\n".join(text))


if __name__ == "__main__":
    sys.exit(main())

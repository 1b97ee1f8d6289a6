# SPDX-License-Identifier: MIT
"""What the commands of the study share: their options and errors, experiments, vectors that are kept.

An experiment is a folder that is there, whole, or not there: it is made as FOLDER.part, with args.json first
(command, commit, versions, device, seed, checksum of the data), train.jsonl and a checkpoint from which a
killed training goes on, and gets its name with done.json, what came of it.
"""
import contextlib
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors import SafetensorError

import data
import evaluate
from optical import Encoder, Vectors
from study import parser_of

PART = 100_000             # texts encoded in memory before their vectors are written
MANY = 100_000             # texts whose vectors are not kept as those of fewer are


# ---- files ------------------------------------------------------------------------------------------------
def write_json(path, value):
    evaluate.write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def first_of(folders, name, maker):
    """The path of a file in the first of several folders that has it. Raises: ValueError where none has."""
    found = next((Path(folder) / name for folder in folders or () if (Path(folder) / name).exists()), None)
    if found is None:
        raise ValueError(f"no {name} in {' '.join(map(str, folders or ['no folder']))}; {maker} makes it")
    return found


def keeper(folder, name):
    """A Vectors.encode that keeps what it makes in FOLDER/<name>-<hash of weights and texts>, mapped; of more
    than MANY documents in int8, of more sentences than that not at all: they are soon made again."""
    def encode(encoder, texts, kind, max_tokens=None):
        many = len(texts) > MANY
        if many and not isinstance(texts, dict):
            return Vectors.encode(encoder, texts, kind, max_tokens)
        texts = texts if isinstance(texts, dict) else {str(i): text for i, text in enumerate(texts)}
        sha256 = hashlib.sha256(f"{kind} {max_tokens} {encoder.augment} {encoder.bf16}".encode())
        for weight in encoder.state_dict().values():
            sha256.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        for text in texts.values():
            sha256.update(text.encode() + b"\n")
        path = Path(folder) / f"{name}-{sha256.hexdigest()[:16]}"
        if not path.exists():
            print(f"  encoding {name}: {len(texts):,} texts", flush=True)
            part, items, lengths = Path(f"{path}.{os.getpid()}.tmp"), list(texts.values()), [0]
            part.mkdir(parents=True)
            with open(part / "flat", "wb") as flat, open(part / "norms", "wb") as norms:
                for start in range(0, len(items), PART):
                    made = Vectors.encode(encoder, items[start:start + PART], kind, max_tokens, small=many)
                    flat.write(made.flat.data)
                    norms.write(made.norms.data)
                    lengths.extend(made.lengths)
            np.save(part / "offsets.npy", np.cumsum(lengths))
            with contextlib.suppress(OSError):                       # another process may be first
                os.replace(part, path)
            shutil.rmtree(part, ignore_errors=True)
        flat = np.memmap(path / "flat", np.int8 if many else np.float16, "r").reshape(-1, encoder.dim)
        norms = np.memmap(path / "norms", np.float32, "r")
        return Vectors(list(texts), flat, norms, np.load(path / "offsets.npy"))
    return encode


# ---- experiments ------------------------------------------------------------------------------------------
PLACES = ("run", "langs", "methods", "runs", "variants", "threads", "teachers", "rows", "out", "rates",
          "tuned", "log_every", "save_every_s", "cache", "save")    # where it lies and what else is made


def open_experiment(folder, args, **unit):
    """The folder of an experiment to begin or go on with, under its temporary name; None where it is done.

    Raises: ValueError where it was made or begun with other settings: these are never mixed.
    """
    folder, own = Path(folder), {key: value for key, value in vars(args).items() if key not in PLACES} | unit
    own["device"] = torch.device(args.device).type
    own["data_sha256"] = hashlib.sha256((Path(args.data) / "collection.json").read_bytes()).hexdigest()
    part = folder.with_name(folder.name + ".part")
    begun = (part / "checkpoint.pt").exists()          # without one there is nothing to resume, nor to mix up
    for found in [folder] * folder.exists() + [part] * begun:
        before = data.read_json(found / "args.json")["args"]
        for key in sorted(own.keys() | before.keys()):
            if str(own.get(key)) != str(before.get(key)):
                raise ValueError(f"{found}/args.json: was made with {key}={before.get(key)!r}, now it is "
                                 f"{own.get(key)!r}; delete {found} or choose another OUT")
    if folder.exists():
        return None
    if not begun:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        versions = {name: sys.modules[name].__version__ for name in ("torch", "transformers", "numpy")}
        device = (torch.cuda.get_device_name(args.device) if own["device"] == "cuda"
                  else f"cpu, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
        write_json(part / "args.json", {"argv": sys.argv, "args": own, **commit(), "versions": versions,
                                        "device": device, "threads": torch.get_num_threads()})
    return part


def close_experiment(part, folder, result):
    """Write done.json, drop the checkpoint, give the folder its name; returns `result`."""
    (part / "checkpoint.pt").unlink(missing_ok=True)
    write_json(part / "done.json", result)
    os.replace(part, folder)
    return result


def commit():
    """The commit this code is at, and whether it was changed since; None outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    head, dirty = (subprocess.run([*git, *argv], capture_output=True, text=True)
                   for argv in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"]))
    return {"commit": head.stdout.strip() or None, "dirty": None if head.returncode else bool(dirty.stdout)}


# ---- commands ---------------------------------------------------------------------------------------------
def multiplies_bf16(device):
    """Whether bfloat16 is fast on `device`: a recent GPU, or a CPU with AMX or AVX512-BF16."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "amx_bf16" in known or "avx512_bf16" in known


def device_of(text):
    """cpu, cuda or the like; auto: a GPU if there is one."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if text == "auto" else text


def load(folder, args):
    """The encoder in a folder, on the device and in the precision of a command."""
    return Encoder.load(folder, device=args.device, bf16=args.bf16)


def languages(args):
    """The languages of a command, --langs or all of the collection. ValueError where it lacks one."""
    langs = args.langs or sorted(data.load_manifest(args.data)["langs"])
    for lang in "+".join(langs).split("+"):
        data.language(args.data, lang)
    return langs


commands_of = partial(parser_of, kinds={"device": device_of})


def training_memory(encoder, tokens):
    """Bytes that a training step takes, rather too many than too few: of what is trained, its gradient,
    AdamW's two means and a copy in bfloat16; of what a layer keeps of each token for its gradient.
    """
    config, trained = encoder.backbone.config, sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    return 18 * trained, tokens * config.num_hidden_layers * (40 * config.hidden_size + 8 * inner)


def training_of(args, encoder=None, tokens=0):
    """The options of `fit` among those of a command. --accumulate 0 on a GPU: as few parts as a batch of so
    many tokens, padded, must be cut into for 0.7 of its memory. Raises: ValueError where none will do.
    """
    parts = args.accumulate or 1
    if encoder and not args.accumulate and torch.device(args.device).type == "cuda":
        fixed, kept = training_memory(encoder, tokens)
        memory, least = torch.cuda.mem_get_info(args.device)[1], fixed + kept / args.batch
        if least > 0.7 * memory:
            raise ValueError(f"training takes {least / 1e9:.0f} GB at least and the GPU has "
                             f"{memory / 1e9:.0f}; give --freeze, or a smaller encoder")
        parts = math.ceil(kept / (0.7 * memory - fixed))
    return {"accumulate": parts, "log_every": args.log_every, "save_every_s": args.save_every_s}


def run_command(args):
    """Run a parsed command; bad input, and memory or a disk that runs out, is one line and exit status 2."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        if args.threads:
            torch.set_num_threads(args.threads)
        torch.manual_seed(args.seed)
        for own in [args, *(getattr(args, "variants", None) or {}).values()]:
            own.bf16 = args.precision == "bf16" or args.precision == "auto" and multiplies_bf16(args.device)
        args.run(args)
        return 0
    except (ValueError, OSError, ImportError, MemoryError, RuntimeError, SafetensorError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in first:
            first = f"out of memory ({first}); lower --batch or JOBS, or raise --accumulate"
        elif isinstance(error, SafetensorError) or "unexpected pos" in first:        # torch.save's, too
            first = f"a file could not be written whole: No space left on device? ({first})"
        elif not isinstance(error, (ValueError, OSError, ImportError)):              # of sentencepiece
            raise
        print(f"error: {first}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: stopped; the same command goes on from here", file=sys.stderr)
        return 130

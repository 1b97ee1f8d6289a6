# SPDX-License-Identifier: MIT
"""OPTICAL: optimal-transport distillation for low-resource cross-lingual retrieval, in one file.

Huang, Yu, Allan: "Improving Cross-lingual Information Retrieval on Low-Resource Languages via Optimal
Transport Distillation", WSDM 2023, arXiv 2301.12566. Read top to bottom, beside the paper: text -> token
vectors (Encoder) -> their score (maxsim) -> a training loop (fit) -> an English retriever (train_teacher) ->
four losses on sentence pairs (OBJECTIVES) -> its student in another language (distil) -> search, word links.

Letters: B sentence pairs, Q queries, D documents, N teacher (or query) tokens, M student tokens, L document
tokens, H dimensions. t_i is a teacher vector of the English sentence e, s_j a student vector of its
translation x; all have unit length, so a dot product is a cosine.

    (1)  v_i = W h_i / |W h_i|,  h = last hidden states of the encoder            (ColBERT, section 3.2)
    (2)  score(q, d) = sum_i max_k <q_i, d_k>                                     (ColBERT, section 3.3)
    (3)  -log softmax(score(q, d+)) over all documents of the batch
    (4)  C_ij = 1 - <t_i, s_j>                                                    the cost of a sentence pair
    (5)  P = argmin <P, C> + epsilon KL(P | a b')  with  P 1 = a,  P' 1 = b       its plan, by ot.sinkhorn
    (6)  optical      <P, C>, P held constant
    (7)  mean         | mean_i t_i - mean_j s_j |^2                               (Reimers and Gurevych 2020)
    (8)  greedy       mean_j min_i C_ij                                           (Li et al. 2022, DR.DECR)
    (9)  contrastive  -log softmax_b(score(s, d_b) / (M tau)) at its own e, d_b = document vectors of e_b

A mask is True at real tokens; a padded token is -inf in a max and weighs 0 in a sum or a marginal. DEVIATION
and a number: where this differs from the paper, see the README.
"""
import argparse
import copy
import html
import json
import os
import resource
import shutil
import string
import sys
import textwrap
import time
from functools import cache, partial
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

import data
import evaluate
import ot

WEIGHTS, SETTINGS = "model.safetensors", "config_sentence_transformers.json"      # files of an Encoder
FIND = partial(transformers.utils.cached_file, _raise_exceptions_for_missing_entries=False,
               _raise_exceptions_for_connection_errors=False)                    # None: there is no such file
PREFIXES = "query_prefix", "document_prefix"
TWO_WAY = "bert", "xlm-roberta"                     # each token sees all: the mask of tokens is that of pairs


# --------------------------------------------------------------------------------------- 1. Encoder
class Encoder(nn.Module):
    """Texts to token vectors of unit length, equation (1): a Hugging Face encoder, a marker, a projection.

    A query starts with [CLS] [query marker], a document with [CLS] [document marker]. A decoder will do too.
    A backbone in bfloat16 is frozen: the projection alone is trained. own: settings of others, by late().
    """

    def __init__(self, backbone, tokenizer, dim=128, query_tokens=32, doc_tokens=180, augment=False,
                 own=None):
        super().__init__()
        if augment and tokenizer.mask_token_id is None:
            raise ValueError("the tokenizer has no mask token to fill queries up with; leave augment out")
        self.backbone, self.tokenizer, hidden = backbone, tokenizer, backbone.config.hidden_size
        self.dim, self.query_tokens, self.doc_tokens = dim, query_tokens, doc_tokens
        self.augment = augment                         # DEVIATION 5: no mask tokens in queries
        self.projection = nn.Linear(hidden, dim, bias=False)
        start = nn.init.eye_ if dim == hidden else nn.init.orthogonal_   # eye_: the encoder's own space
        start(self.projection.weight)
        self.frozen = backbone.dtype == torch.bfloat16
        backbone.requires_grad_(not self.frozen)
        for module in backbone.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0                         # DEVIATION 4: attention with dropout is slow on a CPU
        self.own = own = own or self._markers() | {"skiplist_words": [], "attend_to_expansion_tokens": True}
        ids, names = tokenizer.convert_tokens_to_ids, zip(("query", "doc"), map(own.get, PREFIXES))
        self.markers = {kind: ids(name) if name else None for kind, name in names}
        self.skip = {"query": [], "doc": ids(own["skiplist_words"])}       # tokens that are read and not kept
        first = tokenizer("")["input_ids"][:1]         # of a decoder, often nothing or its end token alone
        # A marker's place: after the sentence start, if there is one; in PyLate always second.
        self.at = int("__version__" in own or first in ([tokenizer.cls_token_id], [tokenizer.bos_token_id]))
        self.bf16 = False                # bfloat16 inside the backbone; vectors and scores stay float32
        self.attention = backbone.config._attn_implementation

    def _markers(self):
        """Names of the markers: unused tokens (BERT), else new ones (XLM-R) that begin as the first token."""
        tokenizer, names = self.tokenizer, ["[unused0]", "[unused1]"]
        if not set(names) <= set(tokenizer.get_vocab()):
            names = ["[Q]", "[D]"]
            if tokenizer.add_special_tokens({"additional_special_tokens": names}):
                table = self.backbone.resize_token_embeddings(len(tokenizer), mean_resizing=False).weight.data
                start = tokenizer.bos_token_id if tokenizer.cls_token_id is None else tokenizer.cls_token_id
                table[tokenizer.convert_tokens_to_ids(names)] = table[start or 0].clone()
        return dict(zip(PREFIXES, names), prompts={})

    def train(self, mode=True):
        """As in torch. N.B. fused attention is slow backward in bfloat16 on a CPU: 32 ms, eager 3 ms."""
        eager = mode and self.bf16 and self.projection.weight.device.type == "cpu" and not self.frozen
        self.backbone.set_attn_implementation("eager" if eager else self.attention)
        return super().train(mode)

    def tokens(self, texts, kind, max_tokens=None):
        """Token ids of each text, int32 arrays, as "query" or "doc", at most `max_tokens`, marker included.

        With augment a query is filled up with mask tokens, which then count as real ones (ColBERT).
        """
        limit = max_tokens or (self.query_tokens if kind == "query" else self.doc_tokens)
        marker = [self.markers[kind]] * (self.markers[kind] is not None)
        prompt = self.own["prompts"].get("query" if kind == "query" else "document") or ""
        ids = self.tokenizer([prompt + text for text in texts], truncation=True, verbose=False,
                             max_length=limit - len(marker))["input_ids"]
        rows = [row[:self.at] + marker + row[self.at:] for row in ids]
        if kind == "query" and self.augment:
            rows = [row + [self.tokenizer.mask_token_id] * (self.query_tokens - len(row)) for row in rows]
        return [np.array(row, dtype=np.int32) for row in rows]

    def project(self, rows, kind="query"):
        """Arrays of token ids -> W h of equation (1), (B, L, H) float32, of any length; mask (B, L) bool."""
        ids, mask = pad(rows, self.projection.weight.device, self.tokenizer.pad_token_id or 0)
        every = kind == "doc" or self.own["attend_to_expansion_tokens"] or not self.augment
        read, config = mask if every else mask & (ids != self.tokenizer.mask_token_id), self.backbone.config
        attention, full = read.long(), every and len(set(map(len, rows))) == 1
        if config.model_type in TWO_WAY and config._attn_implementation == "sdpa":   # else it looks at it
            attention = None if full else read[:, None, None].expand(-1, 1, ids.shape[1], -1)   # of all pairs
        learns = torch.is_grad_enabled() and not self.frozen
        with torch.set_grad_enabled(learns), torch.autocast(ids.device.type, torch.bfloat16, self.bf16):
            h = self.backbone(input_ids=ids.long(), attention_mask=attention).last_hidden_state
        mask = mask & ~torch.isin(ids, ids.new_tensor(self.skip[kind])) if self.skip[kind] else mask
        return self.projection(h.float()), mask                                  # (B, L, hidden) -> (B, L, H)

    def forward(self, texts, kind="query"):
        """Texts, or arrays of token ids -> vectors (B, L, H) float32 of unit length, mask (B, L) bool."""
        raw, mask = self.project(self.tokens(texts, kind) if isinstance(texts[0], str) else texts, kind)
        return F.normalize(raw, dim=-1), mask

    def save(self, folder):
        """Hugging Face layout (AutoModel, AutoTokenizer load it) plus the projection as PyLate keeps it."""
        folder, dense = Path(folder), Path(folder) / "1_Dense"
        self.backbone.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        dense.mkdir(exist_ok=True)
        save_file({"linear.weight": self.projection.weight.detach().cpu().contiguous()}, dense / WEIGHTS)
        kinds = "sentence_transformers.models.Transformer", "pylate.models.Dense.Dense"
        for path, value in (
                (dense / "config.json", {
                    "in_features": self.projection.in_features, "out_features": self.dim, "bias": False,
                    "activation_function": "torch.nn.modules.linear.Identity"}),
                (folder / "modules.json", [{"idx": i, "name": str(i), "path": part, "type": kinds[i]}
                                           for i, part in enumerate(("", dense.name))]),
                (folder / SETTINGS, {
                    **self.own, "similarity_fn_name": "MaxSim", "query_length": self.query_tokens,
                    "document_length": self.doc_tokens, "do_query_expansion": self.augment})):
            evaluate.write_text(path, json.dumps(value, indent=1) + "\n")

    @classmethod
    def load(cls, name, dim=128, query_tokens=32, doc_tokens=180, augment=False, freeze=False, device="cpu",
             bf16=False):
        """A ColBERT by save(), PyLate, sentence-transformers or Stanford, with its own settings, or any other
        Hugging Face encoder with those given. Raises: ValueError for a setting that it cannot follow.

        dim 0: the encoder's own width. freeze: the backbone stays as it is, in bfloat16. bf16: compute so.
        """
        try:
            if not Path(name).exists() and (str(name).count("/") > 1 or str(name)[:1] in "./~"):
                raise ValueError("no such folder")     # nor a name of the hub, which would be asked for long
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
            freeze = freeze or config.dtype == torch.bfloat16 and FIND(name, "1_Dense/config.json")
            bare = {"add_pooling_layer": False} if config.model_type in TWO_WAY else {}
            backbone, report = transformers.AutoModel.from_pretrained(
                name, trust_remote_code=False, dtype=torch.bfloat16 if freeze else torch.float32,
                output_loading_info=True, **bare)
            if lost := [key for key in report["missing_keys"] if "pooler" not in key]:
                raise ValueError(f"its weights lack {lost[0]} and {len(lost) - 1} more")
            own = late(name, tokenizer, config, "linear.weight" in report["unexpected_keys"])
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            first = str(error).strip().splitlines()[0]
            raise ValueError(f"{name}: no encoder there ({first}); give a Hugging Face name, or a folder "
                             f"with config.json and {WEIGHTS}") from None
        if not own:
            encoder = cls(backbone, tokenizer, dim or config.hidden_size, query_tokens, doc_tokens, augment)
        else:
            sizes, weight = (own["query_length"], own["document_length"]), own.pop("weight")
            encoder = cls(backbone, tokenizer, len(weight), *sizes, own["do_query_expansion"], own)
            encoder.projection.load_state_dict({"weight": weight})
        encoder.bf16 = bf16
        return encoder.to(device).eval()


def pad(rows, device, fill=0):
    """Arrays (l, ...), one a text -> (B, L, ...) filled up with `fill`, mask (B, L), True at real tokens."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]                           # (B, L)
    out = np.full((*mask.shape, *rows[0].shape[1:]), fill, rows[0].dtype)
    out[mask] = np.concatenate(rows)
    return sent(out, device), sent(mask, device)


def sent(values, device):
    """An array or tensor as a tensor on `device`; a GPU gets what a CPU has while the host goes on."""
    values = torch.as_tensor(values)
    far = torch.device(device).type == "cuda" and not values.is_cuda
    return (values.pin_memory() if far else values).to(device, non_blocking=far)


def on_cpu(tensor):
    """Whether a look at a number costs nothing; on a GPU the host would wait for all that it has ordered."""
    return tensor.device.type == "cpu"


def room(device):
    """Free memory of a GPU in bytes, 0 of a CPU."""
    return torch.cuda.mem_get_info(device)[0] if torch.device(device).type == "cuda" else 0


def on_grid(vectors, steps=2048):
    """Round the components of unit vectors to multiples of 1/2048, so that search is exact: DEVIATION 8.

    float16 holds them, a byte those of 1/128. A dot product is a multiple of 2^-22 of at most about 1, and so
    is each partial sum (Cauchy-Schwarz): float32 adds them without rounding, in any order.
    """
    return torch.round(vectors * steps) / steps


class Vectors:
    """Token vectors of many texts, on the grid: flat (tokens, H) float16, or int8 in units of 1/128, of text
    i offsets[i] to [i + 1]; ids, the texts' names; norms (tokens,), lengths before they became unit vectors.
    """

    def __init__(self, ids, flat, norms, offsets):
        self.ids, self.flat, self.norms, self.offsets = ids, flat, norms, offsets
        self.lengths, self.resident = np.diff(offsets), None                     # (texts,); flat on a GPU

    def batch(self, index, device):
        """Vectors (B, L, H) float32, mask (B, L) bool of the texts in `index`. A GPU keeps all from the first
        call on, if they take a quarter of its free memory at most.
        """
        if self.resident is None:
            fits = 4 * self.flat.nbytes < room(device)
            self.resident = torch.from_numpy(np.array(self.flat)).to(device) if fits else False
        unit = 1 / 128 if self.flat.dtype == np.int8 else 1
        if self.resident is False:
            vectors, mask = pad([self.flat[self.offsets[i]:self.offsets[i + 1]] for i in index], device)
            return vectors.float() * unit, mask
        places, mask = pad([np.arange(self.offsets[i], self.offsets[i + 1]) for i in index], device)
        return self.resident[places].float() * (unit * mask[:, :, None]), mask

    @classmethod
    @torch.inference_mode()
    def encode(cls, encoder, texts, kind, max_tokens=None, batch_tokens=8192, small=False):
        """Encode `texts`, {id: text} or a list, as `kind`, "query" or "doc"; small: a byte a component."""
        texts = texts if isinstance(texts, dict) else {str(i): text for i, text in enumerate(texts)}
        rows = encoder.tokens(texts.values(), kind, max_tokens)
        kept = (np.isin(row, encoder.skip[kind], invert=True).sum() for row in rows)
        offsets = np.cumsum([0, *kept])                                          # (texts + 1,)
        dtype, norms = torch.int8 if small else torch.float16, np.empty(offsets[-1], np.float32)
        flat = torch.empty(offsets[-1], encoder.dim, dtype=dtype).numpy()
        encoder.eval()
        for index in tqdm(token_batches(np.diff(offsets), batch_tokens), disable=None, desc="encode"):
            raw, mask = encoder.project([rows[i] for i in index], kind)          # (B, L, H), (B, L)
            own = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in index])
            unit = F.normalize(raw, dim=-1)[mask]                                # (tokens of the batch, H)
            made = (on_grid(unit, 128) * 128).clamp(max=127) if small else on_grid(unit)
            flat[own] = made.to(dtype).cpu().numpy()
            norms[own] = raw.norm(dim=-1)[mask].cpu().numpy()
        return cls(list(texts), flat, norms, offsets)


# ------------------------------------------------------------------------------------- 2. The score
def maxsim(query, query_mask, doc, doc_mask):
    """Late-interaction scores, equation (2): (Q, N, H), (Q, N), (D, L, H), (D, L) -> (Q, D) float32.

    >>> q, d = torch.eye(2)[None], torch.tensor([[[1., 0.], [0.6, 0.8]]])
    >>> float(maxsim(q, torch.ones(1, 2).bool(), d, torch.ones(1, 2).bool()))  # 1.0 + 0.8
    1.7999999523162842
    """
    best = token_maxima(query.flatten(0, 1).float(), doc.float(), doc_mask).view(*query.shape[:2], -1)
    return best.masked_fill(~query_mask[:, :, None], 0.0).sum(1)                 # (Q, N, D) -> (Q, D)


def token_maxima(tokens, doc, doc_mask):
    """The inner max of equation (2): tokens (T, H), (D, L, H), (D, L) -> (T, D), a document's best token.

    On a CPU 16 documents of like length come at a time: little padding, and the products stay in cache. A GPU
    takes all at once.
    """
    (T, H), (D, L, _), best = tokens.shape, doc.shape, []
    ends = (doc_mask * torch.arange(1, L + 1, device=doc.device)).amax(1).clamp(min=1)       # (D,)
    order = ends.argsort()
    for some in order.split(16 if on_cpu(doc) else D):                                       # (d,)
        l = int(ends[some[-1]]) if on_cpu(doc) else L
        sim = (tokens @ doc[some, :l].reshape(-1, H).T).view(T, len(some), l)
        best.append(sim.masked_fill_(~doc_mask[some, :l], -torch.inf).amax(-1))      # 0 would beat a real -1
    return torch.cat(best, 1)[:, order.argsort()]


# -------------------------------------------------------------------------------------- 3. Training
def length_batches(lengths, size, steps, seed, pool=32):
    """`steps` batches of `size` indices; each epoch shuffled, then sorted by length within `pool` batches."""
    lengths = np.asarray(lengths)
    rng, out, size = np.random.default_rng(seed), [], min(size, len(lengths))
    while len(out) < steps:
        order, epoch = rng.permutation(len(lengths)), []
        for block in np.array_split(order, max(1, len(order) // (size * pool))):
            block = block[np.argsort(lengths[block], kind="stable")]
            epoch += [block[i:i + size] for i in range(0, len(block) - size + 1, size)]
        out += [epoch[i] for i in rng.permutation(len(epoch))]
    return out[:steps]


def token_batches(lengths, batch_tokens):
    """All indices once, longest first, in batches of at most `batch_tokens` padded tokens (or one text)."""
    order, out = np.argsort(-np.asarray(lengths), kind="stable"), []
    while len(order):
        n = max(1, batch_tokens // max(1, int(lengths[order[0]])))
        out.append(order[:n])
        order = order[n:]
    return out


def learning_rate(step, steps, lr, warmup):
    """Linear from 0 to lr over the first `warmup` share of the steps, then linear to 0."""
    rise = max(1, round(warmup * steps))
    return lr * min((step + 1) / rise, (steps - step) / max(1, steps - rise))


def fit(model, batches, loss_of, folder=None, lr=1e-3, warmup=0.1, weight_decay=0.01, clip=1.0, accumulate=1,
        log_every=10, save_every_s=120, name=""):
    """Train `model` in place: AdamW, warm-up and linear decay, gradient clipping, accumulation, checkpoints.

    Args: batches, index arrays, one a step; loss_of, (indices, step) -> (loss, {name: number}), means over
    the indices, "tokens" a sum; folder, for train.jsonl and checkpoint.pt; lr, peak learning rate; warmup,
    share of the steps; clip, largest gradient norm; accumulate, parts a batch is cut into. A resumed run on a
    CPU equals one that ran through. Returns {"steps", "seconds"}. Raises ValueError for a loss not finite.
    """
    some = [p for p in model.parameters() if p.requires_grad]
    matrices, vectors = [p for p in some if p.dim() > 1], [p for p in some if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": weight_decay},
                                   {"params": vectors, "weight_decay": 0.0}], lr=lr, fused=True)
    os.makedirs(folder or ".", exist_ok=True)
    start, before, lines = resume(folder, model, optimizer, name)
    model.train()
    began = saved = told = time.monotonic()
    tokens = 0
    bar = tqdm(batches[start:], total=len(batches), initial=start, disable=None, desc=name)
    with open(Path(folder) / "train.jsonl" if folder else os.devnull, "w") as log:
        log.writelines(lines)
        for step, batch in enumerate(bar, start):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, len(batches), lr, warmup)
            total, stats = 0.0, {}
            for part in np.array_split(batch, min(accumulate, len(batch))):
                (loss, more), share = loss_of(part, step), len(part) / len(batch)
                (loss * share).backward()
                total, tokens = total + loss.detach() * share, tokens + more.pop("tokens")
                stats = {key: stats.get(key, 0.0) + value * share for key, value in more.items()}
            norm = nn.utils.clip_grad_norm_(matrices + vectors, clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if step % log_every and step + 1 < len(batches):
                continue
            if not torch.isfinite(total) or not torch.isfinite(norm):
                raise ValueError(f"{log.name}: the loss of {name} is {float(total)} (gradient norm "
                                 f"{float(norm)}) at step {step}; lower the learning rate")
            now, memory = time.monotonic(), (torch.cuda.max_memory_allocated() if total.is_cuda else
                                             resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1000)
            line = {"step": step, "loss": float(total), **{key: float(v) for key, v in stats.items()},
                    "lr": group["lr"], "grad_norm": float(norm), "memory_gb": round(memory / 1e9, 3),
                    "tokens_per_s": round(tokens / (now - began)), "seconds": round(before + now - began, 2)}
            print(json.dumps(line), file=log, flush=True)
            if bar.disable and now - told > 30:                        # no terminal, no bar: a line at times
                print(f"  {name}: step {step:,} of {len(batches):,}, loss {line['loss']:.4f}", flush=True)
                told = now
            if folder and now - saved > save_every_s and step + 1 < len(batches):
                save_checkpoint(folder, model, optimizer, step + 1, line["seconds"], name)
                saved = now
    model.eval()
    return {"steps": len(batches), "seconds": round(before + time.monotonic() - began, 2)}


def save_checkpoint(folder, model, optimizer, step, seconds, name):
    """Write FOLDER/checkpoint.pt, whole or not at all: what is trained, not what is frozen."""
    path = Path(folder) / "checkpoint.pt"
    rng = [torch.get_rng_state()] + ([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])
    weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    torch.save({"model": weights, "optimizer": optimizer.state_dict(), "step": step, "seconds": seconds,
                "rng": rng, "name": name}, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def resume(folder, model, optimizer, name):
    """Take up FOLDER's checkpoint, if there: the step to go on with, seconds spent, lines of the log."""
    if not folder or not (Path(folder) / "checkpoint.pt").exists():
        return 0, 0.0, []
    state = torch.load(Path(folder) / "checkpoint.pt", map_location="cpu", weights_only=True)
    if state["name"] != name:
        raise ValueError(f"{folder}/checkpoint.pt: is of {state['name']}, not of {name}; take another folder")
    model.load_state_dict(state["model"], strict=False)                          # without what is frozen
    optimizer.load_state_dict(state["optimizer"])
    for setter, value in zip((torch.set_rng_state, torch.cuda.set_rng_state), state["rng"]):
        setter(value)
    lines = (Path(folder) / "train.jsonl").read_text().splitlines(True)          # the last may have been cut
    kept = [line for line in lines if line.endswith("}\n") and json.loads(line)["step"] < state["step"]]
    print(f"  {name}: resumed at step {state['step']}", flush=True)
    return state["step"], state["seconds"], kept


# --------------------------------------------------------------------------------------- 4. Teacher
def ranking_loss(scores, target, other):
    """Equation (3): scores (Q, D), place of each query's positive (Q,), bool (Q, D) of what is left out."""
    target, other = sent(target, scores.device), sent(other, scores.device)
    scores = scores.masked_fill(other, -torch.inf)
    return F.cross_entropy(scores, target), {"accuracy": (scores.argmax(1) == target).float().mean()}


def documents_of(batch, relevant, negatives, rng):
    """Documents of a batch [(qid, positive, [negative, ...]), ...], each once, with `negatives` a query;
    target (Q,), the place of each positive; other (Q, D) bool, which others are in relevant[qid].
    """
    names = [positive for _, positive, _ in batch]
    names += [found[i] for _, _, found in batch if found and negatives
              for i in rng.permutation(len(found))[:negatives]]
    place = {name: i for i, name in enumerate(dict.fromkeys(names))}     # one met twice is encoded once
    target = torch.tensor([place[positive] for _, positive, _ in batch])
    other = torch.tensor([[d in relevant[qid] and d != own for d in place] for qid, own, _ in batch])
    return list(place), target, other


def train_teacher(encoder, queries, docs, triples, steps=None, epochs=1.0, batch=32, lr=3e-5, negatives=1,
                  seed=1, folder=None, **training):
    """Train `encoder` in place as an English retriever, equation (3). DEVIATION 2: on which data.

    Args: queries {qid: text}; docs {docid: text}; triples [(qid, positive, [negative, ...]), ...]; batch,
    queries a step; negatives, hard ones a query and step; folder, `training`, for `fit`. Returns its result.
    """
    rows = dict(zip(queries, encoder.tokens(queries.values(), "query")))
    texts = dict(zip(docs, encoder.tokens(docs.values(), "doc")))
    relevant = {}
    for qid, positive, _ in triples:
        relevant.setdefault(qid, set()).add(positive)

    def loss_of(index, step):
        some, rng = [triples[i] for i in index], np.random.default_rng([seed, step])
        names, target, other = documents_of(some, relevant, negatives, rng)
        asked, shown = [rows[qid] for qid, _, _ in some], [texts[docid] for docid in names]
        loss, stats = ranking_loss(maxsim(*encoder(asked), *encoder(shown, "doc")), target, other)
        return loss, {**stats, "tokens": sum(map(len, asked + shown))}

    lengths, steps = [len(texts[d]) for _, d, _ in triples], steps or round(epochs * len(triples) / batch)
    return fit(encoder, length_batches(lengths, batch, steps, seed), loss_of, folder, lr, name="teacher",
               **training)


# ------------------------------------------------------------------------------------ 5. Objectives
class Batch(NamedTuple):
    """What a loss sees of B sentence pairs: vectors of unit length, masks that are True at real tokens."""
    student: torch.Tensor      # (B, M, H) of the translations x, with gradient
    s_mask: torch.Tensor       # (B, M) bool
    teacher: torch.Tensor      # (B, N, H) of the English sentences e, as queries or as documents
    t_mask: torch.Tensor       # (B, N) bool
    same: torch.Tensor         # (B, B) bool, which pairs have the same English sentence
    index: np.ndarray          # (B,) places in the bitext
    norms: torch.Tensor        # (B, M) lengths of the student's vectors before they became unit vectors


def train_plan(C, a, b, epsilon, max_iter=100):
    """The plan that OPTICAL trains on; on a GPU after `max_iter` passes, so that the host need not wait."""
    return ot.sinkhorn(C, a, b, epsilon, max_iter, tol=1e-4, warn=False, wait=on_cpu(C))


def spread(C, rows, columns):
    """The standard deviation of the costs C (B, N, M) where rows (B, N) and columns (B, M) are True."""
    share = (rows[:, :, None] & columns[:, None]) / (rows.sum(1) * columns.sum(1)).sum()     # (B, N, M)
    return ((C - (C * share).sum()) ** 2 * share).sum().sqrt()


def optical_loss(b, epsilon=0.05, plan=train_plan, cost=ot.cosine_cost, weights=None):
    """Equation (6) with cost (4) and plan (5): OPTICAL.

    Args: epsilon, in units of the standard deviation of the batch's costs, so that one value does for any
    encoder: DEVIATION 9; plan, by default 100 passes at most to a marginal error of 1e-4;
    weights, (batch) -> masses (B, N), (B, M), default uniform. DEVIATION 7: the plan is a constant. The
    gradient by C is P, the derivative of the entropic transport value, not of <P, C>.
    """
    C = cost(b.teacher, b.student)                                               # (B, N, M)
    if on_cpu(C) and not torch.isfinite(C).all():
        return C.mean(), {}                            # the student has diverged: fit() stops at the NaN
    masks, unit = (b.t_mask, b.s_mask), spread(C.detach(), b.t_mask, b.s_mask)
    masses = map(ot.uniform_marginal, masks) if not weights else (
        ot.weighted_marginal(*side, wait=on_cpu(C)) for side in zip(weights(b), masks))
    transport = plan(C.detach() / unit, *masses, epsilon)
    stats = {"plan_entropy": ot.plan_entropy(transport.plan), "marginal_error": transport.error}      # (B,)
    return ot.transport_loss(C, transport.plan).mean(), {key: value.mean() for key, value in stats.items()}


def mean_loss(b):
    """Equation (7). DEVIATION 6: trained on the translation alone, not on the English side too."""
    def mean(vectors, mask):                                                     # (B, L, H), (B, L) -> (B, H)
        weight = mask[:, :, None].float()                                        # (B, L, 1)
        return (vectors * weight).sum(1) / weight.sum(1).clamp(min=1)
    return (mean(b.teacher, b.t_mask) - mean(b.student, b.s_mask)).pow(2).sum(-1).mean(), {}


def greedy_loss(b):
    """Equation (8): each student token goes to its nearest teacher token; many may share one."""
    sim = torch.einsum("bnh,bmh->bnm", b.teacher, b.student).masked_fill(~b.t_mask[:, :, None], -torch.inf)
    cost = (1 - sim.amax(1)).masked_fill(~b.s_mask, 0.0)                         # (B, M)
    return (cost.sum(1) / b.s_mask.sum(1).clamp(min=1)).mean(), {}


def contrastive_loss(b, tau=0.05):
    """Equation (9), over the sentences of the batch; equal ones are no negatives of each other."""
    scores = maxsim(b.student, b.s_mask, b.teacher, b.t_mask) / b.s_mask.sum(1, keepdim=True) / tau   # (B, B)
    own = torch.arange(len(scores), device=scores.device)
    return ranking_loss(scores, own, b.same & (own[:, None] != own))


# A loss (Batch, **settings) -> (loss, {name: number}); what its teacher takes the English side for.
Objective = NamedTuple("Objective", [("loss", Callable), ("kind", str)])
OBJECTIVES = {"optical": Objective(optical_loss, "query"), "mean": Objective(mean_loss, "query"),
              "greedy": Objective(greedy_loss, "query"), "contrastive": Objective(contrastive_loss, "doc")}


# --------------------------------------------------------------------------------------- 6. Student
class Bitext:
    """Sentence pairs [(English, translation), ...] with what the objectives need of them, computed once.

    DEVIATION 3: pairs with more than `max_tokens` on a side are left out, not cut. most: the first so many of
    those left. encode: makes the teacher's vectors. change: (index, step) -> what the student reads instead.
    """

    def __init__(self, pairs, teacher, max_tokens=64, most=None, encode=Vectors.encode, change=None):
        sides = [teacher.tokens(side, "query", max_tokens + 1) for side in zip(*pairs)]
        keep = [i for i, pair in enumerate(zip(*sides)) if max(map(len, pair)) <= max_tokens][:most]
        if not keep:
            raise ValueError(f"of {len(pairs)} pairs none has at most {max_tokens} tokens; raise max_tokens")
        self.pairs, self.english, self.rows = ([rows[i] for i in keep] for rows in (pairs, *sides))
        self.lengths, self.max_tokens, self.change = [len(row) for row in self.rows], max_tokens, change
        number = {e: i for i, (e, _) in enumerate(self.pairs)}
        self.sentence = np.array([number[e] for e, _ in self.pairs])             # equal where the English is
        self.vectors = cache(lambda kind: encode(teacher, [e for e, _ in self.pairs], kind, max_tokens))

    def batch(self, student, index, step, kind):
        """The Batch of the pairs in `index`."""
        rows = [self.rows[i] for i in index]
        if self.change:
            rows = student.tokens(self.change(index, step), "query", self.max_tokens)
        raw, s_mask = student.project(rows)                                      # (B, M, H), (B, M)
        teacher = self.vectors(kind).batch(index, raw.device)                    # (B, N, H), (B, N)
        same = sent(self.sentence[index][:, None] == self.sentence[index], raw.device)      # (B, B)
        return Batch(F.normalize(raw, dim=-1), s_mask, *teacher, same, index, raw.norm(dim=-1))


def copy_of(teacher):
    """The student before its first step. A frozen backbone is the teacher's own."""
    return copy.deepcopy(teacher, {id(teacher.backbone): teacher.backbone} if teacher.frozen else {})


def distil(teacher, pairs, objective="optical", steps=400, batch=32, lr=1e-3, seed=1, student=None,
           folder=None, training=None, **settings):
    """Train a student of `teacher` on sentence pairs alone, by a row of OBJECTIVES; returns it and its cost.

    Only this query encoder is trained; documents stay encoded by the teacher. Every objective sees the same
    pairs in the same batches. Args: pairs [(English, translation), ...] or a Bitext; student, by default a
    copy of the teacher; folder, `training` {option: value} for `fit`; `settings` for the loss: epsilon=0.1.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective {objective!r} is unknown; there are {', '.join(OBJECTIVES)}")
    bitext = pairs if isinstance(pairs, Bitext) else Bitext(pairs, teacher)
    student, (loss, kind) = student or copy_of(teacher), OBJECTIVES[objective]

    def loss_of(index, step):
        b = bitext.batch(student, index, step, kind)
        value, stats = loss(b, **settings)
        return value, {**stats, "tokens": sum(bitext.lengths[i] for i in index)}

    torch.manual_seed(seed)
    batches = length_batches(bitext.lengths, batch, steps, seed)
    return student, fit(student, batches, loss_of, folder, lr, name=objective, **(training or {}))


# ---------------------------------------------------------------------------------------- 7. Search
@torch.inference_mode()
def search(encoder, queries, index, depth=1000, max_tokens=None, chunk_tokens=65536, query_batch=16):
    """Exact MaxSim search of `queries` {qid: text} over `index`, Vectors of documents: {qid: {docid: score}}.

    Dot products are exact (on_grid), summed in float64: given the vectors, no batch or chunk moves a score.
    """
    names, device = np.array([docid.encode() for docid in index.ids]), encoder.projection.weight.device
    asked = Vectors.encode(encoder, queries, "query", max_tokens)
    tokens = sent(asked.flat, device).float()                                    # (T, H) of all queries
    owner = sent(np.repeat(np.arange(len(asked.ids)) % query_batch, asked.lengths), device)      # (T,)
    scores = np.empty((len(asked.ids), len(names)), np.float32)                  # (Q, D)
    for chunk in tqdm(token_batches(index.lengths, chunk_tokens), disable=None, desc="search", leave=False):
        vectors, d_mask = index.batch(chunk, device)
        for start in range(0, len(scores), query_batch):
            own = slice(*asked.offsets[[start, min(start + query_batch, len(scores))]])
            best = token_maxima(tokens[own], vectors, d_mask).double()           # (T, D), of some queries
            sums = best.new_zeros(query_batch, len(chunk)).index_add_(0, owner[own], best)
            scores[start:start + query_batch, chunk] = sums[:len(scores) - start].cpu().numpy()
    return {qid: {index.ids[i]: float(row[i]) for i in evaluate.ranking(row, names)[:depth]}
            for qid, row in zip(queries, scores)}


# ------------------------------------------------------------------------------------- 8. Alignment
def word_of(encoder, text, max_tokens):
    """For each token of a text its word's place in `text.split()`, -1 for markers and the like."""
    pieces = encoder.tokenizer(text, truncation=True, max_length=max_tokens - 1, return_offsets_mapping=True)
    words = [len(text[:b].split()) - 1 if text[a:b].strip() else -1 for a, b in pieces["offset_mapping"]]
    return words[:encoder.at] + [-1] + words[encoder.at:]


def word_matrix(values, rows, columns, gather):
    """Values of tokens (N, M) as those of words, by np.add or np.maximum; rows, columns: from word_of."""
    rows, columns = np.array(rows), np.array(columns)                            # as many tokens as are real
    out = np.full((rows.max() + 1, columns.max() + 1), 0.0 if gather is np.add else -np.inf)
    i, j = np.nonzero((rows[:, None] >= 0) & (columns >= 0))
    gather.at(out, (rows[i], columns[j]), values[i, j])
    return out


@torch.inference_mode()
def plans_of(teacher, student, pairs, epsilon=0.05, max_tokens=64, batch=64):
    """Word matrices of each pair: the plan's mass, summed, and the cosines, the largest: (E, X) arrays."""
    out = []
    for start in range(0, len(pairs), batch):
        some = pairs[start:start + batch]                                        # (B)
        (t, t_mask), (s, s_mask) = (encoder(encoder.tokens(texts, "query", max_tokens))
                                    for encoder, texts in zip((teacher, student), zip(*some)))
        C, masses = ot.cosine_cost(t, s), map(ot.uniform_marginal, (t_mask, s_mask))         # (B, N, M)
        plans = train_plan(C / spread(C, t_mask, s_mask), *masses, epsilon, max_iter=1000).plan
        for pair, plan, cosine in zip(some, plans.cpu().numpy(), (1 - C).cpu().numpy()):
            places = [word_of(teacher, text, max_tokens) for text in pair]
            out.append((word_matrix(plan, *places, np.add), word_matrix(cosine, *places, np.maximum)))
    return out


def links(matrix, mutual=True, threshold=None):
    """Each column's best row, as (row, column) of words; mutual: only where that holds both ways; threshold:
    instead, where a plan has more than this share of the mass of both words.
    """
    if threshold is not None:
        heavy = matrix > threshold * np.maximum(matrix.sum(1, keepdims=True), matrix.sum(0))
        return [(i, j) for i, j in np.argwhere(heavy).tolist()]
    found = {(int(i), j) for j, i in enumerate(matrix.argmax(0))}
    if mutual:
        found &= {(i, int(j)) for i, j in enumerate(matrix.argmax(1))}
    return sorted(found)


def heat(plan, rows, columns, width=80):
    """A plan (N, M) for a terminal: shades are quarters of the largest mass; its word is over a column."""
    left, right = (max(map(len, words)) for words in (rows, columns))
    step = max(1, min(3, (width - left - right) // len(columns)))                # characters a column
    out = [" " * (left + 1) + "│".ljust(step) * j + word for j, word in enumerate(columns)]
    for word, row in zip(rows, np.rint(4 * plan / plan.max()).astype(int)):
        cells = ((" ░▒▓█"[shade] * max(1, step - 1)).ljust(step) for shade in row)
        out.append(f"{word:>{left}} " + "".join(cells).rstrip())
    return "\n".join(out)


def plan_svg(plan, rows, columns, links=()):
    """A plan (N, M) as an SVG picture, with the words of its rows and columns, cells in `links` outlined."""
    plan, linked, blue = np.asarray(plan, dtype=float), set(map(tuple, links)), "#08306b"
    left, top = (20 + unit * max(map(len, words), default=0) for unit, words in ((8, rows), (6, columns)))
    most, right, high = plan.max(initial=1e-9), left + 28 * len(columns), 28 * max(3, len(rows))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{right + max(top, 96)}" height="{top + high + 9}"'
           ' font-family="sans-serif" font-size="14"><rect width="100%" height="100%" fill="#fff"/>',
           f'<linearGradient id="mass" x2="0" y1="1" y2="0"><stop stop-color="{blue}" stop-opacity="0"/>'
           f'<stop offset="1" stop-color="{blue}"/></linearGradient>',
           f'<rect x="{right + 24}" y="{top}" width="14" height="{high}" fill="url(#mass)" stroke="#ccc"/>']
    for i, j in sorted(np.ndindex(plan.shape), key=linked.__contains__):         # outlines over the others
        line = '#e6550d" stroke-width="3' if (i, j) in linked else "#ccc"
        out.append(f'<rect x="{left + 28 * j}" y="{top + 28 * i}" width="28" height="28" fill="{blue}" '
                   f'fill-opacity="{plan[i, j] / most:.3f}" stroke="{line}"/>')
    texts = [(left - 8, top + 28 * i + 19, 'text-anchor="end"', word) for i, word in enumerate(rows)]
    texts += [(x := left + 28 * j + 17, top - 8, f'transform="rotate(-45 {x} {top - 8})"', word)
              for j, word in enumerate(columns)]
    texts += [(right + 43, top + high * (1 - part) + 5, "", f"{part * most:.3f}") for part in (0, 0.5, 1)]
    out += [f'<text x="{x}" y="{y}" {more}>{html.escape(word)}</text>' for x, y, more, word in texts]
    return "\n".join([*out, "</svg>\n"])


# ---------------------------------------------------------------------------------- 9. Others' ColBERTs
# Others' ColBERTs: what their files may tell for load to follow it; PyLate's words for others' settings.
KNOWN = {"modules": ["", "Transformer Dense", "Transformer Dense MultiVectorMask Normalize"], "bias": [False],
         "activation_function": ["torch.nn.modules.linear.Identity"], "use_residual": [False],
         "module_input_name": ["token_embeddings"], "similarity": ["cosine"], "interaction": ["colbert"],
         "similarity_fn_name": [None, "MaxSim", "maxsim", "cosine"], "default_prompt_name": [None],
         "skiplist_tasks": [["document"]], "keep_only_token_ids": [None], "do_lower_case": [False],
         "processing_kwargs": [{}], "strategy": ["fixed"], "token": [None]}
SAME = {"query_token_id": "query_prefix", "doc_token_id": "document_prefix", "query_maxlen": "query_length",
        "length": "query_length", "doc_maxlen": "document_length", "mask_punctuation": "skiplist_words",
        "attend": "attend_to_expansion_tokens", "attend_to_mask_tokens": "attend_to_expansion_tokens"}


def late(name, tokenizer, config, linear):
    """The settings in PyLate's words, and weight, of the ColBERT in these files; {} of any other encoder.

    linear: its projection lies beside its backbone. Raises: ValueError, file and key, for what KNOWN lacks.
    """
    parts = data.read_json(path) if (path := FIND(name, "modules.json")) else []
    kinds, vocab = " ".join(part["type"].split(".")[-1] for part in parts), tokenizer.get_vocab()
    if "Pooling" in kinds or kinds in ("", "Transformer") and not linear:
        return {}
    found = {"prompts": {}, "do_query_expansion": True, "attend_to_expansion_tokens": False}
    for file in ("modules.json", SETTINGS, "sentence_bert_config.json", "artifact.metadata",
                 *(f"{part['path']}/config.json" for part in parts[1:])):
        path = FIND(name, file)
        values = {"modules": kinds} if file == "modules.json" else data.read_json(path) if path else {}
        values |= values.get("query_expansion") or {}
        for key, value in values.items():
            if value not in KNOWN.get(key, [value]):
                raise ValueError(f"{path}: {key} is {value!r}; Encoder.load follows {KNOWN[key]} alone")
            found[SAME.get(key, key)] = value
    words = found.get("skiplist_words") or []
    if "Normalize" in kinds:                     # sentence-transformers' own has prompts instead of markers
        most, words = min(tokenizer.model_max_length, config.max_position_embeddings), set(words) & set(vocab)
        found = {"query_length": most, "document_length": most, **found, "query_prefix": "",
                 "document_prefix": "", "do_query_expansion": "strategy" in found}
    if words is True:
        words = [tokenizer.tokenize(sign)[0] for sign in string.punctuation]
    for key in PREFIXES:
        if found[key] and found[key] not in vocab:
            raise ValueError(f"{key} is {found[key]!r}, which is no token of its tokenizer")
    for file, read in (("pytorch_model.bin", partial(torch.load, map_location="cpu")), (WEIGHTS, load_file)):
        if path := FIND(name, "1_Dense/" * ("Dense" in kinds) + file):
            found["weight"] = read(path)["linear.weight"]
    keep = {*SAME.values(), "prompts", "do_query_expansion", "weight", "__version__"}
    return {key: found[key] for key in found if key in keep} | {"skiplist_words": sorted(words)}


# -------------------------------------------------------------------------------------- 10. Commands
def matches(vectors, student, teacher, query, index, docid, text):
    """Each word of a query, of vectors (N, H), the document word that its best token matches, the cosine."""
    words = [*text.split(), "(marker)"]
    doc, _ = index.batch([index.ids.index(docid)], vectors.device)                           # (1, L, H)
    cosines = (vectors @ doc[0].T).cpu().numpy()                                             # (N, L)
    places = np.array(word_of(teacher, text, teacher.doc_tokens)) % len(words)   # -1 becomes the marker's
    best = word_matrix(cosines, word_of(student, query, student.query_tokens), places, np.maximum)
    return [(word, words[row.argmax()], round(float(row.max()), 4))
            for word, row in zip(query.split(), best) if row.max() > -2]         # -inf: it has no token


def ask(args, teacher, student):
    """Show the documents that queries find, by exact search, and what each of a query's words matched."""
    def typed():
        print("query: " if sys.stdin.isatty() else "", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline()

    if args.k < 1:
        raise ValueError(f"-k {args.k}: give how many documents to show, 1 or more")
    docs, width = data.read_tsv(args.docs), shutil.get_terminal_size().columns
    index = Vectors.encode(teacher, docs, "doc")
    for query in filter(None, map(data.clean, iter(typed, "") if args.query is None else [args.query])):
        vectors = on_grid(student([query])[0][0]).detach()                       # (N, H)
        found = [{"docid": docid, "score": score, "text": docs[docid],
                  "matches": matches(vectors, student, teacher, query, index, docid, docs[docid])}
                 for docid, score in search(student, {"": query}, index, args.k)[""].items()]
        if args.json:
            print(json.dumps({"query": query, "documents": found}, ensure_ascii=False), flush=True)
        for rank, hit in enumerate([] if args.json else found, 1):
            print(f"{rank:2} {hit['score']:7.3f}  {hit['docid']}  {hit['text']}"[:width])
            why = "  ".join("{} > {} {:.2f}".format(*pair).replace(" ", "\u00a0") for pair in hit["matches"])
            print(textwrap.indent(textwrap.fill(why, width - 12), " " * 12))


def align(args, teacher, student):
    """Print each sentence pair's word links, 3-0 for English word 3 and source word 0; 64 tokens a side."""
    texts = args.english, args.source
    if bool(args.pairs) == any(texts) or any(texts) != all(texts):
        raise ValueError("align: give --pairs FILE, or --english TEXT and --source TEXT")
    rows = data.columns(args.pairs, "", 2) if args.pairs else [texts]
    pairs, threshold = [tuple(map(data.clean, row)) for row in rows], args.threshold
    if not pairs:
        raise ValueError(f"{args.pairs}: empty, expected lines English<TAB>translation")
    for n, (pair, (plan, _)) in enumerate(zip(pairs, plans_of(teacher, student, pairs))):
        words = [text.split()[:size] for text, size in zip(pair, plan.shape)]    # a long text is cut
        found = links(plan, True, threshold if args.links == "threshold" else None) if plan.size else []
        print(*(f"{i}-{j}" for i, j in found))
        if args.heat and plan.any():
            print(heat(plan, *words, shutil.get_terminal_size().columns))
        if args.svg and n == 0:
            evaluate.write_text(args.svg, plan_svg(plan, *words, found))


COMMANDS = {      # what they do, and their options
    "distil": ("Train a student on sentence pairs.", "--teacher --bitext --objective --steps --lr --out"),
    "search": ("Write the best documents of queries.", "--teacher --student --docs --queries --out"),
    "ask": (ask.__doc__, "teacher --student --docs --query -k --json"),
    "align": (align.__doc__,
              "--teacher --student --pairs --english --source --links --threshold --heat --svg")}
OPTIONS = {
    "teacher": dict(metavar="FOLDER", help="folder of a teacher, or Hugging Face name; it encodes documents"),
    "--teacher": dict(required=True, help="folder of a teacher, or a Hugging Face name; it encodes English"),
    "--student": dict(help="folder of its student, for queries and source sentences; default: the teacher"),
    "--bitext": dict(required=True, help="file of sentence pairs to train on, English<TAB>translation"),
    "--objective": dict(default="optical", choices=OBJECTIVES, help="its loss, default optical"),
    "--steps": dict(default=400, type=int, help="training steps, default 400"),
    "--lr": dict(default=1e-3, type=float, help="peak learning rate, default 1e-3"),
    "--out": dict(required=True, help="a student's folder, where a killed training goes on, or a run's file"),
    "--docs": dict(required=True, help="file of documents, docid<TAB>text"),
    "--queries": dict(required=True, help="file of queries, qid<TAB>text"),
    "--query": dict(help="a query; default: the lines of standard input, to its end"),
    "-k": dict(default=5, type=int, help="documents to show for a query, default 5"),
    "--json": dict(action="store_true", help="one line a query, default: text; {query, documents: [{docid, "
                   "score, text, matches: [[query word, document word, cosine], ...]}, ...]}"),
    "--pairs": dict(help="file of sentence pairs, English<TAB>source; or, for one pair:"),
    "--english": dict(help="its English sentence"),
    "--source": dict(help="its other sentence, in the student's language"),
    "--links": dict(default="argmax", choices=["argmax", "threshold"], help="two words that are each other's "
                    "best (argmax, the default), or that share more mass than the threshold"),
    "--threshold": dict(default=0.4, type=float, help="a share of the mass of both words, default 0.4"),
    "--heat": dict(action="store_true", help="draw each plan in the terminal, too; default: links only"),
    "--svg": dict(help="file to draw the first plan in, as SVG; default: none")}


def main(argv=None):
    """`distil` a student, `search` or `ask` with it, `align` words; bad input is one line and status 2."""
    top, device = argparse.ArgumentParser(allow_abbrev=False), "cuda" if torch.cuda.is_available() else "cpu"
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (about, options) in COMMANDS.items():
        add = commands.add_parser(name, help=about, description=about, allow_abbrev=False).add_argument
        for option in options.split():
            add(option, **OPTIONS[option])
    args = top.parse_args(argv)
    transformers.utils.logging.disable_progress_bar()
    try:
        teacher = Encoder.load(args.teacher, device=device)
        student = Encoder.load(args.student, device=device) if vars(args).get("student") else teacher
        if args.command == "distil":
            pairs, path = data.read_bitext(args.bitext), Path(args.out) / "checkpoint.pt"
            student, _ = distil(teacher, pairs, args.objective, args.steps, lr=args.lr, folder=args.out)
            student.save(args.out)
            path.unlink(missing_ok=True)
        elif args.command == "search":
            docs, queries = data.read_tsv(args.docs), data.read_tsv(args.queries)
            run = search(student, queries, Vectors.encode(teacher, docs, "doc"))
            evaluate.write_run(args.out, run, "optical")
        else:
            {"ask": ask, "align": align}[args.command](args, teacher, student)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

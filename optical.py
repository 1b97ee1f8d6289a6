# SPDX-License-Identifier: MIT
"""OPTICAL: optimal-transport distillation for low-resource cross-lingual retrieval, in one file.

Huang, Yu, Allan: "Improving Cross-lingual Information Retrieval on Low-Resource Languages via Optimal
Transport Distillation", WSDM 2023, arXiv 2301.12566. Read top to bottom, beside the paper:

    1. Encoder       text -> one unit vector a token (ColBERT)                               (1)
    2. maxsim        the late-interaction score                                              (2)
    3. fit           one training loop for everything below; resumes bit for bit
    4. pretrain      masked language model on the embedded collection (the mini profile)
    5. teacher       English queries, English documents, in-batch and hard negatives         (3)
    6. objectives    optical, mean, greedy, contrastive: a student from bitext alone         (4)-(7);
                     code-switch, translate-train, wikiclir: from queries with judgements   (3)
    7. search        exact, over token vectors in a memory map
    8. commands      pretrain, teacher, tune, distil, search, rerank, subwords

Letters: B sentence pairs, Q queries, D documents, N teacher (or query) tokens, M student tokens, L document
tokens, H dimensions. t_i is a teacher vector of the English sentence e, s_j a student vector of its
translation x; all have unit length, so a dot product is a cosine.

    (1)  v_i = W h_i / |W h_i|,  h = last hidden states of the encoder
    (2)  score(q, d) = sum_i max_k <q_i, d_k>
    (3)  -log softmax(score(q, d+)) over all documents of the batch
    (4)  optical      <P, C>,  C_ij = 1 - <t_i, s_j>,  P = Sinkhorn plan of C with uniform marginals, constant
    (5)  mean         | mean_i t_i - mean_j s_j |^2                                (Reimers and Gurevych 2020)
    (6)  greedy       mean_j min_i (1 - <t_i, s_j>)                                (Li et al. 2022, DR.DECR)
    (7)  contrastive  -log softmax_b(score(s, d_b) / (M tau)) at its own e, d_b = document vectors of e_b

Padding: a mask is True at real tokens; a padded token is -inf in a max and weighs 0 in a sum or a marginal.
"""
import argparse
import bisect
import copy
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import distributed, nn
from tqdm import tqdm

import baselines
import data
import evaluate
import ot

SHARD = 1 << 20                                    # tokens whose vectors are written together: 256 MB
OBJECTIVES = ("optical", "mean", "greedy", "contrastive")         # from bitext alone
METHODS = OBJECTIVES + ("code-switch", "translate-train", "wikiclir")


# --------------------------------------------------------------------------------------- 1. Encoder

class Encoder(nn.Module):
    """Texts to token vectors of unit length, equation (1): a Hugging Face encoder, a marker, a projection.

    A query starts with [CLS] [query marker], a document with [CLS] [document marker] (ColBERT, section 3.2).
    A decoder will do too: its hidden states have seen the tokens before them; what its tokenizer puts first,
    if anything, stands for [CLS]. Markers are unused tokens of the vocabulary (BERT), else new ones (XLM-R)
    that start as the vector of the sentence-start token: a random one costs XLM-R most of its quality. They
    go in after tokenisation, so no prefix text can be split or overwritten.

    A backbone in bfloat16 is frozen: it takes an eighth of the memory, and only the projection is trained.
    """

    def __init__(self, backbone, tokenizer, dim=128, query_tokens=32, doc_tokens=180, augment=False):
        super().__init__()
        self.frozen = backbone.dtype == torch.bfloat16
        backbone.requires_grad_(not self.frozen)
        hidden = backbone.config.hidden_size
        self.backbone, self.tokenizer = backbone, tokenizer
        self.projection = nn.Linear(hidden, dim, bias=False)
        start = nn.init.eye_ if dim == hidden else nn.init.orthogonal_   # eye_: the encoder's own space
        start(self.projection.weight)
        self.dim, self.query_tokens, self.doc_tokens, self.augment = dim, query_tokens, doc_tokens, augment
        if augment and tokenizer.mask_token_id is None:
            raise ValueError("the encoder's tokenizer has no mask token to fill queries up with; "
                             "leave out --augment")
        self.markers = self._markers()
        first = tokenizer("")["input_ids"][:1]         # of a decoder, often nothing or its end token alone
        self.at = int(first in ([tokenizer.cls_token_id], [tokenizer.bos_token_id]))      # a marker's place
        self.bf16 = False  # set by place(): bfloat16 inside the backbone, vectors and scores stay float32
        self.compiled = None         # set by compile_training(): the backbone's forward of a training step
        self.attention = backbone.config._attn_implementation

    def _markers(self):
        """Token ids of the query and document markers, added where the vocabulary has no unused tokens."""
        names = ["[unused0]", "[unused1]"]
        if not set(names) <= set(self.tokenizer.get_vocab()):
            names = ["[Q]", "[D]"]
            if self.tokenizer.add_special_tokens({"additional_special_tokens": names}):
                table = self.backbone.resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
                start = self.tokenizer.cls_token_id
                start = self.tokenizer.bos_token_id if start is None else start
                ids = self.tokenizer.convert_tokens_to_ids(names)
                table.weight.data[ids] = table.weight.data[start or 0].clone()
        return dict(zip(("query", "doc"), self.tokenizer.convert_tokens_to_ids(names)))

    def place(self, args):
        """This encoder on the device and in the precision of a command."""
        self.bf16 = args.bf16
        return self.to(args.device)

    def compile_training(self):
        """From now on a training step runs the backbone compiled; whatever trains nothing runs it as it is.

        Lengths stay symbolic, or each would be compiled for itself. N.B. torch keeps at most eight variants
        of a function and then runs it uncompiled, without a word; the reset forgets those of other encoders.
        """
        torch.compiler.reset()
        self.compiled = torch.compile(self.backbone.forward, dynamic=True)

    def train(self, mode=True):
        """As in torch. N.B. fused attention is slow backward in bfloat16 on a CPU: 32 ms, eager 3 ms."""
        eager = mode and self.bf16 and self.projection.weight.device.type == "cpu" and not self.frozen
        self.backbone.set_attn_implementation("eager" if eager else self.attention)
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def tokens(self, texts, kind, max_tokens=None):
        """Token ids of each text, a list of int32 arrays; `kind` is "query" or "doc".

        At most `max_tokens` (default: query_tokens or doc_tokens), the marker included. With augment a query
        is filled up to query_tokens with mask tokens, which then count as real ones (ColBERT).
        """
        limit = max_tokens or (self.query_tokens if kind == "query" else self.doc_tokens)
        ids = self.tokenizer(list(texts), truncation=True, max_length=limit - 1, return_attention_mask=False,
                             return_token_type_ids=False, verbose=False)["input_ids"]
        rows = [row[:self.at] + [self.markers[kind]] + row[self.at:] for row in ids]
        if kind == "query" and self.augment:
            rows = [row + [self.tokenizer.mask_token_id] * (self.query_tokens - len(row)) for row in rows]
        return [np.array(row, dtype=np.int32) for row in rows]

    def pad(self, rows):
        """Arrays of token ids -> ids (B, L) int64 and mask (B, L) bool, on the encoder's device."""
        return pad(rows, self.tokenizer.pad_token_id or 0, self.projection.weight.device)

    def project(self, ids, mask):
        """ids (B, L) int64, mask (B, L) bool -> W h of equation (1), (B, L, H) float32, of any length."""
        learns = torch.is_grad_enabled() and not self.frozen
        backbone = self.compiled if learns and self.compiled else self.backbone
        with torch.autocast(ids.device.type, dtype=torch.bfloat16) if self.bf16 else nullcontext():
            with torch.set_grad_enabled(learns):
                h = backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return self.projection(h.float())                                        # (B, L, hidden) -> (B, L, H)

    def forward(self, ids, mask):
        """ids (B, L) int64, mask (B, L) bool -> vectors (B, L, H) float32 of unit length."""
        return F.normalize(self.project(ids, mask), dim=-1)

    def digest(self):
        """SHA-256 of all weights: it tells whose vectors are whose."""
        sha256 = hashlib.sha256()
        for weight in self.state_dict().values():
            sha256.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return sha256.hexdigest()

    def save(self, folder):
        """Hugging Face layout (AutoModel, AutoTokenizer load it) plus the projection as PyLate keeps it."""
        folder = Path(folder)
        self.backbone.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        (folder / "1_Dense").mkdir(exist_ok=True)
        save_file({"linear.weight": self.projection.weight.detach().cpu().contiguous()},
                  folder / "1_Dense" / "model.safetensors")
        write_json(folder / "1_Dense" / "config.json", {
            "in_features": self.projection.in_features, "out_features": self.dim, "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity"})
        write_json(folder / "modules.json", [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"}])
        names = {kind: self.tokenizer.convert_ids_to_tokens(i) for kind, i in self.markers.items()}
        write_json(folder / "config_sentence_transformers.json", {
            "query_prefix": names["query"], "document_prefix": names["doc"],
            "query_length": self.query_tokens, "document_length": self.doc_tokens,
            "do_query_expansion": self.augment, "attend_to_expansion_tokens": True,
            "similarity_fn_name": "MaxSim", "skiplist_words": []})

    @classmethod
    def load(cls, name, dim=128, query_tokens=32, doc_tokens=180, augment=False, freeze=False):
        """A folder written by save(), with its settings, or a Hugging Face encoder with those given.

        What save() wrote in bfloat16 is loaded so, frozen.
        """
        from transformers import AutoConfig, AutoModel, AutoTokenizer
        if (Path(name) / "sums.json").exists():
            data.check_seal(name)
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            config = AutoConfig.from_pretrained(name, trust_remote_code=False)
            folder = Path(name)
            saved = (folder / "1_Dense" / "model.safetensors").exists()
            freeze = freeze or saved and config.dtype == torch.bfloat16
            bare = {"add_pooling_layer": False} if config.model_type in ("bert", "xlm-roberta") else {}
            backbone = AutoModel.from_pretrained(name, trust_remote_code=False, **bare,
                                                 dtype=torch.bfloat16 if freeze else torch.float32)
        except (OSError, KeyError, ValueError) as error:
            raise unloadable(name, "encoder", error) from None
        if saved:
            saved = read_json(folder / "config_sentence_transformers.json")
            weight = load_file(folder / "1_Dense" / "model.safetensors")["linear.weight"]
            encoder = cls(backbone, tokenizer, weight.shape[0], saved["query_length"],
                          saved["document_length"], saved["do_query_expansion"])
            encoder.projection.weight.data.copy_(weight)
            return encoder
        return cls(backbone, tokenizer, dim or backbone.config.hidden_size, query_tokens, doc_tokens, augment)


def training_memory(name, freeze):
    """(parameters, GB a teacher's training takes, GB a student's) of encoder `name`, from its config alone.

    At least: a float32 weight, its gradient and AdamW's two means take 16 bytes, the teacher beside a student
    4, a frozen weight 2, shared by both. Activations come on top; they grow with --batch and the lengths.
    """
    from transformers import AutoConfig, AutoModel
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        with torch.device("meta"):
            n = sum(p.numel() for p in AutoModel.from_config(config, trust_remote_code=False).parameters())
    except (OSError, KeyError, ValueError) as error:
        raise unloadable(name, "encoder", error) from None
    return n, n * (2 if freeze else 16) / 1e9, n * (2 if freeze else 20) / 1e9


def unloadable(name, what, error):
    """The ValueError that says why no `what` can be loaded from `name`, a Hugging Face name or a folder."""
    return ValueError(f"{name}: no {what} can be loaded from there ({str(error).strip().splitlines()[0]}); "
                      "give a Hugging Face name or a folder with config.json and model.safetensors")


def set_dropout(model, p):
    """Dropout of every layer; 0 by default: with dropout attention is much slower on a CPU."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = p


def pad(rows, pad_id, device):
    """Arrays of ids -> ids (B, L) int64 filled up with `pad_id`, mask (B, L) bool, True at real tokens."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]                           # (B, L)
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = np.concatenate(rows)
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def fill(mask, rows):
    """Arrays of numbers, one a text, at the True places of mask (B, L), else 0: (B, L) float32."""
    out = torch.zeros(mask.shape, device=mask.device)
    out[mask] = torch.from_numpy(np.concatenate(rows)).to(out)
    return out


def on_grid(vectors):
    """Round the components of unit vectors to multiples of 1/2048, so that search is exact arithmetic.

    float16 holds such numbers exactly. A dot product of two is a multiple of 2^-22 of at most about 1, and so
    is every partial sum (Cauchy-Schwarz): float32 adds them without rounding, in any order. A score depends
    on the two texts' vectors alone, not on chunk, batch, threads or device, and equal documents tie exactly.
    The error is at most 1/4096 a component.
    """
    return torch.round(vectors * 2048) / 2048


def to_int8(vectors):
    """Components of unit vectors as 128ths, int8. Products with vectors of `on_grid` stay exact sums."""
    return torch.round(vectors * 128).clamp(-127, 127).to(torch.int8)


def new_array(path, dtype, shape):
    """An array in a new file, its room taken from the disk now: a full disk is an error here.

    Without that a write to the memory map of a full disk kills the process without a word.
    """
    flat = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return flat


class Tokens:
    """Token ids of many texts, flat in an int32 memory map; text i is an array, `tokens[i]`.

    Written once by `encode`, a part at a time, and read where they are needed: they take no memory.
    """

    def __init__(self, flat, offsets, index):
        self.flat, self.offsets, self.index = flat, offsets, index
        self.lengths = offsets[index + 1] - offsets[index]                       # (texts,)

    def __len__(self):
        return len(self.index)

    def __getitem__(self, i):
        at = self.index[i]
        return self.flat[self.offsets[at]:self.offsets[at + 1]]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def take(self, index):
        """These texts only, as Tokens."""
        return Tokens(self.flat, self.offsets, self.index[index])

    @classmethod
    def encode(cls, folder, encoder, texts, kind, max_tokens=None, chunk=20_000):
        """Tokenise `texts` (a list) as `kind` into `folder`, or open what an earlier run left there."""
        folder, sha256 = Path(folder), hashlib.sha256(repr((kind, max_tokens, encoder.augment)).encode())
        for text in texts:
            sha256.update(text.encode() + b"\n")
        about = sha256.hexdigest()
        with locked(folder):
            if not folder.exists():
                part, lengths = fresh(folder), []
                with open(part / "ids.int32", "wb") as file:
                    for start in range(0, len(texts), chunk):
                        rows = encoder.tokens(texts[start:start + chunk], kind, max_tokens)
                        np.concatenate(rows).tofile(file)
                        lengths += map(len, rows)
                np.save(part / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]))
                settle(part, folder, about)
            else:
                data.check_seal(folder, about)
        offsets = np.load(folder / "offsets.npy")                                # (texts + 1,)
        return cls(np.memmap(folder / "ids.int32", np.int32, "r"), offsets, np.arange(len(texts)))


class Vectors:
    """Token vectors of many texts in memory maps, on the grid of `on_grid`; may be larger than memory.

    A folder of shards of about SHARD tokens, each written whole or not at all, by whichever process comes
    first: a killed encoding goes on, and processes or GPUs share one. vectors.npy (tokens, H), float16 or
    int8; offsets.npy (texts + 1,), text i of a shard owns rows offsets[i] to offsets[i+1]; norms.npy
    (tokens,), the lengths that the vectors had before they became unit vectors, for marginals by norm.
    """

    def __init__(self, folder):
        shards = sorted(path for path in Path(folder).iterdir() if path.name.isdigit())
        self.flats = [np.load(path / "vectors.npy", mmap_mode="r") for path in shards]
        self.norms = [np.load(path / "norms.npy", mmap_mode="r") for path in shards]
        self.offsets = [np.load(path / "offsets.npy") for path in shards]
        self.starts = np.cumsum([0, *(len(o) - 1 for o in self.offsets)]).tolist()        # (shards + 1,)
        self.lengths = np.concatenate([np.diff(offsets) for offsets in self.offsets])     # (texts,)

    def __len__(self):
        return len(self.lengths)

    def rows(self, arrays, i):
        """The rows of text i in the shards' `arrays`."""
        shard = bisect.bisect_right(self.starts, i) - 1
        offsets, own = self.offsets[shard], i - self.starts[shard]
        return arrays[shard][offsets[own]:offsets[own + 1]]

    def batch(self, index, device):
        """Vectors (B, L, H) float32 and mask (B, L) bool of the texts in `index`."""
        lengths = self.lengths[index]
        mask = np.arange(lengths.max()) < lengths[:, None]                       # (B, L)
        out = np.zeros((*mask.shape, self.flats[0].shape[1]), dtype=np.float32)  # (B, L, H)
        out[mask] = np.concatenate([self.rows(self.flats, i) for i in index])
        if self.flats[0].dtype == np.int8:
            out /= 128
        return torch.from_numpy(out).to(device), torch.from_numpy(mask).to(device)

    def shard(self, i):
        """The texts of one shard, as Vectors."""
        own = copy.copy(self)
        own.flats, own.norms, own.offsets = self.flats[i:i + 1], self.norms[i:i + 1], self.offsets[i:i + 1]
        own.starts, own.lengths = [0, len(own.offsets[0]) - 1], np.diff(own.offsets[0])
        return own

    def token_norms(self, index, mask):
        """The norms of the texts in `index` where mask (B, L) is True, else 0: (B, L) float32."""
        return fill(mask, [self.rows(self.norms, i) for i in index])

    def chunks(self, tokens):
        """All texts once, in batches of at most so many padded tokens, shard after shard."""
        return [start + index for start, end in zip(self.starts, self.starts[1:])
                for index in token_batches(self.lengths[start:end], tokens)]

    @classmethod
    def encode(cls, folder, encoder, texts, kind, max_tokens=None, batch_tokens=8192, name="", rows=None,
               int8=False, shard_tokens=SHARD):
        """Encode `texts` (a list) as `kind` into `folder`, or open what an earlier run left there, whole.

        rows: their token ids, where these are known already. int8: half the room, coarser vectors.
        """
        folder, weights = Path(folder), encoder.digest()
        rows = encoder.tokens(texts, kind, max_tokens) if rows is None else rows
        lengths = np.array([len(row) for row in rows])
        print(f"  {name or folder.name}: {len(rows):,} texts, {lengths.sum():,} tokens", flush=True)
        cuts = np.flatnonzero(np.diff(np.cumsum(lengths) // shard_tokens)) + 1
        edges = [0, *cuts.tolist(), len(rows)]

        def one(path, shard):
            own = [rows[i] for i in range(edges[shard], edges[shard + 1])]
            sha256 = hashlib.sha256(f"{weights} {int8} {len(edges)}".encode())
            for row in own:
                sha256.update(len(row).to_bytes(4, "little") + row.tobytes())
            if path.exists():
                data.check_seal(path, sha256.hexdigest())
            else:
                part = fresh(path)
                cls._encode(part, encoder, own, batch_tokens, int8, f"{name} {shard + 1} of {len(edges) - 1}")
                settle(part, path, sha256.hexdigest())

        share_out("", {(shard,): folder / f"{shard:05d}" for shard in range(len(edges) - 1)}, one)
        return cls(folder)

    @staticmethod
    def _encode(part, encoder, rows, batch_tokens, int8, name):
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        shape = (int(offsets[-1]), encoder.dim)
        flat = new_array(part / "vectors.npy", np.int8 if int8 else np.float16, shape)
        norms = np.empty(len(flat), np.float32)
        encoder.eval()
        with torch.inference_mode():
            for index in tqdm(token_batches(np.diff(offsets), batch_tokens), disable=None, desc=name):
                raw = encoder.project(*encoder.pad([rows[i] for i in index]))   # (B, L, H)
                vectors = F.normalize(raw, dim=-1)
                vectors = to_int8(vectors) if int8 else on_grid(vectors).half()
                for i, v, n in zip(index, vectors.cpu().numpy(), raw.norm(dim=-1).cpu().numpy()):
                    flat[offsets[i]:offsets[i + 1]] = v[:len(rows[i])]
                    norms[offsets[i]:offsets[i + 1]] = n[:len(rows[i])]
        flat.flush()
        np.save(part / "norms.npy", norms)
        np.save(part / "offsets.npy", offsets)


# ------------------------------------------------------------------------------------- 2. The score

def maxsim(query, query_mask, doc, doc_mask):
    """Late-interaction scores, equation (2): (Q, N, H), (Q, N), (D, L, H), (D, L) -> (Q, D) float32.

    A padded document token is -inf in the max (at 0 it would beat a real token at -1), a padded query token
    weighs 0 in the sum. The gradient reaches each query token and its best document token.

    >>> q, d = torch.eye(2)[None], torch.tensor([[[1., 0.], [0.6, 0.8]]])
    >>> float(maxsim(q, torch.ones(1, 2).bool(), d, torch.ones(1, 2).bool()))  # 1.0 + 0.8
    1.7999999523162842
    """
    best = token_maxima(query, doc, doc_mask)                                    # (Q, N, D)
    return best.masked_fill(~query_mask[:, :, None], 0.0).sum(1)                 # (Q, D)


def token_maxima(query, doc, doc_mask):
    """The inner max of equation (2), a document's best token: (Q, N, H), (D, L, H), (D, L) -> (Q, N, D)."""
    return TokenMaxima.apply(query.float(), doc.float(), doc_mask)


def similarities(tokens, doc, doc_mask):
    """Dot products of query tokens (T, H) with documents, some at a time: yields places (d,), (T, d, l).

    A padded token is -inf. On a CPU documents of like length come together, 16 at a time: little padding is
    multiplied, and what is yielded stays in cache.
    """
    (T, H), (D, L, _) = tokens.shape, doc.shape
    ends = (doc_mask * torch.arange(1, L + 1, device=doc.device)).amax(1)                    # (D,)
    for some in ends.argsort().split(16 if doc.device.type == "cpu" else D):                 # (d,)
        l = max(int(ends[some[-1]]), 1)
        sim = (tokens @ doc[some, :l].reshape(-1, H).T).view(T, len(some), l)
        yield some, sim.masked_fill_(~doc_mask[some, :l], -torch.inf)


class TokenMaxima(torch.autograd.Function):
    """token_maxima, whose backward pass remembers where the maxima are and not all similarities.

    The gradient of a maximum goes to one token, of equal ones to the first.
    """

    @staticmethod
    def forward(ctx, query, doc, doc_mask):
        (Q, N, H), D = query.shape, len(doc)
        best = query.new_empty(Q * N, D)
        place = torch.empty(Q * N, D, dtype=torch.int64, device=query.device)
        for some, sim in similarities(query.reshape(Q * N, H), doc, doc_mask):
            best[:, some], place[:, some] = sim.max(-1)
        ctx.save_for_backward(query, doc, place)
        return best.view(Q, N, D)

    @staticmethod
    def backward(ctx, gradient):
        query, doc, place = ctx.saved_tensors
        (Q, N, H), (D, L, _) = query.shape, doc.shape
        token = place + L * torch.arange(D, device=place.device)                 # (Q N, D), row of doc
        gradient, to_doc = gradient.reshape(Q * N, D), None
        to_query = F.embedding_bag(token, doc.reshape(D * L, H), per_sample_weights=gradient, mode="sum")
        if ctx.needs_input_grad[1]:
            g = gradient.new_zeros(Q * N, D * L).scatter_(-1, token, gradient)
            to_doc = (g.T @ query.reshape(Q * N, H)).view_as(doc)
        return to_query.view_as(query), to_doc, None


# -------------------------------------------------------------------------------------- 3. Training

def length_batches(lengths, size, steps, seed, pool=32):
    """`steps` batches of `size` indices; each epoch shuffled, then sorted by length within `pool` batches.

    So little is padded, and which texts meet is still random. Pure: the same arguments give the same batches,
    which is how a resumed training finds its place.
    """
    lengths = np.asarray(lengths)
    size = min(size, len(lengths))
    rng, out = np.random.default_rng(seed), []
    while len(out) < steps:
        order = rng.permutation(len(lengths))
        epoch = []
        for block in np.array_split(order, max(1, len(order) // (size * pool))):
            block = block[np.argsort(lengths[block], kind="stable")]
            epoch += [block[i:i + size] for i in range(0, len(block) - size + 1, size)]
        out += [epoch[i] for i in rng.permutation(len(epoch))]
    return out[:steps]


def token_batches(lengths, batch_tokens):
    """All indices once, longest first, in batches of at most `batch_tokens` padded tokens (or one text)."""
    order, out, i = np.argsort(-np.asarray(lengths), kind="stable"), [], 0
    while i < len(order):
        n = max(1, batch_tokens // max(1, int(lengths[order[i]])))
        out.append(order[i:i + n])
        i += n
    return out


def learning_rate(step, steps, lr, warmup):
    """Linear from 0 to lr over the first `warmup` share of the steps, then linear to 0."""
    rise = max(1, round(warmup * steps))
    return lr * min((step + 1) / rise, (steps - step) / max(1, steps - rise))


def fit(model, batches, loss_of, folder, lr, warmup=0.1, weight_decay=0.01, clip=1.0, accumulate=1,
        log_every=10, save_every_s=120, name=""):
    """Train `model` in place: AdamW, warm-up and linear decay, gradient clipping, accumulation, checkpoints.

    Args:
        batches: list of index arrays, one a step.
        loss_of: (indices, step) -> (loss, {name: float}), a mean over the indices; "tokens" is a sum.
        folder: gets train.jsonl (a JSON object every `log_every` steps) and checkpoint.pt.
        lr: peak learning rate. warmup: share of the steps. clip: largest gradient norm.
        accumulate: parts a batch is cut into; same gradient as the whole batch but for in-batch negatives.
            Under torchrun each process takes its share of accumulate * processes parts: the numbers are those
            of one process with as many parts.
        save_every_s: seconds between checkpoints; on a CPU a resumed run equals an uninterrupted one exactly.
    Raises: ValueError when the loss is not finite, naming log and step.
    """
    folder, device, (rank, world) = Path(folder), next(model.parameters()).device, ranks()
    matrices = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.dim() < 2]
    params = matrices + vectors
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": weight_decay},
                                   {"params": vectors, "weight_decay": 0.0}], lr=lr, fused=True)
    checkpoint, log, start, seconds = folder / "checkpoint.pt", folder / "train.jsonl", 0, 0.0
    if checkpoint.exists():
        state = load_checkpoint(checkpoint)
        model.load_state_dict(state["model"], strict=False)                      # without what is frozen
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"])
        start, seconds = state["step"], state["seconds"]
        print(f"  {name}: resumed at step {start} of {len(batches)}", flush=True)
    kept = [line for line in read_jsonl(log) if line["step"] < start] if log.exists() else []
    if world > 1:
        distributed.barrier()                                            # all have read before one writes
    model.train()
    began = saved = time.monotonic()
    bar = tqdm(total=len(batches), initial=start, disable=None if rank == 0 else True, desc=name)
    with open(log if rank == 0 else os.devnull, "w") as stream, bar:
        for line in kept:
            print(json.dumps(line), file=stream)
        tokens = 0
        for step in range(start, len(batches)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, len(batches), lr, warmup)
            total, stats, count = 0.0, {}, 0
            parts = np.array_split(batches[step], min(accumulate * world, len(batches[step])))
            if len(parts) < world:
                raise ValueError(f"{name}: a batch of {len(batches[step])} for {world} processes; "
                                 "raise --batch")
            for part in parts[rank::world]:
                loss, part_stats = loss_of(part, step)
                weight = len(part) / len(batches[step])
                (loss * weight).backward()
                total = total + loss.detach() * weight
                count += part_stats.pop("tokens")
                for key, value in part_stats.items():
                    stats[key] = stats.get(key, 0.0) + value * weight
            if world > 1:
                total, count, *values = sum_over_processes(params, total, count, *stats.values())
                total, stats = torch.tensor(total), dict(zip(stats, values))
            tokens += int(count)
            norm = nn.utils.clip_grad_norm_(params, clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            bar.update()
            if step % log_every == 0 or step == len(batches) - 1:
                if not torch.isfinite(total) or not torch.isfinite(norm):
                    raise ValueError(f"{log}: the loss of {name} is {float(total)} (gradient norm "
                                     f"{float(norm)}) at step {step}; lower --lr or --clip")
                now = seconds + time.monotonic() - began
                line = {"step": step, "loss": float(total), **{k: float(v) for k, v in stats.items()},
                        "lr": optimizer.param_groups[0]["lr"], "grad_norm": float(norm),
                        "tokens_per_s": round(tokens / (time.monotonic() - began)), "seconds": round(now, 2),
                        "memory_gb": round(peak_memory_gb(device), 3)}
                print(json.dumps(line), file=stream, flush=True)
                bar.set_postfix(loss=f"{line['loss']:.4f}")
                if rank == 0 and time.monotonic() - saved > save_every_s and step + 1 < len(batches):
                    weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
                    state = {"model": weights, "optimizer": optimizer.state_dict(),
                             "step": step + 1, "seconds": now, "rng": torch.get_rng_state()}
                    if device.type == "cuda":
                        state["cuda_rng"] = torch.cuda.get_rng_state()
                    save_checkpoint(checkpoint, state)
                    saved = time.monotonic()
    model.eval()
    return {"steps": len(batches), "seconds": round(seconds + time.monotonic() - began, 2)}


def save_checkpoint(path, state):
    """What torch.save writes and its SHA-256, under a temporary name first."""
    stream = io.BytesIO()
    torch.save(state, stream)
    with open(path.with_suffix(".tmp"), "wb") as file:
        file.write(stream.getbuffer())
        file.write(hashlib.sha256(stream.getbuffer()).digest())
    os.replace(path.with_suffix(".tmp"), path)


def load_checkpoint(path):
    """What save_checkpoint saved. Raises: ValueError where the file is damaged.

    N.B. the checksums of torch's own zip archive are not enough: torch does not look at them, and a flipped
    bit of the archive's directory makes it read other bytes than they are of.
    """
    body = path.read_bytes()
    if hashlib.sha256(memoryview(body)[:-32]).digest() != body[-32:]:
        raise ValueError(f"{path}: damaged; delete {path.parent}, and the training starts anew")
    return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)


def ranks():
    """(rank, number of processes) of this one under torchrun, else (0, 1)."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def sum_over_processes(params, *sums):
    """Add up the gradients of all processes, in place, and some numbers: one message. Returns the numbers.

    N.B. not the DistributedDataParallel wrapper: a loss here calls the model as often and as it likes, which
    the wrapper's forward does not allow; and a message a step is little beside a backward pass.
    """
    device = params[0].device
    numbers = torch.stack([torch.as_tensor(value, dtype=torch.float32, device=device) for value in sums])
    flat = torch.cat([numbers, *(p.grad.reshape(-1) for p in params)])
    distributed.all_reduce(flat)
    for p, grad in zip(params, flat[len(sums):].split([p.numel() for p in params])):
        p.grad.copy_(grad.view_as(p))
    return flat[:len(sums)].tolist()


def join_processes(args):
    """Under torchrun: join the others, each with its own GPU, the first of them tells. Elsewhere: nothing."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return
    if args.run_command not in ("pretrain", "teacher"):
        raise ValueError(f"{args.run_command} under torchrun: only pretrain and teacher use several GPUs "
                         "at once; start other commands once a GPU, they share the work")
    on_gpu = torch.device(args.device).type == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    if distributed.get_rank():
        sys.stdout = open(os.devnull, "w")


# ---------------------------------------------------------------------------------- 4. Pre-training

def train_tokenizer(sentences, vocab, folder):
    """A byte-pair vocabulary of at most `vocab` entries from `sentences`, saved in Hugging Face layout.

    Lower case, NFC. Accents are kept: stripping them, as BERT does, deletes the vowel signs of Devanagari.
    N.B. not WordPiece: that trainer breaks ties by a random hash, so each run would make another vocabulary.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]"]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    pieces = [pre_tokenizers.Punctuation(), pre_tokenizers.Metaspace()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(pieces)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(sentences, trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=specials, min_frequency=2, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]",
                            cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]").save_pretrained(folder)


def mask_tokens(ids, mask, vocab, mask_id, special, generator):
    """BERT's masking (Devlin et al. 2019): of 15 % of the tokens 80 % become [MASK], 10 % random, 10 % stay.

    Args: ids (B, L) int64, mask (B, L) bool; ids up to `special` are never chosen.
    Returns: the masked ids (B, L) and which positions to predict (B, L) bool.
    """
    r = torch.rand(ids.shape, generator=generator).to(ids.device)
    chosen = mask & (ids > special) & (r < 0.15)
    random = torch.randint(special + 1, vocab, ids.shape, generator=generator).to(ids.device)
    out = torch.where(chosen & (r < 0.12), torch.full_like(ids, mask_id), ids)   # 0.12 = 80 % of 0.15
    return torch.where(chosen & (r >= 0.12) & (r < 0.135), random, out), chosen


def pretrain(args):
    """A small BERT from scratch on DATA/pretrain.txt, tokenizer included: the mini profile's mBERT."""
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM
    manifest, out = data.load_manifest(args.data), Path(args.out)
    if not manifest["pretrain"]:
        raise ValueError(f"{args.data}/collection.json: has no pre-training text; "
                         "give --encoder to `teacher` instead")
    part = open_experiment(out, args)
    if part is None:
        return
    sentences = (Path(args.data) / manifest["pretrain"]).read_text(encoding="utf-8").splitlines()
    train_tokenizer(sentences, args.vocab, part / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(part / "tokenizer")
    ids = tokenizer(sentences, truncation=True, max_length=64)["input_ids"]
    rows = [np.array(row, np.int32) for row in ids]
    torch.manual_seed(args.seed)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=args.hidden, num_hidden_layers=args.layers,
                        num_attention_heads=max(1, args.hidden // 32),
                        intermediate_size=args.ffn * args.hidden, max_position_embeddings=256,
                        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = BertForMaskedLM(config).to(args.device)
    special = tokenizer.convert_tokens_to_ids("[unused1]")

    def loss_of(index, step):
        ids, mask = pad([rows[i] for i in index], tokenizer.pad_token_id, args.device)   # (B, L)
        generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
        masked, chosen = mask_tokens(ids, mask, len(tokenizer), tokenizer.mask_token_id, special, generator)
        with torch.autocast(ids.device.type, dtype=torch.bfloat16) if args.bf16 else nullcontext():
            h = model.bert(input_ids=masked, attention_mask=mask.long()).last_hidden_state  # (B, L, hidden)
            logits = model.cls(h[chosen])                                        # (chosen, vocab)
        return F.cross_entropy(logits.float(), ids[chosen]), {"tokens": int(mask.sum())}

    batches = length_batches([len(row) for row in rows], args.batch, args.steps, args.seed)
    spent = fit(model, batches, loss_of, part, args.lr, accumulate=args.accumulate, log_every=args.log_every,
                name="pretrain", save_every_s=args.save_every_s)
    if ranks()[0]:
        return
    model.bert.save_pretrained(part)
    tokenizer.save_pretrained(part)
    shutil.rmtree(part / "tokenizer")
    close_experiment(part, out, {"sentences": len(sentences), "vocabulary": len(tokenizer), **spent})


# --------------------------------------------------------------------------------------- 5. Teacher

def teacher_loss(encoder, query_rows, doc_rows, target, other):
    """Equation (3) for one batch.

    Args: query_rows (Q), doc_rows (D): lists of token ids; target (Q,): index of each query's positive;
    other (Q, D) bool: further documents relevant to the query, left out of its softmax.
    """
    q, q_mask = encoder.pad(query_rows)
    d, d_mask = encoder.pad(doc_rows)
    loss, stats = ranking_loss(encoder(q, q_mask), q_mask, encoder(d, d_mask), d_mask, target, other)
    return loss, {**stats, "tokens": int(q_mask.sum() + d_mask.sum())}


def ranking_loss(query, query_mask, doc, doc_mask, target, other):
    """Equation (3) from vectors (Q, N, H) and (D, L, H) with their masks; target and other as above."""
    scores = maxsim(query, query_mask, doc, doc_mask)                            # (Q, D)
    scores = scores.masked_fill(other.to(scores.device), -torch.inf)
    target = target.to(scores.device)
    return F.cross_entropy(scores, target), {"accuracy": (scores.argmax(1) == target).float().mean()}


def documents_of(batch, relevant, negatives, rng):
    """The documents of a batch [(qid, positive, [negative, ...]), ...]: positives, then `negatives` a query.

    Returns the documents, each once; target (Q,), the place of each positive; other (Q, D) bool, which
    further documents are in relevant[qid].
    """
    names = [positive for _, positive, _ in batch]
    for _, _, found in batch:
        if found and negatives:
            names += [found[i] for i in rng.permutation(len(found))[:negatives]]
    names = list(dict.fromkeys(names))                # a document met twice is encoded once
    place = {d: i for i, d in enumerate(names)}
    target = torch.tensor([place[positive] for _, positive, _ in batch])
    other = torch.tensor([[d in relevant[qid] and d != own for d in names] for qid, own, _ in batch])
    return names, target, other


def teacher(args):
    """The English late-interaction retriever: ColBERT on the training triples, scored on the dev queries."""
    root, out = Path(args.data), Path(args.out)
    part = open_experiment(out, args)
    if part is None:
        return
    torch.manual_seed(args.seed)
    n, own, student = training_memory(args.encoder, args.freeze)
    print(f"  {args.encoder}: {n / 1e6:,.1f} M parameters{', frozen' if args.freeze else ''}; training takes "
          f"at least {own:.2f} GB, a student {student:.2f} GB, activations on top", flush=True)
    encoder = Encoder.load(args.encoder, args.dim, args.query_tokens, args.doc_tokens, args.augment,
                           args.freeze)
    encoder = encoder.place(args)
    set_dropout(encoder, args.dropout)
    if args.compile:
        encoder.compile_training()
    paths = data.load_manifest(root)["train"]
    docs, queries = data.read_tsv(root / paths["docs"]), data.read_tsv(root / paths["queries"])
    triples = data.read_triples(root / paths["triples"])
    relevant = {}
    for qid, docid, _ in triples:
        relevant.setdefault(qid, set()).add(docid)
    if args.mine:                                     # DEVIATION 2: BM25 negatives where the data bring none
        bm25 = baselines.BM25(docs)
        triples = [(q, d, neg or bm25.negatives(queries[q], relevant[q], args.mine)) for q, d, neg in triples]
    query_rows = Tokens.encode(part / "query-tokens", encoder, list(queries.values()), "query")
    doc_rows = Tokens.encode(part / "doc-tokens", encoder, list(docs.values()), "doc")
    query_place, doc_place = ({key: i for i, key in enumerate(texts)} for texts in (queries, docs))

    def loss_of(index, step):
        rng = np.random.default_rng([args.seed, step])
        batch = [triples[i] for i in index]
        names, target, other = documents_of(batch, relevant, args.negatives, rng)
        return teacher_loss(encoder, [query_rows[query_place[q]] for q, _, _ in batch],
                            [doc_rows[doc_place[d]] for d in names], target, other)

    lengths = doc_rows.lengths[[doc_place[d] for _, d, _ in triples]]
    steps = args.steps or round(args.epochs * len(triples) / args.batch)
    batches = length_batches(lengths, args.batch, steps, args.seed)
    spent = fit(encoder, batches, loss_of, part, args.lr, accumulate=args.accumulate, name="teacher",
                log_every=args.log_every, save_every_s=args.save_every_s)
    if ranks()[0]:
        return
    encoder.save(part)
    dev, pool = data.read_tsv(root / paths["dev_queries"]), docs
    if "dev_docs" in paths:
        pool = data.read_tsv(root / paths["dev_docs"])
    index = Vectors.encode(part / "dev-vectors", encoder, list(pool.values()), "doc",
                           name="teacher dev documents")
    run = search(encoder, dev, index, list(pool), depth=100)
    for name in ("dev-vectors", "query-tokens", "doc-tokens"):
        shutil.rmtree(part / name)
    dev_map = mean_of(evaluate.read_qrels(root / paths["dev_qrels"]), run)
    print(f"  teacher: map {dev_map:.4f} on {len(dev)} dev queries, "
          f"{spent['steps']} steps, {spent['seconds']} s")
    close_experiment(part, out, {"dev_map": dev_map, "triples": len(triples), **spent})


# ------------------------------------------------------------------------------------ 6. Objectives

# The ablation's other ways to a plan (table 3): (cost, a, b, epsilon) -> ot.Transport.
PLANS = {"sinkhorn": lambda *problem: ot.sinkhorn(*problem, max_iter=100, tol=1e-4, warn=False),
         "unbalanced": lambda *problem: ot.unbalanced(*problem, max_iter=100, tol=1e-4, warn=False),
         "ipot": lambda C, a, b, epsilon: ot.ipot(C, a, b, warn=False),
         "exact": lambda C, a, b, epsilon: ot.exact(C, a, b, warn=False),
         "uniform": lambda C, a, b, epsilon: ot.uniform(C, a, b),
         "greedy": lambda C, a, b, epsilon: ot.greedy(C, a, b)}
COSTS = {"cosine": ot.cosine_cost, "sqeuclidean": ot.sqeuclidean_cost}


def optical_loss(student, s_mask, teacher, t_mask, epsilon=0.1, plan="sinkhorn", cost="cosine",
                 s_weights=None, t_weights=None):
    """Equation (4): student (B, M, H), teacher (B, N, H), masks -> (loss, stats).

    The plan is a constant: the gradient by C is P, the derivative of the entropic transport value, not of
    <P, C> itself (see ot.py). Float32 whatever the encoder computes in. `plan`, `cost` and weights (B, M),
    (B, N) for marginals that are not uniform are for the ablation.
    """
    C = COSTS[cost](teacher, student)                                            # (B, N, M)
    if not torch.isfinite(C).all():
        return C.mean(), {}  # the student has diverged: no plan, and fit() stops at the NaN
    a, b = (ot.uniform_marginal(mask) if weights is None else ot.weighted_marginal(weights, mask)
            for weights, mask in ((t_weights, t_mask), (s_weights, s_mask)))
    transport = PLANS[plan](C.detach(), a, b, epsilon)
    loss = ot.transport_loss(C, transport.plan)                                  # (B,)
    return loss.mean(), {"plan_entropy": ot.plan_entropy(transport.plan).mean(),
                         "marginal_error": transport.error.mean()}


def mean_loss(student, s_mask, teacher, t_mask):
    """Equation (5): student and teacher agree on the mean vector of the sentence, not on any token."""
    return (mean_vector(teacher, t_mask) - mean_vector(student, s_mask)).pow(2).sum(-1).mean(), {}


def mean_vector(vectors, mask):
    """Mean over real tokens: (B, L, H), (B, L) -> (B, H); zero where nothing is real."""
    weight = mask[:, :, None].float()                                            # (B, L, 1)
    return (vectors * weight).sum(1) / weight.sum(1).clamp(min=1)


def greedy_loss(student, s_mask, teacher, t_mask):
    """Equation (6): each student token goes to its nearest teacher token; many may share one."""
    sim = torch.einsum("bnh,bmh->bnm", teacher, student).masked_fill(~t_mask[:, :, None], -torch.inf)
    cost = (1 - sim.amax(1)).masked_fill(~s_mask, 0.0)                           # (B, M)
    return (cost.sum(1) / s_mask.sum(1).clamp(min=1)).mean(), {}


def contrastive_loss(student, s_mask, doc, d_mask, same, tau=0.05):
    """Equation (7): the translation must find its English sentence among those of the batch.

    Args: student (B, M, H) as queries; doc (B, L, H): the teacher's document vectors of the English side;
    same (B, B) bool: pairs with the same English sentence, no negatives of each other.
    """
    scores = maxsim(student, s_mask, doc, d_mask) / s_mask.sum(1, keepdim=True) / tau   # (B, B)
    own = torch.eye(len(same), dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(same.to(scores.device) & ~own, -torch.inf)
    target = torch.arange(len(scores), device=scores.device)
    return F.cross_entropy(scores, target), {"accuracy": (scores.argmax(1) == target).float().mean()}


def language(root, lang):
    """The manifest's entry of a language. Raises: ValueError where the collection lacks it."""
    entry = data.load_manifest(root)["langs"].get(lang)
    if entry is None:
        raise ValueError(f"{root}/collection.json: no language {lang!r}; "
                         f"run data.py prepare with --langs {lang}")
    return entry


class Bitext:
    """The sentence pairs of a language with all a student needs, computed once for all objectives.

    `lang` may be several, "sw+so": their pairs together, for one student of all. Pairs with more than
    `max_tokens` on a side are left out, not cut: half a sentence is no translation. pairs: the first so many
    that are left, of each language; 0: what is left of the manifest's.
    """

    def __init__(self, root, lang, teacher, cache, pairs=0, max_tokens=64):
        self.langs = lang.split("+")
        self.lang, self.teacher, self.max_tokens, self.lexicons = lang, teacher, max_tokens, None
        self.cache = Path(cache) / (lang + "-augmented" * teacher.augment)
        train, parts, self.dev = [], [], []
        for entry in (language(root, lang) for lang in self.langs):
            train += data.read_bitext(Path(root) / entry["train"])[:None if pairs else entry["pairs"]]
            parts.append(len(train))
            self.dev += data.read_bitext(Path(root) / entry["dev"])
        if not train:
            raise ValueError(f"{root}: no sentence pair of {lang}; prepare the collection again")
        english, source = (Tokens.encode(self.cache / f"{side}-tokens-{len(train)}-{max_tokens}", teacher,
                                         list(texts), "query", max_tokens + 1)
                           for side, texts in zip(("english", "source"), zip(*train)))
        fits = np.maximum(english.lengths, source.lengths) <= max_tokens
        kept = [np.flatnonzero(fits[start:end])[:pairs or None] + start
                for start, end in zip([0, *parts], parts)]
        keep, self.fewest = np.concatenate(kept), min(map(len, kept))            # fewest of a language
        if not len(keep):
            raise ValueError(f"{root}: no pair of {lang} has at most {max_tokens} tokens; raise --max-tokens")
        self.rows, self.english_rows = source.take(keep), english.take(keep)
        self.train = [train[i] for i in keep]
        self.english = [e for e, _ in self.train]
        print(f"  {lang}: {len(keep):,} of {len(train):,} pairs have at most {max_tokens} tokens a side",
              flush=True)
        self._vectors, self._weights = {}, {}

    def vectors(self, kind):
        """Teacher vectors of the English sides, as "query" (optical, mean, greedy) or "doc" (contrastive)."""
        if kind not in self._vectors:
            folder = self.cache / f"{kind}-{len(self.english)}-{self.max_tokens}"
            self._vectors[kind] = Vectors.encode(
                folder, self.teacher, self.english, kind, self.max_tokens,
                name=f"teacher vectors of {self.lang} bitext, as {kind}",
                rows=self.english_rows if kind == "query" else None)
        return self._vectors[kind]

    def idf(self, side, index, mask):
        """idf of the tokens of one side, "english" or "source", as marginal weights, 0 on padding: (B, L)."""
        if side not in self._weights:
            rows = self.english_rows if side == "english" else self.rows
            df = np.bincount(np.concatenate([np.unique(row) for row in rows]),
                             minlength=len(self.teacher.tokenizer))              # (vocabulary,)
            idf = np.log((len(rows) + 1) / (df + 0.5))           # near 0 for [CLS], [SEP] and the marker
            self._weights[side] = [idf[row] for row in rows]
        return fill(mask, [self._weights[side][i] for i in index])

    def loss(self, student, method, index, step, args):
        """The loss of one batch by equations (4) to (7), its statistics and its number of tokens."""
        rows = [self.rows[i] for i in index]
        if args.mix:                    # table 5: words of the source sentence give way to English ones
            if self.lexicons is None:
                self.lexicons = [read_lexicon(args, f"{lang}-en.txt") for lang in self.langs]
            draw = random.Random(f"{args.seed}/{step}")
            texts = [baselines.code_switch(self.train[i][1], self.lexicons, args.mix, draw) for i in index]
            rows = student.tokens(texts, "query", self.max_tokens)
        ids, s_mask = student.pad(rows)
        raw = student.project(ids, s_mask)
        s = F.normalize(raw, dim=-1)                                             # (B, M, H)
        vectors = self.vectors("doc" if method == "contrastive" else "query")
        t, t_mask = vectors.batch(index, args.device)                            # (B, N, H)
        if method == "contrastive":
            english = [self.english[i] for i in index]
            same = torch.tensor([[a == b for b in english] for a in english])
            loss, stats = contrastive_loss(s, s_mask, t, t_mask, same, args.tau)
        elif method == "optical":
            weights = {}
            if args.marginals == "idf":
                weights = {"s_weights": self.idf("source", index, s_mask),
                           "t_weights": self.idf("english", index, t_mask)}
            elif args.marginals == "norm":
                weights = {"s_weights": raw.norm(dim=-1), "t_weights": vectors.token_norms(index, t_mask)}
            loss, stats = optical_loss(s, s_mask, t, t_mask, args.epsilon, args.plan, args.cost, **weights)
        else:
            loss, stats = (mean_loss if method == "mean" else greedy_loss)(s, s_mask, t, t_mask)
        return loss, {**stats, "tokens": int(s_mask.sum())}

    def dev_scores(self, student):
        """Known-item search on held-out pairs: each source sentence must find its English side.

        dev_map chooses settings: it is no objective's own loss, so it is fair to all of them, and it touches
        no test query. dev_accuracy is the share found at rank 1, the measure of Tatoeba.
        """
        docs = {str(i): e for i, e in enumerate(dict.fromkeys(e for e, _ in self.dev))}
        place = {e: i for i, e in docs.items()}
        index = Vectors.encode(self.cache / f"dev-{len(docs)}-{self.max_tokens}", self.teacher,
                               list(docs.values()), "doc", self.max_tokens, name=f"{self.lang} dev sentences")
        queries = {str(i): x for i, (_, x) in enumerate(self.dev)}
        qrels = {str(i): {place[e]: 1} for i, (e, _) in enumerate(self.dev)}
        run = search(student, queries, index, list(docs), 100, self.max_tokens)
        return {"dev_map": mean_of(qrels, run, "map"), "dev_accuracy": mean_of(qrels, run, "success_1")}


def first_of(folders, name, option, maker):
    """The path of a file in the first of several folders that has it. Raises: ValueError where none has."""
    paths = [Path(folder) / name for folder in folders or ()]
    found = next((path for path in paths if path.exists()), None)
    if found is None:
        raise ValueError(f"no {name} in {' '.join(map(str, folders or [option]))}; {maker} makes it")
    return found


def read_lexicon(args, name, limit=None):
    """A lexicon from the first folder of --lexicon that has it."""
    return baselines.read_lexicon(first_of(args.lexicon, name, "--lexicon", "baselines.py lexicon"), limit)


class Questions:
    """Queries with judged English documents, in or mixed with another language: the supervised baselines.

    code-switch      English training queries, each word replaced by a translation of the lexicon with
                     probability `switch`, drawn anew at every step; with several languages, a query goes
                     into one of them, a low-resource one with probability `share`, or each of its words
                     does (switch_by "word")                                           (Litschko et al. 2023)
    translate-train  English training queries as `nmt.py train` translated them
    wikiclir         titles of the language's Wikipedia, their English articles          (Sasaki et al. 2018)

    The loss is the teacher's (3), its documents' vectors held constant: as in every student, only the query
    encoder is trained.
    """

    def __init__(self, root, lang, method, teacher, cache, args):
        root, manifest, langs = Path(root), data.load_manifest(root), lang.split("+")
        paths, self.lexicons = manifest["train"], []
        if len(langs) > 1 and method != "code-switch":
            raise ValueError(f"{method} trains a student of one language, not of {lang}")
        if method == "wikiclir":
            paths = manifest["langs"][lang]["wiki"]
        triples = data.read_triples(root / paths["triples"])
        self.queries = english = data.read_tsv(root / paths["queries"])
        if method == "code-switch":
            kinds = [manifest["langs"][own]["class"] == "low" for own in langs]
            if args.share >= 0 and len(set(kinds)) < 2:
                raise ValueError(f"--share {args.share:g} of {lang}: give low- and high-resource languages")
            if args.share >= 0 and args.switch_by == "word":
                raise ValueError(f"--share {args.share:g} is of queries; leave out --switch-by word")
            share = sum(kinds) / len(kinds) if args.share < 0 else args.share
            for own, low in zip(langs, kinds):               # (lexicon, probability of its language)
                lexicon = read_lexicon(args, f"en-{own}.txt", args.lexicon_size or None)
                self.lexicons.append((lexicon, (share if low else 1 - share) / kinds.count(low)))
        elif method == "translate-train":
            self.queries = data.read_tsv(first_of(args.translations, f"en-{lang}/train.tsv", "--translations",
                                                  "nmt.py train"))
        docs = data.read_tsv(root / paths["docs"])
        self.relevant, place = {}, {docid: i for i, docid in enumerate(docs)}
        for qid, docid, _ in triples:
            self.relevant.setdefault(qid, set()).add(place[docid])
        if args.mine:
            bm25 = baselines.BM25(docs)
            triples = [(q, d, neg or bm25.negatives(english[q], {d}, args.mine)) for q, d, neg in triples]
        self.triples = [(q, place[d], [place[n] for n in negatives]) for q, d, negatives in triples]
        self.seed, self.negatives, self.switch = args.seed, args.negatives, args.switch
        name = "wiki-" + lang if method == "wikiclir" else "train"
        self.vectors = Vectors.encode(Path(cache) / f"{name}-documents", teacher, list(docs.values()), "doc",
                                      name=f"{name} documents")
        texts = f"{method}-{lang}" if method != "code-switch" else "train"
        rows = Tokens.encode(Path(cache) / f"{texts}-query-tokens{'-augmented' * teacher.augment}", teacher,
                             list(self.queries.values()), "query")
        place = {qid: i for i, qid in enumerate(self.queries)}
        self.rows = rows.take([place[qid] for qid, _, _ in self.triples])        # one for each triple

    def loss(self, student, method, index, step, args):
        """Equation (3) of one batch: queries of the other language, the teacher's document vectors."""
        rng = np.random.default_rng([self.seed, step])
        batch, rows = [self.triples[i] for i in index], [self.rows[i] for i in index]
        if self.lexicons:
            draw = random.Random(f"{self.seed}/{step}")
            tables, weights = zip(*self.lexicons)
            drawn = [[table] for table in draw.choices(tables, weights, k=len(batch))]
            if args.switch_by == "word":
                drawn = [tables] * len(batch)
            rows = student.tokens([baselines.code_switch(self.queries[qid], own, self.switch, draw)
                                   for (qid, _, _), own in zip(batch, drawn)], "query")
        documents, target, other = documents_of(batch, self.relevant, self.negatives, rng)
        ids, mask = student.pad(rows)
        d, d_mask = self.vectors.batch(np.array(documents), args.device)
        loss, stats = ranking_loss(student(ids, mask), mask, d, d_mask, target, other)
        return loss, {**stats, "tokens": int(mask.sum())}


def lesson(method, lang, teacher, texts, args):
    """What a student of `method` learns from, kept in `texts`: a Bitext, or Questions with a Bitext's dev."""
    if args.augment not in (None, teacher.augment):
        teacher = copy.copy(teacher)
        teacher.augment = args.augment
    key = (lang, teacher.augment, args.pairs, args.max_tokens)
    if key not in texts:
        texts.clear()
        texts[key] = Bitext(args.data, lang, teacher, args.cache, args.pairs, args.max_tokens)
    if method in OBJECTIVES:
        return texts[key], texts[key]
    own = (lang, method, args.lexicon_size, args.switch, args.switch_by, args.share, args.mine,
           args.negatives)
    if own not in texts:
        texts[own] = Questions(args.data, lang, method, teacher, args.cache, args)
    return texts[own], texts[key]


def start_student(teacher, args):
    """The student before its first step: the teacher's copy (or its encoder, bare), perhaps partly frozen.

    A frozen backbone is the teacher's own.
    """
    if teacher.frozen and args.layers:
        raise ValueError(f"--layers {args.layers}: the backbone of {args.teacher} is frozen; leave it out")
    student = copy.deepcopy(teacher, {id(teacher.backbone): teacher.backbone} if teacher.frozen else {})
    if args.init == "bare":
        torch.manual_seed(args.seed)
        made = read_json(Path(args.teacher) / "args.json")["args"]
        bare = Encoder.load(made["encoder"], teacher.dim, teacher.query_tokens, teacher.doc_tokens,
                            freeze=teacher.frozen)
        student.load_state_dict(bare.state_dict())
    if args.layers:
        blocks = next(m for m in student.backbone.modules() if isinstance(m, nn.ModuleList))
        student.backbone.requires_grad_(False)
        blocks[-args.layers:].requires_grad_(True)
    set_dropout(student, args.dropout)
    return student


def distil_one(source, lang, method, lr, teacher, folder, args):
    """Train one student of `teacher` on `source` with one objective; returns it and what it cost.

    The student is the teacher's copy; only this copy, the query encoder, is trained. Every objective sees the
    same pairs in the same batches for the same number of steps.
    """
    torch.manual_seed(args.seed)
    student = start_student(teacher, args)
    if args.compile:
        student.compile_training()
    batches = length_batches(source.rows.lengths, args.batch, args.steps, args.seed)
    spent = fit(student, batches, lambda index, step: source.loss(student, method, index, step, args), folder,
                lr, args.warmup, accumulate=args.accumulate, log_every=args.log_every,
                save_every_s=args.save_every_s, name=f"{lang} {method} lr {lr:g}")
    return student, spent


def load_teacher(args):
    return Encoder.load(args.teacher).place(args).eval()


def finish_student(folder, lang, method, lr, args, teacher, texts, then=None):
    """done.json of one student, trained here unless it is there; `texts` holds the last language's bitext.

    `then`(student, folder) keeps of it what is wanted: its weights, its runs.
    """
    unit = {"lang": lang, "method": method, "lr": lr}
    if not folder.exists():
        source, bitext = lesson(method, lang, teacher, texts, args)
    part = open_experiment(folder, args, unit)
    if part is None:
        return finished(folder)
    student, spent = distil_one(source, lang, method, lr, bitext.teacher, part, args)
    if then:
        then(student, part)
    scores = bitext.dev_scores(student)
    return close_experiment(part, folder, {**unit, **scores, "examples": len(source.rows), **spent})


def best_rate(scores):
    """The rate of {rate as text: score} with the highest score; of equals the lowest."""
    return float(max(scores, key=lambda lr: (scores[lr], -float(lr))))


def titled(root, lang):
    """Whether the collection has Wikipedia titles in a language, or in each of several, "sw+so"."""
    return all(language(root, own).get("wiki") for own in lang.split("+"))


def able(root, langs, methods):
    """The (language, method) pairs that the collection has data for: not every Wikipedia is there.

    Raises: ValueError where none of the languages has Wikipedia titles.
    """
    pairs = [(lang, method) for lang in langs for method in methods
             if method != "wikiclir" or titled(root, lang)]
    left_out = [lang for lang in langs if "wikiclir" in methods and (lang, "wikiclir") not in pairs]
    if left_out and len(left_out) == len(langs):
        raise ValueError(f"{root}/collection.json: no Wikipedia titles for {' '.join(left_out)}; "
                         "leave wikiclir out of --methods, WIKI out of run_all.sh's settings")
    if left_out:
        print(f"  wikiclir: no Wikipedia titles for {' '.join(left_out)}, left out", flush=True)
    return pairs


def tune(args):
    """One learning rate an objective: the grid's best by dev MAP, averaged over --langs; OUT/lr.json.

    Where none of these has Wikipedia titles, wikiclir's is chosen on the collection's first that has.

    --students: where `distil` will train as many steps; it finds the students of the chosen rates there.
    """
    out, teacher, texts, langs = Path(args.out), load_teacher(args), {}, languages(args)
    pairs = able(args.data, langs, [method for method in args.methods if method != "wikiclir"])
    if "wikiclir" in args.methods:
        own, every = ([lang for lang in some if titled(args.data, lang)]
                      for some in (langs, sorted(data.load_manifest(args.data)["langs"])))
        pairs += able(args.data, own or every[:1] or langs, ["wikiclir"])
    units = {(lang, method, lr): out / f"{lang}.{method}.{lr:g}" for lang, method in pairs for lr in args.lr}
    found = share_out("tune", units, lambda folder, lang, method, lr: finish_student(
        folder, lang, method, lr, args, teacher, texts, Encoder.save if args.students else None))
    table = {}
    for (_, method, lr), done in found.items():
        table.setdefault(method, {}).setdefault(f"{lr:g}", []).append(done["dev_map"])
    means = {m: {lr: sum(v) / len(v) for lr, v in row.items()} for m, row in table.items()}
    chosen = {method: best_rate(row) for method, row in means.items()}
    if args.students:
        kept = {(lang, method, lr): Path(args.students) / lang / method
                for lang, method, lr in units if lr == chosen[method]}
        share_out("", kept, lambda student, *unit: take(units[unit], student))
    seen = {method: [own for own, other in pairs if other == method] for method in means}
    write_json(out / "lr.json", {"chosen": chosen, "dev_map": means, "langs": seen, "steps": args.steps})
    print(f"  learning rates: {chosen}")


def rates(args):
    """A function that tells the learning rate of a method: --lr, the same for all, else that of --lr-file."""
    chosen = read_json(Path(args.lr_file))["chosen"] if args.lr_file else {}

    def rate(method, lr=args.lr):
        if not lr and method not in chosen:
            raise ValueError(f"no learning rate for {method}: give --lr, or --lr-file of a tune that has it")
        return lr or chosen[method]
    return rate


def distil(args):
    """A student for every language and objective; a finished one is never trained again."""
    out, teacher, rate, texts = Path(args.out), load_teacher(args), rates(args), {}
    units = {(lang, method): out / lang / method
             for lang, method in able(args.data, languages(args), args.methods)}
    share_out("distil", units, lambda folder, lang, method: finish_student(
        folder, lang, method, rate(method), args, teacher, texts, Encoder.save))


# ---------------------------------------------------------------------------------------- 7. Search

def search(encoder, queries, index, docids, depth=1000, max_tokens=None, chunk_tokens=65536, query_batch=16,
           candidates=None):
    """Exact MaxSim search of `queries` {qid: text} over `index` (Vectors of `docids`): {qid: {docid: score}}.

    Every document is scored; `candidates` {qid: docids} keeps only those: reranking. Order is score
    descending, then docid descending, as in evaluate.py, also where the list is cut at `depth`. Queries are
    encoded one by one, dot products are exact (on_grid) and summed in float64: no batch or chunk size moves
    a score.
    """
    if len(index) != len(docids):
        raise ValueError(f"the index has {len(index)} documents, the collection {len(docids)}; "
                         "encode it again")
    qids = list(queries)
    rank = np.empty(len(docids), np.int64)                                       # (D,) place in docid order
    rank[sorted(range(len(docids)), key=docids.__getitem__)] = np.arange(len(docids))
    rows = dict(zip(qids, encoder.tokens([queries[q] for q in qids], "query", max_tokens)))
    place = {d: i for i, d in enumerate(docids)}
    encoder.eval()
    run = {}
    with torch.inference_mode():
        encoded = [on_grid(encoder(*encoder.pad([rows[q]]))[0]) for q in qids]   # (N, H) each
        scores = np.full((len(qids), len(docids)), -np.inf, np.float32)          # (Q, D)
        for chunk in tqdm(index.chunks(chunk_tokens), disable=None, desc="search", leave=False):
            vectors, d_mask = index.batch(chunk, encoder.projection.weight.device)
            for start in range(0, len(qids), query_batch):
                block = encoded[start:start + query_batch]
                best = torch.empty(sum(map(len, block)), len(chunk), device=vectors.device)  # (T, D)
                for some, sim in similarities(torch.cat(block), vectors, d_mask):
                    best[:, some] = sim.amax(-1)
                firsts = np.cumsum([0, *map(len, block)])[:-1]                   # (Q,), rows of their tokens
                scores[start:start + len(block), chunk] = np.add.reduceat(
                    best.cpu().numpy(), firsts, dtype=np.float64)
    for qid, row in zip(qids, scores):
        keep = np.arange(len(docids))
        if candidates is not None:
            keep = np.array([place[d] for d in candidates.get(qid, ())], dtype=np.int64)
        best = keep[np.lexsort((-rank[keep], -row[keep]))[:depth]]
        run[qid] = {docids[i]: float(row[i]) for i in best}
    return run


def mean_of(qrels, run, measure="map"):
    """Mean over all judged queries, as evaluate.py computes it; a query without results counts 0."""
    values = evaluate.evaluate(qrels, run, [measure], complete=True)[measure]
    return sum(values.values()) / len(values)


def document_indexes(root, encoder, folder, int8=False):
    """A function from the name of a corpus in the manifest to its ids and Vectors, kept in FOLDER/<name>."""
    manifest = data.load_manifest(root)

    @cache
    def index_of(name):
        docs = data.read_tsv(Path(root) / manifest["docs"][name])
        return list(docs), Vectors.encode(Path(folder) / f"{name}{'-int8' * int8}", encoder,
                                          list(docs.values()), "doc", name=f"{name} documents", int8=int8,
                                          shard_tokens=SHARD)
    return index_of


def search_command(args):
    """Runs of every test set: zero-shot, English ceiling, each student; RUNS/<set>/<method>.s<seed>.trec.

    Documents of several shards are searched a shard at a time, by whichever process comes first, and the runs
    of the shards joined: a killed search goes on, and the joined run is that of one search.
    """
    root, manifest, teacher = Path(args.data), data.load_manifest(args.data), load_teacher(args)
    tests = {t["set"]: t for t in manifest["tests"] if not args.sets or t["set"] in args.sets}
    index_of, students = document_indexes(root, teacher, args.cache, args.int8), {}
    known = able(args.data, list(dict.fromkeys(test["lang"] for test in tests.values())), args.methods)
    whole = {(name, method): Path(args.out) / name / f"{method}.s{args.seed}.trec"
             for name, test in tests.items() for method in args.methods if (test["lang"], method) in known}
    parts = {}
    for (name, method), path in whole.items():
        shards = 1 if path.exists() else len(index_of(tests[name]["docs"])[1].flats)
        parts[name, method] = [path] if shards == 1 else [
            path.with_name(f".{path.name}.{shard:05d}") for shard in range(shards)]

    def one(path, name, method, shard):
        if path.exists() or whole[name, method].exists():
            return {}
        test, encoder = tests[name], teacher
        docids, vectors = index_of(test["docs"])
        if method not in ("zero-shot", "english", "nmt"):
            folder = Path(args.students) / test["lang"] / method
            if folder not in students:
                students.clear()
                students[folder] = Encoder.load(folder).place(args)
            encoder = students[folder]
        queries = data.read_tsv(root / test["english" if method == "english" else "queries"])
        if method == "nmt":
            translated = data.read_tsv(Path(args.translations) / f"{test['lang']}-en" / f"test.{name}.tsv")
            queries = {qid: translated[qid] for qid in queries}
        began = time.monotonic()
        start, end = vectors.starts[shard:shard + 2]
        run = search(encoder, queries, vectors.shard(shard), docids[start:end], args.depth)
        spent = {"set": name, "method": method, "shard": shard, "queries": len(queries),
                 "documents": end - start, "seconds": round(time.monotonic() - began, 3)}
        evaluate.write_run(path, run, f"{method}.s{args.seed}")
        with open(Path(args.out) / f"search.s{args.seed}.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps(spent) + "\n")
        return spent

    def join(path, name, method):
        if path.exists():
            return {}
        run = {}
        for part in parts[name, method]:
            for qid, row in evaluate.read_run(part).items():
                run.setdefault(qid, {}).update(row)
        for qid, row in run.items():
            docids, scores = list(row), np.array(list(row.values()))
            best = evaluate.ranking(scores, np.array([docid.encode() for docid in docids]))[:args.depth]
            run[qid] = {docids[i]: row[docids[i]] for i in best}
        evaluate.write_run(path, run, f"{method}.s{args.seed}")
        for part in parts[name, method]:
            part.unlink()
        return {}

    share_out("search", {(*unit, shard): path for unit, paths in parts.items()
                         for shard, path in enumerate(paths)}, one)
    share_out("", whole, join)


def rerank(args):
    """Score again, by late interaction, the documents of a run (BM25's, say)."""
    teacher, encoder = load_teacher(args), Encoder.load(args.student).place(args)
    run, docs = evaluate.read_run(args.run_file), data.read_tsv(args.docs)
    queries = data.read_tsv(args.queries)
    unknown = next((d for row in run.values() for d in row if d not in docs), None)
    if unknown is not None:
        raise ValueError(f"{args.run_file}: document {unknown!r} is not in {args.docs}; "
                         "rerank a run of the same corpus")
    wanted = sorted({d for row in run.values() for d in row})
    index = Vectors.encode(args.cache, teacher, [docs[d] for d in wanted], "doc", name="documents of the run")
    queries = {q: queries[q] for q in run if q in queries}
    ranked = search(encoder, queries, index, wanted, args.depth, candidates=run)
    evaluate.write_run(args.out, ranked, "rerank")


def subwords(args):
    """Subwords per word of each language's bitext dev sentences, by the teacher's tokenizer; for table 1."""
    root, manifest, teacher = Path(args.data), data.load_manifest(args.data), load_teacher(args)
    rates = {}
    for lang, entry in sorted(manifest["langs"].items()):
        texts = [x for _, x in data.read_bitext(root / entry["dev"])]
        pieces = teacher.tokenizer(texts, add_special_tokens=False)["input_ids"]
        rates[lang] = round(sum(map(len, pieces)) / sum(len(t.split()) for t in texts), 4)
    write_json(Path(args.out), rates)


def rehearse(args):
    """Measure every part of the paper profile at its size, on generated data: OUT/rehearsal.json, .md."""
    import rehearse as script
    script.rehearse(args)


# ----------------------------------------------------------------------------------- 8. Experiments

def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_jsonl(path):
    """Whole lines of a JSON-lines file; a last line cut by a kill is left out."""
    return [json.loads(line) for line in Path(path).read_text().splitlines(True) if line.endswith("}\n")]


def write_json(path, value):
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def fresh(folder):
    """An empty folder beside `folder`, under a temporary name, to be moved into place when it is whole."""
    part = folder.with_name(folder.name + ".part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    return part


@contextmanager
def locked(path, wait=True):
    """Holds the lock of `path`, the file .<name>.lock beside it; yields False where it is not to be had now.

    The system gives the lock back when the process ends, however it ends.
    """
    import fcntl
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def share_out(kind, units, finish):
    """{unit: finish(path, *unit)} for all units {unit: path}, each worked at by one process at a time.

    So a command that runs several times at once, by --jobs or by hand, shares its work: what another process
    holds is left to the end and then found finished, or is finished here if that process died. `finish` does
    nothing but read where `path` is there. Without a name, `kind`, it prints nothing.
    """
    found, there = {}, sum(path.exists() for path in units.values())
    if kind and there:
        print(f"  {kind}: {there} of {len(units)} are there", flush=True)
    for wait in (False, True):
        for n, (unit, path) in enumerate(units.items(), 1):
            if unit in found:
                continue
            with locked(path, wait) as mine:
                if not mine:
                    continue
                new = not path.exists()
                found[unit] = done = finish(path, *unit)
            if kind and new:
                told = ", ".join(f"{name.replace('_', ' ')} {done[name]:.4g}"
                                 for name in ("dev_map", "dev_chrf", "seconds") if name in done)
                print(f"  {kind} {n} of {len(units)}: {' '.join(map(str, unit))}: {told}", flush=True)
    return {unit: found[unit] for unit in units}


def open_experiment(folder, args, unit=None):
    """The folder of an experiment to run or resume, under its temporary name; None where it is finished.

    Under torchrun the first process makes it and the others take it.
    """
    rank, world = ranks()
    part = _open_experiment(folder, args, unit) if rank == 0 else folder.with_name(folder.name + ".part")
    if world > 1:
        distributed.barrier()
        if (folder / "done.json").exists():
            return None
    return part


def _open_experiment(folder, args, unit):
    """As open_experiment, for one process.

    args.json comes first: command, commit, versions, device, seed, checksum of the data. An experiment begun
    with other arguments is an error, never mixed in; with the same ones it resumes.
    """
    own = {k: str(v) if isinstance(v, (Path, torch.device)) else v for k, v in vars(args).items()
           if k not in ("run_command", "langs", "methods", "log_every", "save_every_s", "runs", "variants",
                        "jobs", "threads", "teachers", "rows", "out", "lr_file", "students")}
    own.update(unit or {}, device=torch.device(args.device).type)        # cuda:0 and cuda:1 share the work
    manifest = Path(args.data) / "collection.json"
    own["data_sha256"] = hashlib.sha256(manifest.read_bytes()).hexdigest()
    part = folder.with_name(folder.name + ".part")
    begun = (part / "checkpoint.pt").exists()     # without one there is nothing to resume, nor to mix up
    for found in (folder / "args.json", part / "args.json"):
        if found.exists() and (begun or found.parent == folder):
            before = read_json(found)["args"]
            changed = [k for k in sorted(set(own) | set(before)) if own.get(k) != before.get(k)]
            if changed:
                k = changed[0]
                raise ValueError(f"{found}: was made with {k}={before.get(k)!r}, now it is {own.get(k)!r}; "
                                 f"delete {found.parent} or choose another OUT")
    if (folder / "done.json").exists():
        return None
    if not begun:
        part = fresh(folder)
        versions = {"python": sys.version.split()[0], "torch": torch.__version__,
                    "transformers": transformers.__version__, "numpy": np.__version__}
        write_json(part / "args.json", {"argv": sys.argv, "args": own, **commit(), "versions": versions,
                                        "device": device_name(args.device),
                                        "threads": torch.get_num_threads()})
    return part


def close_experiment(part, folder, result):
    """Write done.json, drop the checkpoint, move the folder to its final name; returns `result`."""
    (part / "checkpoint.pt").unlink(missing_ok=True)
    write_json(part / "done.json", result)
    settle(part, folder)
    return result


def take(made, folder):
    """`folder` becomes a copy of a finished experiment, unless it is there."""
    if not folder.exists():
        part = fresh(folder)
        shutil.copytree(made, part, dirs_exist_ok=True)
        os.replace(part, folder)


def settle(part, folder, about=""):
    """Seal a folder that is whole, made under a temporary name, and move it to its final one."""
    data.seal(part, about)
    os.replace(part, folder)


def finished(folder):
    """done.json of a finished experiment. Raises: ValueError where a file of it was damaged since."""
    data.check_seal(folder)
    return read_json(folder / "done.json")


def commit():
    """The commit this code is at, and whether it was changed since; None outside a repository."""
    def git(*argv):
        return subprocess.run(["git", "-C", str(Path(__file__).resolve().parent), *argv],
                              capture_output=True, text=True)
    head = git("rev-parse", "HEAD")
    if head.returncode != 0:
        return {"commit": None, "dirty": None}
    dirty = git("status", "--porcelain", "-uno")
    return {"commit": head.stdout.strip(), "dirty": bool(dirty.stdout.strip())}


def device_name(device):
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.device(device).type}, {os.cpu_count()} cores"


def multiplies_bf16(device):
    """Whether bfloat16 is fast on `device`: a recent GPU, or a CPU with AMX or AVX512-BF16."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpuinfo = Path("/proc/cpuinfo")
    known = cpuinfo.read_text() if torch.device(device).type == "cpu" and cpuinfo.exists() else ""
    return "amx_bf16" in known or "avx512_bf16" in known


def peak_memory_gb(device):
    """Peak memory of the process (CPU) or of the GPU's allocator, in GB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)


def languages(args):
    """The languages of a command, --langs or all of the collection. Raises: ValueError where it lacks one."""
    langs = args.langs or sorted(data.load_manifest(args.data)["langs"])
    for lang in "+".join(langs).split("+"):
        language(args.data, lang)
    return langs


def command_options(commands, name, run, *parts, data=True):
    """A subcommand with the options that all have and those of `parts`; returns its add_argument."""
    sub = commands.add_parser(name, help=run.__doc__.splitlines()[0], description=run.__doc__,
                              allow_abbrev=False)
    sub.set_defaults(run=run)
    add = sub.add_argument
    if data:
        add("--data", required=True, help="folder written by data.py prepare")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu, cuda, cuda:1; default: a GPU if there is one")
    add("--precision", choices=("auto", "float32", "bf16"), default="auto",
        help="inside the encoder; auto: bf16 where the hardware multiplies it; all else is float32")
    add("--threads", type=int, default=0, help="CPU threads of a process; 0: torch's choice, among --jobs")
    add("--seed", type=int, default=1, help="of initialisation, dropout and batches")
    for part in parts:
        part(add)
    return add


def shared_options(add):
    """Options of every command whose units of work several processes may share."""
    add("--jobs", type=int, default=int(os.environ.get("JOBS") or 1),
        help="processes that share the work; default: $JOBS, else 1")


def language_options(add):
    """Options of every command that goes through languages."""
    add("--langs", nargs="+", default=None,
        help="languages, sw+so for one student of several; default: all of the collection")


def training_options(add, dropout=0.0):
    """Options of every command that trains."""
    add("--out", required=True, help="experiment folder")
    add("--batch", type=int, default=64, help="examples a step")
    add("--accumulate", type=int, default=1, help="parts a batch is cut into, to save memory")
    add("--dropout", type=float, default=dropout, help="probability, in every layer of the encoder")
    add("--log-every", type=int, default=10, help="steps between lines of train.jsonl")
    add("--save-every-s", type=float, default=120, help="seconds between checkpoints")


def compile_option(add):
    """The option of every command that trains an Encoder on pairs or triples for long."""
    add("--compile", action="store_true", help="compile the encoder's training step (torch.compile)")


def teacher_options(add):
    """Options of every command that uses a teacher."""
    add("--teacher", required=True, help="folder of the teacher")


def rate_options(add):
    """Options of every command that trains students at rates chosen before."""
    add("--lr", type=float, default=0.0, help="one learning rate for all; default: from --lr-file")
    add("--lr-file", default=None, help="lr.json of a tune run")


def student_options(add):
    """Options of every command that trains students."""
    training_options(add)
    compile_option(add)
    teacher_options(add)
    shared_options(add)
    language_options(add)
    add("--methods", nargs="+", choices=METHODS, default=list(OBJECTIVES), help="objectives, baselines")
    add("--cache", required=True, help="folder of teacher vectors, shared by all students")
    add("--steps", type=int, default=400, help="training steps, the same for every objective")
    add("--pairs", type=int, default=0, help="the first so many sentence pairs; 0: the manifest's")
    add("--max-tokens", type=int, default=64, help="longest sentence, in tokens with the marker")
    add("--warmup", type=float, default=0.1, help="share of the steps")
    add("--epsilon", type=float, default=0.1, help="entropy weight of the plan, in units of the cost")
    add("--tau", type=float, default=0.05, help="temperature of the contrastive objective")
    add("--plan", choices=PLANS, default="sinkhorn", help="how optical gets its plan")
    add("--cost", choices=COSTS, default="cosine", help="optical's cost between token vectors")
    add("--marginals", choices=("uniform", "idf", "norm"), default="uniform",
        help="mass of a token in optical: all alike, by rarity, by length of its vector")
    add("--init", choices=("teacher", "bare"), default="teacher",
        help="the student starts as the teacher or as the encoder that the teacher started from")
    add("--layers", type=int, default=0, help="train the last so many layers only; 0: all")
    add("--augment", action=argparse.BooleanOptionalAction, default=None,
        help="fill the student's and the teacher's queries up with mask tokens (ColBERT); default: as taught")
    add("--lexicon", nargs="+", default=None, help="code-switch, --mix: folders with en-LANG.txt, "
        "LANG-en.txt, by baselines.py lexicon or your own; the first that has a file")
    add("--lexicon-size", type=int, default=0, help="code-switch: its so many most frequent words; 0: all")
    add("--switch", type=float, default=0.5, help="code-switch: probability that a word is replaced")
    add("--switch-by", choices=("query", "word"), default="query",
        help="code-switch, several languages: what goes into one of them")
    add("--share", type=float, default=-1.0, help="code-switch, several languages: probability that a query "
        "goes into a low-resource one; default: all languages alike")
    add("--mix", type=float, default=0.0, help="objectives from bitext: probability that a source word gives "
        "way to its English translation of --lexicon")
    add("--translations", nargs="+", default=None,
        help="translate-train: folders with en-LANG/train.tsv, by nmt.py; the first that has a file")
    add("--mine", type=int, default=0, help="BM25 negatives to mine for a query that brings none")
    add("--negatives", type=int, default=1, help="hard negatives a query and step of these baselines")


def parser():
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    commands = top.add_subparsers(dest="run_command", required=True)

    add = command_options(commands, "pretrain", pretrain, training_options)
    add("--vocab", type=int, default=6000, help="largest vocabulary, in subwords")
    add("--hidden", type=int, default=128, help="width")
    add("--layers", type=int, default=4, help="depth")
    add("--ffn", type=int, default=4, help="width of the feed-forward layers, in --hidden")
    add("--steps", type=int, default=2000, help="training steps")
    add("--lr", type=float, default=1e-3, help="peak learning rate")

    add = command_options(commands, "teacher", teacher, training_options, compile_option)
    add("--encoder", required=True, help="Hugging Face name or folder")
    add("--dim", type=int, default=128, help="dimensions of a token vector; 0: the encoder's width")
    add("--query-tokens", type=int, default=32, help="longest query, in tokens")
    add("--doc-tokens", type=int, default=180, help="longest document, in tokens")
    add("--augment", action=argparse.BooleanOptionalAction, default=False,
        help="fill queries up with mask tokens (ColBERT)")
    add("--freeze", action="store_true",
        help="keep the encoder as it is, in bfloat16, and train the projection alone; students do so too")
    add("--epochs", type=float, default=1.0, help="passes over the triples")
    add("--steps", type=int, default=0, help="training steps; 0: by --epochs")
    add("--lr", type=float, default=3e-5, help="peak learning rate")
    add("--mine", type=int, default=0, help="BM25 negatives to mine for a query that brings none")
    add("--negatives", type=int, default=1, help="hard negatives a query and step")

    add = command_options(commands, "tune", tune, student_options)
    add("--lr", type=float, nargs="+", required=True, help="the grid, the same for every objective")
    add("--students", default=None, help="keep those of the chosen rates there, for a `distil` alike")

    command_options(commands, "distil", distil, student_options, rate_options)

    add = command_options(commands, "search", search_command, teacher_options, shared_options)
    add("--students", required=True, help="folder written by distil")
    add("--cache", required=True, help="folder of document vectors, made once")
    add("--out", required=True, help="folder of runs")
    add("--sets", nargs="+", default=None, help="test sets; default: all")
    add("--int8", action=argparse.BooleanOptionalAction, default=False,
        help="document vectors in int8: half the disk and memory; the README says what it costs")
    rows = ["zero-shot", *OBJECTIVES, "english"]
    add("--methods", nargs="+", choices=[*rows, *METHODS, "nmt"], default=rows, help="rows of table 2")
    add("--translations", default=None, help="nmt: folder written by nmt.py")
    add("--depth", type=int, default=1000, help="documents kept a query")

    add = command_options(commands, "rerank", rerank, teacher_options)
    add("--student", required=True, help="query encoder: a student's folder, or the teacher's")
    add("--docs", required=True, help="corpus, docid<TAB>text")
    add("--queries", required=True, help="queries, qid<TAB>text")
    add("--run", required=True, dest="run_file", help="run to rerank")
    add("--cache", required=True, help="folder for the document vectors")
    add("--out", required=True, help="run to write")
    add("--depth", type=int, default=1000, help="documents kept a query")

    add = command_options(commands, "subwords", subwords, teacher_options)
    add("--out", required=True, help="JSON file, {language: subwords per word}")

    add = command_options(commands, "rehearse", rehearse, data=False)
    add("--out", required=True, help="folder of the report")
    add("--batch", type=int, default=128, help="pairs a step of a student")
    add("--seconds", type=float, default=60, help="how long each of encoding and training is measured")
    add("--tiny", action=argparse.BooleanOptionalAction, default=False, help="a small encoder and collection")
    return top


def run_command(args, argv):
    """Run a parsed command, with --jobs in several processes; bad input is one line and exit status 2."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    helpers, jobs = [], getattr(args, "jobs", 1)
    run = args.run
    del args.run
    try:
        if args.threads or jobs > 1:
            torch.set_num_threads(args.threads or max(1, torch.get_num_threads() // jobs))
        join_processes(args)
        torch.manual_seed(args.seed)
        args.bf16 = args.precision == "bf16" or args.precision == "auto" and multiplies_bf16(args.device)
        script = sys.modules[run.__module__].__file__
        own = ["--jobs", "1", "--threads", str(torch.get_num_threads())]
        if jobs > 1:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))      # through `finally`: helpers stop too
        for _ in range(jobs - 1):         # what stops one of them, this process meets too, and tells
            helpers.append(subprocess.Popen([sys.executable, script, *argv, *own], stderr=subprocess.DEVNULL))
        run(args)
        for helper in helpers:
            if helper.wait():
                print(f"note: a helper process ended with status {helper.returncode}; what it left undone "
                      "was done here", file=sys.stderr)
    except (ValueError, OSError, MemoryError, RuntimeError, SafetensorError) as error:
        reason = exhausted(error)
        if not reason and not isinstance(error, (ValueError, OSError)):
            raise
        print(f"error: {reason or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    finally:
        for helper in helpers:
            helper.terminate()
        if distributed.is_initialized():
            distributed.destroy_process_group()
    return 0


def exhausted(error):
    """What an exception says has run out, memory or disk, and what helps; "" for any other.

    N.B. numpy tells a full disk by "9 requested and 7 written", torch and safetensors by errors of their own.
    """
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in first:
        return f"out of memory ({first}); lower --batch or --jobs, or raise --accumulate"
    full = re.search(r"No space left on device|\d+ requested and \d+ written", f"{error} {error.__context__}")
    if full and not getattr(error, "filename", None):
        return "No space left on device; free some, and the same command goes on from here"
    return ""


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    return run_command(parser().parse_args(argv), argv)


if __name__ == "__main__":
    sys.exit(main())

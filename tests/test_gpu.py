"""One GPU: no step waits for it, what it keeps is the same, its numbers are the CPU's. The first by counting, on a CPU."""
import argparse
import collections
import sys
import warnings

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoTokenizer, BertConfig, BertModel

import optical
import ot
from conftest import ROOT
from study import experiment, students
from test_optical import DOCS, PAIRS, QUERIES, TEXTS, tiny
from test_ot import needs_cuda, problem, ragged

LOOKS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique_dim", "_unique2"}
CODE = {str(ROOT / name) for name in ("ot.py", "optical.py", "study/students.py")}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    students.train_tokenizer(TEXTS * 3, 200, folder)
    return AutoTokenizer.from_pretrained(folder)


class Waits(TorchDispatchMode):
    """Counts, by our function that asked, what would make the host wait for a GPU: numbers that it looks at."""

    def __init__(self, patch):
        super().__init__()
        self.by, self.patch = collections.Counter(), patch

    def note(self):
        frame = sys._getframe(1)
        while frame and (frame.f_code.co_filename not in CODE or frame.f_code.co_name[0] == "<"):
            frame = frame.f_back
        self.by[frame.f_code.co_name if frame else "elsewhere"] += 1

    def __enter__(self):
        for name in ("numpy", "tolist", "cpu", "__array__"):
            own = getattr(torch.Tensor, name)
            self.patch.setattr(torch.Tensor, name, lambda *args, _own=own, **more: self.note() or _own(*args, **more))
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = "index" in name and isinstance(args[1], (list, tuple)) and any(
            t is not None and t.dtype == torch.bool for t in args[1])
        if name in LOOKS or by_mask:
            self.note()
        return func(*args, **(kwargs or {}))


def train(steps, tokenizer, objective, device="cpu"):
    """Some steps of a training, with one log line at its beginning and one at its end."""
    teacher = tiny(tokenizer).to(device)
    if objective == "teacher":
        triples = [(qid, docid, []) for qid, docid in zip(QUERIES, DOCS)]
        return optical.train_teacher(teacher, QUERIES, DOCS, triples, steps, batch=8, log_every=1000)
    bitext, settings = optical.Bitext(PAIRS, teacher), {}
    if objective == "idf":
        objective, settings = "optical", {"weights": students.idf(bitext)}
    return optical.distil(teacher, bitext, objective, steps, 8, training={"log_every": 1000}, **settings)


@pytest.mark.parametrize("objective", ["teacher", "idf", *optical.OBJECTIVES])
def test_a_step_never_waits_but_to_write_its_log(objective, tokenizer, monkeypatch):
    def waits(steps):
        with monkeypatch.context() as patch, Waits(patch) as found:
            train(steps, tokenizer, objective)
        return found.by

    monkeypatch.setattr(optical, "room", lambda device: 1e12)        # as on a GPU: vectors stay there,
    monkeypatch.setattr(optical, "on_cpu", lambda tensor: False)     # and nothing is looked at
    few, more = waits(3), waits(9)
    assert few == more and few["fit"] >= 4                           # two log lines of at least two numbers
    assert set(few) <= {"fit", "encode", "elsewhere"}                # encode: the teacher's vectors, once
    monkeypatch.undo()
    if objective in ("optical", "idf", "teacher", "contrastive"):    # the count does find what a CPU looks at
        assert waits(9).total() >= waits(3).total() + 6


@needs_cuda
@pytest.mark.parametrize("objective", ["teacher", "idf", *optical.OBJECTIVES])
def test_on_a_gpu_cuda_itself_counts_as_many_waits_after_more_steps(objective, tokenizer):
    def waits(steps):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                train(steps, tokenizer, objective, "cuda")
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in told)

    train(3, tokenizer, objective, "cuda")
    assert waits(3) == waits(9) > 0


def test_vectors_that_a_gpu_keeps_are_those_of_the_host(tokenizer, monkeypatch):
    vectors, index = optical.Vectors.encode(tiny(tokenizer), DOCS, "doc"), np.array([5, 0, 17])
    want, mask = vectors.batch(index, "cpu")
    assert vectors.resident is False                                 # a CPU keeps no second copy
    for room, kept in ((4 * vectors.flat.nbytes, False), (4 * vectors.flat.nbytes + 1, True)):
        monkeypatch.setattr(optical, "room", lambda device: room)
        vectors.resident = None
        got, real = vectors.batch(index, "cpu")
        assert (vectors.resident is not False) == kept and torch.equal(got, want) and torch.equal(real, mask)


@pytest.mark.parametrize("epsilon", [0.02, 0.1])
@pytest.mark.parametrize("padded", [False, True])
def test_without_waiting_a_plan_is_as_good_after_as_many_passes_and_data_go_unchecked(padded, epsilon, monkeypatch):
    x, y, *masks = ragged()
    C, a, b = (ot.cosine_cost(x, y), *map(ot.uniform_marginal, masks)) if padded else problem()
    looked, C = ot.sinkhorn(C, a, b, epsilon, 60, 1e-7, warn=False), torch.where((a > 0)[:, :, None], C, torch.nan)
    with monkeypatch.context() as patch, Waits(patch) as found:
        blind = ot.sinkhorn(C, a, b, epsilon, 60, 1e-7, warn=False, wait=False)
    assert not found.by and (blind.iterations == 60).all()
    assert (blind.error < 3 * looked.error + 1e-3).all() and blind.plan.isfinite().all()
    assert (blind.plan - looked.plan).abs().sum((1, 2)).max() < 0.05
    assert not ot.sinkhorn(C * torch.inf, a, b, epsilon, 60, warn=False, wait=False).converged.any()
    weights = torch.where(b > 0, -1.0, torch.nan)
    assert ot.weighted_marginal(weights, b > 0, wait=False).shape == b.shape
    with pytest.raises(ValueError, match="weights must be finite"):
        ot.weighted_marginal(weights, b > 0)


@needs_cuda
def test_vectors_losses_gradients_and_rankings_are_those_of_the_cpu(tokenizer):
    found = {}
    for device in ("cpu", "cuda"):
        teacher = tiny(tokenizer).to(device)
        bitext, student = optical.Bitext(PAIRS, teacher), tiny(tokenizer, seed=1).to(device)
        for name, objective in optical.OBJECTIVES.items():
            student.zero_grad()
            loss, _ = objective.loss(bitext.batch(student, np.arange(8), 0, objective.kind))
            loss.backward()
            found[device, name] = [loss.item(), student.projection.weight.grad.cpu().numpy()]
        index = optical.Vectors.encode(teacher, DOCS, "doc")
        found[device, "run"] = optical.search(teacher, QUERIES, index)
    for name in optical.OBJECTIVES:
        (loss, gradient), (other, same) = found["cpu", name], found["cuda", name]
        assert other == pytest.approx(loss, rel=1e-3) and np.abs(gradient - same).max() < 1e-3 * np.abs(gradient).max()
    for qid, documents in found["cpu", "run"].items():
        assert found["cuda", "run"][qid] == pytest.approx(documents, abs=5e-3)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("hidden, layers", [(64, 3), (256, 2)])
def test_the_memory_of_a_training_step_is_not_under_what_it_keeps_and_not_far_over(hidden, layers, bf16, tokenizer):
    config = BertConfig(vocab_size=300, hidden_size=hidden, num_hidden_layers=layers, intermediate_size=4 * hidden,
                        num_attention_heads=hidden // 32)
    encoder = optical.Encoder(BertModel(config, add_pooling_layer=False), tokenizer, 16).train()
    encoder.backbone.set_attn_implementation("sdpa")                 # as on a GPU
    encoder.bf16, rows, sizes = bf16, [np.arange(5, 37)] * 512, {}
    own, kept = {p.untyped_storage().data_ptr() for p in encoder.parameters()}, []

    def keep(tensor):
        kept.append(tensor)                                          # no storage is used again
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        encoder(rows)
    found = sum(size for place, size in sizes.items() if place not in own)
    fixed, each = experiment.training_memory(encoder, 512 * 32)
    weights = sum(p.numel() for p in encoder.parameters())
    assert fixed == 18 * weights and found - 2 * weights * bf16 < each < (2 if bf16 else 1.3) * found


@pytest.mark.parametrize("gb, mbert, large", [(16, 1, 13), (24, 1, 3), (80, 1, 1)])
def test_a_batch_is_cut_into_as_few_parts_as_the_memory_of_a_gpu_asks(gb, mbert, large, monkeypatch):
    class Shape:
        def __init__(self, weights, **config):
            self.backbone, self.weights = argparse.Namespace(config=argparse.Namespace(**config)), weights

        def parameters(self):
            return [torch.empty(self.weights, device="meta", requires_grad=True)]

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1, gb * 1e9))
    args = argparse.Namespace(accumulate=0, device="cuda", batch=128, log_every=1, save_every_s=1)
    parts = lambda *given: experiment.training_of(args, *given)["accumulate"]
    base = Shape(167_000_000, hidden_size=768, num_hidden_layers=12, intermediate_size=3072)
    assert parts(base, 128 * 64) == mbert and parts(base, 32 * (32 + 2 * 180)) == (2 if gb == 16 else 1)
    assert parts(Shape(560_000_000, hidden_size=1024, num_hidden_layers=24), 128 * 64) == large
    with pytest.raises(ValueError, match=rf"training takes 19\d GB at least and the GPU has {gb}; give --freeze"):
        parts(Shape(10_700_000_000, hidden_size=4096, num_hidden_layers=48), 128 * 64)
    args.accumulate = 3
    assert parts(base, 128 * 64) == 3                                # what is asked is done
    args.accumulate, args.device = 0, "cpu"
    assert parts(base, 128 * 64) == 1

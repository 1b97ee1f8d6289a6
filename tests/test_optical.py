"""optical.py: encoder, score, objectives, training, search; pre-training and what experiments keep."""
import json
import math
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (AutoModel, AutoTokenizer, BertConfig, BertModel, GPT2Config, GPT2Model,
                          PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel)

import evaluate
import optical
import ot
from conftest import ROOT
from study import experiment, students

TEXTS = ["the farmer sold a goat", "mkulima aliuza mbuzi", "a goat", "शेतकऱ्याने शेळी विकली", "the teacher",
         "the old teacher bought three big books today", "books and goats", "mwalimu alinunua vitabu vitatu"]
WHO = {"the farmer": "mkulima", "the teacher": "mwalimu", "the doctor": "daktari", "the child": "mtoto"}
DID = {"sold": "aliuza", "bought": "alinunua", "saw": "aliona"}
WHAT = {"a goat": "mbuzi", "three books": "vitabu vitatu", "a big house": "nyumba kubwa"}
PAIRS = [(f"{a} {b} {c}", f"{WHO[a]} {DID[b]} {WHAT[c]}") for a in WHO for b in DID for c in WHAT]
DOCS, QUERIES = ({f"{x}{i:02}": pair[side] for i, pair in enumerate(PAIRS)} for side, x in enumerate("dq"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    students.train_tokenizer(TEXTS * 3, 200, folder)
    return AutoTokenizer.from_pretrained(folder)


def tiny(tokenizer, dim=16, seed=0, **kwargs):
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=64, max_position_embeddings=128)
    return optical.Encoder(BertModel(config, add_pooling_layer=False), tokenizer, dim, **kwargs).eval()


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


def ragged_mask(lengths, width):
    return torch.arange(width) < torch.tensor(lengths)[:, None]


def losses(folder, key="loss"):
    return [json.loads(line)[key] for line in (folder / "train.jsonl").read_text().splitlines()]


def lowered(folder, share):
    return np.mean(losses(folder)[-5:]) < share * np.mean(losses(folder)[:5])


# ---------------------------------------------------------------------------------------- the score
def reference_maxsim(q, q_mask, d, d_mask):
    return torch.stack([torch.stack([sum((token @ doc[real].T).max() for token in query[mask])
                                     for doc, real in zip(d, d_mask)]) for query, mask in zip(q, q_mask)])


def test_maxsim_by_hand_and_padding_never_wins_when_every_real_similarity_is_negative():
    q, d, both = torch.eye(2)[None], torch.tensor([[[0.6, 0.8], [1.0, 0.0]]]), torch.ones(1, 2).bool()
    assert optical.maxsim(q, both, d, both).item() == pytest.approx(1.8)
    d = torch.tensor([[[-1.0, 0.0], [0.0, 0.0]]])
    assert optical.maxsim(q[:, :1], both[:, :1], d, torch.tensor([[True, False]])).item() == -1.0


def test_maxsim_and_its_gradient_are_those_of_loops_over_real_tokens_whose_gradient_is_that_of_differences():
    q, d = unit(3, 5, 8).double().requires_grad_(), unit(20, 6, 8, seed=1).double().requires_grad_()
    q_mask, d_mask = ragged_mask([5, 1, 3], 5), ragged_mask([6, 2, 1, 4] * 5, 6)             # two blocks
    some = [x[:2].detach().requires_grad_() for x in (q, d)]
    assert torch.autograd.gradcheck(lambda a, b: reference_maxsim(a, q_mask[:2], b, d_mask[:2]), some)
    a, b = (x.detach().float().requires_grad_() for x in (q, d))
    got, want = optical.maxsim(a, q_mask, b, d_mask), reference_maxsim(q, q_mask, d, d_mask)
    (got * got).sum().backward()
    (want * want).sum().backward()
    for ours, loops in ((got, want), (a.grad, q.grad), (b.grad, d.grad)):
        assert torch.allclose(ours.double(), loops, atol=1e-5)


# -------------------------------------------------------------------------------------- the encoder
def test_vectors_have_unit_length_and_do_not_depend_on_padding(tokenizer):
    encoder = tiny(tokenizer)
    together, mask = encoder(TEXTS)
    for i, text in enumerate(TEXTS):
        alone, own = encoder([text])
        assert own.all() and mask[i].sum() == own.sum()
        assert torch.allclose(together[i, :own.sum()], alone[0], atol=1e-5)
        assert torch.allclose(alone.norm(dim=-1), torch.ones(own.shape), atol=1e-5)


def letters(template=None, **special):
    """A tokenizer of letters, in which XLM-R's and decoders' are alike: no unused tokens, no mask token."""
    vocab = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    raw = Tokenizer(models.Unigram(vocab + [(c, -3.0) for c in "▁abcdefghijklmnopqrstuvwxyz."], 3))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    if template:
        raw.post_processor = processors.TemplateProcessing(template, special_tokens=[("<s>", 0), ("</s>", 2)])
    torch.manual_seed(0)
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                                   **special)


def xlmr():
    config = XLMRobertaConfig(vocab_size=31, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                              intermediate_size=64, max_position_embeddings=64, pad_token_id=1)
    tokenizer = letters("<s> $A </s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>")
    return optical.Encoder(XLMRobertaModel(config), tokenizer, 16).eval()


def test_a_marker_stands_after_the_sentence_start_and_is_an_unused_token_or_begins_as_that_start(tokenizer):
    query, doc = (tiny(tokenizer).tokens(["a goat"], kind)[0] for kind in ("query", "doc"))
    assert tokenizer.convert_ids_to_tokens(query[:2].tolist()) == ["[CLS]", "[unused0]"]
    assert tokenizer.convert_ids_to_tokens(doc[:2].tolist()) == ["[CLS]", "[unused1]"]
    assert (query[2:] == doc[2:]).all()
    other = xlmr()
    row, table = other.tokens([". a farm."], "query")[0], other.backbone.get_input_embeddings().weight
    assert other.tokenizer.convert_ids_to_tokens(row[:3].tolist()) == ["<s>", "[Q]", "▁"]
    assert torch.equal(table[other.markers["query"]], table[0]) and len(table) == len(other.tokenizer)


@pytest.mark.parametrize("kind", ["bert", "xlmr"])
def test_a_saved_encoder_has_the_same_vectors_and_loads_as_a_plain_model(kind, tokenizer, tmp_path):
    encoder = tiny(tokenizer, dim=8, query_tokens=12, augment=True) if kind == "bert" else xlmr()
    encoder.save(tmp_path)
    again, rows = optical.Encoder.load(tmp_path), encoder.tokens(["a goat", "the farm"], "query")
    assert [r.tolist() for r in rows] == [r.tolist() for r in again.tokens(["a goat", "the farm"], "query")]
    with torch.no_grad():
        assert torch.equal(encoder(rows)[0], again(rows)[0])
        ids, mask = optical.pad(rows, "cpu", encoder.tokenizer.pad_token_id)
        plain = AutoModel.from_pretrained(tmp_path).eval()(input_ids=ids, attention_mask=mask.long())
        hidden = encoder.backbone(input_ids=ids, attention_mask=mask.long())
        assert torch.equal(plain.last_hidden_state, hidden.last_hidden_state)
    assert f'"query_length": {encoder.query_tokens},' in (tmp_path / optical.SETTINGS).read_text()


def test_a_notebook_loads_an_encoder_and_asks_it_for_vectors(tokenizer, tmp_path):
    tiny(tokenizer).backbone.save_pretrained(tmp_path)          # a folder of Hugging Face's: no projection
    tokenizer.save_pretrained(tmp_path)
    encoder = optical.Encoder.load(tmp_path, dim=8, doc_tokens=6)
    vectors, mask = encoder(TEXTS)
    assert vectors.shape == (*mask.shape, 8) and vectors.dtype == torch.float32 and mask.dtype == torch.bool
    assert encoder(TEXTS, "doc")[1].shape == (8, 6) and not encoder.training
    assert optical.Encoder.load(tmp_path, dim=0).projection.weight.equal(torch.eye(32))      # its own space
    with pytest.raises(ValueError, match="nowhere: no encoder there .*; give a Hugging Face name, or"):
        optical.Encoder.load(tmp_path / "nowhere")


def test_a_checkpoint_that_lacks_weights_of_its_encoder_is_refused(tokenizer, tmp_path):
    for part in (tiny(tokenizer).backbone, tokenizer):
        part.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    assert not any("pooler" in key for key in weights) and optical.Encoder.load(tmp_path).dim == 128
    save_file({f"module.{key}": value for key, value in weights.items()}, tmp_path / "model.safetensors",
              {"format": "pt"})
    with pytest.raises(ValueError, match=r"no encoder there \(its weights lack \S+ and \d+ more\)"):
        optical.Encoder.load(tmp_path)


@pytest.mark.parametrize("begins", [False, True])
def test_a_decoder_is_an_encoder_too_with_a_sentence_start_or_without(begins, tmp_path):
    model = GPT2Model(GPT2Config(vocab_size=31, n_embd=16, n_layer=2, n_head=2, n_positions=64))
    encoder = optical.Encoder(model, letters("<s> $A" if begins else None), 8).eval()
    rows = encoder.tokens(["the", "a"], "query")
    assert [encoder.tokenizer.convert_ids_to_tokens(row.tolist()) for row in rows] == [
        ["<s>"] * begins + ["[Q]", "▁", *word] for word in ("the", "a")]
    encoder.save(tmp_path)
    both, alone, again = encoder(rows)[0], encoder(["a"])[0], optical.Encoder.load(tmp_path)(rows)[0]
    assert torch.allclose(both[1, :len(rows[1])], alone[0], atol=1e-6)                   # padding is not seen
    assert torch.equal(again, both)


def test_an_augmented_query_is_filled_with_mask_tokens_and_a_long_text_is_cut(tokenizer):
    encoder = tiny(tokenizer, query_tokens=10, augment=True)
    row = encoder.tokens(["a goat"], "query")[0]
    assert len(row) == 10 and row[-1] == tokenizer.mask_token_id
    assert len(encoder.tokens(["a goat " * 99], "query")[0]) == 10
    assert tokenizer.convert_ids_to_tokens(int(encoder.tokens(["a goat " * 99], "doc", 7)[0][-1])) == "[SEP]"


def test_vectors_of_many_texts_equal_the_encoders_own(tokenizer):
    encoder = tiny(tokenizer)
    made = optical.Vectors.encode(encoder, dict(zip("abcdefgh", TEXTS)), "doc", batch_tokens=16)
    vectors, mask = made.batch(np.array([3, 2, 0]), "cpu")
    raw, own = (x.detach() for x in encoder.project(encoder.tokens([TEXTS[i] for i in (3, 2, 0)], "doc")))
    assert made.ids == list("abcdefgh") and torch.equal(mask, own)
    assert (vectors - torch.nn.functional.normalize(raw, dim=-1))[mask].abs().max() <= 1 / 4096 + 1e-5
    assert made.norms[:made.offsets[1]] == pytest.approx(raw[2, own[2]].norm(dim=-1).numpy(), rel=1e-4)


# ------------------------------------------------------------- pre-training, and what experiments keep
def test_the_tokenizer_keeps_vowel_signs_and_is_the_same_in_every_process(tokenizer, tmp_path):
    assert "".join(tokenizer.tokenize("शेतकऱ्याने")).replace("▁", "") == "शेतकऱ्याने"
    code = f"import sys; from study import students as s; s.train_tokenizer({TEXTS!r} * 3, 150, sys.argv[1])"
    for name, seed in (("a", "1"), ("b", "2")):
        subprocess.run([sys.executable, "-c", code, tmp_path / name], cwd=ROOT, check=True,
                       env={**os.environ, "PYTHONHASHSEED": seed})
    assert (tmp_path / "a/tokenizer.json").read_bytes() == (tmp_path / "b/tokenizer.json").read_bytes()


def test_masking_follows_bert():
    ids, mask = torch.full((400, 50), 20), ragged_mask([40] * 400, 50)
    ids[:, 0] = 2
    out, chosen = students.mask_tokens(ids, mask, 100, 4, 6, torch.Generator().manual_seed(0))
    assert not chosen[:, 40:].any() and not chosen[:, 0].any()
    assert chosen[:, 1:40].float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert (out[chosen] == 4).float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert (out[chosen] == 20).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (out[~chosen] == ids[~chosen]).all()


def test_pretraining_lowers_its_loss_and_makes_an_encoder(tmp_path):
    (tmp_path / "text").write_text("".join(f"{text}\n" for pair in PAIRS for text in pair))
    (tmp_path / "collection.json").write_text(
        '{"version": 1, "seed": 1, "langs": {}, "docs": {}, "tests": [], "pretrain": "text"}')
    argv = "pretrain --vocab 150 --hidden 32 --layers 1 --steps 40 --batch 32 --log-every 1 --device cpu"
    assert students.main([*argv.split(), "--data", str(tmp_path), "--out", str(tmp_path / "encoder")]) == 0
    assert lowered(tmp_path / "encoder", 0.95) and len(losses(tmp_path / "encoder")) == 40
    assert json.loads((tmp_path / "encoder" / "done.json").read_text())["sentences"] == 72
    assert optical.Encoder.load(tmp_path / "encoder", dim=8)(["a goat"])[0].shape[2] == 8


def test_kept_vectors_are_the_encoders_own_made_once_and_belong_to_texts_and_weights(tokenizer, tmp_path):
    encoder, encode, asked = tiny(tokenizer), experiment.keeper(tmp_path, "v"), []
    want, tokens = optical.Vectors.encode(encoder, TEXTS, "doc"), encoder.tokens
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "PART", 3)                                     # three texts at a time
        patch.setattr(encoder, "tokens", lambda *args: asked.append(1) or tokens(*args))
        for kept in (encode(encoder, TEXTS, "doc"), encode(encoder, dict(zip("abcdefgh", TEXTS)), "doc")):
            assert isinstance(kept.flat, np.memmap) and kept.offsets.tolist() == want.offsets.tolist()
            assert np.abs(kept.flat - want.flat).max() <= 1 / 2048               # padding may move a last bit
            assert kept.norms == pytest.approx(want.norms, rel=1e-5)
    assert len(asked) == 3 and len(list(tmp_path.iterdir())) == 1 and kept.ids == list("abcdefgh")
    for other, *asked in ((encoder, TEXTS[:1], "doc"), (encoder, TEXTS, "query"), (encoder, TEXTS, "doc", 5),
                          (tiny(tokenizer, seed=1), TEXTS, "doc")):
        assert np.array_equal(encode(other, *asked).flat, optical.Vectors.encode(other, *asked).flat)
    assert len(list(tmp_path.iterdir())) == 5 and not list(tmp_path.glob("*.tmp"))


def test_of_very_many_documents_a_component_is_a_byte_and_very_many_sentences_are_not_kept(
        tokenizer, tmp_path, monkeypatch):
    encoder, encode = tiny(tokenizer), experiment.keeper(tmp_path, "v")
    whole = optical.Vectors.encode(encoder, DOCS, "doc")
    monkeypatch.setattr(experiment, "MANY", 20)                                      # DOCS are 36
    for small in (encode(encoder, DOCS, "doc"), optical.Vectors.encode(encoder, DOCS, "doc", small=True)):
        assert small.flat.dtype == np.int8 and small.flat.nbytes == whole.flat.nbytes / 2
        (got, mask), (want, _) = (vectors.batch([3, 0, 30], "cpu") for vectors in (small, whole))
        assert 0 < (got - want).abs().max() <= 1 / 256 + 1 / 4096 and torch.equal(got * 128, (got * 128).round())
        run = optical.search(encoder, QUERIES, small)                                # exact, as of the others
        asked = optical.Vectors.encode(encoder, QUERIES, "query").batch([7], "cpu")
        scores = optical.maxsim(*(x.double() if x.is_floating_point() else x for x in asked), got, mask)[0]
        assert [run["q07"][docid] for docid in ("d03", "d00", "d30")] == scores.tolist()
    kept = list(tmp_path.iterdir())
    assert np.array_equal(encode(encoder, list(DOCS.values()), "doc").flat, whole.flat)  # sentences, a list
    assert list(tmp_path.iterdir()) == kept and len(kept) == 1


def test_of_two_processes_that_keep_the_same_vectors_the_second_takes_those_of_the_first(tokenizer, tmp_path):
    encoder, replace = tiny(tokenizer), os.replace

    def late(part, path):                    # the other process is done just before this one would be
        shutil.copytree(part, path)
        replace(part, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", late)
        kept = experiment.keeper(tmp_path, "v")(encoder, TEXTS, "doc")
    assert kept.offsets.tolist() == optical.Vectors.encode(encoder, TEXTS, "doc").offsets.tolist()
    assert len(list(tmp_path.iterdir())) == 1


def test_an_experiment_is_there_whole_or_not_and_other_settings_are_refused_by_name(tmp_path):
    (tmp_path / "collection.json").write_text("{}")
    args, out = Namespace(data=str(tmp_path), device="cpu", seed=1, out="a"), tmp_path / "x"
    begin = partial(experiment.open_experiment, out, args)
    (begin(lr=0.1) / "lost").touch()
    part = begin(lr=0.1)
    assert not (part / "lost").exists()                                 # without a checkpoint it begins anew
    (part / "checkpoint.pt").touch()
    args.out = "b"                                                      # where it lies is no setting
    assert begin(lr=0.1) == part and (part / "checkpoint.pt").exists() and not out.exists()
    with pytest.raises(ValueError, match=r"x\.part/args\.json: was made with lr=0\.1, now it is 0\.2; del"):
        begin(lr=0.2)
    assert experiment.close_experiment(part, out, {"a": 1}) == {"a": 1} and begin(lr=0.1) is None
    assert sorted(path.name for path in out.iterdir()) == ["args.json", "done.json"] and not part.exists()
    (tmp_path / "collection.json").write_text("{} ")
    with pytest.raises(ValueError, match="x/args.json: was made with data_sha256="):
        begin(lr=0.1)


# --------------------------------------------------------------------------------------- objectives
def batch_of(*sides):
    return optical.Batch(*sides, same=torch.eye(len(sides[0])).bool(), index=None, norms=None)


S, S_MASK = unit(3, 5, 8), ragged_mask([5, 2, 1], 5)
T, T_MASK = unit(3, 4, 8, seed=1), ragged_mask([1, 4, 3], 4)
BATCH = batch_of(S, S_MASK, T, T_MASK)


def test_mean_loss_by_hand_and_greedy_loss_in_loops():
    s, t = torch.tensor([[[1.0, 0.0], [9.0, 9.0]]]), torch.eye(2)[None]
    loss, _ = optical.mean_loss(batch_of(s, torch.tensor([[True, False]]), t, torch.ones(1, 2).bool()))
    assert loss.item() == pytest.approx(0.5)  # (1 - .5)^2 + (0 - .5)^2
    want = np.mean([np.mean([min(1 - float(T[b, n] @ S[b, m]) for n in range(4) if T_MASK[b, n])
                             for m in range(5) if S_MASK[b, m]]) for b in range(3)])
    assert optical.greedy_loss(BATCH)[0].item() == pytest.approx(want, abs=1e-6)


def test_optical_loss_equals_a_float64_sinkhorn_in_loops():
    want, costs = [], [1 - T[b][T_MASK[b]].double() @ S[b][S_MASK[b]].double().T for b in range(3)]
    std = torch.cat([cost.flatten() for cost in costs]).std(correction=0)       # epsilon is in units of it
    for cost in costs:
        n, m = cost.shape
        kernel = torch.exp(-cost / std / 0.2) / (n * m)
        u, v = torch.ones(n).double(), torch.ones(m).double()
        for _ in range(5000):
            u, v = (1 / n) / (kernel @ v), (1 / m) / (kernel.T @ ((1 / n) / (kernel @ v)))
        want.append(float((u[:, None] * kernel * v * cost).sum()))
    assert optical.optical_loss(BATCH, epsilon=0.2)[0].item() == pytest.approx(np.mean(want), abs=3e-4)
    assert float(optical.spread(ot.cosine_cost(T, S), T_MASK, S_MASK)) == pytest.approx(float(std), rel=1e-5)


def test_the_gradient_of_the_optical_loss_is_the_plan_times_the_teacher_vectors():
    s = S.clone().requires_grad_()
    optical.optical_loss(BATCH._replace(student=s), epsilon=0.2)[0].backward()
    C = ot.cosine_cost(T, S) / optical.spread(ot.cosine_cost(T, S), T_MASK, S_MASK)
    plan = ot.sinkhorn(C, ot.uniform_marginal(T_MASK), ot.uniform_marginal(S_MASK), 0.2, max_iter=100,
                       tol=1e-4, warn=False).plan
    raw = -torch.einsum("bnm,bnh->bmh", plan, T) / 3
    radial = (raw * S).sum(-1, keepdim=True) * S                 # cosine_cost normalises: none along s
    assert torch.allclose(s.grad, raw - radial, atol=1e-5)
    assert (s.grad[~S_MASK] == 0).all()


@pytest.mark.parametrize("loss", [optical.optical_loss, optical.mean_loss, optical.greedy_loss])
def test_neither_padding_nor_word_order_changes_an_objective(loss):
    want = loss(BATCH)[0].item()
    wide = lambda x, fill: torch.cat([x, torch.full((3, 2, *x.shape[2:]), fill, dtype=x.dtype)], 1)
    padded = batch_of(wide(S, 0.3), wide(S_MASK, False), wide(T, -0.7), wide(T_MASK, False))
    mixed = batch_of(*(x[:, torch.arange(x.shape[1]).flip(0)] for x in padded[:4]))
    assert [loss(b)[0].item() for b in (padded, mixed)] == pytest.approx([want, want], abs=1e-5)
    if loss is optical.optical_loss:                    # epsilon is in units of the batch's spread: given, as here
        unit = optical.spread(ot.cosine_cost(T, S), T_MASK, S_MASK)
        loss = lambda b: optical.optical_loss(b, plan=lambda C, p, q, epsilon: optical.train_plan(
            ot.cosine_cost(b.teacher, b.student) / unit, p, q, epsilon))
    alone = [loss(batch_of(*(x[b:b + 1, :n] for x, n in zip(BATCH[:4], (m, m, n, n)))))[0].item()
             for b, (m, n) in enumerate(zip(S_MASK.sum(1), T_MASK.sum(1)))]
    assert np.mean(alone) == pytest.approx(want, abs=1e-5)


def test_greedy_is_content_when_every_student_token_sits_on_one_teacher_token_and_optical_is_not():
    t, ones = torch.eye(4)[None], torch.ones(1, 4).bool()
    collapsed = batch_of(t[:, :1].expand(1, 4, 4), ones, t, ones)
    assert optical.greedy_loss(collapsed)[0].item() == pytest.approx(0.0, abs=1e-6)
    assert optical.optical_loss(collapsed)[0].item() == pytest.approx(0.75, abs=1e-4)


def test_contrastive_loss_equals_loops_and_a_repeated_sentence_is_no_negative():
    same = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    score, want = reference_maxsim(S, S_MASK, T, T_MASK) / S_MASK.sum(1, keepdim=True) / 0.05, 0.0
    for b in range(3):
        rivals = [score[b, k].item() for k in range(3) if k == b or not same[b, k]]
        want -= score[b, b].item() - math.log(sum(math.exp(r) for r in rivals))
    assert optical.contrastive_loss(BATCH._replace(same=same))[0].item() == pytest.approx(want / 3, abs=1e-3)


def test_documents_of_a_batch_come_once_and_the_loss_leaves_other_relevant_ones_out():
    batch = [("q1", "a", ["x", "y"]), ("q2", "b", ["a", "x"]), ("q3", "a", [])]
    relevant = {"q1": {"a", "b"}, "q2": {"b"}, "q3": {"a"}}
    names, target, other = optical.documents_of(batch, relevant, 2, np.random.default_rng(0))
    assert sorted(names) == ["a", "b", "x", "y"] and [names[i] for i in target] == ["a", "b", "a"]
    assert [[names[i] for i in row.nonzero()[:, 0]] for row in other] == [["b"], [], []]
    assert optical.documents_of(batch, relevant, 0, np.random.default_rng(0))[0] == ["a", "b"]
    scores, third = torch.tensor([[1.0, 2.0, 0.0]] * 2), torch.tensor([[False, True, False], [False] * 3])
    loss, stats = optical.ranking_loss(scores, torch.tensor([0, 1]), third)
    want = math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-1) + math.exp(-2))
    assert loss.item() == pytest.approx(want / 2) and stats["accuracy"] == 1


# ----------------------------------------------------------------------------------------- training
def test_batches_are_pure_of_even_size_cover_every_epoch_and_waste_little():
    lengths = np.random.default_rng(0).integers(4, 64, 5000)
    batches, again = (optical.length_batches(lengths, 64, 200, seed=3) for _ in range(2))
    assert all((a == b).all() for a, b in zip(batches, again)) and len(batches) == 200
    assert {len(b) for b in batches} == {64} and len(set(np.concatenate(batches[:76]))) == 76 * 64
    assert sum(lengths[b].sum() for b in batches) / sum(64 * lengths[b].max() for b in batches) > 0.9
    assert [len(b) for b in optical.length_batches([3, 4, 5], 64, 2, 0)] == [3, 3]     # larger than the data
    batches = optical.token_batches(lengths, 400)
    assert sorted(np.concatenate(batches)) == list(range(5000))
    assert all(len(b) * lengths[b].max() <= 400 for b in batches)


def test_the_learning_rate_rises_then_falls_to_zero():
    rates = [optical.learning_rate(s, 100, 1.0, 0.1) for s in range(100)]
    assert rates[0] == 0.1 and rates[9] == 1.0 and max(rates) == 1.0 and 0 < rates[99] < 0.02
    assert optical.learning_rate(0, 1, 1.0, 0.1) == 1.0


class Line(torch.nn.Module):
    """y = w x with dropout, the smallest thing whose training uses the random generator."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.weight, self.frozen = (torch.nn.Parameter(torch.randn(6, 1), learns) for learns in (True, False))

    def loss(self, index, step, dropout=0.5):
        x = torch.arange(24.0).view(4, 6)[index % 4] / 24
        y = torch.nn.functional.dropout(x, dropout) @ self.weight
        return (y - 1).pow(2).mean(), {"tokens": len(index)}


def test_a_killed_training_resumes_bit_for_bit_from_a_checkpoint_of_what_is_trained_and_no_more(tmp_path):
    batches, steps = optical.length_batches([1] * 16, 4, 20, 0), []

    def train(name, cut=20, seed=0, **how):
        def loss(index, step):
            steps.append(step)
            return model.loss(index, step) if step < cut else 1 / 0
        model = Line()
        torch.manual_seed(seed)
        (tmp_path / name).mkdir(exist_ok=True)
        optical.fit(model, batches, loss, tmp_path / name, 0.1, log_every=1, **how)
        return model.weight, losses(tmp_path / name)
    whole = train("a")
    with pytest.raises(ZeroDivisionError):
        train("b", cut=12, save_every_s=0)
    assert list(torch.load(tmp_path / "b" / "checkpoint.pt")["model"]) == ["weight"]
    with open(tmp_path / "b" / "train.jsonl", "a") as log:                       # lines after the checkpoint
        log.write('{"step": 12, "loss": 9.0}\n{"step": 13, "lo')
    resumed = train("b", seed=99)
    assert steps == [*range(20), *range(13), *range(12, 20)] and len(whole[1]) == 20
    assert torch.equal(resumed[0], whole[0]) and resumed[1] == whole[1]


def test_accumulated_gradients_equal_the_big_batch(tmp_path):
    found = []
    for parts in (1, 3):
        model, batches = Line(), [np.arange(8)] * 5
        optical.fit(model, batches, partial(model.loss, dropout=0.0), tmp_path, 0.01, accumulate=parts)
        found.append(losses(tmp_path) + losses(tmp_path, "grad_norm") + model.weight[:, 0].tolist())
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_loss_that_is_not_finite_stops_with_its_step(tmp_path):
    model = Line()
    with pytest.raises(ValueError, match=r"train\.jsonl: the loss of x is nan .* at step 0; lower the"):
        optical.fit(model, [np.arange(2)], lambda i, s: (model.weight.sum() * float("nan"), {"tokens": 1}),
                    tmp_path, 0.1, name="x")


def test_a_teacher_learns_and_its_students_learn_from_pairs_alone_and_leave_it_as_it_is(tokenizer, tmp_path):
    teacher, english = tiny(tokenizer), {f"q{d[1:]}": text for d, text in DOCS.items()}
    triples, found = [(q, d, [other]) for q, d, other in zip(english, DOCS, reversed(DOCS))], {}
    for name in ("teacher", *optical.OBJECTIVES):
        (tmp_path / name).mkdir()
    optical.train_teacher(teacher, english, DOCS, triples, 20, batch=8, lr=1e-3, folder=tmp_path / "teacher",
                          log_every=1)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    for name in optical.OBJECTIVES:
        found[name], spent = optical.distil(teacher, PAIRS, name, 20, 8, folder=tmp_path / name,
                                            training={"log_every": 1})
    for name in ("teacher", *optical.OBJECTIVES):
        assert lowered(tmp_path / name, 0.85)
    assert spent["steps"] == 20 and all(map(torch.equal, teacher.state_dict().values(), before.values()))
    again, _ = optical.distil(teacher, optical.Bitext(PAIRS, teacher), steps=20, batch=8)
    assert all(map(torch.equal, again.state_dict().values(), found["optical"].state_dict().values()))
    with pytest.raises(ValueError, match="objective 'optimal' is unknown; there are optical, mean, gr"):
        optical.distil(teacher, PAIRS, "optimal")
    with pytest.raises(ValueError, match="of 36 pairs none has at most 3 tokens; raise max_tokens"):
        optical.Bitext(PAIRS, teacher, 3)


# --------------------------------------------------------------------------------- search, commands
@pytest.fixture(scope="module")
def searched(tokenizer):
    encoder = tiny(tokenizer)
    docs = {f"d{i:02}": " ".join(TEXTS[:i % 4 + 1]) + " goat" * (i % 3) for i in range(30)}
    return encoder, docs, optical.Vectors.encode(encoder, docs, "doc"), dict(zip("abcdefgh", TEXTS))


def test_search_scores_every_document_as_loops_in_float64_do(searched):
    encoder, docs, index, queries = searched
    run, asked = optical.search(encoder, queries, index), optical.Vectors.encode(encoder, queries, "query")
    for j, qid in enumerate(queries):
        q = torch.from_numpy(asked.flat[asked.offsets[j]:asked.offsets[j + 1]]).double()
        for i, docid in enumerate(docs):
            d = torch.from_numpy(index.flat[index.offsets[i]:index.offsets[i + 1]]).double()
            assert run[qid][docid] == (q @ d.T).max(1).values.sum().float().item()  # exact, not nearly


def test_dot_products_of_vectors_on_the_grid_are_exact_in_any_order():
    a, b = optical.on_grid(unit(1, 300, 384))[0], optical.on_grid(unit(1, 300, 384, seed=1))[0]
    want, order = a.double() @ b.double().T, torch.randperm(384)
    for left, right in ((a, b), (a[:, order], b[:, order]), (a.half().float(), b.half().float())):
        assert torch.equal((left @ right.T).double(), want)
    assert (a - unit(1, 300, 384)[0]).abs().max() <= 1 / 4096


def test_equal_documents_come_in_descending_docid_order_also_at_the_cut(searched):
    encoder, docs, index, queries = searched
    run = optical.search(encoder, {"q": "a goat"}, index, depth=30)["q"]
    want = sorted(run, key=lambda d: (run[d], d), reverse=True)
    assert list(run) == want and len(set(run.values())) < 30
    for depth in range(1, 30):
        assert list(optical.search(encoder, {"q": "a goat"}, index, depth)["q"]) == want[:depth]


def test_neither_chunks_nor_query_batches_nor_document_order_change_a_ranking(searched):
    encoder, docs, index, queries = searched
    want = {q: list(r) for q, r in optical.search(encoder, queries, index).items()}
    for chunk, batch in ((1, 1), (100, 3), (10**6, 8)):
        got = optical.search(encoder, queries, index, chunk_tokens=chunk, query_batch=batch)
        assert {q: list(r) for q, r in got.items()} == want
    other = optical.Vectors.encode(encoder, dict(reversed(docs.items())), "doc")
    assert {q: list(r) for q, r in optical.search(encoder, queries, other).items()} == want


def test_the_commands_distil_a_student_and_search_and_bad_input_is_one_line(tokenizer, tmp_path, capsys):
    tiny(tokenizer).save(tmp_path / "teacher")
    files = {"pairs": PAIRS, "docs": DOCS.items(), "queries": QUERIES.items(), "bad": [["x"]]}
    for name, rows in files.items():
        (tmp_path / name).write_text("".join("\t".join(row) + "\n" for row in rows))
    run = lambda text: optical.main([word.replace("/", f"{tmp_path}/") for word in text.split()])
    ask = "search --teacher /teacher --docs /docs --queries /queries --out /run"
    assert not run("distil --teacher /teacher --bitext /pairs --steps 3 --out /student")
    assert not run(ask + " --student /student")
    teacher, student = (optical.Encoder.load(tmp_path / name) for name in ("teacher", "student"))
    want = optical.search(student, QUERIES, optical.Vectors.encode(teacher, DOCS, "doc"))
    assert evaluate.read_run(tmp_path / "run") == want
    capsys.readouterr()
    for argv, message in ((ask.replace("/docs", "/bad"), "bad:1: expected id<TAB>text, got 'x'"),
                          (ask.replace("/docs", "/none"), "No such file or directory"),
                          (ask + " --student /none", "none: no encoder there"),
                          ("distil --teacher /teacher --bitext /bad --out /x", "bad:1: 1 columns by tab")):
        assert run(argv) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith("error: ") and message in told

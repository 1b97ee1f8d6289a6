"""optical.py: the encoder, the score, the objectives, training that resumes, exact search."""
import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tokenizers
import torch
from transformers import (AutoModel, AutoTokenizer, BertConfig, BertModel, GPT2Config, GPT2Model,
                          PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel)

import optical
from conftest import ROOT

TEXTS = ["the farmer sold a goat", "mkulima aliuza mbuzi", "a goat",
         "the old teacher bought three big books today", "शेतकऱ्याने शेळी विकली",
         "books and goats and farmers", "the teacher", "mwalimu alinunua vitabu vitatu"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    optical.train_tokenizer(TEXTS * 3, 200, folder)
    return AutoTokenizer.from_pretrained(folder)


def tiny(tokenizer, dim=16, seed=0, **kwargs):
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=64, max_position_embeddings=128)
    encoder = optical.Encoder(BertModel(config), tokenizer, dim, **kwargs).eval()
    optical.set_dropout(encoder, 0.0)
    return encoder


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


def ragged_mask(lengths, width):
    return torch.arange(width) < torch.tensor(lengths)[:, None]


# ---------------------------------------------------------------------------------------- the score

def test_maxsim_by_hand():
    q = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    d = torch.tensor([[[0.6, 0.8], [1.0, 0.0]]])
    assert optical.maxsim(q, torch.ones(1, 2).bool(), d, torch.ones(1, 2).bool()).item() == pytest.approx(1.8)


def test_maxsim_equals_loops_over_real_tokens():
    q, d, qn, dn = unit(3, 5, 8), unit(4, 6, 8, seed=1), [5, 1, 3], [6, 2, 1, 4]
    got = optical.maxsim(q, ragged_mask(qn, 5), d, ragged_mask(dn, 6))
    for i in range(3):
        for j in range(4):
            want = sum(max(float(q[i, n] @ d[j, m]) for m in range(dn[j])) for n in range(qn[i]))
            assert got[i, j].item() == pytest.approx(want, abs=1e-5)


def test_padding_never_wins_when_every_real_similarity_is_negative():
    q, d = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[-1.0, 0.0], [0.0, 0.0]]])
    assert optical.maxsim(q, torch.ones(1, 1).bool(), d, torch.tensor([[True, False]])).item() == -1.0


def test_maxsim_gradient_is_that_of_central_differences():
    q, d = unit(2, 3, 4).double(), unit(2, 3, 4, seed=3).double()
    mask = ragged_mask([3, 2], 3)
    inputs = q.requires_grad_(), d.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: reference_maxsim(a, mask, b, mask), inputs)
    a, b = q.detach().float().requires_grad_(), d.detach().float().requires_grad_()
    optical.maxsim(a, mask, b, mask).sum().backward()
    reference_maxsim(q, mask, d, mask).sum().backward()
    assert torch.allclose(a.grad.double(), q.grad, atol=1e-6)
    assert torch.allclose(b.grad.double(), d.grad, atol=1e-6)


def test_the_gradient_of_the_maxima_is_autograds_own():
    leaves, mask = [unit(3, 4, 8, seed=1), unit(5, 6, 8, seed=2)], ragged_mask([6, 1, 3, 6, 2], 6)
    weight = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(3))
    found = []
    for function in (optical.token_maxima, lambda q, d, mask: torch.einsum("qnh,dlh->qndl", q, d).masked_fill(
            ~mask, -torch.inf).amax(-1)):
        q, d = (leaf.clone().requires_grad_() for leaf in leaves)
        best = function(q, d, mask)
        (best * weight).sum().backward()
        found.append((best.detach(), q.grad, d.grad))
    for ours, autograd in zip(*found):
        assert torch.allclose(ours, autograd, atol=1e-6)
    q, d = leaves[0], leaves[1].clone().requires_grad_()
    optical.token_maxima(q, d[:, :1].expand(-1, 6, -1), mask).sum().backward()       # six equal tokens
    assert torch.allclose(d.grad[:, 0], q.sum((0, 1)).expand(5, -1), atol=1e-5)


def reference_maxsim(q, q_mask, d, d_mask):
    rows = []
    for i in range(len(q)):
        rows.append([sum((q[i, n] @ d[j][d_mask[j]].T).max() for n in range(q.shape[1]) if q_mask[i, n])
                     for j in range(len(d))])
    return torch.stack([torch.stack(row) for row in rows])


# -------------------------------------------------------------------------------------- the encoder

def test_vectors_have_unit_length_and_do_not_depend_on_padding(tokenizer):
    encoder = tiny(tokenizer)
    rows = encoder.tokens(TEXTS, "query")
    ids, mask = encoder.pad(rows)
    with torch.no_grad():
        together = encoder(ids, mask)
        for i, row in enumerate(rows):
            alone = encoder(*encoder.pad([row]))[0]
            assert torch.allclose(together[i, :len(row)], alone, atol=1e-5)
            assert torch.allclose(alone.norm(dim=-1), torch.ones(len(row)), atol=1e-5)


def test_the_marker_stands_after_the_sentence_start_and_tells_queries_from_documents(tokenizer):
    encoder = tiny(tokenizer)
    query, doc = encoder.tokens(["a goat"], "query")[0], encoder.tokens(["a goat"], "doc")[0]
    assert tokenizer.convert_ids_to_tokens(query.tolist())[:2] == ["[CLS]", "[unused0]"]
    assert tokenizer.convert_ids_to_tokens(doc.tolist())[:2] == ["[CLS]", "[unused1]"]
    assert (query[2:] == doc[2:]).all()


def xlmr(dim=16):
    """A tokenizer and an encoder of XLM-R's kind: <s> ... </s>, no unused tokens, pad id 1."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    vocab = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    vocab += [(c, -3.0) for c in "▁abcdefghijklmnopqrstuvwxyz."]
    raw = Tokenizer(models.Unigram(vocab, unk_id=3))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>",
                                                       special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", cls_token="<s>",
                                        eos_token="</s>", sep_token="</s>", pad_token="<pad>",
                                        unk_token="<unk>")
    torch.manual_seed(0)
    config = XLMRobertaConfig(vocab_size=len(vocab), hidden_size=32, num_hidden_layers=1,
                              num_attention_heads=2, intermediate_size=64, max_position_embeddings=64,
                              pad_token_id=1)
    return optical.Encoder(XLMRobertaModel(config), tokenizer, dim).eval()


def test_markers_are_added_to_a_tokenizer_without_unused_tokens_and_start_as_the_sentence_start():
    encoder = xlmr()
    row = encoder.tokens([". a farm."], "query")[0]
    assert encoder.tokenizer.convert_ids_to_tokens(row.tolist())[:3] == ["<s>", "[Q]", "▁"]
    table = encoder.backbone.get_input_embeddings().weight
    assert torch.equal(table[encoder.markers["query"]], table[0]) and len(table) == len(encoder.tokenizer)


@pytest.mark.parametrize("kind", ["bert", "xlmr"])
def test_a_saved_encoder_comes_back_with_the_same_vectors_and_loads_as_a_plain_model(kind, tokenizer,
                                                                                     tmp_path):
    encoder = tiny(tokenizer, dim=8, query_tokens=12, augment=True) if kind == "bert" else xlmr()
    encoder.save(tmp_path)
    again = optical.Encoder.load(tmp_path).eval()
    rows = encoder.tokens(["a goat", "the farm"], "query")
    assert [r.tolist() for r in rows] == [r.tolist() for r in again.tokens(["a goat", "the farm"], "query")]
    with torch.no_grad():
        assert torch.equal(encoder(*encoder.pad(rows)), again(*again.pad(rows)))
        ids, mask = encoder.pad(rows)
        plain = AutoModel.from_pretrained(tmp_path).eval()(input_ids=ids, attention_mask=mask.long())
        hidden = encoder.backbone(input_ids=ids, attention_mask=mask.long())
        assert torch.equal(plain.last_hidden_state, hidden.last_hidden_state)
    config = json.loads((tmp_path / "config_sentence_transformers.json").read_text())
    assert config["query_length"] == encoder.query_tokens


@pytest.mark.parametrize("begins", [False, True])
def test_a_decoder_is_an_encoder_too(begins, tmp_path):
    """Like GPT-2's its tokenizer puts nothing first, or like Llama's the sentence-start token; no mask, no [CLS]."""
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(
        ["<s>", "<unk>", "a", "goat", "farm", "the"])}, unk_token="<unk>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if begins:
        raw.post_processor = tokenizers.processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="<s>", unk_token="<unk>")
    torch.manual_seed(1)
    model = GPT2Model(GPT2Config(vocab_size=6, n_embd=16, n_layer=2, n_head=2, n_positions=64))
    encoder = optical.Encoder(model, tokenizer, 8).eval()
    rows = encoder.tokens(["the goat", "a"], "query")
    assert [encoder.tokenizer.convert_ids_to_tokens(row.tolist()) for row in rows] == [
        ["<s>"] * begins + ["[Q]", "the", "goat"], ["<s>"] * begins + ["[Q]", "a"]]
    with torch.no_grad():
        both, alone = encoder(*encoder.pad(rows)), encoder(*encoder.pad(rows[1:]))
    assert torch.allclose(both[1, :len(rows[1])], alone[0], atol=1e-6)                   # padding is not seen
    encoder.save(tmp_path)
    again = optical.Encoder.load(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(*again.pad(rows)), both)
    with pytest.raises(ValueError, match="no mask token .*; leave out --augment"):
        optical.Encoder(model, tokenizer, 8, augment=True)


def test_an_augmented_query_is_filled_with_mask_tokens_and_a_long_text_is_cut(tokenizer):
    encoder = tiny(tokenizer, query_tokens=10, augment=True)
    row = encoder.tokens(["a goat"], "query")[0]
    assert len(row) == 10 and row[-1] == tokenizer.mask_token_id
    assert len(encoder.tokens(["a goat " * 99], "query")[0]) == 10
    assert tokenizer.convert_ids_to_tokens(int(encoder.tokens(["a goat " * 99], "doc", 7)[0][-1])) == "[SEP]"


def test_the_tokenizer_keeps_the_vowel_signs_of_devanagari(tokenizer):
    word = "शेतकऱ्याने"
    assert "".join(tokenizer.tokenize(word)).replace("▁", "") == word


def test_the_tokenizer_is_the_same_in_every_process(tmp_path):
    code = f"import sys, optical as o; o.train_tokenizer({TEXTS!r} * 3, 150, {str(tmp_path)!r}+sys.argv[1])"
    for name, seed in (("/a", "1"), ("/b", "2")):
        subprocess.run([sys.executable, "-c", code, name], cwd=ROOT, check=True,
                       env={**os.environ, "PYTHONHASHSEED": seed})
    assert (tmp_path / "a/tokenizer.json").read_bytes() == (tmp_path / "b/tokenizer.json").read_bytes()


def test_vectors_on_disk_equal_the_encoders_own_and_belong_to_their_texts(tokenizer, tmp_path):
    encoder = tiny(tokenizer)
    stored = optical.Vectors.encode(tmp_path / "v", encoder, TEXTS, "doc", batch_tokens=16)
    vectors, mask = stored.batch(np.array([3, 2, 0]), "cpu")
    rows = encoder.tokens([TEXTS[i] for i in (3, 2, 0)], "doc")
    with torch.no_grad():
        want = encoder(*encoder.pad(rows))
    assert mask.sum(1).tolist() == [len(r) for r in rows]
    assert torch.allclose(vectors[mask], want[mask], atol=1e-3)
    assert len(optical.Vectors.encode(tmp_path / "v", encoder, TEXTS, "doc")) == len(TEXTS)
    with pytest.raises(ValueError, match="other texts"):
        optical.Vectors.encode(tmp_path / "v", encoder, TEXTS[:3], "doc")


def test_vectors_in_shards_are_those_of_one_and_an_encoding_goes_on_after_a_kill(tokenizer, tmp_path):
    encoder, texts = tiny(tokenizer), [f"{t} {i}" for i in range(7) for t in TEXTS]
    whole = optical.Vectors.encode(tmp_path / "v", encoder, texts, "doc")
    parts = optical.Vectors.encode(tmp_path / "s", encoder, texts, "doc", shard_tokens=40)
    assert len(whole.flats) == 1 and len(parts.flats) > 5 and len(parts) == len(texts)
    assert all(0 < len(flat) <= 80 for flat in parts.flats) and parts.starts[-1] == len(texts)
    index = np.random.default_rng(1).permutation(len(texts))
    (a, mask), (b, same) = whole.batch(index, "cpu"), parts.batch(index, "cpu")
    assert torch.equal(mask, same) and (a - b).abs().max() <= 1 / 2048        # padding may move a last bit
    assert torch.allclose(whole.token_norms(index, mask), parts.token_norms(index, mask), rtol=1e-4)
    queries, docids = {f"q{i}": t for i, t in enumerate(TEXTS)}, [f"d{i:02d}" for i in range(len(texts))]
    one, many = (optical.search(encoder, queries, v, docids, chunk_tokens=50) for v in (whole, parts))
    assert all(one[q].keys() == many[q].keys() for q in queries)
    assert max(abs(one[q][d] - many[q][d]) for q in queries for d in docids) < 0.01
    shutil.rmtree(tmp_path / "s" / "00002")                                   # a kill came before this one,
    (tmp_path / "s" / "00002.part").mkdir()                                   # which was begun
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s").iterdir() if p.name.isdigit()}
    again = optical.Vectors.encode(tmp_path / "s", encoder, texts, "doc", shard_tokens=40)
    now = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s").iterdir() if p.name.isdigit()}
    assert now.keys() - before.keys() == {"00002"} and all(now[name] == before[name] for name in before)
    assert torch.equal(again.batch(index, "cpu")[0], b)
    with pytest.raises(ValueError, match="made of other texts"):              # fewer texts, fewer shards
        optical.Vectors.encode(tmp_path / "s", encoder, texts[:20], "doc", shard_tokens=40)


def test_vectors_in_int8_are_near_and_their_products_exact(tokenizer, tmp_path):
    encoder = tiny(tokenizer)
    fine = optical.Vectors.encode(tmp_path / "f", encoder, TEXTS, "doc")
    coarse = optical.Vectors.encode(tmp_path / "c", encoder, TEXTS, "doc", int8=True)
    assert coarse.flats[0].dtype == np.int8 and coarse.flats[0].nbytes * 2 == fine.flats[0].nbytes
    index = np.arange(len(TEXTS))
    (a, mask), (b, _) = fine.batch(index, "cpu"), coarse.batch(index, "cpu")
    assert (a - b).abs().max() <= 1 / 256 + 1 / 4096 and not b[~mask].any()
    rows, queries = b[mask], optical.on_grid(unit(1, 50, b.shape[-1]))[0]
    assert torch.equal((queries @ rows.T).double(), queries.double() @ rows.double().T)
    assert optical.to_int8(torch.tensor([1.0, -1.0, 0.0, 0.5])).tolist() == [127, -127, 0, 64]
    with pytest.raises(ValueError, match="made of other texts or by another model"):
        optical.Vectors.encode(tmp_path / "f", encoder, TEXTS, "doc", int8=True)


# --------------------------------------------------------------------------------------- objectives

def test_tokens_on_disk_are_the_encoders_own_and_belong_to_their_texts(tokenizer, tmp_path):
    encoder = tiny(tokenizer)
    want = encoder.tokens(TEXTS, "query", 7)
    (tmp_path / "t.part").mkdir()                                             # a kill left this behind
    found = optical.Tokens.encode(tmp_path / "t", encoder, TEXTS, "query", 7, chunk=3)
    assert len(found) == len(TEXTS) and all(np.array_equal(a, b) for a, b in zip(found, want, strict=True))
    assert isinstance(found.flat, np.memmap) and found.lengths.tolist() == [len(row) for row in want]
    few = found.take([5, 1]).take([1, 0, 1])
    assert [few[i].tolist() for i in range(3)] == [want[i].tolist() for i in (1, 5, 1)]
    assert few.lengths.tolist() == [len(want[i]) for i in (1, 5, 1)]
    for texts, kind, limit in ((TEXTS[::-1], "query", 7), (TEXTS, "doc", 7), (TEXTS, "query", 8)):
        with pytest.raises(ValueError, match="made of other texts or by another model"):
            optical.Tokens.encode(tmp_path / "t", encoder, texts, kind, limit)
    assert not (tmp_path / "t.part").exists()


def sentence_pair_batch():
    s, t = unit(3, 5, 8), unit(3, 4, 8, seed=1)
    return s, ragged_mask([5, 2, 1], 5), t, ragged_mask([1, 4, 3], 4)


def test_mean_loss_by_hand():
    s, t = torch.tensor([[[1.0, 0.0], [9.0, 9.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    loss, _ = optical.mean_loss(s, torch.tensor([[True, False]]), t, torch.ones(1, 2).bool())
    assert loss.item() == pytest.approx(0.5)  # (1 - .5)^2 + (0 - .5)^2


def test_greedy_loss_equals_loops():
    s, s_mask, t, t_mask = sentence_pair_batch()
    want = np.mean([np.mean([min(1 - float(t[b, n] @ s[b, m]) for n in range(4) if t_mask[b, n])
                             for m in range(5) if s_mask[b, m]]) for b in range(3)])
    assert optical.greedy_loss(s, s_mask, t, t_mask)[0].item() == pytest.approx(want, abs=1e-6)


def test_optical_loss_equals_a_float64_sinkhorn_in_loops():
    s, s_mask, t, t_mask = sentence_pair_batch()
    losses = []
    for b in range(3):
        cost = 1 - t[b][t_mask[b]].double() @ s[b][s_mask[b]].double().T
        n, m = cost.shape
        kernel = torch.exp(-cost / 0.1) / (n * m)
        u, v = torch.ones(n).double(), torch.ones(m).double()
        for _ in range(5000):
            u, v = (1 / n) / (kernel @ v), (1 / m) / (kernel.T @ ((1 / n) / (kernel @ v)))
        losses.append(float((u[:, None] * kernel * v * cost).sum()))
    got = optical.optical_loss(s, s_mask, t, t_mask, epsilon=0.1)[0].item()
    assert got == pytest.approx(np.mean(losses), abs=3e-4)         # its plan's marginals may be 1e-4 off


def test_the_gradient_of_the_optical_loss_is_the_plan_times_the_teacher_vectors():
    import ot
    s, s_mask, t, t_mask = sentence_pair_batch()
    s = s.requires_grad_()
    optical.optical_loss(s, s_mask, t, t_mask)[0].backward()
    cost = ot.cosine_cost(t, s.detach())
    plan = ot.sinkhorn(cost, ot.uniform_marginal(t_mask), ot.uniform_marginal(s_mask), 0.1, max_iter=100,
                       tol=1e-4, warn=False).plan
    raw = -torch.einsum("bnm,bnh->bmh", plan, t) / 3
    radial = (raw * s.detach()).sum(-1, keepdim=True) * s.detach()   # cosine_cost normalises: none along s
    assert torch.allclose(s.grad, raw - radial, atol=1e-5)
    assert (s.grad[~s_mask] == 0).all()


@pytest.mark.parametrize("loss", [optical.optical_loss, optical.mean_loss, optical.greedy_loss])
def test_padding_changes_no_objective(loss):
    s, s_mask, t, t_mask = sentence_pair_batch()
    want = loss(s, s_mask, t, t_mask)[0].item()
    wide = lambda x, fill: torch.cat([x, torch.full((3, 2, *x.shape[2:]), fill, dtype=x.dtype)], 1)
    got = loss(wide(s, 0.3), wide(s_mask, False), wide(t, -0.7), wide(t_mask, False))[0].item()
    assert got == pytest.approx(want, abs=1e-5)
    alone = np.mean([loss(s[b:b + 1, :int(s_mask[b].sum())], s_mask[b:b + 1, :int(s_mask[b].sum())],
                          t[b:b + 1, :int(t_mask[b].sum())], t_mask[b:b + 1, :int(t_mask[b].sum())])[0].item()
                     for b in range(3)])
    assert alone == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize("loss", [optical.optical_loss, optical.mean_loss, optical.greedy_loss])
def test_word_order_changes_no_objective(loss):
    s, t = unit(1, 5, 8), unit(1, 4, 8, seed=1)
    ones = lambda x: torch.ones(x.shape[:2]).bool()
    want = loss(s, ones(s), t, ones(t))[0].item()
    got = loss(s[:, [4, 2, 0, 1, 3]], ones(s), t[:, [3, 0, 2, 1]], ones(t))[0].item()
    assert got == pytest.approx(want, abs=1e-5)


def test_greedy_is_content_when_every_student_token_sits_on_one_teacher_token_and_optical_is_not():
    t = torch.eye(4)[None]
    collapsed = t[:, :1].expand(1, 4, 4)
    ones = torch.ones(1, 4).bool()
    assert optical.greedy_loss(collapsed, ones, t, ones)[0].item() == pytest.approx(0.0, abs=1e-6)
    assert optical.optical_loss(collapsed, ones, t, ones)[0].item() == pytest.approx(0.75, abs=1e-4)


def test_contrastive_loss_equals_loops_and_a_repeated_sentence_is_no_negative():
    s, s_mask, d, d_mask = sentence_pair_batch()
    same = torch.eye(3).bool()
    same[0, 1] = same[1, 0] = True
    score = reference_maxsim(s, s_mask, d, d_mask) / s_mask.sum(1, keepdim=True) / 0.05
    want = 0.0
    for b in range(3):
        rivals = [score[b, k].item() for k in range(3) if k == b or not same[b, k]]
        want -= score[b, b].item() - math.log(sum(math.exp(r) for r in rivals))
    assert optical.contrastive_loss(s, s_mask, d, d_mask, same)[0].item() == pytest.approx(want / 3, abs=1e-3)


def test_teacher_loss_leaves_other_relevant_documents_out(tokenizer):
    encoder = tiny(tokenizer)
    q, d = encoder.tokens(TEXTS[:2], "query"), encoder.tokens(TEXTS[:3], "doc")
    none = torch.zeros(2, 3).bool()
    other = none.clone()
    other[0, 2] = True
    with torch.no_grad():
        full = optical.teacher_loss(encoder, q, d, torch.tensor([0, 1]), none)[0]
        less = optical.teacher_loss(encoder, q, d, torch.tensor([0, 1]), other)[0]
    assert less < full


def test_masking_follows_bert(tokenizer):
    ids = torch.full((400, 50), 20)
    mask = torch.ones_like(ids).bool()
    mask[:, 40:] = False
    ids[:, 0] = 2
    generator = torch.Generator().manual_seed(0)
    out, chosen = optical.mask_tokens(ids, mask, 100, 4, 6, generator)
    assert not chosen[:, 40:].any() and not chosen[:, 0].any()
    assert chosen[:, 1:40].float().mean().item() == pytest.approx(0.15, abs=0.01)
    assert (out[chosen] == 4).float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert (out[chosen] == 20).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (out[~chosen] == ids[~chosen]).all()


# ----------------------------------------------------------------------------------------- training

def test_batches_are_pure_of_even_size_cover_every_epoch_and_waste_little():
    lengths = np.random.default_rng(0).integers(4, 64, 5000)
    batches = optical.length_batches(lengths, 64, 200, seed=3)
    again = optical.length_batches(lengths, 64, 200, seed=3)
    assert all((a == b).all() for a, b in zip(batches, again)) and len(batches) == 200
    assert {len(b) for b in batches} == {64}
    first = np.concatenate(batches[:76])
    assert len(set(first.tolist())) == len(first)
    padded = sum(len(b) * lengths[b].max() for b in batches)
    assert 1 - sum(lengths[b].sum() for b in batches) / padded < 0.10
    assert len(optical.length_batches([3, 4, 5], 64, 2, 0)[0]) == 3


def test_token_batches_hold_every_text_once_within_the_budget():
    lengths = np.random.default_rng(1).integers(1, 90, 500)
    batches = optical.token_batches(lengths, 400)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
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
        self.weight = torch.nn.Parameter(torch.randn(6, 1))

    def loss(self, index, step):
        x = torch.arange(24.0).view(4, 6)[index % 4] / 24
        y = torch.nn.functional.dropout(x, 0.5) @ self.weight
        return (y - 1).pow(2).mean(), {"tokens": len(index)}


class Cut(Exception):
    pass


def test_a_killed_training_resumes_bit_for_bit(tmp_path):
    batches = optical.length_batches([1] * 16, 4, 20, 0)
    whole = Line()
    (tmp_path / "a").mkdir()
    optical.fit(whole, batches, whole.loss, tmp_path / "a", 0.1, log_every=1)
    (tmp_path / "b").mkdir()
    cut = Line()

    def until_12(index, step):
        if step == 12:
            raise Cut
        return cut.loss(index, step)
    with pytest.raises(Cut):
        optical.fit(cut, batches, until_12, tmp_path / "b", 0.1, log_every=1, save_every_s=0)
    resumed = Line()
    torch.manual_seed(99)
    steps = []
    optical.fit(resumed, batches, lambda i, s: (steps.append(s), resumed.loss(i, s))[1], tmp_path / "b", 0.1,
                log_every=1)
    assert steps[0] > 0 and torch.equal(whole.weight, resumed.weight)
    losses = [[line["loss"] for line in optical.read_jsonl(tmp_path / x / "train.jsonl")] for x in "ab"]
    assert losses[0] == losses[1] and len(losses[0]) == 20


def test_accumulated_gradients_equal_the_big_batch(tmp_path):
    results = []
    for parts in (1, 3):
        model = Line()
        folder = tmp_path / str(parts)
        folder.mkdir()
        x = torch.arange(24.0).view(4, 6)
        plain = lambda index, step: ((x[index % 4] @ model.weight - 1).pow(2).mean(), {"tokens": len(index)})
        optical.fit(model, [np.arange(8)] * 5, plain, folder, 0.01, accumulate=parts, clip=1e9)
        results.append(model.weight.detach())
    assert torch.allclose(*results, atol=1e-6)


def test_two_processes_train_as_one_with_two_parts_a_batch(tmp_path):
    argv = ["data.py", "prepare", "mini", "--smoke", "--langs", "sw", "--out", str(tmp_path / "data")]
    assert subprocess.run([sys.executable, *argv], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, program, parts in (("one", [sys.executable], 2), ("two", two, 1)):
        for command in (["pretrain", "--vocab", 500, "--hidden", 32, "--layers", 1, "--ffn", 3, "--steps", 4,
                         "--batch", 7, "--out", tmp_path / name / "encoder"],
                        ["teacher", "--encoder", tmp_path / name / "encoder", "--dim", 16, "--steps", 5, "--batch",
                         6, "--out", tmp_path / name / "teacher"]):
            argv = [*program, "optical.py", *command, "--data", tmp_path / "data", "--accumulate", parts,
                    "--log-every", 1, "--device", "cpu", "--threads", 1, "--precision", "float32"]
            done = subprocess.run([*map(str, argv)], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    for kind in ("encoder", "teacher"):
        logs = [optical.read_jsonl(tmp_path / name / kind / "train.jsonl") for name in ("one", "two")]
        same = [key for key in logs[0][0] if key not in ("seconds", "tokens_per_s", "memory_gb")]
        assert len(logs[0]) == len(logs[1]) > 3 and "loss" in same and "grad_norm" in same
        for a, b in zip(*logs):
            assert [a[key] for key in same] == pytest.approx([b[key] for key in same], rel=1e-6)
        weights = [(tmp_path / name / kind / "model.safetensors").read_bytes() for name in ("one", "two")]
        assert weights[0] == weights[1]                                          # bit for bit
        assert json.loads((tmp_path / "one" / kind / "config.json").read_text())["intermediate_size"] == 96
        assert not (tmp_path / "two" / (kind + ".part")).exists()
    done = subprocess.run([*two, "optical.py", "subwords", "--data", tmp_path / "data", "--teacher", tmp_path / "one" /
                           "teacher", "--out", tmp_path / "x.json"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and "subwords under torchrun: only pretrain and teacher" in done.stderr


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a compiler")
def test_a_compiled_training_step_has_the_same_gradients_and_what_trains_nothing_is_as_before(
        tokenizer, tmp_path, monkeypatch):
    from torch._dynamo.utils import counters
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    batches = [[np.arange(7, 7 + n, dtype=np.int32) for n in lengths] for lengths in ((5, 3, 9), (17, 4, 2), (6, 6, 7))]
    for seed in (1, 2):                                # a second encoder, as the next student of a process
        plain, quick = tiny(tokenizer, seed=seed), tiny(tokenizer, seed=seed)
        counters.clear()
        quick.compile_training()
        assert list(quick.state_dict()) == list(plain.state_dict())
        for rows in batches:
            grads = []
            for encoder in (plain.train(), quick.train()):
                encoder.zero_grad()
                encoder(*encoder.pad(rows))[..., 0].sum().backward()
                grads.append({name: torch.zeros_like(p) if p.grad is None else p.grad.clone()      # BERT's pooler
                              for name, p in encoder.named_parameters()})
            assert sum(bool(grad.any()) for grad in grads[0].values()) > 30
            for name, own in grads[0].items():
                assert torch.allclose(own, grads[1][name], rtol=1e-4, atol=1e-5), name
        assert counters["stats"]["unique_graphs"] == 1               # of three lengths, and of this encoder
        with torch.inference_mode():
            assert torch.equal(plain.eval()(*plain.pad(rows)), quick.eval()(*quick.pad(rows)))
        assert counters["stats"]["unique_graphs"] == 1


def test_a_loss_that_is_not_finite_stops_with_its_step(tmp_path):
    model = Line()
    with pytest.raises(ValueError, match=r"train\.jsonl: the loss of x is nan .* at step 0; lower --lr"):
        optical.fit(model, [np.arange(2)], lambda i, s: (model.weight.sum() * float("nan"), {"tokens": 1}),
                    tmp_path, 0.1, name="x")


def test_a_batch_larger_than_the_data_trains_on_what_there_is(tmp_path):
    model = Line()
    optical.fit(model, optical.length_batches([1], 64, 3, 0), model.loss, tmp_path, 0.1)
    assert len(optical.read_jsonl(tmp_path / "train.jsonl")) == 2  # steps 0 and 2


# ------------------------------------------------------------------------------------------- search

@pytest.fixture(scope="module")
def searched(tokenizer, tmp_path_factory):
    encoder = tiny(tokenizer)
    docs = {f"d{i:02}": " ".join(TEXTS[j % 8] for j in range(i % 4 + 1)) + " goat" * (i % 3)
            for i in range(30)}
    folder = tmp_path_factory.mktemp("index") / "v"
    index = optical.Vectors.encode(folder, encoder, list(docs.values()), "doc")
    return encoder, docs, index, {f"q{i}": t for i, t in enumerate(TEXTS)}


def test_search_scores_every_document_as_loops_in_float64_do(searched):
    encoder, docs, index, queries = searched
    run = optical.search(encoder, queries, index, list(docs))
    for qid, text in queries.items():
        with torch.no_grad():
            q = optical.on_grid(encoder(*encoder.pad(encoder.tokens([text], "query")))[0]).double()
        for i, docid in enumerate(docs):
            d = torch.from_numpy(np.array(index.rows(index.flats, i))).double()
            assert run[qid][docid] == float((q @ d.T).max(1).values.sum().float())  # exact, not nearly


def test_dot_products_of_vectors_on_the_grid_are_exact_in_any_order():
    a, b = optical.on_grid(unit(1, 300, 384))[0], optical.on_grid(unit(1, 300, 384, seed=1))[0]
    want = a.double() @ b.double().T
    order = torch.randperm(384)
    for left, right in ((a, b), (a[:, order], b[:, order]), (a.half().float(), b.half().float())):
        assert torch.equal((left @ right.T).double(), want)
    assert (a - unit(1, 300, 384)[0]).abs().max() <= 1 / 4096


def test_equal_documents_come_in_descending_docid_order_also_at_the_cut(searched):
    encoder, docs, index, queries = searched
    run = optical.search(encoder, {"q": "a goat"}, index, list(docs), depth=30)["q"]
    want = sorted(run, key=lambda d: (run[d], d), reverse=True)
    assert list(run) == want and len(set(run.values())) < 30
    for depth in range(1, 30):
        cut = optical.search(encoder, {"q": "a goat"}, index, list(docs), depth=depth)["q"]
        assert list(cut) == want[:depth]


def test_neither_chunks_nor_query_batches_nor_document_order_change_a_ranking(searched, tmp_path):
    encoder, docs, index, queries = searched
    want = {q: list(r) for q, r in optical.search(encoder, queries, index, list(docs)).items()}
    for chunk, batch in ((1, 1), (100, 3), (10**6, 8)):
        got = optical.search(encoder, queries, index, list(docs), chunk_tokens=chunk, query_batch=batch)
        assert {q: list(r) for q, r in got.items()} == want
    mixed = dict(reversed(docs.items()))
    other = optical.Vectors.encode(tmp_path / "v", encoder, list(mixed.values()), "doc")
    got = optical.search(encoder, queries, other, list(mixed))
    assert {q: list(r) for q, r in got.items()} == want


def test_reranking_scores_the_candidates_only_and_as_search_does(searched):
    encoder, docs, index, queries = searched
    full = optical.search(encoder, queries, index, list(docs))
    some = optical.search(encoder, queries, index, list(docs), candidates={"q0": ["d03", "d01"], "q1": []})
    assert set(some["q0"]) == {"d01", "d03"} and some["q1"] == {}
    assert all(some["q0"][d] == full["q0"][d] for d in some["q0"])


def test_an_index_of_another_collection_is_refused(searched):
    encoder, docs, index, queries = searched
    with pytest.raises(ValueError, match="30 documents, the collection 29"):
        optical.search(encoder, queries, index, list(docs)[:29])

"""ColBERTs of other tools load with their own vectors, saved students work in other tools.

The layouts are written here, file by file. PyLate 1.6 and sentence-transformers 6 check them where they are
installed; requirements-interop.txt says how.
"""
import json
import runpy
from string import punctuation

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

import optical
from conftest import ROOT

TEXTS = ["the farmer sold a goat", "a goat, a book.", "mkulima aliuza mbuzi!", "the old teacher bought " * 9]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]", "[Q]", "[D]", *punctuation[:-1],
         *"the farmer sold a goat mkulima aliuza mbuzi old teacher bought book query document".split()]
DOCS = [*TEXTS, *(" ".join(np.random.default_rng(i).choice(WORDS[40:], 3 + i % 9)) for i in range(30))]
ST, NAMES = "sentence_transformers.", {f"module_{way}_name": "token_embeddings" for way in ("input", "output")}


def write(path, **value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value.get("rows", value)))


def bert(folder):
    """A small BERT whose WordPiece tokenizer knows punctuation, but ~; a projection for it."""
    raw = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=64).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                         intermediate_size=64, max_position_embeddings=64, initializer_range=0.5)).save_pretrained(folder)
    return {"linear.weight": torch.randn(16, 32)}


def modules(folder, *kinds, **dense):
    weight = bert(folder)
    write(folder / "modules.json", rows=[{"path": f"{i}_{kind.split('.')[-1]}" * (i > 0), "type": kind, "name": str(i),
                                          "idx": i} for i, kind in enumerate(kinds)])
    write(folder / "1_Dense" / "config.json", in_features=32, out_features=16, bias=False,
          activation_function="torch.nn.modules.linear.Identity", **dense)
    save_file(weight, folder / "1_Dense" / "model.safetensors")


def pylate(folder, **settings):
    modules(folder, ST + "models.Transformer", "pylate.models.Dense.Dense", use_residual=False)
    write(folder / "sentence_bert_config.json", max_seq_length=64, do_lower_case=False)
    write(folder / optical.SETTINGS, **{
        "model_type": "ColBERT", "__version__": {"sentence_transformers": "5.3.0"}, "default_prompt_name": None,
        "prompts": {"query": "", "document": ""}, "similarity_fn_name": "MaxSim", "query_prefix": "[Q]",
        "document_prefix": "[D]", "query_length": 12, "document_length": 20, "skiplist_words": [*punctuation],
        "attend_to_expansion_tokens": False, "do_query_expansion": True, **settings})


def native(folder, **settings):
    modules(folder, ST + "base.modules.transformer.Transformer", ST + "base.modules.dense.Dense", ST +
            "multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask", ST + "base.modules.normalize.Normalize",
            **NAMES)
    write(folder / "2_MultiVectorMask" / "config.json", skiplist_words=[",", "~"], skiplist_tasks=["document"])
    write(folder / "3_Normalize" / "config.json", **NAMES)
    write(folder / "sentence_bert_config.json", transformer_task="feature-extraction", document_length=20, **settings)
    write(folder / optical.SETTINGS, model_type="MultiVectorEncoder", similarity_fn_name=None,
          __version__={"sentence_transformers": "6.2.0"}, prompts={"query": "query: ", "document": "document: "})


def stanford(folder, file="model.safetensors"):
    tensors = bert(folder) | {f"bert.{key}": t for key, t in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / file, {"format": "pt"}) if "safe" in file else torch.save(tensors, folder / file)
    write(folder / "config.json", **json.loads((folder / "config.json").read_text()) | {"architectures": ["HF_ColBERT"]})
    write(folder / "artifact.metadata", query_token_id="[unused0]", doc_token_id="[unused1]", query_maxlen=12, dim=16,
          doc_maxlen=20, mask_punctuation=True, attend_to_mask_tokens=False, similarity="cosine", interaction="colbert")


MASKS = {"query_expansion": {"strategy": "fixed", "attend": False, "token": None, "length": 12}}
# How a layout is written; markers, prompts, most tokens of a query, 0 or 1 for mask tokens that are read or not, skipped.
LAYOUTS = {
    "PyLate": (pylate, {}, ["[Q]", "[D]"], ["", ""], 12, 0, [*punctuation, "[UNK]"]),      # it takes ~ for [UNK]
    "PyLate that reads masks": (pylate, {"attend_to_expansion_tokens": True, "skiplist_words": ["a"]}, ["[Q]", "[D]"],
                                ["", ""], 12, 1, ["a"]),
    "PyLate without masks and a marker": (pylate, {"do_query_expansion": False, "query_prefix": "",
                                                   "skiplist_words": []}, ["", "[D]"], ["", ""], 12, None, []),
    "sentence-transformers": (native, {}, ["", ""], ["query: ", "document: "], 64, None, [","]),
    "sentence-transformers with masks": (native, MASKS, ["", ""], ["query: ", "document: "], 12, 0, [","]),
    "Stanford": (stanford, {}, ["[unused0]", "[unused1]"], ["", ""], 12, 0, [*punctuation]),
    "Stanford's .bin": (stanford, {"file": "pytorch_model.bin"}, ["[unused0]", "[unused1]"], ["", ""], 12, 0, [*punctuation])}


def by_hand(folder, weight, markers, prompts, most, masks, skipped):
    """Vectors of the queries and of the documents, text by text, as the layout's own code makes them."""
    tokenizer, model, out = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval(), []
    for marker, prompt, limit in zip(markers, prompts, (most, 20)):
        marker, query = tokenizer.convert_tokens_to_ids([marker] * (marker != "")), limit == most
        for text in TEXTS:
            ids = tokenizer(prompt + text, truncation=True, max_length=limit - len(marker))["input_ids"]
            ids = ids[:1] + marker + ids[1:]
            fill = (limit - len(ids)) * (query and masks is not None)
            read, ids = [1] * len(ids) + [masks] * fill, ids + [tokenizer.mask_token_id] * fill
            h = model(torch.tensor([ids]), torch.tensor([read])).last_hidden_state[0]
            kept = [query or token not in skipped for token in tokenizer.convert_ids_to_tokens(ids)]
            out.append(torch.nn.functional.normalize(h @ weight.T, dim=-1)[kept])
    return out


def vectors(encoder):
    return [row[own].detach() for kind in ("query", "doc") for row, own in zip(*encoder(TEXTS, kind))]


def same(ours, theirs):
    assert [len(row) for row in ours] == [len(row) for row in theirs]
    assert max(float((a - torch.as_tensor(b).detach()).abs().max()) for a, b in zip(ours, theirs)) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_colbert_of_others_loads_with_its_own_vectors_and_goes_on_from_save(layout, tmp_path):
    make, settings, *reading = LAYOUTS[layout]
    make(tmp_path, **settings)
    encoder = optical.Encoder.load(tmp_path)
    encoder.save(tmp_path / "again")
    made = by_hand(tmp_path, encoder.projection.weight, *reading)
    same(vectors(encoder), made)
    same(vectors(optical.Encoder.load(tmp_path / "again")), made)
    index = optical.Vectors.encode(encoder, TEXTS, "doc")
    assert index.lengths.tolist() == [len(row) for row in made[4:]]
    assert np.abs(index.flat - np.concatenate(made[4:])).max() < 1e-3                # rounded to the grid


def changed(folder, file, **values):
    write(folder / file, **json.loads((folder / file).read_text()) | values)


@pytest.mark.parametrize("make, file, values, told", [
    (pylate, "1_Dense/config.json", {"bias": True}, "1_Dense/config.json: bias is True"),
    (pylate, "1_Dense/config.json", {"activation_function": "torch.nn.Tanh"}, "activation_function is 'torch.nn.Tanh'"),
    (pylate, optical.SETTINGS, {"similarity_fn_name": "dot"}, "config_sentence.*json: similarity_fn_name is 'dot'"),
    (pylate, optical.SETTINGS, {"query_prefix": "[Query]"}, r"query_prefix is '\[Query\]', which is no token"),
    (pylate, "modules.json", {"rows": [{"path": "", "type": ST + "models.Transformer"}] + [
        {"path": "1_Dense", "type": "pylate.models.Dense.Dense"}] * 2}, "modules is 'Transformer Dense Dense'"),
    (native, "2_MultiVectorMask/config.json", {"skiplist_tasks": ["query"]}, r"skiplist_tasks is \['query'\]"),
    (native, "sentence_bert_config.json", {"query_expansion": {"strategy": "min"}}, "strategy is 'min'"),
    (stanford, "artifact.metadata", {"similarity": "l2"}, "artifact.metadata: similarity is 'l2'")])
def test_what_a_colbert_has_that_encoder_has_not_is_refused_by_file_key_and_value(make, file, values, told, tmp_path):
    make(tmp_path)
    changed(tmp_path, file, **values) if "rows" not in values else write(tmp_path / file, **values)
    with pytest.raises(ValueError, match=told) as error:
        optical.Encoder.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_model_of_sentence_vectors_gives_its_bare_encoder(tmp_path):
    bert(tmp_path)
    write(tmp_path / "modules.json", rows=[{"path": "", "type": ST + "models.Transformer"},
                                           {"path": "1_Pooling", "type": ST + "models.Pooling"}])
    assert optical.Encoder.load(tmp_path, dim=0).projection.weight.equal(torch.eye(32))


# ------------------------------------------------------------------------- with the packages themselves
@pytest.fixture
def student(tmp_path):
    bert(tmp_path / "bert")
    optical.Encoder.load(tmp_path / "bert", dim=16, query_tokens=12, doc_tokens=20).save(tmp_path / "student")
    return tmp_path / "student"


def agrees(folder, code):
    """Runs a snippet of the README on a folder; its vectors and ranking are those of optical."""
    found, encoder = {"folder": str(folder), "queries": TEXTS, "documents": DOCS}, optical.Encoder.load(folder)
    exec(code, found)
    same(vectors(encoder), [*found["q"], *found["d"][:len(TEXTS)]])
    run = optical.search(encoder, dict(enumerate(TEXTS)), optical.Vectors.encode(encoder, DOCS, "doc"))
    q, d = ([torch.as_tensor(row).detach() for row in found[side]] for side in "qd")
    for query, ranking in zip(q, run.values()):
        scores = torch.tensor([(query @ doc.T).amax(1).sum() for doc in d])
        best = scores[[int(docid) for docid in list(ranking)[:10]]]              # search rounds to a grid
        assert torch.allclose(best, scores.topk(10).values, atol=5e-3)


PYLATE = """
from pylate import models
model = models.ColBERT(folder, device="cpu")
q, d = model.encode(queries, is_query=True), model.encode(documents, is_query=False)
"""
NATIVE = """
from sentence_transformers import MultiVectorEncoder
model = MultiVectorEncoder(folder)
q, d = model.encode_query(queries), model.encode_document(documents)
scores = model.similarity(q, d)
"""


def test_pylate_agrees_on_its_own_layout_on_stanfords_and_on_a_saved_student(student, tmp_path):
    pytest.importorskip("pylate", reason="see requirements-interop.txt")
    for make in (pylate, stanford):
        make(tmp_path / make.__name__)
        agrees(tmp_path / make.__name__, PYLATE)
    agrees(student, PYLATE)


def test_sentence_transformers_agrees_on_every_layout_and_on_a_saved_student(student, tmp_path):
    package = pytest.importorskip("sentence_transformers", "6.2", reason="see requirements-interop.txt")
    for make in (native, stanford):
        make(tmp_path / make.__name__)
        agrees(tmp_path / make.__name__, NATIVE)
    agrees(student, NATIVE)
    with pytest.raises(ValueError, match="pylate.models.Dense.Dense"):           # never a pooled vector
        package.SentenceTransformer(str(student))


def test_the_example_loss_is_opticals_and_trains_a_student_in_sentence_transformers(student, tmp_path):
    pytest.importorskip("sentence_transformers", "6.2", reason="see requirements-interop.txt")
    pytest.importorskip("datasets", reason="see requirements-interop.txt")
    example = runpy.run_path(str(ROOT / "examples" / "sentence_transformers_loss.py"))
    (tmp_path / "pairs.tsv").write_text("the farmer sold a goat\tmkulima aliuza mbuzi\na book\tmbuzi\n" * 20)
    example["main"](str(student), tmp_path / "pairs.tsv", str(tmp_path / "out"), steps=30, lr=1e-3)
    pairs, teacher = [("the farmer sold a goat", "mkulima aliuza mbuzi")], optical.Encoder.load(student)
    losses = []
    for folder in (student, tmp_path / "out"):
        encoder = optical.Encoder.load(folder)
        batch = optical.Bitext(pairs, teacher).batch(encoder, np.array([0]), 0, "query")
        losses.append(optical.optical_loss(batch)[0].item())
    assert losses[1] < 0.5 * losses[0]
    model = example["MultiVectorEncoder"](str(student))
    features = [model.preprocess([text], prompt=model.prompts["query"], task="query") for text in pairs[0][::-1]]
    assert example["OpticalLoss"](model, model)(features).item() == pytest.approx(losses[0], abs=1e-3)

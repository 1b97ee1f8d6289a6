# SPDX-License-Identifier: MIT
"""study/nmt.py: chrF, the loss, training that overfits, beam search, models by name, files, bad input."""
import doctest
import json
import shutil

import pytest
import torch
import transformers
from transformers import AutoModel, BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

import data
import evaluate
from conftest import command, make, options, refused
from study import nmt


# ---- chrF --------------------------------------------------------------------------------------------------

def test_chrf_by_hand():
    # characters: 3 of 4 made are wanted, 3 of 5 wanted are made; pairs: 2 of 3, 2 of 4
    P, R = (3 / 4 + 2 / 3) / 2, (3 / 5 + 2 / 4) / 2
    assert nmt.chrf(["abcx"], ["abcde"], orders=2) == pytest.approx(100 * 5 * P * R / (4 * P + R))


def test_chrf_equals_sacrebleus():
    sacrebleu = pytest.importorskip("sacrebleu")
    made = ["the farmer sold a goat", "who bought it", "", "x", "the old teacher bought three books today"]
    wanted = ["The farmer sold the big goat.", "Who bought three goats?", "none", "xy", "a teacher bought it"]
    assert nmt.chrf(made, wanted) == pytest.approx(sacrebleu.corpus_chrf(made, [wanted]).score, abs=1e-9)


def test_chrf_looks_at_no_space_and_the_docstrings_hold():
    assert nmt.chrf(["a goat"], ["ago at"]) == 100.0 and doctest.testmod(nmt).failed == 0


# ---- the trained model -------------------------------------------------------------------------------------

def own(work, *more):
    return ["--data", work / "data", "--encoder", work / "encoder", "--device", "cpu", "--steps", 4,
            "--batch", 8, "--beams", 2, "--max-tokens", 48, *more]


def arguments(work, *more):
    args = nmt.parser().parse_args(list(map(str, ["train", *own(work, *more), "--lr", 1, "--out", "x"])))
    args.bf16 = False
    return args


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "train.jsonl").read_text().splitlines()]


def test_tune_chooses_a_rate_and_train_writes_translations_of_every_file_and_their_score(work, tmp_path):
    make("study.nmt", "tune", *own(work), "--lr", "1e-3", "1e-4", "--out", tmp_path / "tune")
    argv = ["study.nmt", "train", *own(work), "--rates", tmp_path / "tune", "--out", tmp_path]
    make(*argv)
    tuned, dev = read_json(tmp_path / "tune" / "lr.nmt.json"), {}
    for lr in ("0.001", "0.0001"):
        dev[f"{lr} 4"] = read_json(tmp_path / "tune" / f"sw-en.{lr}.4" / "done.json")["dev_chrf"]
    best = max(dev, key=lambda unit: (dev[unit], -float(unit[:-2])))[:-2]
    assert tuned["dev"] == dev and tuned["lr"] == float(best) and tuned["steps"] == 4
    manifest = data.load_manifest(work / "data")
    for folder, name, source in (("sw-en", "test.sw.tsv", manifest["tests"][0]["queries"]),
                                 ("en-sw", "train.tsv", manifest["train"]["queries"])):
        texts = data.read_tsv(tmp_path / folder / name)
        assert list(texts) == list(data.read_tsv(work / "data" / source)) and all(texts.values())
        made = data.read_tsv(tmp_path / folder / "dev.tsv")
        result = read_json(tmp_path / folder / "done.json")
        wanted = [pair[folder == "en-sw"].lower()
                  for pair in data.read_bitext(work / "data" / manifest["langs"]["sw"]["dev"])]
        assert result["dev_chrf"] == pytest.approx(nmt.chrf([text.lower() for text in made.values()], wanted))
        assert result["lr"] == float(best)
    tried, trained = (tmp_path / name / "dev.tsv" for name in (f"tune/sw-en.{best}.4", "sw-en"))
    assert tried.read_bytes() == trained.read_bytes()
    assert "chrF" not in make(*argv)                                         # all is there


def test_the_translator_learns_a_few_sentences_by_heart(work, tmp_path):
    pairs = [("mkulima aliuza mbuzi", "the farmer sold a goat"), ("mwalimu alinunua kitabu", "a man read")]
    args = arguments(work, "--steps", 150, "--batch", 2, "--dropout", 0, "--beams", 3)
    translator, _ = nmt.train_one(pairs, 3e-3, tmp_path, args, "sw-en")
    assert translator.translate([x for x, _ in pairs]) == [e for _, e in pairs]
    alone = [translator.translate([x])[0] for x, _ in pairs]
    assert alone == [e for _, e in pairs]
    assert losses(tmp_path)[-1] < 2 < losses(tmp_path)[0]                    # smoothing keeps it above 0


def test_the_loss_is_that_of_the_next_token_and_padding_adds_nothing(work, tmp_path):
    """One step at rate 0 logs the loss of a batch; here it is computed pair by pair."""
    pairs = [("mkulima aliuza mbuzi", "the farmer sold a goat yesterday"), ("mwalimu", "a teacher")]
    args = arguments(work, "--steps", 1, "--batch", 2, "--dropout", 0, "--smoothing", 0)
    translator, _ = nmt.train_one(pairs, 1e-30, tmp_path, args, "sw-en")
    model, tokenizer, total, n = translator.model.eval(), translator.tokenizer, 0.0, 0
    for source, target in pairs:
        x, y = (torch.tensor([tokenizer(text)["input_ids"]]) for text in (source, target))   # [CLS] ... [SEP]
        assert set(y[0].tolist()) <= set(translator.output.tolist())
        y = torch.searchsorted(translator.output, y)                # its place in what the decoder knows
        with torch.no_grad():
            p = model(input_ids=x, attention_mask=torch.ones_like(x),
                      decoder_input_ids=y[:, :-1]).logits.log_softmax(-1)[0]
        total, n = total - float(p.gather(1, y[0, 1:, None]).sum()), n + y.shape[1] - 1
    assert losses(tmp_path)[0] == pytest.approx(total / n, rel=1e-4)
    assert p.shape[1] == len(translator.output) < len(tokenizer)


def test_a_language_without_bitext_or_an_encoder_that_is_gone_is_one_line(work, tmp_path):
    argv = ["study.nmt", "tune", *own(work), "--lr", "1e-3", "--out", tmp_path / "o"]
    refused(command(*argv, "--langs", "xx"), "no language 'xx'")
    assert not list(tmp_path.iterdir())
    refused(command(*argv, "--encoder", tmp_path / "none"), "none")
    refused(command(*argv, "--max-tokens", 3), r"sw-en.0.001.4: no pair of at most 3 tokens; raise --max-tokens")
    argv = ["study.nmt", "train", *own(work), "--rates", tmp_path / "tune", "--out", tmp_path / "o"]
    refused(command(*argv), "No such file or directory: .*tune.lr.nmt.json")


def test_translations_are_searched_for_by_bm25_and_by_the_teacher(work, tmp_path):
    test = data.load_manifest(work / "data")["tests"][0]
    (tmp_path / "nmt" / "sw-en").mkdir(parents=True)
    shutil.copy(work / "data" / test["english"], tmp_path / "nmt/sw-en/test.sw.tsv")       # makes no mistake
    commands = (["study.baselines", "bm25", "--data", work / "data", "--out", tmp_path / "runs"],
                ["study.students", "search", *options(work)[:6], "--runs", tmp_path / "runs", "--out",
                 tmp_path / "s"])
    for argv in commands:
        make(*argv, "--translations", tmp_path / "nmt")
    runs = {path.name: evaluate.read_run(path) for path in (tmp_path / "runs" / "sw").glob("*.trec")}
    assert set(runs) == {f"{name}.s1.trec" for name in ("bm25-nmt", "nmt", "zero-shot", "english")}
    assert runs["nmt.s1.trec"] == runs["english.s1.trec"] != runs["zero-shot.s1.trec"]
    for argv in commands:
        argv[argv.index("--out") + 1] = tmp_path / "again"
        refused(command(*argv, "--translations", tmp_path / "none"), r"none/sw-en/test\.sw\.tsv")


# ---- models by name ----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def named(work, tmp_path_factory):
    """A BART with random weights and two language codes, as a folder."""
    folder = tmp_path_factory.mktemp("named")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work / "encoder")
    tokenizer.add_special_tokens({"additional_special_tokens": ["eng_Latn", "swh_Latn"]})
    tokenizer.bos_token, tokenizer.eos_token = "[CLS]", "[SEP]"
    torch.manual_seed(0)
    model = BartForConditionalGeneration(BartConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, decoder_start_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=None))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_model_by_name_starts_with_the_code_of_the_target_language(named):
    translator = nmt.by_name(named, "swh_Latn", "eng_Latn", beams=2, max_tokens=12)
    code = translator.tokenizer.convert_tokens_to_ids("eng_Latn")
    assert translator.options["forced_bos_token_id"] == code
    ids = translator.tokenizer("mkulima aliuza mbuzi", return_tensors="pt")["input_ids"]
    made = translator.model.generate(input_ids=ids, **translator.options)
    assert made[0, 1] == code
    assert nmt.by_name(named, None, None, 2, 12).options["forced_bos_token_id"] is None


def test_an_unknown_code_or_model_is_one_line(named, work, tmp_path):
    argv = ["study.nmt", "pretrained", "--data", work / "data", "--out", tmp_path / "o", "--beams", 1,
            "--max-tokens", 12, "--name"]
    for code in ("en=xyz", "sw=xyz"):
        refused(command(*argv, named, "--codes", code), "no language code 'xyz'; give others by --codes")
    refused(command(*argv, tmp_path / "none"), "none")
    make(*argv, named)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.tsv")} == {
        "o/sw-en/dev.tsv", "o/sw-en/test.sw.tsv", "o/en-sw/dev.tsv", "o/en-sw/train.tsv"}
    assert nmt.code_of("so", []) == "som_Latn" and nmt.code_of("so", ["none"]) is None


def test_both_halves_are_trained_in_float32_whatever_the_encoder_was_stored_in(work, tmp_path):
    shutil.copytree(work / "encoder", tmp_path / "half")
    AutoModel.from_pretrained(work / "encoder").half().save_pretrained(tmp_path / "half")
    model = nmt.from_encoder(tmp_path / "half", 1, 8, 0.0).model
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_tokenizer_that_lacks_its_package_says_which(monkeypatch, named, work, tmp_path, capsys):
    def missing(*args, **kwargs):
        raise ImportError("\nMarianTokenizer requires the SentencePiece library\nmore")
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", missing)
    argv = ["pretrained", "--data", str(work / "data"), "--out", str(tmp_path / "o"), "--name", str(named)]
    assert nmt.main(argv) == 2
    assert capsys.readouterr().err == "error: MarianTokenizer requires the SentencePiece library\n"

"""nmt.py: chrF, the loss, training that overfits, beam search, models by name, files, bad input."""
import json
import re
import shutil

import pytest
import torch
from transformers import AutoModel, BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

import data
import nmt
import optical
from conftest import command


# --------------------------------------------------------------------------------------------- chrF

def test_chrf_by_hand():
    # characters: 3 of 4 made are wanted, 3 of 5 wanted are made; pairs: 2 of 3, 2 of 4
    P, R = (3 / 4 + 2 / 3) / 2, (3 / 5 + 2 / 4) / 2
    assert nmt.chrf(["abcx"], ["abcde"], orders=2) == pytest.approx(100 * 5 * P * R / (4 * P + R))


def test_chrf_equals_sacrebleus():
    sacrebleu = pytest.importorskip("sacrebleu")
    made = ["the farmer sold a goat", "who bought it", "", "x", "the old teacher bought three books today"]
    wanted = ["The farmer sold the big goat.", "Who bought three goats?", "nothing", "xy", "a teacher bought it"]
    assert nmt.chrf(made, wanted) == pytest.approx(sacrebleu.corpus_chrf(made, [wanted]).score, abs=1e-9)


def test_chrf_looks_at_no_space_and_refuses_texts_without_their_reference():
    assert nmt.chrf(["a goat"], ["ago at"]) == 100.0
    for pair in ([], []), (["a"], []):
        with pytest.raises(ValueError, match="chrF of"):
            nmt.chrf(*pair)


# --------------------------------------------------------------------------------- the trained model

@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Smoke data of Swahili and a small pre-trained encoder."""
    root = tmp_path_factory.mktemp("nmt")
    for argv in (["data.py", "prepare", "mini", "--smoke", "--langs", "sw", "--out", root / "data"],
                 ["optical.py", "pretrain", "--data", root / "data", "--out", root / "encoder", "--vocab", 800,
                  "--hidden", 32, "--layers", 1, "--steps", 3, "--batch", 16]):
        done = command(*argv)
        assert done.returncode == 0, done.stderr
    return root


def train(work, out, *more):
    return command("nmt.py", "train", "--data", work / "data", "--encoder", work / "encoder", "--out", out,
                   "--steps", 4, "--batch", 8, "--beams", 2, "--max-tokens", 48, *more)


def test_training_writes_translations_of_every_file_their_score_and_the_chosen_rate(work, tmp_path):
    done = train(work, tmp_path, "--lr", "1e-3", "1e-4")
    assert done.returncode == 0, done.stderr
    manifest = data.load_manifest(work / "data")
    for folder, name, source in [("sw-en", "test.sw.tsv", manifest["tests"][0]["queries"]),
                                 ("en-sw", "train.tsv", manifest["train"]["queries"])]:
        texts = data.read_tsv(tmp_path / folder / name)
        assert list(texts) == list(data.read_tsv(work / "data" / source)) and all(texts.values())
        result = json.loads((tmp_path / folder / "done.json").read_text())
        dev = list(data.read_tsv(tmp_path / folder / "dev.tsv").values())
        wanted = [pair[folder == "en-sw"].lower()
                  for pair in data.read_bitext(work / "data" / manifest["langs"]["sw"]["dev"])]
        assert result["dev_chrf"] == pytest.approx(nmt.chrf([text.lower() for text in dev], wanted))
    tuned = json.loads((tmp_path / "lr.json").read_text())
    best = max(tuned["dev_chrf"], key=lambda lr: (tuned["dev_chrf"][lr], -float(lr)))
    assert tuned["chosen"]["nmt"] == float(best) and set(tuned["dev_chrf"]) == {"0.001", "0.0001"}
    again = train(work, tmp_path, "--lr", "1e-3", "1e-4")
    assert again.returncode == 0 and again.stdout.split("\n")[:2] == ["  nmt tune: 2 of 2 are there", "  nmt: 2 of 2 are there"]
    other = train(work, tmp_path / "other", "--lr-file", tmp_path / "lr.json")
    assert other.returncode == 0, other.stderr
    assert json.loads((tmp_path / "other" / "sw-en" / "done.json").read_text())["lr"] == float(best)


def test_the_rate_is_the_best_on_average_of_the_languages_it_is_tried_on(work, tmp_path, monkeypatch):
    dev = {("sw", "0.001"): 50, ("sw", "0.002"): 54, ("mr", "0.001"): 40, ("mr", "0.002"): 20}
    trained = []

    def share_out(what, units, run):
        if what == "nmt tune":
            assert units == {unit: tmp_path / "tune" / "{}-en.{}".format(*unit) for unit in dev}
            return {unit: {"dev_chrf": score} for unit, score in dev.items()}
        for folder in units.values():
            run(folder, "sw", "en")

    monkeypatch.setattr(nmt, "share_out", share_out)
    monkeypatch.setattr(nmt, "one_direction", lambda folder, source, target, lr, args: trained.append(lr))
    for tuned, rate in [(["sw", "mr"], 0.001), (["sw"], 0.002)]:
        dev = {unit: score for unit, score in dev.items() if unit[0] in tuned}
        nmt.train(nmt.parser().parse_args([
            "train", "--data", str(work / "data"), "--encoder", "e", "--out", str(tmp_path), "--lr", "1e-3",
            "2e-3", "--tune-langs", *tuned]))
        written = json.loads((tmp_path / "lr.json").read_text())
        assert written["chosen"] == {"nmt": rate} and written["langs"] == tuned
        assert trained == [rate, rate] and written["dev_chrf"]["0.001"] == (45 if "mr" in tuned else 50)
        trained.clear()


def test_the_translator_learns_a_few_sentences_by_heart(work, tmp_path):
    pairs = [("mkulima aliuza mbuzi", "the farmer sold a goat"), ("mwalimu alinunua kitabu", "a teacher read")]
    args = nmt.parser().parse_args(["train", "--data", "x", "--encoder", str(work / "encoder"), "--out", "x",
                                    "--steps", "150", "--batch", "2", "--dropout", "0", "--device", "cpu",
                                    "--beams", "3"])
    args.bf16 = False
    translator, _ = nmt.train_one(pairs, 3e-3, tmp_path, args, "sw-en")
    assert translator.translate([x for x, _ in pairs]) == [e for _, e in pairs]
    alone = [translator.translate([x])[0] for x, _ in pairs]
    assert alone == [e for _, e in pairs]
    lines = optical.read_jsonl(tmp_path / "train.jsonl")
    assert lines[-1]["loss"] < 2 < lines[0]["loss"]                              # smoothing keeps it above 0


def test_the_loss_is_that_of_the_next_token_and_padding_adds_nothing(work, tmp_path):
    """One step at rate 0 logs the loss of a batch; here it is computed pair by pair."""
    pairs = [("mkulima aliuza mbuzi", "the farmer sold a goat yesterday"), ("mwalimu", "a teacher")]
    args = nmt.parser().parse_args(["train", "--data", "x", "--encoder", str(work / "encoder"), "--out", "x",
                                    "--steps", "1", "--batch", "2", "--dropout", "0", "--device", "cpu",
                                    "--smoothing", "0"])
    args.bf16 = False
    translator, _ = nmt.train_one(pairs, 1e-30, tmp_path, args, "sw-en")
    logged = optical.read_jsonl(tmp_path / "train.jsonl")[0]["loss"]
    model, tokenizer, total, n = translator.model.eval(), translator.tokenizer, 0.0, 0
    for source, target in pairs:
        x, y = (torch.tensor([tokenizer(text)["input_ids"]]) for text in (source, target))   # [CLS] ... [SEP]
        assert set(y[0].tolist()) <= set(translator.output.tolist())
        y = torch.searchsorted(translator.output, y)                         # its place in what the decoder knows
        with torch.no_grad():
            p = model(input_ids=x, attention_mask=torch.ones_like(x),
                      decoder_input_ids=y[:, :-1]).logits.log_softmax(-1)[0]
        total, n = total - float(p.gather(1, y[0, 1:, None]).sum()), n + y.shape[1] - 1
    assert logged == pytest.approx(total / n, rel=1e-4)
    assert p.shape[1] == len(translator.output) < len(tokenizer)


def test_a_language_without_bitext_or_an_encoder_that_is_gone_is_one_line(work, tmp_path):
    done = train(work, tmp_path, "--langs", "xx")
    assert done.returncode == 2 and "no language 'xx'" in done.stderr and not list(tmp_path.iterdir())
    done = command("nmt.py", "train", "--data", work / "data", "--encoder", tmp_path / "none", "--out",
                   tmp_path / "o")
    assert done.returncode == 2 and re.search("error: .*none.*no encoder", done.stderr.splitlines()[-1])
    done = train(work, tmp_path, "--max-tokens", 3)
    assert done.returncode == 2 and "raise --max-tokens" in done.stderr


def test_translations_are_searched_for_by_bm25_and_by_the_teacher(work, tmp_path):
    import evaluate
    test = data.load_manifest(work / "data")["tests"][0]
    english = data.read_tsv(work / "data" / test["english"])          # a translator that makes no mistake
    folder = tmp_path / "nmt" / "sw-en"
    folder.mkdir(parents=True)
    (folder / "test.sw.tsv").write_text("".join(f"{q}\t{t}\n" for q, t in english.items()))
    common = ["--data", work / "data", "--translations", tmp_path / "nmt", "--out", tmp_path / "runs"]
    assert command("baselines.py", "bm25", *common).returncode == 0
    teacher = ["--teacher", work / "teacher", "--cache", tmp_path / "cache"]
    if not (work / "teacher").exists():
        assert command("optical.py", "teacher", "--data", work / "data", "--encoder", work / "encoder", "--out",
                       work / "teacher", "--dim", 16, "--steps", 3, "--batch", 4).returncode == 0
    done = command("optical.py", "search", *common, *teacher, "--students", "none", "--methods", "nmt",
                   "english")
    assert done.returncode == 0, done.stderr
    runs = {path.name: evaluate.read_run(path) for path in (tmp_path / "runs" / "sw").glob("*.trec")}
    assert set(runs) == {"bm25-nmt.s1.trec", "nmt.s1.trec", "english.s1.trec"}
    assert runs["nmt.s1.trec"] == runs["english.s1.trec"]
    shutil.rmtree(folder)
    for argv in (["baselines.py", "bm25"], ["optical.py", "search", *teacher, "--students", "none", "--methods",
                                            "nmt"]):
        done = command(*argv, *common[:-1], tmp_path / "again")
        assert done.returncode == 2 and "test.sw.tsv" in done.stderr and "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------ models by name

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
    rows = translator.tokens(["mkulima aliuza mbuzi"])
    made = translator.model.generate(input_ids=torch.tensor(rows[0][None].astype(int)), **translator.options)
    assert made[0, 1] == code
    assert nmt.by_name(named, None, None, 2, 12).options["forced_bos_token_id"] is None


def test_an_unknown_code_or_model_is_one_line(named, work, tmp_path):
    argv = ["nmt.py", "pretrained", "--data", work / "data", "--out", tmp_path / "o", "--beams", 1,
            "--max-tokens", 12, "--name"]
    done = command(*argv, named, "--codes", "en=xyz")
    assert done.returncode == 2 and "no language code 'xyz'; give others by --codes" in done.stderr
    done = command(*argv, tmp_path / "none")
    assert done.returncode == 2 and "no translation model can be loaded" in done.stderr
    done = command(*argv, named, "--reverse")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o" / "sw-en" / "test.sw.tsv").exists() and (tmp_path / "o/en-sw/train.tsv").exists()


def test_a_tokenizer_that_refuses_a_source_code_is_one_line(monkeypatch, named):
    class Strict(PreTrainedTokenizerFast):
        @property
        def src_lang(self):
            return "en"

        @src_lang.setter
        def src_lang(self, code):
            self.codes[code]
        codes = {"en": 1}
    import transformers
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained",
                        lambda name, **_: Strict.from_pretrained(name))
    with pytest.raises(ValueError, match="no language code 'swh_Latn'; give others by --codes, run_all.sh's CODES"):
        nmt.by_name(named, "swh_Latn", "eng_Latn", 1, 8)


def test_both_halves_are_trained_in_float32_whatever_the_encoder_was_stored_in(work, tmp_path):
    shutil.copytree(work / "encoder", tmp_path / "half")
    AutoModel.from_pretrained(work / "encoder").half().save_pretrained(tmp_path / "half")
    model = nmt.from_encoder(tmp_path / "half", 1, 8, 0.0).model
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_tokenizer_that_lacks_its_package_says_which(monkeypatch, named):
    import transformers

    def missing(*args, **kwargs):
        raise ImportError("\nMarianTokenizer requires the SentencePiece library")
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", missing)
    with pytest.raises(ValueError, match="needs a package that is not here: MarianTokenizer requires"):
        nmt.by_name(named, None, None, 1, 8)

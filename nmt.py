# SPDX-License-Identifier: MIT
"""Neural machine translation of queries: the baseline that the paper measures OPTICAL against.

For each language an encoder-decoder learns from the bitext that the students learn from. Both of its halves
start as the encoder that the teacher started from (Rothe, Narayan and Severyn 2020), so what that encoder
knows of the language is open to translation too; only the cross-attention starts at random. A translated
query is then searched for by BM25 (`baselines.py bm25 --translations`) or by the English teacher
(`optical.py search --methods nmt`). The other direction translates the English training queries:
translate-train. A pre-trained model takes the place of ours by name (`nmt.py pretrained`).

    (1) loss   -sum_t log p(y_t | y_<t, x), with label smoothing, over the tokens of the English side y
    (2) chrF   (1 + beta^2) P R / (beta^2 P + R), beta = 2: precision and recall of character 1- to 6-grams,
               each averaged over the orders (Popovic 2015); 0 to 100, as sacreBLEU computes it

Folders: OUT/<lang>-en/ holds test.<set>.tsv and dev.tsv, OUT/en-<lang>/ holds train.tsv and dev.tsv, each
`id<TAB>translation`, beside args.json, train.jsonl and done.json, as every experiment.
"""
import argparse
import re
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

import data
from optical import (best_rate, close_experiment, command_options, finished, fit, language, language_options,
                     languages, length_batches, open_experiment, pad, read_json, run_command, set_dropout,
                     share_out, shared_options, token_batches, training_options, unloadable, write_json)

# FLORES-200 codes, which NLLB uses, of the languages of all profiles.
CODES = {"en": "eng_Latn", "sw": "swh_Latn", "so": "som_Latn", "tl": "tgl_Latn", "mr": "mar_Deva",
         "fi": "fin_Latn", "de": "deu_Latn", "fr": "fra_Latn", "swa": "swh_Latn", "hau": "hau_Latn",
         "ibo": "ibo_Latn", "twi": "twi_Latn", "yor": "yor_Latn", "zul": "zul_Latn", "es": "spa_Latn",
         "ru": "rus_Cyrl", "ar": "arb_Arab", "el": "ell_Grek", "hi": "hin_Deva", "th": "tha_Thai",
         "tr": "tur_Latn", "vi": "vie_Latn", "zh": "zho_Hans"}


def chrf(hypotheses, references, orders=6, beta=2):
    """Equation (2) over a corpus: two lists of texts, one reference each.

    >>> chrf(["abc"], ["abc"]), chrf(["xyz"], ["abc"])
    (100.0, 0.0)
    >>> chrf(["ab"], ["abc"], orders=1, beta=1)                # P = 2/2, R = 2/3
    80.0
    """
    if len(hypotheses) != len(references) or not references:
        raise ValueError(f"chrF of {len(hypotheses)} texts against {len(references)}; give as many, not none")
    made, wanted, hits = np.zeros((3, orders))
    for pair in zip(hypotheses, references):
        h, r = ("".join(text.split()) for text in pair)
        for n in range(orders):
            h_grams, r_grams = (Counter(t[i:i + n + 1] for i in range(len(t) - n)) for t in (h, r))
            made[n] += sum(h_grams.values())
            wanted[n] += sum(r_grams.values())
            hits[n] += sum((h_grams & r_grams).values())
    some = (made > 0) & (wanted > 0)                     # orders longer than every text say nothing
    if not hits[some].any():
        return 0.0
    P, R = (hits[some] / made[some]).mean(), (hits[some] / wanted[some]).mean()
    return float(round(100 * (1 + beta ** 2) * P * R / (beta ** 2 * P + R), 10))


def tidy(text):
    """A decoded text as people write it: no space before punctuation or around apostrophe and hyphen.

    >>> tidy("who sold the goat ?"), tidy("l ' eau de dar - es - salaam")
    ('who sold the goat?', "l'eau de dar-es-salaam")
    """
    return re.sub(r"\s*(['’-])\s*", r"\1", re.sub(r"\s+([.,?!;:])", r"\1", " ".join(text.split())))


class Translator:
    """An encoder-decoder of transformers with its tokenizer, and beam search.

    Args: start, the token id that a translation starts from; end, the one that closes it; forced, the token
    id that must come first (the target language of multilingual models) or None.
    Attribute: output, the decoder's vocabulary as token ids (int64) where `trim` made it smaller, else None.
    """

    def __init__(self, model, tokenizer, start, end, forced=None, beams=5, max_tokens=64):
        self.model, self.tokenizer, self.max_tokens, self.output = model, tokenizer, max_tokens, None
        self.pad_id = tokenizer.pad_token_id or 0
        self.options = {"decoder_start_token_id": start, "eos_token_id": end, "pad_token_id": self.pad_id,
                        "forced_bos_token_id": forced, "num_beams": beams, "do_sample": False,
                        "max_new_tokens": max_tokens, "early_stopping": beams > 1}

    def tokens(self, texts):
        """Source token ids, a list of int32 arrays, cut at max_tokens."""
        ids = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        return [np.array(row, np.int32) for row in ids]

    def trim(self, used):
        """The decoder's vocabulary becomes the token ids `used`; returns the place of each id in it, else 0.

        A token that no target has cannot be learnt, and scoring all was a third of a step.
        """
        decoder = self.model.decoder
        used = np.union1d(used, [self.pad_id])
        place = np.zeros(decoder.config.vocab_size, np.int32)
        place[used] = np.arange(len(used))
        self.output = torch.from_numpy(used.astype(np.int64))
        weight = decoder.get_input_embeddings().weight.data[self.output]
        bias = decoder.get_output_embeddings().bias.data[self.output]
        decoder.resize_token_embeddings(len(used))
        decoder.get_input_embeddings().weight.data.copy_(weight)
        decoder.get_output_embeddings().bias.data.copy_(bias)
        for key in ("decoder_start_token_id", "eos_token_id", "pad_token_id"):
            self.options[key] = int(place[self.options[key]])
        return place

    @torch.inference_mode()
    def translate(self, texts, batch_tokens=2048, name="translate"):
        """Translations of `texts`, in their order."""
        rows, out, device = self.tokens(texts), [""] * len(texts), self.model.device
        self.model.eval()
        for index in tqdm(token_batches([len(row) for row in rows], batch_tokens), disable=None, desc=name):
            ids, mask = pad([rows[i] for i in index], self.pad_id, device)
            longest = min(self.max_tokens, 2 * ids.shape[1] + 8)       # a model that learnt little never ends
            made = self.model.generate(input_ids=ids, attention_mask=mask.long(),
                                       **{**self.options, "max_new_tokens": longest}).cpu()
            if self.output is not None:
                made = self.output[made]
            for i, text in zip(index, self.tokenizer.batch_decode(made, skip_special_tokens=True)):
                out[i] = tidy(text)
        return out


def from_encoder(name, beams, max_tokens, dropout, device="cpu"):
    """A Translator whose two halves start as the encoder `name`; the cross-attention starts at random."""
    from transformers import AutoTokenizer, EncoderDecoderModel
    halves = ("encoder", "decoder") if torch.device(device).type == "cpu" else ()
    attention = {f"{half}_attn_implementation": "eager" for half in halves}     # see Encoder.train
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        model = EncoderDecoderModel.from_encoder_decoder_pretrained(
            str(name), str(name), **attention).float()                          # whatever it was stored in
    except (OSError, KeyError, ValueError) as error:
        raise unloadable(name, "encoder", error) from None
    set_dropout(model, dropout)
    start = tokenizer.bos_token_id if tokenizer.cls_token_id is None else tokenizer.cls_token_id
    end = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    return Translator(model, tokenizer, start, end, beams=beams, max_tokens=max_tokens)


def by_name(name, source, target, beams, max_tokens):
    """A Translator from a pre-trained model: NLLB, M2M100, mBART (language codes), Marian, T5 (none).

    Raises: ValueError where the model or a package that its tokenizer needs is missing, or a code unknown.
    """
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        model = AutoModelForSeq2SeqLM.from_pretrained(name, trust_remote_code=False, dtype=torch.float32)
    except ImportError as error:
        raise ValueError(f"{name}: its tokenizer needs a package that is not here: "
                         f"{str(error).strip().splitlines()[0]}; pip install it (often sentencepiece)"
                         ) from None
    except (OSError, KeyError, ValueError) as error:
        raise unloadable(name, "translation model", error) from None
    unknown = "{}: its tokenizer has no language code {!r}; give others by --codes, run_all.sh's CODES"
    forced = None
    if target:
        try:
            if hasattr(tokenizer, "src_lang"):
                tokenizer.src_lang = source
        except KeyError:
            raise ValueError(unknown.format(name, source)) from None
        known = getattr(tokenizer, "lang_code_to_token", {})                    # M2M100: en -> __en__
        forced, missing = (tokenizer.convert_tokens_to_ids(known.get(target, target)),
                           tokenizer.unk_token_id)
        if forced in (None, missing):
            raise ValueError(unknown.format(name, target))
    start, config = model.config.decoder_start_token_id, model.generation_config
    end = config.eos_token_id if config.eos_token_id is not None else tokenizer.eos_token_id
    return Translator(model, tokenizer, start, end, forced, beams, max_tokens)


def train_one(pairs, lr, folder, args, name):
    """An encoder-decoder trained by (1) on pairs [(source, target), ...]; returns it and what it cost."""
    torch.manual_seed(args.seed)
    translator = from_encoder(args.encoder, args.beams, args.max_tokens, args.dropout, args.device)
    model, tokenizer = translator.model, translator.tokenizer
    decoder = model.decoder
    head = decoder.cls if hasattr(decoder, "cls") else decoder.lm_head                   # BERT or XLM-R
    ids = [tokenizer(list(side))["input_ids"] for side in zip(*pairs)]
    start, end = translator.options["decoder_start_token_id"], translator.options["eos_token_id"]
    special = {start, end}
    source = [np.array(row, np.int32) for row in ids[0]]
    target = [np.array([start, *(i for i in row if i not in special), end], np.int32) for row in ids[1]]
    place = translator.trim(np.unique(np.concatenate(target)))
    target, pad_id = [place[row] for row in target], translator.options["pad_token_id"]
    model.to(args.device)
    keep = [i for i in range(len(pairs)) if max(len(source[i]), len(target[i])) <= args.max_tokens]
    if not keep:
        raise ValueError(f"{name}: no pair of at most {args.max_tokens} tokens; raise --max-tokens")

    def loss_of(index, step):
        x, x_mask = pad([source[keep[i]] for i in index], translator.pad_id, args.device)       # (B, M)
        y, y_mask = pad([target[keep[i]] for i in index], pad_id, args.device)                  # (B, N)
        with torch.autocast(x.device.type, dtype=torch.bfloat16) if args.bf16 else nullcontext():
            h = model.encoder(input_ids=x, attention_mask=x_mask.long()).last_hidden_state      # (B, M, H)
            h = decoder.base_model(
                input_ids=y[:, :-1], attention_mask=y_mask[:, :-1].long(), encoder_hidden_states=h,
                encoder_attention_mask=x_mask.long(), use_cache=False).last_hidden_state    # (B, N - 1, H)
            real = y_mask[:, 1:]                                                                # (B, N - 1)
            logits = head(h[real])                              # not of padding: it is most of a step's cost
        loss = F.cross_entropy(logits.float(), y[:, 1:][real], label_smoothing=args.smoothing)
        return loss, {"tokens": int(x_mask.sum() + y_mask.sum())}

    batches = length_batches([len(target[i]) for i in keep], args.batch, args.steps, args.seed)
    spent = fit(model, batches, loss_of, folder, lr, accumulate=args.accumulate, name=f"{name} lr {lr:g}",
                log_every=args.log_every, save_every_s=args.save_every_s)
    return translator, {"pairs": len(keep), **spent}


def jobs_of(args, lang, reverse):
    """What one direction of one language translates: {file name: {id: text}}, and the dev references."""
    root, manifest = Path(args.data), data.load_manifest(args.data)
    dev = data.read_bitext(root / manifest["langs"][lang]["dev"])
    jobs = {"dev.tsv": {str(i): pair[0 if reverse else 1] for i, pair in enumerate(dev)}}
    if reverse:
        jobs["train.tsv"] = data.read_tsv(root / manifest["train"]["queries"])
    else:
        jobs |= {f"test.{test['set']}.tsv": data.read_tsv(root / test["queries"])
                 for test in manifest["tests"] if test["lang"] == lang}
    return jobs, [pair[1 if reverse else 0] for pair in dev]


def write_translations(translator, jobs, references, folder):
    """Translate every job into `folder`; returns chrF of the dev sentences, lower-cased."""
    for name, texts in jobs.items():
        made = dict(zip(texts, translator.translate(list(texts.values()), name=name)))
        lines = [f"{key}\t{text or '?'}\n" for key, text in made.items()]       # an empty query is no query
        (folder / name).write_text("".join(lines), encoding="utf-8")
        if name == "dev.tsv":
            score = chrf([text.lower() for text in made.values()], [text.lower() for text in references])
    return score


def one_direction(folder, source, target, lr, args, only_dev=False):
    """done.json of one trained direction, trained and its texts translated here unless it is there."""
    lang, reverse = foreign(source, target)
    part = open_experiment(folder, args, {"lang": lang, "reverse": reverse, "lr": lr})
    if part is None:
        return finished(folder)
    entry = language(args.data, lang)
    pairs = data.read_bitext(Path(args.data) / entry["train"])[:args.pairs or entry["pairs"]]
    pairs = [(e, x) if reverse else (x, e) for e, x in pairs]
    translator, spent = train_one(pairs, lr, part, args, folder.name)
    jobs, references = jobs_of(args, lang, reverse)
    jobs = {"dev.tsv": jobs["dev.tsv"]} if only_dev else jobs
    score = write_translations(translator, jobs, references, part)
    return close_experiment(part, folder, {"lang": lang, "lr": lr, "dev_chrf": score, **spent})


def directions(out, langs, both=True):
    """{(source, target): folder} of every language from and, with both, into English."""
    pairs = [pair for lang in langs for pair in ((lang, "en"), ("en", lang))[:1 + both]]
    return {pair: out / "-".join(pair) for pair in pairs}


def foreign(source, target):
    """The language of a direction that is not English, and whether it is the target."""
    return (target, True) if source == "en" else (source, False)


def train(args):
    """Train both directions of every language; rate: best of the grid by mean dev chrF of --tune-langs."""
    out, langs, rate = Path(args.out), languages(args), args.lr[0]
    if args.lr_file:
        rate = read_json(Path(args.lr_file))["chosen"]["nmt"]
    elif len(args.lr) > 1:
        own = argparse.Namespace(**{**vars(args), "steps": args.tune_steps or args.steps})
        tuned = args.tune_langs or langs[:1]
        grid = {(lang, f"{lr:g}"): out / "tune" / f"{lang}-en.{lr:g}" for lang in tuned for lr in args.lr}
        found = share_out("nmt tune", grid, lambda folder, lang, lr: one_direction(
            folder, lang, "en", float(lr), own, only_dev=True))
        scores = {f"{lr:g}": sum(found[lang, f"{lr:g}"]["dev_chrf"] for lang in tuned) / len(tuned)
                  for lr in args.lr}
        rate = best_rate(scores)
        write_json(out / "lr.json", {"chosen": {"nmt": rate}, "dev_chrf": scores, "langs": tuned})
    share_out("nmt", directions(out, langs), lambda folder, source, target: one_direction(
        folder, source, target, rate, args))


def pretrained(args):
    """Translate by a pre-trained model instead: the test queries, and the training queries with --reverse."""
    coded = args.codes != ["none"]
    codes = CODES | dict(pair.split("=", 1) for pair in args.codes if coded)

    def one(folder, source, target):
        lang, reverse = foreign(source, target)
        part = open_experiment(folder, args, {"lang": lang, "reverse": reverse})
        if part is None:
            return finished(folder)
        ends = [codes.get(end, end) if coded else None for end in (source, target)]
        translator = by_name(args.name, *ends, args.beams, args.max_tokens)
        translator.model.to(args.device)
        score = write_translations(translator, *jobs_of(args, lang, reverse), part)
        return close_experiment(part, folder, {"lang": lang, "model": args.name, "dev_chrf": score})

    share_out("nmt", directions(Path(args.out), languages(args), args.reverse), one)


def parser():
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    commands = top.add_subparsers(dest="run_command", required=True)

    def translation_options(add):
        add("--beams", type=int, default=5, help="width of the beam search")
        add("--max-tokens", type=int, default=64, help="longest sentence, in tokens")

    add = command_options(commands, "train", train, lambda add: training_options(add, dropout=0.1),
                          language_options, shared_options, translation_options)
    add("--encoder", required=True, help="what both halves start from: Hugging Face name or folder")
    add("--lr", type=float, nargs="+", default=[1e-3], help="peak learning rate; several: a grid")
    add("--lr-file", default=None, help="lr.json of an earlier run: take its rate")
    add("--tune-langs", nargs="+", default=None, help="languages the rate is chosen on; default: the first")
    add("--steps", type=int, default=1000, help="training steps")
    add("--tune-steps", type=int, default=0, help="training steps while the rate is chosen; 0: --steps")
    add("--pairs", type=int, default=0, help="the first so many sentence pairs; 0: the manifest's")
    add("--smoothing", type=float, default=0.1, help="label smoothing")

    add = command_options(commands, "pretrained", pretrained, language_options, shared_options,
                          translation_options)
    add("--out", required=True, help="folder of translations")
    add("--name", required=True, help="Hugging Face name or folder, facebook/nllb-200-distilled-600M")
    add("--codes", nargs="+", default=[], metavar="LANG=CODE",
        help="the model's language codes where they are not FLORES-200's; `none` for a model without")
    add("--reverse", action=argparse.BooleanOptionalAction, default=False,
        help="also the English training queries, for translate-train")
    return top


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    return run_command(parser().parse_args(argv), argv)


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""Neural machine translation of queries: the baseline that the paper measures OPTICAL against.

For each language an encoder-decoder learns from the bitext that the students learn from. Both of its halves
start as the encoder that the teacher started from (Rothe, Narayan and Severyn 2020); only the cross-attention
starts at random. A translated query is searched for by BM25 or by the English teacher. The other direction
translates the English training queries: translate-train. A pre-trained model may take the place of ours.

    (26) loss   -sum_t log p(y_t | y_<t, x), with label smoothing, over the tokens of the English side y
    (27) chrF   (1 + beta^2) P R / (beta^2 P + R), beta = 2: precision and recall of character 1- to 6-grams,
               each averaged over the orders (Popovic 2015); 0 to 100, as sacreBLEU computes it

OUT/<lang>-en/ holds test.<set>.tsv and dev.tsv, OUT/en-<lang>/ train.tsv and dev.tsv: `id<TAB>translation`.
"""
import re
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import nn
from tqdm import tqdm

import data
from optical import fit, length_batches, pad, token_batches
from study.experiment import (close_experiment, commands_of, languages, open_experiment, run_command,
                              training_of, write_json)
from study.sources import LANGUAGES
from study.students import as_chosen, choose, training


def chrf(hypotheses, references, orders=6, beta=2):
    """Equation (27) over a corpus: two lists of texts, one reference each.

    >>> chrf(["abc"], ["abc"]), chrf(["xyz"], ["abc"])
    (100.0, 0.0)
    >>> chrf(["ab"], ["abc"], orders=1, beta=1)                # P = 2/2, R = 2/3
    80.0
    """
    made, wanted, hits = np.zeros((3, orders))
    for pair in zip(hypotheses, references, strict=True):
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

    def trim(self, used):
        """The decoder's vocabulary becomes the token ids `used`; returns the place of each id in it, else 0.

        A token that no target has cannot be learnt, and scoring all was a third of a step.
        """
        decoder = self.model.decoder
        used = np.union1d(used, [self.pad_id])
        place = np.zeros(decoder.config.vocab_size, np.int64)
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
        ids = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        rows, out, device = [np.array(row) for row in ids], [""] * len(texts), self.model.device
        self.model.eval()
        for index in tqdm(token_batches([len(row) for row in rows], batch_tokens), disable=None, desc=name):
            ids, mask = pad([rows[i] for i in index], device, self.pad_id)
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
    halves = ("encoder", "decoder") if torch.device(device).type == "cpu" else ()
    attention = {f"{half}_attn_implementation": "eager" for half in halves}     # see Encoder.train
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    model = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(
        str(name), str(name), **attention).float()                              # whatever it was stored in
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    start = tokenizer.bos_token_id if tokenizer.cls_token_id is None else tokenizer.cls_token_id
    end = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    return Translator(model, tokenizer, start, end, beams=beams, max_tokens=max_tokens)


def by_name(name, source, target, beams, max_tokens):
    """A Translator from a pre-trained model: NLLB, M2M100, mBART (language codes), Marian, T5 (none)."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    load = transformers.AutoModelForSeq2SeqLM.from_pretrained
    model = load(name, trust_remote_code=False, dtype=torch.float32)
    forced = None
    if target:
        known = getattr(tokenizer, "lang_code_to_token", {})                    # M2M100: en -> __en__
        for code in (source, target):
            forced = tokenizer.convert_tokens_to_ids(known.get(code, code))
            if forced in (None, tokenizer.unk_token_id):
                raise ValueError(f"{name}: its tokenizer has no language code {code!r}; give others by "
                                 "--codes, run_all.sh's CODES")
        tokenizer.src_lang = source
    start, config = model.config.decoder_start_token_id, model.generation_config
    end = config.eos_token_id if config.eos_token_id is not None else tokenizer.eos_token_id
    return Translator(model, tokenizer, start, end, forced, beams, max_tokens)


def train_one(pairs, lr, folder, args, name):
    """An encoder-decoder trained by (26) on pairs [(source, target), ...]; returns it and what it cost."""
    torch.manual_seed(args.seed)
    translator = from_encoder(args.encoder, args.beams, args.max_tokens, args.dropout, args.device)
    model, tokenizer = translator.model, translator.tokenizer
    decoder = model.decoder
    head = decoder.cls if hasattr(decoder, "cls") else decoder.lm_head                   # BERT or XLM-R
    ids = [tokenizer(list(side))["input_ids"] for side in zip(*pairs)]
    start, end = translator.options["decoder_start_token_id"], translator.options["eos_token_id"]
    source = [np.array(row) for row in ids[0]]
    target = [np.array([start, *(i for i in row if i not in (start, end)), end]) for row in ids[1]]
    place = translator.trim(np.unique(np.concatenate(target)))
    target, pad_id = [place[row] for row in target], translator.options["pad_token_id"]
    model.to(args.device)
    keep = [i for i in range(len(pairs)) if max(len(source[i]), len(target[i])) <= args.max_tokens]
    if not keep:
        raise ValueError(f"{name}: no pair of at most {args.max_tokens} tokens; raise --max-tokens")

    def loss_of(index, step):
        x, x_mask = pad([source[keep[i]] for i in index], args.device, translator.pad_id)       # (B, M)
        y, y_mask = pad([target[keep[i]] for i in index], args.device, pad_id)                  # (B, N)
        with torch.autocast(x.device.type, torch.bfloat16, args.bf16):
            h = model.encoder(input_ids=x, attention_mask=x_mask.long()).last_hidden_state      # (B, M, H)
            h = decoder.base_model(
                input_ids=y[:, :-1], attention_mask=y_mask[:, :-1].long(), encoder_hidden_states=h,
                encoder_attention_mask=x_mask.long(), use_cache=False).last_hidden_state    # (B, N - 1, H)
            real = y_mask[:, 1:]                                                                # (B, N - 1)
            logits = head(h[real])                              # not of padding: it is most of a step's cost
        loss = F.cross_entropy(logits.float(), y[:, 1:][real], label_smoothing=args.smoothing)
        return loss, {"tokens": int(x_mask.sum() + y_mask.sum())}

    batches = length_batches([len(target[i]) for i in keep], args.batch, args.steps, args.seed)
    spent = fit(model, batches, loss_of, folder, lr, name=f"{name} lr {lr:g}", **training_of(args))
    return translator, {"pairs": len(keep), **spent}


def one_direction(folder, lang, reverse, args, lr=None, only_dev=False):
    """done.json of one direction: its texts translated unless it is there, by a model trained at rate `lr`,
    without a rate by the pre-trained model args.name.
    """
    unit = {"lang": lang, "reverse": reverse} | ({"lr": lr} if lr else {})
    part = open_experiment(folder, args, **unit)
    if part is None:
        return data.read_json(folder / "done.json")
    root, manifest = Path(args.data), data.load_manifest(args.data)
    entry = manifest["langs"][lang]

    def pairs(split):                                                                # (text, translation)
        return [pair[::1 if reverse else -1] for pair in data.read_bitext(root / entry[split])]
    dev = pairs("dev")
    paths = {"train.tsv": training(root)["queries"]} if reverse else {
        f"test.{test['set']}.tsv": test["queries"] for test in manifest["tests"] if test["lang"] == lang}
    jobs = {"dev.tsv": [(str(i), text) for i, (text, _) in enumerate(dev)]}
    jobs |= {name: data.read_tsv(root / path).items() for name, path in paths.items() if not only_dev}
    if lr:
        translator, spent = train_one(pairs("train")[:entry["pairs"]], lr, part, args, folder.name)
    else:
        ends = [code_of(end, args.codes or []) for end in (("en", lang) if reverse else (lang, "en"))]
        translator, spent = by_name(args.name, *ends, args.beams, args.max_tokens), {"model": args.name}
        translator.model.to(args.device)
    for name, texts in jobs.items():
        made = translator.translate([text for _, text in texts], name=name)
        lines = [f"{key}\t{text or '?'}\n" for (key, _), text in zip(texts, made)]  # an empty query is none
        (part / name).write_text("".join(lines), encoding="utf-8")
        if name == "dev.tsv":
            score = chrf([text.lower() for text in made], [text.lower() for _, text in dev])
    print(f"  {folder.name}: dev chrF {score:.1f}", flush=True)
    return close_experiment(part, folder, {**unit, "dev_chrf": score, **spent})


def code_of(lang, codes):
    """The model's code of a language: of codes ["sw=swh_Latn", ...], else FLORES-200's; None for ["none"]."""
    if codes == ["none"]:
        return None
    known = {"en": "eng_Latn"} | {code: row.flores for code, row in LANGUAGES.items()}
    known |= dict(pair.partition("=")[::2] for pair in codes)
    if not known.get(lang):
        raise ValueError(f"--codes: no code of {lang!r}; give LANG=CODE")
    return known[lang]


def tune(args):
    """The learning rate and number of steps of translators into English, by dev chrF: OUT/lr.nmt.json."""
    def dev(lang, lr, steps):
        own = Namespace(**{**vars(args), "steps": steps})
        folder = Path(args.out) / f"{lang}-en.{lr:g}.{steps}"
        return one_direction(folder, lang, False, own, lr, only_dev=True)["dev_chrf"]
    write_json(Path(args.out) / "lr.nmt.json", choose("nmt", languages(args), args.lr, args.steps, dev))


def train(args):
    """Train both directions of every language, at the rate and for the steps that `tune` chose in --rates."""
    own = as_chosen(args, "nmt")
    pretrained(own, own.lr)


def pretrained(args, lr=None):
    """Translate by a pre-trained model instead: the test queries, and the English training queries."""
    for lang in languages(args):
        one_direction(Path(args.out) / f"{lang}-en", lang, False, args, lr)
        one_direction(Path(args.out) / f"en-{lang}", lang, True, args, lr)


def parser():
    return commands_of("nmt", __doc__, {"tune": tune, "train": train, "pretrained": pretrained})


def main(argv=None):
    return run_command(parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())

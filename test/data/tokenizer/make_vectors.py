#!/usr/bin/env python3
"""Writes vectors.json: what the `tokenizers` library makes of texts.

`tokenizer` holds the members of a tokenizer.json, and of its model, that differ
from those of `base`: test/models/tiny-llama3 or an earlier variant. `ids` has special
tokens parsed and the post-processor's added, `raw` (where different) neither;
`decoded` (where it is not the text) is decoded without special tokens. Needs
the PyPI package `tokenizers`. Usage: make_vectors.py

SPDX-License-Identifier: Apache-2.0
"""

import json
import pathlib
import random

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers, Regex

HERE = pathlib.Path(__file__).parent
BASE = HERE.parent.parent / "models" / "tiny-llama3" / "tokenizer.json"

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
POSSESSIVE = (
    r"(?i:'(?:[sdmt]|ll|ve|re))|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s"
)
CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SCRIPTS = r"[\p{Han}\p{Hiragana}\p{Katakana}]+|\w+|\S\d?|[^\S\r\n]+|\s"

WORDS = [
    "the", "Hello", " world", "don't", "I'LL", "we'\u017fe", "'\u017f", "x'S",
    "123", "1234567", "\u0663\u0664", "\u00bd12", "\u2167", "\u65e5\u672c\u8a9e",
    "\ud55c\uad6d\uc5b4", "e\u0301", "\u00e9", "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f469\u200d\U0001f467", "\r\n", "\n\n", " \n ", "   ", "\t\t",
    "\u00a0", "\u1680", "\u180e", "\u2028", "\u3000", "\u0085", "\ufeff",
    "<|begin_of_text|>", "<|eot_id|>", "<|", "|>", "!!!", "...", "//", "a_b",
    "word", "words", " word ", "add ed", "ab", "abc", "\u2581", " ",
]


def byte_level(steps):
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence(steps + [last])


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def from_base(pre_tokenizer, ignore_merges=True, added=(), post=None):
    tokenizer = json.loads(BASE.read_text(encoding="utf-8"))
    tokenizer["model"]["ignore_merges"] = ignore_merges
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.add_tokens(list(added))
    if post:
        tokenizer.post_processor = post
    return tokenizer


def sentence_piece(normalizer, pre_tokenizer, decoder, byte_fallback=True):
    """A small SentencePiece-style BPE over part of the alphabet."""
    special = ["<unk>", "<s>", "</s>"]
    if byte_fallback:
        special += [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(
        models.BPE(unk_token="<unk>", byte_fallback=byte_fallback, fuse_unk=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    text = ["hello world the word and the words abc we had here then"] * 3
    tokenizer.train_from_iterator(
        text,
        trainers.BpeTrainer(
            vocab_size=len(special) + 50, special_tokens=special, show_progress=False
        ),
    )
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    result = json.loads(tokenizer.to_str())
    # Byte tokens are part of the model, not text to look for.
    result["added_tokens"] = [
        token for token in result["added_tokens"] if not token["content"].startswith("<0x")
    ]
    return Tokenizer.from_str(json.dumps(result))


def variants():
    added = [
        AddedToken("<|eot_id|>", special=True, normalized=False),
        AddedToken("word", single_word=True),
        AddedToken("add ed", lstrip=True, rstrip=True),
        AddedToken("ab"),
        AddedToken("abc", normalized=False),
    ]
    around = processors.TemplateProcessing(
        single="<|begin_of_text|> $A <|eot_id|>",
        special_tokens=[("<|begin_of_text|>", 0), ("<|eot_id|>", 4)],
    )
    digits = pre_tokenizers.Digits(individual_digits=True)
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
    yield "llama3", from_base(byte_level([split(LLAMA3)]))
    yield "gpt2", from_base(gpt2, ignore_merges=False)
    yield "gpt2-prefix-space", from_base(pre_tokenizers.ByteLevel(add_prefix_space=True))
    yield "smollm2", from_base(pre_tokenizers.Sequence([digits, gpt2]), ignore_merges=False)
    yield "possessive", from_base(byte_level([split(POSSESSIVE)]))
    yield "cased", from_base(byte_level([split(CASED)]))
    yield "scripts", from_base(byte_level([split(SCRIPTS)]))
    yield "added", from_base(gpt2, added=added, post=around)
    yield "removed", from_base(byte_level([split(r"\s+", "removed")]))
    yield "with-previous", from_base(byte_level([split(r"\s", "merged_with_previous")]))
    yield "with-next", from_base(byte_level([split(r"\s", "merged_with_next")]))
    yield "contiguous", from_base(byte_level([split("[aeiou]", "contiguous")]))
    yield "inverted", from_base(byte_level([split(r"\p{L}+", "removed", invert=True)]))
    yield "empty-matches", from_base(byte_level([split("a*")]))
    yield "literal", from_base(
        byte_level([pre_tokenizers.Split(" ", "merged_with_next"), pre_tokenizers.Digits()])
    )
    llama2 = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    llama2_decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    yield "sentencepiece", sentence_piece(llama2, None, llama2_decoder)
    yield "sentencepiece-unknown", sentence_piece(llama2, None, llama2_decoder, False)
    for scheme in ("always", "first", "never"):
        yield f"metaspace-{scheme}", sentence_piece(
            None,
            pre_tokenizers.Metaspace(prepend_scheme=scheme),
            decoders.Metaspace(prepend_scheme=scheme),
        )


def texts(seed):
    rng = random.Random(seed)
    result = ["", " ", "Hello world", "  two  spaces  "]
    for _ in range(11):
        result.append("".join(rng.choice(WORDS) for _ in range(rng.randint(2, 7))))
    return result


def difference(description, base):
    """The members of `description`, and of its model, that `base` lacks."""
    result = {k: v for k, v in description.items() if v != base.get(k)}
    if "model" in result:
        model = base["model"]
        result["model"] = {
            k: v for k, v in description["model"].items() if v != model.get(k)
        }
    return result


def main():
    bases = {"tiny-llama3": json.loads(BASE.read_text(encoding="utf-8"))}
    result = []
    for seed, (name, tokenizer) in enumerate(variants()):
        description = json.loads(tokenizer.to_str())
        cases = []
        for text in texts(seed):
            tokenizer.encode_special_tokens = False
            parsed = tokenizer.encode(text, add_special_tokens=True).ids
            tokenizer.encode_special_tokens = True
            raw = tokenizer.encode(text, add_special_tokens=False).ids
            decoded = tokenizer.decode(parsed, skip_special_tokens=True)
            case = {"text": text, "ids": parsed}
            # Left out where they say nothing new.
            if raw != parsed:
                case["raw"] = raw
            if decoded != text:
                case["decoded"] = decoded
            cases.append(case)
        base = min(bases, key=lambda other: len(json.dumps(difference(description, bases[other]))))
        result.append(
            {
                "name": name,
                "base": base,
                "tokenizer": difference(description, bases[base]),
                "cases": cases,
            }
        )
        bases[name] = description
    lines = ",\n".join(
        json.dumps(entry, separators=(",", ":"), ensure_ascii=False) for entry in result
    )
    (HERE / "vectors.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()

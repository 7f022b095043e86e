"""The built-in model's CLIP tokenizer: byte-pair merges learned from the captions of the demo world."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from editor.demo.components import TOKENS
from editor.demo.vocabulary import COLORS, LOOKS, PLACES, SUBJECTS, caption
from editor.demo.world import Scene

START, END, SUFFIX = "<|startoftext|>", "<|endoftext|>", "</w>"


def train_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write `vocab.json`, `merges.txt` and the configuration to `folder`. Every known word becomes one token.

    Any other text still has tokens: all bytes are in the vocabulary, as in CLIP's own.
    """
    bpe = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix=SUFFIX, continuing_subword_prefix=""))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_words_and_marks(), "removed", invert=True),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=100_000,  # until every word of the captions is whole
        min_frequency=2,
        special_tokens=[],
        initial_alphabet=alphabet,
        end_of_word_suffix=SUFFIX,
        show_progress=False,
    )
    bpe.train_from_iterator(_captions(), trainer)
    model = json.loads(bpe.to_str())["model"]
    tokens = [*alphabet, *(a + SUFFIX for a in alphabet)]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    tokens += [t for t in ("".join(pair) for pair in merges) if t not in tokens]
    tokens += [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    tokenizer = CLIPTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        model_max_length=TOKENS,
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def _captions() -> list[str]:
    """Captions that between them use every word several times."""
    return [
        caption(Scene(subject, color, place, look), wording, wording)
        for subject, kind in SUBJECTS.items()
        for color in (COLORS if kind.paintable else (None,))
        for place in PLACES
        for look in LOOKS
        for wording in range(8)
    ]


def _words_and_marks() -> object:
    """CLIP's division of a text: words, single digits, runs of other marks."""
    from tokenizers import Regex

    return Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")

"""Prompts as the text encoder reads them: tokens, which tokens belong to which word, and embeddings.

A word is what stands between spaces. CLIP's tokenizer never joins text across a space, so a prompt's tokens are its
words' tokens in order; building them that way keeps every token's word known, whatever the spacing and punctuation.
"""

from dataclasses import dataclass

import torch
from transformers import CLIPTextModel, CLIPTokenizer


@dataclass(frozen=True)
class Tokens:
    """A tokenised prompt.

    `ids` has the tokenizer's full length (77 for CLIP), with start, end and padding. `positions[i]` are the
    consecutive places in `ids` of the word `words[i]`; `words` holds the words that fit. `cut` are the words that did
    not fit and are not seen by the model; a word that fits in part is in both.
    """

    ids: tuple[int, ...]
    words: tuple[str, ...]
    positions: tuple[range, ...]
    cut: tuple[str, ...]


def tokenise(tokenizer: CLIPTokenizer, prompt: str) -> Tokens:
    """Tokenise `prompt` word by word; never raises, what does not fit is named in `cut`."""
    room = tokenizer.model_max_length - 2  # the start and the end token
    inner: list[int] = []
    words, positions, cut = [], [], []
    for word in prompt.split():
        ids = tokenizer(word, add_special_tokens=False).input_ids
        fitting = ids[: max(0, room - len(inner))]
        if len(fitting) < len(ids):
            cut.append(word)
        if fitting:
            words.append(word)
            positions.append(range(1 + len(inner), 1 + len(inner) + len(fitting)))
            inner += fitting
    padding = [tokenizer.pad_token_id] * (room - len(inner))
    ids = (tokenizer.bos_token_id, *inner, tokenizer.eos_token_id, *padding)
    return Tokens(ids, tuple(words), tuple(positions), tuple(cut))


def embed(
    tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, prompts: list[str] | tuple[str, ...], device: torch.device
) -> torch.Tensor:
    """Text embeddings (len(prompts), 77, d), float32 on `device`: the last hidden state, as in SD 1.x and 2.x."""
    ids = torch.tensor([tokenise(tokenizer, prompt).ids for prompt in prompts], device=device)
    with torch.no_grad():
        return text_encoder(ids)[0].float()


def cut_note(tokenizer: CLIPTokenizer, name: str, prompt: str) -> str | None:
    """A sentence naming the words of the prompt called `name` that the model does not see, or None when it sees all."""
    cut = tokenise(tokenizer, prompt).cut
    if not cut:
        return None
    limit = tokenizer.model_max_length - 2
    return f"the {name} is longer than {limit} tokens; not seen by the model: {' '.join(cut)}"

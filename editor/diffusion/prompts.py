"""Prompts as the text encoder reads them: tokens, which tokens belong to which word, and embeddings.

A word is what stands between spaces. CLIP's tokenizer never joins text across a space, so a prompt's tokens are its
words' tokens in order; building them that way keeps every token's word known, whatever the spacing and punctuation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from editor.events import EditError


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
    tokenizer: CLIPTokenizer,
    text_encoder: CLIPTextModel,
    prompts: Sequence[str],
    device: torch.device,
    clip_skip: int = 0,
) -> torch.Tensor:
    """Text embeddings (P, 77, d), float32 on `device`: the last hidden state, as in Stable Diffusion 1.x and 2.x.

    `clip_skip`: so many of the encoder's last layers are left out; the final norm is applied all the same.
    """
    with torch.no_grad():
        found = text_encoder(_ids(tokenizer, prompts, device), output_hidden_states=clip_skip > 0)
        if clip_skip == 0:
            return found[0].float()
        inner = getattr(text_encoder, "text_model", text_encoder)
        return inner.final_layer_norm(_layer(found.hidden_states, clip_skip)).float()


def embed_xl(
    pairs: Sequence[tuple[CLIPTokenizer, torch.nn.Module]],
    prompts: Sequence[str],
    device: torch.device,
    clip_skip: int = 0,
) -> torch.Tensor:
    """Embeddings (P, 78, d) of Stable Diffusion XL (arXiv 2307.01952), float32 on `device`; d is both encoders' width.

    The first 77 rows are the states before the last layer of both encoders side by side; the last row begins with the
    pooled embedding of the second and is zero behind it, so that one tensor carries all that the text says. The empty
    prompt is all zeros, as the published checkpoint wants it.
    """
    states = []
    with torch.no_grad():
        for tokenizer, encoder in pairs:
            found = encoder(_ids(tokenizer, prompts, device), output_hidden_states=True)
            states.append(_layer(found.hidden_states, clip_skip + 1).float())
    text, pooled = torch.cat(states, dim=-1), found.text_embeds.float()
    row = F.pad(pooled, (0, text.shape[-1] - pooled.shape[-1]))[:, None]
    said = torch.tensor([bool(prompt.strip()) for prompt in prompts], device=device)
    return torch.cat([text, row], dim=1) * said[:, None, None]


def _ids(tokenizer: CLIPTokenizer, prompts: Sequence[str], device: torch.device) -> torch.Tensor:
    return torch.tensor([tokenise(tokenizer, prompt).ids for prompt in prompts], device=device)


def _layer(states: Sequence[torch.Tensor], skipped: int) -> torch.Tensor:
    """The hidden state with `skipped` layers behind it. Raises `EditError` where there are not so many layers."""
    if skipped >= len(states):
        raise EditError(f"clip_skip is {skipped}, and this text encoder has {len(states) - 1} layers. Use fewer.")
    return states[-1 - skipped]


def cut_note(tokenizer: CLIPTokenizer, name: str, prompt: str) -> str | None:
    """A sentence naming the words of the prompt called `name` that the model does not see, or None when it sees all."""
    cut = tokenise(tokenizer, prompt).cut
    if not cut:
        return None
    limit = tokenizer.model_max_length - 2
    return f"the {name} is longer than {limit} tokens; not seen by the model: {' '.join(cut)}"

"""A reading of two sentences and a tokenizer become token maps: which attention maps the target takes over.

After Prompt-to-Prompt (arXiv 2208.01626, section 3): Replace where single words are exchanged, Refine where the
sentences differ in length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from transformers import CLIPTokenizer

from editor.diffusion.prompts import Tokens, tokenise
from editor.events import EditError
from editor.method.control import Control, brings_shape, control
from editor.reading import bare, read_edit
from editor.request import EditRequest, Window


@dataclass(frozen=True)
class ControlPlan:
    """How one target prompt relates to the source prompt. Token tensors are float32, T = 77 for CLIP.

    `control`: what is done on which steps, from the words alone. `mapper` (T, T): row s says where the source token s
    goes; every row adds up to one, or to zero where the token has no counterpart. `share` (T,): for each target token
    the share taken from the source's maps (1) rather than the target's own (0). `weights` (T,): strength of each target
    token. `changed_source`, `changed_target`: token positions of the words that differ. `kept`: those in the source
    prompt of the main thing, where it is pinned. `source_words`, `target_words`: every word that the model
    reads, with its token positions.
    """

    source: str
    target: str
    control: Control
    mapper: torch.Tensor
    share: torch.Tensor
    weights: torch.Tensor
    changed_source: tuple[int, ...]
    changed_target: tuple[int, ...]
    kept: tuple[int, ...] = ()
    source_words: tuple[tuple[str, range], ...] = ()
    target_words: tuple[tuple[str, range], ...] = ()

    @property
    def method(self) -> str:
        """ "replace" or "refine"."""
        return self.control.method

    @property
    def same(self) -> bool:
        """Whether both prompts have the same words, so that nothing is edited."""
        return not (self.changed_source or self.changed_target)

    @property
    def window(self) -> Window:
        """The steps on which text maps are taken over."""
        return self.control.window

    @property
    def self_window(self) -> Window:
        """The steps on which self-attention takes from the source."""
        return self.control.self_window

    @property
    def guidance(self) -> float:
        """This target's guidance scale on guided steps."""
        return self.control.guidance

    @property
    def residual(self) -> float:
        """What part of the request's residual this target gets."""
        return self.control.residual

    @property
    def brings_shape(self) -> bool:
        """Whether another shape may come: of a thing, or with another place."""
        return brings_shape(self.control.reading)

    @property
    def may_spread(self) -> bool:
        """Whether the edit may reach the whole picture.

        That is where a preposition brings in a new word, which then says where, when or with what it happens, and where
        nothing but the place, the time or the look changes: a look that goes leaves no new word.
        """
        return self.control.reading.brought_in or self.control.reading.only_setting

    @property
    def is_look(self) -> bool:
        """Whether the edit reaches the whole picture and leaves its shapes: another look or time."""
        return self.may_spread and not self.brings_shape


def plan_control(source: str, target: str, request: EditRequest, tokenizer: CLIPTokenizer) -> ControlPlan:
    """Compare two prompts, as far as the model sees them.

    Raises `EditError` when `request.word_weights` names a word that no target prompt has.
    """
    ours, theirs = tokenise(tokenizer, source), tokenise(tokenizer, target)
    reading = read_edit(" ".join(ours.words), " ".join(theirs.words))
    chosen = control(reading, request)
    everywhere = [(i, i) for i in range(len(ours.words))]
    share = torch.ones(len(theirs.ids))
    if not reading.swaps:
        share[list(_places(theirs, reading.new))] = 0.0
    return ControlPlan(
        source=source,
        target=target,
        control=chosen,
        mapper=token_mapper(ours, theirs, everywhere if reading.swaps else reading.pairs),
        share=share,
        weights=_weights(theirs, request.word_weights, (*request.targets, target)),
        changed_source=_places(ours, reading.gone),
        changed_target=_places(theirs, reading.new),
        kept=_places(ours, chosen.kept),
        source_words=tuple(zip(ours.words, ours.positions, strict=True)),
        target_words=tuple(zip(theirs.words, theirs.positions, strict=True)),
    )


def on_device(plan: ControlPlan, device: torch.device) -> ControlPlan:
    """The plan with its tensors on `device`."""
    tensors = {name: getattr(plan, name).to(device) for name in ("mapper", "share", "weights")}
    return replace(plan, **tensors)


def token_mapper(source: Tokens, target: Tokens, pairs: Sequence[tuple[int, int]]) -> torch.Tensor:
    """The (T, T) mapper for word `pairs`: start to start, words to words, end and padding to end and padding in order.

    Words of unequal token counts are spread evenly. Where one padding is shorter its last token stands for the rest,
    so that no attention is lost (differs from Prompt-to-Prompt, which drops it).
    """
    mapper = torch.zeros(len(source.ids), len(target.ids))
    mapper[0, 0] = 1.0
    for i, j in pairs:
        _spread(mapper, source.positions[i], target.positions[j])
    ours, theirs = (range(_end(tokens), len(tokens.ids)) for tokens in (source, target))
    common = min(len(ours), len(theirs)) - 1
    for s, t in zip(ours[:common], theirs[:common], strict=True):
        mapper[s, t] = 1.0
    _spread(mapper, ours[common:], theirs[common:])
    return mapper


def _spread(mapper: torch.Tensor, source: range, target: range) -> None:
    """One to one where the counts are equal, otherwise each source token evenly over all target tokens."""
    if len(source) == len(target):
        for s, t in zip(source, target, strict=True):
            mapper[s, t] = 1.0
    else:
        mapper[source.start : source.stop, target.start : target.stop] = 1.0 / len(target)


def _end(tokens: Tokens) -> int:
    """The place of the end token."""
    return tokens.positions[-1].stop if tokens.positions else 1


def _places(tokens: Tokens, words: Sequence[int]) -> tuple[int, ...]:
    """Token positions of the words with these indices."""
    return tuple(place for word in words for place in tokens.positions[word])


def _weights(tokens: Tokens, wanted: Mapping[str, float], targets: Sequence[str]) -> torch.Tensor:
    """Strength of each token of the target prompt, 1 where nothing was asked."""
    known = {bare(word) for prompt in targets for word in prompt.split()}
    for word in wanted:
        if bare(word) not in known:
            raise EditError(
                f"word_weights names '{word}', which no target prompt has. Words: {', '.join(sorted(known))}."
            )
    strengths = {bare(word): strength for word, strength in wanted.items()}
    weights = torch.ones(len(tokens.ids))
    for word, places in zip(tokens.words, tokens.positions, strict=True):
        weights[list(places)] = strengths.get(bare(word), 1.0)
    return weights

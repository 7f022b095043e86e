"""What changes from the source prompt to the target prompt, and which attention maps the target takes over.

After Prompt-to-Prompt (arXiv 2208.01626, section 3): Replace where single words are exchanged, Refine where the
sentences differ in length. Alignment is by words; a word is what stands between spaces, compared without case and
punctuation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from transformers import CLIPTokenizer

from editor.diffusion.prompts import Tokens, tokenise
from editor.events import EditError
from editor.method.phrases import bare, brings_shape, content, main_thing, names_place, names_setting, new_setting
from editor.request import EditRequest, Window


@dataclass(frozen=True)
class ControlPlan:
    """How one target prompt relates to the source prompt. Token tensors are float32, T = 77 for CLIP.

    `method` is "replace" or "refine"; `kind` is "same", "swap", "addition" or "removal".
    `mapper` (T, T): row s says where the source token s goes; every row adds up to one, or to zero where the token has
    no counterpart. `share` (T,): for each target token the share taken from the source's maps (1) rather than the
    target's own (0). `weights` (T,): strength of each target token. `window`: the steps on which maps are taken over.
    `changed_source`, `changed_target`: token positions of the words that differ. `guidance`: this target's guidance
    scale on guided steps. `setting`: whether the words say where or when it happens. `kept`: positions in the source
    prompt of the main thing, where only its place is exchanged. `self_window`: the steps on which self-attention takes
    from the source. `residual`: what part of the request's residual this target gets. `note`: a sentence on what was
    chosen for these words and why, or nothing.
    """

    source: str
    target: str
    method: str
    kind: str
    mapper: torch.Tensor
    share: torch.Tensor
    weights: torch.Tensor
    window: Window
    self_window: Window
    changed_source: tuple[int, ...]
    changed_target: tuple[int, ...]
    guidance: float
    setting: bool = False
    kept: tuple[int, ...] = ()
    residual: float = 1.0
    note: str = ""


def plan_control(source: str, target: str, request: EditRequest, tokenizer: CLIPTokenizer) -> ControlPlan:
    """Compare two prompts. Raises `EditError` when `request.word_weights` names a word that no target prompt has."""
    ours, theirs = tokenise(tokenizer, source), tokenise(tokenizer, target)
    pairs = align(ours.words, theirs.words)
    in_place = [(i, i) for i in range(len(ours.words))] if len(ours.words) == len(theirs.words) else []
    equal_in_place = [(i, j) for i, j in in_place if bare(ours.words[i]) == bare(theirs.words[j])]
    # differs from Prompt-to-Prompt: of equal length is not enough, the words must also stand at their old places
    swaps = bool(in_place) and len(equal_in_place) >= len(pairs)
    matched = equal_in_place if swaps else pairs
    gone = [i for i in range(len(ours.words)) if i not in {i for i, _ in matched}]
    new = [j for j in range(len(theirs.words)) if j not in {j for _, j in matched}]
    mapper = token_mapper(ours, theirs, in_place if swaps else pairs)
    share = torch.ones(len(theirs.ids))
    if not swaps:
        share[list(_places(theirs, new))] = 0.0
    kind = _kind(gone, new)
    thing = main_thing(theirs.words, new) if kind == "swap" else None
    subject = None if thing is None else bare(theirs.words[thing])
    window = request.replace_window if swaps else request.refine_window
    if _only_setting(ours, theirs, gone, new):
        guidance, note = _setting_strength(request)
    else:
        window, guidance, note = _strength(request, window, subject)
    own_shape = brings_shape(ours.words, gone) or brings_shape(theirs.words, new)
    if own_shape:
        window = min(window, request.shape_window)
    self_window, own_note = _self_window(request, own_shape)
    return ControlPlan(
        source=source,
        target=target,
        method="replace" if swaps else "refine",
        kind=kind,
        mapper=mapper,
        share=share,
        weights=_weights(theirs, request.word_weights, (*request.targets, target)),
        window=(0.0, window),
        self_window=self_window,
        changed_source=_places(ours, gone),
        changed_target=_places(theirs, new),
        guidance=guidance,
        setting=new_setting(theirs.words, new),
        kept=_kept(ours, theirs, gone, new),
        residual=request.shape_residual if own_shape else 1.0,
        note="; ".join(part for part in (note, own_note) if part),
    )


def _kept(ours: Tokens, theirs: Tokens, gone: Sequence[int], new: Sequence[int]) -> tuple[int, ...]:
    """Token positions in the source of the main thing, where its place is exchanged and nothing else; or none."""
    if not (names_place(ours.words, gone, timed=True) and names_place(theirs.words, new)):
        return ()
    thing = main_thing(ours.words, [i for i in range(len(ours.words)) if i not in gone])
    return () if thing is None else _places(ours, [thing])


def _only_setting(ours: Tokens, theirs: Tokens, gone: Sequence[int], new: Sequence[int]) -> bool:
    """Whether nothing but the place, the time or the look changes, comes or goes."""
    sides = [(words, among) for words, among in ((ours.words, gone), (theirs.words, new)) if content(words, among)]
    return bool(sides) and all(names_setting(words, among) for words, among in sides)


def _setting_strength(request: EditRequest) -> tuple[float, str]:
    """The guidance scale where only the setting changes, never less than none, and what to say of it."""
    guidance = _scaled(request, request.setting_guidance)
    if guidance == request.guidance_scale:
        return guidance, ""
    return guidance, f"only the place, the time or the look changes: guidance scale {guidance:g}"


def _self_window(request: EditRequest, own_shape: bool) -> tuple[Window, str]:
    """On which steps self-attention takes from the source, and what to say where a new shape forbids the old maps."""
    window = request.self_attention_window
    if not own_shape or request.self_attention != "source_maps" or window[0] == window[1]:
        return window, ""
    return (0.0, 0.0), "a shape comes, goes or moves: the source's self-attention maps are not used"


def _scaled(request: EditRequest, factor: float) -> float:
    """The guidance scale times `factor`, not below 1; without guidance it stays none."""
    return 1.0 if request.guidance_scale == 1 else max(1.0, request.guidance_scale * factor)


def _strength(request: EditRequest, window: float, subject: str | None) -> tuple[float, float, str]:
    """Until when maps are taken over, the guidance scale, and what to say where another main thing changes them."""
    plain = (window, request.guidance_scale)
    until, guidance = min(window, request.subject_window), _scaled(request, request.subject_guidance)
    if subject is None or (until, guidance) == plain:
        return (*plain, "")
    reason = f"“{subject}” replaces the main thing, whose shape must give way"
    return until, guidance, f"{reason}: guidance scale {guidance:g}, source's text maps on {until:.0%} of the steps"


def on_device(plan: ControlPlan, device: torch.device) -> ControlPlan:
    """The plan with its tensors on `device`."""
    tensors = {name: getattr(plan, name).to(device) for name in ("mapper", "share", "weights")}
    return replace(plan, **tensors)


def align(source: Sequence[str], target: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs (i, j) of equal words in order, as many as possible (longest common subsequence)."""
    a, b = [bare(w) for w in source], [bare(w) for w in target]
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]  # best[i][j]: the most pairs from a[i:], b[j:]
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            best[i][j] = best[i + 1][j + 1] + 1 if a[i] == b[j] else max(best[i + 1][j], best[i][j + 1])
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


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


def _kind(gone: Sequence[int], new: Sequence[int]) -> str:
    """Which kind of edit the alignment speaks of."""
    return {(True, True): "swap", (False, True): "addition", (True, False): "removal"}.get(
        (bool(gone), bool(new)), "same"
    )


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

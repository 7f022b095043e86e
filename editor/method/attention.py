"""Attention across frames and across rows of the batch, as processors for any UNet2DConditionModel.

A batch holds R rows of F frames each, row-major: (R*F, N, channels). Text arrives once per row, (R, T, d), not once per
frame. Processors hold no state of a step: it arrives as `cross_attention_kwargs={"edit": EditStep(...)}`.
"""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from editor.diffusion.kernels import KernelChoice
from editor.events import EditError
from editor.method.maps import WordMaps
from editor.method.windows import Passage, seen


@dataclass(frozen=True)
class Takeover:
    """Row `row` takes the text attention maps of row `source`, moved by `mapper` (T, T), for a `share` (T,) of tokens.

    `whole`: the share is 1 throughout, the row's own maps are not needed.
    """

    row: int
    source: int
    mapper: torch.Tensor
    share: torch.Tensor
    whole: bool


@dataclass(frozen=True)
class EditStep:
    """What one UNet call does beyond plain attention.

    `frames`: F. `reads` (R,), integers: the row whose self-attention keys and values row r reads; None: each its own.
    With `reads_maps` it takes that row's queries and keys instead, that is its attention maps, for its own values.
    Layers whose resolution was halved less often than `reads_level` times keep their own.
    `takeovers`: see there. `weights` (R, T): strength of each row's tokens, None for all one.
    `watched`: (row, name) pairs whose text attention maps go to all `maps` of the layer's level under that name.
    `passage`: which frames of the clip these are, where they are not all.
    """

    frames: int
    reads: torch.Tensor | None = None
    reads_maps: bool = False
    reads_level: int = 0
    takeovers: tuple[Takeover, ...] = ()
    weights: torch.Tensor | None = None
    watched: tuple[tuple[int, str], ...] = ()
    maps: tuple[WordMaps, ...] = ()
    passage: Passage | None = None


@dataclass(frozen=True)
class EditAttention:
    """One layer's processor. `scope`: whose frames a frame sees in self-attention (own, first, sparse, dense).

    `level`: how often the layer's resolution was halved, None in the middle block, whose maps are never recorded.
    """

    kernel: KernelChoice
    scope: str = "own"
    level: int | None = None

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        edit: EditStep | None = None,
    ) -> torch.Tensor:
        """Attention of `hidden_states` (R*F, N, c) or (R*F, c, h, w) to itself or to text (R, T, d)."""
        if attention_mask is not None:
            raise ValueError("the editing layers take no attention mask")
        residual, shape = hidden_states, hidden_states.shape
        x = _normalised(attn, hidden_states, temb)
        if encoder_hidden_states is None:
            out = self._to_frames(attn, x, edit)
        else:
            out = self._to_text(attn, x, encoder_hidden_states, edit)
        out = out.reshape(len(x), -1, attn.inner_dim).to(x.dtype)
        out = attn.to_out[1](attn.to_out[0](out))
        if len(shape) == 4:
            out = out.transpose(1, 2).reshape(shape)
        if attn.residual_connection:
            out = out + residual
        return out if attn.rescale_output_factor == 1 else out / attn.rescale_output_factor

    def _to_frames(self, attn: Attention, x: torch.Tensor, edit: EditStep | None) -> torch.Tensor:
        """Self-attention, over the frames that `scope` names."""
        query, key, value = (_heads(attn, project(x)) for project in (attn.to_q, attn.to_k, attn.to_v))
        query, key = _qk_norm(attn, query, key)
        frames = edit.frames if edit else 1
        if edit and edit.reads is not None and (self.level is None or self.level >= edit.reads_level):
            key = _read(key, frames, edit.reads)
            if edit.reads_maps:
                query = _read(query, frames, edit.reads)
            else:
                value = _read(value, frames, edit.reads)
        passage = edit.passage if edit else None
        if self.scope != "own" and (frames > 1 or passage):
            rows = (("key", key.unflatten(0, (-1, frames))), ("value", value.unflatten(0, (-1, frames))))
            key, value = (seen(self.scope, (attn, kind), x, passage) for kind, x in rows)
            query = query if self.scope == "sparse" else _fold(query, frames)
        return self._attend(attn, query, key, value)

    def _to_text(self, attn: Attention, x: torch.Tensor, text: torch.Tensor, edit: EditStep | None) -> torch.Tensor:
        """Cross-attention: all frames of a row read its text; some rows take their maps from the source row."""
        if attn.norm_cross:
            text = attn.norm_encoder_hidden_states(text)
        query = _fold(_heads(attn, attn.to_q(x)), len(x) // len(text))
        key, value = _heads(attn, attn.to_k(text)), _heads(attn, attn.to_v(text))
        query, key = _qk_norm(attn, query, key)
        if edit is None:
            return self._attend(attn, query, key, value)
        if edit.weights is not None:
            value = value * edit.weights[:, :, None, None].to(value.dtype)
        gathering = [maps for maps in edit.maps if maps.level == self.level]
        for row, name in edit.watched:
            wanting = [maps for maps in gathering if maps.wants(name)]
            found = attention_map(query[row], key[row], attn.scale) if wanting else None
            for maps in wanting:
                maps.add(name, found, edit.passage.frames[0] if edit.passage else 0)
        taken = {takeover.row: takeover for takeover in edit.takeovers}
        if not taken:
            return self._attend(attn, query, key, value)
        plain = min(taken)
        parts = [self._attend(attn, query[:plain], key[:plain], value[:plain])] if plain else []
        for row in range(plain, len(text)):
            own = slice(row, row + 1)
            if row in taken:
                parts.append(self._take_over(attn, query, key, value, taken[row]))
            else:
                parts.append(self._attend(attn, query[own], key[own], value[own]))
        return torch.cat(parts)

    def _take_over(
        self, attn: Attention, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, take: Takeover
    ) -> torch.Tensor:
        """Prompt-to-Prompt's Replace and Refine (arXiv 2208.01626) for one row, (1, F*N, heads, d).

        The edited maps P_s M diag(a) + P_t diag(1-a) are linear in the source's maps P_s and the row's own P_t, so
        instead of maps their product with the values is formed: the fused kernel runs with the source's queries and
        keys on the mapped values M diag(a) V_t, and with the row's own on diag(1-a) V_t. No map is ever stored.
        """
        own, source = slice(take.row, take.row + 1), slice(take.source, take.source + 1)
        share = take.share.to(value.dtype)[:, None, None]
        mapped = torch.einsum("st,thd->shd", take.mapper.to(value.dtype), share * value[take.row])
        out = self._attend(attn, query[source], key[source], mapped[None])
        if not take.whole:
            out = out + self._attend(attn, query[own], key[own], (1 - share) * value[own])
        return out

    def _attend(self, attn: Attention, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        upcast = attn.upcast_attention or attn.upcast_softmax
        return self.kernel.attend(query, key, value, attn.scale, upcast=upcast)


def attention_map(query: torch.Tensor, key: torch.Tensor, scale: float) -> torch.Tensor:
    """Mean over heads of softmax(query key^T scale), (n, T) in float32; query (n, heads, d), key (T, heads, d)."""
    scores = torch.einsum("nhd,thd->hnt", query.float(), key.float())
    return torch.softmax(scores * scale, dim=-1).mean(0)


def processors_for(
    unet: UNet2DConditionModel, kernel: KernelChoice, frame_attention: str = "own", dense_layers: str = "none"
) -> dict[str, EditAttention]:
    """A processor per attention layer: `frame_attention` everywhere, all frames in the layers `dense_layers` names.

    Raises `EditError` for layers that mix text into self-attention (Kandinsky's and DeepFloyd's kind).
    """
    names = list(unet.attn_processors)
    dense = dense_layer_names(unet, dense_layers)
    for name in names:
        if unet.get_submodule(name.removesuffix(".processor")).added_kv_proj_dim is not None:
            raise EditError(
                "This UNet mixes text into its self-attention, which the editing layers do not support. "
                "Usable are Stable Diffusion 1.x and 2.x checkpoints."
            )
    levels = len(unet.config.block_out_channels)
    return {
        name: EditAttention(kernel, "dense" if name in dense else frame_attention, _level(name, levels))
        for name in names
    }


def dense_layer_names(unet: UNet2DConditionModel, dense_layers: str) -> set[str]:
    """Names in `unet.attn_processors` of the self-attention layers that see all frames: none, all, or the paper's.

    The paper's are three: the first going down, the middle, and the first going up (in SD 1.x that is the second
    block going up, since its first has no attention).
    """
    mine = [n for n in unet.attn_processors if not unet.get_submodule(n.removesuffix(".processor")).is_cross_attention]
    if dense_layers == "all":
        return set(mine)
    if dense_layers == "none":
        return set()
    firsts = (next((n for n in mine if n.startswith(part)), None) for part in ("down_blocks", "mid_block", "up_blocks"))
    return {name for name in firsts if name}


def coarse_level(unet: UNet2DConditionModel, cells: int) -> int:
    """How often the side that the UNet was trained at must be halved to have at most `cells` cells; for 0 never."""
    trained = unet.config.sample_size
    side = trained if isinstance(trained, int) else max(trained)
    return max(0, math.ceil(math.log2(side / cells))) if cells else 0


@contextmanager
def attached(unet: UNet2DConditionModel, processors: Mapping[str, EditAttention]) -> Iterator[None]:
    """Run with these processors; whatever was there comes back, also after an error."""
    before = dict(unet.attn_processors)
    try:
        unet.set_attn_processor(dict(processors))  # a copy: diffusers empties the dict it is given
        yield
    finally:
        unet.set_attn_processor(before)


def _level(name: str, levels: int) -> int | None:
    """How often the resolution was halved before the layer `name`, in a UNet of `levels` levels."""
    block = re.match(r"(down|up)_blocks\.(\d+)\.", name)
    if block is None:
        return None
    return int(block[2]) if block[1] == "down" else levels - 1 - int(block[2])


def _normalised(attn: Attention, x: torch.Tensor, temb: torch.Tensor | None) -> torch.Tensor:
    """The layer's own input norms, and pictures as sequences."""
    if attn.spatial_norm is not None:
        x = attn.spatial_norm(x, temb)
    if x.ndim == 4:
        x = x.flatten(2).transpose(1, 2)
    if attn.group_norm is not None:
        x = attn.group_norm(x.transpose(1, 2)).transpose(1, 2)
    return x


def _qk_norm(attn: Attention, query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer's query and key norms, where it has them."""
    query = query if attn.norm_q is None else attn.norm_q(query)
    return query, key if attn.norm_k is None else attn.norm_k(key)


def _heads(attn: Attention, x: torch.Tensor) -> torch.Tensor:
    """(B, N, heads*d) -> (B, N, heads, d)."""
    return x.unflatten(-1, (attn.heads, -1))


def _fold(x: torch.Tensor, frames: int) -> torch.Tensor:
    """(R*F, N, heads, d) -> (R, F*N, heads, d): the frames of a row as one sequence, without a copy."""
    return x.unflatten(0, (-1, frames)).flatten(1, 2)


def _read(x: torch.Tensor, frames: int, rows: torch.Tensor) -> torch.Tensor:
    """(R*F, N, heads, d) with, for every row, what stands at the row that it reads."""
    return x.unflatten(0, (-1, frames))[rows].flatten(0, 1)

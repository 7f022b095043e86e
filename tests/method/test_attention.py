"""Attention across frames and rows, against its definition written out frame by frame."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from editor.diffusion.kernels import KernelChoice
from editor.events import EditError
from editor.method.attention import EditAttention, EditStep, Takeover, attached, dense_layer_names, processors_for
from editor.method.maps import WordMaps
from editor.method.plan import plan_control
from tests import tiny
from tests.method.runs import ask

PLAIN, SDPA = KernelChoice("plain", ""), KernelChoice("sdpa", "")
EXACT = 1e-10  # float64, sums of a few hundred terms of order one in another order
ROWS, FRAMES, CELLS = 3, 4, 6


@pytest.fixture(scope="module", params=["sd15", "sd21", "demo"])
def unet(request):
    return tiny.unet(request.param).double()


@pytest.fixture(scope="module")
def blocks():
    """The two attention layers of one transformer block, 4 heads: to frames and to text."""
    block = tiny.unet("demo").double().down_blocks[1].attentions[0].transformer_blocks[0]
    return block.attn1, block.attn2


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def explicit(attn, queries, keys, values=None, maps=None):
    """softmax(QK^T)V, head by head, of one frame's hidden states (n, c) and those it looks at (m, c)."""
    width = attn.inner_dim // attn.heads
    q, k = attn.to_q(queries), attn.to_k(keys)
    v = attn.to_v(keys) if values is None else values
    out = []
    for head in range(attn.heads):
        part = slice(head * width, (head + 1) * width)
        weights = torch.softmax(q[:, part] @ k[:, part].T / width**0.5, dim=-1)
        out.append((weights if maps is None else maps(head, weights)) @ v[:, part])
    return attn.to_out[0](torch.cat(out, dim=-1))


def looked_at(scope: str, row: torch.Tensor, frame: int) -> torch.Tensor:
    """The hidden states (m, c) that `frame` of `row` (F, n, c) sees."""
    frames = {
        "own": [frame],
        "first": [0],
        "sparse": [0, max(0, frame - 1)],
        "dense": list(range(len(row))),
    }[scope]
    return torch.cat([row[i] for i in frames])


@pytest.mark.parametrize("kernel", [PLAIN, SDPA], ids=["plain", "sdpa"])
@pytest.mark.parametrize("scope", ["own", "first", "sparse", "dense"])
def test_every_scope_equals_its_explicit_repeat(blocks, scope, kernel):
    attn, _ = blocks
    x = draw(ROWS, FRAMES, CELLS, attn.query_dim)
    found = EditAttention(kernel, scope)(attn, x.flatten(0, 1), edit=EditStep(FRAMES)).view_as(x)
    for row in range(ROWS):
        for frame in range(FRAMES):
            wanted = explicit(attn, x[row, frame], looked_at(scope, x[row], frame))
            assert torch.allclose(found[row, frame], wanted, atol=EXACT)


@pytest.mark.parametrize("scope", ["first", "sparse", "dense"])
def test_one_frame_sees_itself_in_every_scope(blocks, scope):
    attn, _ = blocks
    x = draw(ROWS, CELLS, attn.query_dim)
    own = EditAttention(SDPA)(attn, x, edit=EditStep(1))
    assert torch.allclose(EditAttention(SDPA, scope)(attn, x, edit=EditStep(1)), own, atol=EXACT)


def test_rows_read_the_keys_they_are_told_to(blocks):
    attn, _ = blocks
    x = draw(ROWS, FRAMES, CELLS, attn.query_dim)
    edit = EditStep(FRAMES, reads=torch.tensor([0, 0, 2]))
    found = EditAttention(SDPA, "dense")(attn, x.flatten(0, 1), edit=edit).view_as(x)
    for row, read in enumerate((0, 0, 2)):
        wanted = explicit(attn, x[row].flatten(0, 1), x[read].flatten(0, 1)).view_as(x[row])
        assert torch.allclose(found[row], wanted, atol=EXACT)


@pytest.mark.parametrize("scope", ["own", "first", "sparse", "dense"])
def test_rows_that_read_maps_keep_their_own_values(blocks, scope):
    attn, _ = blocks
    x = draw(ROWS, FRAMES, CELLS, attn.query_dim)
    edit = EditStep(FRAMES, reads=torch.tensor([0, 0, 2]), reads_maps=True)
    found = EditAttention(SDPA, scope)(attn, x.flatten(0, 1), edit=edit).view_as(x)
    for row, read in enumerate((0, 0, 2)):
        for frame in range(FRAMES):
            values = attn.to_v(looked_at(scope, x[row], frame))
            wanted = explicit(attn, x[read, frame], looked_at(scope, x[read], frame), values)
            assert torch.allclose(found[row, frame], wanted, atol=EXACT)


@pytest.mark.parametrize("target", ["a blue watermelon on the road", "a red car on the snow road in a forest"])
def test_replace_and_refine_equal_maps_edited_one_by_one(blocks, target):
    _, attn = blocks
    source = "a red car on the road"
    request = ask(target, word_weights={"road": 1.7})
    plan = plan_control(source, target, request, tiny.tokenizer())
    mapper, share, weights = plan.mapper.double(), plan.share.double(), plan.weights.double()
    x, text = draw(ROWS, FRAMES, CELLS, attn.query_dim), draw(ROWS, 77, tiny.TEXT_WIDTH, seed=1)
    edit = EditStep(
        FRAMES,
        takeovers=(Takeover(2, 0, mapper, share, plan.method == "replace"),),
        weights=torch.stack([torch.ones(77), torch.ones(77), weights]),
    )
    found = EditAttention(SDPA)(attn, x.flatten(0, 1), text, edit=edit).view_as(x)
    width = attn.inner_dim // attn.heads
    for frame in range(FRAMES):
        for row in (0, 1):
            assert torch.allclose(found[row, frame], explicit(attn, x[row, frame], text[row]), atol=EXACT)
        q, k = attn.to_q(x[0, frame]), attn.to_k(text[0])

        def edited(head: int, own: torch.Tensor, q: torch.Tensor = q, k: torch.Tensor = k) -> torch.Tensor:
            part = slice(head * width, (head + 1) * width)
            theirs = torch.softmax(q[:, part] @ k[:, part].T / width**0.5, dim=-1)
            result = torch.zeros_like(own)
            for t in range(77):
                moved = sum(theirs[:, s] * mapper[s, t] for s in range(77) if mapper[s, t])
                result[:, t] = weights[t] * (share[t] * moved + (1 - share[t]) * own[:, t])
            return result

        wanted = explicit(attn, x[2, frame], text[2], maps=edited)
        assert torch.allclose(found[2, frame], wanted, atol=EXACT)


def test_targets_with_and_without_takeover_stand_side_by_side(blocks):
    _, attn = blocks
    x, text = draw(4, FRAMES, CELLS, attn.query_dim), draw(4, 77, tiny.TEXT_WIDTH, seed=1)
    eye, ones = torch.eye(77).double(), torch.ones(77).double()
    both = EditStep(FRAMES, takeovers=(Takeover(2, 0, eye, ones, True), Takeover(3, 0, eye, ones, True)))
    first = EditStep(FRAMES, takeovers=(Takeover(2, 0, eye, ones, True),))
    run = EditAttention(SDPA)
    plain, one, two = (run(attn, x.flatten(0, 1), text, edit=e) for e in (EditStep(FRAMES), first, both))
    plain, one, two = (y.view_as(x) for y in (plain, one, two))
    assert torch.allclose(one[[0, 1, 3]], plain[[0, 1, 3]], atol=EXACT)
    assert torch.allclose(one[2], two[2], atol=EXACT)
    assert not torch.allclose(one[3], two[3], atol=1e-3)


def test_recorded_maps_are_the_mean_softmax_over_heads(blocks):
    _, attn = blocks
    x, text = draw(1, FRAMES, CELLS, attn.query_dim), draw(1, 77, tiny.TEXT_WIDTH, seed=1)
    maps = WordMaps(level=1, size=(4, 6))
    other = WordMaps(level=0, size=(4, 6))
    edit = EditStep(FRAMES, watched=((0, "source"),), maps=(maps, other))
    EditAttention(SDPA, level=2)(attn, x.flatten(0, 1), text, edit=edit)  # another level: not recorded
    assert maps.words("source", (2,)) is None
    for _ in range(2):
        EditAttention(SDPA, level=1)(attn, x.flatten(0, 1), text, edit=edit)
    seen = []
    for frame in range(FRAMES):
        total = []
        explicit(attn, x[0, frame], text[0], maps=lambda head, own, total=total: total.append(own) or own)
        seen.append(torch.stack(total).mean(0))
    found = maps._sums["source"][0] / maps._counts["source", 0]
    assert torch.allclose(found.double(), torch.cat(seen), atol=1e-6)  # maps are float32
    assert other.words("source", (2,)) is None


def test_own_attention_is_that_of_diffusers(unet):
    latents, text = draw(2 * 3, 4, 8, 8), draw(2, 77, tiny.TEXT_WIDTH, seed=1)
    theirs = unet(latents, 500, text.repeat_interleave(3, dim=0)).sample
    with attached(unet, processors_for(unet, SDPA)):
        assert torch.allclose(unet(latents, 500, text).sample, theirs, atol=EXACT)
        edit = EditStep(3, weights=torch.ones(2, 77))
        ours = unet(latents, 500, text, cross_attention_kwargs={"edit": edit}).sample
    assert torch.allclose(ours, theirs, atol=EXACT)


def test_permuting_frames_permutes_a_dense_result(unet):
    latents, text = draw(4, 4, 8, 16), draw(1, 77, tiny.TEXT_WIDTH, seed=1)
    order = torch.tensor([2, 0, 3, 1])
    with attached(unet, processors_for(unet, SDPA, "dense", "all")):
        edit = {"edit": EditStep(4)}
        straight = unet(latents, 500, text, cross_attention_kwargs=edit).sample
        permuted = unet(latents[order], 500, text, cross_attention_kwargs=edit).sample
        assert torch.allclose(permuted, straight[order], atol=EXACT)
    with attached(unet, processors_for(unet, SDPA, "sparse", "none")):
        straight = unet(latents, 500, text, cross_attention_kwargs=edit).sample
        permuted = unet(latents[order], 500, text, cross_attention_kwargs=edit).sample
    assert not torch.allclose(permuted, straight[order], atol=1e-4), "sparse attention knows an order"


def test_the_paper_has_three_dense_layers_on_stable_diffusion():
    unet = tiny.unet("sd15")
    assert dense_layer_names(unet, "paper") == {
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor",
        "mid_block.attentions.0.transformer_blocks.0.attn1.processor",
        "up_blocks.1.attentions.0.transformer_blocks.0.attn1.processor",
    }
    assert dense_layer_names(unet, "none") == set()
    assert len(dense_layer_names(unet, "all")) == 16
    scopes = [p.scope for n, p in processors_for(unet, SDPA, "sparse", "paper").items() if ".attn1." in n]
    assert (scopes.count("dense"), scopes.count("sparse")) == (3, 13)


def test_the_paper_has_three_dense_layers_on_other_layouts(unet):
    assert len(dense_layer_names(unet, "paper")) == 3


def test_processors_come_back_after_an_error(unet):
    before = dict(unet.attn_processors)
    with pytest.raises(RuntimeError, match="stop"), attached(unet, processors_for(unet, SDPA)):
        assert all(isinstance(p, EditAttention) for p in unet.attn_processors.values())
        raise RuntimeError("stop")
    assert unet.attn_processors == before


def test_processors_come_back_when_they_do_not_fit(unet):
    before = dict(unet.attn_processors)
    with pytest.raises(ValueError), attached(unet, {"one": EditAttention(SDPA)}):
        pass
    assert unet.attn_processors == before


def test_unets_that_mix_text_into_self_attention_are_refused():
    unet = UNet2DConditionModel(
        block_out_channels=(8, 8),
        down_block_types=("SimpleCrossAttnDownBlock2D", "DownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("UpBlock2D", "SimpleCrossAttnUpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=8,
    )
    with pytest.raises(EditError, match=r"mixes text into its self-attention.*Stable Diffusion 1.x and 2.x"):
        processors_for(unet, SDPA)

"""The edit: identities that hold whatever the weights, and what each option does."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from editor.diffusion.kernels import SDPA, KernelChoice
from editor.events import Cancelled, EditError
from editor.method import attention, sampling
from editor.method.attention import EditAttention, EditStep, attached, processors_for
from editor.method.branches import planned_evaluations
from editor.method.denoiser import Denoiser, proximal
from editor.method.inversion import Trajectory
from editor.method.maps import LookedFor, map_level
from editor.method.schedule import Schedule
from editor.method.windows import Window, passages, plan_windows
from tests import tiny
from tests.method.runs import SOURCE, ask, run_edit

SWAP, ADDITION = "a blue car on the road", "a red car on the road in the snow"
BARE = {"blend": False, "spatial_pixel_weight": 0.0, "spatial_gradient_weight": 0.0}


def doubled(parts: tiny.Tiny) -> tiny.Tiny:
    """The same components in float64, so that identities show without rounding."""
    parts.unet.double(), parts.text_encoder.double()
    return parts


@pytest.fixture(scope="module")
def parts():
    return tiny.components("demo")


@pytest.fixture(scope="module", params=["sd15", "sd21", "demo"])
def exact(request):
    return doubled(tiny.components(request.param))


@pytest.fixture(scope="module")
def exact_demo():
    return doubled(tiny.components("demo"))


def gap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


# A random eps-predicting network amplifies rounding in every step by its guidance: 1e-16 grows to 1e-10 in 6 steps.
EXACT = 1e-9


@pytest.mark.parametrize("attention", [("own", "none"), ("sparse", "paper"), ("dense", "all"), ("first", "none")])
def test_equal_prompts_give_the_clip_back(exact, attention):
    """k = 1, the source as guidance base: z* exactly, at any guidance and any frame attention."""
    frames, layers = attention
    request = ask(steps=6, guidance_scale=7.5, frame_attention=frames, dense_layers=layers, **BARE)
    run = run_edit(exact, request, exact.latents(3))
    assert gap(run.sampled.latents[0], run.trajectory.clean) < EXACT


@pytest.mark.parametrize(
    "values",
    [
        {"guidance_scale": 20.0, "guidance_stop": 0.5},
        {"self_attention": "source_kv", "self_attention_window": (0.2, 0.8)},
        {"self_attention": "source_maps", "self_attention_window": (0.2, 0.8)},
        {"inversion_prompt": "empty"},
        {"replace_window": 0.0},
        {"as_published": True},
        {"inversion": "virtual"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_equal_prompts_give_the_clip_back_with_every_option(exact_demo, values):
    request = ask(steps=6, frame_attention="dense", dense_layers="all", **BARE, **values)
    run = run_edit(exact_demo, request, exact_demo.latents(2))
    assert gap(run.sampled.latents[0], run.trajectory.clean) < EXACT


def test_without_the_residual_the_clip_drifts(exact_demo):
    """The identity above is not vacuous: each of its conditions is needed."""
    for values in ({"residual": 0.0}, {"guidance_base": "empty"}, {"residual_window": (0.0, 0.5)}):
        request = ask(steps=6, frame_attention="dense", dense_layers="all", **BARE, **values)
        run = run_edit(exact_demo, request, exact_demo.latents(2))
        assert gap(run.sampled.latents[0], run.trajectory.clean) > 1e-2


def test_equal_prompts_keep_both_rows_of_the_paper_equal(exact):
    request = replace(ask(preset="paper"), steps=4)
    run = run_edit(exact, request, exact.latents(2))
    assert gap(run.sampled.latents[0], run.sampled.source) < EXACT
    assert gap(run.sampled.source, run.trajectory.clean) > 1e-3, "the published source row drifts"


def test_other_words_lead_elsewhere(parts):
    request = ask(SWAP, ADDITION, steps=6, **BARE)
    run = run_edit(parts, request, parts.latents(2))
    first, second = run.sampled.latents
    assert gap(first, run.trajectory.clean) > 1e-2
    assert gap(first, second) > 1e-2


def source_row(parts: tiny.Tiny, request, monkeypatch) -> list[torch.Tensor]:
    """The noise that the network finds in the source row at each step."""
    seen = []
    original = sampling.Denoiser.eps

    def listening(self, step, latents, embeddings, edit=None):
        eps = original(self, step, latents, embeddings, edit)
        if edit is not None:
            seen.append(eps[0])
        return eps

    monkeypatch.setattr(sampling.Denoiser, "eps", listening)
    run_edit(parts, request, parts.latents(3))
    monkeypatch.undo()
    return seen


@pytest.mark.parametrize(("inversion", "taken"), [("pinned", "source_kv"), ("ddim", "source_maps")])
def test_nothing_flows_from_target_to_source(exact_demo, monkeypatch, inversion, taken):
    values = {
        "steps": 5,
        "inversion": inversion,
        "frame_attention": "dense",
        "dense_layers": "all",
        "self_attention": taken,
        "self_attention_window": (0.0, 1.0),
        "replace_window": 1.0,
        "refine_window": 1.0,
    }
    one = source_row(exact_demo, ask(SWAP, **values), monkeypatch)
    other = source_row(exact_demo, ask("a big dog in the snow at night", **values), monkeypatch)
    assert len(one) == len(other) == 5
    for a, b in zip(one, other, strict=True):
        assert gap(a, b) < EXACT


LATE_MAPS = {"self_attention": "source_maps", "self_attention_window": (0.5, 0.8)}


def test_rows_that_are_not_run_would_have_changed_nothing(exact_demo, monkeypatch):
    """Branch scheduling against all rows to the end: the same targets for less work."""
    monkeypatch.setattr(sampling, "clip_norms", lambda *args: nullcontext())  # of what is published only the rows
    for values in (
        {"inversion": "ddim", "guidance_base": "empty"},
        {"inversion": "ddim", "guidance_base": "source"},
        {"inversion": "pinned", "residual": 0.0},
        {"residual_window": (0.7, 1.0), "replace_window": 0.2, "refine_window": 0.2, "kept_window": 0.0},
        {"inversion": "pinned", "residual": 0.0, "replace_window": 0.2, "refine_window": 0.2, **LATE_MAPS},
        {"inversion": "ddim", "guidance_base": "empty", **LATE_MAPS},
    ):
        request = ask(SWAP, ADDITION, steps=6, **values)
        run = run_edit(exact_demo, request, exact_demo.latents(2))
        full = run_edit(exact_demo, replace(request, as_published=True), exact_demo.latents(2))
        assert gap(run.sampled.latents, full.sampled.latents) < EXACT
        assert run.evaluations < full.evaluations


@pytest.mark.parametrize("taken", ["own", "source_kv", "source_maps"])
def test_targets_share_a_source_row_and_do_not_disturb_each_other(exact_demo, taken):
    """With source_maps the added place, another shape, keeps its own maps beside a colour that takes the source's."""
    both = ask(SWAP, ADDITION, steps=5, self_attention=taken)
    together = run_edit(exact_demo, both, exact_demo.latents(2))
    for index, target in enumerate(both.targets):
        alone = run_edit(exact_demo, replace(both, targets=(target,)), exact_demo.latents(2))
        assert gap(together.sampled.latents[index], alone.sampled.latents[0]) < EXACT
        assert together.evaluations < 2 * alone.evaluations


def test_away_from_the_empty_prompt_a_negative_prompt_takes_its_place(exact_demo):
    common = {"steps": 4, "residual": 0.5, **BARE}
    latents = exact_demo.latents(2)
    source_base = run_edit(exact_demo, ask(SWAP, guidance_base="source", **common), latents)
    negative = run_edit(exact_demo, ask(SWAP, guidance_base="empty", negative_prompt=SOURCE, **common), latents)
    assert gap(source_base.sampled.latents, negative.sampled.latents) < EXACT
    assert source_base.evaluations == negative.evaluations


def test_away_from_the_source_a_negative_prompt_adds_its_push(exact_demo):
    """One step, so that the formula can be written out: eps_s + w (eps_t - eps_s) - n (eps_neg - eps_empty)."""
    latents = exact_demo.latents(2)
    common = {"steps": 1, "residual": 0.0, "replace_window": 0.0, "dense_layers": "paper", **BARE}

    def outcome(**values):
        return run_edit(exact_demo, ask(SWAP, **common, **values), latents)

    plain, pushed = outcome(), outcome(negative_prompt="snow", negative_scale=0.5)
    schedule = Schedule.from_scheduler(exact_demo.scheduler, 1)
    start = plain.trajectory.noisiest[None]
    with attached(exact_demo.unet, processors_for(exact_demo.unet, SDPA, "sparse", "paper")):
        avoided, empty = (
            Denoiser(exact_demo.unet, schedule).eps(0, start, exact_demo.embed(text), EditStep(2))
            for text in ("snow", "")
        )
    push = 0.5 * 7.5 * (avoided - empty)
    expected = plain.sampled.latents - (schedule.step(0, start, push) - schedule.step(0, start, 0 * push))
    assert gap(push, 0 * push) > 1e-3
    assert gap(pushed.sampled.latents, expected) < EXACT
    assert pushed.sampled.unet_evaluations == plain.sampled.unet_evaluations + 2


def test_equal_prompts_give_the_clip_back_whatever_is_to_be_avoided(exact_demo):
    request = ask(SOURCE, SWAP, steps=4, negative_prompt="snow", word_weights={"blue": 2.0}, **BARE)
    run = run_edit(exact_demo, request, exact_demo.latents(2))
    assert gap(run.sampled.latents[0], run.trajectory.clean) < EXACT
    alone = run_edit(exact_demo, replace(request, targets=(SWAP,)), exact_demo.latents(2))
    assert gap(run.sampled.latents[1], alone.sampled.latents[0]) < EXACT


def test_guidance_stops_where_it_is_told_to(exact_demo):
    latents = exact_demo.latents(1)
    never = run_edit(exact_demo, ask(SWAP, steps=4, guidance_stop=0.0), latents)
    scale_one = run_edit(exact_demo, ask(SWAP, steps=4, guidance_scale=1.0), latents)
    half = run_edit(exact_demo, ask(SWAP, steps=4, guidance_stop=0.5), latents)
    assert gap(never.sampled.latents, scale_one.sampled.latents) < EXACT
    assert gap(never.sampled.latents, half.sampled.latents) > 1e-3
    assert half.sampled.unet_evaluations == 2 * 3 + 2 * 2


def test_the_smallest_differences_are_not_guided():
    difference = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    difference[1] *= 100  # each target by its own measure
    kept = proximal(difference, 0.7)
    for before, after in zip(difference, kept, strict=True):
        share = float((after != 0).float().mean())
        assert share == pytest.approx(0.3, abs=0.002)  # one value in 768
        assert before[after == 0].abs().max() <= after[after != 0].abs().min()
        assert torch.equal(after[after != 0], before[after != 0])
    assert torch.equal(proximal(difference, 0.0), difference)


def test_equal_prompts_give_the_clip_back_with_the_numbers_of_photo(exact_demo):
    """But for the residual, which photo gives on the first half only."""
    request = replace(ask(preset="balanced", model="sd15", residual_window=(0.0, 1.0)), steps=6, **BARE)
    assert request.guidance_scale == 7.5 and request.guidance_quantile == 0.7
    run = run_edit(exact_demo, request, exact_demo.latents(2))
    assert gap(run.sampled.latents[0], run.trajectory.clean) < EXACT


def test_a_shape_that_changes_is_given_its_own_part_of_the_residual(exact_demo):
    latents = exact_demo.latents(2)
    runs = {
        (target, share): run_edit(exact_demo, ask(target, steps=3, shape_residual=share), latents).sampled.latents
        for target in (SWAP, "a red dog on the road")
        for share in (0.0, 1.0)
    }
    assert torch.equal(runs[SWAP, 0.0], runs[SWAP, 1.0]), "a colour keeps it"
    assert gap(runs["a red dog on the road", 0.0], runs["a red dog on the road", 1.0]) > 1e-3


def test_fine_layers_keep_their_own_self_attention(exact_demo):
    """The demo layout's UNet is trained at 8 cells: its levels have 8, 4 and 2."""
    latents = exact_demo.latents(2)

    def taken(cells):
        request = ask(SWAP, steps=3, self_attention="source_maps", self_attention_cells=cells)
        return run_edit(exact_demo, request, latents).sampled.latents

    own = run_edit(exact_demo, ask(SWAP, steps=3, self_attention="own"), latents).sampled.latents
    assert gap(taken(8), taken(0)) < EXACT
    assert gap(taken(4), taken(0)) > 1e-4 and gap(taken(4), own) > 1e-4


@pytest.mark.parametrize("steps", [7, 20])
def test_null_text_is_used_exactly_on_its_steps(parts, monkeypatch, steps):
    used = []
    original = sampling.Denoiser.eps

    def listening(self, step, latents, embeddings, edit=None):
        if edit is not None:
            used.append((step, embeddings))
        return original(self, step, latents, embeddings, edit)

    monkeypatch.setattr(sampling.Denoiser, "eps", listening)
    request = ask(SWAP, preset="paper", steps=steps)
    run = run_edit(parts, request, parts.latents(1))
    empty = parts.embed("")
    assert [step for step, _ in used] == list(range(steps))
    for step, embeddings in used:
        source, source_base, base, text = embeddings
        assert torch.equal(source_base, base)
        assert torch.equal(base, run.null_text.embeddings[step][0])
        assert torch.equal(base[None], empty) == (2 * step < steps)
        assert torch.equal(source[None], parts.embed(SOURCE))
        assert torch.equal(text[None], parts.embed(SWAP))


def test_word_weights_act_on_the_named_word_only(exact_demo):
    latents = exact_demo.latents(1)
    request = ask(SWAP, steps=3)
    plain = run_edit(exact_demo, request, latents).sampled.latents
    ones = run_edit(exact_demo, replace(request, word_weights={"blue": 1.0}), latents).sampled.latents
    strong = run_edit(exact_demo, replace(request, word_weights={"blue": 4.0}), latents).sampled.latents
    assert gap(plain, ones) < EXACT
    assert gap(plain, strong) > 1e-3


@pytest.mark.parametrize(("frames", "size"), [(1, (8, 8)), (2, (4, 20)), (5, (12, 8))])
@pytest.mark.parametrize("preset", ["paper", "balanced", "fast"])
def test_any_frame_count_and_aspect(parts, preset, frames, size):
    latents = torch.randn(frames, 4, *size, generator=torch.Generator().manual_seed(0))
    request = ask(SWAP, preset=preset, steps=3)
    run = run_edit(parts, request, latents)
    assert run.sampled.latents.shape == (1, frames, 4, *size)
    assert torch.isfinite(run.sampled.latents).all()


def test_sides_that_do_not_halve_evenly_still_run(exact_demo):
    latents = torch.randn(2, 4, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    run = run_edit(exact_demo, ask(SWAP, steps=2), latents)
    assert run.sampled.latents.shape == (1, 2, 4, 7, 9)


def test_each_step_is_told_and_may_stop_the_run(parts):
    heard = []

    def listen(done: int, steps: int, guess: torch.Tensor) -> None:
        heard.append((done, steps, tuple(guess.shape)))
        if done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        run_edit(parts, ask(SWAP, ADDITION, steps=5), parts.latents(2), on_step=listen)
    assert heard == [(done, 5, (2, 2, 4, 8, 8)) for done in (1, 2, 3)]
    assert not any(isinstance(p, EditAttention) for p in parts.unet.attn_processors.values())


def test_the_last_guess_is_the_result(parts):
    guesses = []
    run = run_edit(
        parts, ask(SWAP, steps=5), parts.latents(2), on_step=lambda done, steps, guess: guesses.append(guess)
    )
    # at the last level one part in a thousand is noise
    assert gap(guesses[-1], run.sampled.latents) < 0.2
    assert gap(guesses[0], run.sampled.latents) > gap(guesses[-1], run.sampled.latents)


def test_overflow_is_an_error_that_names_the_cause(parts):
    request = ask(SWAP, steps=3)
    good = run_edit(parts, request, parts.latents(1)).trajectory
    bad = good.latents.clone()
    bad[1, 0, 0, 0, 0] = float("inf")
    with pytest.raises(EditError, match=r"NaN.*guidance scale"):
        run_edit(parts, request, parts.latents(1), trajectory=Trajectory(bad, 3.0))


def test_parts_that_do_not_belong_together_are_refused(parts):
    trajectory = run_edit(parts, ask(SWAP, steps=3), parts.latents(1)).trajectory
    with pytest.raises(ValueError, match="steps differ"):
        run_edit(parts, ask(SWAP, steps=4), parts.latents(1), trajectory=trajectory)
    with pytest.raises(ValueError, match="spatial"):
        run_edit(parts, ask(SWAP, steps=3, spatial_pixel_weight=1.0), parts.latents(1))


@pytest.mark.parametrize(
    "values",
    [
        {"preset": "paper", "steps": 6},
        {"preset": "balanced"},
        {"preset": "fast"},
        {"inversion": "ddim", "steps": 5, "self_attention": "source_kv"},
        {"inversion": "ddim", "steps": 5, "self_attention": "source_maps", "self_attention_window": (0.0, 0.9)},
        {"inversion": "null_text", "guidance_base": "empty", "steps": 6, "guidance_stop": 1.0},
        {"residual": 0.0, "steps": 6, "refine_window": 0.3, "blend": False},
        {"negative_prompt": "snow", "steps": 5, "guidance_stop": 0.5},
        {"inversion": "virtual", "steps": 6},
    ],
)
def test_the_work_done_is_the_work_planned(parts, values):
    request = ask(SWAP, ADDITION, **values)
    run = run_edit(parts, request, parts.latents(2))
    planned = planned_evaluations(request, run.plans)
    assert run.trajectory.unet_evaluations == planned["invert"]
    assert run.sampled.unet_evaluations == planned["edit"]
    assert (run.null_text.unet_evaluations if run.null_text else 0) == pytest.approx(planned["null_text"], abs=1e-3)


def test_the_kernel_makes_no_difference(exact_demo):
    request, latents = ask(SWAP, ADDITION, steps=3), exact_demo.latents(2)
    plain, sdpa = (run_edit(exact_demo, request, latents, kernel=KernelChoice(k, "")) for k in ("plain", "sdpa"))
    assert gap(plain.sampled.latents, sdpa.sampled.latents) < EXACT


# --- frames in windows


def test_windows_hold_whole_shots_or_parts_of_one():
    shots = (0,) * 3 + (1,) * 4 + (2,) * 10 + (3,) * 1 + (4,) * 5
    windows = plan_windows(shots, 6, anchors=3)
    assert [(w.start, w.stop) for w in windows] == [(0, 3), (3, 7), (7, 12), (12, 17), (17, 23)]
    assert [w.anchors for w in windows] == [(), (), (7, 11, 16), (7, 11, 16), ()]
    assert [w.leads for w in windows] == [False, False, True, False, False]
    assert plan_windows(shots, 23) == (Window(0, 23),), "what fits is one window"
    assert [w.stop - w.start for w in plan_windows((0,) * 10, 1, anchors=3)] == [1] * 10
    with pytest.raises(ValueError, match="holds nothing"):
        plan_windows(shots, 0)


def test_what_is_free_goes_back_before_every_window(monkeypatch):
    calls = []
    monkeypatch.setattr("editor.method.windows.give_back", lambda: calls.append("freed"))
    for _ in passages(plan_windows((0,) * 10, 4, anchors=2)):
        calls.append("window")
    assert calls == ["freed", "window"] * 4, "the anchors and three windows"


@pytest.mark.parametrize(
    "values",
    [
        {"frame_attention": "sparse"},
        {"frame_attention": "first"},
        {"frame_attention": "own"},
        {"frame_attention": "sparse", "self_attention": "source_maps", "blend": True, "blend_region": "attention"},
        {"frame_attention": "sparse", "self_attention": "source_kv", "inversion": "ddim", "guidance_base": "empty"},
        {"frame_attention": "sparse", "guidance_quantile": 0.7, "negative_prompt": "snow"},
    ],
    ids=lambda values: "-".join(map(str, values.values())),
)
@pytest.mark.parametrize("size", [1, 3])
def test_attention_to_the_first_and_the_previous_frame_is_the_same_in_windows(exact_demo, values, size):
    request = ask(SWAP, ADDITION, **{"steps": 4, "dense_layers": "none", "blend_start": 0.2, **values})
    latents, heard = exact_demo.latents(7), []
    whole = run_edit(exact_demo, request, latents)
    windows = plan_windows((0, 0, 0, 0, 0, 1, 1), size)
    parted = run_edit(exact_demo, request, latents, windows=windows, on_step=lambda done, *_: heard.append(done))
    # anchors pass too where a shot is split, though no layer asks for them here
    assert gap(parted.sampled.latents, whole.sampled.latents) < EXACT
    assert heard == [1, 2, 3, 4]
    for mine, theirs in zip(parted.sampled.masks, whole.sampled.masks, strict=True):
        assert mine is theirs is None or torch.equal(mine, theirs)


@pytest.mark.parametrize("scope", ["sparse", "dense"])
@pytest.mark.parametrize("layers", ["paper", "all"])
def test_all_frames_as_anchors_are_dense_attention(exact_demo, scope, layers):
    request = ask(SWAP, steps=3, frame_attention=scope, dense_layers=layers, **BARE)
    latents = exact_demo.latents(5)
    whole = run_edit(exact_demo, request, latents)
    everything = tuple(Window(*part, tuple(range(5)), leads=part[0] == 0) for part in ((0, 2), (2, 4), (4, 5)))
    assert (
        gap(run_edit(exact_demo, request, latents, windows=everything).sampled.latents, whole.sampled.latents) < EXACT
    )
    some = plan_windows((0,) * 5, 2, anchors=2)
    found = run_edit(exact_demo, request, latents, windows=some)
    assert gap(found.sampled.latents, whole.sampled.latents) > 1e-6, "fewer anchors show less"
    per_frame = whole.sampled.unet_evaluations
    assert found.sampled.unet_evaluations == pytest.approx(per_frame * 7 / 5, abs=1e-3), "two anchors pass once more"


def test_equal_prompts_give_the_clip_back_in_windows(exact_demo):
    request = ask(steps=5, frame_attention="sparse", dense_layers="paper", **BARE)
    run = run_edit(exact_demo, request, exact_demo.latents(6), windows=plan_windows((0,) * 6, 2, anchors=2))
    assert gap(run.sampled.latents[0], run.trajectory.clean) < EXACT


# --- where each word was looked for

NEW = "a blue watermelon on the road"  # "watermelon" has several tokens


@pytest.mark.parametrize(("preset", "layout"), [("balanced", "demo"), ("fast", "sd15"), ("paper", "demo")])
def test_asking_for_word_maps_changes_no_bit_of_the_edit(preset, layout):
    parts = tiny.components(layout)
    values = {"steps": 4, "swap_steps": 0}
    off, on = (
        run_edit(parts, ask(NEW, ADDITION, preset=preset, word_maps=asked, **values), parts.latents(3)).sampled
        for asked in (False, True)
    )
    assert torch.equal(on.latents, off.latents) and on.unet_evaluations == off.unet_evaluations
    assert on.notes == off.notes
    for mine, theirs in zip(on.masks, off.masks, strict=True):
        assert mine is theirs is None or torch.equal(mine, theirs)
    assert off.word_maps == (LookedFor(), LookedFor())
    assert [[word for word, _ in found.target] for found in on.word_maps] == [NEW.split(), ADDITION.split()]
    assert all([word for word, _ in found.source] == SOURCE.split() for found in on.word_maps)


def test_no_map_is_formed_that_nobody_asked_for(parts, monkeypatch):
    monkeypatch.setattr(attention, "attention_map", lambda *_: pytest.fail("a map was formed"))
    run_edit(parts, ask(SWAP, steps=2, word_maps=False, **BARE), parts.latents(2))


def explicit_maps(parts: tiny.Tiny, request, trajectory: Trajectory, row: int) -> torch.Tensor:
    """(F, h, w, T): the mean over steps, layers and heads of one level of softmax(QK^T) in a row of a run's batch."""
    unet, size, seen = parts.unet, trajectory.clean.shape[-2:], []
    level = map_level(unet, size)
    blocks = (unet.down_blocks[level], unet.up_blocks[len(unet.up_blocks) - 1 - level])

    def note(attn, given, named):
        x, text = given[0] if given else named["hidden_states"], named["encoder_hidden_states"]
        rows = x.unflatten(0, (len(text), -1))
        width = attn.inner_dim // attn.heads
        q, k = attn.to_q(rows[row]), attn.to_k(text[row])
        heads = [slice(n * width, (n + 1) * width) for n in range(attn.heads)]
        seen.append(sum(torch.softmax(q[..., n] @ k[:, n].T / width**0.5, -1) for n in heads) / attn.heads)

    layers = [m for block in blocks for name, m in block.named_modules() if name.endswith("attn2")]
    hooks = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
    run_edit(parts, request, trajectory.clean, trajectory=trajectory)
    for hook in hooks:
        hook.remove()
    return torch.stack(seen).mean(0).unflatten(1, [side // 2**level for side in size])


@pytest.mark.parametrize("row", [0, 2])
def test_word_maps_are_what_explicit_attention_gives(exact, row):
    """Rows of this run: the source, the target's base, the target."""
    latents = exact.latents(2, 16)
    still = Trajectory(latents.expand(4, *latents.shape), 0.0)
    request = ask(NEW, steps=3, guidance_stop=1.0, word_maps=True)
    (found,) = run_edit(exact, request, latents, trajectory=still).sampled.word_maps
    wanted = explicit_maps(exact, request, still, row)
    words = found.target if row else found.source
    assert [word for word, _ in words] == (NEW if row else SOURCE).split()
    at = 1
    for word, maps in words:
        count = len(exact.tokenizer(word, add_special_tokens=False).input_ids)
        assert maps.shape == wanted.shape[:3]
        assert gap(maps, wanted[..., at : at + count].sum(-1)) < 1e-6, word  # maps are formed in float32
        at += count
    assert at > 1 + len(words) or not row, "some word has several tokens"


def test_word_maps_gather_over_windows(exact_demo):
    request = ask(NEW, steps=3, frame_attention="sparse", dense_layers="none", word_maps=True, **BARE)
    latents = exact_demo.latents(7)
    whole, parted = (
        run_edit(exact_demo, request, latents, windows=windows).sampled.word_maps[0]
        for windows in ((), plan_windows((0,) * 5 + (1, 1), 3))
    )
    for mine, theirs in zip((*parted.source, *parted.target), (*whole.source, *whole.target), strict=True):
        assert mine[0] == theirs[0] and mine[1].shape[0] == 7 and gap(mine[1], theirs[1]) < 1e-6


def test_words_that_the_model_does_not_read_have_no_map(parts):
    request = ask(f"{SOURCE} " + "snow " * 90, steps=1, word_maps=True)
    (found,) = run_edit(parts, request, parts.latents(1)).sampled.word_maps
    assert len(found.target) == parts.tokenizer.model_max_length - 2

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTokenizer

from editor.demo.components import make_scheduler, make_text_encoder, make_unet, widen
from editor.demo.dataset import training_frames, training_masks, training_moments
from editor.demo.loop import Run, decay
from editor.demo.model import FOLDER, DemoModel
from editor.demo.train_lora import neon, train_lora
from editor.demo.train_unet import PEAK, PEAK_AGAIN, _batches, _mark, _start, cell_shares, unet_loss
from editor.demo.vocabulary import Scene
from editor.demo.world import render_at
from editor.diffusion.lora import add_loras


def unet(*widths):
    torch.manual_seed(len(widths) + widths[0])
    return UNet2DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=widths,
        layers_per_block=1,
        attention_head_dim=tuple(w // 32 for w in widths),
        cross_attention_dim=16,
        norm_num_groups=16,
    ).eval()


@torch.no_grad()
def outputs(*nets):
    generator = torch.Generator().manual_seed(0)
    z, words = torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, 5, 16, generator=generator)
    return [net(z, torch.tensor([1, 400, 900]), encoder_hidden_states=words).sample for net in nets]


def test_a_unet_of_doubled_widths_computes_what_the_old_one_did():
    narrow = unet(32, 64)
    before, after, elsewhere = outputs(narrow, widen(narrow, unet(64, 128)), unet(64, 128))
    assert torch.allclose(before, after, atol=1e-5)  # sums of the same numbers in another order
    assert not torch.allclose(before, elsewhere, atol=1e-2)


def test_the_copies_of_a_channel_are_read_with_different_weights():
    """Equal ones would get equal gradients and stay copies for ever."""
    weight = widen(unet(32, 64), unet(64, 128)).conv_out.weight
    assert (weight[:, 0::2] - weight[:, 1::2]).abs().min() > 0


def test_unequal_widening_stays_near():
    narrow = unet(32, 64)
    before, after, elsewhere = outputs(narrow, widen(narrow, unet(64, 96)), unet(64, 96))
    assert (before - after).square().mean() < 0.1 * (before - elsewhere).square().mean()


@pytest.mark.parametrize("widths", [(32, 32), (96, 64)])
def test_narrower_and_unfit_widths_are_refused(widths):
    with pytest.raises(ValueError, match="cannot widen"):
        widen(unet(64, 64), unet(*widths))


def test_a_finished_net_is_trained_once_more_at_half_the_rate():
    model = DemoModel.load(FOLDER)
    unet, text, peak = _start(make_unet(), make_text_encoder(model.tokenizer), FOLDER)
    assert peak == PEAK_AGAIN < PEAK == _start(make_unet(), text, None)[2]
    assert all(torch.equal(a, b) for a, b in zip(unet.parameters(), model.unet.parameters(), strict=True))


def test_masks_belong_to_the_frames(tmp_path):
    frames, masks = training_frames(3, tmp_path), training_masks(3, tmp_path)
    for (scene, time, _), frame, mask in zip(training_moments(3), frames, masks, strict=True):
        drawn, touched, _ = render_at(scene, [time])
        assert np.array_equal(frame, drawn[0])
        assert np.array_equal(mask, touched[0])


def test_a_cells_share_is_the_mean_over_its_pixels():
    mask = np.zeros((1, 8, 8), bool)
    mask[0, :4, :4] = True
    mask[0, 4, 4] = True
    assert cell_shares(mask).tolist() == [[[1.0, 0.0], [0.0, 0.0625]]]


def test_in_each_round_a_frame_comes_as_often_as_it_should():
    numbers = np.arange(24.0).reshape(24, 1)
    tokenizer = CLIPTokenizer.from_pretrained(FOLDER / "tokenizer")
    times = [2] * 8 + [1] * 16  # 32 in a round: two batches
    batches = _batches(numbers, numbers, torch.zeros(24, 1, 77, dtype=torch.long), times, tokenizer, "cpu", seed=0)
    seen = torch.cat([next(batches)[0] for _ in range(2)]).flatten().long()
    assert torch.bincount(seen).tolist() == times


def test_other_weights_are_trained_in_another_order():
    net, other = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    other.load_state_dict(net.state_dict())
    assert _mark({"net": net}) == _mark({"net": other})
    other.weight.data[0, 0] += 0.1 * other.weight.data[0, 0].sign()
    assert _mark({"net": net}) != _mark({"net": other})


def test_the_loss_counts_the_subject_more():
    """A net whose error lies on the subject alone loses more with the weight than without, and less elsewhere."""
    z0, ids = torch.zeros(2, 4, 4, 4), torch.zeros(2, 77, dtype=torch.long)
    scheduler, left = make_scheduler(), torch.zeros(2, 4, 4)
    left[..., :2] = 1.0

    class WrongAtTheLeft(torch.nn.Module):
        def forward(self, noisy, t, encoder_hidden_states):
            signal = scheduler.alphas_cumprod[t][:, None, None, None]
            true = noisy * (signal / (1 - signal)).sqrt()  # of an all-zero z0 the velocity is this share of the noise
            true[..., :2] += 1.0
            return type("Output", (), {"sample": true})

    def text(ids):
        return type("Output", (), {"last_hidden_state": None})

    def loss(mask, weight):
        return float(
            unet_loss(WrongAtTheLeft(), text, scheduler, z0, mask, ids, weight, torch.Generator().manual_seed(0))
        )

    assert loss(left, 1.0) == pytest.approx(0.5, rel=1e-4)
    assert loss(left, 3.0) == pytest.approx(0.75, rel=1e-4)  # 3 of 4 parts of the weight
    assert loss(1 - left, 3.0) == pytest.approx(0.25, rel=1e-4)


def test_the_weight_of_the_subject_and_the_rate_fall_together():
    assert [decay(part) for part in (0.0, 0.5, 1.0)] == [1.0, 1.0, 0.0]
    assert 0 < decay(0.9) < decay(0.7) < 1


def test_a_resumed_run_has_its_weights_average_and_clock(tmp_path):
    def run():
        torch.manual_seed(0)
        return Run(tmp_path, {"net": torch.nn.Linear(2, 1)}, minutes=1)

    first = run()
    for _ in range(5):
        first._take_step(first.modules["net"](torch.ones(1, 2)).square().mean(), 0.1)
    first.save()
    second = run()
    second.resume()
    live = second.modules["net"].weight.clone()
    assert second.step == 5
    assert torch.equal(live, first.modules["net"].weight)
    with second.averaged():
        assert not torch.equal(second.modules["net"].weight, live)
    assert torch.equal(second.modules["net"].weight, live)


def test_a_lora_is_written_small_and_changes_the_model(tmp_path):
    picture = render_at(Scene("car", "red", "road", seed=11), [0.4])[0][0]
    signed = neon(picture)
    assert signed.mean() < 0.75 * picture.mean() and signed.max() > 230  # dark walls, bright tubes
    file = train_lora(tmp_path / "work", FOLDER, 0.05, 32, "cpu", tmp_path / "neon.safetensors")
    assert file.stat().st_size < 1_000_000
    plain, taught = (DemoModel.load() for _ in range(2))
    parts = {"unet": taught.unet, "text_encoder": taught.text, "vae": taught.vae, "tokenizer": taught.tokenizer}
    assert "neon sha256:" in add_loras({**parts, "scheduler": make_scheduler()}, {"neon": 1.0}, tmp_path)[0]
    changed = [
        n
        for n, (a, b) in enumerate(zip(plain.unet.parameters(), taught.unet.parameters(), strict=True))
        if not torch.equal(a, b)
    ]
    assert len(changed) > 40

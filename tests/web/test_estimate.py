"""What an edit is expected to cost, and how the machine's speed is remembered."""

import pytest

from editor.request import PRESETS, EditRequest
from editor.web.estimate import Pace, evaluations, memory_gb, planned


def asking(preset="balanced", **values):
    return EditRequest.from_preset(
        preset, source="a red car on the road", targets=values.pop("targets", ("a blue car on the road",)), **values
    )


def test_the_paper_costs_most_and_fast_least():
    cost = {name: evaluations(asking(name), 8) for name in PRESETS}
    assert min(cost, key=cost.get) == "fast" and max(cost, key=cost.get) == "paper"


@pytest.mark.parametrize("taken", ["source_kv", "source_maps"])
def test_a_source_row_that_only_self_attention_reads_is_counted(taken):
    def edit(**values):
        return planned(asking(**values))["edit"]

    assert edit(self_attention=taken) == edit(self_attention="own"), "the residual reads that row to the end anyway"
    for values in ({"residual": 0.0}, {"inversion": "ddim"}):
        assert edit(self_attention=taken, **values) > edit(self_attention="own", **values)


def test_a_second_target_costs_less_than_a_second_job():
    one, two = asking(), asking(targets=("a blue car on the road", "a green car on the road"))
    assert evaluations(one, 8) < evaluations(two, 8) < 2 * evaluations(one, 8)


def test_a_reused_inversion_costs_nothing_again():
    assert evaluations(asking(), 8, reused=True) == 8 * planned(asking())["edit"]


def test_the_first_numbers_are_called_a_guess_and_later_ones_are_not(tmp_path):
    pace = Pace(tmp_path)
    assert not pace.cost(asking(), 8).measured
    pace.learn("job", asking(), 8, seconds=20.0, reused=False)
    cost = pace.cost(asking(), 8)
    assert cost.measured and cost.seconds == pytest.approx(20.0)
    assert Pace(tmp_path).cost(asking(), 8) == cost  # it is kept on disk


def test_one_job_is_learned_from_once(tmp_path):
    pace = Pace(tmp_path)
    for _ in range(3):
        pace.learn("job", asking(), 8, seconds=20.0, reused=False)
    pace.learn("job", asking(), 8, seconds=40.0, reused=False)
    assert pace.cost(asking(), 8).seconds == pytest.approx(20.0)
    pace.learn("another", asking(), 8, seconds=40.0, reused=False)
    assert pace.cost(asking(), 8).seconds == pytest.approx(30.0)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_times_teach_nothing(tmp_path, seconds):
    pace = Pace(tmp_path)
    pace.learn("job", asking(), 8, seconds=seconds, reused=False)
    assert not pace.cost(asking(), 8).measured


@pytest.mark.parametrize("content", ["", "[]", "{", '{"demo@own": "fast"}', '{"demo@own": -1}'])
def test_a_damaged_memory_starts_anew(tmp_path, content):
    (tmp_path / "pace.json").write_text(content)
    assert not Pace(tmp_path).cost(asking(), 8).measured


@pytest.mark.parametrize(("frames", "targets", "counted"), [(8, 1, 3.4), (16, 1, 5.0), (32, 1, 8.3), (16, 4, 11.6)])
def test_memory_is_what_was_counted_on_the_true_shape_of_stable_diffusion(frames, targets, counted):
    """In half precision at 512 x 512; text encoder, VAE and safety checker take 2 GB beside."""
    asked = asking(model="sd15", targets=("a blue car on the road",) * targets)
    assert memory_gb(asked, frames, half=True) - 2 == pytest.approx(counted, rel=0.05)

"""Steps, size and decoder: what a request fixes is kept, what it leaves open is chosen to be in time."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engines.paint.plan import (
    LARGEST_PX,
    MOST_STEPS,
    SHRINK_PX,
    SMALLEST_PX,
    Limits,
    StageTimes,
    fitted_size,
    plan,
    step_work,
)
from workers.messages import PaintRequest, Scene

PIXELS = 512 * 512
LCM = Limits(own_steps=4, least_steps=2, own_size=(512, 512), least_px=256, has_tiny=True)
FULL_FIRST = Limits(own_steps=4, least_steps=2, own_size=(512, 512), least_px=256, has_tiny=True, own_tiny=False)


def request(**values: object) -> PaintRequest:
    return PaintRequest("id", 1, "a bridge", "", Scene("bridge"), 1, **values)  # type: ignore[arg-type]


def times(step_ms: float, decode_ms: float = 100.0, full_ms: float = 1_000.0, text_ms: float = 50.0) -> StageTimes:
    """Measured at 512 x 512."""
    known = StageTimes()
    for stage, ms in (("text", text_ms), ("step", step_ms), ("decode", decode_ms), ("decode_full", full_ms)):
        known.learn(stage, PIXELS, ms)
    return known


# Remembering


def test_what_was_never_measured_is_not_known() -> None:
    known = StageTimes()
    assert known.expect("step", PIXELS) is None
    known.learn("step", PIXELS, 100.0)
    assert known.expect("decode", PIXELS) is None


def test_one_slow_picture_does_not_move_the_median() -> None:
    known = StageTimes()
    for ms in (100.0, 102.0, 5_000.0, 101.0, 99.0):
        known.learn("step", PIXELS, ms)
    assert known.expect("step", PIXELS) == 101.0


def test_of_the_first_two_the_one_without_the_warm_up_counts() -> None:
    known = StageTimes()
    for ms in (9_000.0, 100.0):
        known.learn("step", PIXELS, ms)
    assert known.expect("step", PIXELS) == 100.0


def test_old_times_are_forgotten() -> None:
    known = StageTimes()
    for ms in [1_000.0] * 20 + [10.0] * 9:
        known.learn("step", PIXELS, ms)
    assert known.expect("step", PIXELS) == 10.0


def test_another_size_is_scaled_and_the_nearest_known_one_counts() -> None:
    known = times(step_ms=100.0, decode_ms=80.0)
    assert known.expect("decode", PIXELS // 4) == pytest.approx(20.0)
    assert known.expect("text", 4 * PIXELS) == 50.0
    quarter, fourfold = known.expect("step", PIXELS // 4), known.expect("step", 4 * PIXELS)
    assert quarter and fourfold and quarter < 25.0 and fourfold > 400.0
    # The operations of SD 1.5's UNet: 180, 803 and 4,674 thousand millions at 256, 512 and 1024 px.
    assert quarter / 100.0 == pytest.approx(180.1 / 803.3, rel=0.03)
    assert fourfold / 100.0 == pytest.approx(4674.0 / 803.3, rel=0.03)
    known.learn("step", 4 * PIXELS, 900.0)
    assert known.expect("step", 4 * PIXELS) == 900.0
    assert known.expect("step", 3 * PIXELS) == pytest.approx(900.0 * step_work(3 * PIXELS) / step_work(4 * PIXELS))


@pytest.mark.parametrize("ms", [-1.0, math.nan, math.inf])
def test_what_is_no_duration_teaches_nothing(ms: float) -> None:
    known = StageTimes()
    known.learn("step", PIXELS, ms)
    known.learn("step", 0, 5.0)
    assert known.expect("step", PIXELS) is None


def test_threads_may_learn_and_ask_at_once() -> None:
    known = StageTimes()
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(300):
            known.learn("step", PIXELS + turn % 7, 10.0)
            expected = known.expect("step", PIXELS)
            if expected is None or not 9.9 < expected < 10.1:
                wrong.append((number, expected))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Sizes


@pytest.mark.parametrize(
    ("asked", "fitted"),
    [
        ((512, 512), (512, 512)),
        ((513, 511), (512, 512)),
        ((1000, 571), (1000, 568)),
        ((4096, 2048), (2048, 1024)),
        ((3, 3), (64, 64)),
        ((20, 40), (64, 128)),
        ((10_000, 10), (2048, 64)),
        ((10**400, 10**400), (2048, 2048)),
        ((0, -5), (64, 64)),
    ],
)
def test_sizes_become_multiples_within_bounds_and_keep_their_shape(
    asked: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fitted_size(*asked) == fitted


@given(st.integers(-10, 10**6), st.integers(-10, 10**6), st.sampled_from([8, 16, 64]))
def test_every_size_can_be_fitted(width: int, height: int, multiple: int) -> None:
    found = fitted_size(width, height, multiple)
    assert all(side % multiple == 0 and SMALLEST_PX <= side <= LARGEST_PX for side in found)
    assert fitted_size(*found, multiple) == found
    ratio = max(1, width) / max(1, height)
    if 1 / 20 <= ratio <= 20:  # what fits the bounds in its own shape keeps it, as far as the multiple allows
        assert found[0] / found[1] == pytest.approx(ratio, rel=1.3 * multiple / min(found))


# Plans


def test_without_measured_times_the_painters_own_values_are_taken() -> None:
    found = plan(request(deadline_s=0.001), LCM, StageTimes())
    assert (found.steps, found.width_px, found.height_px, found.tiny_vae) == (4, 512, 512, True)
    assert (found.expected_s, found.compromises) == (None, ())


def test_time_to_spare_changes_nothing() -> None:
    found = plan(request(deadline_s=1_000.0), LCM, times(step_ms=1.0))
    assert (found.steps, found.width_px, found.compromises) == (4, 512, ())
    assert found.expected_s == pytest.approx(0.154)


def test_the_tiny_decoder_is_the_first_thing_that_saves_time() -> None:
    slow_decoder = times(step_ms=1_000.0, full_ms=20_000.0)
    found = plan(request(deadline_s=10.0), FULL_FIRST, slow_decoder)
    assert (found.steps, found.tiny_vae, found.compromises) == (4, True, ())
    assert plan(request(deadline_s=60.0), FULL_FIRST, slow_decoder).tiny_vae is False


def test_then_steps_are_saved() -> None:
    found = plan(request(deadline_s=10.0), LCM, times(step_ms=2_900.0))
    assert (found.steps, found.width_px, found.compromises) == (3, 512, ("fewer_steps",))


def test_then_pixels_and_what_that_gives_goes_back_into_steps() -> None:
    found = plan(request(deadline_s=5.0), LCM, times(step_ms=2_900.0))
    assert found.compromises == ("fewer_steps", "smaller") and found.steps >= 2
    assert found.width_px == found.height_px < 512 and found.width_px % SHRINK_PX == 0


def test_what_cannot_be_in_time_is_as_quick_as_it_may_be() -> None:
    found = plan(request(deadline_s=0.1), LCM, times(step_ms=60_000.0))
    assert (found.steps, found.width_px, found.height_px) == (2, 256, 256)
    assert found.expected_s and found.expected_s > 0.1


def test_what_is_asked_for_is_kept_however_long_it_takes() -> None:
    slow = times(step_ms=5_000.0)
    found = plan(request(deadline_s=1.0, steps=8, width_px=640, height_px=384), LCM, slow)
    assert (found.steps, found.width_px, found.height_px, found.compromises) == (8, 640, 384, ())
    assert plan(request(deadline_s=1.0, steps=8), LCM, slow).compromises == ("smaller",)
    assert plan(request(deadline_s=1.0, width_px=512, height_px=512), LCM, slow).compromises == ("fewer_steps",)


@pytest.mark.parametrize(("asked", "steps"), [(0, 4), (-3, 4), (1, 1), (100, 100), (10_000, 100)])
def test_steps_are_within_bounds(asked: int, steps: int) -> None:
    found = plan(request(steps=asked), LCM, StageTimes())
    assert (found.steps, found.compromises) == (steps, ("fewer_steps",) if asked > 100 else ())


def test_a_side_that_is_left_open_follows_from_the_own_shape() -> None:
    wide = Limits(4, 2, (768, 432), 256)
    assert (plan(request(width_px=384), wide, StageTimes()).height_px) == 216
    assert (plan(request(height_px=864), wide, StageTimes()).width_px) == 1536


def test_a_model_exported_for_one_size_paints_that_size() -> None:
    fixed = Limits(1, 1, (512, 512), 256, fixed_size=True, has_tiny=True, has_full=False)
    found = plan(request(width_px=1024, height_px=576, deadline_s=0.01), fixed, times(step_ms=3_000.0))
    assert (found.width_px, found.height_px, found.steps, found.compromises) == (512, 512, 1, ("smaller",))
    assert plan(request(width_px=256, height_px=256), fixed, StageTimes()).compromises == ()


def test_wide_pictures_stay_wide_when_they_shrink() -> None:
    wide = Limits(4, 4, (1024, 576), 320, has_tiny=True)
    found = plan(request(deadline_s=5.0), wide, times(step_ms=1_500.0))
    assert found.height_px < 576 and found.width_px / found.height_px == pytest.approx(16 / 9, rel=0.15)


@given(
    step_ms=st.floats(0.1, 100_000),
    decode_ms=st.floats(0.1, 10_000),
    full_ms=st.floats(0.1, 100_000),
    deadline_s=st.floats(-5, 1_000),
    steps=st.sampled_from([0, 0, 0, 1, 7, 500]),
    size=st.sampled_from([(0, 0), (0, 0), (512, 512), (333, 999), (4_000, 3_000)]),
    own=st.tuples(
        st.integers(1, 12), st.integers(1, 12), st.sampled_from([512, 768, 1024]), st.sampled_from([384, 512])
    ),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_every_plan_is_within_its_limits_and_says_what_it_gave_up(
    step_ms: float,
    decode_ms: float,
    full_ms: float,
    deadline_s: float,
    steps: int,
    size: tuple[int, int],
    own: tuple[int, int, int, int],
    flags: tuple[bool, bool, bool],
) -> None:
    own_steps, least_steps, width, height = own
    fixed, tiny, own_tiny = flags
    limits = Limits(own_steps, least_steps, (width, height), 256, fixed_size=fixed, has_tiny=tiny, own_tiny=own_tiny)
    asked = request(deadline_s=deadline_s, steps=steps, width_px=size[0], height_px=size[1])
    known = times(step_ms, decode_ms, full_ms)
    found = plan(asked, limits, known)

    assert 1 <= found.steps <= MOST_STEPS
    assert all(side % 8 == 0 and SMALLEST_PX <= side <= LARGEST_PX for side in (found.width_px, found.height_px))
    assert tiny or not found.tiny_vae
    if fixed:
        assert (found.width_px, found.height_px) == (width, height)
    if steps:
        assert found.steps == min(steps, MOST_STEPS)
    else:
        assert min(own_steps, least_steps) <= found.steps <= own_steps
        assert ("fewer_steps" in found.compromises) == (found.steps < own_steps)
    if size == (0, 0):
        assert found.width_px <= width and found.height_px <= height
        assert min(found.width_px, found.height_px) >= 256
        assert ("smaller" in found.compromises) == ((found.width_px, found.height_px) != (width, height))

    assert found.expected_s is not None and found.expected_s > 0
    late = found.expected_s > max(deadline_s, 0.0)
    if late and tiny:
        assert found.tiny_vae
    if late and not steps:
        assert found.steps == min(own_steps, least_steps)
    if late and size == (0, 0) and not fixed:
        assert min(found.width_px, found.height_px) < 256 + SHRINK_PX

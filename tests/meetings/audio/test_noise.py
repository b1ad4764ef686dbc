"""Nobody speaks: a room may be silent, loud, full of machines or music, and no caption comes of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from meetings.audio.endpointing import DecisionKind, Endpointer
from meetings.audio.session import StreamSession, Utterance
from meetings.audio.vad import FRAME_SAMPLES, LoudnessGate, RumbleFilter, VadOptions, VoiceActivityDetector
from tests.sounds import RATE_HZ, WORDLESS, Sound, as_floats, brown, fan, mixed, noise, silence, spoken
from workers.engines.speech.pocketsphinx import PocketSphinxEngine

MESSAGE_SAMPLES = 2_560
MACHINES = ("white noise", "rumble", "hum", "keys")
ASKED_ABOUT_EVERYTHING = VadOptions(floor_dbfs=-1000, above_noise_db=-1000)


@pytest.fixture(scope="module")
def engine() -> Iterator[PocketSphinxEngine]:
    engine = PocketSphinxEngine()
    yield engine
    engine.unload()


def captions_of(samples: Sound, engine: PocketSphinxEngine) -> list[str]:
    """What would be written down of a stream."""
    session = StreamSession()
    events = []
    for first in range(0, len(samples), MESSAGE_SAMPLES):
        events += session.feed(first, samples[first : first + MESSAGE_SAMPLES])
    events += session.finish()
    found = [event for event in events if isinstance(event, Utterance)]
    texts = [engine.transcribe(as_floats(np.frombuffer(u.pcm, "<i2")), "en").text for u in found]
    return [text for text in texts if text]


def whole_frames(samples: Sound) -> Sound:
    return samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES]


def asked_about(samples: Sound) -> np.ndarray:
    """Which frames the model was asked about; it never answers with exactly 0."""
    return VoiceActivityDetector().judge(whole_frames(samples)).probabilities > 0


@pytest.mark.parametrize("kind", list(WORDLESS))
def test_no_caption_comes_of(kind: str, engine: PocketSphinxEngine) -> None:
    parts = [WORDLESS[kind](6.0, dbfs, seed) for seed, dbfs in enumerate((-45.0, -30.0, -18.0), start=1)]
    assert captions_of(np.concatenate([silence(1), *parts, silence(1)]), engine) == []


def test_words_between_the_noises_are_still_written_down(engine: PocketSphinxEngine) -> None:
    sound = np.concatenate([fan(4, -35), mixed(spoken(0), fan(20, -45)), fan(2, -35)])
    assert len(" ".join(captions_of(sound, engine)).split()) > 5


@pytest.mark.parametrize("kind", MACHINES)
def test_the_recogniser_itself_refuses(kind: str, engine: PocketSphinxEngine) -> None:
    """Music it cannot tell from words: that is kept away by the voice activity model."""
    assert engine.transcribe(as_floats(WORDLESS[kind](2.5, -22.0, 3)), "en").text == ""


def test_what_is_short_and_never_sure_is_no_speech_and_what_is_short_and_clear_is() -> None:
    """Single notes get through to the recogniser otherwise, which makes words of them."""

    def outcome(probability: float, voiced_frames: int) -> DecisionKind:
        endpointer = Endpointer()
        frames = [0.0] * 20 + [probability] * voiced_frames + [0.0] * 40
        decisions = [d for p in frames for d in endpointer.push(p, -30.0)]
        assert (DecisionKind.PAUSED in {d.kind for d in decisions}) == (decisions[-1].kind is DecisionKind.UTTERANCE)
        return decisions[-1].kind

    assert [outcome(0.7, 12), outcome(0.95, 12)] == [DecisionKind.DROPPED, DecisionKind.UTTERANCE]
    assert outcome(0.7, 40) is DecisionKind.UTTERANCE  # longer than notes are: someone in a loud room


def test_the_end_of_a_long_speech_is_not_lost_for_being_short() -> None:
    endpointer = Endpointer()
    frames = [0.95] * 372 + [0.6] * 12 + [0.0] * 30
    decisions = [d for p in frames for d in endpointer.push(p, -30.0)]
    assert [d.kind for d in decisions if d.kind in (DecisionKind.UTTERANCE, DecisionKind.DROPPED)] == [
        DecisionKind.UTTERANCE
    ] * 2


@pytest.mark.parametrize("rumble", [brown(20, -20), brown(20, -45), fan(20, -30)], ids=["strong", "weak", "fan"])
def test_rumble_is_hardly_ever_worth_asking_the_model(rumble: Sound) -> None:
    after_learning = 6 * RATE_HZ // FRAME_SAMPLES
    assert asked_about(rumble)[after_learning:].mean() < 0.1


@pytest.mark.parametrize("rumble", [brown(20, -30), fan(20, -40)], ids=["street", "fan"])
@pytest.mark.parametrize("line", [0, 1, 2], ids=["Anna", "Ben", "Clara"])
def test_no_frame_of_speech_over_rumble_is_missed(rumble: Sound, line: int) -> None:
    before = 6 * RATE_HZ
    sound = np.concatenate([rumble[:before], mixed(spoken(line), rumble[before:])])
    speech = VoiceActivityDetector(ASKED_ABOUT_EVERYTHING).judge(whole_frames(sound)).probabilities >= 0.5
    assert speech.sum() > 20
    assert asked_about(sound)[speech].all()


def test_what_decides_has_no_constant_part_and_no_hum_but_all_of_the_voice() -> None:
    time = np.arange(40 * FRAME_SAMPLES) / RATE_HZ

    def loss_db(hz: float) -> float:
        wave = (8_000 * np.sin(2 * np.pi * hz * time) + 5_000).astype(np.int16)
        power = RumbleFilter().power_without(wave)[2:].mean()
        return -10 * np.log10(power / (8_000**2 / 2 / 32_768**2))

    assert loss_db(25) > 30 and loss_db(50) > 18 and loss_db(100) > 7
    assert max(abs(loss_db(hz)) for hz in (200, 300, 500, 1_000, 3_000)) < 2


def test_the_filter_goes_on_where_the_last_message_ended() -> None:
    samples = whole_frames(noise(2, -20))
    one = RumbleFilter()
    parts = [one.power_without(samples[i : i + FRAME_SAMPLES]) for i in range(0, len(samples), FRAME_SAMPLES)]
    assert np.array_equal(np.concatenate(parts), RumbleFilter().power_without(samples))


def test_loudness_without_rumble_decides_and_the_whole_loudness_sets_the_gain() -> None:
    options = VadOptions()
    quiet, loud = LoudnessGate(options), LoudnessGate(options)
    assert loud.admit(-10, -10) == quiet.admit(-10, -40)
    assert LoudnessGate(options).admit(-10, options.floor_dbfs - 1) is None

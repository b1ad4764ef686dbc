from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from meetings.audio.vad import FRAME_SAMPLES, LoudnessGate, VadOptions, VoiceActivityDetector, judge_together
from tests.sounds import Sound, clicks, dialogue, hum, lines, melody, noise, silence, spoken

EVERYTHING = VadOptions(floor_dbfs=-1000, above_noise_db=-1000)


def whole_frames(samples: Sound) -> Sound:
    return samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES]


def probabilities(samples: Sound, options: VadOptions | None = None) -> np.ndarray:
    return VoiceActivityDetector(options).judge(whole_frames(samples)).probabilities


def share_of_speech(samples: Sound) -> float:
    return float((probabilities(samples) >= 0.5).mean())


def test_speech_is_speech_and_the_pauses_between_are_not() -> None:
    found = probabilities(dialogue()) >= 0.5
    seconds = np.arange(len(found)) * FRAME_SAMPLES / 16_000
    said = np.zeros(len(found), dtype=bool)
    near = np.zeros(len(found), dtype=bool)
    for line in lines():
        said |= (seconds >= line.start_s + 0.1) & (seconds < line.end_s - 0.3)
        near |= (seconds >= line.start_s - 0.1) & (seconds < line.end_s + 0.2)
    assert found[said].mean() > 0.85
    assert found[~near].mean() < 0.02


@pytest.mark.parametrize(
    "sound",
    [silence(10), noise(10, -60), noise(10, -30), hum(10, -25), clicks(10, -28), melody(10, -20)],
    ids=["silence", "hiss", "loud noise", "hum", "keys", "melody"],
)
def test_what_is_not_speech_is_not(sound: Sound) -> None:
    assert share_of_speech(sound) < 0.02


@pytest.mark.parametrize("dbfs_change", [-26, 0, 12])
def test_the_microphone_s_gain_hardly_matters(dbfs_change: float) -> None:
    samples = np.concatenate([silence(1), *(np.concatenate([spoken(n), silence(0.5)]) for n in range(4))])
    scaled = (samples * 10 ** (dbfs_change / 20)).clip(-32768, 32767).astype(np.int16)
    assert abs(share_of_speech(scaled) - share_of_speech(samples)) < 0.06


def test_a_constant_part_hardly_matters() -> None:
    samples = np.concatenate([silence(1), spoken(0), silence(1), spoken(1)])
    shifted = (samples.astype(np.int32) // 2 + 6000).astype(np.int16)
    assert abs(share_of_speech(shifted) - share_of_speech((samples // 2).astype(np.int16))) < 0.06


def test_any_number_of_frames_at_once_gives_the_same() -> None:
    samples = whole_frames(np.concatenate([noise(3, -50), spoken(0), noise(1, -50), spoken(1)]))
    whole = VoiceActivityDetector().judge(samples)
    for frames in (1, 4, 6, 31):
        detector = VoiceActivityDetector()
        step = frames * FRAME_SAMPLES
        parts = [detector.judge(samples[i : i + step]) for i in range(0, len(samples), step)]
        assert np.array_equal(np.concatenate([p.probabilities for p in parts]), whole.probabilities)
        assert np.array_equal(np.concatenate([p.loudness_dbfs for p in parts]), whole.loudness_dbfs)


def test_streams_do_not_disturb_each_other() -> None:
    samples = whole_frames(spoken(0))
    alone = VoiceActivityDetector(EVERYTHING).judge(samples).probabilities
    one, other = VoiceActivityDetector(EVERYTHING), VoiceActivityDetector(EVERYTHING)
    together = []
    for start in range(0, len(samples), FRAME_SAMPLES):
        together.append(one.judge(samples[start : start + FRAME_SAMPLES]).probabilities)
        other.judge(noise(0.032, -20, seed=start))
    assert np.array_equal(np.concatenate(together), alone)


def test_streams_that_are_judged_together_are_judged_as_if_alone() -> None:
    offset = (noise(4, -50).astype(np.int32) + 900).astype(np.int16)
    sounds = [
        silence(4),
        noise(4, -60),
        noise(4, -30),
        offset,
        dialogue()[: 4 * 16_000],
        spoken(0),
        spoken(1),
        hum(4, -25),
    ]
    length = min(len(sound) for sound in sounds) // FRAME_SAMPLES * FRAME_SAMPLES
    together, alone = [[VoiceActivityDetector() for _ in sounds] for _ in range(2)]
    first = 0
    for frames in (6, 1, 6, 3, 31, 6, 6, 2):
        last = min(length, first + frames * FRAME_SAMPLES)
        judged = judge_together(together, np.stack([sound[first:last] for sound in sounds]))
        for number, sound in enumerate(sounds):
            expected = alone[number].judge(sound[first:last])
            assert np.array_equal(judged[number].probabilities, expected.probabilities)
            assert np.array_equal(judged[number].loudness_dbfs, expected.loudness_dbfs)
        first = last
    assert first / 16_000 > 1.5


def test_loudness_is_the_rms_without_the_constant_part() -> None:
    time = np.arange(FRAME_SAMPLES)
    wave = (8192 * np.sin(2 * np.pi * time / 32) + 4000).astype(np.int16)
    # A quarter of full scale is −12.04 dB, a sine's RMS another 3.01 dB below its peak.
    loudness = VoiceActivityDetector().judge(wave).loudness_dbfs
    assert loudness[0] == pytest.approx(-15.05, abs=0.05)
    assert VoiceActivityDetector().judge(silence(0.032)).loudness_dbfs[0] == pytest.approx(-120)


def test_steady_noise_stops_costing_anything() -> None:
    gate = LoudnessGate(VadOptions())
    flicker = np.random.default_rng(1).normal(-40, 0.5, 400)
    admitted = [gate.admit(level) is not None for level in flicker]
    assert all(admitted[:60])
    assert not any(admitted[100:])
    assert gate.admit(-25) is not None


def test_the_gate_stays_open_while_a_word_fades() -> None:
    options = VadOptions()
    gate = LoudnessGate(options)
    assert gate.admit(-20) is not None
    faded = [gate.admit(-90) is not None for _ in range(30)]
    assert faded.index(False) == options.hangover_frames - 1


def test_quiet_speech_is_amplified_and_shouting_attenuated() -> None:
    options = VadOptions()
    loud, quiet = LoudnessGate(options), LoudnessGate(options)
    assert loud.admit(-6) == pytest.approx(options.target_dbfs + 6)
    gains = [quiet.admit(-45) or 0 for _ in range(600)]
    assert gains[0] < 0.2
    assert gains[60] > 5
    assert max(gains) <= options.max_gain_db


def test_the_model_is_run_without_importing_faster_whisper() -> None:
    script = (
        "import sys, numpy as np; from meetings.audio.vad import *; "
        "VoiceActivityDetector().judge(np.full(512, 9000, np.int16) * np.tile([1, -1], 256).astype(np.int16)); "
        "sys.exit('faster_whisper' in sys.modules or 'onnxruntime' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

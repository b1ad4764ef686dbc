from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.sounds import RATE_HZ, as_floats, lines, noise, silence, spoken
from workers.engines.base import EngineError
from workers.engines.child import hosted
from workers.engines.voice.ge2e import mel_frames, read_weights
from workers.engines.voice.resemblyzer import ResemblyzerEngine, normalised, partial_slices, speech_of


@pytest.fixture(scope="module")
def engine() -> ResemblyzerEngine:
    return ResemblyzerEngine()


def vector(engine: ResemblyzerEngine, samples: np.ndarray) -> np.ndarray:
    embedding = engine.embed(samples)
    assert embedding is not None
    return np.array(embedding.vector)


def test_an_embedding_has_unit_length_and_says_what_it_is(engine: ResemblyzerEngine) -> None:
    line = lines()[0]
    embedding = engine.embed(as_floats(spoken(0)))
    assert embedding is not None
    assert len(embedding.vector) == engine.dimensions == 256
    assert np.linalg.norm(embedding.vector) == pytest.approx(1, abs=1e-5)
    assert embedding.model == "resemblyzer-ge2e-256"
    assert 0.6 * (line.end_s - line.start_s) < embedding.speech_s <= line.end_s - line.start_s


def test_voices_are_nearer_to_themselves_than_to_others(engine: ResemblyzerEngine) -> None:
    vectors = [(line.speaker, vector(engine, as_floats(spoken(n)))) for n, line in enumerate(lines()[:12])]
    same = [a @ b for (one, a), (other, b) in combinations(vectors, 2) if one == other]
    different = [a @ b for (one, a), (other, b) in combinations(vectors, 2) if one != other]
    assert min(same) > max(different)


def test_loudness_and_silence_around_hardly_matter(engine: ResemblyzerEngine) -> None:
    samples = as_floats(spoken(1))
    reference = vector(engine, samples)
    assert vector(engine, samples * np.float32(0.05)) @ reference > 0.99
    surrounded = np.concatenate([as_floats(silence(2)), samples, as_floats(silence(3))])
    assert vector(engine, surrounded) @ reference > 0.97


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, dtype=np.float32),
        as_floats(silence(5)),
        as_floats(spoken(0))[: int(0.3 * RATE_HZ)],
        np.full(32_000, np.nan, dtype=np.float32),
        np.full(32_000, 0.5, dtype=np.float32),
    ],
    ids=["nothing", "silence", "too short", "not numbers", "a constant"],
)
def test_too_little_to_tell_a_voice_from_gives_none(engine: ResemblyzerEngine, samples: np.ndarray) -> None:
    assert engine.embed(samples) is None


def test_a_few_broken_numbers_are_survived(engine: ResemblyzerEngine) -> None:
    samples = as_floats(spoken(0))
    broken = samples.copy()
    broken[[5, 9000]] = [np.nan, -np.inf]
    assert vector(engine, broken) @ vector(engine, samples) > 0.99


def test_noise_gives_a_finite_vector(engine: ResemblyzerEngine) -> None:
    assert np.isfinite(vector(engine, as_floats(noise(2, -20)))).all()


def test_the_mel_frames_are_librosa_s() -> None:
    librosa = pytest.importorskip("librosa")
    samples = np.concatenate([as_floats(spoken(0)), as_floats(noise(1, -20))])
    theirs = librosa.feature.melspectrogram(y=samples, sr=16_000, n_fft=400, hop_length=160, n_mels=40).T
    ours = mel_frames(samples)
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= 1e-4


def test_the_network_is_torch_s_with_the_same_weights(engine: ResemblyzerEngine) -> None:
    torch = pytest.importorskip("torch")
    engine.load()
    weights = {name: torch.tensor(value) for name, value in read_weights(_checkpoint()).items()}
    lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
    lstm.load_state_dict({name.removeprefix("lstm."): w for name, w in weights.items() if name.startswith("lstm.")})
    mels = np.stack([mel_frames(normalised(as_floats(spoken(n))[: 2 * RATE_HZ]))[:160] for n in (0, 1, 4)])
    with torch.no_grad():
        _, (hidden, _) = lstm(torch.from_numpy(mels))
        raw = torch.relu(hidden[-1] @ weights["linear.weight"].T + weights["linear.bias"])
        theirs = (raw / raw.norm(dim=1, keepdim=True)).numpy()
    assert np.abs(engine._encoder.embed(mels) - theirs).max() < 1e-5


def test_the_weights_are_those_that_torch_reads() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.load(_checkpoint(), map_location="cpu", weights_only=True)["model_state"]
    ours = read_weights(_checkpoint())
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name].numpy()) for name in ours)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pt"
    bad.write_bytes(pickle.dumps(1) + pickle.dumps(2) + pickle.dumps(3) + pickle.dumps({"model_state": Path.cwd}))
    with pytest.raises(pickle.UnpicklingError, match="no business"):
        read_weights(bad)


def test_partials_cover_the_speech_evenly() -> None:
    assert partial_slices(8000) == [slice(0, 160)]
    for samples in range(25_600, 200_000, 1777):
        parts = partial_slices(samples)
        assert parts[0].start == 0
        assert parts[-1].stop == samples // 160 + 1
        steps = {after.start - before.start for before, after in pairwise(parts)}
        assert max(steps, default=0) <= 78
        assert max(steps, default=0) - min(steps, default=0) <= 1


def test_pauses_are_left_out_and_speech_is_not() -> None:
    speech = as_floats(spoken(0))
    with_pauses = np.concatenate([as_floats(noise(2, -75)), speech, as_floats(noise(2, -75))])
    kept = speech_of(with_pauses)
    assert 0.75 * len(speech) < len(kept) < 1.05 * len(speech)


def test_the_windows_of_an_utterance_lie_where_its_voices_are(engine: ResemblyzerEngine) -> None:
    anna, robert = as_floats(spoken(0)), as_floats(spoken(1))
    sound = np.concatenate([as_floats(silence(1)), anna, as_floats(silence(2)), robert, as_floats(silence(1))])
    change_ms = (RATE_HZ * 2 + len(anna)) * 1000 // RATE_HZ
    like_anna, like_robert = vector(engine, anna), vector(engine, robert)
    heard = engine.listen(sound)
    assert heard.whole == engine.embed(sound)
    assert [w.start_ms for w in heard.windows] == sorted(w.start_ms for w in heard.windows)
    assert heard.windows[0].start_ms == pytest.approx(1000, abs=60)
    assert heard.windows[-1].end_ms == pytest.approx(len(sound) * 1000 // RATE_HZ - 1000, abs=60)
    for window in heard.windows:
        assert np.linalg.norm(window.vector) == pytest.approx(1, abs=1e-5)
        length_ms = window.end_ms - window.start_ms
        assert length_ms == pytest.approx(1600, abs=350) or window.start_ms < change_ms < window.end_ms
        if window.end_ms < change_ms:
            assert window.vector @ like_anna > window.vector @ like_robert
        elif window.start_ms > change_ms:
            assert window.vector @ like_robert > window.vector @ like_anna


def test_a_window_of_a_voice_that_turns_away_is_still_like_it(engine: ResemblyzerEngine) -> None:
    sound = as_floats(spoken(1))
    away = sound.copy()
    away[len(away) // 2 :] *= np.float32(0.35)
    cosines = [a.vector @ b.vector for a, b in zip(*(engine.listen(s).windows for s in (sound, away)), strict=True)]
    assert min(cosines) > 0.95


@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.4], ids=["nothing", "too short", "one window"])
def test_one_window_tells_no_change(engine: ResemblyzerEngine, seconds: float) -> None:
    assert engine.listen(as_floats(spoken(0))[: int(seconds * RATE_HZ)]).windows == []


def test_a_hosted_engine_gives_the_same_vector(engine: ResemblyzerEngine) -> None:
    child = hosted(ResemblyzerEngine)
    try:
        samples = as_floats(spoken(2))
        embedding = child.embed(samples)
        assert embedding is not None
        assert np.array(embedding.vector) @ vector(engine, samples) == pytest.approx(1, abs=1e-5)
        heard, here = child.listen(samples), engine.listen(samples)
        assert heard.whole == embedding
        assert [(w.start_ms, w.end_ms) for w in heard.windows] == [(w.start_ms, w.end_ms) for w in here.windows]
        assert child.facts().demo
    finally:
        child.unload()


def test_neither_torch_nor_librosa_is_loaded() -> None:
    script = (
        "import sys, numpy as np; from workers.engines.voice.resemblyzer import ResemblyzerEngine; "
        "assert ResemblyzerEngine().embed(np.random.default_rng(1).normal(0, 0.1, 32000)); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'librosa', 'resemblyzer', 'numba')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_missing_model_is_an_engine_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "resemblyzer").mkdir()
    (tmp_path / "resemblyzer" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineError) as caught:
        ResemblyzerEngine().load()
    assert caught.value.code == "engine_failed"


def _checkpoint() -> Path:
    spec = importlib.util.find_spec("resemblyzer")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent / "pretrained.pt"

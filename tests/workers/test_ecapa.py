"""The real loading path with an untrained ECAPA of the real size: it knows no voices, but all else is as it will be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.sounds import RATE_HZ, as_floats, silence, spoken
from workers.engines.base import EngineError
from workers.engines.child import hosted
from workers.engines.voice import ecapa
from workers.engines.voice.ecapa import CHECKPOINT, EcapaEngine

SHORT = 2 * RATE_HZ


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model's folder with random weights, saved as SpeechBrain saves them."""
    import torch

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("ecapa")
    torch.save(ecapa._network(torch).ecapa.state_dict(), folder / CHECKPOINT)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on busy cores two of them wait for each other
    yield folder
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[EcapaEngine]:
    engine = EcapaEngine(str(folder), device="cpu")
    engine.load()
    yield engine
    engine.unload()


def vector(engine: EcapaEngine, samples: np.ndarray) -> np.ndarray:
    embedding = engine.embed(samples)
    assert embedding is not None
    return np.array(embedding.vector)


def broken_copy(folder: Path, tmp_path: Path, change) -> EcapaEngine:  # type: ignore[no-untyped-def]
    import torch

    state = torch.load(folder / CHECKPOINT, weights_only=True)
    torch.save(change(state), tmp_path / CHECKPOINT)
    return EcapaEngine(str(tmp_path), device="cpu")


def refusal(engine: EcapaEngine) -> str:
    with pytest.raises(EngineError) as caught:
        engine.load()
    assert caught.value.code == "model_missing"
    assert "manage.py models pull ecapa-voxceleb" in str(caught.value)
    return str(caught.value)


def test_an_embedding_has_unit_length_and_says_what_it_is(engine: EcapaEngine) -> None:
    samples = as_floats(spoken(0))[:SHORT]
    embedding = engine.embed(samples)
    assert embedding is not None
    assert len(embedding.vector) == engine.dimensions == 192
    assert np.linalg.norm(embedding.vector) == pytest.approx(1, abs=1e-5)
    assert embedding.model == "ecapa-voxceleb-192"
    assert 0.5 < embedding.speech_s <= len(samples) / RATE_HZ
    facts = engine.facts()
    assert (facts.name, facts.model, facts.device, facts.demo) == ("speechbrain", "ecapa-voxceleb-192", "cpu", False)


def test_the_network_is_speechbrain_s_own_pipeline(engine: EcapaEngine, folder: Path) -> None:
    import torch
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
    from speechbrain.processing.features import InputNormalization

    published = ECAPA_TDNN(
        80,
        channels=[1024, 1024, 1024, 1024, 3072],
        kernel_sizes=[5, 3, 3, 3, 1],
        dilations=[1, 2, 3, 4, 1],
        attention_channels=128,
        lin_neurons=192,
    )
    published.load_state_dict(torch.load(folder / CHECKPOINT, weights_only=True))
    sound = np.random.default_rng(2).normal(0, 0.1, (1, 2 * RATE_HZ)).astype(np.float32)
    with torch.inference_mode():
        mels = InputNormalization(norm_type="sentence", std_norm=False)(
            Fbank(n_mels=80)(torch.from_numpy(sound)), torch.ones(1)
        )
        theirs = published.eval()(mels)[0, 0].numpy()
    (ours,) = engine._vectors(sound)
    assert ours is not None
    assert ours @ (theirs / np.linalg.norm(theirs)) == pytest.approx(1, abs=1e-5)


def test_loudness_does_not_matter(engine: EcapaEngine) -> None:
    samples = as_floats(spoken(1))[:SHORT]
    assert vector(engine, samples * np.float32(0.05)) @ vector(engine, samples) > 0.99
    loud, quiet = engine._vectors(np.stack([samples, samples * np.float32(0.05)]))
    assert loud is not None
    assert loud @ quiet > 0.9999


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, dtype=np.float32),
        as_floats(silence(5)),
        as_floats(spoken(0))[: int(0.3 * RATE_HZ)],
        np.full(32_000, np.nan, dtype=np.float32),
        np.full(32_000, np.inf, dtype=np.float32),
        np.full(32_000, 0.5, dtype=np.float32),
    ],
    ids=["nothing", "silence", "too short", "not numbers", "infinite", "a constant"],
)
def test_too_little_to_tell_a_voice_from_gives_none(engine: EcapaEngine, samples: np.ndarray) -> None:
    assert engine.embed(samples) is None
    heard = engine.listen(samples)
    assert (heard.whole, heard.windows) == (None, [])


def test_windows_lie_in_the_utterance_in_order_and_leave_the_pause_out(engine: EcapaEngine) -> None:
    speech = as_floats(spoken(0))[:SHORT]
    samples = np.concatenate([speech, as_floats(silence(3)), speech])
    heard = engine.listen(samples)
    assert heard.whole is not None
    assert len(heard.windows) >= 2
    assert all(np.linalg.norm(window.vector) == pytest.approx(1, abs=1e-4) for window in heard.windows)
    starts = [window.start_ms for window in heard.windows]
    assert starts == sorted(starts)
    assert all(w.end_ms - w.start_ms >= 1500 and w.end_ms <= len(samples) / 16 for w in heard.windows)
    assert not any(2300 < start < 4500 for start in starts)  # none begins in the pause


def test_a_window_hears_what_the_engine_hears_of_it_alone(engine: EcapaEngine) -> None:
    from workers.engines.voice.sound import speech_windows

    samples = np.concatenate([as_floats(spoken(0))[:SHORT], as_floats(spoken(1))[:SHORT]])
    windows, heard = speech_windows(samples), engine.listen(samples).windows
    assert [(w.start_ms, w.end_ms) for w in windows] == [(w.start_ms, w.end_ms) for w in heard]
    (alone,) = engine._vectors(windows[1].samples[None])
    assert alone is not None
    assert heard[1].vector @ alone == pytest.approx(1, abs=1e-4)


def test_a_network_that_gives_no_numbers_gives_no_voice(folder: Path) -> None:
    engine = EcapaEngine(str(folder), device="cpu")
    engine.load()
    engine._network.ecapa.fc.conv.bias.data.fill_(float("nan"))
    assert engine.embed(as_floats(spoken(0))[:SHORT]) is None


def test_weights_that_are_no_numbers_are_refused(folder: Path, tmp_path: Path) -> None:
    def spoil(state):  # type: ignore[no-untyped-def]
        state["fc.conv.bias"][0] = float("nan")
        return state

    assert "no finite numbers" in refusal(broken_copy(folder, tmp_path, spoil))


def test_a_missing_model_says_what_to_do(tmp_path: Path) -> None:
    refusal(EcapaEngine(str(tmp_path / "nowhere")))


def test_a_half_downloaded_model_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    whole = (folder / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(whole[: len(whole) // 2])
    refusal(EcapaEngine(str(tmp_path)))


def test_a_model_of_another_shape_is_refused(folder: Path, tmp_path: Path) -> None:
    def narrow(state):  # type: ignore[no-untyped-def]
        return {**state, "fc.conv.bias": state["fc.conv.bias"][:100]}

    refusal(broken_copy(folder, tmp_path, narrow))


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    import torch

    class Trap:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"fc.conv.bias": Trap()}, tmp_path / CHECKPOINT)
    (tmp_path / "hyperparams.yaml").write_text(f"x: !apply:os.mkdir ['{tmp_path}/sprung']\n")
    refusal(EcapaEngine(str(tmp_path)))
    assert not (tmp_path / "sprung").exists()


def test_a_device_that_is_not_there_is_a_setting_to_change(folder: Path) -> None:
    with pytest.raises(EngineError, match="cannot run on abacus") as caught:
        EcapaEngine(str(folder), device="abacus").load()
    assert caught.value.code == "bad_setting"


def test_it_loads_again_after_unloading(folder: Path) -> None:
    engine = EcapaEngine(str(folder), device="cpu")
    before = vector(engine, as_floats(spoken(2))[:SHORT])
    engine.unload()
    assert engine._network is None
    assert vector(engine, as_floats(spoken(2))[:SHORT]) @ before == pytest.approx(1, abs=1e-5)


def test_in_a_child_process_it_gives_the_same_vector(engine: EcapaEngine, folder: Path) -> None:
    child = hosted(EcapaEngine, {"folder": str(folder), "device": "cpu"})
    try:
        samples = as_floats(spoken(2))[:SHORT]
        embedding = child.embed(samples)
        assert embedding is not None
        assert np.array(embedding.vector) @ vector(engine, samples) == pytest.approx(1, abs=1e-4)
    finally:
        child.unload()


def test_who_walks_through_all_modules_afterwards_meets_no_import_error(engine: EcapaEngine) -> None:
    assert any(name.startswith("speechbrain.") for name in sys.modules)
    for module in list(sys.modules.values()):
        getattr(module, "__file__", None)


def test_making_one_loads_no_torch() -> None:
    script = "import sys; from workers.engines.voice.ecapa import EcapaEngine; EcapaEngine('x'); "
    script += "sys.exit(any(name in sys.modules for name in ('torch', 'speechbrain', 'torchaudio')))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

"""The faster-whisper engine, with models so small that they are made here. None of them has heard real speech."""

from __future__ import annotations

import functools
import gc
import json
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.workers.test_hardware import install_driver
from workers import hardware
from workers.engines.base import EngineError
from workers.engines.child import hosted
from workers.engines.speech.whisper import WhisperEngine
from workers.engines.speech.whisper_decoding import Wish, in_order, prepared, windows
from workers.engines.speech.whisper_folder import look_over
from workers.messages import Word

RATE_HZ = 16_000
SENTENCE = ["Мы", "строим", "мост."]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """On busy cores several threads mostly wait for each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A model's folder by name, made at its first use."""
    from tests.workers.tiny_whisper import Shape, fill_with_nan, save_scripted_whisper, save_tiny_whisper

    base = tmp_path_factory.mktemp("whisper")

    @functools.cache
    def made(name: str) -> Path:
        folder, scratch = base / name, base / f"{name} before"
        if name == "says":
            save_scripted_whisper(folder, scratch, SENTENCE)
        elif name == "says.en":
            save_scripted_whisper(folder, scratch, ["Build", "it", "now."], multilingual=False)
        elif name == "says in English":
            save_scripted_whisper(folder, scratch, ["We", "build", "bridges."], language="ru")
        elif name == "credits":
            save_scripted_whisper(folder, scratch, ["Субтитры", "сделал", "DimaTorzok"])
        elif name == "loops":
            save_scripted_whisper(folder, scratch, ["very", "good"], language="en", loops=True)
        elif name == "guesses":
            save_scripted_whisper(folder, scratch, SENTENCE, sure=1.3)
        elif name == "broken":
            shutil.copytree(made("says"), folder)
            fill_with_nan(folder)
        else:
            layers = {"random": (1, 1), "random.en": (1, 1), "turbo": (3, 1), "distilled": (4, 2), "small": (2, 2)}
            # A decoder that lost layers, but not so many that it is one of the distilled ones.
            shape = Shape(layers=(5, 4) if name == "turbo" else layers[name])
            save_tiny_whisper(folder, scratch, multilingual=name != "random.en", shape=shape)
        return folder

    return made


@pytest.fixture(scope="module")
def says(make: Callable[..., Path]) -> Iterator[WhisperEngine]:
    """Hears "Мы строим мост." in everything."""
    engine = WhisperEngine(str(make("says")), device="cpu")
    yield engine
    engine.unload()


@pytest.fixture(scope="module")
def random(make: Callable[..., Path]) -> Iterator[WhisperEngine]:
    engine = WhisperEngine(str(make("random")), device="cpu")
    yield engine
    engine.unload()


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(int(seconds * RATE_HZ)) * 0.1).astype(np.float32)


# Words


def test_words_come_with_their_times_in_order_inside_the_utterance(says: WhisperEngine) -> None:
    transcript = says.transcribe(sound(2.0), "ru")
    assert transcript.text == "Мы строим мост."
    assert [word.text for word in transcript.words] == SENTENCE
    assert transcript.confidence > 0.99
    assert (transcript.language, transcript.language_probability, transcript.rejected) == ("ru", 1.0, "")
    assert all(0 <= word.start_ms <= word.end_ms <= 2000 for word in transcript.words)
    assert all(word.end_ms <= following.start_ms for word, following in pairwise(transcript.words))


def test_the_language_is_found_out_where_nobody_says_it(says: WhisperEngine) -> None:
    transcript = says.transcribe(sound(2.0), "auto")
    assert transcript.language == "ru"
    assert 0.99 < transcript.language_probability <= 1


def test_a_hint_is_not_doubted(says: WhisperEngine) -> None:
    transcript = says.transcribe(sound(0.8), "auto", hint="en")
    assert (transcript.language, transcript.language_probability) == ("en", 1.0)


def test_a_language_that_no_model_knows_is_refused(says: WhisperEngine) -> None:
    with pytest.raises(EngineError) as caught:
        says.transcribe(sound(1.0), "tlh")
    assert caught.value.code == "language_unsupported"


def test_an_unsure_language_says_so(random: WhisperEngine) -> None:
    transcript = random.transcribe(sound(2.0), "auto")
    assert 0 < transcript.language_probability < 0.1
    assert len(transcript.language) in (2, 3)


def test_the_same_sound_gives_the_same_words_whatever_came_before(random: WhisperEngine, says: WhisperEngine) -> None:
    assert random._decoder is not None
    wish = Wish(beam_size=5, words=True)
    first = random._decoder.hear(sound(3.0), wish)
    assert first.segments[0].words
    random._decoder.hear(sound(3.0, seed=1), Wish("ru", prompt="мост у реки"))
    assert random._decoder.hear(sound(3.0), wish) == first
    assert says.transcribe(sound(2.0), "auto") == says.transcribe(sound(2.0), "auto")


def test_a_prompt_is_taken_and_reaches_the_decoder(says: WhisperEngine, random: WhisperEngine) -> None:
    prompt = "Вчера мы говорили о реке и о том, где будет стоять дом. " * 9
    assert says.transcribe(sound(2.0), "ru", prompt=prompt).text == "Мы строим мост."
    assert random._decoder is not None
    with_prompt = random._decoder.hear(sound(2.0), Wish("ru", prompt="дом у реки"))
    assert with_prompt.segments[0].avg_logprob != random._decoder.hear(sound(2.0), Wish("ru")).segments[0].avg_logprob


def test_an_interim_has_text_without_times(says: WhisperEngine) -> None:
    transcript = says.interim("stream/0", sound(1.5), "auto", hint="ru")
    assert (transcript.text, transcript.words, transcript.language) == ("Мы строим мост.", [], "ru")
    assert transcript.confidence > 0.99


def test_more_than_thirty_seconds_are_heard_window_by_window(says: WhisperEngine) -> None:
    transcript = says.transcribe(sound(65.0), "auto")
    assert transcript.text == " ".join(["Мы строим мост."] * 3)
    starts = [word.start_ms for word in transcript.words if word.text == "Мы"]
    assert 20_000 <= starts[1] - starts[0] <= 32_000
    assert transcript.words[-1].end_ms <= 65_000


# English


def test_a_translation_is_text(make: Callable[..., Path]) -> None:
    engine = WhisperEngine(str(make("says in English")), device="cpu")
    assert engine.translates
    assert engine.english(sound(2.0), "ru") == "We build bridges."
    engine.unload()


def test_what_is_not_in_english_is_no_translation(says: WhisperEngine) -> None:
    assert says.english(sound(2.0), "ru") == ""


def test_translations_are_judged_too(make: Callable[..., Path]) -> None:
    engine = WhisperEngine(str(make("loops")), device="cpu")
    assert engine.english(sound(4.0), "ru") == ""
    engine.unload()


# What nobody said


@pytest.mark.parametrize(("name", "gate"), [("credits", "phantom"), ("loops", "repetition")])
def test_what_a_model_makes_up_is_refused_by_name(make: Callable[..., Path], name: str, gate: str) -> None:
    engine = WhisperEngine(str(make(name)), device="cpu")
    for transcript in (engine.transcribe(sound(8.0), "auto"), engine.interim("k", sound(8.0), "ru")):
        assert (transcript.text, transcript.words, transcript.rejected) == ("", [], gate)
    engine.unload()


def test_a_guess_is_no_caption(make: Callable[..., Path]) -> None:
    engine = WhisperEngine(str(make("guesses")), device="cpu")
    assert engine.transcribe(sound(2.0), "auto").text == ""
    transcript = engine.interim("k", sound(2.0), "ru")
    assert (transcript.text, transcript.confidence, transcript.rejected) == ("", 0.0, "unsure")
    engine.unload()


def test_a_model_that_computes_nonsense_says_nothing(make: Callable[..., Path]) -> None:
    engine = WhisperEngine(str(make("broken")), device="cpu", compute_type="float32")
    transcript = engine.transcribe(sound(2.0), "ru")
    assert (transcript.text, transcript.words, transcript.rejected) == ("", [], "broken_output")
    assert engine._decoder is not None
    assert "!!!!" in engine._decoder.hear(sound(2.0), Wish("ru")).segments[0].text
    engine.unload()


def test_noise_of_random_weights_is_no_caption(random: WhisperEngine) -> None:
    for seconds in (0.3, 2.0, 31.0):
        transcript = random.transcribe(sound(seconds), "ru")
        assert transcript.text == ""
        assert transcript.rejected


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, np.float32),
        np.zeros(500, np.float32),
        np.zeros(RATE_HZ, np.float32),
        np.full(RATE_HZ, 0.7, np.float32),
        np.full(RATE_HZ, np.nan, np.float32),
        np.full(RATE_HZ, np.inf, np.float32),
        sound(1.0) * 1e-4,
    ],
    ids=["nothing", "a moment", "silence", "constant", "NaN", "infinite", "hiss far below speech"],
)
def test_silence_never_reaches_the_model(says: WhisperEngine, samples: np.ndarray) -> None:
    for transcript in (says.transcribe(samples, "auto"), says.interim("k", samples, "ru")):
        assert (transcript.text, transcript.words, transcript.rejected) == ("", [], "silence")
    assert says.english(samples, "ru") == ""


@pytest.mark.parametrize(
    "samples",
    [
        np.sign(sound(1.0)),
        sound(1.0) * 500,
        sound(1.0) + 0.5,
        np.where(np.arange(RATE_HZ) % 7 == 0, np.nan, sound(1.0)).astype(np.float32),
        sound(1.0).astype(np.float64),
        sound(1.0).reshape(1, -1),
    ],
    ids=["clipped", "far too loud", "with a constant part", "with holes", "float64", "a row"],
)
def test_broken_sound_is_survived(says: WhisperEngine, samples: np.ndarray) -> None:
    assert says.transcribe(samples, "ru").text == "Мы строим мост."


# Models and folders


@pytest.mark.parametrize(
    ("name", "languages", "translates"),
    [
        ("random", (), True),
        ("small", (), True),
        ("random.en", ("en",), False),
        ("turbo", (), False),
        ("distilled", ("en",), False),
    ],
)
def test_what_a_model_can_do_is_in_its_files(
    make: Callable[..., Path], name: str, languages: tuple[str, ...], translates: bool
) -> None:
    engine = WhisperEngine(str(make(name)), device="cpu")
    assert (engine.languages, engine.translates) == (languages, translates)
    facts = engine.facts()
    assert (facts.name, facts.model, facts.demo, facts.device) == ("faster-whisper", name, False, "cpu")


def test_an_english_model_refuses_russian_and_takes_its_hint_for_english(make: Callable[..., Path]) -> None:
    engine = WhisperEngine(str(make("says.en")), device="cpu")
    with pytest.raises(EngineError) as caught:
        engine.transcribe(sound(1.0), "ru")
    assert caught.value.code == "language_unsupported"
    transcript = engine.transcribe(sound(1.0), "auto", hint="ru")
    assert (transcript.text, transcript.language) == ("Build it now.", "en")
    assert engine.english(sound(1.0), "ru") == ""
    engine.unload()


def break_folder(folder: Path, how: str) -> None:
    if how == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif how.startswith("without "):
        (folder / how.removeprefix("without ")).unlink()
    elif how == "cut short":
        content = (folder / "model.bin").read_bytes()
        (folder / "model.bin").write_bytes(content[: len(content) * 2 // 3])
    elif how == "an empty model.bin":
        (folder / "model.bin").write_bytes(b"")
    elif how == "noise as model.bin":
        (folder / "model.bin").write_bytes(bytes(range(256)) * 100)
    elif how == "of another program":
        (folder / "model.bin").rename(folder / "model.safetensors")
    elif how == "config of another kind":
        (folder / "config.json").write_text(json.dumps({"model_type": "whisper", "d_model": 384}))
    elif how == "config that is a list":
        (folder / "config.json").write_text("[]")
    elif how == "broken config":
        (folder / "config.json").write_text("{")
    elif how == "broken tokenizer":
        (folder / "tokenizer.json").write_text("{}")
    elif how == "broken vocabulary":
        (folder / "vocabulary.json").write_text("[")
    elif how == "features of large-v3":
        (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": 128}))


@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "without model.bin",
        "without config.json",
        "without tokenizer.json",
        "without vocabulary.json",
        "cut short",
        "an empty model.bin",
        "noise as model.bin",
        "of another program",
        "config of another kind",
        "config that is a list",
        "broken config",
        "broken tokenizer",
        "broken vocabulary",
        "features of large-v3",
    ],
)
def test_a_folder_that_is_not_whole_says_what_to_do(make: Callable[..., Path], tmp_path: Path, how: str) -> None:
    folder = tmp_path / "whisper-tiny"
    shutil.copytree(make("random"), folder)
    break_folder(folder, how)
    engine = WhisperEngine(str(folder), device="cpu")
    for _ in range(2):
        with pytest.raises(EngineError) as caught:
            engine.transcribe(sound(1.0), "en")
        assert caught.value.code == "model_missing"
        assert "manage.py models pull whisper-tiny" in str(caught.value)


def test_a_folder_that_is_filled_later_loads_then(make: Callable[..., Path], tmp_path: Path) -> None:
    engine = WhisperEngine(str(tmp_path / "later.en"), device="cpu")
    with pytest.raises(EngineError) as caught:
        engine.load()
    assert "no such folder" in str(caught.value)
    shutil.copytree(make("says.en"), tmp_path / "later.en")
    engine.load()
    assert engine.languages == ("en",)
    engine.unload()


def test_an_older_edition_with_its_vocabulary_as_text(make: Callable[..., Path], tmp_path: Path) -> None:
    for name, multilingual in (("random", True), ("random.en", False)):
        folder = tmp_path / name
        shutil.copytree(make(name), folder)
        tokens = json.loads((folder / "vocabulary.json").read_text())
        (folder / "vocabulary.json").unlink()
        (folder / "vocabulary.txt").write_text("\n".join(tokens) + "\n")
        assert bool(look_over(folder).languages) is not multilingual


# Loading and unloading


def test_unloading_gives_the_model_back_and_the_next_use_loads_it_again(make: Callable[..., Path]) -> None:
    engine = WhisperEngine(str(make("says")), device="cpu")
    assert engine.transcribe(sound(1.0), "ru").text == "Мы строим мост."
    assert engine.facts().load_ms > 0
    model = weakref.ref(engine._model)
    engine.unload()
    gc.collect()
    assert model() is None
    assert engine.transcribe(sound(1.0), "ru").text == "Мы строим мост."
    engine.unload()


def test_making_an_engine_loads_nothing(make: Callable[..., Path]) -> None:
    code = (
        "import sys; from workers.engines.speech.whisper import WhisperEngine;"
        f"engine = WhisperEngine({str(make('random'))!r}); assert engine.translates;"
        "assert not {'ctranslate2', 'faster_whisper', 'torch', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(hardware.__file__).parent.parent)


def test_in_a_child_it_is_the_same_engine(make: Callable[..., Path]) -> None:
    engine = hosted(WhisperEngine, {"folder": str(make("says")), "device": "cpu"}, threads=1)
    try:
        transcript = engine.transcribe(sound(2.0), "auto", prompt="Дом у реки.")
        assert (transcript.text, transcript.language) == ("Мы строим мост.", "ru")
        assert [word.text for word in transcript.words] == SENTENCE
        assert engine.interim("k", sound(1.0), "ru").text == "Мы строим мост."
        assert engine.english(sound(1.0), "ru") == ""
        assert engine.facts().translates
        with pytest.raises(EngineError) as caught:
            engine.transcribe(sound(1.0), "tlh")
        assert caught.value.code == "language_unsupported"
    finally:
        engine.unload()
    assert engine.child_pid is None


def test_a_child_without_its_model_says_what_to_do(tmp_path: Path) -> None:
    engine = hosted(WhisperEngine, {"folder": str(tmp_path / "nothing"), "device": "cpu"})
    with pytest.raises(EngineError) as caught:
        engine.load()
    assert caught.value.code == "model_missing"
    assert "models pull" in str(caught.value)
    engine.unload()


@pytest.mark.parametrize(
    "options",
    [{"device": "gpu"}, {"device": "cuda:one"}, {"compute_type": "int3"}, {"compute_type": "float16"}],
    ids=str,
)
def test_what_cannot_be_computed_here_is_said(make: Callable[..., Path], options: dict[str, str]) -> None:
    engine = WhisperEngine(str(make("random")), **{"device": "cpu", **options})
    with pytest.raises(EngineError) as caught:
        engine.load()
    assert caught.value.code == "bad_setting"


def test_on_the_cpu_it_computes_in_int8(says: WhisperEngine) -> None:
    says.load()
    assert (says.device, says.compute_type) == ("cpu", "int8_float32")


def test_a_card_that_does_not_work_leaves_it_to_the_cpu(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver names two cards, but there is nothing behind it."""
    import ctranslate2

    if ctranslate2.get_cuda_device_count():
        pytest.skip("this machine's own cards would answer")
    install_driver(tmp_path, monkeypatch)
    hardware.probe.cache_clear()
    try:
        engine = WhisperEngine(str(make("says")))
        assert engine.device == "cuda:1"
        assert engine.transcribe(sound(1.0), "ru").text == "Мы строим мост."
        assert engine.device == "cpu"
        engine.unload()
        in_child = hosted(WhisperEngine, {"folder": str(make("says"))})
        assert in_child.device == "cuda:1"
        in_child.load()
        assert in_child.device == "cpu"
        in_child.unload()
    finally:
        hardware.probe.cache_clear()


# Parts


def test_long_sound_is_cut_where_it_is_quiet() -> None:
    samples = sound(70.0)
    samples[25 * RATE_HZ : int(25.5 * RATE_HZ)] = 0
    pieces = list(windows(samples))
    assert 25.0 <= pieces[1][0] / RATE_HZ <= 25.5
    assert all(len(piece) <= 30 * RATE_HZ for _, piece in pieces)
    assert np.array_equal(np.concatenate([piece for _, piece in pieces]), samples)
    assert [start for start, _ in pieces] == list(np.cumsum([0, *(len(piece) for _, piece in pieces[:-1])]))


def test_half_a_minute_is_one_window() -> None:
    assert [len(piece) for _, piece in windows(sound(30.0))] == [30 * RATE_HZ]


def test_prepared_sound_is_clean() -> None:
    clean = prepared(np.where(np.arange(RATE_HZ) % 100 == 0, np.inf, sound(1.0) + 0.3).astype(np.float32))
    assert clean is not None
    assert clean.dtype == np.float32
    assert np.isfinite(clean).all()
    assert abs(float(clean.mean())) < 1e-3


def test_word_times_never_go_back_or_leave_the_sound() -> None:
    rough = [
        {"word": " one", "start": -0.1, "end": 0.5, "probability": 0.9},
        {"word": " ", "start": 0.5, "end": 0.6, "probability": 0.9},
        {"word": " two,", "start": 0.3, "end": 0.2, "probability": 1.2},
        {"word": " three", "start": 0.9, "end": 7.0, "probability": -0.1},
    ]
    assert list(in_order(rough, 1.0)) == [
        Word("one", 0, 500, 0.9),
        Word("two,", 500, 500, 1.0),
        Word("three", 900, 1000, 0.0),
    ]

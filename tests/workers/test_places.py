"""The place of an engine: one model after another may take it, and nobody who speaks notices more than better words."""

from __future__ import annotations

import gc
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from workers.engines.base import Engine, EngineError, SpeechEngine
from workers.messages import Transcript
from workers.models.catalogue import Role
from workers.models.choice import AUTO, Candidate
from workers.models.store import MANIFEST, Manifest, StoredFile
from workers.places import MOST_STUMBLES, Place

WITHIN_S = 20.0
SECOND = np.zeros(16_000, np.float32)


class Reader(SpeechEngine):
    """Says its name; what stands in its folder says how it behaves. A demo engine has no folder."""

    def __init__(self, candidate: Candidate) -> None:
        super().__init__()
        self.name, self.model, self.demo = candidate.engine, candidate.name, candidate.demo
        self._behaviour = candidate.folder / "model.bin" if candidate.folder else None
        self.loading, self.go_on = threading.Event(), threading.Event()
        self.unloaded = threading.Event()

    def _load(self) -> None:
        behaviour = self._behaviour.read_text() if self._behaviour else ""
        if behaviour == "broken":
            raise EngineError("model_missing", "it is only half there")
        self.loading.set()
        if behaviour == "slow":
            assert self.go_on.wait(WITHIN_S)
        self._fails = behaviour == "fails"

    def _unload(self) -> None:
        self.unloaded.set()

    def _transcribe(self, samples: np.ndarray, language: str, prompt: str) -> Transcript:
        assert not self.unloaded.is_set()
        if self._fails and len(samples):
            raise EngineError("engine_failed", "it computes nonsense")
        return Transcript(self.model)


class Host:
    """One place, what was made for it, and a way to wait for its changes."""

    def __init__(self, models: Path) -> None:
        self.models = models
        self.wish = AUTO
        self.made: list[Reader] = []
        self._changed = threading.Condition()
        self.place = Place(Role.SPEECH, lambda: self.wish, self._make, self._on_change)

    def _make(self, candidate: Candidate) -> Engine:
        self.made.append(Reader(candidate))
        with self._changed:
            self._changed.notify_all()
        return self.made[-1]

    def _on_change(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def until(self, condition: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, WITHIN_S)

    def install(self, name: str, behaviour: str = "fine") -> Path:
        """A whole model, as far as the store can see; it comes by a rename, as real ones do."""
        draft, folder = self.models / f".{name}", self.models / name
        draft.mkdir(parents=True)
        content = {"model.bin": behaviour, "config.json": "{}", "tokenizer.json": "{}", "vocabulary.txt": "a"}
        for file, text in content.items():
            (draft / file).write_text(text)
        files = [StoredFile(file, len(text), "0" * 64) for file, text in content.items()]
        Manifest(name, "here", "", 0.0, files).write(draft / MANIFEST)
        shutil.rmtree(folder, ignore_errors=True)
        return draft.rename(folder)

    def says(self) -> str:
        return self.place.hold().transcribe(SECOND, "auto").text

    def at_work(self) -> tuple[str, str]:
        """(model, in place of which)"""
        facts = self.place.facts()
        return facts.model, facts.instead_of


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("MEETVIZ_MODELS_DIR", str(tmp_path / "models"))
    host = Host(tmp_path / "models")
    yield host
    for engine in host.made:
        engine.go_on.set()
    host.place.unload()


# At the start


def test_without_models_the_demo_engine_is_at_work(host: Host) -> None:
    assert host.at_work() == ("pocketsphinx", "")
    assert host.says() == "pocketsphinx"


def test_what_is_installed_is_at_work_from_the_first_word(host: Host) -> None:
    host.install("whisper-tiny")
    host.install("whisper-base")
    assert host.at_work() == ("whisper-base", "") and not host.made[0].loading.is_set()
    assert host.says() == "whisper-base"


@pytest.mark.parametrize("behaviour", ["broken", ""])
def test_a_model_that_does_not_load_is_replaced_by_the_next_best_and_named(host: Host, behaviour: str) -> None:
    host.install("whisper-tiny")
    folder = host.install("whisper-base", "broken")
    if not behaviour:
        (folder / "tokenizer.json").unlink()
    assert host.says() == "whisper-tiny"
    assert host.at_work() == ("whisper-tiny", "whisper-base")


def test_when_no_model_loads_the_demo_engine_is_there(host: Host) -> None:
    for name in ("whisper-tiny", "whisper-base"):
        host.install(name, "broken")
    assert host.says() == "pocketsphinx"
    assert host.at_work() == ("pocketsphinx", "whisper-base")


def test_a_wish_for_what_is_not_there_is_answered_by_the_demo_engine(host: Host) -> None:
    host.wish = "whisper-small"
    assert host.says() == "pocketsphinx"
    assert host.at_work() == ("pocketsphinx", "whisper-small")


def test_everybody_who_asks_during_the_first_load_gets_the_same_engine(host: Host) -> None:
    host.install("whisper-base", "slow")
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(host.says) for _ in range(4)]
        host.until(lambda: host.made)
        assert host.made[0].loading.wait(WITHIN_S)
        assert host.at_work() == ("whisper-base", "")
        host.made[0].go_on.set()
        assert [answer.result(WITHIN_S) for answer in answers] == ["whisper-base"] * 4
    assert len(host.made) == 1


# Changing


def test_a_model_that_comes_takes_over_without_a_restart(host: Host) -> None:
    assert host.says() == "pocketsphinx"
    host.place.refresh()
    assert len(host.made) == 1
    host.install("whisper-base")
    host.place.refresh()
    host.until(lambda: host.at_work()[0] == "whisper-base")
    assert host.says() == "whisper-base"
    assert host.made[0].unloaded.wait(WITHIN_S)


def test_while_the_new_one_loads_the_old_one_answers(host: Host) -> None:
    assert host.says() == "pocketsphinx"
    host.install("whisper-base", "slow")
    host.place.refresh()
    host.until(lambda: len(host.made) == 2)
    assert host.made[1].loading.wait(WITHIN_S)
    assert host.says() == "pocketsphinx" and host.at_work() == ("pocketsphinx", "")
    host.place.refresh()
    host.made[1].go_on.set()
    host.until(lambda: host.at_work()[0] == "whisper-base")
    assert len(host.made) == 2


def test_an_engine_in_somebodys_hands_stays_loaded_until_they_let_go(host: Host) -> None:
    held = host.place.hold()
    assert held.transcribe(SECOND, "auto").text == "pocketsphinx"
    host.install("whisper-base")
    host.place.refresh()
    host.until(lambda: host.at_work()[0] == "whisper-base")
    assert held.transcribe(SECOND, "auto").text == "pocketsphinx"
    assert not host.made[0].unloaded.is_set()
    del held
    gc.collect()
    assert host.made[0].unloaded.wait(WITHIN_S)


def test_a_new_model_that_does_not_load_changes_nothing_but_the_notice(host: Host) -> None:
    host.install("whisper-tiny")
    assert host.says() == "whisper-tiny"
    host.install("whisper-base", "broken")
    host.place.refresh()
    host.until(lambda: host.at_work() == ("whisper-tiny", "whisper-base"))
    assert host.says() == "whisper-tiny" and not host.made[0].unloaded.is_set()


def test_a_model_that_goes_is_replaced_by_what_is_left(host: Host) -> None:
    host.install("whisper-tiny")
    folder = host.install("whisper-base")
    assert host.says() == "whisper-base"
    shutil.rmtree(folder)
    host.place.refresh()
    host.until(lambda: host.at_work() == ("whisper-tiny", ""))


def test_a_model_found_to_be_damaged_goes_and_comes_back_when_it_is_right_again(host: Host) -> None:
    folder = host.install("whisper-base")
    assert host.says() == "whisper-base"
    values = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**values, "damaged": ["model.bin"]}))
    host.place.refresh()
    host.until(lambda: host.at_work() == ("pocketsphinx", "whisper-base"))
    host.install("whisper-base")
    host.place.refresh()
    host.until(lambda: host.at_work() == ("whisper-base", ""))


def test_nobody_loses_a_word_while_engines_come_and_go(host: Host) -> None:
    """Four streams speak without a pause while models are installed and removed under them."""
    stop = threading.Event()

    def speak() -> list[str]:
        said = []
        while not stop.is_set():
            said.append(host.says())
        return said

    with ThreadPoolExecutor(4) as pool:
        streams = [pool.submit(speak) for _ in range(4)]
        try:
            for _ in range(5):
                folder = host.install("whisper-base")
                host.place.refresh()
                host.until(lambda: host.at_work()[0] == "whisper-base")
                shutil.rmtree(folder)
                host.place.refresh()
                host.until(lambda: host.at_work()[0] == "pocketsphinx")
        finally:
            stop.set()
        said = {text for stream in streams for text in stream.result(WITHIN_S)}
    assert said == {"pocketsphinx", "whisper-base"}


# Failing at work


def test_a_model_that_fails_again_and_again_is_given_up_and_the_last_call_answered(host: Host) -> None:
    host.install("whisper-base", "fails")
    for _ in range(MOST_STUMBLES - 1):
        with pytest.raises(EngineError):
            host.says()
    assert host.says() == "pocketsphinx"
    assert host.at_work() == ("pocketsphinx", "whisper-base")
    assert host.made[0].unloaded.wait(WITHIN_S)


def test_a_failure_now_and_then_is_no_reason_to_change(host: Host) -> None:
    host.install("whisper-base", "fails")
    for _ in range(MOST_STUMBLES + 1):
        with pytest.raises(EngineError):
            host.says()
        assert host.place.hold().transcribe(SECOND[:0], "auto").text == "whisper-base"
    assert host.at_work() == ("whisper-base", "")


def test_after_everything_was_unloaded_the_choice_is_made_anew(host: Host) -> None:
    assert host.says() == "pocketsphinx"
    host.install("whisper-base")
    host.place.unload()
    assert host.made[0].unloaded.is_set()
    assert host.says() == "whisper-base"

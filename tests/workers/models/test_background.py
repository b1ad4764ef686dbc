"""Fetching beside a host's work: what heartbeats tell of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.workers.models.conftest import add_paint_model, whisper_files
from tests.workers.models.hub_server import LocalHub
from workers.messages import Fetching
from workers.models import licences
from workers.models.background import Background
from workers.models.catalogue import CATALOGUE, Model
from workers.models.store import State, look

WITHIN_S = 20.0


class Watched(Background):
    """One whose news can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._heard = threading.Condition()
        self.on_news = self._on_news

    def _on_news(self) -> None:
        with self._heard:
            self._heard.notify_all()

    def until(self, condition: Callable[[Fetching], bool]) -> Fetching:
        def met() -> Fetching | None:
            told = self.state()
            return told if told and condition(told) else None

        with self._heard:
            told = self._heard.wait_for(met, WITHIN_S)
        assert told, self.state()
        return told

    def end(self) -> Fetching:
        return self.until(lambda told: told.state in ("done", "failed"))


@pytest.fixture
def background() -> Iterator[Watched]:
    background = Watched()
    yield background
    background.stop()


def test_nothing_is_told_while_nothing_is_fetched(background: Watched) -> None:
    assert background.state() is None and not background.is_busy


def test_a_press_fetches_and_tells_how_far_it_is(background: Watched, base: Model, hub: LocalHub) -> None:
    hub.hold_at["model.bin"] = 500_000
    background.begin(["whisper-base"])
    assert background.is_busy
    while not (told := background.state()) or told.done_bytes < 400_000:
        assert background.is_busy
    assert (told.model, told.state, told.error) == ("whisper-base", "fetching", "")
    assert told.total_bytes == sum(len(whisper_files()[name]) for name in
                                   ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"))  # fmt: skip
    hub.go_on.set()
    told = background.end()
    assert (told.state, told.done_bytes) == ("done", told.total_bytes)
    assert look(base).state == State.WHOLE and not background.is_busy


def test_several_models_are_one_sum_and_come_one_after_the_other(
    background: Watched, base: Model, hub: LocalHub
) -> None:
    voice = CATALOGUE["ecapa-voxceleb"]
    hub.add(
        voice.repository,
        {"hyperparams.yaml": b"a: 1", "embedding_model.ckpt": bytes(30_000), "mean_var_norm_emb.ckpt": b"norm"},
    )
    hub.hold_at["model.bin"] = 100_000
    background.begin([base.name])
    background.begin([voice.name, base.name])
    hub.go_on.set()
    told = background.end()
    assert (told.state, told.model, told.done_bytes) == ("done", voice.name, told.total_bytes)
    assert told.total_bytes > 1_000_000 + 30_000
    assert look(base).state == look(voice).state == State.WHOLE
    assert hub.bytes_sent("model.bin") == 1_000_000


def test_a_failure_is_told_by_its_code_and_can_be_tried_again(
    background: Watched, base: Model, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = whisper_files()["model.bin"]

    def failing() -> str:
        background.begin([base.name])
        told = background.end()
        assert (told.state, background.is_busy) == ("failed", False)
        return told.error

    with monkeypatch.context() as changed:
        changed.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        assert failing() == "offline"
    hub.status = 403
    assert failing() == "refused"
    hub.status = 404
    assert failing() == "refused"
    hub.status = 0
    hub.other_sizes["model.bin"] = 10**15
    assert failing() == "disk_full"
    hub.other_sizes.clear()
    hub.other_bytes["model.bin"] = right[:-1] + b"?"
    assert failing() == "damaged"
    hub.other_bytes.clear()
    background.begin([base.name])
    assert background.until(lambda told: told.state == "done").error == ""


def test_a_restricted_model_is_fetched_once_the_site_says_that_its_licence_is_accepted(
    background: Watched, hub: LocalHub
) -> None:
    turbo = CATALOGUE["sd-turbo"]
    add_paint_model(hub, turbo)
    background.begin([turbo.name])
    told = background.end()
    assert (told.state, told.error) == ("failed", "licence") and hub.questions == []
    background.begin([turbo.name], accepted=[turbo.name])
    assert background.until(lambda told: told.state == "done").model == turbo.name
    assert look(turbo).state == State.WHOLE and licences.is_accepted(turbo)


def test_names_that_nobody_knows_are_ignored(background: Watched) -> None:
    background.begin(["whisper-huge", "../../etc"])
    assert background.state() is None


def test_a_host_that_stops_keeps_what_it_has(background: Watched, base: Model, hub: LocalHub) -> None:
    hub.hold_at["model.bin"] = 500_000
    background.begin([base.name])
    while not (told := background.state()) or told.done_bytes < 400_000:
        assert background.is_busy
    threading.Timer(0.01, hub.go_on.set).start()
    background.stop(within_s=WITHIN_S)
    assert not background.is_busy
    assert look(base).state == State.PARTLY and look(base).here_bytes >= 400_000

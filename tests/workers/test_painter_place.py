"""The painter's place: a request names its model, and no picture waits longer for it than it may take."""

from __future__ import annotations

import gc
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.factories_models import install_paint_model
from workers import tested
from workers.engines.base import Cancelled, Engine, EngineError, OnStep, Painted, Painter
from workers.messages import PaintRequest, Scene
from workers.models.choice import AUTO, Candidate
from workers.painter_place import HeldPainter, PainterPlace
from workers.places import MOST_STUMBLES

WITHIN_S = 30.0


def a_request(**values: object) -> PaintRequest:
    return PaintRequest("id", 1, "a bridge", "", Scene("bridge"), 7, **values)  # type: ignore[arg-type]


class Brush(Painter):
    """Paints nothing; what stands in its folder says how it behaves. The poster has no folder."""

    def __init__(self, candidate: Candidate, diary: list[str]) -> None:
        super().__init__()
        self.name, self.model, self.demo = candidate.engine, candidate.name, candidate.demo
        self._behaviour = candidate.folder / "behaviour" if candidate.folder else None
        self._diary = diary
        self.loading, self.go_on = threading.Event(), threading.Event()
        self.unloaded = threading.Event()

    def _load(self) -> None:
        self._diary.append(f"load {self.model}")
        behaviour = self._behaviour.read_text() if self._behaviour else ""
        self.loading.set()
        if behaviour == "broken":
            raise EngineError("model_missing", "it is only half there")
        if behaviour == "slow":
            assert self.go_on.wait(WITHIN_S)
        self.code = behaviour.removeprefix("fails ") if behaviour.startswith("fails ") else ""

    def _unload(self) -> None:
        self._diary.append(f"unload {self.model}")
        self.unloaded.set()

    def _paint(self, request: PaintRequest, on_step: OnStep) -> Painted:
        if self.code == "cancelled":
            raise Cancelled
        if self.code:
            raise EngineError(self.code, "no picture")
        return Painted(Image.new("RGB", (8, 8)), request.seed)

    def _finish(self, frame_id: str) -> Painted | None:
        return Painted(Image.new("RGB", (16, 16)), 1)


class Host:
    def __init__(self, models: Path) -> None:
        self.models = models
        self.wish = AUTO
        self.fit = True
        self.made: list[Brush] = []
        self.diary: list[str] = []
        self._changed = threading.Condition()
        self.place = PainterPlace(lambda: self.wish, self._make, self._on_change, lambda old, new: self.fit)

    def _make(self, candidate: Candidate) -> Engine:
        self.made.append(Brush(candidate, self.diary))
        self._on_change()
        return self.made[-1]

    def _on_change(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def until(self, condition: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, WITHIN_S)

    def install(self, name: str, behaviour: str = "fine") -> Path:
        return install_paint_model(self.models, name, {"behaviour": behaviour})

    def brush(self, name: str) -> Brush:
        """The last one made for this model; waits for the first."""
        self.until(lambda: any(brush.model == name for brush in self.made))
        return [brush for brush in self.made if brush.model == name][-1]

    def paints(self, model: str = "", within_s: float | None = None) -> tuple[str, list[str]]:
        """(model that painted, compromises)"""
        painter = self.place.hold(model, within_s)
        painted = painter.paint(a_request(model=model))
        return painter.facts().model, painted.compromises

    def at_work(self) -> tuple[str, str]:
        facts = self.place.facts()
        return facts.model, facts.instead_of


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("MEETVIZ_HOME", str(tmp_path))
    monkeypatch.setenv("MEETVIZ_MODELS_DIR", str(tmp_path / "models"))
    # Any profile that paints: the choice among profiles has tests of its own.
    monkeypatch.setenv("MEETVIZ_PROFILE", "laptop-cuda")
    host = Host(tmp_path / "models")
    yield host
    for brush in host.made:
        brush.go_on.set()
    host.place.unload()


def test_the_profile_is_the_one_that_was_asked_for(host: Host) -> None:
    assert tested.current_profile().name == "laptop-cuda"


# Which one paints


def test_without_models_the_poster_paints_and_nothing_is_missing(host: Host) -> None:
    assert host.paints() == ("poster", [])
    assert host.at_work() == ("poster", "")


def test_of_what_is_installed_the_profiles_best_paints(host: Host) -> None:
    host.install("sdxs")
    host.install("sd15-lcm")
    assert host.paints() == ("sd15-lcm", [])


def test_a_model_whose_licence_must_be_accepted_paints_only_when_it_is_named(host: Host) -> None:
    host.install("sd-turbo")
    assert host.paints() == ("poster", [])
    assert host.paints("sd-turbo") == ("sd-turbo", [])
    assert host.paints() == ("poster", [])
    host.wish = "sd-turbo"
    host.place.refresh()
    host.until(lambda: host.at_work()[0] == "sd-turbo")
    assert host.paints() == ("sd-turbo", [])


def test_a_request_that_names_another_model_gets_it_and_a_second_one_loads_nothing(host: Host) -> None:
    host.install("sd15-lcm")
    host.install("sdxs")
    assert host.paints() == ("sd15-lcm", [])
    assert host.paints("sdxs") == ("sdxs", [])
    assert host.paints("sdxs") == ("sdxs", [])
    assert host.diary.count("load sdxs") == 1
    assert host.brush("sd15-lcm").unloaded.wait(WITHIN_S)


def test_where_both_fit_the_old_one_is_unloaded_when_the_new_one_is_there(host: Host) -> None:
    host.install("sd15-lcm")
    host.install("sdxs")
    host.paints()
    host.paints("sdxs")
    assert host.brush("sd15-lcm").unloaded.wait(WITHIN_S)
    assert host.diary == ["load sd15-lcm", "load sdxs", "unload sd15-lcm"]


def test_where_both_do_not_fit_the_old_one_is_unloaded_first(host: Host) -> None:
    host.fit = False
    host.install("sd15-lcm")
    host.install("sdxs")
    host.paints()
    host.paints("sdxs")
    host.paints()
    assert host.diary == ["load sd15-lcm", "unload sd15-lcm", "load sdxs", "unload sdxs", "load sd15-lcm"]


def test_a_painter_in_somebodys_hands_is_not_unloaded_for_another(host: Host) -> None:
    host.fit = False
    host.place.users_let_go_within_s = 10 * WITHIN_S
    host.install("sd15-lcm")
    host.install("sdxs")
    first: list[HeldPainter] = [host.place.hold()]
    asking = threading.Thread(target=host.paints, args=("sdxs",), daemon=True)
    asking.start()
    host.until(lambda: len(host.made) == 2)
    assert not host.brush("sd15-lcm").unloaded.is_set() and not host.brush("sdxs").loading.is_set()
    assert first[0].finish("id") is not None
    first.clear()
    gc.collect()
    asking.join(WITHIN_S)
    assert host.diary == ["load sd15-lcm", "unload sd15-lcm", "load sdxs"]


def test_who_never_lets_go_does_not_keep_the_others_waiting(host: Host) -> None:
    host.fit = False
    host.place.users_let_go_within_s = 0.0
    host.install("sd15-lcm")
    host.install("sdxs")
    kept = host.place.hold()
    assert host.paints("sdxs") == ("sdxs", [])
    assert host.brush("sd15-lcm").unloaded.is_set() and kept.model == "sd15-lcm"


# What cannot be had


@pytest.mark.parametrize("state", ["absent", "broken", "damaged"])
def test_a_named_model_that_cannot_be_had_is_replaced_and_the_picture_says_so(host: Host, state: str) -> None:
    host.install("sd15-lcm")
    if state != "absent":
        folder = host.install("sdxl-lcm", "broken")
        if state == "damaged":
            (folder / "model_index.json").unlink()
    assert host.paints("sdxl-lcm") == ("sd15-lcm", ["other_model"])
    assert host.at_work() == ("sd15-lcm", "sdxl-lcm")
    assert host.paints() == ("sd15-lcm", [])
    assert host.at_work() == ("sd15-lcm", "")


def test_a_painter_in_the_settings_that_is_not_there_is_named_and_replaced(host: Host) -> None:
    host.wish = "sd-turbo"
    assert host.paints() == ("poster", ["other_model"])
    assert host.at_work() == ("poster", "sd-turbo")
    host.install("sdxs")
    host.place.refresh()
    host.until(lambda: host.at_work() == ("sdxs", "sd-turbo"))


def test_where_no_model_loads_the_poster_paints(host: Host) -> None:
    host.install("sd15-lcm", "broken")
    host.install("sdxs", "broken")
    assert host.paints() == ("poster", ["other_model"])
    assert host.at_work() == ("poster", "sd15-lcm")


@pytest.mark.parametrize("code", ["engine_failed", "out_of_memory", "black_picture"])
def test_a_model_that_fails_three_times_is_given_up_and_its_last_picture_painted_by_another(
    host: Host, code: str
) -> None:
    host.install("sd15-lcm", f"fails {code}")
    for _ in range(MOST_STUMBLES - 1):
        with pytest.raises(EngineError):
            host.paints()
    assert host.paints() == ("poster", ["other_model"])
    assert host.at_work() == ("poster", "sd15-lcm")
    # Before anything else is loaded: it may have failed for lack of memory.
    assert host.brush("sd15-lcm").unloaded.is_set()


@pytest.mark.parametrize("code", ["cancelled", "blocked_picture", "bad_reference", "bad_setting"])
def test_what_is_not_the_models_fault_is_no_stumble(host: Host, code: str) -> None:
    host.install("sd15-lcm", f"fails {code}")
    for _ in range(MOST_STUMBLES + 2):
        with pytest.raises(EngineError) as raised:
            host.paints()
        assert raised.value.code == code
    assert host.at_work() == ("sd15-lcm", "")


def test_a_model_that_comes_later_is_changed_to_without_a_restart(host: Host) -> None:
    assert host.paints() == ("poster", [])
    host.install("sd15-lcm")
    host.place.refresh()
    host.until(lambda: host.at_work() == ("sd15-lcm", ""))
    shutil.rmtree(host.models / "sd15-lcm")
    host.place.refresh()
    host.until(lambda: host.at_work() == ("poster", ""))


# Waiting


def test_a_picture_that_cannot_wait_for_the_first_load_is_a_poster_and_says_so(host: Host) -> None:
    host.install("sd15-lcm", "slow")
    assert host.paints(within_s=0.0) == ("poster", ["other_model"])
    assert host.at_work() == ("sd15-lcm", "")
    host.brush("sd15-lcm").go_on.set()
    assert host.paints() == ("sd15-lcm", [])
    assert host.diary.count("load sd15-lcm") == 1


def test_a_picture_that_cannot_wait_for_another_model_is_painted_by_the_old_one(host: Host) -> None:
    host.install("sd15-lcm")
    host.install("sdxs", "slow")
    host.paints()
    assert host.paints("sdxs", within_s=0.0) == ("sd15-lcm", ["other_model"])
    host.brush("sdxs").go_on.set()
    assert host.paints("sdxs") == ("sdxs", [])
    assert host.paints() == ("sd15-lcm", [])


def test_who_asks_while_somebody_else_loads_waits_for_the_same_engine_or_takes_the_poster(host: Host) -> None:
    host.install("sd15-lcm", "slow")
    found: list[str] = []
    waiting = [threading.Thread(target=lambda: found.append(host.paints()[0]), daemon=True) for _ in range(3)]
    for thread in waiting:
        thread.start()
    host.until(lambda: host.made)
    assert host.made[0].loading.wait(WITHIN_S)
    assert host.paints(within_s=0.0)[0] == "poster"
    host.made[0].go_on.set()
    for thread in waiting:
        thread.join(WITHIN_S)
    assert found == ["sd15-lcm"] * 3 and host.diary.count("load sd15-lcm") == 1


def test_after_everything_was_unloaded_the_choice_is_made_anew(host: Host) -> None:
    host.install("sd15-lcm", "slow")
    assert host.paints(within_s=0.0)[0] == "poster"
    host.brush("sd15-lcm").go_on.set()
    host.place.unload()
    host.install("sdxs")
    assert host.paints("sdxs") == ("sdxs", [])

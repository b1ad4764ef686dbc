"""The readers of the environment: what they take, and that they fail loudly."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from meetviz_site.env import env, envbool, envchoice, envint, envlist
from workers.environment import BadSetting, setting


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THING", raising=False)
    monkeypatch.delenv("THING_FILE", raising=False)


def test_nothing_set_and_empty_mean_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        assert env("THING", "tea") == setting("THING", "tea") == "tea"
        assert envbool("THING", True) is True
        assert envint("THING", 7) == 7
        assert envlist("THING", "a, b") == ["a", "b"]
        assert envchoice("THING", "a", ("a", "b")) == "a"
        monkeypatch.setenv("THING", "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", True),
        ("YES", True),
        ("on", True),
        ("True", True),
        ("0", False),
        ("no", False),
        ("Off", False),
        ("false", False),
    ],
)
def test_yes_and_no_in_the_usual_words(monkeypatch: pytest.MonkeyPatch, text: str, value: bool) -> None:
    monkeypatch.setenv("THING", text)
    assert envbool("THING", not value) is value


@pytest.mark.parametrize("text", ["maybe", "2", "yess", "ja"])
def test_anything_else_than_yes_or_no_stops_the_start(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("THING", text)
    with pytest.raises(ImproperlyConfigured, match=f"THING must be yes or no.*{text}"):
        envbool("THING", False)


@pytest.mark.parametrize("text", ["twelve", "1.5", "1e3", "0x10", "--1"])
def test_what_is_no_whole_number_stops_the_start(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("THING", text)
    with pytest.raises(ImproperlyConfigured, match="THING must be a whole number"):
        envint("THING", 1)


@pytest.mark.parametrize("text", ["9", "21", "-12"])
def test_a_number_out_of_bounds_stops_the_start_and_names_them(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("THING", text)
    with pytest.raises(ImproperlyConfigured, match=f"THING must be between 10 and 20, not {text}"):
        envint("THING", 12, low=10, high=20)


def test_bounds_belong_to_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("10", "20"):
        monkeypatch.setenv("THING", text)
        assert envint("THING", 12, low=10, high=20) == int(text)


def test_lists_drop_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THING", " a.example ,, b.example,")
    assert envlist("THING") == ["a.example", "b.example"]


def test_a_choice_that_is_none_stops_the_start_and_names_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THING", "oil")
    with pytest.raises(ImproperlyConfigured, match="one of poster, diffusers, not 'oil'"):
        envchoice("THING", "poster", ("poster", "diffusers"))


def test_a_secret_may_come_from_a_file_which_counts_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    monkeypatch.setenv("THING_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("THING", "from the environment")
    assert env("THING") == setting("THING") == "from the file"


def test_a_file_that_cannot_be_read_stops_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THING_FILE", str(tmp_path / "missing"))
    with pytest.raises(ImproperlyConfigured, match=r"THING_FILE names .*missing, which cannot be read"):
        env("THING")
    with pytest.raises(BadSetting, match=r"THING_FILE names .*missing, which cannot be read"):
        setting("THING")

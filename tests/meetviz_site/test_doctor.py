"""`manage.py doctor`: what it says to people, for machines that are not here."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from meetviz_site.management.commands import doctor as command
from tests.sites import ROOT
from workers.diagnosis import Hearing, Painting, Problem, Report, word_errors, words_of
from workers.hardware import CudaDevice, Hardware
from workers.messages import SAMPLE_RATE_HZ
from workers.profiles import PROFILES, Reason, choose
from workers.tested import Findings

CPU = Hardware("Linux", "x86_64", 2, 8_000, processor="AMD EPYC")
GTX_1660_TI = dataclasses.replace(CPU, cuda=(CudaDevice(0, "NVIDIA GeForce GTX 1660 Ti", (7, 5), 6_144),))
MACBOOK = Hardware("Darwin", "arm64", 4, 16_384, mps=True)


class Anything(dict[str, str]):
    """Values for every text."""

    def __missing__(self, key: str) -> str:
        return f"<{key}>"


def codes_of(name: str) -> Iterator[str]:
    """Every code that the hosts' rooms give to this class, written out."""
    for path in (ROOT / "workers" / "profiles.py", ROOT / "workers" / "doctor.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == name and node.args:
                for leaf in ast.walk(node.args[0]):
                    if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str):
                        yield leaf.value
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "_failure":
                yield from (ast.literal_eval(node.args[0]),) if name == "Problem" else ()


def report(machine: Hardware = CPU, **values: object) -> Report:
    profile = choose(machine)
    found = Findings({}, 0.0, devices={"cuda:0": "works"} if machine.cuda else {})
    return Report(machine, {"torch": "2.13.0", "openvino": ""}, [], found, profile.name, profile.why, **values)  # type: ignore[arg-type]


def said(found: Report) -> str:
    return "\n".join(command.lines_of(found, 12.3))


def test_every_reason_has_its_words() -> None:
    codes = set(codes_of("Reason"))
    assert {"asked_for", "card_small", "no_half_precision", "half_precision_fails", "metal", "too_small"} <= codes
    for code in codes:
        assert command._reason(Reason(code, Anything()))


def test_every_problem_has_its_words() -> None:
    codes = set(codes_of("Problem"))
    assert {"wish_unmet", "painter_failed", "speech_failed", "torch_without_device", "not_stored"} <= codes
    for code in codes:
        assert command._problem(Problem(code, Anything()))


@pytest.mark.parametrize("machine", [CPU, GTX_1660_TI, MACBOOK])
def test_it_says_what_is_here_and_why_it_chose(machine: Hardware) -> None:
    text = said(report(machine))
    assert choose(machine).name in text and choose(machine).name in PROFILES
    assert ("GTX 1660 Ti" in text) == bool(machine.cuda) and ("Metal" in text) == machine.mps
    assert "openvino –" in text and "12 s" in text


def test_it_says_what_that_gives() -> None:
    painting = Painting("diffusers", "sd15-lcm", "cuda", "float32", False, 4, 512, 512, 1.5)
    hearing = Hearing("faster-whisper", "whisper-base", 0.41, 1.0, 17, 2)
    text = said(report(painting=painting, hearing=hearing))
    assert "sd15-lcm (diffusers on cuda), 512 × 512, 4 steps, 1.50 s each" in text
    assert "whisper-base, 0.41 s each, 2 of 17 words wrong" in text
    poster = Painting("poster", "poster", "cpu", "auto", True, 1, 1024, 576, 0.2)
    worth = Painting("diffusers", "sdxs", "cpu", "float32", picture_s=4.26, measured=False)
    text = said(report(painting=poster, could_paint=worth))
    assert "the built-in poster, 1024 × 576, 0.20 s each" in text
    assert "about 4.3 s each: manage.py models pull sdxs" in text


def test_what_does_not_work_is_said_without_figures() -> None:
    text = said(report(painting=Painting("diffusers", "mine", "cpu", "auto"), hearing=Hearing("ear", "ear")))
    assert "mine does not paint" in text and "ear does not hear" in text


def test_what_is_broken_comes_last_and_apart_from_what_is_worth_knowing() -> None:
    broken = Problem("model_damaged", {"model": "sdxs", "problem": "unet is missing"})
    note = Problem("disk_small", {"model": "sdxs", "gb": "2.7", "free_gb": "1.0"}, broken=False)
    lines = said(report(problems=[broken, note])).splitlines()
    assert lines.index("Worth knowing") < lines.index("Broken")
    assert any("manage.py models pull sdxs" in line for line in lines[lines.index("Broken") :])
    assert report(problems=[broken]).broken and not report(problems=[note]).broken


def test_the_shipped_line_is_cut_where_it_is_spoken() -> None:
    clip = command.spoken_clip()
    assert clip and clip.text.startswith("Yes, a small wooden bridge.") and len(words_of(clip.text)) == 17
    assert 4 < len(clip.samples) / SAMPLE_RATE_HZ < 8 and 0.05 < abs(clip.samples).max() <= 1
    assert word_errors(words_of(clip.text), words_of(clip.text.upper())) == 0


@pytest.mark.parametrize("painter", ["", "oil"])
def test_its_exit_code_and_its_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, painter: str) -> None:
    """Really run, with the engines that need no model."""
    monkeypatch.setenv("MEETVIZ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEETVIZ_PROFILE", "demo")
    monkeypatch.setenv("MEETVIZ_PAINTER", painter)
    out = StringIO()
    if painter:
        with pytest.raises(SystemExit) as ended:
            call_command("doctor", "--json", stdout=out)
        assert ended.value.code == 1
    else:
        call_command("doctor", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert told["broken"] is bool(painter) and told["profile"] == "demo"
    assert [problem["code"] for problem in told["problems"]] == (["wish_unmet"] if painter else [])
    assert told["painting"]["demo"] and told["hearing"]["model"] == "pocketsphinx"
    assert (tmp_path / "home" / "profile.json").is_file()

"""Which model a host runs, and which it should fetch: the best that the machine keeps up with."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from workers.engines.paint.diffusion.families import Family
from workers.engines.paint.exported import manifest
from workers.hardware import CudaDevice, Hardware
from workers.models.catalogue import CATALOGUE, Role
from workers.models.choice import AUTO, candidates, recommended
from workers.models.store import Look, State
from workers.profiles import named

TWO_CORES = Hardware("Linux", "x86_64", 2, 8_000)
EIGHT_CORES = replace(TWO_CORES, cores=8)
GTX_1660_TI = replace(EIGHT_CORES, cuda=(CudaDevice(0, "NVIDIA GeForce GTX 1660 Ti", (7, 5), 6_144),))
LARGE_CARD = replace(EIGHT_CORES, cuda=(CudaDevice(0, "NVIDIA RTX A5000", (8, 6), 24_564),))
SMALL_CARD = replace(TWO_CORES, cuda=(CudaDevice(0, "NVIDIA GeForce GTX 1050", (6, 1), 2_048),))


def looks(**states: State) -> dict[str, Look]:
    """What there is of each model; underscores in names stand for dashes."""
    here = {name.replace("_", "-"): state for name, state in states.items()}
    return {
        name: Look(model, here.get(name, State.ABSENT), Path("/models") / name, problem="a file is missing")
        for name, model in CATALOGUE.items()
    }


def chosen(role: Role, wish: str, machine: Hardware, **states: State) -> list[tuple[str, bool]]:
    """(name, usable), best first."""
    return [(found.name, not found.problem) for found in candidates(role, wish, looks(**states), machine)]


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (TWO_CORES, "whisper-base"),
        (EIGHT_CORES, "whisper-small"),
        (GTX_1660_TI, "whisper-small"),
        (LARGE_CARD, "whisper-large-v3"),
        (SMALL_CARD, "whisper-small"),
    ],
)
def test_what_is_worth_fetching_depends_on_the_machine(machine: Hardware, name: str) -> None:
    speech, voice = recommended(Role.SPEECH, machine), recommended(Role.VOICE, machine)
    assert speech and speech.name == name and voice and voice.name == "ecapa-voxceleb"


def test_with_nothing_installed_the_demo_engine_is_all_there_is() -> None:
    assert chosen(Role.SPEECH, AUTO, TWO_CORES) == [("pocketsphinx", True)]
    assert chosen(Role.VOICE, AUTO, TWO_CORES) == [("resemblyzer", True)]


@pytest.mark.parametrize(
    ("machine", "first"), [(TWO_CORES, "whisper-base"), (EIGHT_CORES, "whisper-small"), (GTX_1660_TI, "whisper-small")]
)
def test_of_what_is_installed_the_best_for_the_machine_comes_first(machine: Hardware, first: str) -> None:
    names = chosen(
        Role.SPEECH, AUTO, machine, whisper_tiny=State.WHOLE, whisper_base=State.WHOLE, whisper_small=State.WHOLE
    )
    assert names[0] == (first, True) and names[-1] == ("pocketsphinx", True) and len(names) == 4


def test_what_a_processor_cannot_keep_up_with_is_taken_only_when_named() -> None:
    states = {"whisper_large_v3": State.WHOLE}
    assert chosen(Role.SPEECH, AUTO, EIGHT_CORES, **states) == [("pocketsphinx", True)]
    assert chosen(Role.SPEECH, "whisper-large-v3", EIGHT_CORES, **states)[0] == ("whisper-large-v3", True)


def test_a_model_for_english_alone_comes_after_all_that_know_more() -> None:
    states = {"distil_large_v3": State.WHOLE, "whisper_tiny": State.WHOLE}
    assert chosen(Role.SPEECH, AUTO, GTX_1660_TI, **states)[:2] == [("whisper-tiny", True), ("distil-large-v3", True)]


def test_a_damaged_model_stands_where_it_would_be_chosen_and_half_a_one_does_not() -> None:
    states = {"whisper_small": State.DAMAGED, "whisper_base": State.WHOLE, "whisper_tiny": State.PARTLY}
    assert chosen(Role.SPEECH, AUTO, EIGHT_CORES, **states) == [
        ("whisper-small", False), ("whisper-base", True), ("pocketsphinx", True),
    ]  # fmt: skip


def test_a_demo_engine_can_be_asked_for() -> None:
    assert chosen(Role.SPEECH, "pocketsphinx", TWO_CORES, whisper_base=State.WHOLE) == [("pocketsphinx", True)]


def test_a_model_that_is_named_and_not_there_has_only_the_demo_engine_behind_it() -> None:
    assert chosen(Role.SPEECH, "whisper-small", TWO_CORES, whisper_base=State.WHOLE) == [
        ("whisper-small", False), ("pocketsphinx", True),
    ]  # fmt: skip


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    (found, demo) = candidates(Role.SPEECH, str(tmp_path), looks(), TWO_CORES)
    assert (found.engine, found.folder, found.problem) == ("faster-whisper", tmp_path, "")
    assert demo.demo
    (lost, _demo) = candidates(Role.VOICE, str(tmp_path / "nowhere"), looks(), TWO_CORES)
    assert (lost.engine, lost.problem) == ("speechbrain", f"there is no folder {tmp_path / 'nowhere'}")


@pytest.mark.parametrize("wish", ["whisper", "ecapa-voxceleb"])
def test_a_wish_that_is_none_is_answered_with_what_can_be_wished(wish: str) -> None:
    (found, demo) = candidates(Role.SPEECH, wish, looks(), TWO_CORES)
    assert "MEETVIZ_SPEECH must be one of auto, pocketsphinx, whisper-tiny" in found.problem and demo.demo


# Painters


@pytest.mark.parametrize(
    ("machine", "name"),
    [(TWO_CORES, "sdxs"), (EIGHT_CORES, "sd15-lcm"), (GTX_1660_TI, "sd15-lcm"), (LARGE_CARD, "sdxl-lightning")],
)
def test_the_painter_worth_fetching_depends_on_the_machine(machine: Hardware, name: str) -> None:
    found = recommended(Role.PAINT, machine)
    assert found and found.name == name and not found.opt_in


def test_a_machine_that_cannot_paint_is_recommended_nothing() -> None:
    assert recommended(Role.PAINT, replace(TWO_CORES, memory_mb=2_000)) is None
    assert chosen(Role.PAINT, AUTO, replace(TWO_CORES, memory_mb=2_000), sd15_lcm=State.WHOLE) == [("poster", True)]


def test_an_opt_in_model_paints_only_when_it_is_named() -> None:
    states = {"sd_turbo": State.WHOLE, "sdxl_turbo": State.WHOLE}
    assert chosen(Role.PAINT, AUTO, LARGE_CARD, **states) == [("poster", True)]
    assert chosen(Role.PAINT, "sd-turbo", LARGE_CARD, **states) == [("sd-turbo", True), ("poster", True)]


def test_a_named_painter_that_is_missing_has_the_others_behind_it() -> None:
    states = {"sd15_lcm": State.WHOLE, "sdxl_lcm": State.PARTLY}
    assert chosen(Role.PAINT, "sdxl-lcm", LARGE_CARD, **states) == [
        ("sdxl-lcm", False), ("sd15-lcm", True), ("poster", True),
    ]  # fmt: skip
    assert chosen(Role.PAINT, "sd15-lcm", LARGE_CARD, **states) == [("sd15-lcm", True), ("poster", True)]


@pytest.mark.parametrize("wish", ["diffusers", "oil", "whisper-base"])
def test_a_painter_that_is_none_is_answered_with_what_can_be_wished(wish: str) -> None:
    (found, demo) = candidates(Role.PAINT, wish, looks(), TWO_CORES)
    assert "MEETVIZ_PAINTER must be one of auto, poster, sd15-lcm" in found.problem and demo.name == "poster"


def test_the_demo_profile_wants_no_models_at_all() -> None:
    profile = named("demo", EIGHT_CORES)
    whole = looks(sd15_lcm=State.WHOLE, whisper_base=State.WHOLE, ecapa_voxceleb=State.WHOLE)
    for role in Role:
        (only,) = candidates(role, AUTO, whole, EIGHT_CORES, profile)
        assert only.demo and recommended(role, EIGHT_CORES, profile) is None


def exported_model(folder: Path) -> Path:
    """A folder with an export that is whole by its names and sizes."""
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "onnx").mkdir()
    files = {f"{name}.onnx": 1 for name in manifest.NEEDED}
    for name in files:
        (folder / "onnx" / name).write_text("x")
    family = Family("sd1", "lcm", 4, 2, (512, 512), 384, 1.0, "lcm")
    facts = manifest.Manifest(
        model=folder.name, family=asdict(family), width_px=512, height_px=512, channels=4, guidance_channels=0,
        scheduler="LCMScheduler", scheduler_config={}, decoder="tiny", weights="exact", zero_negative=False,
        files=files, source=manifest.fingerprint(folder), opset=18,
    )  # fmt: skip
    facts.write(folder / "onnx")
    return folder


def test_an_exported_model_is_run_exported_on_processors_and_as_it_is_on_cards(tmp_path: Path) -> None:
    folder = exported_model(tmp_path / "mine")
    ranked = candidates(Role.PAINT, str(folder), looks(), TWO_CORES)
    # In single precision the export is the quicker one whichever runtime there is.
    assert [(found.engine, found.name) for found in ranked] == [
        ("onnx", "mine"), ("diffusers", "mine"), ("poster", "poster"),
    ]  # fmt: skip
    assert [found.engine for found in candidates(Role.PAINT, str(folder), looks(), LARGE_CARD)] == [
        "diffusers", "poster",
    ]  # fmt: skip


@pytest.mark.parametrize("harm", ["cut short", "no facts", "no tokenizer"])
def test_an_export_that_is_not_whole_is_passed_over(tmp_path: Path, harm: str) -> None:
    folder = exported_model(tmp_path / "mine")
    if harm == "cut short":
        (folder / "onnx" / "unet.onnx").write_text("")
    elif harm == "no facts":
        (folder / "onnx" / manifest.FILE).write_text("{")
    else:
        (folder / "tokenizer").rmdir()
    found = candidates(Role.PAINT, str(folder), looks(), TWO_CORES)
    assert [candidate.engine for candidate in found] == ["diffusers", "poster"]

"""The hardware profiles, for machines that are not here: which models each runs, and how."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from workers import tested
from workers.engines.paint.diffusion.precision import check_settings
from workers.hardware import CudaDevice, Hardware
from workers.models.catalogue import CATALOGUE, Role
from workers.models.entries import Family
from workers.profiles import PROFILES, Profile, choose, named
from workers.tested import Findings, adjusted, fingerprint

CPU = Hardware("Linux", "x86_64", 8, 16_000)
TWO_CORES = replace(CPU, cores=2, memory_mb=8_000)
EPYC_TWO_CORES = replace(TWO_CORES, bfloat16=True)
XEON_TWO_CORES = replace(TWO_CORES, bfloat16=True, matrix_units=True)
MACBOOK_M4 = Hardware("Darwin", "arm64", 4, 16_384, mps=True)
PAINTERS = {name for name, model in CATALOGUE.items() if model.role == Role.PAINT}
ANYBODYS = {name for name in PAINTERS if not CATALOGUE[name].opt_in}


def with_card(name: str, memory_mb: int, capability: tuple[int, int], index: int = 0) -> Hardware:
    return replace(CPU, cuda=(CudaDevice(index, name, capability, memory_mb),))


RTX_3050_4GB = with_card("NVIDIA GeForce RTX 3050 Laptop GPU", 4_096, (8, 6))
GTX_1650 = with_card("NVIDIA GeForce GTX 1650", 3_911, (7, 5))
GTX_1660_TI = with_card("NVIDIA GeForce GTX 1660 Ti", 6_144, (7, 5))
GTX_1080 = with_card("NVIDIA GeForce GTX 1080", 8_192, (6, 1))
RTX_2060 = with_card("NVIDIA GeForce RTX 2060", 6_144, (7, 5))
RTX_4060 = with_card("NVIDIA GeForce RTX 4060 Laptop GPU", 8_188, (8, 9))
RTX_3060 = with_card("NVIDIA GeForce RTX 3060", 12_288, (8, 6))
RTX_4090 = with_card("NVIDIA GeForce RTX 4090", 24_564, (8, 9))
H200 = with_card("NVIDIA H200", 143_771, (9, 0))
OLD_CARD = with_card("NVIDIA GeForce GT 1030", 2_000, (6, 1))
MACHINES = {
    "rtx-3050": RTX_3050_4GB, "gtx-1650": GTX_1650, "gtx-1660-ti": GTX_1660_TI, "gtx-1080": GTX_1080,
    "rtx-2060": RTX_2060, "rtx-4060": RTX_4060, "rtx-3060": RTX_3060, "rtx-4090": RTX_4090, "h200": H200,
    "old card": OLD_CARD, "m4": MACBOOK_M4, "eight cores": CPU, "two cores": TWO_CORES, "epyc": EPYC_TWO_CORES,
    "xeon": XEON_TWO_CORES, "one core": replace(CPU, cores=1), "2 GB": replace(TWO_CORES, memory_mb=2_000),
}  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "profile", "first"),
    [
        ("rtx-3050", "laptop-cuda", "sd15-lcm"),
        ("gtx-1650", "laptop-cuda", "sd15-lcm"),
        ("gtx-1660-ti", "laptop-cuda", "sd15-lcm"),
        ("rtx-4060", "laptop-cuda", "sd15-lcm"),
        ("rtx-3060", "gpu-server", "sdxl-lightning"),
        ("rtx-4090", "gpu-server", "sdxl-lightning"),
        ("h200", "gpu-server", "sdxl-lightning"),
        ("m4", "laptop-mps", "sd15-lcm"),
        ("eight cores", "cpu-server", "sd15-lcm"),
        ("two cores", "cpu-server", "sdxs"),
        ("epyc", "cpu-server", "sdxs"),
        ("xeon", "cpu-server", "sd15-lcm"),
        ("old card", "cpu-server", "sd15-lcm"),
        ("one core", "demo", ""),
        ("2 GB", "demo", ""),
    ],
)
def test_the_hardware_chooses_the_profile_and_its_painter(machine: str, profile: str, first: str) -> None:
    found = choose(MACHINES[machine])
    assert (found.name, next(iter(found.paint), "")) == (profile, first)
    assert found.why


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("profile", ["", *PROFILES])
def test_every_profile_can_be_had_on_every_machine(machine: str, profile: str) -> None:
    found = named(profile, MACHINES[machine]) if profile else choose(MACHINES[machine])
    assert set(found.paint) <= ANYBODYS, "a licence that must be accepted is nobody's choice but the owner's"
    assert all(CATALOGUE[name].role == Role.SPEECH for name in found.speech)
    for name in PAINTERS:
        settings = found.settings_for(name)
        check_settings(settings)
        assert settings.profile == found.name and settings.threads >= 1
        assert settings.steps >= 1 and settings.width_px >= 512


@pytest.mark.parametrize("machine", [GTX_1650, GTX_1660_TI, GTX_1080])
def test_cards_without_right_half_precision_store_in_it_and_compute_in_single(machine: Hardware) -> None:
    found = choose(machine)
    for settings in (found.small, found.large):
        assert (settings.dtype, settings.storage) == ("float32", "float16")
        assert settings.text_encoder_device == "cpu" and settings.tiny_vae
    assert "no_half_precision" in {reason.code for reason in found.why}


@pytest.mark.parametrize("machine", [RTX_2060, RTX_4060, RTX_3060, RTX_4090, H200])
def test_cards_with_tensor_cores_compute_in_half_precision(machine: Hardware) -> None:
    settings = choose(machine).small
    assert (settings.dtype, settings.storage, settings.channels_last) == ("float16", "", True)


def test_a_card_of_4_gb_leaves_prompts_to_the_processor() -> None:
    assert choose(RTX_3050_4GB).small.text_encoder_device == "cpu"
    assert choose(RTX_2060).small.text_encoder_device == ""


def test_sdxl_is_for_8_gb_with_offload_and_for_12_gb_without() -> None:
    assert "sdxl-lightning" not in choose(RTX_2060).paint
    assert choose(RTX_4060).paint[:2] == ("sd15-lcm", "sdxl-lightning")
    assert choose(RTX_4060).settings_for("sdxl-lightning").offload == "model"
    assert choose(RTX_4060).settings_for("sd15-lcm").offload == ""
    assert choose(RTX_3060).settings_for("sdxl-lightning").offload == ""


def test_only_large_cards_compile() -> None:
    assert [choose(machine).small.compile for machine in (RTX_4060, RTX_3060, RTX_4090, H200)] == [
        False, False, True, True,
    ]  # fmt: skip


def test_a_mac_paints_in_half_precision_on_metal_and_hears_on_the_processor() -> None:
    found = choose(MACBOOK_M4)
    assert (found.small.device, found.small.dtype, found.small.offload) == ("mps", "float16", "")
    assert found.speech[0] in ("whisper-base", "whisper-small")
    assert "sdxl-lightning" in choose(replace(MACBOOK_M4, memory_mb=36_864)).paint


def test_a_processor_computes_in_what_it_is_quick_in() -> None:
    assert choose(TWO_CORES).small.dtype == "float32"
    assert choose(XEON_TWO_CORES).small.dtype == "bfloat16"
    assert choose(XEON_TWO_CORES).on_cpu and not choose(H200).on_cpu


def test_of_two_cards_the_larger_paints_and_hearing_keeps_the_first_to_itself() -> None:
    two = replace(CPU, cuda=(*GTX_1660_TI.cuda, replace(RTX_3060.cuda[0], index=1)))
    found = choose(two)
    assert (found.name, found.small.device) == ("gpu-server", "cuda:1")
    assert found.speech[0] == "whisper-large-v3"
    equal = replace(CPU, cuda=(RTX_3060.cuda[0], replace(RTX_3060.cuda[0], index=1)))
    assert choose(equal).small.device == "cuda:1"


def test_one_card_for_both_leaves_room_for_pictures() -> None:
    assert choose(GTX_1660_TI).speech[0] == "whisper-small"
    assert choose(RTX_3060).speech[0] == "whisper-medium"
    assert choose(RTX_4090).speech[0] == "whisper-large-v3"


def test_the_models_usual_steps_and_size_are_taken_and_more_steps_where_they_are_cheap() -> None:
    assert [choose(machine).settings_for("sd15-lcm").steps for machine in (GTX_1660_TI, RTX_4060, RTX_4090)] == [
        4,
        6,
        8,
    ]
    turbo = choose(RTX_4090).settings_for("sdxl-turbo")
    assert (turbo.steps, turbo.width_px) == (4, 512)
    assert choose(RTX_4090).settings_for("sd-turbo").steps == 1


def test_a_folder_of_ones_own_is_run_by_its_family_with_its_own_steps() -> None:
    found = choose(RTX_4060)
    own = found.settings_for(None, Family.SDXL)
    assert (own.offload, own.steps, own.width_px) == ("model", 0, 0)
    assert found.settings_for(None, Family.SD15).offload == "" and found.settings_for("my-model").steps == 0


def test_the_demo_profile_is_without_models_and_says_who_wanted_that() -> None:
    found = named("demo", H200)
    assert (found.paint, found.speech, found.voice) == ((), (), ())
    assert [reason.code for reason in found.why] == ["asked_for"]


@pytest.mark.parametrize("name", ["laptop-cuda", "laptop-mps", "gpu-server"])
def test_a_profile_for_graphics_leaves_device_and_precision_open_where_there_is_none(name: str) -> None:
    settings = named(name, TWO_CORES).small
    assert (settings.device, settings.dtype, settings.storage, settings.text_encoder_device) == ("auto", "auto", "", "")


# What the doctor found


def findings(machine: Hardware, **values: object) -> Findings:
    return Findings(fingerprint=fingerprint(machine), at=0.0, **values)  # type: ignore[arg-type]


def test_a_card_that_gave_nan_computes_in_single_precision() -> None:
    really = adjusted(RTX_2060, findings(RTX_2060, half_precision={"cuda:0": "nan"}))
    found = choose(really)
    assert (found.small.dtype, found.small.storage) == ("float32", "float16")
    assert "half_precision_fails" in {reason.code for reason in found.why}


def test_a_test_that_went_well_does_not_make_a_gtx_16_right() -> None:
    assert (
        choose(adjusted(GTX_1660_TI, findings(GTX_1660_TI, half_precision={"cuda:0": "works"}))).small.dtype
        == "float32"
    )


@pytest.mark.parametrize("state", ["no_support", "failed", "timeout", "wrong"])
def test_a_card_that_torch_cannot_use_is_left_alone(state: str) -> None:
    assert choose(adjusted(RTX_4090, findings(RTX_4090, devices={"cuda:0": state}))).name == "cpu-server"
    assert choose(adjusted(MACBOOK_M4, findings(MACBOOK_M4, devices={"mps": state}))).name == "cpu-server"


def test_of_two_cards_only_the_broken_one_is_left_alone() -> None:
    two = replace(CPU, cuda=(RTX_4090.cuda[0], replace(RTX_4060.cuda[0], index=1)))
    assert (
        choose(adjusted(two, findings(two, devices={"cuda:0": "failed", "cuda:1": "works"}))).small.device == "cuda:1"
    )


def test_bfloat16_that_does_not_help_is_not_used() -> None:
    assert choose(adjusted(XEON_TWO_CORES, findings(XEON_TWO_CORES, bfloat16_helps=False))).small.dtype == "float32"


def test_findings_of_other_hardware_change_nothing() -> None:
    old = findings(RTX_2060, devices={"cuda:0": "failed"})
    assert adjusted(RTX_4060, old) == RTX_4060
    assert adjusted(replace(RTX_2060, cores=4), old).cuda == RTX_2060.cuda


# As a host reads it


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MEETVIZ_PROFILE", "MEETVIZ_PAINT_DEVICE", "MEETVIZ_PAINT_DTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEETVIZ_HOME", str(tmp_path))
    return tmp_path


def now() -> Profile:
    return tested.current_profile()


def test_what_was_stored_is_read_again(home: Path) -> None:
    stored = findings(H200, devices={"cuda:0": "works"}, half_precision={"cuda:0": "nan"}, profile="gpu-server")
    assert tested.write(stored) == home / "profile.json"
    assert tested.read() == stored


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"version": 1}', '{"version": 99, "fingerprint": {}, "at": 1}']
)
def test_a_file_that_is_none_of_ours_is_as_good_as_no_file(home: Path, text: str) -> None:
    (home / "profile.json").write_text(text)
    assert tested.read() is None
    assert now() == choose(tested.current_machine())


def test_a_host_works_by_what_the_doctor_stored_and_notices_when_it_changes(home: Path) -> None:
    before = tested.current_machine()
    assert now() == choose(before)
    forced = replace(findings(tested.probe(), bfloat16_helps=False))
    tested.write(forced)
    assert not tested.current_machine().bfloat16
    (home / "profile.json").unlink()
    assert tested.current_machine() == before


def test_findings_of_other_hardware_are_not_used_and_that_is_said(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    tested.write(findings(replace(H200, processor="of another machine"), bfloat16_helps=False))
    assert tested.current_machine() == tested.probe()
    assert "run manage.py doctor" in caplog.text


def test_the_profile_can_be_set(home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("MEETVIZ_PROFILE", "demo")
    assert (now().name, now().speech) == ("demo", ())
    monkeypatch.setenv("MEETVIZ_PROFILE", "auto")
    assert now() == choose(tested.current_machine())
    monkeypatch.setenv("MEETVIZ_PROFILE", "toaster")
    assert now() == choose(tested.current_machine())
    assert "MEETVIZ_PROFILE must be one of laptop-cuda" in caplog.text


def test_device_and_precision_can_be_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEETVIZ_PROFILE", "laptop-cuda")
    monkeypatch.setenv("MEETVIZ_PAINT_DEVICE", "cuda:3")
    assert (now().small.device, now().small.dtype, now().small.storage) == ("cuda:3", "auto", "")
    monkeypatch.setenv("MEETVIZ_PAINT_DTYPE", "float32")
    assert (now().large.device, now().large.dtype) == ("cuda:3", "float32")

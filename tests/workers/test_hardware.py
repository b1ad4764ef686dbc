from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from workers import hardware
from workers.hardware import (
    CudaDevice,
    cpu_quota,
    cuda_devices,
    described_by_linux,
    probe,
    speech_compute_type,
    usable_cores,
)

CUDA_TYPES = {"float32", "int8", "int8_float32", "float16", "int8_float16", "bfloat16", "int8_bfloat16"}
CPU_TYPES = {"float32", "int8", "int8_float32", "int16"}

DRIVER = """
#include <string.h>
#include <stddef.h>
int cuInit(unsigned int flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int index) { *device = index + 40; return 0; }
int cuDeviceGetName(char *name, int length, int device) {
    strncpy(name, device == 40 ? "NVIDIA GeForce GTX 1660 Ti" : "NVIDIA H200", length); return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = device == 40 ? 6442450944UL : 150000000000UL; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? (device == 40 ? 7 : 9) : attribute == 76 ? (device == 40 ? 5 : 0) : -1; return 0;
}
"""
"""A graphics driver with two cards, as far as we ask it. INIT is what it answers first."""


def install_driver(folder: Path, monkeypatch: pytest.MonkeyPatch, init: int = 0) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or not compiler:
        pytest.skip("a driver can be put in place only on Linux, with a C compiler")
    source = folder / "driver.c"
    source.write_text(DRIVER)
    library = folder / "libcuda.so.1"
    subprocess.run([compiler, f"-DINIT={init}", "-shared", "-fPIC", "-o", library, source], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))


def card(name: str, major: int, minor: int) -> CudaDevice:
    return CudaDevice(0, name, (major, minor), 6144)


def test_the_driver_names_its_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_driver(tmp_path, monkeypatch)
    assert cuda_devices() == (
        CudaDevice(0, "NVIDIA GeForce GTX 1660 Ti", (7, 5), 6144),
        CudaDevice(1, "NVIDIA H200", (9, 0), 143051),
    )


def test_a_driver_that_fails_is_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_driver(tmp_path, monkeypatch, init=999)
    assert cuda_devices() == ()


def test_a_driver_that_is_no_library_is_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libcuda.so.1").write_text("not a library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    assert cuda_devices() == ()


def test_the_cards_are_in_the_hardware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_driver(tmp_path, monkeypatch)
    found = probe.__wrapped__()
    assert [device.name for device in found.cuda] == ["NVIDIA GeForce GTX 1660 Ti", "NVIDIA H200"]
    assert not found.mps


def test_probing_imports_no_ml_library() -> None:
    code = (
        "import sys; from workers.hardware import probe; found = probe(); assert found.cores >= 1 and found.system;"
        "assert not {'torch', 'ctranslate2', 'faster_whisper', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(hardware.__file__).parent.parent)


@pytest.mark.parametrize(
    ("device", "compute_type"),
    [
        (card("NVIDIA GeForce GTX 1660 Ti", 7, 5), "int8_float32"),
        (card("NVIDIA GeForce GTX 1650 with Max-Q Design", 7, 5), "int8_float32"),
        (card("NVIDIA GeForce MX450", 7, 5), "int8_float32"),
        (card("NVIDIA T1000 8GB", 7, 5), "int8_float32"),
        (card("NVIDIA GeForce GTX 1080", 6, 1), "int8_float32"),
        (card("Tesla T4", 7, 5), "float16"),
        (card("NVIDIA GeForce RTX 2060", 7, 5), "float16"),
        (card("Quadro RTX 4000", 7, 5), "float16"),
        (card("Tesla V100-SXM2-16GB", 7, 0), "float16"),
        (card("NVIDIA GeForce RTX 4090", 8, 9), "float16"),
        (card("NVIDIA H200", 9, 0), "float16"),
        (None, "int8"),
    ],
    ids=lambda value: value.name if isinstance(value, CudaDevice) else value,
)
def test_half_precision_only_where_it_is_right(device: CudaDevice | None, compute_type: str) -> None:
    assert speech_compute_type(device, CUDA_TYPES if device else CPU_TYPES) == compute_type


def test_what_the_library_cannot_do_there_is_not_chosen() -> None:
    assert speech_compute_type(None, {"float32"}) == "float32"
    assert speech_compute_type(card("Tesla M60", 5, 2), {"float32"}) == "float32"
    assert speech_compute_type(card("NVIDIA H200", 9, 0), {"float32", "int8_float32"}) == "int8_float32"


@pytest.mark.parametrize(
    ("physical", "logical", "allowed", "quota", "cores"),
    [
        (8, 16, 16, None, 8),
        (8, 16, 4, None, 2),
        (8, 16, 1, None, 1),
        (64, 128, 128, 2.0, 2),
        (64, 128, 128, 1.5, 1),
        (4, 4, 4, 0.5, 1),
        (2, 2, 2, 16.0, 2),
        (1, 1, 1, None, 1),
    ],
)
def test_threads_keep_to_what_the_process_may_use(
    physical: int, logical: int, allowed: int, quota: float | None, cores: int
) -> None:
    assert usable_cores(physical, logical, allowed, quota) == cores


@pytest.mark.parametrize(
    ("content", "quota"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None), ("1 0", None)]
)
def test_the_containers_quota_is_read(tmp_path: Path, content: str, quota: float | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(content)
    assert cpu_quota(file) == quota


def test_no_quota_file_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "missing") is None


CPU_INFO = """processor\t: 0
model name\t: {name}
flags\t\t: fpu sse2 {flags}

processor\t: 1
model name\t: {name}
flags\t\t: fpu sse2 {flags}
"""


@pytest.mark.parametrize(
    ("flags", "bfloat16", "matrix_units"),
    [
        ("avx2", False, False),
        ("avx512f avx512_bf16", True, False),
        ("avx512_bf16 amx_bf16 amx_tile", True, True),
        ("amx_tile", False, False),
    ],
)
def test_linux_says_what_a_processor_multiplies(flags: str, bfloat16: bool, matrix_units: bool) -> None:
    text = CPU_INFO.format(name="AMD EPYC: 2 cores", flags=flags)
    assert described_by_linux(text) == ("AMD EPYC: 2 cores", bfloat16, matrix_units)
    assert described_by_linux("") == ("", False, False)


def test_a_card_that_failed_its_test_is_not_trusted_in_half_precision() -> None:
    good = CudaDevice(0, "NVIDIA GeForce RTX 4060", (8, 9), 8_188)
    assert good.fast_half_precision
    assert not replace(good, half_precision_fails=True).fast_half_precision

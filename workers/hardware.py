"""What this machine computes with, found out cheaply: no ML library is imported for it.

The graphics driver is asked in a short process of its own: once a process has touched CUDA its forks cannot use it, and
only the driver itself knows which cards `CUDA_VISIBLE_DEVICES` leaves to us and in which order.
"""

from __future__ import annotations

import ctypes
import functools
import json
import logging
import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger("meetviz.workers")

DRIVER_TIMEOUT_S = 20.0
"""A driver without persistence wakes each card first, which takes seconds."""
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
CPU_INFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
_MATRIX_FLAG = "amx_bf16"
TURING = (7, 5)
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
"""CUdevice_attribute of the CUDA driver API, cuda.h."""
_WITHOUT_TENSOR_CORES = re.compile(r"\bGTX 16\d\d\b|\bMX(450|550)\b|\bT(400|500|550|600|1000|1200|2000)\b")
"""Turing cards of the TU11x chips: they report the capability of those that have tensor cores."""


@dataclass(frozen=True, slots=True)
class CudaDevice:
    index: int
    """As CUDA counts in this environment."""
    name: str
    capability: tuple[int, int]
    memory_mb: int
    """In all, not what is free."""
    half_precision_fails: bool = False
    """A test on the card itself gave NaN or nonsense in float16."""

    @property
    def fast_half_precision(self) -> bool:
        """Whether float16 is fast and right: with tensor cores (7.0 on), which GTX 16xx lack in spite of their 7.5.

        On those CTranslate2's float16 answers "!!!!" without an error, and cuDNN's convolutions give NaN. A test that
        failed on the card counts; one that went well does not make a GTX 16xx right, for it fails only now and then.
        """
        if self.half_precision_fails or (self.capability == TURING and _WITHOUT_TENSOR_CORES.search(self.name)):
            return False
        return self.capability >= (7, 0)


@dataclass(frozen=True, slots=True)
class Hardware:
    system: str
    """`Linux`, `Darwin`, `Windows`."""
    machine: str
    """`x86_64`, `arm64` …"""
    cores: int
    """Physical cores that this process may use: more threads than that only wait for each other."""
    memory_mb: int
    cuda: tuple[CudaDevice, ...] = ()
    mps: bool = False
    """A Mac whose graphics Metal can use. Painters do; CTranslate2 does not."""
    bfloat16: bool = False
    """The processor multiplies bfloat16 by itself (AVX-512 BF16 or AMX): half the time of float32 and less."""
    matrix_units: bool = False
    """It does so in units for matrices (AMX): a quarter of the time of float32."""
    processor: str = ""
    """What it calls itself."""


@functools.cache
def probe() -> Hardware:
    """What this machine has. The first call takes tens of milliseconds (longer with CUDA), later ones nothing."""
    import psutil

    system = platform.system()
    logical = os.cpu_count() or 1
    physical = _performance_cores() if system == "Darwin" else psutil.cpu_count(logical=False)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    processor, bfloat16, matrix_units = _processor()
    return Hardware(
        system=system,
        machine=platform.machine(),
        cores=usable_cores(physical or logical, logical, allowed, cpu_quota()),
        memory_mb=psutil.virtual_memory().total // 2**20,
        cuda=() if system == "Darwin" else cuda_devices(),
        mps=system == "Darwin" and platform.machine() == "arm64",
        bfloat16=bfloat16,
        matrix_units=matrix_units,
        processor=processor,
    )


def usable_cores(physical: int, logical: int, allowed: int, quota: float | None) -> int:
    """Physical cores within what the scheduler (`allowed` logical ones) and the container (`quota`) leave to us."""
    cores = min(physical, math.ceil(allowed * physical / max(1, logical)))
    if quota is not None:
        cores = min(cores, int(quota))
    return max(1, cores)


def cpu_quota(file: Path = CGROUP_QUOTA) -> float | None:
    """How many cores' worth of time the container has, by cgroup v2's `cpu.max`; None where nothing is set."""
    try:
        quota, period = file.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def described_by_linux(cpu_info: str) -> tuple[str, bool, bool]:
    """Name of the processor, whether it multiplies bfloat16, and in units for matrices: from /proc/cpuinfo's text."""
    entries = dict(line.split(":", 1) for line in reversed(cpu_info.splitlines()) if ":" in line)
    values = {key.strip(): value.strip() for key, value in entries.items()}
    flags = set(values.get("flags", "").split())
    return values.get("model name", ""), bool(_BFLOAT16_FLAGS & flags), _MATRIX_FLAG in flags


def _processor() -> tuple[str, bool, bool]:
    try:
        return described_by_linux(CPU_INFO.read_text(errors="replace"))
    except OSError:
        return platform.processor(), False, False


def cuda_devices() -> tuple[CudaDevice, ...]:
    """NVIDIA cards as CUDA counts them here; none where there is no driver or it does not answer."""
    command = [sys.executable, "-I", "-S", __file__]
    try:
        answer = subprocess.run(
            command, capture_output=True, timeout=DRIVER_TIMEOUT_S, check=True, stdin=subprocess.DEVNULL
        )
        return tuple(
            CudaDevice(index, str(card["name"]), (card["major"], card["minor"]), card["memory_mb"])
            for index, card in enumerate(json.loads(answer.stdout))
        )
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        log.warning("the graphics driver does not answer: %s", type(error).__name__)
        return ()


def speech_compute_type(card: CudaDevice | None, supported: Collection[str]) -> str:
    """The CTranslate2 compute type for a card, or for the CPU (None), of those that it supports there.

    float16 where it is fast and right, else int8 with float32 around it; on CPUs and Macs int8.
    """
    if card is None:
        wished = ["int8"]
    elif card.fast_half_precision:
        wished = ["float16", "int8_float32"]
    else:
        wished = ["int8_float32"]
    return next((name for name in wished if name in supported), "float32")


def _performance_cores() -> int | None:
    """Of a Mac: its efficiency cores would only hold the others up."""
    for name in ("hw.perflevel0.physicalcpu", "hw.physicalcpu"):
        try:
            answer = subprocess.run(["sysctl", "-n", name], capture_output=True, timeout=5, check=True)
            return int(answer.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            continue
    return None


def _ask_driver() -> list[dict[str, Any]]:
    """The cards by the CUDA driver API, in this process."""
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return []
    cards = []
    for index in range(count.value):
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        name, memory_bytes = ctypes.create_string_buffer(256), ctypes.c_size_t()
        failed = (
            cuda.cuDeviceGet(ctypes.byref(device), index)
            or cuda.cuDeviceGetName(name, len(name), device)
            or cuda.cuDeviceTotalMem_v2(ctypes.byref(memory_bytes), device)
            or cuda.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
            or cuda.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
        )
        if failed:
            break
        cards.append(
            {
                "name": name.value.decode(errors="replace"),
                "major": major.value,
                "minor": minor.value,
                "memory_mb": memory_bytes.value // 2**20,
            }
        )
    return cards


if __name__ == "__main__":
    print(json.dumps(_ask_driver()))

"""A figure, the machine it was measured on, the table and the JSON file."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    unit: str
    better: str
    """`lower` or `higher`."""
    target: float | None
    samples: int
    note: str = ""


def median(name: str, values: Sequence[float], unit: str, *, target: float | None = None, note: str = "") -> Figure:
    """The median of measured times; lower is better."""
    return Figure(name, round(statistics.median(values), 1), unit, "lower", target, len(values), note)


def percentile(
    name: str, values: Sequence[float], at: float, unit: str, *, target: float | None = None, note: str = ""
) -> Figure:
    """The nearest-rank percentile (`at` in 0–100) of measured times; lower is better."""
    ranked = sorted(values)
    rank = max(0, min(len(ranked) - 1, round(at / 100 * len(ranked) + 0.5) - 1))
    return Figure(name, round(ranked[rank], 1), unit, "lower", target, len(values), note)


def machine() -> dict[str, object]:
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def write(name: str, figures: Sequence[Figure], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content = {"machine": machine(), "figures": [asdict(figure) for figure in figures]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def table(name: str, figures: Sequence[Figure]) -> str:
    rows = [("figure", "value", "target", "n", "note")]
    for figure in figures:
        sign = "≤" if figure.better == "lower" else "≥"
        target = f"{sign} {figure.target:g} {figure.unit}" if figure.target is not None else ""
        rows.append((figure.name, f"{figure.value:g} {figure.unit}", target, str(figure.samples), figure.note))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]
    return "\n".join([f"{name} ({machine()['cpu']}, {os.cpu_count()} cores)", *lines])

"""Times of stages and peaks of memory, without making a graphics card wait."""

from __future__ import annotations

import sys
import time
from typing import Any


class Clock:
    """Marks moments in the device's work; their times can be read once the work is done."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._marks: dict[str, Any] = {}

    def mark(self, name: str) -> None:
        import torch

        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks[name] = event
            return
        if self._device.type == "mps":
            torch.mps.synchronize()
        self._marks[name] = time.perf_counter()

    def between_ms(self, first: str, last: str) -> float:
        """From one mark to another; on a graphics card call it after results were copied back."""
        start, end = self._marks[first], self._marks[last]
        if self._device.type != "cuda":
            return float((end - start) * 1000)
        end.synchronize()
        return float(start.elapsed_time(end))


def forget_peak(device: Any) -> None:
    """Begin to measure the peak anew, where that can be done: the CPU's is the process's own since its beginning."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_mb(device: Any) -> float:
    """The most memory used: of the card since `forget_peak`, else of this process; 0 where it is not known."""
    import torch

    if device.type == "cuda":
        return round(float(torch.cuda.max_memory_allocated(device)) / 2**20, 1)
    if device.type == "mps":
        return round(float(torch.mps.driver_allocated_memory()) / 2**20, 1)
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)

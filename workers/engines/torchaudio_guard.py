"""Lets torchaudio be imported where its native part does not load.

The wheel on the package index is built against CUDA's libraries. Beside a CPU build of torch they are missing, so that
`import torchaudio` ends in an OSError, and with it `import speechbrain` and much of transformers and diffusers, which
import torchaudio wherever they find it. Only the module `torchaudio._extension` is at fault, which loads the native
libraries: resampling, filter banks and all else that is written in Python works without it.

`install()` therefore watches the import of that one module. It runs as always; only where it fails, its names get the
values that stand for "built without the native part". Nothing is imported before somebody asks for torchaudio.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import logging
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

log = logging.getLogger("meetviz.workers")

GUARDED = "torchaudio._extension"
FAILURES = (OSError, ImportError, RuntimeError)
"""A library that is missing or of another build; built for another CUDA than torch is a RuntimeError."""


def install() -> None:
    """Watch for the import of torchaudio's native part from now on; once is enough, more does no harm."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != GUARDED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """The module's own loader, and what to do when it fails."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        try:
            self._loader.exec_module(module)
        except FAILURES as error:
            log.info("torchaudio works without its native part here: %s", type(error).__name__)
            vars(module).update(_without_native_part())


def _without_native_part() -> dict[str, Any]:
    """The names that the rest of torchaudio takes from the module."""
    return {
        "_IS_TORCHAUDIO_EXT_AVAILABLE": False,
        "_IS_ALIGN_AVAILABLE": False,
        "_check_cuda_version": lambda: None,
        "_load_lib": lambda name: False,
        "fail_if_no_align": _refused,
    }


def _refused(function: Callable[..., Any]) -> Callable[..., Any]:
    """In place of a function that is nothing without the native part."""

    def refuse(*_args: Any, **_options: Any) -> None:
        raise RuntimeError(f"torchaudio's {function.__name__} needs its native part, which does not load on this host")

    return refuse

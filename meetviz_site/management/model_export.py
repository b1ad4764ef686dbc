"""`manage.py models export`: a paint model as ONNX graphs, for hosts without a graphics card."""

from __future__ import annotations

import re
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from tqdm import tqdm

from workers.engines.base import EngineError
from workers.models import store
from workers.models.errors import ModelError

_SIZE = re.compile(r"(\d{2,4})(?:\s*[x×*]\s*(\d{2,4}))?", re.IGNORECASE)


def add_parser(actions: Any) -> None:
    """Add `export` to the subcommands."""
    parser: ArgumentParser = actions.add_parser("export", help="make the ONNX edition of a paint model (once)")
    parser.add_argument("name", metavar="NAME|FOLDER", help="as `list` shows it, or any folder of a diffusers pipeline")
    parser.add_argument(
        "--size", type=parse_size, default=(0, 0), metavar="WxH", help="of all its pictures; default: the model's own"
    )
    parser.add_argument("--int8", action="store_true", help="half the disk and less memory, less exact, no faster")
    parser.add_argument(
        "--full-vae", action="store_true", help="the model's own decoder even where there is a tiny one"
    )


def parse_size(text: str) -> tuple[int, int]:
    """`768x512`, or one number for a square. Raises ArgumentTypeError."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ArgumentTypeError(f"{text!r} is no size; write for example 512x512")
    width = int(found.group(1))
    return width, int(found.group(2) or width)


def run(
    command: BaseCommand, *, name: str, size: tuple[int, int], int8: bool, full_vae: bool = False, **_options: Any
) -> None:
    """Export, with a bar on a terminal and a line for each part elsewhere. Raises CommandError."""
    from workers.engines.paint.exported.export import export

    folder = _folder(name)
    began = time.monotonic()
    with _Bar(command, folder.name) as bar:
        try:
            made = export(
                folder, width_px=size[0], height_px=size[1], int8=int8, full_vae=full_vae, on_progress=bar.show
            )
        except EngineError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            command.stderr.write(_("Stopped. The model is as it was."))
            sys.exit(130)
    megabytes = sum(file.stat().st_size for file in made.iterdir()) / 1e6
    command.stdout.write(
        _("Exported in %(seconds)d s: %(folder)s (%(megabytes)d MB)")
        % {"seconds": time.monotonic() - began, "folder": made, "megabytes": megabytes}
    )


def _folder(name: str) -> Path:
    """The installed model of that name, else the folder."""
    try:
        return store.look(store.named(name)).folder
    except ModelError:
        folder = Path(name).expanduser()
        if folder.is_dir():
            return folder.absolute()
        # It says which names there are.
        raise


class _Bar:
    def __init__(self, command: BaseCommand, name: str) -> None:
        self._command, self._name = command, name
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, part: str, done: int, parts: int) -> None:
        if not sys.stderr.isatty():
            if part:
                self._command.stderr.write(f"{self._name}: {part} ({done}/{parts})")
            return
        if self._bar is None or self._bar.total != parts:
            if self._bar is not None:
                self._bar.close()
            self._bar = tqdm(
                total=parts, dynamic_ncols=True, leave=False, bar_format="{desc} {bar} {n_fmt}/{total_fmt}"
            )
        self._bar.set_description(f"{self._name} {part}".strip(), refresh=False)
        self._bar.n = done
        self._bar.refresh()

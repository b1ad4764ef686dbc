"""`manage.py models list|pull|verify`: the real models on this machine."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from tqdm import tqdm

from workers.environment import setting
from workers.hardware import Hardware, probe
from workers.models import store
from workers.models.catalogue import CATALOGUE, Model, Role
from workers.models.choice import AUTO, SETTING, Candidate, candidates, recommended
from workers.models.errors import ModelError, Trouble
from workers.models.fetching import OnProgress, Progress, copy, pull
from workers.models.store import Look, State

_SAY_EVERY_S = 10.0
"""Where there is no terminal to draw a bar on."""


class Command(BaseCommand):
    help = "Real models for hearing: see which there are, fetch them, check them. A server that runs notices by itself."
    # Neither database nor server is needed.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|pull|verify")
        actions.add_parser("list", help="what there is, what is here, and what this machine would use")
        pulling = actions.add_parser("pull", help="fetch models; goes on where it stopped")
        pulling.add_argument("names", nargs="+", metavar="NAME", help="as `list` shows them")
        pulling.add_argument("--from", dest="source", type=Path, metavar="FOLDER", help="copy one model from a folder")
        verifying = actions.add_parser("verify", help="read every byte of installed models and compare checksums")
        verifying.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here")

    def handle(self, *_args: Any, action: str, **options: Any) -> None:
        try:
            match action:
                case "list":
                    self._list()
                case "pull":
                    self._pull([store.named(name) for name in options["names"]], options["source"])
                case "verify":
                    self._verify([store.named(name) for name in options["names"]])
        except ModelError as error:
            raise CommandError(_explained(error)) from error
        except KeyboardInterrupt:
            self.stderr.write(_("Stopped. What is here is kept: pull again to go on."))
            sys.exit(130)

    def _list(self) -> None:
        machine = probe()
        looks = {name: store.look(model) for name, model in CATALOGUE.items()}
        for role in Role:
            wish = setting(SETTING[role], AUTO)
            ranked = candidates(role, wish, looks, machine)
            used = next(found for found in ranked if not found.problem)
            self.stdout.write(f"\n{_title(role)}")
            for seen in looks.values():
                if seen.model.role == role:
                    mark = "→" if used.name == seen.model.name else " "
                    self.stdout.write(f" {mark} {_line(seen)}")
            self.stdout.write(f"   {_why(role, wish, ranked, used, machine)}")
        self.stdout.write("\n" + _("Models are in %(folder)s") % {"folder": store.models_dir()})
        if store.fetching_forbidden():
            self.stdout.write(_("HF_HUB_OFFLINE is set: nothing can be fetched, only copied with --from FOLDER."))

    def _pull(self, models: list[Model], source: Path | None) -> None:
        if source is not None and len(models) != 1:
            raise CommandError(_("--from takes one folder for one model: name just one."))
        for model in models:
            with _Bar(self, model) as bar:
                folder = copy(model, source, bar.show) if source else pull(model, bar.show)
            self.stdout.write(_("%(model)s is here and whole: %(folder)s") % {"model": model.name, "folder": folder})

    def _verify(self, models: list[Model]) -> None:
        here = models or [model for model in CATALOGUE.values() if store.look(model).state != State.ABSENT]
        if not here:
            self.stdout.write(_("No model is installed; there is nothing to verify."))
        broken = []
        for model in here:
            seen = store.look(model)
            with _Bar(self, model) as bar:
                bar.total_bytes = seen.all_bytes
                problems = store.verify(model, bar.add)
            if problems:
                broken.append(model.name)
                self.stdout.write(f"{model.name}: " + "; ".join(problems))
            else:
                self.stdout.write(_("%(model)s: every file is as it was fetched.") % {"model": model.name})
        if broken:
            message = _("Not whole: %(models)s. Mend with: manage.py models pull %(names)s")
            raise CommandError(message % {"models": ", ".join(broken), "names": " ".join(broken)})


class _Bar:
    """A progress bar on a terminal, a line from time to time elsewhere."""

    def __init__(self, command: Command, model: Model) -> None:
        self._command = command
        self._name = model.name
        self._state = ""
        self._done = 0
        self._said_at = time.monotonic()
        self._bar: tqdm[Any] | None = None
        self.total_bytes = model.size_bytes
        self.show: OnProgress = self._show

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, count: int) -> None:
        """So many more bytes were read again."""
        self._done += count
        self._show(Progress(self._name, "checking", self._done, self.total_bytes))

    def _show(self, progress: Progress) -> None:
        if progress.state == "waiting":
            if self._state != "waiting":
                self._command.stderr.write(_("Another pull of %(model)s is at work; waiting for it.") % self._named)
        elif sys.stderr.isatty():
            self._draw(progress)
        elif time.monotonic() - self._said_at > _SAY_EVERY_S:
            self._said_at = time.monotonic()
            self._command.stderr.write(
                f"{self._name}: {_megabytes(progress.done_bytes)} / {_megabytes(progress.total_bytes)}"
            )
        self._state = progress.state

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            self._bar = tqdm(unit="B", unit_scale=True, dynamic_ncols=True, desc=self._name)
        if progress.state != self._state:
            # What is checked comes as fast as the disk, what is fetched as fast as the line: no common rate.
            word = _("checking") if progress.state == "checking" else ""
            self._bar.set_description(f"{self._name} {word}".strip(), refresh=False)
            self._bar.unpause()
        self._bar.total = progress.total_bytes
        self._bar.update(progress.done_bytes - self._bar.n)

    @property
    def _named(self) -> dict[str, str]:
        return {"model": self._name}


def _title(role: Role) -> str:
    return {Role.SPEECH: _("Speech"), Role.VOICE: _("Voices")}[role]


def _line(seen: Look) -> str:
    model = seen.model
    here = {"here": _megabytes(seen.here_bytes), "all": _megabytes(seen.all_bytes)}
    state = {
        State.WHOLE: _("installed"),
        State.PARTLY: _("partly: %(here)s of %(all)s") % here,
        State.DAMAGED: _("DAMAGED"),
        State.ABSENT: _("not here"),
    }[seen.state]
    languages = ", ".join(model.languages) or (_("about 100 languages") if model.role == Role.SPEECH else "")
    into = _("translates") if model.translates else ""
    facts = ", ".join(fact for fact in (languages, into, model.note) if fact)
    problem = f"\n{'':27}{seen.problem}" if seen.state == State.DAMAGED else ""
    return f"{model.name:23} {state:28} {_megabytes(model.size_bytes):>8}  {model.licence:11} {facts}{problem}"


def _why(role: Role, wish: str, ranked: list[Candidate], used: Candidate, machine: Hardware) -> str:
    """Which engine this machine would use, and why that one."""
    values = {
        "used": used.name,
        "setting": SETTING[role],
        "wish": wish,
        "first": ranked[0].name,
        "problem": ranked[0].problem,
        "best": recommended(role, machine).name,
        "machine": _machine(machine),
    }
    if ranked[0].problem:
        return _("Used here: %(used)s, because %(first)s cannot be: %(problem)s.") % values
    if wish != AUTO:
        return _("Used here: %(used)s, because %(setting)s says so.") % values
    if used.demo:
        return (
            _("Used here: %(used)s, the built-in demo engine. For %(machine)s: manage.py models pull %(best)s") % values
        )
    if used.name == values["best"]:
        return _("Used here: %(used)s, the best for %(machine)s.") % values
    return _("Used here: %(used)s, the best of what is installed; %(best)s suits %(machine)s better.") % values


def _machine(machine: Hardware) -> str:
    if machine.cuda:
        return machine.cuda[0].name
    return _("%(n)d processor cores") % {"n": machine.cores}


def _megabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 995_000_000 else f"{count / 1e6:.0f} MB"


def _explained(error: ModelError) -> str:
    """The error in the user's language; its own message, in English, where there is no other."""
    values = error.values
    sentences = {
        Trouble.OFFLINE: _(
            "%(host)s cannot be reached. Check the network (or HF_ENDPOINT), or copy a model from another machine with"
            " --from FOLDER. What is installed works without a network."
        ),
        Trouble.HUB_BUSY: _("%(host)s does not serve properly now. Pull again later: what is here is kept."),
        Trouble.REFUSED: _(
            "%(host)s does not give out %(repository)s (%(status)s). Accept its licence there if it has one, and set"
            " HF_TOKEN to a token of yours that may read it."
        ),
        Trouble.NOT_FOUND: _(
            "%(host)s has no %(repository)s (any more), or not all of it. Copy the model with --from FOLDER."
        ),
        Trouble.DAMAGED: _(
            "%(file)s of %(model)s is not the file that %(host)s announced, and was removed. Pull again; if it stays"
            " so, something between here and there changes files (a proxy?)."
        ),
        Trouble.DISK_FULL: _("The disk of %(folder)s is full. Free some space and pull again: what is here is kept."),
        Trouble.NOT_WRITABLE: _(
            "Cannot write to %(folder)s. Make it yours, or set MEETVIZ_MODELS_DIR to a folder that is."
        ),
        Trouble.UNKNOWN_MODEL: _("There is no model %(model)s. There are: %(known)s."),
        Trouble.WRONG_KIND: _("%(folder)s is not %(model)s: %(why)s."),
    }
    if "by_setting" in values:
        return _("HF_HUB_OFFLINE is set, so nothing is fetched. Unset it, or copy a model with --from FOLDER.")
    if "needed_mb" in values:
        return (
            _(
                "%(needed_mb)s MB are needed, and the disk of %(folder)s has %(free_mb)s MB left. Free some space, or"
                " set MEETVIZ_MODELS_DIR to another disk."
            )
            % values
        )
    try:
        return sentences[error.trouble] % values
    except KeyError:
        return str(error)

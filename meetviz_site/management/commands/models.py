"""`manage.py models list|pull|verify|export`: the real models on this machine."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from tqdm import tqdm

from meetviz_site.management import model_export
from workers.environment import setting
from workers.hardware import Hardware
from workers.models import licences, store
from workers.models.catalogue import CATALOGUE, Commercial, Model, Role
from workers.models.choice import AUTO, SETTING, Candidate, candidates, recommended
from workers.models.errors import ModelError, Trouble
from workers.models.fetching import OnProgress, Progress, copy, pull
from workers.models.store import Look, State
from workers.profiles import Profile
from workers.tested import current_machine, current_profile

_SAY_EVERY_S = 10.0
"""Where there is no terminal to draw a bar on."""


class Command(BaseCommand):
    help = "Real models that hear and paint: see which there are, fetch and check them. A running server notices."
    # Neither database nor server is needed.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|pull|verify|export")
        actions.add_parser("list", help="what there is, what is here, and what this machine would use")
        pulling = actions.add_parser("pull", help="fetch models; goes on where it stopped")
        pulling.add_argument("names", nargs="+", metavar="NAME", help="as `list` shows them")
        pulling.add_argument("--from", dest="source", type=Path, metavar="FOLDER", help="copy one model from a folder")
        pulling.add_argument("--with", dest="extras", action="append", default=[], metavar="EXTRA", help="repeatable")
        pulling.add_argument("--accept-licence", dest="accepted", action="append", default=[], metavar="NAME")
        verifying = actions.add_parser("verify", help="read every byte of installed models and compare checksums")
        verifying.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here")
        model_export.add_parser(actions)

    def handle(self, *_args: Any, action: str, **options: Any) -> None:
        try:
            match action:
                case "list":
                    self._list()
                case "pull":
                    models = [store.named(name) for name in options["names"]]
                    self._accept(models, options["accepted"])
                    self._pull(models, options["source"], options["extras"])
                case "verify":
                    self._verify([store.named(name) for name in options["names"]])
                case "export":
                    model_export.run(self, **options)
        except ModelError as error:
            raise CommandError(_explained(error)) from error
        except KeyboardInterrupt:
            self.stderr.write(_("Stopped. What is here is kept: pull again to go on."))
            sys.exit(130)

    def _list(self) -> None:
        machine, profile = current_machine(), current_profile()
        looks = {name: store.look(model) for name, model in CATALOGUE.items()}
        for role in Role:
            wish = setting(SETTING[role], AUTO)
            ranked = candidates(role, wish, looks, machine, profile)
            used = next(found for found in ranked if not found.problem)
            self.stdout.write(f"\n{_title(role)}")
            for seen in looks.values():
                if seen.model.role == role:
                    mark = "→" if used.name == seen.model.name else " "
                    self.stdout.write(f" {mark} {_line(seen)}")
            self.stdout.write(f"   {_why(role, wish, ranked, used, machine, profile)}")
        self.stdout.write("\n" + _("Models are in %(folder)s") % {"folder": store.models_dir()})
        if store.fetching_forbidden():
            self.stdout.write(_("HF_HUB_OFFLINE is set: nothing can be fetched, only copied with --from FOLDER."))

    def _accept(self, models: list[Model], accepted: list[str]) -> None:
        """Write down which licences were accepted; show the notices of those that have to be, and stop there."""
        for name in accepted:
            model = store.named(name)
            if model.opt_in:
                licences.accept(model, by="command line")
                said = _("The licence of %(model)s is accepted for this host: %(licence)s, %(url)s")
                self.stdout.write(said % _terms(model))
        for model in models:
            if not licences.is_accepted(model):
                self.stdout.write(f"{model.name}: {model.licence}\n{_(model.notice)}\n{model.licence_url}\n")

    def _pull(self, models: list[Model], source: Path | None, extras: list[str]) -> None:
        if source is not None and len(models) != 1:
            raise CommandError(_("--from takes one folder for one model: name just one."))
        if source is not None and extras:
            raise CommandError(_("--from copies all that belongs to the model; leave out --with."))
        for model in models:
            with _Bar(self, model) as bar:
                folder = copy(model, source, bar.show) if source else pull(model, bar.show, extras=extras)
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
    return {Role.SPEECH: _("Speech"), Role.VOICE: _("Voices"), Role.PAINT: _("Pictures")}[role]


def _line(seen: Look) -> str:
    model = seen.model
    here = {"here": _megabytes(seen.here_bytes), "all": _megabytes(seen.all_bytes)}
    state = {
        State.WHOLE: _("installed"),
        State.PARTLY: _("partly: %(here)s of %(all)s") % here,
        State.DAMAGED: _("DAMAGED"),
        State.ABSENT: _("not here"),
    }[seen.state]
    problem = f"\n{'':27}{seen.problem}" if seen.state == State.DAMAGED else ""
    facts = ", ".join(filter(None, _facts(seen)))
    return f"{model.name:23} {state:28} {_megabytes(model.size_bytes):>8}  {model.licence:11} {facts}{problem}"


def _facts(seen: Look) -> list[str]:
    """What there is to know of a model beside its size and licence."""
    model = seen.model
    if model.role == Role.PAINT:
        return [*_terms_in_short(model), _(model.note), *_abilities(seen)]
    languages = ", ".join(model.languages) or (_("about 100 languages") if model.role == Role.SPEECH else "")
    return [languages, _("translates") if model.translates else "", model.note]


def _terms_in_short(model: Model) -> list[str]:
    if not model.opt_in:
        return [_("for a business, too, with restrictions") if model.commercial == Commercial.RESTRICTED else ""]
    if licences.is_accepted(model):
        return [_("licence accepted")]
    return [_("needs --accept-licence %(model)s") % {"model": model.name}]


def _abilities(seen: Look) -> list[str]:
    """What it can do with images as it lies here, and what can be fetched to teach it more."""
    more = [extra.name for extra in seen.model.extras if extra.name not in seen.extras]
    can = _("images: %(uses)s") % {"uses": ", ".join(seen.can_do)}
    return [can, _("--with %(extras)s") % {"extras": "|".join(more)} if more else ""]


def _terms(model: Model) -> dict[str, str]:
    return {"model": model.name, "licence": model.licence, "url": model.licence_url}


def _why(role: Role, wish: str, ranked: list[Candidate], used: Candidate, machine: Hardware, profile: Profile) -> str:
    """Which engine this machine would use, and why that one."""
    best = recommended(role, machine, profile)
    values = {
        "used": used.name,
        "setting": SETTING[role],
        "wish": wish,
        "first": ranked[0].name,
        "problem": ranked[0].problem,
        "best": best.name if best else "",
        "machine": _machine(machine),
    }
    if ranked[0].problem:
        return _("Used here: %(used)s, because %(first)s cannot be: %(problem)s.") % values
    if wish != AUTO:
        return _("Used here: %(used)s, because %(setting)s says so.") % values
    if best is None:
        return _("Used here: %(used)s; no larger model would keep up on %(machine)s.") % values
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
        Trouble.LICENCE: _(
            "%(model)s comes under the licence %(licence)s, which has to be accepted first (%(url)s):"
            " manage.py models pull %(model)s --accept-licence %(model)s"
        ),
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

"""The page on which the site's owner picks a painter and accepts licences: what there is to say of each model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from generation.models import AcceptedLicence
from generation.painter_choice import licence_accept, licences_accepted, painter_choose
from meetviz_site.models import Host
from workers.messages import QUEUE_PAINT
from workers.models.catalogue import CATALOGUE, Commercial, Model, Role

PAINTERS = {model.name: model for model in CATALOGUE.values() if model.role == Role.PAINT}


@dataclass(frozen=True, slots=True)
class PainterCard:
    """One model as the page shows it."""

    model: Model
    chosen: bool
    installed_on: tuple[str, ...]
    """Names of the paint hosts that answer and have it."""
    accepted: AcceptedLicence | None
    """Who accepted the licence that it comes with now, where it asks for that."""

    @property
    def locked(self) -> bool:
        return self.model.opt_in and self.accepted is None

    @property
    def note(self) -> str:
        return _(self.model.note)

    @property
    def notice(self) -> str:
        return _(self.model.notice) if self.model.notice else ""

    @property
    def accept_field(self) -> str:
        return f"accept_{self.model.name}"

    @property
    def size(self) -> str:
        return gigabytes(self.model.size_bytes)

    @property
    def memory(self) -> str:
        return gigabytes(self.model.memory_mb * 1_000_000)

    @property
    def picture(self) -> str:
        return f"{self.model.width_px} × {self.model.height_px}"

    @property
    def business(self) -> str:
        return {
            Commercial.YES: _("yes"),
            Commercial.RESTRICTED: _("yes, apart from the uses that the licence names"),
            Commercial.NO: _("not without the maker's agreement"),
        }[self.model.commercial]

    @property
    def can_do(self) -> list[str]:
        return [use_in_words(use) for use in self.model.references]

    @property
    def can_learn(self) -> list[dict[str, str]]:
        """What its extras add, and how they are fetched."""
        return [
            {
                "name": extra.name,
                "does": ", ".join(map(use_in_words, extra.references)) or _("a check of finished pictures"),
                "size": gigabytes(extra.size_bytes),
            }
            for extra in self.model.extras
        ]


def gigabytes(count: int) -> str:
    return _("%(n)s GB") % {"n": number_format(count / 1e9, decimal_pos=1)}


def use_in_words(use: str) -> str:
    """What can be done with an uploaded image, for people."""
    return {
        "start": _("paints on from an image"),
        "style": _("takes over a style"),
        "subject": _("takes over a subject"),
        "depth": _("keeps to depths"),
        "canny": _("keeps to outlines"),
        "scribble": _("follows a sketch"),
    }.get(use, use)


def painter_cards(chosen: str, hosts: Iterable[Host]) -> list[PainterCard]:
    """Every paint model of the catalogue, in its order."""
    accepted = licences_accepted()
    painting = [host for host in hosts if host.queue == QUEUE_PAINT]
    return [
        PainterCard(
            model=model,
            chosen=model.name == chosen,
            installed_on=tuple(sorted({host.name for host in painting if model.name in host.installed})),
            accepted=found if (found := accepted.get(model.name)) and found.licence == model.licence else None,
        )
        for model in PAINTERS.values()
    ]


class PainterForm(forms.Form):
    """A choice, and a box for each licence that asks to be accepted. Accepting does not need a choice."""

    model = forms.ChoiceField(required=False, label=gettext_lazy("model"))

    def __init__(self, *args: Any, cards: Iterable[PainterCard], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cards = list(cards)
        self.fields["model"].choices = [("", ""), *((card.model.name, card.model.name) for card in self.cards)]
        for card in self.cards:
            if card.locked:
                self.fields[card.accept_field] = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        name = cleaned.get("model", "")
        card = next((card for card in self.cards if card.model.name == name), None)
        if card and card.locked and not cleaned.get(card.accept_field):
            message = _("%(model)s can be chosen once its licence is accepted: read the notice and tick its box.")
            self.add_error(card.accept_field, message % {"model": name})
        return cleaned

    def save(self, by: Any) -> list[str]:
        """Write down what was accepted and chosen; the names of the models whose licences were accepted now."""
        accepted = [card for card in self.cards if card.locked and self.cleaned_data.get(card.accept_field)]
        for card in accepted:
            model = card.model
            licence_accept(model=model.name, licence=model.licence, licence_url=model.licence_url, by=by)
        name = self.cleaned_data["model"]
        needs = PAINTERS[name].licence if name and PAINTERS[name].opt_in else ""
        painter_choose(model=name, by=by, licence=needs)
        return [card.model.name for card in accepted]

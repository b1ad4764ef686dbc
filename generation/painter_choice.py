"""The model that the site's owner wants pictures painted with, and the licences accepted for it.

Which models there are, and which of them ask for a licence to be accepted, is the catalogue's knowledge; whoever calls
brings it along (`licence`), for this room knows model hosts by their messages alone.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from generation.models import AcceptedLicence, PainterChoice


class LicenceNotAccepted(ValueError):
    """A model with a restricted licence was chosen, and nobody has accepted it."""


def chosen_model() -> str:
    """Name in the catalogue of the owner's choice; empty: the paint host's own. One query by primary key."""
    return PainterChoice.objects.filter(pk=PainterChoice.ONLY).values_list("model", flat=True).first() or ""


def painter_choose(*, model: str, by: Any, licence: str = "") -> PainterChoice:
    """Have pictures painted with this model from the next one on; empty gives the choice back to the hosts.

    `licence`: the name of the licence that has to be accepted for it; empty where none has. Raises LicenceNotAccepted.
    """
    if model and licence and not licence_is_accepted(model, licence):
        raise LicenceNotAccepted(f"The licence of {model}, {licence}, has not been accepted.")
    values = {"model": model, "chosen_by": by, "chosen_at": timezone.now()}
    return PainterChoice.objects.update_or_create(pk=PainterChoice.ONLY, defaults=values)[0]


@transaction.atomic
def licence_accept(*, model: str, licence: str, licence_url: str, by: Any) -> AcceptedLicence:
    """Write down that this account accepted it; who was first stays."""
    values = {"licence_url": licence_url, "accepted_by": by, "accepted_by_name": by.get_username()}
    return AcceptedLicence.objects.get_or_create(model=model, licence=licence, defaults=values)[0]


def licence_is_accepted(model: str, licence: str) -> bool:
    return AcceptedLicence.objects.filter(model=model, licence=licence).exists()


def licences_accepted() -> dict[str, AcceptedLicence]:
    """The newest acceptance for each model, by the model's name."""
    return {accepted.model: accepted for accepted in AcceptedLicence.objects.order_by("accepted_at")}

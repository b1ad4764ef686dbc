"""Fetching real engines from the room: who may ask for it, what there is to ask for, how far it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import current_app
from django.utils.translation import gettext as _

from generation.painter_choice import licence_is_accepted
from meetings.access import Membership
from meetings.models import Role
from meetings.services import Refused
from meetviz_site.models import Host
from workers.messages import QUEUE_PAINT, QUEUE_SPEECH, TASK_FETCH_MODELS, FetchRequest
from workers.models.catalogue import CATALOGUE

EXPIRES_S = 30.0
"""A press that no host took by then is forgotten: the button is there again."""
_AT_WORK = ("fetching", "checking")


def may_fetch(member: Membership) -> bool:
    """Only who runs the site may fill its disks: the owner of the meeting, with an account of the staff."""
    user = member.participant.user
    return member.role == Role.OWNER and user is not None and user.is_active and user.is_staff


def models_of(hosts: Iterable[Host]) -> dict[str, Any]:
    """`status.models`: what these hosts offer to fetch, and how far the one is that fetches.

    An offer with a `licence` cannot be fetched before the site's owner has accepted that.
    """
    hosts = sorted(hosts, key=lambda host: host.seen_at)
    offers = {offer["model"]: _with_licence(offer) for host in hosts for offer in host.offers}
    told = [host.fetching for host in hosts if host.fetching]
    at_work = [fetching for fetching in told if fetching["state"] in _AT_WORK]
    return {"offers": list(offers.values()), "fetching": (at_work or told or [None])[-1]}


def models_fetch(member: Membership, wanted: Any, hosts: Iterable[Host]) -> None:
    """Ask the hosts to fetch these models (all on offer if none are named), each from the queue that will use it.

    Nothing whose licence was not accepted. Returns at once; raises Refused.
    """
    if not may_fetch(member):
        raise Refused("not_allowed", _("Only the owner of this site can fetch models."))
    offers = {offer["model"]: offer for offer in models_of(hosts)["offers"]}
    if wanted is None:
        wanted = [name for name, offer in offers.items() if "licence" not in offer]
    if not isinstance(wanted, list) or not all(isinstance(name, str) and name in offers for name in wanted):
        raise Refused("bad_value", _("models must be a list of names that status.models offers."))
    if any("licence" in offers[name] for name in wanted):
        raise Refused("licence_needed", _("Its licence has to be accepted on the page of painters first."))
    if not wanted:
        raise Refused("nothing_to_fetch", _("There is nothing to fetch: no host here lacks a model."))
    for queue, names in _by_queue(wanted, offers).items():
        # A host keeps its own record of licences: what is on this list was accepted here.
        request = FetchRequest(names, accepted=[name for name in names if _asks(name)])
        current_app.send_task(TASK_FETCH_MODELS, args=[request.to_wire()], queue=queue, expires=EXPIRES_S)


def _by_queue(names: list[str], offers: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    queues: dict[str, list[str]] = {}
    for name in names:
        queue = QUEUE_PAINT if offers[name]["role"] == "paint" else QUEUE_SPEECH
        queues.setdefault(queue, []).append(name)
    return queues


def _asks(name: str) -> bool:
    return name in CATALOGUE and CATALOGUE[name].opt_in


def _with_licence(offer: dict[str, Any]) -> dict[str, Any]:
    name = offer["model"]
    if not _asks(name) or licence_is_accepted(name, CATALOGUE[name].licence):
        return offer
    return {**offer, "licence": CATALOGUE[name].licence}

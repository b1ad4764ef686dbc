"""Nothing said is lost: lost connections, page reloads, the same stream elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Visit = Callable[..., Any]

FINAL = ".captions .line:not(.line--interim):not(.line--gap) .line__text"


@dataclass
class Sent:
    """One stream on one connection: where the server said to go on, and what the page then sent."""

    next_sample: int
    spans: list[tuple[int, int]] = field(default_factory=list)
    closed: bool = False


class Line:
    """The socket between page and server, with a hand on it: `cut()` ends it as a restart does."""

    def __init__(self, page: Any) -> None:
        self.connections: list[dict[str, Sent]] = []
        self.refuse = False
        self.lose_acks = False
        self._route: Any = None
        page.route_web_socket("**/ws/meetings/**", self._connect)

    def _connect(self, route: Any) -> None:
        if self.refuse:
            route.close(code=1012, reason="")
            return
        server = route.connect_to_server()
        self._route = route
        streams: dict[str, Sent] = {}
        numbers: dict[int, Sent] = {}
        self.connections.append(streams)

        def from_page(message: str | bytes) -> None:
            if isinstance(message, bytes):
                first = int.from_bytes(message[8:16], "little")
                sent = numbers[int.from_bytes(message[4:6], "little")]
                sent.spans.append((first, first + (len(message) - 16) // 2))
            elif '"stream.close"' in message:
                streams[json.loads(message)["stream"]].closed = True
            server.send(message)

        def from_server(message: str | bytes) -> None:
            values = json.loads(message)
            if values["type"] == "stream.opened":
                streams[values["stream"]] = numbers[values["number"]] = Sent(values["next_sample"])
            if values["type"] != "audio.ack" or not self.lose_acks:
                route.send(message)

        route.on_message(from_page)
        server.on_message(from_server)

    def cut(self) -> None:
        self._route.close(code=1012, reason="")


def covers(spans: list[tuple[int, int]], first: int, last: int) -> bool:
    """Whether the spans leave no sample of `first`…`last` out."""
    at = first
    for start, end in sorted(spans):
        if start <= at:
            at = max(at, end)
    return at >= last


def test_after_a_lost_connection_the_page_sends_on_from_where_the_server_stood(live_site: Any, visit: Visit) -> None:
    guest = visit()
    line = Line(guest.page)
    guest.accept_invite(live_site.new_meeting(), name="Olga")
    guest.speak()
    guest.page.wait_for_selector(FINAL)
    line.refuse = True
    line.cut()
    guest.page.wait_for_selector("#banner:not([hidden])")
    guest.wait("() => /[1-9]\\d* s of speech/.test(document.querySelector('#banner').textContent)")
    guest.page.wait_for_selector("#listening[data-state=gone]", state="attached")
    line.refuse = False
    guest.page.wait_for_selector("#banner", state="hidden")
    guest.wait("() => document.querySelector('#listening').dataset.state === 'on'")
    said = guest.page.locator(FINAL).count()
    guest.wait("([css, n]) => document.querySelectorAll(css).length > n", [FINAL, said])
    (stream, before), (again, after) = (next(iter(line.connections[at].items())) for at in (0, -1))
    assert stream == again
    assert after.next_sample > 0, "the server had made nothing durable: the test cut too early"
    first, last = after.spans[0]
    assert first <= after.next_sample < last, "the page sends on from another place than it was told"
    assert covers(before.spans + after.spans, 0, after.spans[-1][1]), "samples are missing between the connections"
    assert guest.errors == [] or all("WebSocket" in error for error in guest.errors)


def test_a_reload_brings_the_person_back_and_sends_what_was_not_yet_safe(live_site: Any, visit: Visit) -> None:
    guest = visit()
    line = Line(guest.page)
    line.lose_acks = True  # so that the page has much to keep
    guest.accept_invite(live_site.new_meeting(), name="Olga")
    guest.speak()
    guest.page.wait_for_selector(FINAL)
    [(stream, before)] = line.connections[0].items()
    guest.page.reload()
    guest.page.wait_for_selector("#room:not([hidden])")
    guest.wait("() => document.querySelector('#listening').dataset.state === 'on'")
    guest.page.wait_for_selector(FINAL)
    assert guest.page.is_hidden("#door"), "the card asks again after a reload"
    guest.wait("() => document.querySelectorAll('.words .line, .captions .line').length > 1")
    after = line.connections[-1]
    assert set(after) > {stream}, "the stream of the page before was not opened again beside the new one"
    assert covers(after[stream].spans, after[stream].next_sample, before.spans[-1][1]), "the tail was not sent again"
    assert after[stream].closed


def test_a_meeting_that_ends_says_so_and_leads_to_its_gallery(live_site: Any, visit: Visit) -> None:
    meeting = live_site.new_meeting("Short one")
    owner, guest = visit(), visit()
    guest.accept_invite(meeting, name="Olga")
    guest.watch()
    owner.page.goto(live_site.owner_link())
    owner.page.click("text=Short one")
    owner.page.wait_for_selector("#door:not([hidden])")
    owner.watch()
    owner.page.on("dialog", lambda dialog: dialog.accept())
    owner.page.click("#more-button")
    owner.page.click(".menu__item--danger")
    owner.page.wait_for_url("**/gallery/")
    guest.page.wait_for_selector("#closed-note:not([hidden])")
    guest.wait_text("#closed-title", "ended")

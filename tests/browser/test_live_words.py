"""What the room keeps and shows of live words: interims, gaps, how far hearing is behind. The page's own modules."""

from __future__ import annotations

from typing import Any

import pytest

STORE = """async (messages) => {
    const { Store } = await import("/static/js/room/state.js");
    const store = new Store();
    return messages.map((message) => {
        store.apply(message);
        return {
            interims: [...store.interims.values()].map(({ text }) => text),
            captions: store.captions.map(({ text, gap }) => (gap ? "(gap)" : text)),
        };
    });
}"""

LONG_AWAY = """async () => {
    const { Outbox, KEEP_S } = await import("/static/js/room/outbox.js");
    const outbox = new Outbox("a stream");
    let lost = 0;
    for (let s = 0; s < KEEP_S + 7; s += 1) lost += outbox.push(new Int16Array(16000));
    outbox.opened(1, 0);
    return { lostS: lost / 16000, from: Number(new DataView(outbox.next()).getBigUint64(8, true)) / 16000 };
}"""


@pytest.fixture(scope="module")
def page(live_site: Any, launch: Any) -> Any:
    context = launch(None, allow=False).new_context()
    page = context.new_page()
    page.goto(live_site.url)
    yield page
    context.close()


def interim(text: str, at: str = "2026-01-01T10:00:00.000+00:00", stream: str = "s") -> dict[str, Any]:
    return {"type": "caption.interim", "stream": stream, "text": text, "stable": 0, "started_at": at}


def final(text: str, until: str = "2026-01-01T10:00:04.000+00:00", stream: str = "s") -> dict[str, Any]:
    started_at = "2026-01-01T10:00:00.000+00:00"
    values = {"type": "caption.final", "id": text, "rev": 1, "stream": stream, "text": text, "speaker": None}
    return {**values, "started_at": started_at, "ended_at": until, "first_sample": 0, "last_sample": 64000}


def test_a_final_takes_the_place_of_its_interim_in_one_step(page: Any) -> None:
    states = page.evaluate(STORE, [interim("Good"), interim("Good morning"), final("Good morning everyone.")])
    assert [state["interims"] for state in states] == [["Good"], ["Good morning"], []]
    assert states[-1]["captions"] == ["Good morning everyone."]


def test_an_interim_that_is_taken_back_leaves_nothing(page: Any) -> None:
    states = page.evaluate(STORE, [interim("Uh"), interim("")])
    assert states[-1] == {"interims": [], "captions": []}


def test_the_final_before_leaves_the_next_sentence_alone(page: Any) -> None:
    states = page.evaluate(STORE, [interim("Next", at="2026-01-01T10:00:05.000+00:00"), final("Good morning.")])
    assert states[-1] == {"interims": ["Next"], "captions": ["Good morning."]}


def test_two_streams_are_seen_side_by_side(page: Any) -> None:
    states = page.evaluate(STORE, [interim("Yes", stream="a"), interim("No", stream="b"), interim("", stream="a")])
    assert states[-1]["interims"] == ["No"]


def test_words_appear_in_the_room_while_they_are_spoken(live_site: Any, visit: Any) -> None:
    guest = visit()
    guest.accept_invite(live_site.new_meeting(), name="Olga")
    guest.speak()
    guest.page.wait_for_selector(".captions .line--interim .line__loose")
    guest.page.wait_for_selector(".captions .line:not(.line--interim):not(.line--gap) .line__text")
    assert guest.page.locator(".captions .line--interim").count() <= 1
    assert guest.errors == []


def test_after_more_than_two_minutes_away_the_newest_120_s_are_sent_and_the_hole_is_seen(page: Any) -> None:
    facts = page.evaluate(LONG_AWAY)
    assert facts == {"lostS": 7, "from": 7}, "the jump is what the server stores as a gap"
    states = page.evaluate(STORE, [{**final("x"), "type": "caption.gap", "last_sample": 7 * 16000}])
    assert states[-1]["captions"] == ["(gap)"]

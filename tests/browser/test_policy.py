"""What pages may load and run is said by the site's policy; a browser that enforces it complains on its console."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import Visitor


def complaints(visitor: Visitor) -> list[str]:
    """What its browser refused, or did not understand."""
    return [text for text in visitor.errors if "Content Security Policy" in text or "Permissions" in text]


def test_no_page_runs_into_the_policy(live_site: Any, visit: Any) -> None:
    meeting = live_site.new_meeting("Policy")
    owner, guest = visit(), visit()
    for someone in (owner, guest):
        someone.page.on("console", lambda message, of=someone: of.errors.append(message.text))
    guest.accept_invite(meeting, name="Olga")
    guest.speak(voice=False)
    guest.page.wait_for_selector(".captions .line:not(.line--gap)")
    guest.page.click("#paint-now")
    guest.page.wait_for_selector("#filmstrip img")
    owner.page.goto(live_site.owner_link())
    paths = [
        "/",
        f"/m/{meeting['slug']}/",
        "gallery/",
        "tv/",
        "invites/",
        "/voices/",
        "/m/no-such-meeting/",
        "/no-such-page",
    ]
    changes = [
        f"/admin/{path}"
        for path in (
            "", "meetings/meeting/", "meetings/meeting/add/", "meetings/utterance/", "speakers/speaker/",
            "speakers/stylepreset/", "speakers/stylepreset/1/change/", "generation/frame/", "password_change/",
        )
    ]  # fmt: skip
    for path in paths + changes:
        owner.page.goto(live_site.url + (path if path.startswith("/") else f"/m/{meeting['slug']}/{path}"))
        owner.page.wait_for_load_state("load")
        assert owner.page.title(), path
        assert complaints(owner) == [], path
    assert complaints(guest) == []
    # The policy is at work, and this test would see it.
    owner.page.goto(live_site.url)
    owner.page.evaluate("() => document.body.insertAdjacentHTML('beforeend', '<i style=color:red>x</i>')")
    script = "() => { const s = document.createElement('script'); s.textContent = 'ran = 1'; document.body.append(s) }"
    owner.page.evaluate(script)
    assert owner.page.evaluate("() => window.ran") is None
    assert {text.split(maxsplit=3)[2] for text in complaints(owner)} == {"style", "script"}

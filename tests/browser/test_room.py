"""The room as a person meets it: from the invite to words and pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Visit = Callable[..., Any]

FINAL = ".captions .line:not(.line--interim):not(.line--gap) .line__text"
SHOWN = ".stage__pictures img.is-shown"


def test_a_guest_comes_by_an_invite_speaks_and_sees_words_and_a_picture(live_site: Any, visit: Visit) -> None:
    guest = visit()
    guest.accept_invite(live_site.new_meeting(), name="Olga")
    assert "#" not in guest.page.url, "the invite stays in the address bar"
    guest.speak()
    guest.wait("css => [...document.querySelectorAll(css)].some((line) => line.innerText.includes(' '))", FINAL)
    guest.wait_text("#listening-word", "Listening")
    guest.page.wait_for_selector(SHOWN)
    assert guest.page.get_attribute(SHOWN, "alt")
    guest.wait_text("#why-text", "Why this")
    guest.page.wait_for_selector("#filmstrip button[aria-current]")
    guest.wait_sent("frame.shown")
    assert guest.errors == []


def test_everyone_sees_what_one_says(live_site: Any, visit: Visit) -> None:
    meeting = live_site.new_meeting()
    speaker, viewer = visit(), visit()
    viewer.accept_invite(meeting, name="Ben", kind="viewer_token")
    viewer.watch()
    speaker.accept_invite(meeting, name="Olga")
    speaker.speak(voice=False)  # known by voice, this one would have the name of another test's meeting
    viewer.page.wait_for_selector(FINAL)
    viewer.wait_text(".captions .line__who", "Olga")
    assert viewer.page.is_hidden("#mic"), "a viewer is offered a microphone"
    assert viewer.page.is_hidden("#paint-now"), "a viewer is offered to paint"


def test_no_sound_leaves_without_consent(live_site: Any, visit: Visit) -> None:
    guest = visit()
    guest.accept_invite(live_site.new_meeting(), name="Olga")
    assert not guest.page.is_checked("#consent-transcribe")
    assert not guest.page.is_checked("#consent-voice")
    guest.page.click("#door-join")
    guest.page.wait_for_selector("#door-problem:not([hidden])")
    assert guest.page.is_visible("#door-form")
    guest.page.click("#door-watch")
    guest.page.wait_for_selector("#filmstrip")
    guest.wait("() => document.querySelector('#listening').dataset.state === 'watch'")
    assert guest.sent[0]["consent"] is None, "watching neither agrees nor takes back"
    assert guest.audio == []


def test_the_meter_moves_and_silence_is_noticed(live_site: Any, visit: Visit, silent_wav: Path) -> None:
    meeting = live_site.new_meeting()
    moved = "() => parseFloat(document.querySelector('#door-meter').style.getPropertyValue('--level')) > 0.05"
    guest = visit()
    guest.accept_invite(meeting, name="Olga")
    guest.page.click("#try-microphone")
    guest.wait(moved)
    silent = visit(silent_wav)
    silent.accept_invite(meeting, name="Ben")
    silent.page.click("#try-microphone")
    silent.page.wait_for_selector("#microphone-silent:not([hidden])")


def test_a_blocked_microphone_is_explained_and_leaves_watching_open(live_site: Any, visit: Visit) -> None:
    guest = visit(None, allow=False)
    guest.accept_invite(live_site.new_meeting(), name="Olga")
    guest.page.click("#try-microphone")
    guest.page.wait_for_selector("#microphone-denied:not([hidden])")
    assert "blocked" in guest.page.inner_text("#denied-title")
    guest.watch()


def test_an_audio_file_can_be_the_source(live_site: Any, visit: Visit, speech_wav: Path) -> None:
    guest = visit()
    guest.accept_invite(live_site.new_meeting(), name="Olga")
    guest.page.check("input[value=file]", force=True)
    guest.page.set_input_files("#door-file", speech_wav)
    guest.page.check("#consent-transcribe")
    guest.page.click("#door-join")
    guest.page.wait_for_selector(FINAL)
    assert "speech.wav" in guest.page.inner_text("#source-name")


def test_paint_now_with_a_hint_paints_the_hint(live_site: Any, visit: Visit) -> None:
    guest = visit()
    guest.accept_invite(live_site.new_meeting(), name="Olga")
    guest.watch()
    guest.wait("() => !document.querySelector('#paint-now').disabled")
    guest.page.click("#hint-button")
    guest.page.fill("#hint-text", "a lighthouse on a rock")
    guest.page.press("#hint-text", "Enter")
    guest.page.wait_for_selector(SHOWN)
    assert {"type": "frame.request", "hint": "a lighthouse on a rock"} in guest.sent


def test_keys_paint_and_hide_captions_and_can_be_switched_off(live_site: Any, visit: Visit) -> None:
    guest = visit()
    guest.accept_invite(live_site.new_meeting(), name="Olga")
    guest.watch()
    guest.wait("() => !document.querySelector('#paint-now').disabled")
    guest.page.keyboard.press("p")
    guest.wait_sent("frame.request")
    guest.page.keyboard.press("c")
    assert guest.page.is_hidden("#captions")
    guest.page.click("#more-button")
    guest.page.uncheck("#keys-on")
    guest.page.keyboard.press("Escape")
    guest.page.keyboard.press("c")
    assert guest.page.is_hidden("#captions"), "a key works although keys are off"


def test_a_click_holds_a_picture_and_back_to_live_returns(live_site: Any, visit: Visit) -> None:
    guest = visit()
    guest.accept_invite(live_site.new_meeting(), name="Olga")
    guest.watch()
    guest.wait("() => !document.querySelector('#paint-now').disabled")
    for number, hint in enumerate(("a lighthouse", "a bicycle"), start=1):
        guest.page.click("#hint-button")
        guest.page.fill("#hint-text", hint)
        guest.page.press("#hint-text", "Enter")
        guest.wait("n => document.querySelectorAll('#filmstrip button').length === n", number)
    guest.page.locator("#filmstrip button").first.click()
    guest.page.wait_for_selector("#back-to-live:not([hidden])")
    guest.page.wait_for_selector("#filmstrip li:first-child button[aria-current=true]")
    guest.page.keyboard.press("Escape")
    guest.wait("() => document.querySelector('#filmstrip li:nth-child(2) button').hasAttribute('aria-current')")


def test_a_guest_can_be_given_a_name(live_site: Any, visit: Visit) -> None:
    guest = visit()
    guest.accept_invite(live_site.new_meeting(), name="Olga")
    guest.speak()
    guest.page.locator(".captions button.line__who").first.click()
    guest.page.fill("#who-name", "Grandmother")
    guest.page.click("#who-form button[type=submit]")
    guest.page.wait_for_selector(".voice__name:has-text('Grandmother')")


def test_the_room_is_light_enough_for_a_phone_and_does_not_overflow(live_site: Any, visit: Visit) -> None:
    meeting = live_site.new_meeting()
    guest = visit()
    guest.accept_invite(meeting, name="Olga")
    guest.watch()
    weights = "() => [performance.getEntriesByType('navigation')[0], ...performance.getEntriesByType('resource')]"
    total = guest.page.evaluate(
        weights + ".filter(e => !e.name.endsWith('.webp')).reduce((sum, e) => sum + e.encodedBodySize, 0)"
    )
    assert 10_000 < total < 200_000
    for width, height in ((1440, 900), (1024, 768), (390, 844)):
        guest.page.set_viewport_size({"width": width, "height": height})
        assert guest.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), (width, height)
        covered = guest.page.evaluate(
            """() => [...document.querySelectorAll('.room__bottom button, .room__bottom select, .room__top button')]
                .filter((control) => control.checkVisibility()).filter((control) => {
                    const box = control.getBoundingClientRect();
                    const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                    return !control.contains(at) && !at?.contains(control);
                }).map((control) => control.id || control.className)"""
        )
        assert covered == [], f"covered at {width}×{height}"
        small = guest.page.evaluate(
            """() => [...document.querySelectorAll('.room button, .room select, .room a')]
                .filter((control) => control.checkVisibility())
                .filter((control) => Math.min(control.offsetWidth, control.offsetHeight) < 24)
                .map((control) => control.id || control.className)"""
        )
        assert small == [], f"targets under 24 px at {width}×{height}"


def test_the_room_speaks_russian(live_site: Any, visit: Visit) -> None:
    guest = visit(locale="ru-RU")
    guest.accept_invite(live_site.new_meeting(), name="Ольга")
    guest.watch()
    assert guest.page.get_attribute("html", "lang") == "ru"
    guest.wait("() => document.querySelector('#people-count').textContent.trim() === '1 человек'")
    assert guest.page.inner_text("#paint-now .long") == "Нарисовать сейчас"
    latin = re.compile(r"[A-Za-z]{4,}")
    shown = guest.page.inner_text("#room").replace("MeetViz", "").replace("Garden by the river", "")
    assert latin.findall(shown) == []


INSECURE = """
    Object.defineProperty(window, "isSecureContext", { get: () => false });
    Object.defineProperty(Navigator.prototype, "mediaDevices", { get: () => undefined });
    delete Crypto.prototype.randomUUID;
"""


def test_on_an_insecure_address_the_page_says_so_and_a_file_still_works(
    live_site: Any, visit: Visit, speech_wav: Path
) -> None:
    guest = visit()
    guest.page.add_init_script(INSECURE)  # what Chromium takes away on http:// addresses other than localhost
    guest.accept_invite(live_site.new_meeting(), name="Olga")
    assert guest.page.is_visible("#insecure")
    assert guest.page.is_disabled("input[value=microphone]")
    guest.page.check("input[value=file]", force=True)
    guest.page.set_input_files("#door-file", speech_wav)
    guest.page.check("#consent-transcribe")
    guest.page.click("#door-join")
    guest.page.wait_for_selector(FINAL)
    assert guest.errors == []

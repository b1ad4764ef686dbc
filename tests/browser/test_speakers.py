"""Who speaks, as people correct it in the room and teach it beforehand."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests import sounds

Visit = Callable[..., Any]

# Two people and a guest who is one of them; the names are no others' in the site that all tests share.
SCENE = """
from meetings.models import Meeting, Utterance
from tests import factories as make
meeting = Meeting.objects.get(slug={slug!r})
vera, igor = make.speaker(meeting.owner, "Vera {slug}"), make.speaker(meeting.owner, "Igor {slug}")
guest = make.speaker(meeting.owner, "Guest 7", is_guest=True)
said = [(vera, "The garden is green."), (guest, "A bridge would be good."), (guest, "With a lamp on it."),
        (vera, "Who pays for it?"), (igor, "The town does.")]
for number, (speaker, text) in enumerate(said):
    make.utterance(meeting, text, said_by=speaker, ago_s=60 - 10 * number)
Utterance.objects.filter(meeting=meeting, text__endswith="?").update(speaker_state="unsure")
Utterance.objects.filter(meeting=meeting, text__startswith="The town").update(speaker_state="unsure")
"""

WHO_SAID = """([text, name]) => [...document.querySelectorAll('.captions .line')].some((line) =>
    line.querySelector('.line__text')?.textContent === text
    && line.querySelector('.line__who').textContent.trim() === name)"""


@pytest.fixture(scope="session")
def one_voice_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A microphone at which one person of the shipped dialogue speaks."""
    own = [sounds.spoken(number) for number, line in enumerate(sounds.lines()) if line.speaker == "Anna"]
    path = tmp_path_factory.mktemp("microphone") / "anna.wav"
    soundfile.write(path, np.concatenate(own[:6]), sounds.RATE_HZ, subtype="PCM_16")
    return path


def test_a_voice_is_taught_by_microphone_with_more_added_until_it_is_enough(
    live_site: Any, visit: Visit, one_voice_wav: Path
) -> None:
    owner = visit(one_voice_wav)
    owner.page.goto(live_site.owner_link())
    owner.page.click("a[href='/voices/']")
    assert not owner.page.is_checked("#teach-consent")
    owner.page.fill("#teach-name", "Zinaida")
    owner.page.click("#record")
    owner.wait("() => parseFloat(document.querySelector('#heard').style.getPropertyValue('--done')) > 0.2")
    assert (
        float(owner.page.evaluate("() => document.querySelector('#record-meter').style.getPropertyValue('--level')"))
        > 0
    )
    owner.page.click("#record")
    owner.page.wait_for_selector("#pieces li")
    owner.page.click("#teach-go")
    owner.page.wait_for_selector("#teach-answer.notice--warning")
    owner.wait_text("#teach-answer", "agreed")
    owner.page.check("#teach-consent")
    owner.page.click("#teach-go")
    owner.wait("() => document.querySelector('#teach-answer').textContent.endsWith(' s more needed')")
    assert re.fullmatch(r"[1-4]\.\d s more needed", owner.page.inner_text("#teach-answer"))
    owner.page.click("#record")
    owner.wait(
        "() => document.querySelectorAll('#pieces li').length === 1 && !document.querySelector('#recording').hidden"
    )
    owner.wait("() => parseFloat(document.querySelector('#heard-text').textContent.match(/[\\d.]+/)[0]) >= 6.5")
    owner.page.click("#record")
    owner.wait("() => document.querySelectorAll('#pieces li').length === 2")
    owner.page.click("#teach-go")
    owner.page.wait_for_selector("#teach-answer.notice--good")
    owner.wait_text("#teach-answer", "Zinaida is known by voice now.")
    known = owner.page.inner_text(".known__one[data-new]")
    assert "Zinaida" in known and "taught here" in known
    assert owner.page.locator("#pieces li").count() == 0
    assert owner.errors == []


def test_people_answer_merge_rename_split_and_forget_by_keyboard_and_everyone_sees_it(
    live_site: Any, visit: Visit
) -> None:
    meeting = live_site.new_meeting()
    slug = meeting["slug"]
    live_site.shell(SCENE.format(slug=slug))
    vera, igor = f"Vera {slug}", f"Igor {slug}"
    guest, viewer = visit(), visit()
    guest.accept_invite(meeting, name="Olga")
    guest.watch()
    viewer.accept_invite(meeting, name="Ben", kind="viewer_token")
    viewer.watch()
    page = guest.page
    viewer.page.wait_for_selector(".captions .line")
    assert viewer.page.locator(".line__answer, .captions button").count() == 0, "a viewer is asked"

    page.get_by_role("button", name=f"Yes, this is {vera}").first.click()
    viewer.wait(WHO_SAID, ["Who pays for it?", vera])
    page.locator(".captions").get_by_role("button", name=f"No, this is not {igor}").click()
    viewer.wait(WHO_SAID, ["The town does.", "Guest 8"])
    guest.wait("() => !document.querySelector('.line__answer')")

    def choose(name: str, step: str) -> None:
        page.get_by_role("button", name=f"{name}: rename").press("Enter")
        # It is loaded when it is first asked for, and a key goes to whatever has the focus.
        page.wait_for_selector("#who-dialog[open]")
        page.locator(f"#who-dialog [data-step=menu] [data-go={step}]").press("Enter")
        page.wait_for_selector(f"#who-dialog form[data-step={step}]:not([hidden])")

    choose("Guest 7", "merge")
    page.select_option("#merge-into", label="Guest 8")
    guest.wait_text("#merge-text", "Guest 7")
    page.select_option("#merge-into", label=vera)
    page.press("#merge-go", "Enter")
    for line in ("A bridge would be good.", "With a lamp on it."):
        viewer.wait(WHO_SAID, [line, vera])
    page.get_by_role("button", name="Guest 7: rename").wait_for(state="detached")

    choose(vera, "split")
    page.press("#who-dialog form[data-step=split] button[type=submit]", "Enter")
    page.wait_for_selector("#split-problem")  # nothing is ticked
    page.locator("#split-lines label", has_text="With a lamp").click()
    page.fill("#split-name", f"Lev {slug}")
    page.press("#split-name", "Enter")
    viewer.wait(WHO_SAID, ["With a lamp on it.", f"Lev {slug}"])
    viewer.wait(WHO_SAID, ["A bridge would be good.", vera])

    choose("Guest 8", "rename")
    page.fill("#rename-name", f"Ada {slug}")
    page.press("#rename-name", "Enter")
    viewer.wait(WHO_SAID, ["The town does.", f"Ada {slug}"])

    choose(vera, "forget")
    guest.wait_text("#forget-text", "cannot be undone")
    page.press("#who-dialog form[data-step=forget] [data-go=menu]", "Enter")
    page.wait_for_selector("#who-all")
    page.locator("#who-dialog [data-step=menu] [data-go=forget]").press("Enter")
    page.press("#who-dialog form[data-step=forget] button[type=submit]", "Enter")
    viewer.wait("name => !document.querySelector('#voices').textContent.includes(name)", vera)
    assert guest.errors == [] and viewer.errors == []

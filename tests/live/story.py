"""The whole job, once: people talk, everyone reads it under their names, a picture is painted, everyone sees it.

`tell` plays it into a site, whatever that is made of; `StoryTests` is what must be true afterwards.
"""

from __future__ import annotations

import asyncio
import collections
import io
import itertools
import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from meetviz_site.live.client import Consent, LiveClient
from tests.live.talking import words_of
from tests.sites import Site
from workers.messages import SAMPLE_RATE_HZ

UNTIL_S = 26.5
SPEED = 4.0
WITHIN_S = 120.0
SCRIPT = Path(__file__).resolve().parents[2] / "meetings" / "demo" / "dialogue.json"

Data = dict[str, Any]


@dataclass
class Story:
    spoken: str
    """What was really said, by the script."""
    captions: list[Data]
    """As the speaker saw them, the last state of each."""
    watched: list[Data]
    """The same as a viewer saw them."""
    queued: Data
    ready: Data
    seen_ready: Data
    """The picture as the viewer got it."""
    picture: bytes
    thumbnail: bytes
    closed: Data
    samples: int
    snapshot: Data
    """What someone gets who comes later."""
    acks: list[int]
    revs: list[int]


def last_of_each(client: LiveClient, *types: str) -> list[Data]:
    found: dict[str, Data] = {}
    for event in client.events_kept:
        if event.type in types:
            found[event["id"]] = event.data
    return list(found.values())


async def tell(site: Site, meeting: dict[str, str], speech: np.ndarray, *, viewer_url: str = "") -> Story:
    """Play the first lines of the dialogue and ask for a picture. `viewer_url`: another web process of the site."""
    samples = speech[: round(UNTIL_S * SAMPLE_RATE_HZ)]
    everything = Consent(transcribe=True, voice_id=True)
    speaker = LiveClient(meeting["ws_url"], token=meeting["join_token"], name="Anna", consent=everything)
    viewer = LiveClient(viewer_url or meeting["ws_url"], token=meeting["viewer_token"], name="Max")
    async with speaker, viewer:
        await speaker.wait_for("status", lambda e: all(e["engines"].values()), WITHIN_S)
        stream = await speaker.open_stream(language="en", label="dialogue")
        await stream.play(samples, speed=SPEED)
        closed = await stream.close(WITHIN_S)
        queued = await speaker.frame_request()
        ready = await speaker.wait_for("frame.ready", lambda e: e["id"] == queued["id"], WITHIN_S)
        await speaker.frame_shown(ready["id"])
        last = last_of_each(speaker, "caption.final")[-1]
        await viewer.wait_for("caption.final", lambda e: e["id"] == last["id"], WITHIN_S)
        seen_ready = await viewer.wait_for("frame.ready", lambda e: e["id"] == queued["id"], WITHIN_S)
        files = [
            await asyncio.to_thread(_fetch, site.url + ready[name], meeting["viewer_token"])
            for name in ("url", "thumb_url")
        ]
        # The server answers in order: when this snapshot is there, the picture is known to be shown.
        await speaker.send("resync")
        await speaker.wait_for("snapshot", after=ready)
        async with LiveClient(meeting["ws_url"], token=meeting["viewer_token"], name="Late") as late:
            snapshot = await late.wait_for("snapshot")
        return Story(
            spoken=" ".join(line["text"] for line in _script() if line["end_s"] < UNTIL_S),
            captions=last_of_each(speaker, "caption.final"),
            watched=last_of_each(viewer, "caption.final"),
            queued=queued.data,
            ready=ready.data,
            seen_ready=seen_ready.data,
            picture=files[0],
            thumbnail=files[1],
            closed=closed.data,
            samples=len(samples),
            snapshot=snapshot.data,
            acks=[e["next_sample"] for e in speaker.events_kept if e.type == "audio.ack"],
            revs=[e["rev"] for e in speaker.events_kept if e.get("rev") is not None and e.type != "snapshot"],
        )


def _script() -> list[Data]:
    return json.loads(SCRIPT.read_text())["lines"]


def _fetch(url: str, token: str) -> bytes:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


class StoryTests:
    """Takes a fixture `story`."""

    def test_at_least_half_of_the_words_are_right(self, story: Story) -> None:
        spoken = collections.Counter(words_of(story.spoken))
        heard = collections.Counter(words_of(" ".join(caption["text"] for caption in story.captions)))
        assert (spoken & heard).total() >= 0.5 * spoken.total()
        assert heard.total() <= 1.5 * spoken.total()

    def test_voices_are_told_apart(self, story: Story) -> None:
        speakers = {caption["speaker"]["id"]: caption["speaker"] for caption in story.captions}
        assert len(speakers) >= 2
        assert "Anna" in {speaker["name"] for speaker in speakers.values()}
        assert len({speaker["color"] for speaker in speakers.values()}) == len(speakers)

    def test_captions_follow_each_other_without_overlap(self, story: Story) -> None:
        places = [(caption["first_sample"], caption["last_sample"]) for caption in story.captions]
        assert places == sorted(places)
        assert all(last <= first for (_, last), (first, _) in itertools.pairwise(places))

    def test_every_sample_is_accounted_for(self, story: Story) -> None:
        assert story.closed["next_sample"] == story.samples
        assert story.acks == sorted(story.acks) and len(story.acks) > 5
        assert story.acks[-1] <= story.samples

    def test_revisions_come_in_order_without_a_gap(self, story: Story) -> None:
        assert story.revs == list(range(story.revs[0], story.revs[0] + len(story.revs)))

    def test_a_viewer_sees_the_same_as_the_speaker(self, story: Story) -> None:
        assert story.watched == story.captions
        assert story.seen_ready == story.ready

    def test_who_comes_later_sees_what_was_seen(self, story: Story) -> None:
        assert story.snapshot["captions"] == story.captions
        (frame,) = [frame for frame in story.snapshot["frames"] if frame["id"] == story.ready["id"]]
        shown = frame["timings_ms"].pop("shown")
        assert frame == story.ready and shown > 0
        assert {s["id"] for s in story.snapshot["speakers"]} == {c["speaker"]["id"] for c in story.captions}
        assert story.snapshot["rev"] == story.revs[-1]

    def test_the_picture_is_a_picture(self, story: Story) -> None:
        picture = Image.open(io.BytesIO(story.picture))
        picture.load()
        assert (picture.format, picture.size) == ("WEBP", (1024, 576))
        assert picture.size == (story.ready["width"], story.ready["height"])
        assert len(picture.convert("RGB").getcolors(2**24)) > 100
        thumbnail = Image.open(io.BytesIO(story.thumbnail))
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (320, 180))

    def test_the_picture_says_what_it_shows_and_why(self, story: Story) -> None:
        ready = story.ready
        assert ready["alt"] and set(ready["alts"]) == {"en", "ru"}
        captions = {caption["id"]: caption for caption in story.captions}
        assert ready["why"] and set(ready["why"]) <= set(captions)
        assert [quote["text"] for quote in ready["quotes"]] == [captions[pk]["text"] for pk in ready["why"]]
        assert {speaker["id"] for speaker in ready["speakers"]} == {
            captions[pk]["speaker"]["id"] for pk in ready["why"]
        }
        assert ready["engine"]["name"] == "poster"
        named = {"garden", "river", "house", "tree", "bridge", "boat", "water", "path", "stone", "fish", "children"}
        assert any(thing in ready["prompt"] for thing in named)

    def test_the_picture_says_how_long_everything_took(self, story: Story) -> None:
        timings = story.ready["timings_ms"]
        assert set(timings) >= {"heard", "waited", "prompted", "painted", "stored", "total"}
        assert all(value >= 0 for value in timings.values())
        assert timings["total"] >= timings["painted"] > 0

"""Latencies of the whole way, through the real socket of a one-command server: the shipped dialogue in real time.

End of speech is the end of a line in the dialogue's script; a caption counts for the line that it ends with, an interim
for the line that is being spoken. "On the page" here is at the client: the browser adds its own painting of a line of
text.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from meetings.audio import SAMPLE_RATE_HZ
from meetviz_site.live.client import Consent, Event, LiveClient, read_audio
from meetviz_site.live.client_stream import FRAME_SAMPLES
from tests.bench.figures import Figure, median, percentile
from tests.sites import ROOT, Site, local_site

DIALOGUE = ROOT / "meetings" / "demo"
LINES = 14
ENDPOINT_SILENCE_MS = 500.0


@dataclass
class Heard:
    """A caption beside the line of the script that it is."""

    latency_ms: float
    own_ms: float


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="meetviz-bench-") as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        home.mkdir(mode=0o711)
        with local_site(home):
            pass  # the first start makes the database; the second is the one that people wait for
        start = time.perf_counter()
        with local_site(home) as site:
            _get(site.url + "/")
            start_s = time.perf_counter() - start
            figures = asyncio.run(_talk(site))
    return [
        *figures,
        Figure("start_s", round(start_s, 2), "s", "lower", 5.0, 1, "second start until the page is there"),
    ]


def _get(url: str, token: str = "") -> bytes:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


async def _talk(site: Site) -> list[Figure]:
    script = json.loads((DIALOGUE / "dialogue.json").read_text())["lines"][:LINES]
    samples = read_audio(DIALOGUE / "dialogue.opus")
    samples = samples[: int((script[-1]["end_s"] + 1.5) * SAMPLE_RATE_HZ)]
    meeting = await asyncio.to_thread(site.new_meeting)
    consent = Consent(transcribe=True, voice_id=True)
    pictures: list[float] = []
    async with LiveClient(meeting["ws_url"], token=meeting["join_token"], consent=consent) as client:
        await client.wait_for("status", _engines_loaded, timeout_s=60)
        ack_ms = await _silence_acks(client)
        stream = await client.open_stream(language="en")
        begin = time.time()
        player = asyncio.create_task(stream.play(samples))
        for line in script[1::3]:
            await asyncio.sleep(max(0.0, begin + line["end_s"] - time.time()))
            pictures.append(await _picture(site, client, meeting, begin + line["end_s"]))
        begin = await player
        await stream.close()
        captions = [event for event in client.events_kept if event.type == "caption.final"]
        interims = [event for event in client.events_kept if event.type == "caption.interim" and event["text"]]
    heard = [h for h in (_match(event, script, begin) for event in captions) if h]
    latencies = [h.latency_ms for h in heard]
    first_ms = _first_interims(interims, script, begin)
    return [
        median(
            "caption_latency_ms_p50", latencies, "ms", target=1200, note="end of speech to caption.final, at the client"
        ),
        percentile("caption_latency_ms_p95", latencies, 95, "ms", target=2500, note="the same"),
        median(
            "first_interim_ms_p50",
            first_ms,
            "ms",
            target=1500,
            note="start of a line to its first words, at the client",
        ),
        percentile(
            "first_interim_ms_p95", first_ms, 95, "ms", note=f"the same; {len(script) - len(first_ms)} had none"
        ),
        median(
            "own_share_ms_p50",
            [h.own_ms for h in heard],
            "ms",
            target=100,
            note=f"latency without the wait for the engines and the {ENDPOINT_SILENCE_MS:.0f} ms of silence that end an"
            " utterance: the client's message, frames, queues, the transaction, the way back",
        ),
        median(
            "picture_latency_ms_p50",
            pictures,
            "ms",
            target=5000,
            note="end of speech to picture fetched, Paint now pressed at the end of speech",
        ),
        percentile("picture_latency_ms_max", pictures, 100, "ms", target=5000, note="the same, the slowest"),
        percentile("ack_ms_p95", ack_ms, 95, "ms", target=250, note="silence sent until it is acked"),
    ]


def _engines_loaded(event: Event) -> bool:
    engines = event["engines"]
    return bool(engines.get("speech") and engines.get("paint")) and not event.get("notice")


async def _silence_acks(client: LiveClient) -> list[float]:
    """Times from sending 96 ms of silence to the next ack of its stream, ms."""
    stream = await client.open_stream(language="en", label="silence")
    quiet = bytes(2 * FRAME_SAMPLES)
    times = []
    for _turn in range(40):
        number = client.events_kept[-1].number
        await stream.play(quiet)
        sent = time.time()
        ack = await client.wait_for("audio.ack", lambda e: e["stream"] == stream.id, after=number)
        times.append(max(0.0, (ack.received_at - sent) * 1000))
    await stream.close()
    return times


async def _picture(site: Site, client: LiveClient, meeting: dict[str, str], ended_at: float) -> float:
    """Press Paint now at the end of speech; ms until the picture is here."""
    queued = await client.frame_request()
    ready = await client.wait_for("frame.ready", lambda e: e["id"] == queued["id"], timeout_s=30)
    await asyncio.to_thread(_get, site.url + ready["url"], meeting["join_token"])
    return (time.time() - ended_at) * 1000


def _first_interims(interims: list[Event], script: list[dict], begin: float) -> list[float]:
    """For each line that had interims: ms from its first sound to the first of them."""
    found = []
    for line in script:
        start, end = begin + line["start_s"], begin + line["end_s"]
        times = [interim.received_at for interim in interims if start + 0.3 < interim.received_at < end + 1.0]
        if times:
            found.append((min(times) - start) * 1000)
    return found


def _match(event: Event, script: list[dict], begin: float) -> Heard | None:
    """Caption and line that end together; captions that a long line was cut into in the middle are left out."""
    end_s = event["last_sample"] / SAMPLE_RATE_HZ
    line = min(script, key=lambda candidate: abs(candidate["end_s"] - end_s))
    if abs(line["end_s"] - end_s) > 1.0:
        return None
    latency = (event.received_at - (begin + line["end_s"])) * 1000
    timings = event.get("timings_ms") or {}
    engines = timings.get("decode", 0.0) + timings.get("voice", 0.0)
    return Heard(latency, latency - engines - ENDPOINT_SILENCE_MS)

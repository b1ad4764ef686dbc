"""What the browser's own code does to sound, run in the browser: numbers, not impressions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

Visit = Callable[..., Any]

# A tone through the resampler, in blocks of 128 as the audio thread gives them; returns the amplitude that comes out
# (twice the inner product with the tone over a whole number of periods, away from the ends) and the sample count.
TONE = """async ([rate, hz, block]) => {
    const { Resampler } = await import("/static/js/room/resampler.js");
    const resampler = new Resampler(rate);
    const out = [];
    const length = rate;  // one second
    for (let at = 0; at < length; at += block) {
        const part = new Float32Array(Math.min(block, length - at));
        for (let i = 0; i < part.length; i += 1) part[i] = Math.sin(2 * Math.PI * hz * (at + i) / rate);
        out.push(...resampler.push(part));
    }
    const energy = out.slice(4000, 12000).reduce((sum, value) => sum + value * value, 0) / 8000;
    return { amplitude: Math.sqrt(2 * energy), samples: out.length, head: out.slice(4000, 4050) };
}"""

RATES = (8_000, 16_000, 22_050, 44_100, 48_000, 96_000, 44_099)


@pytest.fixture
def page(live_site: Any, visit: Visit) -> Any:
    guest = visit()
    guest.page.goto(f"{live_site.url}/")
    return guest.page


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_of_speech_passes_unchanged_at_every_device_rate(page: Any, rate: int) -> None:
    out = page.evaluate(TONE, [rate, 1000, 128])
    assert out["amplitude"] == pytest.approx(1.0, abs=0.01)
    assert 15_700 < out["samples"] <= 16_001
    at = [4000 + i for i in range(50)]
    expected = [math.sin(2 * math.pi * 1000 * n / 16_000) for n in at]
    assert out["head"] == pytest.approx(expected, abs=0.02), "the tone comes out at another place or pitch"


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_what_16_khz_cannot_hold_is_taken_out_and_not_folded_back(page: Any, rate: int) -> None:
    for hz in (8_500, 11_000, 15_000):
        assert page.evaluate(TONE, [rate, hz, 128])["amplitude"] < 0.001  # −60 dB


def test_how_the_sound_is_cut_into_blocks_changes_nothing(page: Any) -> None:
    small, large = page.evaluate(TONE, [44_100, 440, 100]), page.evaluate(TONE, [44_100, 440, 5000])
    assert small == large


# The outbox, as the live protocol wants it.
OUTBOX = """async () => {
    const { Outbox, KEEP_S } = await import("/static/js/room/outbox.js");
    const outbox = new Outbox("a stream");
    const block = () => new Int16Array(2560).fill(7);
    for (let i = 0; i < 4; i += 1) outbox.push(block());
    const facts = { beforeOpen: outbox.next() };
    outbox.opened(3, 0);
    const first = new DataView(outbox.next());
    facts.header = [0, 1, 2, 3].map((at) => first.getUint8(at));
    facts.number = first.getUint16(4, true);
    facts.start = Number(first.getBigUint64(8, true));
    facts.length = first.byteLength;
    facts.sample = first.getInt16(16, true);
    while (outbox.next()) { /* all goes out */ }
    outbox.forget(5120);
    facts.heldS = outbox.heldS;
    outbox.disconnected();
    outbox.opened(9, 5120);
    facts.resumed = Number(new DataView(outbox.next()).getBigUint64(8, true));
    let lost = 0;
    for (let i = 0; i < KEEP_S * 16000 / 2560; i += 1) lost += outbox.push(block());
    facts.lost = lost;
    facts.kept = outbox.written - outbox.chunks[0].first;
    return facts;
}"""


def test_unacked_sound_is_numbered_kept_and_resumed_and_bounded(page: Any) -> None:
    facts = page.evaluate(OUTBOX)
    assert facts["beforeOpen"] is None
    assert facts["header"] == [0x4D, 0x56, 1, 1]
    assert (facts["number"], facts["start"], facts["length"], facts["sample"]) == (3, 0, 16 + 5120, 7)
    assert facts["heldS"] == pytest.approx(0.32)
    assert facts["resumed"] == 5120
    assert facts["lost"] == 5120, "what was held beyond 120 s must go, and be counted"
    assert facts["kept"] == 120 * 16_000

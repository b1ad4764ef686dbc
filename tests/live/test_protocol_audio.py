"""The live socket and sound: acks, captions, gaps, silence, noise."""

from __future__ import annotations

import numpy as np
import pytest

from tests.live.talking import FRAME_SAMPLES, noise, silence, talk_in, words_of
from workers.messages import SAMPLE_RATE_HZ

pytestmark = pytest.mark.usefixtures("still_well")

Meeting = dict[str, str]


# Audio


async def test_silence_is_acked_without_a_caption(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk:
        opened = await talk.open_stream(language="en", label="desk")
        assert opened["next_sample"] == 0
        until = await talk.audio(opened, silence(4.0))
        acked = await talk.acked(opened, until - SAMPLE_RATE_HZ // 2)
        assert acked <= until
        assert (await talk.close_stream(opened))["next_sample"] == until
        await talk.settled()
    acks = [ack["next_sample"] for ack in talk.of_type("audio.ack")]
    assert acks == sorted(acks)
    assert talk.seen[-1]["captions"] == [] and not talk.of_type("caption.final", "caption.gap", "caption.interim")


@pytest.mark.parametrize("amplitude", [300, 3_000, 30_000])
async def test_noise_is_acked_without_a_caption(meeting: Meeting, amplitude: int) -> None:
    async with talk_in(meeting) as talk:
        opened = await talk.open_stream()
        until = await talk.audio(opened, noise(4.0, amplitude))
        assert (await talk.close_stream(opened))["next_sample"] == until
        await talk.settled()
    assert talk.seen[-1]["captions"] == []


async def test_speech_becomes_one_caption_that_everyone_sees_the_same(meeting: Meeting, sentence: np.ndarray) -> None:
    async with talk_in(meeting) as talk, talk_in(meeting, "Max", "viewer") as viewer:
        opened = await talk.open_stream()
        until = await talk.audio(opened, sentence)
        caption = await talk.next("caption.final")
        assert await viewer.next("caption.final") == caption
        assert {"morning", "garden", "river", "today"} & set(words_of(caption["text"]))
        assert caption["stream"] == opened["stream"] and caption["language"] == "en"
        assert 0 <= caption["first_sample"] < caption["last_sample"] <= until
        assert caption["started_at"] < caption["ended_at"]
        assert caption["speaker"]["name"] == "Anna"
        assert caption["words"][0]["start_ms"] < caption["words"][-1]["end_ms"]
        assert talk.of_type("speaker.updated")[0]["speaker"]["id"] == caption["speaker"]["id"]
        await talk.acked(opened, caption["last_sample"])
        await talk.settled()
        snapshot = talk.seen[-1]
        assert snapshot["captions"] == [caption]
        assert snapshot["rev"] >= caption["rev"] == talk.of_type("speaker.updated")[0]["rev"] + 1


async def test_a_line_gets_another_name_for_everyone(meeting: Meeting, sentence: np.ndarray) -> None:
    consent = {"transcribe": True}  # not by voice: another test may have taught this owner who it is
    async with talk_in(meeting, "", consent=consent) as talk, talk_in(meeting, "Max", "viewer") as viewer:
        opened = await talk.open_stream()
        await talk.audio(opened, sentence)
        caption = await talk.next("caption.final")
        assert (caption["speaker"]["name"], caption["speaker"]["state"]) == ("Guest 1", "guest")
        await viewer.next("caption.final")
        await talk.say("caption.assign", utterance=caption["id"], new_name="Maria")
        for socket in (talk, viewer):
            assert (await socket.next("speaker.updated"))["speaker"]["name"] == "Maria"
            again = await socket.next("caption.final")
            assert (again["id"], again["text"], again["speaker"]["name"]) == (caption["id"], caption["text"], "Maria")
            assert again["rev"] > caption["rev"]


async def test_repeated_and_overlapping_samples_are_dropped_silently(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk:
        opened = await talk.open_stream()
        await talk.audio(opened, silence(1.0))
        await talk.audio(opened, silence(1.0))
        await talk.audio(opened, silence(1.0), first=8_000)
        await talk.audio(opened, silence(0.1), first=0)
        assert (await talk.close_stream(opened))["next_sample"] == 24_000
        await talk.settled()
    assert talk.seen[-1]["captions"] == [] and not talk.of_type("error")


async def test_a_jump_forward_is_stored_as_a_gap(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk, talk_in(meeting, "Max", "viewer") as viewer:
        opened = await talk.open_stream()
        await talk.audio(opened, silence(1.0))
        await talk.audio(opened, silence(1.0), first=48_000)
        for socket in (talk, viewer):
            gap = await socket.next("caption.gap")
            assert (gap["first_sample"], gap["last_sample"], gap["reason"]) == (16_000, 48_000, "missing")
        assert (await talk.close_stream(opened))["next_sample"] == 64_000
        await talk.settled()
    assert [caption["type"] for caption in talk.seen[-1]["captions"]] == ["caption.gap"]


async def test_a_jump_in_the_middle_of_a_sentence_closes_it_first(meeting: Meeting, sentence: np.ndarray) -> None:
    spoken = sentence[: 3 * SAMPLE_RATE_HZ]
    async with talk_in(meeting) as talk:
        opened = await talk.open_stream()
        await talk.audio(opened, spoken)
        await talk.audio(opened, silence(0.5), first=5 * SAMPLE_RATE_HZ)
        await talk.close_stream(opened)
        await talk.settled()
    captions = talk.seen[-1]["captions"]
    assert [caption["type"] for caption in captions] == ["caption.final", "caption.gap"]
    assert captions[0]["last_sample"] <= len(spoken) == captions[1]["first_sample"]


async def test_a_jump_to_the_end_of_all_time_is_only_a_gap(meeting: Meeting) -> None:
    far = 2**62
    async with talk_in(meeting) as talk:
        opened = await talk.open_stream()
        await talk.audio(opened, silence(0.5), first=far)
        gap = await talk.next("caption.gap")
        assert (gap["first_sample"], gap["last_sample"]) == (0, far)
        assert (await talk.close_stream(opened))["next_sample"] == far + 8_000


async def test_samples_out_of_order_cost_only_what_did_not_come_in_time(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk:
        opened = await talk.open_stream()
        frames = [(start, silence(0.16)) for start in range(0, 10 * FRAME_SAMPLES, FRAME_SAMPLES)]
        frames[4], frames[5] = frames[5], frames[4]
        for first, samples in frames:
            await talk.audio(opened, samples, first=first)
        assert (await talk.close_stream(opened))["next_sample"] == 10 * FRAME_SAMPLES
        await talk.settled()
    (gap,) = talk.seen[-1]["captions"]
    assert (gap["first_sample"], gap["last_sample"]) == (4 * FRAME_SAMPLES, 5 * FRAME_SAMPLES)


async def test_a_language_that_is_not_understood_is_a_visible_gap_not_invented_words(
    meeting: Meeting, sentence: np.ndarray
) -> None:
    async with talk_in(meeting) as talk:
        opened = await talk.open_stream(language="ru")
        await talk.audio(opened, sentence)
        assert (await talk.next("caption.gap", "caption.final"))["reason"] == "language_unsupported"
        await talk.close_stream(opened)


async def test_a_closed_stream_goes_on_when_it_is_opened_again(meeting: Meeting) -> None:
    async with talk_in(meeting) as talk:
        opened = await talk.open_stream()
        await talk.audio(opened, silence(1.0))
        await talk.close_stream(opened)
        again = await talk.open_stream(opened["stream"])
        assert again["next_sample"] == 16_000
        await talk.audio(again, silence(1.0), first=16_000)
        assert (await talk.close_stream(again))["next_sample"] == 32_000


async def test_a_stream_opened_again_while_it_closes_goes_on_too(meeting: Meeting, sentence: np.ndarray) -> None:
    async with talk_in(meeting) as talk:
        opened = await talk.open_stream()
        until = await talk.audio(opened, sentence)
        await talk.say("stream.close", stream=opened["stream"])
        again = await talk.open_stream(opened["stream"])
        until = await talk.audio(again, silence(1.0), first=until)
        assert (await talk.close_stream(again))["next_sample"] == until
        await talk.settled()
    assert not talk.of_type("error")
    assert len(talk.seen[-1]["captions"]) == 1

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull

from meetviz_site.local.bus import ThreadSafeInMemoryLayer

WITHIN_S = 10.0


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


async def test_a_message_from_a_worker_thread_wakes_an_idle_loop() -> None:
    """Nothing else happens on the loop: with Channels' own layer the receiver would sleep until the deadline."""
    layer = ThreadSafeInMemoryLayer()
    loop = asyncio.get_running_loop()
    receiving = asyncio.create_task(layer.receive("inbox"))
    await asyncio.sleep(0)
    sender = in_thread(lambda: async_to_sync(layer.send)("inbox", {"type": "hello"}))
    started = loop.time()
    message = await asyncio.wait_for(receiving, WITHIN_S)
    assert message == {"type": "hello"}
    assert loop.time() - started < WITHIN_S / 2  # woken by the message, not by the deadline
    await asyncio.to_thread(sender.join)


async def test_a_group_hears_every_thread_and_each_in_its_order() -> None:
    layer = ThreadSafeInMemoryLayer()
    names = [await layer.new_channel() for _ in range(3)]
    for name in names:
        await layer.group_add("room", name)

    def talk(speaker: int) -> None:
        for number in range(50):
            async_to_sync(layer.group_send)("room", {"type": "said", "speaker": speaker, "number": number})

    threads = [in_thread(lambda speaker=speaker: talk(speaker)) for speaker in range(4)]

    async def listen(name: str) -> list[dict]:
        return [await layer.receive(name) for _ in range(200)]

    heard = await asyncio.wait_for(asyncio.gather(*map(listen, names)), WITHIN_S)
    for messages in heard:
        for speaker in range(4):
            assert [m["number"] for m in messages if m["speaker"] == speaker] == list(range(50))
    for thread in threads:
        await asyncio.to_thread(thread.join)


async def test_a_reader_that_falls_behind_is_bounded() -> None:
    layer = ThreadSafeInMemoryLayer(capacity=3)
    await layer.group_add("room", "slow")
    refused: list[bool] = []

    def flood() -> None:
        for _ in range(5):
            try:
                async_to_sync(layer.send)("slow", {"type": "x"})
                refused.append(False)
            except ChannelFull:
                refused.append(True)
        async_to_sync(layer.group_send)("room", {"type": "missed"})

    await asyncio.to_thread(flood)
    assert refused == [False, False, False, True, True]
    assert [(await layer.receive("slow"))["type"] for _ in range(3)] == ["x", "x", "x"]


async def test_what_is_sent_before_anyone_reads_waits() -> None:
    layer = ThreadSafeInMemoryLayer()
    await layer.send("inbox", {"type": "early"})
    assert await asyncio.wait_for(layer.receive("inbox"), WITHIN_S) == {"type": "early"}


def test_a_new_loop_takes_over_from_one_that_ended() -> None:
    layer = ThreadSafeInMemoryLayer()

    async def join_and_leave() -> None:
        await layer.group_add("room", "old")

    async def join_and_hear() -> dict:
        await layer.group_add("room", "new")
        await asyncio.to_thread(lambda: async_to_sync(layer.group_send)("room", {"type": "hello"}))
        return await asyncio.wait_for(layer.receive("new"), WITHIN_S)

    asyncio.run(join_and_leave())
    # Nobody reads now: a worker that still sends must not hang or fail.
    async_to_sync(layer.group_send)("room", {"type": "into the void"})
    assert asyncio.run(join_and_hear()) == {"type": "hello"}


@pytest.mark.parametrize("name", ["", "a b", "x" * 200])
async def test_bad_channel_names_are_refused_from_any_thread(name: str) -> None:
    layer = ThreadSafeInMemoryLayer()
    await layer.group_add("room", "someone")
    with pytest.raises(TypeError):
        await asyncio.to_thread(lambda: async_to_sync(layer.send)(name, {"type": "x"}))

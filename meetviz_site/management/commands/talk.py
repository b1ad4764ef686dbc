"""`manage.py talk`: speak audio files, or a microphone, into a meeting and print what it hears and paints."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from meetings.audio import SAMPLE_RATE_HZ
from meetings.audio.frames import Samples
from meetviz_site.env import env
from meetviz_site.live.audio_file import AudioFileError, read_audio
from meetviz_site.live.client import Consent, Event, LiveClient, LiveError, LiveStream, socket_url
from meetviz_site.live.client_stream import FRAME_SAMPLES
from meetviz_site.local.instance import running_instance

BETWEEN_FILES_S = 0.8
"""Silence between two files of one stream, so that the last words of one and the first of the next stay apart."""


class Command(BaseCommand):
    help = (
        "Speak audio files (of any format) or the microphone into a meeting, and print captions and pictures as they"
        " come. Whoever runs it agrees, for the voices in the audio, that they are transcribed and, without"
        " --no-voice-id, recognised."
    )
    # It only talks to a server: no database, no models, no checks to wait for.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="audio, spoken one file after another")
        parser.add_argument("--meeting", required=True, metavar="SLUG", help="the meeting's address")
        parser.add_argument("--token", help="invite or API token of the meeting (default: MEETVIZ_TOKEN)")
        parser.add_argument("--url", help="the server, ws:// or http:// (default: MEETVIZ_URL, else on this machine)")
        parser.add_argument("--speed", type=_speed, default=1.0, help="times real time (default: 1)")
        parser.add_argument("--together", action="store_true", help="all files at once, each in a stream of its own")
        parser.add_argument("--mic", action="store_true", help="speak through the microphone until Ctrl-C")
        parser.add_argument("--name", help="name of the first voice (default: numbered guests)")
        parser.add_argument("--language", choices=["en", "ru", "auto"], help="default: the meeting's")
        parser.add_argument("--no-voice-id", action="store_true", help="transcribe, but do not recognise the voice")
        parser.add_argument("--json", action="store_true", help="print every event as one line of JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        token = options["token"] or env("MEETVIZ_TOKEN")
        if not token:
            raise CommandError(_("Say which token to use: --token, or MEETVIZ_TOKEN in the environment."))
        if bool(options["files"]) == options["mic"]:
            raise CommandError(_("Name at least one audio file, or use --mic (not both)."))
        url = socket_url(options["url"] or env("MEETVIZ_URL") or _local_server(), options["meeting"])
        try:
            # All files first: a typing mistake in the third must not show after minutes of the first two.
            recordings = [(path.name, read_audio(path)) for path in options["files"]]
            if options["mic"]:
                _microphone_check()
            asyncio.run(_Talk(self, options, recordings).run(url, token))
        except AudioFileError as error:
            raise CommandError(str(error)) from error
        except LiveError as error:
            raise CommandError(_explained(error, url)) from error
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            # `talk … | head`: the reader has gone; keep Python from complaining about it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Talk:
    """One run of the command: a task that speaks, and one that prints until the speaking is over."""

    def __init__(self, command: Command, options: dict[str, Any], recordings: list[tuple[str, Samples]]) -> None:
        self.command = command
        self.recordings = recordings
        self.name: str | None = options["name"]
        self.consent = Consent(transcribe=True, voice_id=not options["no_voice_id"])
        self.language: str | None = options["language"]
        self.speed: float = options["speed"]
        self.together: bool = options["together"]
        self.mic: bool = options["mic"]
        self.json: bool = options["json"]

    async def run(self, url: str, token: str) -> None:
        client = LiveClient(url, token=token, name=self.name, consent=self.consent)
        client.on_reconnect = self._notice
        async with client:
            tasks = [asyncio.create_task(self._speak(client)), asyncio.create_task(self._print(client))]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                tasks[0].cancel()
                await client.aclose()  # lets the printer finish with the last event
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _speak(self, client: LiveClient) -> None:
        if self.mic:
            stream = await self._open(client, "microphone")
            async with _microphone() as blocks:
                self._notice(_("Speak now; Ctrl-C ends."))
                async for block in blocks:
                    await stream.write(block)
            await stream.close()
        elif self.together:
            streams = [await self._open(client, name) for name, _samples in self.recordings]
            samples = [samples for _name, samples in self.recordings]
            await asyncio.gather(*(self._play(s, [piece]) for s, piece in zip(streams, samples, strict=True)))
        else:
            stream = await self._open(client, ", ".join(name for name, _samples in self.recordings))
            await self._play(stream, [samples for _name, samples in self.recordings])

    async def _open(self, client: LiveClient, label: str) -> LiveStream:
        return await client.open_stream(language=self.language, label=label[:100])

    async def _play(self, stream: LiveStream, pieces: list[Samples]) -> None:
        pause = bytes(2 * int(SAMPLE_RATE_HZ * BETWEEN_FILES_S))
        for number, samples in enumerate(pieces):
            if number:
                await stream.play(pause, speed=self.speed)
            await stream.play(samples, speed=self.speed)
        await stream.close(timeout_s=600)

    async def _print(self, client: LiveClient) -> None:
        async for event in client.events():
            if self.json:
                line = json.dumps({**event.data, "received_at": event.received_at}, ensure_ascii=False)
            else:
                line = _as_text(event)
            if line:
                self.command.stdout.write(line)
                self.command.stdout.flush()

    def _notice(self, sentence: str) -> None:
        self.command.stderr.write(sentence)
        self.command.stderr.flush()


def _as_text(event: Event) -> str:
    """What a person at a terminal wants to know of an event; empty for most."""
    if event.type == "caption.final":
        speaker = event.get("speaker") or {}
        unsure = "?" if speaker.get("state") == "unsure" else ""
        return f"{speaker.get('name') or '?'}{unsure}: {event['text']}"
    if event.type == "caption.gap":
        if event.get("reason") == "language_unsupported":
            return _("[the speech engine does not know this language]")
        return _("[some audio is missing]")
    if event.type == "frame.ready":
        return _("[picture] %(alt)s — %(url)s") % {"alt": event.get("alt", ""), "url": event.get("url", "")}
    if event.type == "frame.failed":
        return _("[no picture] %(message)s") % {"message": event.get("message", "")}
    if event.type == "error":
        return _("[server] %(message)s") % {"message": event.get("message", event.get("code"))}
    return ""


def _explained(error: LiveError, url: str) -> str:
    """One line that says what is wrong and what to do."""
    sentences = {
        "unreachable": _("No server at %(host)s. Start one with `make run`, or say where it is with --url."),
        "bad_address": _("%(url)s is not the address of a MeetViz server. Give it with --url as ws://HOST:PORT."),
        "not_authenticated": _("The server does not know this token (4401). Take the join_token of this meeting."),
        "not_allowed": _("This token may not speak in the meeting (4403). Take its join_token or api_token."),
        "no_such_meeting": _("There is no meeting with this address at %(host)s (4404)."),
        "meeting_ended": _("The meeting has ended (4410): nothing can be said in it any more."),
        "timeout": _("The server at %(host)s does not answer in time."),
    }
    if error.code not in sentences:
        return error.message
    return sentences[error.code] % {"host": urlsplit(url).netloc, "url": url}


def _local_server() -> str:
    """The server on this machine: at PORT if that is set, else the one that runs on the same data."""
    running = None if env("PORT") else running_instance(settings.HOME)
    return running.url if running else f"ws://localhost:{settings.PORT}"


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.01 <= speed <= 1000:
        raise argparse.ArgumentTypeError("must be a number from 0.01 to 1000")
    return speed


def _microphone_check() -> None:
    """Raises CommandError when there is no way to record here."""
    try:
        import sounddevice

        sounddevice.check_input_settings(channels=1, dtype="int16", samplerate=SAMPLE_RATE_HZ)
    except ImportError:
        raise CommandError(_("--mic needs the package sounddevice: .venv/bin/pip install sounddevice")) from None
    except OSError:
        raise CommandError(_("--mic needs the PortAudio library (on Debian: apt install libportaudio2).")) from None
    except (sounddevice.PortAudioError, ValueError) as error:
        raise CommandError(_("No microphone can be used here: %(reason)s") % {"reason": error}) from None


@contextlib.asynccontextmanager
async def _microphone() -> AsyncIterator[AsyncIterator[bytes]]:
    """The default microphone as PCM16 blocks of 96 ms, until Ctrl-C."""
    import sounddevice

    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def recorded(block: Any, _frames: int, _time: Any, _status: Any) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, bytes(block))

    async def blocks() -> AsyncIterator[bytes]:
        while (block := await queue.get()) is not None:
            yield block

    loop.add_signal_handler(signal.SIGINT, queue.put_nowait, None)
    try:
        with sounddevice.RawInputStream(
            samplerate=SAMPLE_RATE_HZ, channels=1, dtype="int16", blocksize=FRAME_SAMPLES, callback=recorded
        ):
            yield blocks()
    finally:
        loop.remove_signal_handler(signal.SIGINT)

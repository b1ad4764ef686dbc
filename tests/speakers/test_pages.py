"""The page of known voices: who sees what, what is taken in, and what becomes of it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from celery import current_app
from django.core.files import uploadhandler
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from kombu import Consumer

from meetviz_site import pipeline, recordings
from meetviz_site.management.commands import enrol as enrol_command
from speakers.models import Enrolment, Speaker, Voiceprint
from tests import factories as make
from tests import sounds
from workers.messages import QUEUE_SPEECH, TASK_EMBED, EmbedRequest, VoiceEmbedding
from workers.tasks import learn_voice

pytestmark = pytest.mark.django_db

ENROL = "/voices/enrol/"


@pytest.fixture
def owner() -> Any:
    return make.user("nadia")


@pytest.fixture
def page(owner: Any) -> Client:
    client = Client()
    client.force_login(owner)
    return client


@pytest.fixture
def host() -> Iterator[Callable[[], EmbedRequest | None]]:
    """A speech host: `host()` takes the next recording off the queue, listens to it and sends what it heard."""
    requests: list[EmbedRequest] = []

    def on_message(body: Any, message: Any) -> None:
        message.ack()
        assert message.headers["task"] == TASK_EMBED
        requests.append(EmbedRequest.from_wire(body[0][0]))

    def listen() -> EmbedRequest | None:
        try:
            connection.drain_events(timeout=0.2)
        except TimeoutError:
            return None
        pipeline.embedded(learn_voice(requests[-1]).to_wire())
        return requests[-1]

    with current_app.connection_for_read() as connection:
        queue = current_app.amqp.queues[QUEUE_SPEECH]
        queue(connection.default_channel).declare()
        queue(connection.default_channel).purge()
        with Consumer(connection, [queue], callbacks=[on_message], accept=["msgpack", "json"]):
            yield listen


def said_by(name: str, lines: int = 4) -> np.ndarray:
    """What one person of the shipped dialogue says, in one piece."""
    own = [sounds.spoken(number) for number, line in enumerate(sounds.lines()) if line.speaker == name]
    return np.concatenate(own[:lines])


def wav(samples: np.ndarray, name: str = "anna.wav", kind: str = "WAV") -> SimpleUploadedFile:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sounds.RATE_HZ, format=kind)
    return SimpleUploadedFile(name, buffer.getvalue())


def post(page: Client, *files: Any, **values: str) -> tuple[int, dict[str, Any]]:
    answer = page.post(ENROL, {"name": "Anna", "consent": "on", **values, "sound": list(files)})
    return answer.status_code, json.loads(answer.content)


def test_a_file_teaches_a_voice_and_the_page_shows_what_was_learned(page: Client, host: Any, owner: Any) -> None:
    status, answer = post(page, wav(said_by("Anna"), "anna.flac", "FLAC"))
    assert (status, answer["state"]) == (202, "waiting")
    request = host()
    assert request is not None and request.id == answer["id"]
    answer = page.get(f"{ENROL}{answer['id']}/").json()
    assert (answer["state"], answer["message"]) == ("done", "Anna is known by voice now.")
    anna = Speaker.objects.get(owner=owner)
    assert anna.voiceprints.get().speech_s > 8
    shown = page.get("/voices/").content.decode()
    assert "Anna" in shown and "taught here" in shown and anna.voiceprints.get().model in shown


def test_several_pieces_count_together(page: Client, host: Any) -> None:
    piece = wav(sounds.spoken(0))
    status, answer = post(page, piece)
    assert (answer["state"], answer["code"]) == ("failed", "too_little_speech")
    assert answer["message"] == f"{5 - answer['speech_s']:.1f} s more needed"
    assert host() is None, "what is too little needs no engine to say so"
    status, answer = post(page, wav(sounds.spoken(0)), wav(sounds.spoken(3)))
    assert (status, answer["state"]) == (202, "waiting")


def test_no_more_sound_goes_to_the_engine_than_it_needs(page: Client, host: Any) -> None:
    post(page, wav(np.concatenate([said_by("Anna", 99), np.zeros(60 * sounds.RATE_HZ, np.int16), said_by("Anna", 99)])))
    request = host()
    assert request is not None
    assert 25 < len(request.pcm) / 2 / sounds.RATE_HZ < 60


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"this is a letter, not a recording" * 40, "unreadable"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "unreadable"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "unreadable"),
    ],
    ids=["empty", "not audio", "a playlist", "a list of files"],
)
def test_what_is_no_recording_is_refused_with_its_name(page: Client, host: Any, content: bytes, code: str) -> None:
    status, answer = post(page, SimpleUploadedFile("note.wav", content))
    assert (status, answer["code"]) == (400, code)
    assert "note.wav" in answer["message"]
    assert host() is None


def test_a_recording_with_nothing_in_it_is_refused_and_says_what_is_wrong(page: Client, host: Any) -> None:
    rate, voice = sounds.RATE_HZ, said_by("Anna")
    tone = (12_000 * np.sin(np.arange(8 * rate) * 2 * np.pi * 440 / rate)).astype(np.int16)
    clipped = np.clip(voice.astype(np.int32) * 60, -32_768, 32_767).astype(np.int16)
    for sound, code in ((np.zeros(8 * rate, np.int16), "silent"), (tone, "no_speech"), (clipped, "clipped")):
        status, answer = post(page, wav(sound))
        assert (status, answer["code"]) == (400, code)
        assert "recording" in answer["message"]
    assert host() is None and not Speaker.objects.exists()


def test_a_damaged_file_and_one_that_never_ends_are_refused(page: Client, monkeypatch: Any) -> None:
    whole = wav(said_by("Anna"), "anna.flac", "FLAC").read()
    damaged = SimpleUploadedFile("anna.flac", whole[: len(whole) // 2] + b"\x00" * 4000 + b"\xff" * 2000)
    assert post(page, damaged)[1]["code"] == "damaged"
    monkeypatch.setattr(recordings, "LONGEST_S", 3.0)
    status, answer = post(page, wav(said_by("Anna")))
    assert (status, answer["code"]) == (400, "too_long")


def test_too_much_is_refused_before_it_is_read(page: Client) -> None:
    body = io.BytesIO()
    answer = page.generic(
        "POST", ENROL, body.read(), "multipart/form-data; boundary=x", CONTENT_LENGTH=str(recordings.MOST_BYTES + 1)
    )
    assert answer.status_code == 413
    assert "30 MB" in answer.json()["message"]


def test_no_upload_becomes_a_file_on_the_disk(page: Client, monkeypatch: Any) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("a sound was written to the disk")

    monkeypatch.setattr(uploadhandler, "TemporaryUploadedFile", fail)
    status, answer = post(page, wav(np.tile(said_by("Anna"), 20)))
    assert (status, answer["state"]) == (202, "waiting")


@pytest.mark.parametrize(
    ("values", "code"), [({"consent": ""}, "bad_consent"), ({"name": " \x00 "}, "bad_name"), ({"name": ""}, "bad_name")]
)
def test_without_a_yes_or_a_name_nothing_is_heard(page: Client, host: Any, values: dict[str, str], code: str) -> None:
    status, answer = post(page, wav(said_by("Anna")), **values)
    assert (status, answer["code"]) == (400, code)
    assert host() is None and not Enrolment.objects.exists()


def test_the_box_of_consent_is_not_ticked(page: Client) -> None:
    shown = page.get("/voices/").content.decode()
    assert 'name="consent"' in shown and "checked" not in shown


def test_too_many_recordings_in_a_short_time_are_refused(page: Client, owner: Any) -> None:
    for _number in range(30):
        Enrolment.objects.create(owner=owner, name="Anna")
    status, answer = post(page, wav(said_by("Anna")))
    assert (status, answer["code"]) == (429, "too_often")


def test_strangers_are_led_to_the_start_page_and_scripts_are_told(client: Client) -> None:
    assert client.get("/voices/").headers["Location"] == "/"
    assert client.post(ENROL).status_code == 403
    assert client.get(f"{ENROL}{Enrolment(name='x').pk}/", headers={"Accept": "application/json"}).status_code == 403


def test_what_belongs_to_somebody_else_is_not_there(page: Client) -> None:
    theirs = make.speaker(make.user(), "Stranger", sounds=make.voice(1))
    started = Enrolment.objects.create(owner=theirs.owner, name="Stranger")
    assert "Stranger" not in page.get("/voices/").content.decode()
    assert page.get(f"{ENROL}{started.pk}/").status_code == 404
    assert page.post(f"/voices/{theirs.pk}/rename/", {"name": "Mine"}).status_code == 404
    assert page.post(f"/voices/{theirs.pk}/forget/").status_code == 404
    theirs.refresh_from_db()
    assert theirs.name == "Stranger" and theirs.voiceprints.exists()


def test_forms_refuse_posts_from_other_sites(owner: Any) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner)
    anna = make.speaker(owner, "Anna", sounds=make.voice(1))
    assert strict.post(ENROL, {"name": "Anna", "consent": "on", "sound": wav(said_by("Anna"))}).status_code == 403
    assert strict.post(f"/voices/{anna.pk}/forget/").status_code == 403
    assert anna.voiceprints.exists()


def test_names_cannot_become_markup(page: Client, owner: Any) -> None:
    make.speaker(owner, "</script><script>alert(1)</script>", sounds=make.voice(1))
    assert "<script>alert" not in page.get("/voices/").content.decode()


def test_a_voice_is_renamed_and_deleted(page: Client, owner: Any) -> None:
    guest = make.speaker(owner, "Guest 1", sounds=make.voice(1), is_guest=True)
    page.post(f"/voices/{guest.pk}/rename/", {"name": "  Robert\n"})
    guest.refresh_from_db()
    assert (guest.name, guest.is_guest) == ("Robert", False)
    page.post(f"/voices/{guest.pk}/forget/")
    assert not guest.voiceprints.exists()


def test_a_new_name_is_seen_at_once_by_whoever_is_in_a_meeting_with_them(
    page: Client, owner: Any, published: Any
) -> None:
    meeting = make.meeting(owner)
    guest = make.speaker(owner, "Guest 1", sounds=make.voice(1), is_guest=True)
    make.utterance(meeting, said_by=guest)
    with published(meeting) as events:
        page.post(f"/voices/{guest.pk}/rename/", {"name": "Robert"})
    assert events.types == ["speaker.updated", "caption.final"]
    assert {event["speaker"]["name"] for event in events} == {"Robert"}


def test_a_name_that_somebody_has_is_not_given_twice(page: Client, owner: Any) -> None:
    make.speaker(owner, "Anna", sounds=make.voice(1))
    robert = make.speaker(owner, "Robert", sounds=make.voice(2))
    answer = page.post(f"/voices/{robert.pk}/rename/", {"name": "anna"}, follow=True)
    assert "called Anna already" in answer.content.decode()
    robert.refresh_from_db()
    assert robert.name == "Robert"
    page.post(f"/voices/{robert.pk}/rename/", {"name": "ROBERT"})
    robert.refresh_from_db()
    assert robert.name == "ROBERT"


def test_deleting_a_voice_takes_along_what_is_still_on_its_way(page: Client, owner: Any, host: Any) -> None:
    anna = make.speaker(owner, "Anna", sounds=make.voice(1))
    _status, answer = post(page, wav(said_by("Anna")))
    page.post(f"/voices/{anna.pk}/forget/")
    assert host() is not None
    assert page.get(f"{ENROL}{answer['id']}/").status_code == 404
    assert not Voiceprint.objects.exists()


# The command


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., list[Path]]:
    def write(*recordings: np.ndarray) -> list[Path]:
        paths = [tmp_path / f"{number}.wav" for number in range(len(recordings))]
        for path, samples in zip(paths, recordings, strict=True):
            soundfile.write(path, samples, sounds.RATE_HZ)
        return paths

    return write


def test_the_command_learns_from_several_files(owner: Any, files: Any, capsys: Any) -> None:
    call_command("enrol", "Anna", *files(sounds.spoken(0), sounds.spoken(3)), owner="nadia", yes=True)
    print_ = Speaker.objects.get(owner=owner, name="Anna").voiceprints.get()
    assert print_.source == "enrolment" and print_.speech_s > 5
    shown = capsys.readouterr().out
    assert "0.wav: " in shown and "Anna is known by voice now" in shown


def test_the_command_says_how_much_speech_is_missing(owner: Any, files: Any) -> None:
    with pytest.raises(CommandError, match=r"^[1-3]\.\d s more needed$"):
        call_command("enrol", "Anna", *files(sounds.spoken(0)), owner="nadia", yes=True)
    assert not Speaker.objects.exists()


def test_the_command_asks_for_consent_and_says_what_to_do_where_nobody_can_answer(
    owner: Any, files: Any, monkeypatch: Any
) -> None:
    paths = files(said_by("Anna"))
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(CommandError, match="--yes if Anna agreed"):
        call_command("enrol", "Anna", *paths, owner="nadia")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _question: "n")
    with pytest.raises(CommandError, match="no voice is learned"):
        call_command("enrol", "Anna", *paths, owner="nadia")
    assert not Speaker.objects.exists()


def test_the_command_wants_to_know_whose_of_several_and_names_what_it_cannot_read(files: Any, tmp_path: Path) -> None:
    first, second = make.meeting().owner, make.meeting().owner
    (good,) = files(said_by("Anna"))
    with pytest.raises(CommandError, match=f"{first.username}, {second.username}.*--owner"):
        call_command("enrol", "Anna", good, yes=True)
    with pytest.raises(CommandError, match="no user called nobody"):
        call_command("enrol", "Anna", good, owner="nobody", yes=True)
    with pytest.raises(CommandError, match="there is no such file"):
        call_command("enrol", "Anna", tmp_path / "none.wav", owner=first.username, yes=True)


def test_longer_recordings_weigh_more() -> None:
    short, long = VoiceEmbedding([1.0, 0.0], "m", 2.0), VoiceEmbedding([0.0, 1.0], "m", 6.0)
    together = enrol_command.pooled([short, long])
    assert together.speech_s == 8.0
    assert together.vector == pytest.approx([1 / 10**0.5, 3 / 10**0.5])

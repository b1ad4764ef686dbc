"""Whose words: several people at one microphone, from the sound to the lines in the database.

The way is the product's own: endpointing, `hear` with the embedded engines in their processes, `utterance_store` on a
database of its own. Only the clock is left out: sound comes as fast as it is heard. A word is right when its line
stands under the speaker who, one to one, best stands for whoever really spoke at the word's middle. Words within each
person's first 5 s do not count, except in the recording, which has hardly more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from tests.bench.figures import Figure
from tests.sites import ROOT, environment_for

RATE_HZ = 16_000
RECORDINGS = ROOT.parent / "shared" / "speech"
"""Recordings of real people, where somebody put them beside the checkout; none of them is ours to ship."""
DIALOGUE = ROOT / "meetings" / "demo" / "dialogue.opus"
CONVERSATIONS = 4
CONVERSATION_S = 75.0
PEOPLE = 3
KNOWN_AFTER_S = 5.0
TARGET = 95.0
MESSAGE_SAMPLES = 3200

Sound = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrueTurn:
    start_s: float
    end_s: float
    who: str


@dataclass(frozen=True, slots=True)
class Scene:
    """Sound of several people at one microphone, and who speaks when."""

    sound: Sound = field(repr=False)
    turns: list[TrueTurn]
    counts_after_s: float = KNOWN_AFTER_S

    @property
    def people(self) -> int:
        return len({turn.who for turn in self.turns})

    def at(self, moment_s: float) -> str:
        """Who speaks at a moment, or nearest to it."""
        return min(self.turns, key=lambda turn: max(turn.start_s - moment_s, moment_s - turn.end_s, 0.0)).who

    def spoken_s(self, who: str, until_s: float) -> float:
        """How long somebody has spoken by then."""
        own = [turn for turn in self.turns if turn.who == who]
        return sum(max(0.0, min(turn.end_s, until_s) - turn.start_s) for turn in own)


@dataclass(slots=True)
class Score:
    """Words of one scene by who said them and under whom they stand."""

    words: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: int = 0
    people: int = 0

    def right(self) -> int:
        """Words under the right speaker, for the best one-to-one naming of the found speakers."""
        true = sorted({who for who, _found in self.words})
        found = sorted({name for _who, name in self.words})
        found += [""] * max(0, len(true) - len(found))
        return max(
            (
                sum(self.words[pair] for pair in zip(true, chosen, strict=True))
                for chosen in permutations(found, len(true))
            ),
            default=0,
        )


def run() -> list[Figure]:
    """In a process of its own: Django takes its home from the environment, once."""
    with tempfile.TemporaryDirectory(prefix="meetviz-bench-") as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        home.mkdir(mode=0o711)
        outcome = Path(folder) / "figures.json"
        subprocess.run(
            [sys.executable, "-c", "from tests.bench import speakers; speakers.measure()", str(outcome)],
            cwd=ROOT,
            env={**environment_for(home, 8000), "DJANGO_SETTINGS_MODULE": "meetviz_site.settings"},
            check=True,
        )
        return [Figure(**values) for values in json.loads(outcome.read_text())]


def measure() -> None:
    """In the child: everything, written as JSON to the file that the command line names."""
    from meetviz_site.local.postgres import ensure_postgres, stop_all
    from workers import registry

    ensure_postgres(Path(os.environ["MEETVIZ_HOME"]), durable=False)
    try:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        figures = _figures()
    finally:
        registry.unload_all()
        stop_all(hurry=True)
    Path(sys.argv[1]).write_text(json.dumps([_plain(figure) for figure in figures]))


def _plain(figure: Figure) -> dict[str, Any]:
    return {name: getattr(figure, name) for name in Figure.__slots__}


def _figures() -> list[Figure]:
    figures = []
    shipped = [_dialogue()]
    close = [_closed_up(shipped[0], seed) for seed in (1, 2)]
    people = RECORDINGS / "librispeech"
    if people.is_dir():
        made = [_conversation(people, seed) for seed in range(1, CONVERSATIONS + 1)]
        figures.append(_figure("speaker_words_right", made, "read speech of 3 people, pauses of 0.1–0.4 s"))
    else:
        figures.append(_figure("speaker_words_right", close, "no recordings here: the dialogue, pauses of 0.1–0.4 s"))
    figures.append(_figure("speaker_words_right_dialogue", shipped, "the shipped dialogue"))
    figures.append(_figure("speaker_words_right_dialogue_close", close, "the same with pauses of 0.1–0.4 s"))
    recording = RECORDINGS / "three_speakers"
    if recording.is_dir():
        figures.append(
            _figure("speaker_words_right_recording", [_recording(recording)], "3 people recorded, all words")
        )
    return figures


def _figure(name: str, scenes: list[Scene], note: str) -> Figure:
    start = time.perf_counter()
    scores = [score(scene) for scene in scenes]
    took_s = time.perf_counter() - start
    words = sum(each.words.total() for each in scores)
    share = 100 * sum(each.right() for each in scores) / words if words else 0.0
    found = ", ".join(f"{each.found} for {each.people}" for each in scores)
    factor = took_s / sum(len(scene.sound) / RATE_HZ for scene in scenes)
    note = f"{note}; speakers found {found}; {factor:.2f} of real time"
    return Figure(name, round(share, 1), "%", "higher", TARGET, words, note)


def score(scene: Scene) -> Score:
    """Have a scene heard in a meeting of its own and count whose words stand under whom."""
    result = Score(people=scene.people)
    speakers = set()
    for moment_s, speaker in _stored_words(scene.sound):
        who = scene.at(moment_s)
        if scene.spoken_s(who, moment_s) >= scene.counts_after_s:
            result.words[who, speaker] += 1
        speakers.add(speaker)
    result.found = len(speakers)
    return result


def _stored_words(sound: Sound) -> Iterator[tuple[float, str]]:
    """The middle of each word that the database has in the end, in seconds of the sound, and its speaker's key."""
    from meetings.lines import utterance_store
    from tests import factories as make
    from workers.tasks import hear

    stream = make.stream(make.meeting())
    for request in _requests(sound, stream):
        utterance_store(hear(request))
    for line in stream.utterances.exclude(speaker=None).select_related("speaker").order_by("first_sample"):
        for word in line.words:
            yield line.first_sample / RATE_HZ + (word["start_ms"] + word["end_ms"]) / 2000, str(line.speaker_id)


def _requests(sound: Sound, stream: Any) -> Iterable[Any]:
    """One request for each utterance that endpointing finds."""
    from meetings.audio.session import StreamSession, Utterance
    from workers.messages import SpeechRequest

    session = StreamSession()
    pcm = (sound.clip(-1, 1) * 32767).astype("<i2")
    begin = time.time()
    events = []
    for first in range(0, len(pcm), MESSAGE_SAMPLES):
        events += session.feed(first, pcm[first : first + MESSAGE_SAMPLES])
    for event in [*events, *session.finish()]:
        if isinstance(event, Utterance):
            yield SpeechRequest(
                id=str(uuid.uuid4()),
                meeting=stream.meeting_id,
                stream=str(stream.pk),
                first_sample=event.first_sample,
                last_sample=event.last_sample,
                pcm=event.pcm,
                language="en",
                want_voice=True,
                started_at=begin + event.first_sample / RATE_HZ,
                ended_at=begin + event.last_sample / RATE_HZ,
            )


def _load(path: Path) -> Sound:
    sound, rate = soundfile.read(path, dtype="float32")
    if rate != RATE_HZ:
        raise ValueError(f"{path} has {rate} samples a second, not {RATE_HZ}")
    return sound


def _dialogue() -> Scene:
    lines = json.loads(DIALOGUE.with_suffix(".json").read_text())["lines"]
    return Scene(_load(DIALOGUE), [TrueTurn(line["start_s"], line["end_s"], line["speaker"]) for line in lines])


def _recording(folder: Path) -> Scene:
    truth = json.loads((folder / "test_data.json").read_text())["tests"]["diarization_tests"][0]
    turns = [TrueTurn(s["start_sec"], s["end_sec"], str(s["speaker_tag"])) for s in truth["segments"]]
    return Scene(_load(folder / truth["audio_file"]), turns, counts_after_s=0.0)


def _closed_up(scene: Scene, seed: int) -> Scene:
    """The same lines one close after the other, so that several people are in one utterance."""
    pieces = [(turn.who, scene.sound[int(turn.start_s * RATE_HZ) : int(turn.end_s * RATE_HZ)]) for turn in scene.turns]
    return _joined(pieces, np.random.default_rng(seed))


def _conversation(folder: Path, seed: int) -> Scene:
    """Phrases of three people chosen by chance, 1.5 to 6 s each, at their own loudness."""
    rng = np.random.default_rng(seed)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    chosen = rng.choice(names, PEOPLE, replace=False).tolist()
    phrases = {
        name: [p for path in sorted((folder / name).iterdir()) for p in _phrases(_load(path))] for name in chosen
    }
    loudness = {name: 10 ** (rng.uniform(-28, -20) / 20) for name in chosen}
    pieces: list[tuple[str, Sound]] = []
    while sum(len(piece) for _who, piece in pieces) < CONVERSATION_S * RATE_HZ:
        others = [name for name in chosen if not pieces or name != pieces[-1][0]]
        who = others[rng.integers(len(others))]
        piece = phrases[who][rng.integers(len(phrases[who]))]
        pieces.append((who, piece * np.float32(loudness[who] / np.sqrt(np.mean(piece * piece)))))
    return _joined(pieces, rng)


def _phrases(sound: Sound, shortest_s: float = 1.5, longest_s: float = 6.0) -> list[Sound]:
    """Stretches from pause to pause, as many pauses inside as fit into `longest_s`."""
    block = RATE_HZ // 100
    blocks = sound[: len(sound) // block * block].reshape(-1, block)
    level = 10 * np.log10(np.mean(blocks * blocks, axis=1) + 1e-12)
    voiced = np.flatnonzero(level > np.percentile(level, 95) - 28)
    breaks = np.flatnonzero(np.diff(voiced) > 15)
    starts = [int(voiced[0]), *voiced[breaks + 1].tolist()]
    ends = [*voiced[breaks].tolist(), int(voiced[-1])]
    found, first = [], 0
    for last in range(len(starts)):
        following = ends[last + 1] if last + 1 < len(ends) else np.inf
        if following - starts[first] > longest_s * 100:
            length_s = (ends[last] - starts[first]) / 100
            if shortest_s <= length_s <= longest_s:
                found.append(sound[max(0, starts[first] - 2) * block : (ends[last] + 3) * block])
            first = last + 1
    return found


def _joined(pieces: list[tuple[str, Sound]], rng: np.random.Generator) -> Scene:
    """One piece after the other with 0.1 to 0.4 s between them, in a quiet room."""
    parts, turns, at = [np.zeros(RATE_HZ // 2, dtype=np.float32)], [], RATE_HZ // 2
    for who, piece in pieces:
        pause = np.zeros(int(rng.uniform(0.1, 0.4) * RATE_HZ), dtype=np.float32)
        turns.append(TrueTurn(at / RATE_HZ, (at + len(piece)) / RATE_HZ, who))
        parts += [piece, pause]
        at += len(piece) + len(pause)
    sound = np.concatenate([*parts, np.zeros(RATE_HZ, dtype=np.float32)])
    return Scene(sound + rng.normal(0, 10 ** (-62 / 20), len(sound)).astype(np.float32), turns)

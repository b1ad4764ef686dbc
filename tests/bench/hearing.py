"""How well speech is written down, and whether anything is written down that nobody said.

Every recording goes the real way, faster than real time: messages of 160 ms into a `StreamSession`, its utterances into
`workers.tasks.hear()` with the engine that this machine would use. Beside it the same engine gets the recordings whole,
so that the share of our endpointing shows. Recordings of real people are taken from `../shared/speech` where that is.
"""

from __future__ import annotations

import csv
import math
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import soundfile
import soxr

from meetings.audio.language import Fate, PooledDoubt, foreign_since
from meetings.audio.session import StreamSession, Utterance
from tests import sounds
from tests.bench.figures import Figure
from tests.sites import ROOT
from workers import registry
from workers.engines.base import Engine, SpeechEngine
from workers.messages import SpeechRequest, SpeechResult, Transcript
from workers.tasks import hear

RECORDINGS = ROOT.parent / "shared" / "speech"
MESSAGE_SAMPLES = 2_560
WORDLESS_S = 300.0
PART_S = 30.0
LEVELS_DBFS = (-45.0, -35.0, -25.0, -18.0, -12.0)
VOICES_WITHOUT_WORDS = {
    "singing": "sung vowels, synthetic: a voice, but no words",
    "babble": "eight voices at once, backwards: speech that nobody understands",
}
"""By maker: not noise, so no engine is expected to get all of it right; for comparison between engines."""
FORCED_S = 20.0
FORCED_PIECE_S = 4.0


@dataclass(frozen=True, slots=True)
class Recording:
    corpus: str
    samples: sounds.Sound = field(repr=False)
    text: str
    """What is said; empty where it is not known."""
    language: str = "en"


@dataclass(slots=True)
class Tally:
    """What came of some recordings."""

    spoken: int = 0
    errors: int = 0
    sound_s: float = 0.0
    engine_s: float = 0.0

    @property
    def error_rate(self) -> float:
        return self.errors / max(1, self.spoken)

    @property
    def share_of_real_time(self) -> float:
        return self.engine_s / max(1e-9, self.sound_s)

    def add(self, recording: Recording, heard: str, engine_s: float) -> None:
        spoken = words_of(recording.text)
        self.spoken += len(spoken)
        self.errors += word_errors(spoken, words_of(heard))
        self.sound_s += len(recording.samples) / sounds.RATE_HZ
        self.engine_s += engine_s

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.spoken + other.spoken,
            self.errors + other.errors,
            self.sound_s + other.sound_s,
            self.engine_s + other.engine_s,
        )


def run() -> list[Figure]:
    try:
        return [*_words(), *_phantoms(), *_foreign(), *_cost()]
    finally:
        registry.unload_all()


# Words


def _words() -> list[Figure]:
    engine = registry.speech_engine()
    engine.load()
    ours: dict[str, Tally] = {}
    bare: dict[str, Tally] = {}
    for recording in [*shipped(), *real("en")]:
        text, engine_s = by_our_way(recording)
        ours.setdefault(recording.corpus, Tally()).add(recording, text, engine_s)
        text, engine_s = bare_engine(engine, recording)
        bare.setdefault(recording.corpus, Tally()).add(recording, text, engine_s)
    shown = _name_of(engine)
    figures = [_rate("wer", ours["shipped"], f"{shown}; the shipped dialogue, made by flite")]
    figures += [_rate("wer_bare", bare["shipped"], "the same, given to the engine in one piece")]
    for corpus in [name for name in ours if name != "shipped"]:
        note = f"in one piece {bare[corpus].error_rate:.3f}"
        figures.append(_rate(f"wer_{corpus}", ours[corpus], f"{shown}; {note}"))
    if len(ours) > 1:
        people, whole = (sum((t for n, t in tallies.items() if n != "shipped"), Tally()) for tallies in (ours, bare))
        figures.append(_rate("wer_real", people, f"{shown}; all recordings of real people together"))
        figures.append(_rate("wer_real_bare", whole, "the same, each given to the engine in one piece"))
    total, whole = sum(ours.values(), Tally()), sum(bare.values(), Tally())
    seconds = round(total.sound_s)
    return [
        *figures,
        Figure("rtf", round(total.share_of_real_time, 3), "", "lower", 0.5, seconds, f"{shown}; silences included"),
        Figure("rtf_bare", round(whole.share_of_real_time, 3), "", "lower", None, seconds, "in one piece"),
    ]


def _rate(name: str, tally: Tally, note: str) -> Figure:
    target = 0.1 if name == "wer" else None
    return Figure(name, round(tally.error_rate, 3), "", "lower", target, tally.spoken, note)


def _name_of(engine: Engine) -> str:
    return f"{engine.name} {engine.model} on {engine.device}"


def shipped() -> Iterator[Recording]:
    text = " ".join(line.text for line in sounds.lines())
    yield Recording("shipped", sounds.dialogue(), text)


def real(language: str) -> Iterator[Recording]:
    """Recordings of people whose words are known; nothing where the folder is missing."""
    table = RECORDINGS / "transcripts.tsv"
    if not table.is_file():
        return
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["language"] == language:
                corpus = row["file"].split("/")[0].split(".")[0]
                yield Recording(corpus, read(RECORDINGS / row["file"]), row["transcript"], language)


def read(path: Path) -> sounds.Sound:
    """Any file as 16 kHz mono."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate, sounds.RATE_HZ)
    return (mono * 32767).clip(-32768, 32767).astype(np.int16)


def by_our_way(recording: Recording) -> tuple[str, float]:
    """The captions of a recording, and the engine's seconds for them."""
    results = [_hear(utterance, recording.language) for utterance in utterances_of(recording.samples)]
    texts = [result.transcript.text for result in results if result.transcript]
    return " ".join(texts), sum(result.timings_ms.get("decode", 0.0) for result in results) / 1000


def bare_engine(engine: SpeechEngine, recording: Recording) -> tuple[str, float]:
    start = time.perf_counter()
    text = engine.transcribe(sounds.as_floats(recording.samples), recording.language).text
    return text, time.perf_counter() - start


def utterances_of(samples: sounds.Sound) -> list[Utterance]:
    """What a stream of these samples, with silence around, gives the recogniser."""
    session = StreamSession()
    samples = np.concatenate([sounds.silence(0.5), samples, sounds.silence(0.5)])
    events = []
    for first in range(0, len(samples), MESSAGE_SAMPLES):
        events += session.feed(first, samples[first : first + MESSAGE_SAMPLES])
    events += session.finish()
    return [event for event in events if isinstance(event, Utterance)]


def _hear(utterance: Utterance, language: str) -> SpeechResult:
    first, last = utterance.first_sample, utterance.last_sample
    return hear(SpeechRequest(str(uuid.uuid4()), 1, "bench", first, last, utterance.pcm, language))


def words_of(text: str) -> list[str]:
    """Lower case, without punctuation; apostrophes belong to words."""
    return re.findall(r"[\w']+", text.lower().replace("’", "'"))


def word_errors(spoken: Sequence[str], heard: Sequence[str]) -> int:
    """Levenshtein distance over words: the fewest insertions, deletions and substitutions between the two."""
    row = list(range(len(heard) + 1))
    for number, said in enumerate(spoken, start=1):
        diagonal, row[0] = row[0], number
        for column, word in enumerate(heard, start=1):
            changed = diagonal + (said != word)
            diagonal, row[column] = row[column], min(changed, row[column] + 1, row[column - 1] + 1)
    return row[-1]


# What nobody said


def _phantoms() -> list[Figure]:
    captions, reached_s, total_s = 0, 0.0, 0.0
    which = []
    for name in sounds.WORDLESS:
        heard, utterance_s = _captions(wordless(name, WORDLESS_S))
        captions, reached_s, total_s = captions + heard, reached_s + utterance_s, total_s + WORDLESS_S
        which += [f"{name} {heard}"] if heard else []
    voices = [_voice_figure(name, what) for name, what in VOICES_WITHOUT_WORDS.items()]
    note = (
        f"{', '.join(sounds.WORDLESS)}: {WORDLESS_S / 60:.0f} min each, {LEVELS_DBFS[0]:.0f} to {LEVELS_DBFS[-1]:.0f}"
    )
    note += f" dBFS; {reached_s:.0f} s of it reached the engine" + (f"; captions: {', '.join(which)}" if which else "")
    forced, pieces = _forced()
    return [
        Figure("phantom_captions", captions, "", "lower", 0, round(total_s), note),
        *voices,
        Figure(
            "phantom_share_without_vad",
            round(forced / pieces, 3),
            "",
            "lower",
            None,
            pieces,
            f"the same sounds given to the engine in pieces of {FORCED_PIECE_S:.0f} s: what its own gates let through",
        ),
    ]


def _voice_figure(name: str, what: str) -> Figure:
    seconds = round(WORDLESS_S / 5)
    captions, reached_s = _captions(wordless(name, seconds))
    note = f"{what}; {reached_s:.0f} of {seconds} s reached the engine"
    return Figure(f"phantom_captions_{name}", captions, "", "lower", None, seconds, note)


def wordless(name: str, seconds: float) -> sounds.Sound:
    """A stretch of one kind, every 30 s another loudness and another seed."""
    make = sounds.WORDLESS.get(name) or getattr(sounds, name)
    parts = [make(PART_S, LEVELS_DBFS[n % len(LEVELS_DBFS)], n + 1) for n in range(math.ceil(seconds / PART_S))]
    return np.concatenate(parts)


def _captions(samples: sounds.Sound) -> tuple[int, float]:
    """How many captions would be stored, and how many seconds the engine had to hear."""
    found = utterances_of(samples)
    results = [_hear(utterance, "en") for utterance in found]
    seconds = sum(u.last_sample - u.first_sample for u in found) / sounds.RATE_HZ
    return sum(bool(r.transcript and r.transcript.text) for r in results), seconds


def _forced() -> tuple[int, int]:
    engine = registry.speech_engine()
    length = int(FORCED_PIECE_S * sounds.RATE_HZ)
    shown = pieces = 0
    for make in sounds.WORDLESS.values():
        samples = sounds.as_floats(make(FORCED_S, -20.0, 5))
        for first in range(0, len(samples), length):
            shown += bool(engine.transcribe(samples[first : first + length], "en").text)
            pieces += 1
    return shown, pieces


def _foreign() -> list[Figure]:
    """What becomes of Russian, told and not told, with an engine that cannot do it."""
    folder = RECORDINGS / "russian"
    if not folder.is_dir() or "ru" in registry.speech_engine().languages or not registry.speech_engine().languages:
        return []
    figures = []
    for language, name, note in (
        ("ru", "foreign_captions_told", "a meeting in Russian: refused as language_unsupported"),
        ("auto", "foreign_captions_auto", "a meeting whose language is not set"),
    ):
        results = [_hear(u, language) for path in sorted(folder.glob("*.flac")) for u in utterances_of(read(path))]
        shown = fates_of([r.transcript for r in results if r.transcript and r.transcript.text]).count(Fate.SHOWN)
        refused = sum(r.error == "language_unsupported" for r in results)
        note = f"{note}; {refused} of {len(results)} utterances of a Russian telephone recording refused"
        figures.append(Figure(name, shown, "", "lower", 0 if language == "ru" else None, len(results), note))
    return [*figures, _refused_english()]


def _refused_english() -> Figure:
    """Captions that a meeting whose language is not set loses, because they seem to be in another one."""
    speakers = {"shipped": _written_down(sounds.dialogue())}
    for path in sorted([*RECORDINGS.glob("librispeech/*/*.flac"), *RECORDINGS.glob("ljspeech/*.wav")]):
        speakers.setdefault(path.parent.name, []).extend(_written_down(read(path)))
    fates = [fate for transcripts in speakers.values() for fate in fates_of(transcripts)]
    refused = len(fates) - fates.count(Fate.SHOWN)
    note = f"English of {len(speakers)} streams taken for another language, in a meeting whose language is not set"
    return Figure("english_refused", refused, "", "lower", 0, len(fates), note)


def _written_down(samples: sounds.Sound) -> list[Transcript]:
    results = [_hear(utterance, "auto") for utterance in utterances_of(samples)]
    return [result.transcript for result in results if result.transcript and result.transcript.text]


def fates_of(transcripts: Sequence[Transcript], pause_s: float = 1.0) -> list[Fate]:
    """What becomes of the utterances of one stream, one after the other, as a meeting decides it."""
    doubt, fates = PooledDoubt(), list[Fate]()
    for number, transcript in enumerate(transcripts):
        doubt = doubt.after(transcript.language_doubt, pause_s)
        fates.append(doubt.fate(transcript.language_doubt))
        if fates[-1] is Fate.SHOWN:
            fates = [Fate.SHOWN if fate is Fate.HELD else fate for fate in fates]
        elif fates[-1] is Fate.REFUSED:
            since = foreign_since([earlier.language_doubt for earlier in transcripts[: number + 1]])
            fates = [Fate.REFUSED if n >= since or fate is Fate.HELD else fate for n, fate in enumerate(fates)]
    return [
        doubt.fate_in_the_end(transcript.language_doubt) if fate is Fate.HELD else fate
        for fate, transcript in zip(fates, transcripts, strict=True)
    ]


# What it costs


def _cost() -> list[Figure]:
    """Peak memory and load times, of engines that are loaded anew."""
    figures = []
    for role, engine in (("speech", registry.speech_engine()), ("voice", registry.voice_engine())):
        engine.unload()
        engine.load()
        speech = sounds.as_floats(sounds.spoken(1))
        if role == "speech":
            registry.speech_engine().transcribe(speech, "en")
        else:
            registry.voice_engine().listen(speech)
        note = _name_of(engine)
        load_ms = round(engine.facts().load_ms)
        figures.append(Figure(f"{role}_load_ms", load_ms, "ms", "lower", 10_000, 1, note))
        if peak_mb := peak_memory_mb(getattr(engine, "child_pid", None)):
            figures.append(Figure(f"{role}_peak_mb", peak_mb, "MB", "lower", None, 1, f"{note}; its process, at most"))
    return figures


def peak_memory_mb(pid: int | None) -> int | None:
    """The most resident memory that a process had; where the system does not say, what it has now."""
    if pid is None:
        return None
    status = Path(f"/proc/{pid}/status")
    if status.is_file():
        return round(int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 1024)
    return round(psutil.Process(pid).memory_info().rss / 2**20)

"""What is asked of model hosts and what comes back.

Plain dataclasses that survive a trip through the broker: `to_wire` gives only dicts, lists, strings, numbers and bytes.
They are the only thing the Django apps may import from `workers`: a web host needs no engine, a model host needs no
database. Times are Unix seconds (float) unless a name says `_ms`; positions in audio are sample counts at 16 kHz.
"""

from __future__ import annotations

import dataclasses
import types
import typing
import uuid
from dataclasses import dataclass, field

SAMPLE_RATE_HZ = 16_000

# Task names: the apps reach the engines by these strings and never import the tasks themselves.
TASK_TRANSCRIBE = "workers.transcribe"
TASK_INTERIM = "workers.interim"
TASK_ENGLISH = "workers.english"
TASK_EMBED = "workers.embed"
TASK_FETCH_MODELS = "workers.fetch_models"
TASK_PAINT = "workers.paint"
# What the hosts call back, on the `core` queue.
TASK_HEARD = "pipeline.heard"
TASK_INTERIM_HEARD = "pipeline.interim_heard"
TASK_ENGLISH_HEARD = "pipeline.english_heard"
TASK_EMBEDDED = "pipeline.embedded"
TASK_PAINT_PROGRESS = "pipeline.paint_progress"
TASK_PAINTED = "pipeline.painted"
TASK_HEARTBEAT = "pipeline.heartbeat"

# A fanout exchange: every paint host hears which pictures are not wanted any more, `{"id": uuid of the frame}`.
EXCHANGE_CANCEL = "meetviz.cancel"

QUEUE_CORE = "core"
QUEUE_SPEECH = "speech"
QUEUE_PAINT = "paint"


class WireError(ValueError):
    """A message that does not have the fields of its type (a worker of another version, most likely)."""


class Wire:
    """Mixin: a dataclass to and from the plain values that a broker carries. Unknown fields are ignored."""

    def to_wire(self) -> dict[str, typing.Any]:
        values: dict[str, typing.Any] = dataclasses.asdict(self)  # type: ignore[call-overload]
        return values

    @classmethod
    def from_wire(cls, values: dict[str, typing.Any]) -> typing.Self:
        """Rebuild from `to_wire`'s dict, nested dataclasses included.

        Raises WireError when a required field is missing.
        """
        hints = typing.get_type_hints(cls)
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        try:
            return cls(**{name: _revive(hints[name], value) for name, value in values.items() if name in known})
        except (TypeError, AttributeError) as error:
            raise WireError(f"{cls.__name__}: {error}") from error


def _revive(hint: typing.Any, value: typing.Any) -> typing.Any:
    if value is None:
        return None
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [h for h in typing.get_args(hint) if h is not type(None)]
        return _revive(inner[0], value) if len(inner) == 1 else value
    if origin is list:
        (item,) = typing.get_args(hint)
        return [_revive(item, v) for v in value]
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return hint.from_wire(value)  # type: ignore[union-attr]
    return value


@dataclass(slots=True)
class EngineFacts(Wire):
    """Which engine did the work: shown to people, stored with what it made."""

    name: str
    """`pocketsphinx`, `resemblyzer`, `faster-whisper`, `poster`, `diffusers` …"""
    model: str
    device: str = "cpu"
    demo: bool = False
    """True for the engines that need no download; the page says so plainly."""
    load_ms: float = 0.0
    languages: list[str] = field(default_factory=list)
    """Codes that a speech engine can do; empty for engines without a language."""
    translates: bool = False
    """A speech engine that can also say in English what was said in another language."""
    profile: str = ""
    """The hardware profile that a painter runs with: `laptop-cuda`, `cpu-server` …"""
    instead_of: str = ""
    """The model that should do the work and does not (damaged, missing, failing); this engine stands in for it."""


@dataclass(slots=True)
class SpeechRequest(Wire):
    """One utterance to be written down. A *final*: never dropped, one in flight per stream."""

    id: str
    """UUID that the stored utterance will have."""
    meeting: int
    """Primary key of the meeting."""
    stream: str
    """UUID that the client chose for its stream."""
    first_sample: int
    last_sample: int
    """One past the last sample."""
    pcm: bytes
    """Signed 16-bit little-endian mono at 16 kHz, `last_sample - first_sample` samples."""
    language: str = "auto"
    """`en`, `ru`, or `auto`: the engine finds out."""
    language_hint: str = ""
    """What the stream was last heard to speak, for `auto`; empty asks the engine to find out anew."""
    prompt: str = ""
    """The end of what was said just before on this stream, at most 200 characters; empty after a pause."""
    want_voice: bool = False
    """Compute a voice embedding: only with the speaker's own consent."""
    want_english: bool = False
    """For a meeting that is not in English: also say it in English, when there is time, for the prompts."""
    level_dbfs: float = 0.0
    """How loud the speech is: of two microphones in one room the louder counts."""
    started_at: float = 0.0
    """When the first sample was spoken."""
    ended_at: float = 0.0
    """When the last sample was spoken: the start of every latency trace."""
    guess: bool = False
    """Nobody spoke for a moment: decode it, keep the outcome for the final that probably follows, tell nobody."""
    asked_at: float = 0.0
    attempt: int = 1


@dataclass(slots=True)
class Word(Wire):
    text: str
    start_ms: int
    """Counted from the start of the utterance."""
    end_ms: int
    probability: float = 1.0


@dataclass(slots=True)
class Transcript(Wire):
    """What a speech engine made of one utterance. Empty text: nothing worth showing was said."""

    text: str
    language: str = "en"
    confidence: float = 1.0
    words: list[Word] = field(default_factory=list)
    language_probability: float = 1.0
    """Of `language`, where the engine found it out; 1 where it was told."""
    language_doubt: float = 0.0
    """Of an engine with a fixed list of languages, asked for `auto`: evidence that the utterance is in none of them
    (nats; negative: that it is in one), to be added up over a stream. 0 where the engine cannot tell."""
    rejected: str = ""
    """Why the text is empty although there was sound: the name of the gate that refused it."""


@dataclass(slots=True)
class VoiceEmbedding(Wire):
    vector: list[float]
    """Unit length, as many numbers as the model gives (Resemblyzer 256, ECAPA 192)."""
    model: str
    """Vectors are compared only within one model's name."""
    speech_s: float
    """How much speech it was computed from."""


@dataclass(slots=True)
class Turn(Wire):
    """A part of an utterance in one voice, where several people share a microphone."""

    start_ms: int
    """Counted from the start of the utterance, as are the times of its words."""
    end_ms: int
    text: str
    words: list[Word] = field(default_factory=list)
    voice: VoiceEmbedding | None = None


def turn_id(utterance: str, number: int) -> str:
    """UUID of the line that the turn of this number becomes: the first has the utterance's, the others theirs from it,
    the same whenever it arrives again. Turns without words are not counted."""
    return utterance if number == 0 else str(uuid.uuid5(uuid.UUID(utterance), str(number)))


@dataclass(slots=True)
class SpeechResult(Wire):
    """The outcome of a SpeechRequest; it repeats what `core` needs to store it without asking anybody."""

    id: str
    meeting: int
    stream: str
    first_sample: int
    last_sample: int
    started_at: float
    ended_at: float
    transcript: Transcript | None = None
    voice: VoiceEmbedding | None = None
    """Of the whole utterance; None where `turns` say more."""
    turns: list[Turn] = field(default_factory=list)
    """Two or more when the voice changes inside the utterance, else empty."""
    level_dbfs: float = 0.0
    engine: EngineFacts | None = None
    voice_engine: EngineFacts | None = None
    error: str = ""
    """Empty, or a code: `language_unsupported`, `engine_failed`, `too_noisy`."""
    received_at: float = 0.0
    decoded_at: float = 0.0
    timings_ms: dict[str, float] = field(default_factory=dict)
    """`queued`, `decode`, `voice`."""


@dataclass(slots=True)
class InterimRequest(Wire):
    """What of an utterance there is so far. Newest wins; may be lost; one in flight per stream."""

    meeting: int
    stream: str
    first_sample: int
    last_sample: int
    pcm: bytes
    """All of it from `first_sample` on: an engine that remembers the utterance decodes only what is new."""
    language: str = "auto"
    language_hint: str = ""
    asked_at: float = 0.0


@dataclass(slots=True)
class InterimResult(Wire):
    meeting: int
    stream: str
    first_sample: int
    last_sample: int
    text: str = ""
    language: str = ""
    decode_ms: float = 0.0
    """What it cost the host: how often the next is worth asking for."""
    error: str = ""


@dataclass(slots=True)
class EnglishRequest(Wire):
    """Say in English what an utterance that is already written down says in another language."""

    id: str
    meeting: int
    pcm: bytes
    language: str


@dataclass(slots=True)
class EnglishResult(Wire):
    id: str
    meeting: int
    text_en: str


@dataclass(slots=True)
class EmbedRequest(Wire):
    """A recording of one person to learn the voice from: an enrolment."""

    id: str
    pcm: bytes
    """As in SpeechRequest; the whole recording, silences included."""


@dataclass(slots=True)
class EmbedResult(Wire):
    id: str
    voice: VoiceEmbedding | None = None
    speech_s: float = 0.0
    """How much speech the recording holds."""
    error: str = ""
    """Empty, or a code: `too_little_speech`, `engine_failed`."""


@dataclass(slots=True)
class FetchRequest(Wire):
    """Fetch these models from where the host gets them, beside its work, and use them from then on."""

    models: list[str]
    """Their names in the catalogue."""
    accepted: list[str] = field(default_factory=list)
    """Those of them whose licence asks to be accepted, and was, by the site's owner."""


@dataclass(slots=True)
class ModelOffer(Wire):
    """A real engine that this host could fetch and run well."""

    model: str
    """Its name in the catalogue."""
    role: str
    """`speech`, `voice` or `paint`."""
    size_bytes: int


@dataclass(slots=True)
class Fetching(Wire):
    """How far a host is with fetching models."""

    model: str
    done_bytes: int
    """Of all that was asked for together."""
    total_bytes: int
    state: str = "fetching"
    """`fetching`, `checking`, `done` or `failed`."""
    error: str = ""
    """A code where it failed: `offline`, `damaged`, `disk_full`, `refused` (by the hub), or one that is rarer."""


@dataclass(slots=True)
class Thing(Wire):
    """Something visible that was named."""

    label: str
    """As people said it, in their language: what a poster sets in type."""
    english: str = ""
    """English lemma for pictograms and prompts (`house`, `rocket`); empty when unknown."""
    weight: float = 1.0


@dataclass(slots=True)
class VoiceShare(Wire):
    colour: str
    """`#rrggbb`."""
    share: float
    """Of the talk time in the window, 0–1."""


@dataclass(slots=True)
class Scene(Wire):
    """What the next picture shows, before any model's own language: all a poster needs, the seed of every prompt."""

    title: str
    """The newest key phrase, as said."""
    things: list[Thing] = field(default_factory=list)
    """Newest first; the first is the subject."""
    phrases: list[str] = field(default_factory=list)
    """More key phrases for the second line of type, newest first."""
    mood: str = "calm"
    """`calm`, `bright`, `tense`, `sad`, `festive`."""
    time_of_day: str = "day"
    """`day`, `dusk`, `night`."""
    palette: list[str] = field(default_factory=list)
    """Inks as `#rrggbb`, blended from the speakers' presets; empty: the painter's own."""
    voices: list[VoiceShare] = field(default_factory=list)
    language: str = "en"
    previous_layout: str = ""
    """The layout of the frame before, so that the next one differs."""
    number: int = 0
    """How many frames this meeting has already."""


@dataclass(slots=True)
class Reference(Wire):
    """An image that a picture leans on."""

    image: bytes
    """As it was uploaded: any format that Pillow reads. Opened only on the paint host, with its limits."""
    use: str
    """`start` (img2img from it), `style` or `subject` (IP-Adapter), `depth`, `canny` or `scribble` (ControlNet)."""
    strength: float = 0.6
    """0-1: of `start` how far to go away from it, of the others how much they count."""
    key: str = ""
    """SHA-256 of `image` in hex: what was computed from it is kept under this name."""


@dataclass(slots=True)
class PaintRequest(Wire):
    """One picture. What is 0, None or empty here is the painter's own choice, by its profile and the deadline."""

    id: str
    """UUID of the frame."""
    meeting: int
    prompt: str
    negative: str
    scene: Scene
    seed: int
    width_px: int = 0
    height_px: int = 0
    steps: int = 0
    guidance: float | None = None
    """Classifier-free guidance; 1 and less is none. Models made for none ignore it."""
    references: list[Reference] = field(default_factory=list)
    model: str = ""
    """Name in the catalogue; empty for what the host's profile says. Another model than the last is loaded first."""
    previews: bool = False
    """Whether anybody looks at the steps."""
    finish: bool = False
    """Nobody else waits: a picture that was decoded quickly may be decoded once more in full afterwards."""
    deadline_s: float = 10.0
    """From the start of painting to the picture."""
    attempt: int = 1
    asked_at: float = 0.0


@dataclass(slots=True)
class PaintProgress(Wire):
    id: str
    meeting: int
    step: int
    steps: int
    preview: str = ""
    """Small JPEG as a data URL, or empty."""


@dataclass(slots=True)
class PaintResult(Wire):
    """A painted frame, or why there is none."""

    id: str
    meeting: int
    image: bytes = b""
    """WebP, full size."""
    thumbnail: bytes = b""
    """WebP, 320 px wide."""
    width_px: int = 0
    height_px: int = 0
    seed: int = 0
    steps: int = 0
    layout: str = ""
    """The poster's layout; empty for models."""
    engine: EngineFacts | None = None
    error: str = ""
    """Empty, or a code: `engine_failed`, `out_of_memory`, `black_picture`, `blocked_picture`, `bad_reference`,
    `cancelled` …"""
    compromises: list[str] = field(default_factory=list)
    """What was given up to have a picture at all or in time, as codes: `smaller`, `fewer_steps`, `offloaded`,
    `float32`, `reference_ignored`, `reference_unreadable`, `other_model`."""
    finished: bool = False
    """A second, better edition of a picture that was sent before."""
    started_at: float = 0.0
    painted_at: float = 0.0
    timings_ms: dict[str, float] = field(default_factory=dict)
    """Per stage of the painter (`load`, `text`, `guides`, `denoise`, `decode`), `paint` in all, and `encode`."""
    peak_memory_mb: float = 0.0


@dataclass(slots=True)
class Heartbeat(Wire):
    """Says every few seconds that a host consumes a queue, and with what."""

    queue: str
    host: str
    engines: dict[str, dict[str, typing.Any]]
    """`EngineFacts.to_wire()` by role: `speech`, `voice`, `paint`."""
    at: float
    version: str = ""
    offers: list[ModelOffer] = field(default_factory=list)
    """Real engines in place of demo engines; empty when nothing is missing."""
    fetching: Fetching | None = None
    installed: list[str] = field(default_factory=list)
    """Of a paint host: the models of the catalogue that it could change to."""

"""One open stream at the desk: its session, what waits for the recogniser, how far it is durable, what was said."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meetings.access import Membership
from meetings.audio.hearing import FORGET_SPEECH_S, Wordless
from meetings.audio.interims import InterimPace, StableText
from meetings.audio.language import LanguageLock, Understood
from meetings.audio.session import Gap, Pause, StreamSession, Utterance
from meetings.foreign import understood
from meetings.models import AudioStream, Language
from workers.messages import SAMPLE_RATE_HZ, InterimRequest, SpeechRequest

if TYPE_CHECKING:
    from meetviz_site.live.consumer import LiveSocket

# Nothing is said to have been spoken earlier than this, however far a client jumps.
OLDEST_SPOKEN_S = 86_400.0
# A clock that is off by more than this was paused (a muted microphone), not late.
CLOCK_SLACK_S = 5.0
PROMPT_CHARACTERS = 200
# After a longer silence what was said before no longer helps, and a recogniser may even repeat it.
PROMPT_WITHIN_S = 3.0


@dataclass(slots=True)
class InFlight:
    """A final on its way."""

    item: Utterance
    request: SpeechRequest
    asked_at: float = 0.0
    """When it was sent first (monotonic); 0 before that, and while a gap is written in its place."""
    sent_at: float = 0.0
    """When it was sent last."""
    looked_at: float = 0.0


@dataclass(slots=True)
class ShownInterim:
    """What the room sees of an utterance before its final."""

    first_sample: int
    started_at: float
    words: StableText = field(default_factory=StableText)


class LiveStream:
    """One open stream: its session, what waits for the recogniser, and how far it is durable."""

    def __init__(self, row: AudioStream, member: Membership, socket: LiveSocket, spoke_from: float = 0.0) -> None:
        self.id: uuid.UUID = row.pk
        self.meeting_id = member.meeting.pk
        self.participant = member.participant
        self.language = row.language if row.language != Language.AUTO else member.meeting.language
        self.language_lock = LanguageLock(row.heard_language)
        self.understood = understood(row)
        self._foreign_at = -math.inf
        self.want_voice = row.participant.consent_voice_id  # as it is now, whatever this socket last heard of it
        self.socket: LiveSocket | None = socket
        self.session = StreamSession(row.next_sample)
        self.waiting: deque[Utterance | Gap] = deque()
        self.in_flight: InFlight | None = None
        self.silent_until = row.next_sample
        self.durable = row.next_sample
        self.fed_at: float | None = None
        """When samples came last, while some of them may wait to be judged."""
        self.acked_at = 0.0
        self.owes_ack = False
        self.openings = row.openings
        self.detached_at: float | None = None
        self.closing: asyncio.Event | None = None
        self.spoke_from = spoke_from
        """When the newest utterance began (Unix seconds)."""
        self.speaker: dict[str, Any] | None = None
        """Who was last heard on it: id, name, color."""
        self.wordless = Wordless()
        self.interim_pace = InterimPace()
        self.interim: ShownInterim | None = None
        self._said = ""
        self._said_until = 0
        self._anchor: float | None = None

    def agree_to_voice(self, agreed: bool) -> None:
        """Whether embeddings may be asked for, from now on and when what is in flight is asked for again."""
        self.want_voice = agreed
        if self.in_flight:
            self.in_flight.request.want_voice = agreed

    @property
    def oldest_open(self) -> int | None:
        """Where the oldest utterance without an outcome starts."""
        if self.in_flight:
            return self.in_flight.item.first_sample
        return self.waiting[0].first_sample if self.waiting else None

    @property
    def waits_since(self) -> float | None:
        """When the oldest utterance without an outcome was spoken to its end (Unix seconds)."""
        if self.in_flight:
            return self.in_flight.request.ended_at
        return self.times_of(self.waiting[0])[1] if self.waiting else None

    @property
    def unheard_samples(self) -> int:
        """How much sound waits for the recogniser; gaps weigh nothing."""
        if not self.waiting and self.in_flight is None:  # nearly always, of nearly all
            return 0
        waiting = [item for item in self.waiting if isinstance(item, Utterance)]
        if self.in_flight:
            waiting.append(self.in_flight.item)
        return sum(len(item.pcm) // 2 for item in waiting)

    @property
    def is_quiet(self) -> bool:
        return self.oldest_open is None and self.session.in_hand == 0

    def holds(self, first_sample: int) -> bool:
        """Whether the utterance that begins here is in hand or has no outcome yet."""
        if self.session.first_in_hand == first_sample:
            return True
        if self.in_flight and self.in_flight.item.first_sample == first_sample:
            return True
        return any(item.first_sample == first_sample for item in self.waiting)

    # When it was spoken

    def spoken_at(self, sample: int) -> float:
        """The Unix time at which a sample was spoken, as far as arrival tells."""
        now = time.time()
        return max(now - OLDEST_SPOKEN_S, min((self._anchor or now) + sample / SAMPLE_RATE_HZ, now))

    def times_of(self, item: Utterance | Gap | Pause) -> tuple[float, float]:
        """When it was spoken, from and until. What is sent again at once seems to be spoken earlier the more of it has
        come; the order in which things were said stands all the same."""
        started = max(self.spoken_at(item.first_sample), self.spoke_from)
        return started, max(started, self.spoken_at(item.last_sample))

    def note_arrival(self, last_sample: int) -> None:
        """Learn where sample 0 lies on the clock; learn it anew after a pause."""
        anchor = time.time() - last_sample / SAMPLE_RATE_HZ
        if self._anchor is None or anchor - self._anchor > CLOCK_SLACK_S or anchor < self._anchor:
            self._anchor = anchor

    # What the recogniser is asked

    def request_for(self, item: Utterance | Pause) -> SpeechRequest:
        """A final; for a pause the guess at it, which asks for the same to the letter."""
        started_at, ended_at = self.times_of(item)
        return SpeechRequest(
            id=str(uuid.uuid4()),
            meeting=self.meeting_id,
            stream=str(self.id),
            first_sample=item.first_sample,
            last_sample=item.last_sample,
            pcm=item.pcm,
            language=self.language,
            language_hint=self._language_hint(seconds_of(item)),
            prompt=self._prompt(item.first_sample),
            want_voice=self.want_voice,
            want_english=self._speaks() != Language.ENGLISH,
            level_dbfs=item.level_dbfs,
            started_at=started_at,
            ended_at=ended_at,
        )

    def interim_request_for(self, so_far: Utterance) -> InterimRequest:
        return InterimRequest(
            meeting=self.meeting_id,
            stream=str(self.id),
            first_sample=so_far.first_sample,
            last_sample=so_far.last_sample,
            pcm=so_far.pcm,
            language=self.language,
            language_hint=self.language_lock.language if self.language == Language.AUTO else "",
            asked_at=time.time(),
        )

    def _language_hint(self, speech_s: float) -> str:
        return self.language_lock.hint(speech_s) if self.language == Language.AUTO else ""

    def _speaks(self) -> str:
        """The language of the stream as far as it is known; empty when nobody knows."""
        return self.language if self.language != Language.AUTO else self.language_lock.language

    def _prompt(self, first_sample: int) -> str:
        """The end of what was said just before, from a whole word on."""
        if first_sample - self._said_until > PROMPT_WITHIN_S * SAMPLE_RATE_HZ:
            return ""
        if len(self._said) <= PROMPT_CHARACTERS:
            return self._said
        return self._said[-PROMPT_CHARACTERS:].partition(" ")[2]

    # What came of it

    def words_came(self, in_flight: InFlight, *, text: str, language: str, probability: float) -> bool:
        """The words of a final; whether the stream is now known to speak another language than before."""
        self._said, self._said_until = text, in_flight.item.last_sample
        self.wordless.words()
        if self.language != Language.AUTO:
            return False
        hint, speech_s = in_flight.request.language_hint, seconds_of(in_flight.item)
        return self.language_lock.heard(language, probability, speech_s, hint=hint)

    def note_understood(self, state: Understood, now: float) -> None:
        """What `core` makes of the stream's language. `now`: monotonic."""
        self.understood = state
        if state is Understood.FOREIGN:
            self._foreign_at = now

    def is_foreign(self, now: float) -> bool:
        """Whether somebody must be told that the engine does not know what is spoken here; no longer in silence."""
        return self.understood is Understood.FOREIGN and now - self._foreign_at < FORGET_SPEECH_S

    def no_words_came(self) -> None:
        """A final without words, or a gap: what was said before it prompts nothing any more."""
        self._said = ""


def seconds_of(item: Utterance | Pause) -> float:
    return (item.last_sample - item.first_sample) / SAMPLE_RATE_HZ

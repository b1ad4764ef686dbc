"""The voices heard in lines, and what voiceprints learn from them: kept only with consent, erased with it.

A voiceprint of one microphone is a function of the lines it was learned from. So what a wrong line taught can be taken
out again: the print is made anew from the lines that are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from meetings.models import AudioStream, HeardVoice, Participant, Utterance
from speakers.models import Speaker
from speakers.services import (
    unit_vector,
    voice_was_forgotten,
    voiceprint_learn,
    voiceprints_replace,
    voices_withdraw,
)
from workers.messages import VoiceEmbedding

# Beyond this many lines of one microphone a print would not move noticeably (its old weight is capped at 60 s).
MOST_TO_LEARN_AGAIN = 120


def source_of(stream: AudioStream) -> str:
    """The microphone as voiceprints name it: a person's streams of one label sound alike."""
    return f"{_source_of_person(stream.participant_id)}{stream.label}"[:80]


def _source_of_person(participant_id: int) -> str:
    return f"microphone:{participant_id}/"


def may_learn(speaker: Speaker, participant: Participant) -> bool:
    """Whether a voice at this person's microphone may be stored as the speaker's: with consent that stands."""
    return participant.consent_voice_id and not voice_was_forgotten(speaker, since=participant.consented_at)


def voice_keep(utterance: Utterance, voice: VoiceEmbedding, *, learnt: bool) -> HeardVoice:
    """Store the voice of a line with its speaker. Raises UnusableVoice."""
    return HeardVoice.objects.create(
        utterance=utterance,
        speaker=utterance.speaker,
        model=voice.model,
        vector=unit_vector(voice),
        speech_s=voice.speech_s,
        learnt=learnt,
    )


def embedding_of(heard: HeardVoice) -> VoiceEmbedding:
    return VoiceEmbedding(np.asarray(heard.vector, dtype=float).tolist(), heard.model, heard.speech_s)


def heard_in(utterances: Iterable[Utterance]) -> list[HeardVoice]:
    """The voices of these lines, with all that learning looks at."""
    voices = HeardVoice.objects.filter(utterance__in=list(utterances))
    return list(voices.select_related("speaker", "utterance__stream__participant"))


def voices_give(voices: Sequence[HeardVoice], speaker: Speaker, *, teach: bool = True) -> None:
    """A person said whose lines these are, or are not: their voices teach nobody else any more, and (`teach`) that
    speaker."""
    kept = [heard for heard in voices if _may_keep(heard, speaker)]
    voices_drop([heard for heard in voices if heard not in kept])
    before = [(heard.speaker, heard) for heard in kept if heard.learnt and heard.speaker_id != speaker.pk]
    for heard in kept:
        heard.learnt = heard.learnt and heard.speaker_id == speaker.pk
        heard.speaker = speaker
    HeardVoice.objects.bulk_update(kept, ["speaker", "learnt"])
    _learn_again(before)
    for heard in kept if teach else ():
        _learn_from(heard)


def _may_keep(heard: HeardVoice, speaker: Speaker) -> bool:
    stream = heard.utterance.stream
    return stream is not None and may_learn(speaker, stream.participant)


def voices_drop(voices: Sequence[HeardVoice]) -> None:
    """These voices were not what they seemed: nothing stays of them."""
    before = [(heard.speaker, heard) for heard in voices if heard.learnt]
    HeardVoice.objects.filter(pk__in=[heard.pk for heard in voices]).delete()
    _learn_again(before)


def _learn_from(heard: HeardVoice) -> None:
    stream = heard.utterance.stream
    if stream is None or heard.learnt:
        return
    if voiceprint_learn(speaker=heard.speaker, voice=embedding_of(heard), source=source_of(stream)) is not None:
        HeardVoice.objects.filter(pk=heard.pk).update(learnt=True)


def _learn_again(taught: Iterable[tuple[Speaker, HeardVoice]]) -> None:
    """Make the prints of these speakers at these microphones anew from the lines that still count as theirs."""
    prints = {(speaker.pk, heard.model, source_of(stream)): (speaker, heard.model, stream)
              for speaker, heard in taught if (stream := heard.utterance.stream)}  # fmt: skip
    for (_speaker, _model, source), (speaker, model, stream) in prints.items():
        left = list(
            HeardVoice.objects.filter(
                speaker=speaker,
                model=model,
                learnt=True,
                utterance__stream__participant=stream.participant_id,
                utterance__stream__label=stream.label,
            ).order_by("-utterance__started_at")[:MOST_TO_LEARN_AGAIN]
        )[::-1]
        heard = [(np.asarray(h.vector, dtype=np.float32), h.speech_s) for h in left]
        voiceprints_replace(speaker=speaker, model=model, source=source, heard=heard)


def voices_erase(participant: Participant) -> None:
    """The person at these microphones took the consent back: what was kept and learned there goes."""
    HeardVoice.objects.filter(utterance__stream__participant=participant).delete()
    voices_withdraw(_source_of_person(participant.pk))

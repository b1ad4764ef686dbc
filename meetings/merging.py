"""Speakers who turn out to be one, by a person's word or by their voices, and lines that become clear afterwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta

import numpy as np
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from meetings import twins
from meetings.announce import (
    lines_changed,
    lines_of_speaker_changed,
    meeting_lock,
    open_meetings,
    speaker_changed,
)
from meetings.attribution import INHERITED, state_of
from meetings.models import AudioStream, HeardVoice, Meeting, Utterance
from speakers.calibration import thresholds_for
from speakers.matching import (
    MIN_MATCH_S,
    MIN_NAME_S,
    Candidate,
    Thresholds,
    Verdict,
    match,
    pooled_vector,
)
from speakers.models import Speaker, Voiceprint
from speakers.services import UnusableVoice, pooled_speech_s, voice_candidates, voiceprints_move
from workers.messages import VoiceEmbedding

ACTIVE_FOR = timedelta(seconds=60)
# What one pass looks at: the newest lines whose speaker is in doubt, the newest lines of a guest.
MOST_DOUBTFUL = 100
MOST_POOLED = 60
# Two who talk at once for so long, in different words, are two.
AT_ONCE_S = 1.0
# The revision at which this process looked last; one number for each meeting that ever had voices.
_tidied: dict[int, int] = {}


@transaction.atomic
def speakers_join(speaker: Speaker, into: Speaker) -> None:
    """From now on two speakers are one: lines, voices, consent and microphones go along, in all meetings; everyone who
    looks on learns it. The caller holds the meetings' locks (`open_meetings`)."""
    lines = Utterance.objects.filter(speaker=speaker)
    meetings = list(lines.order_by().values_list("meeting", flat=True).distinct())
    if not into.is_guest:
        lines.filter(speaker_state=Utterance.SpeakerState.GUEST).update(speaker_state=Utterance.SpeakerState.KNOWN)
    lines.update(speaker=into)
    HeardVoice.objects.filter(speaker=speaker).update(speaker=into)
    AudioStream.objects.filter(speaker=speaker).update(speaker=into)
    _denials_follow(speaker, into, meetings)
    voiceprints_move(of=speaker, to=into)
    Speaker.objects.filter(merged_into=speaker).update(merged_into=into)
    speaker.merged_into = into
    speaker.save(update_fields=["merged_into"])
    for meeting_id in (
        Meeting.objects.filter(pk__in=meetings, ended_at=None).order_by("pk").values_list("pk", flat=True)
    ):
        speaker_changed(into, meeting_id, merged_from=speaker.pk)
        lines_of_speaker_changed(into, meeting_id)


def _denials_follow(speaker: Speaker, into: Speaker, meetings: Sequence[int]) -> None:
    """Whoever it was not before, it is not under the other number either."""
    denied = Utterance.objects.filter(meeting__in=meetings, not_speakers__contains=[speaker.pk])
    for utterance in denied:
        utterance.not_speakers = sorted({into.pk if pk == speaker.pk else pk for pk in utterance.not_speakers})
        utterance.save(update_fields=["not_speakers"])


# In the background


def meetings_to_tidy() -> list[int]:
    """Open meetings in which a voice was heard within the last minute."""
    since = timezone.now() - ACTIVE_FOR
    heard = Utterance.objects.filter(ended_at__gt=since, voice__isnull=False)
    return list(Meeting.objects.filter(ended_at=None, pk__in=heard.values("meeting")).values_list("pk", flat=True))


@transaction.atomic
def voices_tidy(meeting_id: int) -> int:
    """Merge guests of the meeting whose voices are surely somebody else's, then look again at lines whose speaker was
    in doubt. Nothing that a person confirmed changes. Returns how many merges and lines that were."""
    guests = _guests_with_a_voice(meeting_id)
    open_meetings(*guests)
    if not meeting_lock(meeting_id):
        return 0
    meeting = Meeting.objects.get(pk=meeting_id)
    if _tidied.get(meeting_id) == meeting.rev:  # nothing was said or corrected since
        return 0
    changes = sum(_merge_where_sure(meeting, guest) for guest in guests) + _look_again(meeting)
    _tidied[meeting_id] = meeting.rev
    return changes


def _guests_with_a_voice(meeting_id: int) -> list[Speaker]:
    """The newest first: they become part of older ones."""
    heard = HeardVoice.objects.filter(utterance__meeting=meeting_id).values("speaker")
    return list(Speaker.objects.filter(pk__in=heard, is_guest=True, merged_into=None).order_by("-pk"))


def _merge_where_sure(meeting: Meeting, guest: Speaker) -> bool:
    for voice in _pooled_voices(meeting, guest):
        target = _same_voice(meeting, guest, voice)
        if target is not None:
            older, newer = sorted((guest, target), key=lambda s: (s.is_guest, s.pk))
            speakers_join(newer, older)
            return True
    return False


def _pooled_voices(meeting: Meeting, guest: Speaker) -> list[VoiceEmbedding]:
    """The guest's voice from everything surely theirs here, by model; only where it is enough to go by."""
    heard = (
        HeardVoice.objects.filter(speaker=guest, utterance__meeting=meeting, speech_s__gte=MIN_MATCH_S)
        .exclude(utterance__speaker_state=Utterance.SpeakerState.UNSURE)
        .exclude(utterance__speaker_confidence=INHERITED)
        .order_by("-utterance__started_at")
        .values_list("model", "vector", "speech_s")[:MOST_POOLED]
    )
    by_model: dict[tuple[str, int], dict[bytes, tuple[np.ndarray, float]]] = defaultdict(dict)
    for model, numbers, speech_s in reversed(heard):
        vector = np.asarray(numbers, dtype=np.float32)
        # Turns of one person in one utterance share their voice: it counts once.
        by_model[(model, len(vector))][vector.tobytes()] = (vector, speech_s)
    pooled = [(model, *pooled_vector(list(voices.values()))) for (model, _length), voices in by_model.items()]
    return [VoiceEmbedding(v.tolist(), model, speech_s) for model, v, speech_s in pooled if speech_s >= MIN_NAME_S]


def _same_voice(meeting: Meeting, guest: Speaker, voice: VoiceEmbedding) -> Speaker | None:
    """Who this guest surely is: known by enough speech, clearly above the threshold, and nothing says otherwise."""
    thresholds = thresholds_for(voice.model)
    try:
        candidates = voice_candidates(owner_id=meeting.owner_id, voice=voice, besides=[guest.pk])
    except UnusableVoice:
        return None
    best_of: dict[int, float] = {}
    for candidate in candidates:
        best_of.setdefault(candidate.speaker, candidate.cosine)
    if not best_of:
        return None
    people = Speaker.objects.select_related("preset").in_bulk(list(best_of))
    ranked = sorted(best_of.items(), key=lambda item: -item[1])
    (best_pk, best), rivals = ranked[0], ranked[1:]
    target = people[best_pk]
    # Another guest just as near may be the same voice once more; somebody with a name just as near may not be passed.
    near = [people[pk] for pk, score in rivals if best - score < thresholds.margin]
    doubtful = bool(near) if not target.is_guest else any(not rival.is_guest for rival in near)
    if best < thresholds.upper or doubtful or pooled_speech_s(target.pk, voice.model) < MIN_NAME_S:
        return None
    return None if _are_two(meeting, guest, target) else target


def _are_two(meeting: Meeting, guest: Speaker, other: Speaker) -> bool:
    """Whether a person told them apart, or they spoke at the same time."""
    lines = Utterance.objects.filter(kind=Utterance.Kind.WORDS)
    ours, theirs = lines.filter(speaker=guest), lines.filter(speaker=other)
    if (
        ours.filter(not_speakers__contains=[other.pk]).exists()
        or theirs.filter(not_speakers__contains=[guest.pk]).exists()
    ):
        return True
    if ours.filter(speaker_confirmed=True).exists() and theirs.filter(speaker_confirmed=True).exists():
        return True
    newest = [
        list(said.filter(meeting=meeting).exclude(stream=None).order_by("-started_at")[:MOST_POOLED])
        for said in (ours, theirs)
    ]
    return any(_at_once(one, another) for one in newest[0] for another in newest[1])


def _at_once(one: Utterance, other: Utterance) -> bool:
    """Whether two microphones heard different words at the same time: one voice heard twice says the same."""
    shared_s = (min(one.ended_at, other.ended_at) - max(one.started_at, other.started_at)).total_seconds()
    if one.stream_id == other.stream_id or shared_s < AT_ONCE_S:
        return False
    ours, theirs = ({twins.normalised(word) for word in u.text.split()} for u in (one, other))
    return len(ours & theirs) * 2 < min(len(ours), len(theirs))


def _look_again(meeting: Meeting) -> int:
    """Lines that were too short or not clear enough when they came go to whoever they clearly belong to by now."""
    doubtful = list(_doubtful_voices(meeting))
    changed: list[Utterance] = []
    for model in {heard.model for heard in doubtful}:
        thresholds = thresholds_for(model)
        prints = _prints_here(meeting, model)
        enough = {pk for pk, known in prints.items() if sum(p.speech_s for p in known) >= MIN_NAME_S}
        for heard in (h for h in doubtful if h.model == model):
            if _settle_on(heard, prints, enough, thresholds):
                changed.append(heard.utterance)
    lines_changed(meeting.pk, changed)
    return len(changed)


def _doubtful_voices(meeting: Meeting) -> Iterable[HeardVoice]:
    state = Utterance.SpeakerState
    in_doubt = Q(utterance__speaker_state__in=(state.UNSURE, state.GUEST)) | Q(utterance__speaker_confidence=INHERITED)
    return (
        HeardVoice.objects.filter(
            in_doubt,
            utterance__meeting=meeting,
            utterance__speaker_confirmed=False,
            learnt=False,
            speech_s__gte=MIN_MATCH_S,
        )
        .select_related("utterance__speaker__preset", "speaker")
        .order_by("-utterance__started_at")[:MOST_DOUBTFUL]
    )


def _prints_here(meeting: Meeting, model: str) -> dict[int, list[Voiceprint]]:
    """The voiceprints of everyone who spoke in the meeting."""
    here = meeting.utterances.exclude(speaker=None).values("speaker")
    prints = defaultdict(list)
    known = Voiceprint.objects.filter(speaker__in=here, speaker__merged_into=None, model=model)
    for print_ in known.select_related("speaker__preset"):
        prints[print_.speaker_id].append(print_)
    return prints


def _settle_on(
    heard: HeardVoice, prints: dict[int, list[Voiceprint]], enough: set[int], thresholds: Thresholds
) -> bool:
    utterance = heard.utterance
    candidates = [
        Candidate(pk, float(np.dot(heard.vector, print_.vector)))
        for pk, known in prints.items()
        if pk not in utterance.not_speakers
        for print_ in known
        if len(print_.vector) == len(heard.vector)
    ]
    decision = match(candidates, heard.speech_s, thresholds)
    if decision.verdict is not Verdict.KNOWN or decision.speaker not in enough:
        return False
    speaker = prints[decision.speaker][0].speaker
    if utterance.speaker_id == speaker.pk and utterance.speaker_state == state_of(speaker):
        if utterance.speaker_confidence == INHERITED:  # clear by now, and nothing that anybody sees
            Utterance.objects.filter(pk=utterance.pk).update(speaker_confidence=decision.confidence)
        return False
    utterance.speaker, utterance.speaker_state = speaker, state_of(speaker)
    utterance.speaker_confidence = decision.confidence
    utterance.save(update_fields=["speaker", "speaker_state", "speaker_confidence"])
    HeardVoice.objects.filter(pk=heard.pk).update(speaker=speaker)
    return True

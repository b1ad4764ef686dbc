"""What Whisper writes when nobody speaks: it learned from subtitles, and the silence at the end of films had credits.

Collected from public reports of such lines in Russian and English. A list can never be whole, and people do say some of
these: so it is the last of the gates (`whisper_gates`), and only credits count without regard to how sure the model is.
"""

from __future__ import annotations

import re

_NO_LETTERS = re.compile(r"[\W_]+")
_SENTENCE_ENDS = re.compile(r"[.!?…]+")
_SOUND = re.compile(r"[\[(*♪♫].*[\])*♪♫]", re.DOTALL)
"""A sound described rather than words: `[музыка]`, `(laughs)`, `*music*`."""

_CREDITS = re.compile(
    r"""^(
        (русские\ )?субтитры?\ (и\ \w+\ )?(сдела|дела|созда|подогна|подгото|выполн|предостав|добави|перев)\w*
      | субтитры\ (dimatorzok|от|по|на|amara|сообществ\w+)
      | (редактор|перевод|корректор|монтаж)\ субтитров
      | перевод\ и\ субтитры
      | (редактор|корректор)\ (\w\ )+(семкин|егорова|закомолдина|синецкая|новикова|кулакова)
      | (текст|транскрипци\w+)\ (подготов\w+|предостав\w+)\ (компани|сообществ|amara)
      | с\ вами\ был\ игорь\ негода
      | (english\ )?(subtitles|subtitled|captions|captioned|captioning|transcription|transcript|translation|translated)
        \ (and\ \w+\ )?(by|made|provided|edited|done|created)\b
      | subs?\ by\b
      | (www\ )?(amara\ org|mooji\ org|zeoranger\ co\ uk|tvsubtitles\ net|opensubtitles\ org)
      | copyright\ (wdr|swr|ndr|zdf)
    )""",
    re.VERBOSE,
)
"""Beginnings, of text as `plain` leaves it. Nobody says these in a meeting."""

_PHRASES = frozenset(
    """
    продолжение следует
    спасибо за просмотр
    спасибо за просмотр и до новых встреч
    спасибо за внимание
    благодарю за просмотр
    всем спасибо за просмотр
    всем спасибо
    всем пока
    пока
    пока пока
    спасибо
    до свидания
    до новых встреч
    до новых встреч на канале
    до скорых встреч
    до встречи в следующем видео
    увидимся в следующем видео
    подписывайтесь на канал
    подписывайтесь на мой канал
    подписывайтесь на наш канал
    подпишись на канал
    подпишитесь на канал
    не забудьте подписаться на канал
    ставьте лайки
    ставьте лайки и подписывайтесь на канал
    ставьте лайк и подписывайтесь на канал
    играет музыка
    звучит музыка
    спокойная музыка
    музыка
    аплодисменты
    смех
    конец
    конец фильма
    динамичная музыка
    тревожная музыка
    веселая музыка
    торжественная музыка
    лирическая музыка
    you
    bye
    bye bye
    thank you
    thank you bye
    thank you very much
    thank you so much
    thanks for watching
    thanks for watching bye
    thanks for watching and see you next time
    thank you for watching
    thank you very much for watching
    thank you so much for watching
    thank you for your watching
    thank you for listening
    thanks for listening
    please subscribe
    please subscribe to my channel
    please subscribe to the channel
    please like and subscribe
    like and subscribe
    like comment and subscribe
    don t forget to subscribe
    don t forget to like and subscribe
    subscribe to my channel
    see you next time
    see you in the next video
    see you next video
    i ll see you next time
    i ll see you in the next video
    we ll be right back
    to be continued
    the end
    music
    applause
    laughter
    silence
    """.strip().replace("    ", "").split("\n")
)  # fmt: skip


def plain(text: str) -> str:
    """Lower case without marks, ё as е, one space between words: what the lists are written in."""
    return _NO_LETTERS.sub(" ", text.casefold().replace("ё", "е")).strip()


def is_credit(text: str) -> bool:
    """Whether it is a line of credits or the description of a sound, which nobody says in a meeting."""
    return bool(_CREDITS.match(plain(text))) or bool(_SOUND.fullmatch(text.strip()))


def is_phantom(text: str) -> bool:
    """Whether all of it is what Whisper writes of silence, credits included. People may say some of it, too."""
    if plain(text) in _PHRASES or is_credit(text):
        return True
    sentences = [sentence for sentence in _SENTENCE_ENDS.split(text) if plain(sentence)]
    return len(sentences) > 1 and all(plain(part) in _PHRASES or is_credit(part) for part in sentences)

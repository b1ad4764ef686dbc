"""Results as Whisper gives them, and what of them is shown.

The figures are of the size that the models report: speech has a mean log-probability of −0.1 to −0.7 and next to no
doubt that it is speech; silence and noise come back with −0.6 to −2 and with doubt, or as a loop.
"""

from __future__ import annotations

import math

import pytest

from workers.engines.speech.phantoms import is_credit, is_phantom, plain
from workers.engines.speech.whisper_gates import Segment, compression_ratio, judge, sentences, usable_prompt
from workers.messages import Word


def said(text: str, avg_logprob: float = -0.28, no_speech: float = 0.03, seconds: float = 3.0) -> Segment:
    return Segment(text, 0, round(seconds * 1000), avg_logprob, no_speech)


def words(text: str, *, sure: float = 0.9, unsure: str = "") -> tuple[Word, ...]:
    return tuple(
        Word(word, 300 * n, 300 * n + 250, 0.05 if word in unsure.split() else sure)
        for n, word in enumerate(text.split())
    )


REAL_SPEECH = [
    said("Let's put the old wooden bridge behind the house.", -0.21, 0.01),
    said("Мы хотим построить маленький красный дом у реки.", -0.26, 0.02),
    said("Yes.", -0.52, 0.08, seconds=0.6),
    said("Да.", -0.61, 0.11, seconds=0.5),
    said("Нет, нет, нет, нет, нет.", -0.33, 0.05),
    said("No no no no, wait.", -0.41, 0.04),
    said("Um, so the, uh, the launch is in March, I think.", -0.72, 0.15, seconds=4.5),
    said("Спасибо, Анна, теперь покажи склад.", -0.31, 0.02),
    said("Thank you.", -0.18, 0.02, seconds=0.7),
    said("Спасибо.", -0.24, 0.04, seconds=0.7),
    said("Музыка играет, и все танцуют на площади.", -0.35, 0.03),
    said("You and I should talk about the subtitles.", -0.44, 0.06),
    said("В субтитрах к ролику опечатка, исправь, пожалуйста.", -0.38, 0.03),
    said("15,000.", -0.5, 0.05, seconds=0.9),
    said("a quiet remark from the far end of the table", -1.1, 0.4),
    said("шум в зале, но слова слышны", -0.9, 0.72),
]


@pytest.mark.parametrize("segment", REAL_SPEECH, ids=lambda segment: segment.text)
def test_what_people_say_is_shown(segment: Segment) -> None:
    judged = judge([segment])
    assert (judged.kept, judged.rejected) == ((segment,), "")


@pytest.mark.parametrize(
    ("segment", "gate"),
    [
        # Silence and noise that came through voice activity detection.
        (said("I'm going to go to the bathroom.", -1.18, 0.83), "no_speech"),
        (said("Он не знает, что он делает.", -1.05, 0.77), "no_speech"),
        (said("Hmm.", -1.24, 0.91, seconds=0.8), "no_speech"),
        (said("ʻolelo no ka mea", -1.62, 0.31), "unsure"),
        (said("Кнёсъ тре", -1.94, 0.2), "unsure"),
        # Loops, which are decoded with great confidence.
        (said("you " * 40, -0.12, 0.2), "repetition"),
        (said("и " * 110, -0.08, 0.1), "repetition"),
        (said("I don't know what to do. " * 12, -0.15, 0.05), "repetition"),
        (said("Спасибо за просмотр! " * 9, -0.2, 0.3), "repetition"),
        # Float16 on a GTX 16xx: token 0, with or without a number behind it.
        (said("!" * 224, math.nan, 0.0), "broken_output"),
        (said("!!!!", -0.01, 0.0), "broken_output"),
        (said("A word", -math.inf, 0.0), "broken_output"),
        (said("A word", math.nan, math.nan), "broken_output"),
        # Marks alone.
        (said("...", -0.4, 0.2), "no_words"),
        (said("- -", -0.4, 0.2), "no_words"),
        # The known phantoms.
        (said("Субтитры сделал DimaTorzok", -0.62, 0.44), "phantom"),
        (said("Субтитры создавал DimaTorzok.", -0.09, 0.02), "phantom"),
        (said("Продолжение следует...", -0.55, 0.5), "phantom"),
        (said("Редактор субтитров А.Семкин Корректор А.Егорова", -0.31, 0.2), "phantom"),
        (said("Thanks for watching!", -0.58, 0.42), "phantom"),
        (said("Thank you.", -0.66, 0.35), "phantom"),
        (said("you", -0.81, 0.55, seconds=1.0), "phantom"),
        (said("Subtitles by the Amara.org community", -0.2, 0.1), "phantom"),
        (said("Спасибо за просмотр!", -0.6, 0.2), "phantom"),
        (said("ПОЁТ", -1.4, 0.3), "unsure"),
        (said("[Музыка]", -0.2, 0.1), "phantom"),
        (said("(laughs)", -0.2, 0.1), "phantom"),
        (said("Thanks for watching! Bye!", -0.7, 0.4), "phantom"),
    ],
    ids=lambda value: value.text[:30] if isinstance(value, Segment) else value,
)
def test_what_nobody_said_is_refused(segment: Segment, gate: str) -> None:
    judged = judge([segment])
    assert (judged.kept, judged.rejected) == ((), gate)


def test_good_segments_stay_when_a_bad_one_is_dropped() -> None:
    good = said("Мы идём на склад.", -0.25)
    bad = said("и " * 110, -0.1)
    also_good = said("Там холодно.", -0.4)
    judged = judge([good, bad, also_good])
    assert (judged.kept, judged.rejected) == ((good, also_good), "")


def test_credits_behind_real_words_go_and_the_words_stay() -> None:
    real = said("На этом всё, спасибо.", -0.3)
    assert judge([real, said("Субтитры сделал DimaTorzok", -0.3)]).kept == (real,)


def test_a_phrase_that_people_say_is_a_phantom_only_when_it_is_all_there_is() -> None:
    real = said("And that is how the bridge will look when we open it in May.", -0.3)
    thanks = said("Thank you.", -0.8, 0.2)
    assert judge([real, thanks]).kept == (real, thanks)
    assert judge([thanks]).kept == ()


def test_several_phantoms_are_not_each_others_company() -> None:
    judged = judge([said("Продолжение следует...", -0.6, 0.4), said("Спасибо за просмотр!", -0.6, 0.4)])
    assert (judged.kept, judged.rejected) == ((), "phantom")


def test_a_sentence_that_comes_again_and_again_is_a_loop() -> None:
    real = said("Посмотрите на этот график.", -0.3)
    loop = [said("Я не знаю, что это такое.", -0.2) for _ in range(6)]
    assert judge([real, *loop]).kept == (real,)
    assert judge(loop).rejected == "repetition"


def test_a_short_answer_may_come_three_times() -> None:
    answers = [said("Да.", -0.4), said("Да.", -0.4), said("Да.", -0.4)]
    assert judge(answers).kept == tuple(answers)


def test_the_gate_of_the_largest_part_is_named() -> None:
    assert judge([said("Mm.", -1.9), said("you " * 40, -0.1)]).rejected == "repetition"
    assert judge([]).rejected == judge([said("  ")]).rejected == ""


PROMPT = "We should open the bridge in May, and the house by the river a month later."


@pytest.mark.parametrize(
    "segment",
    [
        said("the house by the river a month later.", -0.15, 0.62),
        said("We should open the bridge in May, and the house by the river", -0.1, 0.1, seconds=0.8),
        said(PROMPT, -0.05, 0.5),
    ],
    ids=["no speech", "faster than anybody speaks", "all of it"],
)
def test_our_own_prompt_come_back_is_refused(segment: Segment) -> None:
    assert judge([segment], prompt=PROMPT).rejected == "prompt_echo"
    assert judge([segment]).kept


def test_people_may_say_the_same_again() -> None:
    again = said("The house by the river.", -0.2, 0.02, seconds=1.6)
    two_words = said("in May", -0.5, 0.5, seconds=0.6)
    assert judge([again], prompt=PROMPT).kept == (again,)
    assert judge([two_words], prompt=PROMPT).kept == (two_words,)


# Sentences


def test_a_segment_is_cut_behind_its_full_stops() -> None:
    text = 'Мы идём на склад. Там "холодно." И темно'
    cut = sentences(Segment(text, 0, 5000, -0.3, 0.1, words(text)))
    assert [part.text for part in cut] == ["Мы идём на склад.", 'Там "холодно."', "И темно"]
    assert [(part.start_ms, part.end_ms) for part in cut] == [(0, 1150), (1200, 1750), (1800, 2350)]
    assert [part.no_speech_prob for part in cut] == [0.1] * 3


def test_scripts_without_spaces_get_none() -> None:
    text = "桥在河边。房子很小。"
    characters = tuple(
        Word(char, 100 * n, 100 * n + 90) for n, char in enumerate(["桥", "在", "河边。", "房子", "很小。"])
    )
    assert [part.text for part in sentences(Segment(text, 0, 900, -0.3, 0.1, characters))] == [
        "桥在河边。",
        "房子很小。",
    ]


def test_a_sentence_of_unsure_words_has_the_doubt() -> None:
    text = "We open the bridge. Glurb snarf."
    sure, unsure = sentences(Segment(text, 0, 3000, -0.7, 0.1, words(text, unsure="Glurb snarf.")))
    assert sure.avg_logprob == 0 > -1.3 > unsure.avg_logprob
    assert judge([sure, unsure]).kept == (sure,)


def test_one_sentence_or_no_words_stay_whole() -> None:
    one = Segment("We open it.", 0, 900, -0.4, 0.1, words("We open it."))
    assert sentences(one) == [one]
    wordless = said("One. Two.")
    assert sentences(wordless) == [wordless]


def test_thirty_seconds_of_fluent_speech_are_no_loop() -> None:
    russian = (
        "Ну давайте начнём с того что мы сделали на прошлой неделе я закончила макеты для новой страницы и отдала их "
        "в разработку там осталось два вопроса по шрифтам и один по цветам потом мы с Андреем съездили на склад и "
        "посмотрели как там всё устроено честно говоря порядка мало коробки стоят прямо в проходе и погрузчик не может "
        "развернуться поэтому я предлагаю сначала навести порядок а уже потом ставить новые стеллажи иначе мы просто "
        "потеряем деньги и время да и людям там работать тяжело особенно зимой когда ворота открыты и дует с реки"
    )
    assert 1.8 < compression_ratio(russian) < 2.2
    assert judge([said(russian, seconds=30)]).kept


# Prompts


def test_a_prompt_keeps_its_end_in_whole_words() -> None:
    before = (
        "На прошлой неделе мы съездили на склад и посмотрели, как там всё устроено. Порядка мало: коробки стоят прямо "
        "в проходе, и погрузчик не может развернуться. Поэтому предлагаю сначала навести порядок, потом ставить полки."
    )
    prompt = usable_prompt(before)
    assert 180 < len(prompt) <= 200
    assert before.endswith(" " + prompt)
    assert usable_prompt(" We  open\nthe bridge. ") == "We open the bridge."


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "   ",
        "...",
        "Субтитры сделал DimaTorzok",
        "Thanks for watching!",
        "Продолжение следует... Спасибо за просмотр!",
        "you you you you you you you",
        "да да да да да да нет",
        "I don't know. " * 14,
        "а" * 300,
        "\x00\x01",
    ],
)
def test_phantoms_and_loops_are_no_prompts(prompt: str) -> None:
    assert usable_prompt(prompt) == ""


# Phantoms


def test_marks_case_and_yo_do_not_matter() -> None:
    assert plain("  Ещё… РАЗ, «Ёлка»! ") == "еще раз елка"
    assert is_phantom("СУБТИТРЫ СДЕЛАЛ DIMATORZOK")
    assert is_phantom("Весёлая музыка")


@pytest.mark.parametrize(
    "text",
    [
        "субтитры",
        "Субтитры пусть сделает Дима",
        "The subtitles are by the door",
        "Музыка будет громкой",
        "Thank you for the bridge",
        "Редактор принёс текст",
        "[x] is done, (y) is not",
        "You know, it works",
    ],
)
def test_ordinary_sentences_are_no_phantoms(text: str) -> None:
    assert not is_phantom(text)
    assert not is_credit(text)

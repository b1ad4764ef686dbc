"""What is never painted, and that ordinary talk is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from generation import safety
from generation.prompting import Brief, Line, Style, compose

ORDINARY = """
We saw the comet with the naked eye
They are shooting a film in the garden
Kill the process and start the server again
The child process was killed by its parent
A minor bug in the same-sex parent form
Same sex marriage is legal there
The opposite sex, by the sex ratio at birth
Moby Dick in Essex, painted by a master
Al Gore gave a talk in a Gore-Tex jacket
Blood pressure, a blood orange and a Bloody Mary
Oilseed rape is yellow; a rape field in bloom
A boy and a girl with a dog near the river
We hang the picture of the family on the wall
Cut the bread and then the budget
The suicide squad film starts at nine
Breast cancer screening in the hospital
A white power bank on the table
На небе видна комета невооружённым глазом
Снимаем фильм, стреляем из пушки по воробьям
Убить процесс и запустить сервер снова
Забили два гола, гол в ворота
Голая правда, голые факты и голые ветки
А король-то голый король
Анализ крови и давление
Члены команды и новая секция плавания
Мальчик и девочка гуляют у реки
Он повесил картину на стену
Труппа театра, трубка и труба
Противоположный пол
Порезать хлеб и сыр
""".strip().splitlines()

BLOCKED = [
    ("a naked woman on a beach", "sexual"),
    ("Naked women everywhere", "sexual"),
    ("erotic photos", "sexual"),
    ("PORN", "sexual"),
    ("голая женщина на пляже", "sexual"),
    ("об обнажённых девицах", "sexual"),
    ("нарисуй порнографию", "sexual"),
    ("two naked children", "minors"),
    ("a sexy schoolgirl", "minors"),
    ("child pornography", "minors"),
    ("голый ребёнок", "minors"),
    ("детским порно", "minors"),
    ("severed heads on spikes", "gore"),
    ("a decapitated man", "gore"),
    ("лужи крови на полу", "gore"),
    ("расчленённый труп", "gore"),
    ("he wants to kill himself", "self-harm"),
    ("slit her wrists", "self-harm"),
    ("думает о самоубийстве", "self-harm"),
    ("вскрыл вены", "self-harm"),
    ("swastikas on the wall", "hateful"),
    ("a nazi flag", "hateful"),
    ("свастику на стене", "hateful"),
    ("с нацистским флагом", "hateful"),
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_talk_is_let_through(text: str) -> None:
    assert safety.blocked_in(text) == []
    assert safety.without_blocked(text) == text


@pytest.mark.parametrize(("text", "category"), BLOCKED)
def test_what_must_not_be_painted_is_found_in_any_form_of_its_words(text: str, category: str) -> None:
    assert category in safety.categories(text)
    assert safety.categories(safety.without_blocked(text)) == frozenset()


def test_only_the_blocked_words_are_taken_out() -> None:
    assert safety.without_blocked("a Naked woman, on a beach") == "a woman, on a beach"
    assert safety.without_blocked("İ nude, bridge") == "i̇ , bridge"  # a letter whose small one is two characters
    assert safety.without_blocked("порно") == ""


@pytest.mark.parametrize("text", ["", " ", "🙂🙂", "שלום עולם", "x" * 100_000, "naked eye " * 5_000, "\x00"], ids=repr)
def test_any_text_at_all_can_be_judged(text: str) -> None:
    assert safety.blocked_in(text) == []


def test_an_owners_own_list_is_added_to_the_built_in_one(tmp_path: Path) -> None:
    own = tmp_path / "own.tsv"
    own.write_text("# ours\nwork\tproject phoenix|единорог\nordinary\tunicorn startup\n", encoding="utf-8")
    rules = safety.rules(str(own))
    assert safety.categories("about Project Phoenix, единороги", rules) == {"work"}
    assert safety.categories("a swastika", rules) == {"hateful"}
    assert safety.categories("about Project Phoenix") == frozenset()


@pytest.mark.parametrize("text", ["no tab here\n", "\tphrase\n", None])
def test_a_list_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    own = tmp_path / "own.tsv"
    if text is not None:
        own.write_text(text)
    with pytest.raises(safety.BadList, match=r"own\.tsv"):
        safety.rules(str(own))


# In a brief


def brief(text: str = "", *, hint: str = "", english: str = "", style: str = "", neutral: bool = False) -> Brief | None:
    now = time.time()
    lines = [Line("u1", text, "en", "anna", now - 1, 3.0, english)] if text else []
    styles = {"anna": Style("anna", "Own", "#336699", style_words=style)} if style else {}
    return compose(lines, styles, now=now, window_s=300, language="auto", hint=hint, neutral=neutral)


def everything(made: Brief) -> str:
    """All that reaches a painter or a person."""
    scene = made.scene
    words = [scene.title, *scene.phrases, *(f"{thing.label} {thing.english}" for thing in scene.things)]
    return ". ".join([made.prompt, made.prompt_local, *made.alt.values(), *words])


@pytest.mark.parametrize(("text", "category"), BLOCKED)
def test_neither_a_hint_nor_talk_brings_it_into_a_picture(text: str, category: str) -> None:
    for made in (brief(hint=text), brief(f"A red house near the river. {text}."), brief("Красный дом.", english=text)):
        assert made is not None
        assert safety.categories(everything(made)) == frozenset()
        assert made.prompt and made.prompt_local and made.alt["ru"]


def test_the_rest_of_a_scene_is_still_painted() -> None:
    made = brief(hint="a naked man at a lighthouse")
    assert made is not None and "lighthouse" in made.prompt
    assert (made.blocked, made.neutral) == ({"sexual"}, False)


def test_a_scene_whose_subject_is_blocked_becomes_a_place_and_a_mood() -> None:
    made = brief("An old house stands near the river, with flowers.", hint="свастика")
    assert made is not None and made.neutral and made.blocked == {"hateful"}
    assert "river" in made.prompt and "house" not in made.prompt and "flowers" not in made.prompt
    assert made.scene.title == "" and made.scene.phrases == [] and made.why == []


def test_nothing_of_a_scene_stays_where_children_and_the_sexual_meet() -> None:
    made = brief("The children play on the beach.", hint="naked children on a beach")
    assert made is not None and made.neutral and "minors" in made.blocked
    assert made.scene.things == [] and "child" not in everything(made) and "beach" not in made.prompt


def test_blocked_style_words_are_left_out_and_the_others_stay() -> None:
    made = brief("An old house near the river.", style="linocut, erotic art")
    assert made is not None
    assert "linocut" in made.prompt and "erotic" not in made.prompt + made.prompt_local


def test_a_neutral_scene_can_be_asked_for_and_keeps_style_and_mood() -> None:
    made = brief("An old house near the river at night.", style="linocut", neutral=True)
    assert made is not None and made.neutral and made.blocked == frozenset()
    assert "at night" in made.prompt and "linocut" in made.prompt and "house" not in made.prompt
    assert brief(neutral=True) is not None


def test_ordinary_talk_makes_the_picture_that_it_always_made() -> None:
    made = brief("You can see the comet over the old bridge with the naked eye.")
    assert made is not None and (made.blocked, made.neutral) == (frozenset(), False)
    assert "comet" in made.prompt and "bridge" in made.prompt

"""The poster painter: same request, same picture; never the layout before; nothing collides; everything can be read."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from workers.engines.base import Painted
from workers.engines.paint.poster import PosterPainter, stamp
from workers.engines.paint.poster.inks import PALETTES, assign, choose_palette, contrast, from_hex, oklch
from workers.engines.paint.poster.layouts import LAYOUTS, WITHOUT_THINGS
from workers.engines.paint.poster.lettering import break_lines, clean, fit
from workers.engines.paint.poster.painter import plan_poster, print_figures, print_ground
from workers.engines.paint.poster.plan import Box
from workers.messages import PaintRequest, Scene, Thing, VoiceShare

VOICES = [VoiceShare("#e0533a", 0.6), VoiceShare("#f6cf4c", 0.3), VoiceShare("#8fb8bc", 0.1)]


def scene(title: str = "a wooden bridge", *english: str, **more: object) -> Scene:
    things = [Thing(label=word, english=word) for word in english]
    return Scene(title, things, ["near the river", "tall trees"], voices=list(VOICES), **more)  # type: ignore[arg-type]


def request(of: Scene, seed: int = 7, size: tuple[int, int] = (1024, 576)) -> PaintRequest:
    return PaintRequest("frame", 1, "prompt", "", of, seed, *size)


def scenes() -> list[Scene]:
    """Scenes as meetings give them: several languages, moods, times, from none to six things."""
    russian = Scene(
        "запуск в марте",
        [Thing("запуск", "launch"), Thing("март", "march"), Thing("команда", "team"), Thing("рост", "growth")],
        ["план", "рост продаж"],
        language="ru",
        mood="bright",
        voices=list(VOICES),
    )
    return [
        scene("a wooden bridge", "bridge", "tree", "house", "river"),
        russian,
        scene("coffee", "coffee"),
        scene("the ship in the harbour", "ship", "dove", "anchor", time_of_day="dusk"),
        scene("a castle on a hill", "castle", "horse", "moon", time_of_day="night"),
        scene("what we agreed last week"),
        scene("plane to Lisbon", "plane", "sun", "suitcase", mood="bright"),
        scene("birthday", "cake", "gift", "music", "champagne", "children", "dog", mood="festive"),
        scene("he lost his dog", "dog", "rain", "road", mood="sad"),
        scene("the deadline slipped", "deadline", "fire", "server", mood="tense"),
        scene("", "house"),
        scene("a" * 10_000, "tree", palette=["#d7261e"]),
    ]


SIZES = [(1024, 576), (576, 1024), (768, 768), (64, 64), (2048, 64), (64, 2048), (2048, 2048), (320, 180)]


@pytest.fixture(scope="module")
def painter() -> Iterator[PosterPainter]:
    made = PosterPainter()
    yield made
    made.unload()


def looks(picture: Image.Image) -> np.ndarray:
    """A picture as the eye compares it: small, float32 (36, 64, 3)."""
    return np.asarray(picture.resize((64, 36)), dtype=np.float32)


def test_the_same_request_gives_the_same_picture(painter: PosterPainter) -> None:
    one, other = (painter.paint(request(scene("a bridge", "bridge", "tree"), seed=11)) for _ in range(2))

    assert one.layout == other.layout
    assert one.image.tobytes() == other.image.tobytes()


def test_another_seed_gives_another_picture(painter: PosterPainter) -> None:
    one, other = (painter.paint(request(scene("a bridge", "bridge", "tree"), seed=seed)) for seed in (11, 12))

    assert np.abs(looks(one.image) - looks(other.image)).mean() > 4


def test_twenty_frames_in_a_row_are_a_series_and_no_two_alike(painter: PosterPainter) -> None:
    frames: list[Painted] = []
    for number in range(20):
        before = frames[-1].layout if frames else ""
        told = scene("a wooden bridge", "bridge", "tree", "house", previous_layout=before, number=number)
        frames.append(painter.paint(request(told, seed=3)))

    layouts = [frame.layout for frame in frames]
    assert all(one != other for one, other in itertools.pairwise(layouts))
    assert len(set(layouts)) >= 4
    assert len({hashlib.sha256(frame.image.tobytes()).hexdigest() for frame in frames}) == 20
    nearest = min(np.abs(looks(a.image) - looks(b.image)).mean() for a, b in itertools.combinations(frames, 2))
    assert nearest > 3


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_size_is_painted_as_asked(painter: PosterPainter, size: tuple[int, int]) -> None:
    painted = painter.paint(request(scenes()[0], size=size))

    assert painted.image.size == size
    assert painted.image.mode == "RGB"
    assert np.asarray(painted.image).std() > 8


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_nothing_collides_and_no_type_leaves_the_sheet(size: tuple[int, int]) -> None:
    seen = set()
    for told, seed, previous in itertools.product(scenes(), range(5), ("", "scene", "panels", "night", "type")):
        told.previous_layout, told.number = previous, seed
        brief, plan = plan_poster(request(told, seed=seed, size=size))
        seen.add(plan.layout)
        for (kind, box), (other_kind, other) in itertools.combinations(plan.boxes(), 2):
            assert not box.meets(other), f"{kind} and {other_kind} in {plan.layout}, {told.title!r:.20}, seed {seed}"
        for kind, box in plan.boxes():
            assert kind == "figure" or box.inside(brief.width, brief.height, 1.0), (plan.layout, kind, seed)
        for figure in plan.figures:
            assert figure.bleeds or figure.box.inside(brief.width, brief.height, 3.0), (plan.layout, seed)
    assert seen == set(LAYOUTS)


def test_the_newest_thing_is_the_largest() -> None:
    for seed in range(30):
        _, plan = plan_poster(request(scene("a house and a tree", "house", "tree", "dog"), seed=seed))
        areas = [figure.box.width * figure.box.height for figure in plan.figures]
        assert plan.figures[0].hero
        assert areas[0] == max(areas)
        assert len(areas) >= 3


def printed_contrast(ground: np.ndarray, ink: tuple[float, float, float]) -> float:
    """WCAG contrast of an ink with the mean of what is printed below it."""
    red, green, blue = (float(c) for c in np.clip(ground.mean(axis=0), 0, 1))
    return contrast((red, green, blue), ink)


@pytest.mark.parametrize("time_of_day", ["day", "dusk", "night"])
def test_small_type_can_be_read_on_its_ground(time_of_day: str) -> None:
    checked = 0
    for told, seed in itertools.product(scenes(), range(6)):
        told.time_of_day, told.number = time_of_day, seed
        brief, plan = plan_poster(request(told, seed=seed))
        sheet = print_ground(brief, plan)
        print_figures(sheet, brief, plan)
        inks = stamp.choose_text_inks(sheet, brief, plan.blocks)
        for block, ink in zip(plan.blocks, inks, strict=True):
            wanted = 4.5 if block.kind == "line" else 3.0
            assert printed_contrast(sheet.sample(block.box.corners()), ink) >= wanted, (plan.layout, told.title[:20])
            checked += block.kind == "line"
    assert checked > 40


def test_type_is_really_printed(painter: PosterPainter) -> None:
    brief, plan = plan_poster(request(scene("a quiet house", "house"), seed=5))
    bare = print_ground(brief, plan)
    print_figures(bare, brief, plan)
    painted = np.asarray(painter.paint(request(scene("a quiet house", "house"), seed=5)).image, dtype=np.float32)

    changed = np.abs(painted - np.asarray(bare.image(), dtype=np.float32)).max(axis=2) > 60
    for block in plan.blocks:
        left, top, right, bottom = (round(v) for v in block.box.bounds())
        assert 0.1 < changed[top:bottom, left:right].mean() < 0.95


def test_words_without_a_pictogram_become_type() -> None:
    told = Scene("the budget talk", [Thing("a house", "house"), Thing("elephants", "elephant")], voices=list(VOICES))

    brief, plan = plan_poster(request(told))

    assert [subject.pictogram.name for subject in brief.subjects] == ["house"]
    lines = [line.text for block in plan.blocks if block.kind == "line" for line in block.lines]
    assert any("elephants" in text for text in lines)


def test_talk_without_things_gets_a_layout_of_type() -> None:
    for seed, previous in itertools.product(range(8), ("", *WITHOUT_THINGS)):
        told = scene("what we agreed last week", previous_layout=previous)
        _, plan = plan_poster(request(told, seed=seed))
        assert plan.layout in WITHOUT_THINGS
        assert plan.layout != previous
        assert any(block.kind == "title" for block in plan.blocks)


def test_a_dot_per_voice_sized_by_talk_time() -> None:
    _, plan = plan_poster(request(scene("a house", "house")))

    by_colour = {dot.colour: dot.radius for dot in plan.dots}
    radii = [by_colour[colour] for voice in VOICES if (colour := from_hex(voice.colour)) is not None]
    assert radii == sorted(radii, reverse=True)
    assert radii[0] ** 2 / radii[1] ** 2 == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(
    "odd",
    [
        Scene(""),
        Scene("🚀🎉✨"),
        Scene("שלום עולם", [Thing("בית", "house")], ["מה שלומך"], language="he"),
        Scene("مرحبا بالعالم", [], ["صباح الخير"]),
        Scene("会議の計画", [Thing("計画", "plan")]),
        Scene("word " * 2000, [Thing("x" * 5000, "tree")] * 40, ["y" * 10_000] * 30, voices=VOICES * 20),
        Scene("\x00\u202e\n\t odd \ud800", [Thing("\ud800", "\ud800")]),
        Scene("palette", [Thing("cat", "cat")], palette=["nonsense", "#12", ""], voices=[VoiceShare("no", 1.0)]),
        Scene("grey", [Thing("cat", "cat")], palette=["#888888"] * 5, voices=[VoiceShare("#000000", -1.0)]),
        Scene("white", [Thing("cat", "cat")], palette=["#ffffff"]),
        Scene("black", [Thing("cat", "cat")], palette=["#000000"], mood="unheard of", time_of_day="noon"),
    ],
    ids=lambda told: ascii(told.title[:12]),
)
@pytest.mark.parametrize("size", [(1024, 576), (64, 64), (200, 900)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_odd_scenes_are_painted_too(painter: PosterPainter, odd: Scene, size: tuple[int, int]) -> None:
    painted = painter.paint(request(odd, size=size))

    assert painted.image.size == size
    assert painted.layout in LAYOUTS


def test_every_stage_is_reported_and_timed(painter: PosterPainter) -> None:
    steps: list[tuple[int, int]] = []

    painted = painter.paint(request(scene("a house", "house")), lambda step, of, preview: steps.append((step, of)))

    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert list(painted.timings_ms) == ["plan", "ground", "figures", "type"]
    assert painted.seed == 7


def test_a_cancelled_picture_leaves_the_painter_usable(painter: PosterPainter) -> None:
    def cancel(step: int, of: int, preview: Image.Image | None) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        painter.paint(request(scene("a house", "house")), cancel)

    assert painter.paint(request(scene("a house", "house"))).image.size == (1024, 576)


def test_it_says_that_it_is_a_demo(painter: PosterPainter) -> None:
    facts = painter.facts()

    assert (facts.name, facts.model, facts.demo) == ("poster", "poster-1", True)


def test_every_palette_of_ours_is_whole() -> None:
    assert len(PALETTES) >= 8
    for moods, colours in PALETTES.values():
        assert moods
        parsed = [from_hex(colour) for colour in colours.split()]
        assert len(parsed) == 6 and None not in parsed
    for mood in ("calm", "bright", "tense", "sad", "festive"):
        assert len(choose_palette(mood, "day", np.random.default_rng(1))) == 6


@pytest.mark.parametrize("palette", [["#d7261e"], ["#ffffff"], ["#101010"], ["#3050ff", "#40d080"], ["#777777"] * 9])
def test_any_palette_gives_light_paper_and_dark_key(palette: list[str]) -> None:
    colours = [colour for text in palette if (colour := from_hex(text)) is not None]

    inks = assign(colours, mood="calm", night=False, pick=np.random.default_rng(2))

    assert oklch(inks.paper)[0] > 0.9
    assert contrast(inks.paper, inks.key) > 7
    assert max(contrast(inks.front, inks.paper), contrast(inks.front, inks.key)) >= 4.5


def test_small_words_stay_with_the_next_one() -> None:
    assert break_lines("деревянный мост у реки", 2) == ["деревянный", "мост у реки"]


def test_long_titles_are_cut_at_a_word() -> None:
    shortened = clean("one two three four five six seven " * 40)

    assert len(shortened) <= 140
    assert shortened.endswith("…")
    assert set(shortened[:-1].split()) == {"one", "two", "three", "four", "five", "six", "seven"}


def test_a_setting_never_exceeds_its_space() -> None:
    for title in ("tea", "a wooden bridge near the river", "w" * 200):
        setting = fit(title, 400, 120, largest_px=200, most_lines=3)
        assert setting is not None
        assert setting.size_px * len(setting.lines) <= 120 * 1.1


def test_turned_boxes_meet_only_when_they_overlap() -> None:
    wide = Box(0, 0, 100, 10, angle_deg=30)

    assert wide.meets(Box(30, -17, 5, 5))
    assert not wide.meets(Box(30, 17, 5, 5))
    assert not wide.meets(Box(0, 12, 10, 10, angle_deg=30))

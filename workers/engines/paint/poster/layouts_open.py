"""Layouts with a sky and a horizon: scene, night, landscape."""

from __future__ import annotations

from dataclasses import dataclass

from workers.engines.paint.poster import grounds, stamp, surroundings
from workers.engines.paint.poster.inks import RGB, mix, overprint
from workers.engines.paint.poster.parts import apart, figure_inks, row, size_of, stand, text_foot
from workers.engines.paint.poster.plan import Box, Brief, Figure, Pass, Plan, Point, Subject
from workers.engines.paint.poster.press import Sheet


def scene(brief: Brief) -> Plan:
    """The newest thing large on a land of two layers, its companions beside it."""
    return _open(brief, "scene")


def night(brief: Brief) -> Plan:
    """A dark sheet, a huge moon behind the newest thing, everything else in glowing inks."""
    return _open(brief, "night")


def landscape(brief: Brief) -> Plan:
    """No things to show: only land, a large sun, and the words."""
    return _open(brief, "landscape")


@dataclass(slots=True)
class _Land:
    """The measures of one open sheet, in pixels from its top left corner."""

    brief: Brief
    layout: str
    standing: list[Subject]
    """What stands or floats, newest first."""
    flying: list[Subject]
    """What hangs in the air, newest first."""
    hero: Subject | None
    far_kind: str
    near_kind: str
    type_top: float
    spare: float
    """Height between the upper margin and the type: what all other heights are shares of."""
    near: float
    far: float
    side: float
    """Where the newest thing is: −1 left, 1 right."""
    hero_cx: float
    sun: Point
    radius: float
    sun_ink: RGB

    @property
    def tall(self) -> bool:
        return self.brief.wide < 1.15

    @property
    def stacked(self) -> bool:
        """Companions stand before the newest thing, not beside it: on tall sheets, unless a shore must carry all."""
        return self.tall and not (self.wet and any(s.pictogram.poise == "ground" for s in self.standing))

    @property
    def wet(self) -> bool:
        return self.near_kind == "waves"

    @property
    def top(self) -> float:
        return self.brief.margin * 0.75

    @property
    def base(self) -> float:
        """Where feet stand on the near ground."""
        return self.type_top - self.spare * 0.055

    @property
    def shore(self) -> float:
        """Where feet stand behind water."""
        return self.near + self.spare * 0.012

    @property
    def reach(self) -> float:
        """How far the far ridge rises."""
        reach = self.spare * {"peaks": 0.5, "city": 0.34, "forest": 0.3}.get(self.far_kind, 0.2)
        return min(reach, self.brief.width * 0.13) if self.far_kind == "forest" else reach

    @property
    def near_reach(self) -> float:
        return self.spare * 0.1

    @property
    def light(self) -> float:
        return -1.0 if self.sun[0] < self.brief.width / 2 else 1.0

    @property
    def sky(self) -> RGB:
        """What the halftone sky looks like from afar."""
        inks = self.brief.inks
        if self.brief.night:
            return mix(inks.key, inks.sky, 0.35)
        return mix(inks.paper, overprint(inks.paper, inks.sky), 0.45)


def split_subjects(brief: Brief) -> tuple[list[Subject], list[Subject]]:
    """What stands (or floats), and what hangs in the sky; the newest first in each.

    What the land, the air or the disc in the sky shows by itself gets no pictogram: a river is water in front, rain
    falls. A road, a mountain or a city alone is shown by its pictogram all the same.
    """
    subjects = [s for s in brief.subjects if s.lemma not in surroundings.DISCS | surroundings.LAND_ITSELF]
    if not subjects:
        subjects = [s for s in brief.subjects[:1] if s.lemma not in surroundings.DISCS | surroundings.WATER_BODIES]
    standing = [s for s in subjects if s.pictogram.poise != "sky"]
    flying = [s for s in subjects if s.pictogram.poise == "sky"]
    return standing, flying


def _open(brief: Brief, layout: str) -> Plan:
    plan = Plan(layout)
    inks, margin = brief.inks, brief.margin
    bare = layout == "landscape"
    tall = brief.wide < 1.15
    align = "right" if brief.chance(0.22) else "left"
    long = len(brief.title) > 56
    glowing = brief.night or brief.chance(0.25)
    plan.blocks, plan.dots, type_top = text_foot(
        brief,
        left=margin,
        right=brief.width - margin,
        bottom=brief.height - 0.82 * margin,
        title_height=brief.height * (0.3 if bare else 0.24 if long else 0.22 if tall else 0.2),
        largest=(108 if bare else 74 if tall else 78) * brief.unit,
        align=align,
        most_lines=3 if tall or long else 2,
        wishes=[inks.pop, inks.paper] if glowing else [inks.paper],
    )
    land = _survey(brief, layout, type_top)
    if land.hero is not None:
        plan.figures.append(_hero(land, land.hero))
    plan.figures += _companions(land, plan.figures[0] if plan.figures else None)
    plan.figures += _flyers(land)
    _print(plan, land)
    return plan


def _survey(brief: Brief, layout: str, type_top: float) -> _Land:
    """Choose the land and measure it: horizons, the newest thing's place, the sun."""
    draw, width, margin = brief.draw, brief.width, brief.margin
    standing, flying = split_subjects(brief) if layout != "landscape" else ([], [])
    tall = brief.wide < 1.15
    far_kind, near_kind = grounds.lands(brief)
    spare = max(type_top - margin, 8.0)
    near = type_top - spare * float(draw.uniform(0.15, 0.2)) - (spare * 0.04 if near_kind == "waves" else 0)
    far = near - spare * float(draw.uniform(0.1, 0.17))

    hero_flies = bool(flying) and (not standing or brief.subjects.index(flying[0]) < brief.subjects.index(standing[0]))
    hero = (flying if hero_flies else standing).pop(0) if standing or flying else None
    side = -1.0 if brief.chance(0.5) else 1.0
    ashore = near_kind == "waves" and any(s.pictogram.poise == "ground" for s in standing)
    centred = (tall and not ashore) or (layout == "night" and not hero_flies and not tall)
    hero_cx = width * (0.5 if centred else 0.5 + side * float(draw.uniform(0.17, 0.24)))

    # The sun leans from the newest thing towards the sheet's middle; a moon stands right behind it.
    sun_ink = brief.inks.sun
    if layout == "night":
        radius = min(spare * float(draw.uniform(0.36, 0.43)), width * 0.36)
        sun = (hero_cx - side * radius * 0.25, margin + spare * float(draw.uniform(0.36, 0.42)))
        sun_ink = brief.inks.pop if brief.chance(0.45) else brief.inks.paper if brief.chance(0.5) else sun_ink
    elif hero is None:
        radius = min(spare * float(draw.uniform(0.4, 0.5)), width * 0.34)
        sun = (width * float(draw.uniform(0.3, 0.7)), far - radius * float(draw.uniform(0.05, 0.6)))
    else:
        named = brief.subjects[0].lemma in surroundings.DISCS
        radius = min(spare * (0.44 if named else float(draw.uniform(0.27, 0.38))), width * 0.33)
        low = brief.mood == "sad" or brief.time_of_day == "dusk"
        sun_y = far - radius * 0.3 if low else margin * 0.6 + spare * float(draw.uniform(0.3, 0.46))
        sun = (hero_cx - side * width * (0.2 if tall else 0.18) * float(draw.uniform(0.6, 1.2)), sun_y)
    return _Land(
        brief=brief,
        layout=layout,
        standing=standing[:5],
        flying=flying[:3],
        hero=hero,
        far_kind=far_kind,
        near_kind=near_kind,
        type_top=type_top,
        spare=spare,
        near=near,
        far=far,
        side=side,
        hero_cx=hero_cx,
        sun=sun,
        radius=radius,
        sun_ink=sun_ink,
    )


def _hero(land: _Land, subject: Subject) -> Figure:
    """The newest thing: in the air, on the ground, on the shore or in the water."""
    brief, inks, spare = land.brief, land.brief.inks, land.spare
    glyph = subject.pictogram.glyph
    if subject.pictogram.poise == "sky":
        most = brief.width * (0.62 if land.tall else 0.4)
        size = size_of(glyph, min(spare * 0.5, most), most, (land.far - land.top) * 0.72)
        ink = figure_inks(brief, [land.sky, land.sun_ink], 1)[0]
        foot = land.top + (land.far - land.top) * 0.5 + size[1] / 2
        return stand(brief, subject, cx=land.hero_cx, base=foot, size=size, ink=ink, hero=True, light=land.light)

    floats = land.wet and subject.pictogram.poise == "water"
    # On a tall sheet the companions get a row of their own in front.
    step = spare * 0.22 if land.stacked and land.standing and not land.wet else 0.0
    foot = land.near + land.near_reach * 0.5 if floats else land.shore if land.wet else land.base - step
    most = brief.width * (0.66 if land.stacked else 0.46)
    alone = not land.standing and not land.flying
    target = min(spare * (0.8 if alone else 0.68), most * 0.95)
    size = size_of(glyph, target, most, foot - land.top - spare * 0.03)
    moonlit = land.layout == "night" and land.sun_ink != inks.sun and not land.tall
    if moonlit and land.radius * 2 > max(size) * 1.25 and apart(inks.key, [inks.back, inks.front]) > 0.1:
        ink = inks.key  # a silhouette before the moon
    else:
        behind = [land.sky, land.sun_ink, inks.back] if land.layout == "night" else [land.sky, inks.back, inks.front]
        ink = figure_inks(brief, behind, 1, unlike=land.sun_ink)[0]
    lean = float(brief.draw.uniform(-1.6, 1.6))
    figure = stand(
        brief, subject, cx=land.hero_cx, base=foot, size=size, ink=ink, angle=lean, hero=True, light=land.light
    )
    if land.wet:
        figure.afloat, figure.stands = True, False
    return figure


def _companions(land: _Land, hero: Figure | None) -> list[Figure]:
    """The other things in one row: beside the newest thing, on both sides of it, or before it on a tall sheet."""
    brief, spare = land.brief, land.spare
    behind = [land.sky] if land.wet else [land.sky, brief.inks.back, brief.inks.front]
    colours = figure_inks(brief, behind, len(land.standing), clear_from=0.14)
    start, stop = brief.margin, brief.width - brief.margin
    beside = hero is not None and hero.box.bounds()[3] > land.far
    spans = [(land.standing, colours, start, stop)]
    if hero is not None and beside and not land.stacked:
        x0, _, x1, _ = hero.box.bounds()
        gap = brief.width * 0.032
        half = (len(land.standing) + 1) // 2
        if abs(land.hero_cx - brief.width / 2) < 1:
            spans = [
                (land.standing[:half], colours[:half], x1 + gap, stop),
                (land.standing[half:], colours[half:], start, x0 - gap),
            ]
        else:
            spans = [(land.standing, colours, *((x1 + gap, stop) if land.side < 0 else (start, x0 - gap)))]
    target = min(spare * 0.19, brief.width * 0.2) if land.stacked and beside else spare * 0.3
    figures: list[Figure] = []
    for subjects, inks, left, right in spans:
        some = row(
            brief,
            subjects,
            left=left,
            right=right,
            base=land.base,
            target=target,
            tallest=spare * 0.41,
            inks=inks,
            light=land.light,
            jitter=spare * 0.012,
        )
        for subject, figure in zip(subjects, some, strict=False):
            if land.wet:
                figure.stands = False
            if land.wet and subject.pictogram.poise == "ground":
                # What does not swim stands on the far shore; the water is printed over its foot.
                box = figure.box
                figure.box = Box(box.cx, land.shore - box.height / 2, box.width, box.height, box.angle_deg)
                figure.afloat = True
        figures += some
    return figures


def _flyers(land: _Land) -> list[Figure]:
    """Things of the air, over the side that the newest thing leaves free, each at another height."""
    brief, spare, width, margin = land.brief, land.spare, land.brief.width, land.brief.margin
    colours = figure_inks(brief, [land.sky], len(land.flying), unlike=land.sun_ink)
    figures = []
    for index, (subject, ink) in enumerate(zip(land.flying, colours, strict=True)):
        size = size_of(subject.pictogram.glyph, spare * (0.22 - 0.03 * index), width * 0.25, spare * 0.26)
        away = (0.78, 0.92, 0.7)[index] if land.hero is not None and not land.tall else (0.8, 0.16, 0.5)[index]
        cx = width * (away if land.side < 0 else 1 - away)
        cx = min(max(cx, margin + size[0] / 2), width - margin - size[0] / 2)
        foot = land.top + spare * (0.08 + 0.06 * ((index + 1) % 2)) + size[1]
        figures.append(stand(brief, subject, cx=cx, base=foot, size=size, ink=ink, light=land.light))
    return figures


def _print(plan: Plan, land: _Land) -> None:
    """Sky, sun, land and reflections as runs of the press."""
    brief, inks, draw = land.brief, land.brief.inks, land.brief.draw
    if brief.night:
        plan.stock = inks.key
    sun_ink = land.sun_ink
    if land.layout == "night":
        style = "moon" if sun_ink != inks.sun and brief.chance(0.75) else "disc"
        if land.hero is None and brief.chance(0.4):
            style = "crescent"
        sky_style = brief.pick("rise", "rise", "glow")
    else:
        style = (
            brief.pick("stripes", "disc", "rings") if land.hero is None else brief.pick("blob", "blob", "disc", "pair")
        )
        if brief.time_of_day == "dusk" and brief.chance(0.6):
            style = "stripes"
        if brief.lemmas & {"moon", "moonlight"}:
            style, sun_ink = "moon", inks.pop
        sky_style = (
            brief.pick("lines", "fall")
            if brief.mood == "tense"
            else brief.pick("fall", "fall", "glow", "lines", "rise")
        )
    if brief.mood in ("bright", "festive") and land.layout == "scene" and brief.chance(0.45):
        ray_ink = mix(inks.key, inks.sky, 0.3) if brief.night else mix(inks.paper, inks.sky, 0.4)
        plan.before += grounds.burst(brief, land.sun, ray_ink, int(draw.integers(12, 20)), cover=1.0)
    plan.before += grounds.sun(brief, *land.sun, land.radius, style=style, ink=sun_ink)
    plan.before += grounds.halftone_sky(brief, land.far + land.reach * 0.5, style=sky_style, centre=land.sun)
    plan.before += grounds.weather(brief, land.far)
    plan.before += grounds.far_land(brief, land.far_kind, land.far, land.reach)
    plan.between += grounds.near_land(brief, land.near_kind, land.near, land.near_reach, land.type_top)
    if land.wet and land.hero is not None and land.hero.pictogram.poise == "water":
        plan.between.append(_mirror(land, plan.figures[0]))


def _mirror(land: _Land, figure: Figure) -> Pass:
    def run(sheet: Sheet) -> None:
        top, foot = land.near + land.near_reach * 0.1, land.type_top - 5 * land.brief.unit
        stamp.print_reflection(sheet, land.brief, figure, top, foot)

    return run

"""Words that shape the land and the air of a poster, beside (or instead of) their pictograms."""

from __future__ import annotations


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


WATER_BODIES = _set("water river sea lake ocean wave stream pond creek canal bay surf")
"""Water itself: shown by the near ground."""

WATERS = WATER_BODIES | _set(
    "beach coast seaside shore harbor harbour port pier dock marina island ship boat ferry sailboat yacht liner "
    "steamer vessel regatta lighthouse swimming swimmer fishing"
)
"""Water in front."""

PEAKS = _set(
    "mountain mountains mount peak summit hill cliff rock alps valley ski skier skiing hike hiker hiking volcano"
)
"""Mountains behind."""

CITIES = _set(
    "city downtown metropolis street skyscraper office town skyline avenue boulevard capital apartment taxi subway tram"
)
"""A skyline behind."""

FORESTS = _set("forest wood woods grove taiga tree pine fir spruce camp tent campfire")
"""A row of trees behind."""

FIELDS = _set("field meadow farm garden wheat harvest cow horse tractor village grass lawn orchard")
"""Soft hills."""

ROADS = _set("road highway motorway street lane path pathway avenue track freeway")
"""Ways: part of the ground."""

SNOWS = _set("snow winter snowflake blizzard snowfall frost ice snowman sleigh")
"""Snow in the air."""

RAINS = _set("rain drizzle downpour shower storm thunderstorm rainfall")
"""Rain in the air."""

DISCS = _set("sun sunrise sunset sunshine sunlight moon moonlight")
"""What the loose shape in the sky shows by itself, also as the newest thing."""

LAND_ITSELF = ROADS | _set(
    "city town downtown metropolis skyline forest wood woods grove taiga mountain mountains hill valley summit peak "
    "alps snow winter snowfall rain drizzle rainfall field landscape"
)
LAND_ITSELF |= WATER_BODIES
"""Things that the land or the weather shows by itself; beside others they need no pictogram."""

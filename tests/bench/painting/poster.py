"""The poster, which needs no weights."""

from __future__ import annotations

import time

from tests.bench.figures import Figure, median, percentile
from workers.engines.paint.poster import PosterPainter
from workers.messages import PaintRequest, Scene, Thing, VoiceShare
from workers.pictures import make_picture

SCENES = [
    ("a wooden bridge", ["bridge", "tree", "house", "river"], "day", "calm"),
    ("a launch in March", ["rocket", "people", "calendar"], "day", "bright"),
    ("lanterns by the water", ["lamp", "boat", "moon"], "night", "calm"),
    ("the budget", ["money", "chart"], "day", "tense"),
    ("a long talk about nothing", [], "dusk", "calm"),
]
PICTURES = 20


def figures() -> list[Figure]:
    painter = PosterPainter()
    painter.load()
    paint_ms, whole_ms = [], []
    layout = ""
    for number in range(PICTURES):
        title, things, time_of_day, mood = SCENES[number % len(SCENES)]
        scene = Scene(
            title=title,
            things=[Thing(label=thing, english=thing) for thing in things],
            phrases=[title],
            mood=mood,
            time_of_day=time_of_day,
            voices=[VoiceShare("#f4b04a", 0.6), VoiceShare("#7fb2bd", 0.4)],
            previous_layout=layout,
            number=number,
        )
        request = PaintRequest(id=str(number), meeting=1, prompt="", negative="", scene=scene, seed=number)
        start = time.perf_counter()
        layout = painter.paint(request).layout
        paint_ms.append((time.perf_counter() - start) * 1000)
        start = time.perf_counter()
        make_picture(request)
        whole_ms.append((time.perf_counter() - start) * 1000)
    note = "poster, 1024×576"
    return [
        median("poster_ms_p50", paint_ms, "ms", target=300, note=note),
        percentile("poster_ms_p95", paint_ms, 95, "ms", note=note),
        median("poster_encoded_ms_p50", whole_ms, "ms", note="with WebP and thumbnail"),
    ]

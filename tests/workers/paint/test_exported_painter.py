"""Exported models paint what torch paints, whatever is asked of them."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.workers.paint.exported_models import SIZE, copy_of, exported_sd, exported_xl, request
from workers.engines.base import Cancelled, EngineError
from workers.engines.paint.diffusion.painter import DiffusersPainter
from workers.engines.paint.exported.export import write_graph
from workers.engines.paint.exported.graphs import Checker, Graph
from workers.engines.paint.exported.manifest import CHECKER, FILE, FOLDER
from workers.engines.paint.exported.painter import ExportedPainter
from workers.engines.paint.exported.parts import Part
from workers.engines.paint.exported.sessions import Session
from workers.messages import Reference

pytestmark = pytest.mark.slow

RUNTIMES = ["openvino", "onnxruntime"]


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported_sd(tmp_path_factory)[0]


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported_xl(tmp_path_factory)


@pytest.fixture(scope="module")
def painter(sd: Path) -> ExportedPainter:
    return ExportedPainter(str(sd), {"dtype": "float32"})


@pytest.fixture(scope="module")
def torch_painters(sd: Path, xl: Path) -> dict[str, DiffusersPainter]:
    settings = {"device": "cpu", "dtype": "float32"}
    return {folder.name: DiffusersPainter(str(folder), settings) for folder in (sd, xl)}


def pixels(painter: Any, **values: object) -> np.ndarray:
    return np.asarray(painter.paint(request(**values)).image).astype(int)


def photo(colour: str = "orange", size: tuple[int, int] = SIZE) -> bytes:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.paste(colour, (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def reference(image: bytes, use: str = "start", strength: float = 0.6) -> Reference:
    return Reference(image, use, strength, hashlib.sha256(image).hexdigest())


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    "asked", [{"steps": 4}, {"steps": 1}, {"steps": 3, "guidance": 3.0, "negative": "text"}], ids=str
)
@pytest.mark.parametrize("model", ["sd", "xl"])
def test_the_same_seed_gives_the_picture_of_torch(
    model: str,
    asked: dict,
    runtime: str,
    torch_painters: dict[str, DiffusersPainter],
    request: pytest.FixtureRequest,
) -> None:
    folder = request.getfixturevalue(model)
    ours = pixels(ExportedPainter(str(folder), {"runtime": runtime, "dtype": "float32"}), **asked)
    theirs = pixels(torch_painters[folder.name], width_px=SIZE[0], height_px=SIZE[1], **asked)
    assert theirs.std() > 1
    assert np.abs(ours - theirs).max() <= 1


def test_bfloat16_paints_nearly_the_same(sd: Path, painter: ExportedPainter) -> None:
    rough = pixels(ExportedPainter(str(sd), {"runtime": "openvino", "dtype": "bfloat16"}), steps=4)
    assert np.abs(rough - pixels(painter, steps=4)).mean() < 3


def test_a_picture_starts_from_an_image_as_with_torch(
    painter: ExportedPainter, torch_painters: dict[str, DiffusersPainter]
) -> None:
    asked: dict[str, Any] = {"steps": 4, "references": [reference(photo(), strength=0.5)]}
    ours = painter.paint(request(**asked))
    theirs = torch_painters["tiny-sd"].paint(request(width_px=SIZE[0], height_px=SIZE[1], **asked))
    assert (ours.steps, ours.compromises) == (theirs.steps, []) == (2, [])
    assert np.abs(np.asarray(ours.image).astype(int) - np.asarray(theirs.image)).max() <= 1
    assert not np.array_equal(np.asarray(ours.image), pixels(painter, steps=4))


def test_it_says_what_it_is_and_what_it_took(sd: Path, painter: ExportedPainter) -> None:
    painted = painter.paint(request())
    assert (painted.image.size, painted.image.mode, painted.seed) == (SIZE, "RGB", 7)
    assert painted.steps == 4
    assert set(painted.timings_ms) == {"text", "denoise", "decode"}
    assert painted.peak_memory_mb > 0
    facts = painter.facts()
    assert (facts.name, facts.model, facts.device, facts.demo) == ("onnx", "tiny-sd", "cpu", False)


def test_every_step_is_reported_with_a_preview_where_somebody_looks(painter: ExportedPainter) -> None:
    seen: list[tuple[int, int, Image.Image | None]] = []
    painter.paint(request(steps=4), lambda *step: seen.append(step))
    assert seen == [(1, 4, None), (2, 4, None), (3, 4, None), (4, 4, None)]
    seen.clear()
    painter.paint(request(steps=4, previews=True), lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    first = seen[0][2]
    assert first is not None and first.width == 2 * first.height


def test_it_stops_when_the_picture_is_not_wanted_any_more(painter: ExportedPainter) -> None:
    seen: list[int] = []

    def cancel(step: int, steps: int, preview: object) -> None:
        seen.append(step)
        raise Cancelled

    with pytest.raises(Cancelled):
        painter.paint(request(steps=4), cancel)
    assert seen == [1]
    assert painter.paint(request(steps=1)).image.size == SIZE


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"width_px": 96, "height_px": 64}, (96, 64)),
        ({"width_px": 131, "height_px": 67}, (131, 67)),
        ({"height_px": 128}, (256, 128)),
        ({"width_px": 100_000, "height_px": 50_000}, (2048, 1024)),
        ({"width_px": -5, "height_px": 0}, SIZE),
    ],
    ids=str,
)
def test_another_size_is_met_by_resizing(asked: dict, size: tuple[int, int], painter: ExportedPainter) -> None:
    assert painter.paint(request(steps=1, **asked)).image.size == size


@pytest.mark.parametrize(
    "prompt",
    ["", "   ", "bridge " * 1500, "x" * 10_000, "🌉🦄" * 50, "جسر خشبي فوق النهر", "деревянный мост", "橋\u202e\x00"],
    ids=lambda text: repr(text[:8]),
)
def test_any_prompt_gives_a_picture(prompt: str, painter: ExportedPainter) -> None:
    assert painter.paint(request(prompt=prompt, steps=1)).image.size == SIZE


@pytest.mark.parametrize(("steps", "taken"), [(0, 4), (-3, 4), (10_000, 50)])
def test_odd_numbers_of_steps_are_put_right(steps: int, taken: int, painter: ExportedPainter) -> None:
    assert painter.paint(request(steps=steps)).steps == taken


def test_references_that_it_cannot_use_are_left_out(painter: ExportedPainter) -> None:
    plain = pixels(painter, steps=2)
    for bad, code in (
        (reference(photo(), "style"), "reference_ignored"),
        (reference(photo(), "depth"), "reference_ignored"),
        (reference(b"not an image"), "reference_unreadable"),
    ):
        painted = painter.paint(request(steps=2, references=[bad]))
        assert painted.compromises == [code]
        assert np.array_equal(np.asarray(painted.image), plain)


def test_of_two_images_to_start_from_the_first_counts(painter: ExportedPainter) -> None:
    first, second = reference(photo()), reference(photo("blue"))
    painted = painter.paint(request(steps=2, references=[first, second]))
    assert painted.compromises == ["reference_ignored"]
    assert np.array_equal(np.asarray(painted.image), pixels(painter, steps=2, references=[first]))


def test_a_second_picture_loads_nothing_and_a_known_prompt_is_not_encoded_again(painter: ExportedPainter) -> None:
    before = painter.paint(request(prompt="a new boat", steps=1))
    sessions = {name: part._session for name, part in painter._parts.items()}
    again = painter.paint(request(prompt="a new boat", steps=1))
    assert {name: part._session for name, part in painter._parts.items()} == sessions
    assert again.timings_ms["text"] < before.timings_ms["text"]


def test_it_paints_the_same_after_it_was_unloaded(painter: ExportedPainter) -> None:
    before = pixels(painter, steps=2)
    painter.unload()
    painter.unload()
    assert np.array_equal(before, pixels(painter, steps=2))


def test_a_graph_that_gives_no_numbers_is_tried_in_float32_and_then_given_up(sd: Path, tmp_path: Path) -> None:
    folder = copy_of(sd, tmp_path)
    weights = folder / "onnx" / "vae_decoder.onnx.data"
    weights.write_bytes(b"\xff" * weights.stat().st_size)  # NaN in every format
    painter = ExportedPainter(str(folder), {"runtime": "openvino", "dtype": "bfloat16"})
    with pytest.raises(EngineError) as caught:
        painter.paint(request(steps=1))
    assert caught.value.code == "black_picture"
    assert painter._parts["vae_decoder"].widened


def test_a_part_that_fails_in_half_precision_stays_in_float32() -> None:
    opened: list[str] = []

    class Failing(Session):
        """Overflows, but in float32, as graphics cards and some processors do."""

        def __init__(self, precision: str) -> None:
            self.precision = precision

        def run(self, **inputs: np.ndarray) -> list[np.ndarray]:
            values = inputs["values"] * 2
            return [values if self.precision == "float32" else values * np.float32("nan")]

    def open_graph(name: str, precision: str) -> Session:
        opened.append(precision)
        return Failing(precision)

    part = Part("unet", "bfloat16", open_graph)
    ones = np.ones(3, dtype=np.float32)
    assert part.run(values=ones)[0].tolist() == [2, 2, 2]
    assert part.run(values=ones)[0].tolist() == [2, 2, 2]
    assert opened == ["bfloat16", "float32"] and part.widened


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"runtime": "tensorflow"}, "bad_setting"), ({"dtype": "int3"}, "bad_setting"), ({"colour": 1}, "bad_setting")],
    ids=str,
)
def test_settings_that_cannot_be_are_named(settings: dict, code: str, sd: Path) -> None:
    with pytest.raises(EngineError) as caught:
        ExportedPainter(str(sd), settings).load()
    assert caught.value.code == code and str(next(iter(settings))) in str(caught.value)


def test_the_checker_that_came_with_the_model_refuses(sd: Path, tmp_path: Path) -> None:
    import torch

    from tests.workers.tiny_models import tiny_safety_checker

    folder = copy_of(sd, tmp_path)
    checker = tiny_safety_checker(strict=True)
    side = checker.config.vision_config.image_size
    graph = Graph(CHECKER, Checker(checker), {"pixels": torch.zeros(1, 3, side, side)}, ("score",))
    write_graph(graph, folder / FOLDER, int8=False)
    claims = json.loads((folder / FOLDER / FILE).read_text())
    claims["files"] = {name: (folder / FOLDER / name).stat().st_size for name in claims["files"]}
    (folder / FOLDER / FILE).write_text(json.dumps(claims))
    with pytest.raises(EngineError) as caught:
        ExportedPainter(str(folder)).paint(request(steps=1))
    assert caught.value.code == "blocked_picture"


@pytest.mark.parametrize("strict", [True, False])
def test_the_exported_checker_judges_as_the_one_of_diffusers(strict: bool) -> None:
    import torch

    from tests.workers.tiny_models import tiny_safety_checker

    checker = tiny_safety_checker(strict=strict)
    side = checker.config.vision_config.image_size
    pictures = torch.randn(8, 3, side, side, generator=torch.Generator().manual_seed(1))
    _, theirs = checker(pictures, torch.zeros(8, 3, 8, 8))
    with torch.no_grad():
        ours = [round(float(Checker(checker)(picture[None])[0]), 3) > 0 for picture in pictures]
    assert ours == theirs == [strict] * 8

"""An export is whole or it is not there, and it says of which model and by whom it was made."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from meetviz_site.management.model_export import parse_size
from tests.workers.paint.exported_models import SIZE, copy_of, exported_sd
from workers.engines.base import EngineError
from workers.engines.paint.exported import manifest
from workers.engines.paint.exported.export import export, write_graph
from workers.engines.paint.exported.painter import ExportedPainter
from workers.engines.paint.exported.sessions import chosen_runtime, open_session

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported_sd(tmp_path_factory)[0]


@pytest.fixture
def own(sd: Path, tmp_path: Path) -> Path:
    return copy_of(sd, tmp_path)


def why_missing(folder: Path) -> str:
    with pytest.raises(EngineError) as caught:
        ExportedPainter(str(folder)).load()
    assert caught.value.code == "model_missing"
    assert f"manage.py models export {folder}" in str(caught.value)
    return str(caught.value)


def change(folder: Path, **values: object) -> None:
    file = folder / manifest.FOLDER / manifest.FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_the_command_makes_it_part_by_part_and_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, said = exported_sd(tmp_path_factory)
    assert "tiny-sd: text_encoder (0/5)" in said and "tiny-sd: unet (1/5)" in said
    assert re.search(rf"Exported in \d+ s: {re.escape(str(folder / 'onnx'))} \(\d+ MB\)", said)


def test_it_says_of_which_model_it_is_and_how_it_was_made(sd: Path) -> None:
    found = manifest.read(sd)
    assert (found.model, found.width_px, found.height_px, found.decoder) == ("tiny-sd", *SIZE, "tiny")
    assert found.wants.distilled == "lcm" and found.scheduler == "LCMScheduler"
    assert found.can_start_from_image and found.checks and found.weights == "exact"
    assert found.source == manifest.fingerprint(sd)
    assert set(found.versions) >= {"torch", "onnx"}
    assert {path.name for path in (sd / "onnx").glob("*.onnx*")} == set(found.files)


def test_the_shapes_are_static(sd: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(sd / "onnx" / "unet.onnx"), providers=["CPUExecutionProvider"])
    shapes = {value.name: value.shape for value in session.get_inputs()}
    assert shapes == {"latents": [1, 4, SIZE[1] // 8, SIZE[0] // 8], "timestep": [1], "embeddings": [1, 77, 8]}


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "onnx" / "unet.onnx").unlink(), "not whole (unet.onnx)"),
        (lambda folder: (folder / "onnx" / "unet.onnx.data").write_bytes(b"half"), "not whole (unet.onnx.data)"),
        (lambda folder: (folder / "onnx" / "export.json").unlink(), "not whole"),
        (lambda folder: (folder / "onnx" / "export.json").write_text("{"), "not whole"),
        (lambda folder: change(folder, format=0), "another version"),
        (lambda folder: change(folder, width_px="wide"), "damaged"),
        (lambda folder: change(folder, family={"kind": "sd1"}), "damaged"),
        (lambda folder: change(folder, files={}), "damaged"),
        (lambda folder: change(folder, files={"../model_index.json": 1, **_files(folder)}), "not whole"),
        (lambda folder: (folder / "unet" / "config.json").write_text("{}"), "changed after its export"),
        (lambda folder: (folder / "onnx").rename(folder / "elsewhere"), "not exported yet"),
        (lambda folder: change(folder, scheduler="NoSuchScheduler"), "NoSuchScheduler"),
    ],
)
def test_what_is_not_whole_is_refused_with_what_to_do(own: Path, harm: Callable[[Path], object], words: str) -> None:
    harm(own)
    assert words in why_missing(own)


def _files(folder: Path) -> dict[str, int]:
    return json.loads((folder / "onnx" / "export.json").read_text())["files"]


def test_no_folder_at_all_is_said(tmp_path: Path) -> None:
    assert "no such folder" in why_missing(tmp_path / "nothing")


def test_the_export_alone_with_its_tokenizer_is_enough(own: Path, sd: Path) -> None:
    for part in ("unet", "vae", "text_encoder", "safety_checker", "scheduler", "meetviz"):
        (own / part).rename(own.parent / part)
    assert ExportedPainter(str(own)).facts().model == "tiny-sd"
    ExportedPainter(str(own)).load()
    (own / "tokenizer").rename(own.parent / "tokenizer")
    assert "tokenizer" in why_missing(own)


def test_stopped_on_the_way_it_leaves_what_was_there(own: Path) -> None:
    before = {file: file.read_bytes() for file in sorted((own / "onnx").iterdir())}
    seen: list[str] = []

    def stop(part: str, done: int, parts: int) -> None:
        seen.append(part)
        if part == "unet":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(own, width_px=64, height_px=64, on_progress=stop)
    assert seen == ["loading", "text_encoder", "unet"]
    assert {file: file.read_bytes() for file in sorted((own / "onnx").iterdir())} == before
    assert not list(own.glob(".onnx-*"))
    ExportedPainter(str(own)).load()


def test_what_a_killed_export_left_is_swept_away_and_that_of_a_living_one_is_not(own: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, living = own / f".onnx-{dead.pid}-abc", own / f".onnx-{os.getppid()}-def"
    for folder in (left, living):
        (folder / "half").mkdir(parents=True)

    def stop(part: str, done: int, parts: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(own, on_progress=stop)
    assert not left.exists() and living.exists()


def test_a_folder_without_a_model_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        export(tmp_path)
    assert caught.value.code == "model_missing"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_int8_weights_are_a_quarter_and_nearly_right(runtime: str, tmp_path: Path) -> None:
    import torch
    from torch import nn

    from workers.engines.paint.exported.graphs import Graph

    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.deep = nn.Conv2d(8, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)
            self.line = nn.Linear(64, 128)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            mixed = self.deep(torch.relu(self.wide(image)))
            return self.line(mixed.flatten(2).transpose(1, 2))

    torch.manual_seed(0)
    layers = Layers().eval()
    image = torch.randn(1, 8, 16, 16)
    graph = Graph("layers", layers, {"image": image}, ("sum",))
    sizes = {}
    outputs = {}
    for int8 in (False, True):
        folder = tmp_path / str(int8)
        folder.mkdir()
        write_graph(graph, folder, int8=int8)
        session = open_session(folder / "layers.onnx", runtime=runtime, precision="float32")
        (outputs[int8],) = session.run(image=image.numpy())
        sizes[int8] = (folder / "layers.onnx.data").stat().st_size
    with torch.no_grad():
        right = layers(image).numpy()
    assert np.abs(outputs[False] - right).max() < 1e-4
    assert 0 < np.abs(outputs[True] - right).mean() < 0.02 * np.abs(right).mean()
    assert sizes[True] < 0.5 * sizes[False]


def test_weights_that_were_float16_are_stored_so_and_are_the_same(tmp_path: Path) -> None:
    import torch
    from torch import nn

    from workers.engines.paint.exported.graphs import Graph

    torch.manual_seed(0)
    line = nn.Linear(256, 256).half().float().eval()
    ones = torch.randn(1, 256)
    write_graph(Graph("line", line, {"input": ones}, ("sum",)), tmp_path, int8=False)
    assert (tmp_path / "line.onnx.data").stat().st_size < 3 * 256 * 256
    (out,) = open_session(tmp_path / "line.onnx", runtime="onnxruntime").run(input=ones.numpy())
    with torch.no_grad():
        assert np.abs(out - line(ones).numpy()).max() < 1e-5


def test_openvino_keeps_what_it_compiled_beside_the_graphs(own: Path) -> None:
    open_session(own / "onnx" / "vae_decoder.onnx", runtime="openvino")
    kept = {file: file.stat().st_mtime_ns for file in (own / "onnx" / "cache").iterdir()}
    assert kept
    open_session(own / "onnx" / "vae_decoder.onnx", runtime="openvino")
    assert {file: file.stat().st_mtime_ns for file in (own / "onnx" / "cache").iterdir()} == kept
    manifest.read(own)


def test_openvino_is_taken_where_nobody_says_otherwise() -> None:
    assert chosen_runtime() == "openvino"
    assert chosen_runtime("onnxruntime") == "onnxruntime"


def test_importing_painter_and_export_imports_no_torch() -> None:
    source = "import sys, workers.engines.paint.exported.painter, workers.engines.paint.exported.export; "
    source += "sys.exit('torch' in sys.modules or 'openvino' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], cwd=Path(__file__).parents[3], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "size"), [("512x512", (512, 512)), ("768×512", (768, 512)), ("640", (640, 640)), (" 64 X 96 ", (64, 96))]
)
def test_sizes_are_read_as_people_write_them(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "512x", "big", "1x1", "-5x5", "512x512x512", "99999x8"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="512x512"):
        parse_size(text)


@pytest.mark.parametrize("name", ["no-such-model", "/nowhere/at/all"])
def test_the_command_knows_models_and_folders_only(name: str) -> None:
    with pytest.raises(CommandError, match="no model"):
        call_command("models", "export", name, stdout=io.StringIO(), stderr=io.StringIO())


def test_the_command_says_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"model_index\.json"):
        call_command("models", "export", str(tmp_path), stdout=io.StringIO(), stderr=io.StringIO())

"""The catalogue agrees with the libraries that load what it names."""

from __future__ import annotations

from pathlib import Path

import pytest
from faster_whisper.utils import _MODELS

from workers.models.catalogue import CATALOGUE, Commercial, Role
from workers.models.entries import is_plain_path, matches

PAINT = [model for model in CATALOGUE.values() if model.role == Role.PAINT]
USES = {"start", "style", "subject", "depth", "canny", "scribble"}


def test_the_repositories_are_those_that_faster_whisper_names() -> None:
    for model in CATALOGUE.values():
        if model.role == Role.SPEECH:
            assert model.repository == _MODELS[model.name.removeprefix("whisper-")], model.name


def test_what_is_written_down_of_each_model() -> None:
    for name, model in CATALOGUE.items():
        assert name == model.name and model.licence and model.note
        if model.role != Role.PAINT:
            assert model.licence in ("MIT", "Apache-2.0") and not model.opt_in
            assert model.commercial == Commercial.YES
        assert 50_000_000 < model.size_bytes < 8_000_000_000


def test_turbo_and_distilled_models_do_not_translate() -> None:
    assert [name for name, model in CATALOGUE.items() if model.role == Role.SPEECH and not model.translates] == [
        "whisper-large-v3-turbo", "distil-large-v3",
    ]  # fmt: skip


TRAVERSALS = ("vocabulary./../../x", "../model.bin", "/model.bin", ".model.bin", ".git/model.bin", "model.bin/", "",
              "sub//model.bin", "./model.bin", "sub/../model.bin", "C:\\model.bin", "a\nb", "a/" * 9 + "x",
              "x" * 400)  # fmt: skip


def test_only_plain_names_belong_to_a_model() -> None:
    model = CATALOGUE["whisper-base"]
    assert model.wants("vocabulary.json") and model.wants("model.bin")
    for name in (*TRAVERSALS, "sub/model.bin", "model.bin.part"):
        assert not model.wants(name) and not model.sources[0].place_of(name), name


@pytest.mark.parametrize("name", TRAVERSALS)
def test_what_leads_out_of_a_folder_is_no_plain_path(name: str) -> None:
    assert not is_plain_path(name)


def test_a_star_stands_for_a_part_of_one_name_and_for_no_folder() -> None:
    assert matches("tokenizer/vocab.json", "tokenizer/*.json")
    assert not matches("tokenizer/old/vocab.json", "tokenizer/*.json")
    assert not matches("vocab.json", "tokenizer/*.json") and not matches("tokenizer/vocab.json", "*.json")


# Painting


def test_the_paint_models_are_those_that_profiles_and_pages_name() -> None:
    assert [model.name for model in PAINT] == [
        "sd15-lcm", "sd-turbo", "sdxl-turbo", "sdxl-lightning", "sdxl-lcm", "sdxs",
    ]  # fmt: skip
    assert {model.engine for model in PAINT} == {"diffusers"}


@pytest.mark.parametrize("model", PAINT, ids=lambda model: model.name)
def test_a_paint_model_says_what_it_can_do_and_on_what_terms(model) -> None:  # type: ignore[no-untyped-def]
    assert model.family and model.steps and model.width_px % 8 == model.height_px % 8 == 0 and model.memory_mb > 2_000
    assert model.licence_url.startswith("https://")
    assert set(model.references) <= set(model.can_do(extra.name for extra in model.extras)) <= USES
    assert model.opt_in == (model.commercial == Commercial.NO)
    assert model.opt_in == ("Stability AI" in model.licence)


@pytest.mark.parametrize("model", PAINT, ids=lambda model: model.name)
def test_the_files_of_a_paint_model_are_safetensors_at_places_of_their_own(model) -> None:  # type: ignore[no-untyped-def]
    sources = model.sources_with(extra.name for extra in model.extras)
    places = [place for source in sources for place in source.places + source.useful_places]
    assert len(places) == len(set(places))
    weights = [place for place in places if not place.endswith((".json", ".txt"))]
    assert weights and all(place.endswith(".safetensors") and ".fp16." not in place for place in weights)
    assert {"model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"} <= set(model.needed)
    tops = {place.split("/")[0] for place in places}
    assert tops <= {"model_index.json", "scheduler", "unet", "vae", "text_encoder", "text_encoder_2", "tokenizer",
                    "tokenizer_2", "safety_checker", "feature_extractor", "meetviz"}  # fmt: skip


def test_a_file_in_half_precision_takes_the_place_of_the_full_one() -> None:
    pipeline, lora, tiny = CATALOGUE["sd15-lcm"].sources
    assert pipeline.place_of("unet/diffusion_pytorch_model.fp16.safetensors") == (
        "unet/diffusion_pytorch_model.safetensors"
    )
    for other in ("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.bin", "v1-5.ckpt",
                  "unet/../unet/config.json", "../unet/config.json", "x/unet/config.json"):  # fmt: skip
        assert pipeline.place_of(other) == "", other
    assert lora.place_of("pytorch_lora_weights.safetensors") == "meetviz/lora/pytorch_lora_weights.safetensors"
    assert tiny.place_of("config.json") == "meetviz/tiny_vae/config.json"


def test_an_adapter_comes_from_the_folders_of_a_repository_that_holds_many() -> None:
    (adapter, encoder) = CATALOGUE["sdxl-lcm"].extra("ip-adapter").sources  # type: ignore[union-attr]
    assert adapter.place_of("sdxl_models/ip-adapter_sdxl_vit-h.safetensors") == (
        "meetviz/ip_adapter/ip-adapter_sdxl_vit-h.safetensors"
    )
    assert adapter.place_of("models/ip-adapter_sd15.safetensors") == ""
    assert encoder.place_of("models/image_encoder/model.safetensors") == (
        "meetviz/ip_adapter/image_encoder/model.safetensors"
    )
    assert encoder.place_of("sdxl_models/image_encoder/model.safetensors") == ""


def test_the_manual_names_every_paint_model_with_its_size_and_licence() -> None:
    manual = Path(__file__).parents[3].joinpath("docs", "models.md").read_text(encoding="utf-8")
    rows = {row.split("|")[1].strip(" `"): row for row in manual.splitlines() if row.startswith("| `")}
    for model in PAINT:
        row = rows[model.name]
        assert f"{model.size_bytes / 1e9:.1f} GB" in row and f"| {model.licence}" in row, model.name
        assert f"{model.width_px}², {model.steps} step" in row and ("opt-in" in row) == model.opt_in, model.name
        assert all(f"| `{extra.name}` |" in manual for extra in model.extras)


def test_what_extras_add_is_known_by_their_names() -> None:
    model = CATALOGUE["sd15-lcm"]
    assert model.can_do([]) == ("start",)
    assert model.can_do(["ip-adapter", "controlnet-depth", "nothing"]) == ("start", "style", "subject", "depth")
    assert CATALOGUE["sd-turbo"].extras == ()

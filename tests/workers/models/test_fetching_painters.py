"""Paint models: folders, several repositories, extras, and licences that somebody has to accept first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.models.conftest import add_paint_model
from tests.workers.models.hub_server import LocalHub
from workers.models import fetching, licences, store
from workers.models.catalogue import CATALOGUE, Model
from workers.models.errors import ModelError, Trouble
from workers.models.fetching import Progress, pull
from workers.models.store import MANIFEST, Manifest, State, StoredFile, look, verify

UNET = "unet/diffusion_pytorch_model.fp16.safetensors"
PLACED_UNET = "unet/diffusion_pytorch_model.safetensors"
OWN = {"model_index.json", "scheduler/scheduler_config.json", "unet/config.json", PLACED_UNET, "vae/config.json",
       "vae/diffusion_pytorch_model.safetensors", "text_encoder/config.json", "text_encoder/model.safetensors",
       "tokenizer/vocab.json", "meetviz/lora/pytorch_lora_weights.safetensors", "meetviz/tiny_vae/config.json",
       "meetviz/tiny_vae/diffusion_pytorch_model.safetensors"}  # fmt: skip
ADAPTER = {"meetviz/ip_adapter/ip-adapter_sd15.safetensors", "meetviz/ip_adapter/image_encoder/config.json",
           "meetviz/ip_adapter/image_encoder/model.safetensors"}  # fmt: skip


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "WAIT_S", 0.001)


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}


def manifest_of(model: Model) -> Manifest:
    manifest = look(model).manifest
    assert manifest is not None
    return manifest


def trouble(model: Model, *extras: str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        pull(model, extras=extras)
    assert "\n" not in str(caught.value)
    return caught.value


def content_of(hub: LocalHub, model: Model, file: str) -> bytes:
    return hub.repositories[model.repository].files[file]


# Folders and sources


def test_several_repositories_become_one_folder_with_one_manifest(painting: Model, hub: LocalHub, models: Path) -> None:
    folder = pull(painting)
    assert folder == models / "sd15-lcm" and files_of(folder) == OWN
    assert (folder / PLACED_UNET).read_bytes() == content_of(hub, painting, UNET)
    manifest = manifest_of(painting)
    assert [(origin.source, origin.commit) for origin in manifest.origins] == [
        (source.repository, hashlib.sha1(source.repository.encode()).hexdigest()) for source in painting.sources
    ]
    origin_of = {file.name: manifest.origins[file.origin].source for file in manifest.files}
    assert origin_of[PLACED_UNET] == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert origin_of["meetviz/lora/pytorch_lora_weights.safetensors"] == "latent-consistency/lcm-lora-sdv1-5"
    assert look(painting).state == State.WHOLE and verify(painting) == []


def test_neither_pickles_nor_names_that_lead_elsewhere_are_fetched(
    painting: Model, hub: LocalHub, models: Path
) -> None:
    pull(painting, extras=["ip-adapter"])
    assert not [asked.file for asked in hub.asked if asked.file.endswith((".bin", ".md")) or "escape" in asked.file]
    assert not list(models.parent.rglob("escape.json")) and not list(models.rglob(".hidden.json"))
    assert not list(models.rglob("*.part")) and not (models / ".fetching" / painting.name).exists()


def test_a_file_in_a_folder_goes_on_where_it_was_cut(painting: Model, hub: LocalHub) -> None:
    hub.cut_after[UNET] = [32_768]
    folder = pull(painting)
    assert hub.ranges_asked(UNET) == ["", "bytes=32768-"]
    assert (folder / PLACED_UNET).read_bytes() == content_of(hub, painting, UNET)


def test_a_later_pull_goes_on_with_what_is_here_of_several_repositories(painting: Model, hub: LocalHub) -> None:
    lora = "pytorch_lora_weights.safetensors"
    hub.cut_after[lora] = [32_768, *[0] * fetching.TRIES]
    assert trouble(painting).trouble == Trouble.HUB_BUSY
    seen = look(painting)
    assert seen.state == State.PARTLY and seen.here_bytes > 60_000
    hub.asked.clear()
    pull(painting)
    assert hub.ranges_asked(UNET) == [] and hub.ranges_asked(lora) == ["bytes=32768-"]
    assert look(painting).state == State.WHOLE


def test_a_wrong_file_of_a_later_repository_is_refused_and_removed(
    painting: Model, hub: LocalHub, models: Path
) -> None:
    hub.other_bytes["pytorch_lora_weights.safetensors"] = bytes(60_000)
    error = trouble(painting)
    assert error.trouble == Trouble.DAMAGED and "meetviz/lora/pytorch_lora_weights.safetensors" in str(error)
    assert not list(models.rglob("pytorch_lora_weights*")) and look(painting).state == State.PARTLY


def test_a_repository_without_a_needed_file_is_named(painting: Model, hub: LocalHub) -> None:
    del hub.repositories["madebyollin/taesd"].files["config.json"]
    error = trouble(painting)
    assert error.trouble == Trouble.NOT_FOUND and "madebyollin/taesd lacks config.json" in str(error)
    assert hub.asked == []


def test_progress_is_one_sum_over_all_repositories(painting: Model) -> None:
    seen: list[Progress] = []
    folder = pull(painting, seen.append)
    done = [progress.done_bytes for progress in seen]
    assert done == sorted(done) and seen[-1].state == "done"
    assert seen[-1].total_bytes == sum((folder / name).stat().st_size for name in OWN)


def test_links_that_lie_in_wait_are_not_followed(painting: Model, models: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    staging = models / ".fetching" / painting.name
    staging.mkdir(parents=True)
    (staging / "unet").symlink_to(outside)
    (staging / "model_index.json").symlink_to(outside / "written.json")
    folder = pull(painting)
    assert list(outside.iterdir()) == []
    assert not (folder / "unet").is_symlink() and files_of(folder) == OWN


def test_a_link_in_a_models_folder_counts_as_missing(painting: Model, tmp_path: Path) -> None:
    folder = pull(painting)
    (folder / PLACED_UNET).rename(tmp_path / "unet")
    (folder / PLACED_UNET).symlink_to(tmp_path / "unet")
    assert look(painting).state == State.DAMAGED and f"{PLACED_UNET} is missing" in look(painting).problem
    assert verify(painting) == [f"{PLACED_UNET} is missing"]
    pull(painting)
    assert look(painting).state == State.WHOLE and not (folder / PLACED_UNET).is_symlink()


def test_a_manifest_that_points_out_of_its_folder_is_not_believed(painting: Model) -> None:
    folder = pull(painting)
    manifest = manifest_of(painting)
    manifest.files.append(StoredFile("../../etc/passwd", 1, "0" * 64))
    manifest.write(folder / MANIFEST)
    assert look(painting).state == State.DAMAGED and MANIFEST in look(painting).problem


def test_a_changed_byte_in_a_folder_is_found_and_mended(painting: Model, hub: LocalHub) -> None:
    folder = pull(painting, extras=["ip-adapter"])
    (folder / PLACED_UNET).write_bytes(bytes(60_000))
    assert f"{PLACED_UNET} is damaged" in verify(painting)[0] and look(painting).state == State.DAMAGED
    hub.asked.clear()
    pull(painting)
    assert {asked.file for asked in hub.asked} == {UNET}
    assert look(painting).extras == ("ip-adapter",) and verify(painting) == []


# Extras


def test_extras_are_fetched_by_name_with_the_model_or_later(painting: Model, hub: LocalHub) -> None:
    pull(painting)
    assert look(painting).can_do == ("start",)
    hub.asked.clear()
    folder = pull(painting, extras=["ip-adapter"])
    assert files_of(folder) == OWN | ADAPTER
    assert {asked.file.split("/")[0] for asked in hub.asked} == {"models"}  # nothing of the model itself
    assert look(painting).can_do == ("start", "style", "subject")
    pull(painting, extras=["controlnet-depth"])
    assert look(painting).extras == ("ip-adapter", "controlnet-depth")
    assert "meetviz/depth_estimator/model.safetensors" in files_of(folder)
    assert verify(painting) == []


def test_an_extra_does_not_bring_another_edition_of_the_model(painting: Model, hub: LocalHub) -> None:
    folder = pull(painting)
    before = (folder / PLACED_UNET).read_bytes()
    newer = {**hub.repositories[painting.repository].files, UNET: bytes(70_000)}
    hub.add(painting.repository, newer).commit = "d" * 40
    pull(painting, extras=["controlnet-canny"])
    assert (folder / PLACED_UNET).read_bytes() == before and verify(painting) == []
    assert manifest_of(painting).commit != "d" * 40


def test_an_extra_that_is_here_is_not_fetched_again(painting: Model, hub: LocalHub) -> None:
    pull(painting, extras=["ip-adapter"])
    hub.questions.clear()
    pull(painting, extras=["ip-adapter"])
    pull(painting)
    assert hub.questions == [] and look(painting).extras == ("ip-adapter",)


def test_an_extra_that_a_model_does_not_have_is_answered_with_those_that_it_has(painting: Model, hub: LocalHub) -> None:
    error = trouble(painting, "wings")
    assert error.trouble == Trouble.UNKNOWN_MODEL and "ip-adapter, controlnet-depth" in str(error)
    assert hub.questions == []


def test_a_failing_extra_leaves_the_model_at_work(painting: Model, hub: LocalHub) -> None:
    folder = pull(painting)
    hub.other_bytes["models/ip-adapter_sd15.safetensors"] = b"something else"
    assert trouble(painting, "ip-adapter").trouble in (Trouble.DAMAGED, Trouble.HUB_BUSY)
    assert look(painting).state == State.WHOLE and files_of(folder) == OWN and verify(painting) == []


def test_what_was_exported_from_a_model_stays_while_its_weights_do(painting: Model, hub: LocalHub) -> None:
    folder = pull(painting)
    (folder / store.EXPORTS).mkdir()
    (folder / store.EXPORTS / "unet.onnx").write_bytes(b"made here")
    pull(painting, extras=["ip-adapter"])
    assert (folder / "onnx/unet.onnx").read_bytes() == b"made here"
    (folder / "vae/config.json").write_bytes(b"?")
    newer = {**hub.repositories[painting.repository].files, UNET: bytes(70_000)}
    hub.add(painting.repository, newer).commit = "d" * 40
    pull(painting)
    assert (folder / PLACED_UNET).read_bytes() == bytes(70_000) and not (folder / "onnx").exists()


# Licences


@pytest.fixture
def turbo(hub: LocalHub) -> Iterator[Model]:
    add_paint_model(hub, CATALOGUE["sd-turbo"])
    yield CATALOGUE["sd-turbo"]


def test_a_restricted_model_is_not_fetched_before_somebody_accepted(turbo: Model, hub: LocalHub, models: Path) -> None:
    error = trouble(turbo)
    assert error.trouble == Trouble.LICENCE and "--accept-licence sd-turbo" in str(error)
    assert turbo.licence_url in str(error)
    assert hub.questions == [] and not models.exists()
    with pytest.raises(ModelError) as caught:
        fetching.copy(turbo, models)
    assert caught.value.trouble == Trouble.LICENCE


def test_an_accepted_licence_is_remembered_beside_the_models(turbo: Model, models: Path) -> None:
    licences.accept(turbo, "this test")
    assert licences.is_accepted(turbo) and not licences.is_accepted(CATALOGUE["sdxl-turbo"])
    entry = json.loads((models / licences.FILE).read_text())["sd-turbo"]
    assert (entry["licence"], entry["url"], entry["by"]) == (turbo.licence, turbo.licence_url, "this test")
    pull(turbo)
    assert look(turbo).state == State.WHOLE
    licences.accept(turbo, "somebody later")
    assert json.loads((models / licences.FILE).read_text())["sd-turbo"] == entry


def test_another_licence_has_to_be_accepted_anew(turbo: Model, models: Path) -> None:
    licences.accept(turbo, "this test")
    entries = json.loads((models / licences.FILE).read_text())
    entries["sd-turbo"]["licence"] = "the old one"
    (models / licences.FILE).write_text(json.dumps(entries))
    assert not licences.is_accepted(turbo)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"sd-turbo": true}', '{"sd-turbo": {"licence": null}}'])
def test_a_broken_file_of_licences_accepts_nothing(turbo: Model, models: Path, content: str) -> None:
    models.mkdir()
    (models / licences.FILE).write_text(content)
    assert not licences.is_accepted(turbo)
    licences.accept(turbo, "this test")
    assert licences.is_accepted(turbo)


def test_open_models_ask_for_nothing(painting: Model, models: Path) -> None:
    assert licences.is_accepted(painting)
    licences.accept(painting, "this test")
    assert not models.exists()

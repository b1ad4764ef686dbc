"""The models that MeetViz knows by name: what they are for, where they come from, what they need."""

from __future__ import annotations

from workers.models.entries import Commercial, Extra, Family, Model, Role, Source
from workers.models.paint_entries import PAINT_MODELS

__all__ = ["CATALOGUE", "Commercial", "Extra", "Family", "Model", "Role", "Source"]

# Without tokenizer.json the library would fetch one from the hub by itself.
_WHISPER_NEEDS = ("config.json", "model.bin", "tokenizer.json", "vocabulary.*")
_WHISPER_USES = ("preprocessor_config.json",)
_MB = 1_000_000


def _whisper(name: str, repository: str, size_mb: int, note: str, **values: object) -> Model:
    return Model(
        name=name,
        role=Role.SPEECH,
        engine="faster-whisper",
        sources=(Source(repository, _WHISPER_NEEDS, _WHISPER_USES),),
        size_bytes=size_mb * _MB,
        licence="MIT",
        note=note,
        **values,  # type: ignore[arg-type]
    )


# The repositories are those that faster-whisper 1.2.1 names (faster_whisper/utils.py). Their weights are float16, two
# bytes for each of the 39 million (tiny) to 1550 million (large) numbers, and 3 MB of tokens.
CATALOGUE: dict[str, Model] = {
    model.name: model
    for model in (
        _whisper(
            "whisper-tiny",
            "Systran/faster-whisper-tiny",
            78,
            "the quickest; many mistakes outside English",
            translates=True,
        ),
        _whisper(
            "whisper-base",
            "Systran/faster-whisper-base",
            148,
            "for two CPU cores",
            translates=True,
        ),
        _whisper(
            "whisper-small",
            "Systran/faster-whisper-small",
            486,
            "for four CPU cores and more",
            translates=True,
        ),
        _whisper(
            "whisper-medium",
            "Systran/faster-whisper-medium",
            1_530,
            "for a GPU",
            translates=True,
        ),
        _whisper(
            "whisper-large-v3",
            "Systran/faster-whisper-large-v3",
            3_090,
            "the best; for a GPU",
            translates=True,
        ),
        _whisper(
            "whisper-large-v3-turbo",
            "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
            1_620,
            "nearly as good as large-v3 and several times as quick; for a GPU; does not translate",
        ),
        _whisper(
            "distil-large-v3",
            "Systran/faster-distil-whisper-large-v3",
            1_515,
            "nearly as good as large-v3 and several times as quick; for a GPU",
            languages=("en",),
        ),
        Model(
            name="ecapa-voxceleb",
            role=Role.VOICE,
            engine="speechbrain",
            sources=(
                Source(
                    "speechbrain/spkrec-ecapa-voxceleb",
                    ("hyperparams.yaml", "embedding_model.ckpt", "mean_var_norm_emb.ckpt"),
                ),
            ),
            # 20.8 million numbers of four bytes.
            size_bytes=83 * _MB,
            licence="Apache-2.0",
            note="weights only as torch checkpoints, which are opened without running any code in them",
        ),
        *PAINT_MODELS,
    )
}

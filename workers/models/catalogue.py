"""The models that MeetViz knows by name: what they are for, where they come from, what they need."""

from __future__ import annotations

import enum
import fnmatch
import re
from dataclasses import dataclass


class Role(enum.StrEnum):
    """What a model is for; the same words as the roles of `EngineFacts` in a heartbeat."""

    SPEECH = "speech"
    VOICE = "voice"
    PAINT = "paint"


@dataclass(frozen=True, slots=True)
class Model:
    """One entry: a repository of the Hugging Face hub, of which some files make a model that one engine can load."""

    name: str
    """What people call it, and the name of its folder."""
    role: Role
    engine: str
    """`EngineFacts.name` of the engine that loads it."""
    repository: str
    needed: tuple[str, ...]
    """File names, or patterns of them, each of which must be there."""
    useful: tuple[str, ...]
    """The same for files that some editions have."""
    size_bytes: int
    """About; what the hub says at the download counts."""
    licence: str
    languages: tuple[str, ...] = ()
    """Codes; empty where it knows about a hundred, or where a language does not matter."""
    translates: bool = False
    """Whether it can say in English what was said in another language."""
    note: str = ""

    def wants(self, file: str) -> bool:
        """Whether a file of the repository belongs to the model. Never true for a path or a hidden file."""
        return bool(_PLAIN_NAME.fullmatch(file)) and any(
            fnmatch.fnmatchcase(file, pattern) for pattern in self.needed + self.useful
        )

    def lacks(self, files: list[str]) -> list[str]:
        """Which of the needed files are not among these."""
        return [pattern for pattern in self.needed if not fnmatch.filter(files, pattern)]


_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

# Without tokenizer.json the library would fetch one from the hub by itself.
_WHISPER_NEEDS = ("config.json", "model.bin", "tokenizer.json", "vocabulary.*")
_WHISPER_USES = ("preprocessor_config.json",)
_MB = 1_000_000


def _whisper(name: str, repository: str, size_mb: int, note: str, **values: object) -> Model:
    return Model(
        name=name,
        role=Role.SPEECH,
        engine="faster-whisper",
        repository=repository,
        needed=_WHISPER_NEEDS,
        useful=_WHISPER_USES,
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
            repository="speechbrain/spkrec-ecapa-voxceleb",
            needed=("hyperparams.yaml", "embedding_model.ckpt", "mean_var_norm_emb.ckpt"),
            useful=(),
            # 20.8 million numbers of four bytes.
            size_bytes=83 * _MB,
            licence="Apache-2.0",
            note="weights only as torch checkpoints, which are opened without running any code in them",
        ),
    )
}

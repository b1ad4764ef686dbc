"""Voices by SpeechBrain's ECAPA-TDNN, from a folder that was pulled before: the engine for real use, 192 dimensions.

A SpeechBrain model comes as a hyperparams.yaml, which may name any Python object to be made, and as checkpoints, which
are pickles: either could run somebody's code. So hyperparams.yaml is not read at all: the network is built here with
the published numbers of spkrec-ecapa-voxceleb (Desplanques et al., "ECAPA-TDNN", Interspeech 2020), and the checkpoint
is opened for tensors only (`weights_only`), which must fit that network name by name and shape by shape. What
mean_var_norm_emb.ckpt holds shifts embeddings only where SpeechBrain is asked to normalise them; it does not, and we do
not, when voices are compared by cosine.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import numpy as np

from workers.engines.base import EngineError, HeardVoices, VoiceEngine, VoiceWindow
from workers.engines.voice.sound import MIN_SPEECH_S, Floats, speech_of, speech_windows
from workers.messages import SAMPLE_RATE_HZ, VoiceEmbedding

CHECKPOINT = "embedding_model.ckpt"
DIMENSIONS = 192
MEL_BANDS = 80
CHANNELS = [1024, 1024, 1024, 1024, 3072]
KERNEL_SIZES = [5, 3, 3, 3, 1]
DILATIONS = [1, 2, 3, 4, 1]
ATTENTION_CHANNELS = 128
LONGEST_S = 30.0
"""Of speech in one forward pass; more says no more about a voice and takes memory."""
WHAT_TO_DO = "Fetch it again: manage.py models pull ecapa-voxceleb"


class EcapaEngine(VoiceEngine):
    """ECAPA-TDNN embeddings on CPU, CUDA or Apple's GPU.

    Loudness needs no levelling: the mean over time is taken from each mel band in decibels, and a factor on the samples
    is the same number of decibels everywhere.
    """

    name = "speechbrain"
    model = "ecapa-voxceleb-192"
    dimensions = DIMENSIONS

    def __init__(self, folder: str, device: str = "auto") -> None:
        """`folder`: holds embedding_model.ckpt. `device`: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
        super().__init__()
        self._folder = Path(folder)
        self._asked_device = device
        self.device = "cpu" if device == "auto" else device
        self._network: Any = None

    def _load(self) -> None:
        path = self._folder / CHECKPOINT
        if not path.is_file():
            raise EngineError("model_missing", f"There is no voice model at {path}. {WHAT_TO_DO}")
        try:
            import torch

            network = _network(torch)
        except ImportError as error:
            raise EngineError("engine_missing", f"This host cannot run SpeechBrain ({error}): install it.") from error
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            network.ecapa.load_state_dict(_tensors(state, torch))
        except Exception as error:  # a damaged file makes torch raise nearly anything
            # Not torch's own words: they advise to open the file with all that it may run.
            reason = (
                str(error) if isinstance(error, _NotWeights) else f"it is damaged or another ({type(error).__name__})."
            )
            raise EngineError("model_missing", f"{path} is not the ECAPA model: {reason} {WHAT_TO_DO}") from error
        self.device = _device(self._asked_device, torch)
        try:
            self._network = network.eval().to(self.device)
        except (RuntimeError, AssertionError) as error:
            raise EngineError("bad_setting", f"The voice model cannot run on {self.device}: {error}") from error

    def _unload(self) -> None:
        import torch

        self._network = None
        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        elif self.device == "mps":
            torch.mps.empty_cache()

    def _embed(self, samples: np.ndarray) -> VoiceEmbedding | None:
        speech = speech_of(samples)
        if len(speech) < MIN_SPEECH_S * SAMPLE_RATE_HZ:
            return None
        (vector,) = self._vectors(_middle(speech)[None])
        return None if vector is None else VoiceEmbedding(vector.tolist(), self.model, len(speech) / SAMPLE_RATE_HZ)

    def _listen(self, samples: np.ndarray) -> HeardVoices:
        windows = speech_windows(samples)
        vectors = self._vectors(np.stack([window.samples for window in windows])) if windows else []
        heard = [
            VoiceWindow(window.start_ms, window.end_ms, vector)
            for window, vector in zip(windows, vectors, strict=True)
            if vector is not None
        ]
        return HeardVoices(self._embed(samples), heard)

    def _vectors(self, batch: Floats) -> list[Floats | None]:
        """Unit vectors of sounds of one length, (count, n); None for one that came out as no finite number."""
        import torch

        try:
            with torch.inference_mode():
                raw = self._network(torch.from_numpy(batch).to(self.device)).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise EngineError("out_of_memory", f"The voice model does not fit into the memory of {self.device}") from (
                error
            )
        lengths = np.linalg.norm(raw, axis=1)
        return [
            vector / length if np.isfinite(length) and length > 1e-6 else None
            for vector, length in zip(raw, lengths, strict=True)
        ]


def _middle(speech: Floats) -> Floats:
    spare = max(0, len(speech) - int(LONGEST_S * SAMPLE_RATE_HZ))
    return speech[spare // 2 : len(speech) - (spare - spare // 2)]


def _network(torch: Any) -> Any:
    """Sounds of shape (count, samples) to embeddings of shape (count, 192), with random weights yet."""
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
    from speechbrain.processing.features import InputNormalization

    _forget_lazy_modules()

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.mels = Fbank(sample_rate=SAMPLE_RATE_HZ, n_mels=MEL_BANDS)
            self.normal = InputNormalization(norm_type="sentence", std_norm=False)
            self.ecapa = ECAPA_TDNN(
                MEL_BANDS,
                lin_neurons=DIMENSIONS,
                channels=list(CHANNELS),
                kernel_sizes=list(KERNEL_SIZES),
                dilations=list(DILATIONS),
                attention_channels=ATTENTION_CHANNELS,
            )

        def forward(self, sounds: Any) -> Any:
            whole = torch.ones(len(sounds), device=sounds.device)
            return self.ecapa(self.normal(self.mels(sounds), whole), whole)[:, 0]

    return Network()


def _forget_lazy_modules() -> None:
    """Take speechbrain's redirections of old names out of `sys.modules`.

    Each imports its target as soon as anybody looks at it, and some of those need packages that are not installed: who
    only walks through all modules (inspect, Hypothesis, Django's reloader) would end in an ImportError.
    """
    from speechbrain.utils.importutils import LazyModule

    for name in [name for name, module in sys.modules.items() if issubclass(type(module), LazyModule)]:
        del sys.modules[name]


class _NotWeights(ValueError):
    """Why what was read is no state of a network."""


def _tensors(state: Any, torch: Any) -> dict[str, Any]:
    """The checkpoint if it is names and finite tensors. Raises _NotWeights."""
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise _NotWeights("it holds something else than weights.")
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise _NotWeights("some of its weights are no finite numbers.")
    return state


def _device(asked: str, torch: Any) -> str:
    """Apple's GPU only when asked for: its processors are quick enough for a network of this size."""
    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"

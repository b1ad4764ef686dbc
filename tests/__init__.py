# Some tests make tiny models with diffusers and transformers before any engine is imported: torchaudio's guard first.
import workers.engines  # noqa: F401

"""Engines behind small interfaces: words, voices, pictures. No Django in here."""

from workers.engines import torchaudio_guard

# Here, where every engine passes by before it imports its libraries.
torchaudio_guard.install()

"""Speakers, their voiceprints and consents, and the style presets they paint in. Imports no other app."""

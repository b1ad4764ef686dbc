"""Engines behind small interfaces: words, voices, pictures. No Django in here."""

"""Real models on this host: which there are, where they lie, how they get here."""

"""The built-in composer, in the order in which talk becomes a brief: words, phrases, choosing, styles, wording."""

"""The styles that new speakers are given in turn. Owners change them, add their own, or take them away."""

from django.db import migrations

PRESETS = [
    ("Screen print", ["#f2e8d5", "#e2563a", "#8fae5d", "#26323d", "#8fb3b5"],
     "bold screen print, paper grain, flat shapes, halftone"),
    ("Night harbour", ["#1d2a44", "#f0a04b", "#5a86ad", "#e8dcc4", "#b8473d"],
     "moonlit linocut, deep blues, warm lamps"),
    ("Spring meadow", ["#f6f1dc", "#5b8c4a", "#f2c744", "#d9694f", "#79b4a9"],
     "gouache illustration, fresh greens, soft morning light"),
    ("Ink and ochre", ["#f4ead8", "#2b2433", "#d08c2e", "#8c6f9e", "#c9b18b"],
     "ink drawing with ochre wash, loose brush"),
    ("Bauhaus", ["#f3efe6", "#d13b2f", "#1f4e8c", "#f0b92d", "#22252a"],
     "geometric poster, primary colours, clear shapes"),
    ("Paper cut", ["#faf0e6", "#c75b7a", "#4f7cac", "#f4b860", "#3c3a4d"],
     "layered paper cut, soft shadows, pastel colours"),
    ("Copper forest", ["#efe3cf", "#a44a2a", "#3f5e4b", "#d9a35b", "#2c2f2a"],
     "woodcut, copper and moss, strong contrast"),
    ("Glass sea", ["#eaf2ef", "#2f7f86", "#f08a5d", "#274060", "#a9d0c6"],
     "watercolour, transparent layers, cool light"),
]


def add(apps, schema_editor):
    preset = apps.get_model("speakers", "StylePreset")
    for name, palette, words in PRESETS:
        preset.objects.get_or_create(
            name=name, owner=None, defaults={"palette": palette, "style_words": words, "is_default": True}
        )


class Migration(migrations.Migration):
    dependencies = [("speakers", "0002_voice_indexes")]

    operations = [migrations.RunPython(add, migrations.RunPython.noop)]

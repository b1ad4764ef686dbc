"""One nearest-neighbour index for each voice model: vectors of different models have different lengths."""

from django.db import migrations

MODELS = {"resemblyzer-ge2e-256": 256, "ecapa-voxceleb-192": 192}


class Migration(migrations.Migration):
    dependencies = [("speakers", "0001_initial")]

    operations = [
        migrations.RunSQL(
            f"CREATE INDEX voiceprint_{dimensions} ON speakers_voiceprint"
            f" USING hnsw ((vector::vector({dimensions})) vector_cosine_ops) WHERE model = '{model}'",
            f"DROP INDEX voiceprint_{dimensions}",
        )
        for model, dimensions in MODELS.items()
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("meetings", "0003_voices_heard"),
        ("speakers", "0004_calibration_and_enrolment"),
    ]

    operations = [
        migrations.AddField(
            model_name="audiostream",
            name="foreign",
            field=models.BooleanField(
                default=False, help_text="The engine at work does not know it.", verbose_name="in another language"
            ),
        ),
        migrations.AddField(
            model_name="audiostream",
            name="language_doubt",
            field=models.FloatField(default=0.0, editable=False),
        ),
        migrations.AddField(
            model_name="utterance",
            name="language_doubt",
            field=models.FloatField(default=0.0, editable=False),
        ),
        migrations.AlterField(
            model_name="utterance",
            name="kind",
            field=models.CharField(
                choices=[("words", "words"), ("gap", "gap"), ("held", "held back")],
                default="words",
                max_length=5,
                verbose_name="kind",
            ),
        ),
        migrations.AddIndex(
            model_name="utterance",
            index=models.Index(condition=models.Q(("kind", "held")), fields=["heard_at"], name="utterance_held_back"),
        ),
    ]

from django.db import migrations, models

import streaming.models


class Migration(migrations.Migration):
    dependencies = [("streaming", "0022_rules_for_an_audience")]

    operations = [
        migrations.AlterField(
            model_name="moderationrule",
            name="match_check",
            field=models.CharField(
                blank=True,
                help_text=(
                    "An additional condition for a match, or for the group acted on: luhn, iban, cn_id, entropy or, for "
                    "example, entropy:3.5."
                ),
                max_length=20,
                validators=[streaming.models._validate_check],
                verbose_name="check",
            ),
        ),
    ]

import django.db.models.functions.comparison
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("streaming", "0012_rules_are_found_by_pattern"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="moderationrule",
            constraint=models.UniqueConstraint(
                models.F("fingerprint"),
                django.db.models.functions.comparison.Coalesce("rule_list", 0, output_field=models.BigIntegerField()),
                name="one_rule_for_a_pattern_in_a_list",
                violation_error_message="The list has a rule with this pattern and comparison already.",
            ),
        ),
    ]

import django.db.models.deletion
from django.db import migrations, models

SCOPES = [("both", "prompts and answers"), ("prompts", "prompts"), ("answers", "answers")]


class Migration(migrations.Migration):
    dependencies = [
        ("streaming", "0010_plain_texts"),
    ]

    operations = [
        migrations.CreateModel(
            name="RuleList",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100, unique=True, verbose_name="name")),
                (
                    "source",
                    models.CharField(
                        choices=[("hand", "made by hand"), ("import", "import"), ("pack", "pack")],
                        default="hand",
                        editable=False,
                        max_length=10,
                        verbose_name="source",
                    ),
                ),
                ("pack", models.CharField(blank=True, editable=False, max_length=50)),
                (
                    "enabled",
                    models.BooleanField(
                        default=True,
                        help_text="While a list is not enabled, none of its rules applies.",
                        verbose_name="enabled",
                    ),
                ),
                (
                    "upstreams",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="If none is chosen, the list applies to all.",
                        verbose_name="upstreams",
                    ),
                ),
                (
                    "applies_to",
                    models.CharField(choices=SCOPES, default="both", max_length=10, verbose_name="applies to"),
                ),
                (
                    "valid_from",
                    models.DateTimeField(
                        blank=True, help_text="Leave empty to start immediately.", null=True, verbose_name="valid from"
                    ),
                ),
                (
                    "valid_until",
                    models.DateTimeField(
                        blank=True, help_text="Leave empty for no end.", null=True, verbose_name="valid until"
                    ),
                ),
                ("note", models.TextField(blank=True, help_text="For moderators only.", verbose_name="note")),
                ("changed", models.DateTimeField(auto_now=True, db_index=True, verbose_name="changed")),
            ],
            options={
                "verbose_name": "rule list",
                "verbose_name_plural": "rule lists",
                "ordering": ["name"],
            },
        ),
        migrations.AddField(
            model_name="moderationrule",
            name="rule_list",
            field=models.ForeignKey(
                blank=True,
                help_text="The rules of a list are switched, scoped and replaced together.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="rules",
                to="streaming.rulelist",
                verbose_name="list",
            ),
        ),
        migrations.RemoveConstraint(
            model_name="moderationrule",
            name="one_rule_for_a_pattern_kind_and_action",
        ),
    ]

import hashlib

from django.db import migrations

BATCH = 500


def one_rule_for_a_pattern(apps, schema_editor):
    """Compute the fingerprints again; rules of one pattern that differed in their actions go on, in lists of their own."""
    db = schema_editor.connection.alias
    rules = apps.get_model("streaming", "ModerationRule").objects.using(db)
    lists = apps.get_model("streaming", "RuleList").objects.using(db)
    seen, more, batch = {}, {}, []
    for rule in rules.order_by("pk").iterator(chunk_size=2000):
        identity = f"{rule.kind}\0{rule.compare}\0{rule.pattern}"
        rule.fingerprint = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        nth = seen[rule.fingerprint] = seen.get(rule.fingerprint, 0) + 1
        if nth > 1:
            if nth not in more:
                more[nth] = lists.create(name=f"Same patterns, other actions ({nth - 1})")
            rule.rule_list = more[nth]
        batch.append(rule)
        if len(batch) == BATCH:
            rules.bulk_update(batch, ["fingerprint", "rule_list"])
            batch = []
    rules.bulk_update(batch, ["fingerprint", "rule_list"])


def one_rule_for_a_pattern_and_action(apps, schema_editor):
    """Without comparison in the identity, of rules that differ only in it the oldest stays."""
    rules = apps.get_model("streaming", "ModerationRule").objects.using(schema_editor.connection.alias)
    seen, gone = set(), []
    for rule in rules.order_by("pk").iterator(chunk_size=2000):
        identity = f"{rule.kind}\0{rule.pattern}"
        rule.fingerprint = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        if (rule.fingerprint, rule.action) in seen:
            gone.append(rule.pk)
        else:
            seen.add((rule.fingerprint, rule.action))
            rules.filter(pk=rule.pk).update(fingerprint=rule.fingerprint)
    for at in range(0, len(gone), BATCH):
        rules.filter(pk__in=gone[at : at + BATCH]).delete()


class Migration(migrations.Migration):
    # Apart from the changes of the schema: PostgreSQL changes no table that has changed rows in the same transaction.
    dependencies = [
        ("streaming", "0011_rule_lists"),
    ]

    operations = [
        migrations.RunPython(one_rule_for_a_pattern, one_rule_for_a_pattern_and_action),
    ]

from django.contrib.auth.management import create_permissions
from django.db import migrations

GROUPS = {
    "moderator": {
        "moderationrule": ("view", "add", "change", "delete"),
        "moderationhit": ("view",),
    },
    "auditor": {
        "moderationrule": ("view",),
        "moderationhit": ("view",),
    },
}


def make_groups(apps, schema_editor):
    # Permissions come after all migrations; those that are needed here are made now.
    app = apps.get_app_config("streaming")
    app.models_module = True
    create_permissions(app, apps=apps, verbosity=0, using=schema_editor.connection.alias)
    app.models_module = None
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    groups = apps.get_model("auth", "Group").objects.using(schema_editor.connection.alias)
    for name, models in GROUPS.items():
        group, _ = groups.get_or_create(name=name)
        for model, actions in models.items():
            codenames = [f"{action}_{model}" for action in actions]
            group.permissions.add(*permissions.filter(content_type__app_label="streaming", codename__in=codenames))


class Migration(migrations.Migration):
    dependencies = [
        ("streaming", "0004_imports"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]

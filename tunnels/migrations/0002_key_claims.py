from django.db import migrations, models


def claim_for_hosts(apps, schema_editor):
    fingerprints = apps.get_model("tunnels", "Host").objects.values_list("fingerprint", flat=True)
    claims = apps.get_model("tunnels", "KeyClaim").objects
    claims.bulk_create([claims.model(fingerprint=fingerprint) for fingerprint in fingerprints])


class Migration(migrations.Migration):
    dependencies = [
        ("tunnels", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeyClaim",
            fields=[
                ("fingerprint", models.CharField(max_length=64, primary_key=True, serialize=False)),
            ],
        ),
        migrations.RunPython(claim_for_hosts, migrations.RunPython.noop),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tunnels", "0002_key_claims"),
    ]

    operations = [
        migrations.AddField("host", "known_authority", models.CharField(blank=True, default="", max_length=64)),
        migrations.AddField("host", "known_gateway_key", models.CharField(blank=True, default="", max_length=64)),
    ]

# SPDX-License-Identifier: AGPL-3.0-or-later

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('channel_webhooks', '0004_rollout'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookHeartbeat',
            fields=[
                ('name', models.CharField(max_length=50, primary_key=True, serialize=False)),
                ('beat_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('worker', models.CharField(help_text='Host and process id.', max_length=100)),
            ],
            options={
                'verbose_name': 'heartbeat',
            },
        ),
    ]

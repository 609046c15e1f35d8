# SPDX-License-Identifier: AGPL-3.0-or-later

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('channel_webhooks', '0002_delivery'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookLookupStatement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('began_at', models.DateTimeField(db_index=True)),
                ('duration_ms', models.PositiveIntegerField()),
                ('asked', models.PositiveIntegerField(help_text='Completions looked up.')),
                ('found', models.PositiveIntegerField(help_text='Completions with a number.')),
                ('status', models.CharField(max_length=20)),
            ],
            options={
                'verbose_name': 'Snowflake statement',
            },
        ),
    ]

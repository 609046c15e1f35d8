# SPDX-License-Identifier: AGPL-3.0-or-later

import fernet_fields.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('channel_webhooks', '0010_final_number'),
    ]

    operations = [
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='sends_erasures',
            field=models.BooleanField(default=False, help_text='Whether the endpoint is told to erase what it was told about a learner whom the LMS retires.', null=True, verbose_name='erasures'),
        ),
        migrations.AddField(
            model_name='webhooktransmissionqueue',
            name='basis',
            field=models.CharField(help_text='Why it was owed when that was last looked at.', max_length=40, null=True),
        ),
        migrations.CreateModel(
            name='WebhookDisclosure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('webhook_id', models.UUIDField()),
                ('event_type', models.CharField(max_length=40)),
                ('enterprise_customer_uuid', models.UUIDField(db_index=True)),
                ('endpoint_id', models.PositiveBigIntegerField()),
                ('host', models.CharField(help_text="Of the endpoint's URL, at the time.", max_length=255)),
                ('user_id', models.PositiveIntegerField()),
                ('data', models.JSONField(default=list, help_text='The names of the fields that were told; no values.')),
                ('basis', models.CharField(blank=True, help_text='Why it was owed when it was sent.', max_length=40)),
                ('first_at', models.DateTimeField()),
                ('last_at', models.DateTimeField(help_text='When it was told for the last time, or may be told for the last time.')),
                ('times', models.PositiveSmallIntegerField(default=1)),
                ('identifier', fernet_fields.fields.EncryptedTextField(editable=False, null=True)),
                ('retired_at', models.DateTimeField(help_text='When the LMS retired the learner.', null=True)),
                ('erasure', models.CharField(blank=True, choices=[('owed', 'being told to erase it'), ('told', 'was told to erase it'), ('not_wanted', 'takes no erasures'), ('nameless', 'was told nothing that names the learner'), ('no_endpoint', 'was not told: the endpoint had been deleted'), ('given_up', 'was not told: past the retention of webhooks')], max_length=20)),
                ('erasure_webhook_id', models.UUIDField(db_index=True, null=True)),
                ('erasure_told_at', models.DateTimeField(help_text='When the endpoint confirmed the erasure event.', null=True)),
            ],
            options={
                'verbose_name': 'disclosure',
                'indexes': [models.Index(fields=['user_id', 'endpoint_id'], name='channel_webhooks_told_of_whom'), models.Index(fields=['last_at'], name='channel_webhooks_told_last'), models.Index(fields=['endpoint_id', 'erasure'], name='channel_webhooks_erasures')],
            },
        ),
    ]

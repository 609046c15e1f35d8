# SPDX-License-Identifier: AGPL-3.0-or-later

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import fernet_fields.fields
from django.db import migrations, models


def record_what_has_no_endpoint(apps, schema_editor):
    """What was pending without an endpoint is what is recorded now: to be addressed, then to be sent."""
    rows = apps.get_model('channel_webhooks', 'WebhookTransmissionQueue').objects.using(schema_editor.connection.alias)
    rows.filter(status='pending', body='').update(status='recorded')


def send_what_is_recorded(apps, schema_editor):
    rows = apps.get_model('channel_webhooks', 'WebhookTransmissionQueue').objects.using(schema_editor.connection.alias)
    rows.filter(status='recorded').update(status='pending')


class Migration(migrations.Migration):

    dependencies = [
        ('channel_webhooks', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookEndpointHealth',
            fields=[
                ('endpoint', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='health', serialize=False, to='channel_webhooks.enterprisewebhookconfiguration')),
                ('failures', models.PositiveIntegerField(default=0, help_text='Failed attempts since the last success.')),
                ('failing_since', models.DateTimeField(null=True)),
                ('failures_in_a_row', models.PositiveIntegerField(default=0, help_text='Of these, what counts for the breaker: failures that another attempt may mend.')),
                ('breaker_open_until', models.DateTimeField(null=True)),
                ('paused_until', models.DateTimeField(help_text='The endpoint has asked for a pause (Retry-After).', null=True)),
                ('next_request_at', models.DateTimeField(help_text='Where the rate limit stands.', null=True)),
                ('catching_up', models.BooleanField(default=False, help_text='What was parked is being sent: one at a time, in order.')),
                ('last_success_at', models.DateTimeField(null=True)),
                ('last_failure_at', models.DateTimeField(null=True)),
                ('last_failure', models.CharField(blank=True, max_length=100)),
                ('disabled_at', models.DateTimeField(help_text='Switched off by the sender.', null=True)),
                ('disabled_reason', models.CharField(blank=True, max_length=100)),
                ('modified', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'verbose_name': 'endpoint health',
            },
        ),
        migrations.CreateModel(
            name='WebhookSigningSecret',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('secret', fernet_fields.fields.EncryptedTextField(editable=False)),
                ('created', models.DateTimeField(default=django.utils.timezone.now)),
                ('expires_at', models.DateTimeField(help_text='Empty for the current secret.', null=True)),
            ],
            options={
                'verbose_name': 'signing secret',
            },
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='ca_bundle',
            field=models.TextField(blank=True, help_text='PEM certificates to trust for this endpoint in place of the usual ones; for a private authority.', verbose_name='CA certificates'),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='max_concurrent_requests',
            field=models.PositiveSmallIntegerField(default=4, help_text='How many webhooks are sent to the endpoint at the same time, by all workers together; 1 to 32.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(32)]),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='max_requests_per_minute',
            field=models.PositiveIntegerField(blank=True, help_text='How many webhooks the endpoint takes in a minute, from all workers together; empty: no limit.', null=True, validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='retry_schedule',
            field=models.CharField(blank=True, help_text='The waits between attempts, such as “5s 5m 30m 2h”; each varies by ± 20 %. Empty: 5s 5m 30m 2h 5h 10h 14h 20h 24h, ten attempts in 75 h 35 min.', max_length=200),
        ),
        migrations.AddField(
            model_name='webhookdeliveryattempt',
            name='response_headers',
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name='webhooktransmissionqueue',
            name='backfilled',
            field=models.BooleanField(default=False, help_text="Made by a backfill: passed before the endpoint's send_from."),
        ),
        migrations.AddField(
            model_name='webhooktransmissionqueue',
            name='purged_at',
            field=models.DateTimeField(help_text='When personal data and attempts were removed.', null=True),
        ),
        migrations.AddField(
            model_name='webhooktransmissionqueue',
            name='tries',
            field=models.PositiveSmallIntegerField(default=0, help_text='Attempts since the schedule began; a replay begins it anew.'),
        ),
        migrations.AlterField(
            model_name='webhooktransmissionqueue',
            name='endpoint_id',
            field=models.PositiveBigIntegerField(null=True),
        ),
        migrations.AlterField(
            model_name='webhooktransmissionqueue',
            name='status',
            field=models.CharField(choices=[('awaiting_enrichment', 'waiting for its learning time'), ('recorded', 'to be addressed'), ('pending', 'to be sent'), ('no_endpoint', "no endpoint for the learner's region"), ('parked', 'parked: the endpoint is switched off'), ('delivered', 'delivered'), ('failed', 'failed for good'), ('cancelled', 'cancelled')], max_length=20),
        ),
        migrations.AlterField(
            model_name='webhooktransmissionqueue',
            name='user_id',
            field=models.PositiveIntegerField(db_index=True, null=True),
        ),
        migrations.AddIndex(
            model_name='webhooktransmissionqueue',
            index=models.Index(fields=['status', 'endpoint_id', 'due_at'], name='channel_webhooks_endpoint_due'),
        ),
        migrations.AddIndex(
            model_name='webhooktransmissionqueue',
            index=models.Index(fields=['endpoint_id', 'lease_token'], name='channel_webhooks_in_flight'),
        ),
        migrations.AddIndex(
            model_name='webhooktransmissionqueue',
            index=models.Index(fields=['purged_at', 'created'], name='channel_webhooks_retention'),
        ),
        migrations.AddField(
            model_name='webhooksigningsecret',
            name='endpoint',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='secrets', to='channel_webhooks.enterprisewebhookconfiguration'),
        ),
        migrations.RunPython(record_what_has_no_endpoint, send_what_is_recorded),
    ]

# SPDX-License-Identifier: AGPL-3.0-or-later

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('enterprise', '__first__'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookLease',
            fields=[
                ('name', models.CharField(max_length=50, primary_key=True, serialize=False)),
                ('token', models.UUIDField(null=True)),
                ('expires_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='WebhookTransmissionQueue',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('webhook_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('deduplication_key', models.CharField(editable=False, max_length=64, unique=True)),
                ('event_type', models.CharField(max_length=40)),
                ('enterprise_customer_uuid', models.UUIDField(db_index=True)),
                ('user_id', models.PositiveIntegerField(db_index=True)),
                ('course_id', models.CharField(max_length=255)),
                ('occurred_at', models.DateTimeField(help_text='When the learner first passed.')),
                ('percent_grade', models.FloatField(null=True)),
                ('letter_grade', models.CharField(blank=True, max_length=255)),
                ('status', models.CharField(choices=[('awaiting_enrichment', 'waiting for its learning time'), ('pending', 'to be sent'), ('no_endpoint', "no endpoint for the learner's region"), ('parked', 'parked: the endpoint is switched off'), ('delivered', 'delivered'), ('failed', 'failed for good'), ('cancelled', 'cancelled')], max_length=20)),
                ('reason', models.CharField(blank=True, max_length=100)),
                ('due_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('enrich_by', models.DateTimeField(null=True)),
                ('lease_token', models.UUIDField(editable=False, null=True)),
                ('learning_time', models.PositiveBigIntegerField(help_text='Seconds.', null=True)),
                ('learning_time_status', models.CharField(blank=True, max_length=20)),
                ('endpoint_id', models.PositiveBigIntegerField(db_index=True, null=True)),
                ('region', models.CharField(blank=True, choices=[('US', 'United States'), ('EU', 'European Union'), ('OTHER', 'Other')], max_length=10)),
                ('body', models.TextField(blank=True)),
                ('attempts_made', models.PositiveSmallIntegerField(default=0)),
                ('delivered_at', models.DateTimeField(null=True)),
                ('created', models.DateTimeField(default=django.utils.timezone.now)),
                ('modified', models.DateTimeField(auto_now=True)),
            ],
            options={
                'verbose_name': 'webhook',
                'indexes': [models.Index(fields=['status', 'due_at'], name='channel_webhooks_due')],
            },
        ),
        migrations.CreateModel(
            name='WebhookDeliveryAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveSmallIntegerField()),
                ('started_at', models.DateTimeField()),
                ('duration_ms', models.PositiveIntegerField()),
                ('status_code', models.PositiveSmallIntegerField(null=True)),
                ('error_code', models.CharField(blank=True, max_length=40)),
                ('response_start', models.TextField(blank=True)),
                ('webhook', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='channel_webhooks.webhooktransmissionqueue')),
            ],
            options={
                'verbose_name': 'delivery attempt',
            },
        ),
        migrations.CreateModel(
            name='EnterpriseWebhookConfiguration',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('region', models.CharField(choices=[('US', 'United States'), ('EU', 'European Union'), ('OTHER', 'Other')], default='OTHER', max_length=10)),
                ('webhook_url', models.URLField(help_text='https, on a public address.', max_length=500, verbose_name='URL')),
                ('active', models.BooleanField(default=True, help_text='Switched off: what waits is parked, and no webhooks are made for new completions.')),
                ('webhook_timeout_seconds', models.PositiveSmallIntegerField(default=15, help_text='How long one attempt may take, from name lookup to the end of the answer; 1 to 60.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(60)], verbose_name='timeout (seconds)')),
                ('send_from', models.DateTimeField(default=django.utils.timezone.now, help_text='Completions passed before this moment make no webhook.')),
                ('all_completions', models.BooleanField(default=False, help_text="Every completion of the customer's linked learners, not only of the courses it sponsors.")),
                ('created', models.DateTimeField(auto_now_add=True)),
                ('modified', models.DateTimeField(auto_now=True)),
                ('enterprise_customer', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='webhook_endpoints', to='enterprise.enterprisecustomer')),
            ],
            options={
                'verbose_name': 'webhook endpoint',
                'constraints': [models.UniqueConstraint(fields=('enterprise_customer', 'region'), name='channel_webhooks_customer_region')],
            },
        ),
    ]

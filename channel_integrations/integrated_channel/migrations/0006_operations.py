# SPDX-License-Identifier: AGPL-3.0-or-later

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('channel_webhooks', '0005_heartbeat'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookSuppression',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('enterprise_customer_uuid', models.UUIDField()),
                ('user_id', models.PositiveIntegerField(db_index=True)),
                ('course_id', models.CharField(max_length=255)),
                ('passed_at', models.DateTimeField(help_text='When the learner first passed.')),
                ('reason', models.CharField(max_length=100)),
                ('noted_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'verbose_name': 'suppressed webhook',
            },
        ),
        migrations.AlterModelOptions(
            name='webhooktransmissionqueue',
            options={'permissions': [('operate_webhooks', 'Can replay and cancel webhooks, test endpoints and switch them on again'), ('view_webhook_personal_data', 'Can see who a webhook is about and what it says')], 'verbose_name': 'webhook'},
        ),
        migrations.AddField(
            model_name='webhooktransmissionqueue',
            name='finished_at',
            field=models.DateTimeField(help_text='When it was delivered, failed for good or cancelled.', null=True),
        ),
        migrations.AddField(
            model_name='webhooktransmissionqueue',
            name='lookup_ms',
            field=models.PositiveIntegerField(help_text='Milliseconds that its statement took; 0 from the cache, empty without a lookup.', null=True),
        ),
        migrations.AddIndex(
            model_name='webhookdeliveryattempt',
            index=models.Index(fields=['started_at'], name='channel_webhooks_attempted'),
        ),
        migrations.AddIndex(
            model_name='webhooktransmissionqueue',
            index=models.Index(fields=['finished_at', 'status'], name='channel_webhooks_finished'),
        ),
        migrations.AddIndex(
            model_name='webhooksuppression',
            index=models.Index(fields=['noted_at', 'reason'], name='channel_webhooks_suppressed'),
        ),
        migrations.AddConstraint(
            model_name='webhooksuppression',
            constraint=models.UniqueConstraint(fields=('enterprise_customer_uuid', 'user_id', 'course_id'), name='channel_webhooks_suppressed_once'),
        ),
    ]

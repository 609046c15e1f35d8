# SPDX-License-Identifier: AGPL-3.0-or-later

import django.utils.timezone
import fernet_fields.fields
from django.db import migrations, models
from django.utils import timezone


def cancel_what_is_held(apps, schema_editor):
    """On the way back: no earlier release moves these, nor purges them. A person can replay them."""
    webhooks = apps.get_model("channel_webhooks", "WebhookTransmissionQueue").objects
    for pk in list(webhooks.filter(status="awaiting_ids").values_list("pk", flat=True)):
        webhooks.filter(pk=pk).update(status="cancelled", finished_at=timezone.now(), lease_token=None)


class Migration(migrations.Migration):

    dependencies = [
        ('channel_webhooks', '0008_endpoint_sign_in'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookPseudonymKey',
            fields=[
                ('enterprise_customer_uuid', models.UUIDField(primary_key=True, serialize=False)),
                ('key', fernet_fields.fields.EncryptedTextField(editable=False)),
                ('created', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'verbose_name': 'pseudonym key',
            },
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='learner_naming',
            field=models.CharField(choices=[('username_and_email', 'user id, username and email'), ('sign_on_id', "the id that the customer's identity provider signs the learner on with"), ('pseudonym', 'a pseudonym, of this customer alone')], default='username_and_email', help_text='How webhooks say who they are about.', max_length=20, null=True),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='missing_ids',
            field=models.CharField(choices=[('hold', 'hold the webhook until the learner has them'), ('skip', 'cancel the webhook'), ('nulls', 'send it with null in their place')], default='hold', help_text='What becomes of a webhook about a learner without the ids that the endpoint is to know.', max_length=10, null=True),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='omitted_fields',
            field=models.JSONField(blank=True, help_text="Names of the format's optional parts that are left out.", null=True),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='payload_format',
            field=models.CharField(default='standard', help_text='How the body of each webhook is written.', max_length=40, null=True),
        ),
        migrations.AlterField(
            model_name='webhooktransmissionqueue',
            name='status',
            field=models.CharField(choices=[('awaiting_enrichment', 'waiting for its learning time'), ('recorded', 'to be addressed'), ('pending', 'to be sent'), ('awaiting_ids', 'held until the learner has the ids that the endpoint wants'), ('no_endpoint', "no endpoint for the learner's region"), ('parked', 'parked: the endpoint is switched off'), ('delivered', 'delivered'), ('failed', 'failed for good'), ('cancelled', 'cancelled')], max_length=20),
        ),
        migrations.RunPython(migrations.RunPython.noop, cancel_what_is_held),
    ]

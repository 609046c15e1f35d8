# SPDX-License-Identifier: AGPL-3.0-or-later

from django.db import migrations, models


class Migration(migrations.Migration):
    """One index in place of another, the new one first: an INSERT writes as many as before."""

    dependencies = [
        ('channel_webhooks', '0011_disclosures'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='webhooktransmissionqueue',
            index=models.Index(fields=['revises', 'status', 'due_at'], name='channel_webhooks_revisions'),
        ),
        migrations.AlterField(
            model_name='webhooktransmissionqueue',
            name='revises',
            field=models.UUIDField(editable=False, help_text='The completion whose learning time this one corrects.', null=True),
        ),
    ]

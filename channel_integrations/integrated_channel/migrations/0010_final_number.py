# SPDX-License-Identifier: AGPL-3.0-or-later

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('channel_webhooks', '0008_endpoint_sign_in'),
    ]

    operations = [
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='hold_hours',
            field=models.PositiveSmallIntegerField(blank=True, help_text='How long a final number is waited for at the most; empty: 72.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(168)], verbose_name='hours to wait for a final number'),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='learning_time_timing',
            field=models.CharField(choices=[('now', 'now: with what is known'), ('hold', 'hold: once the number is final'), ('revise', 'revise: now, and once more if the final number differs')], default='now', help_text='When completions are sent whose learning time is not final yet.', max_length=10, null=True, verbose_name='while learning time is not final'),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='revise_from_seconds',
            field=models.PositiveIntegerField(blank=True, help_text='By more than how much the final number must differ to be sent; empty: 60.', null=True, validators=[django.core.validators.MaxValueValidator(86400)], verbose_name='seconds that make a revision'),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='states_as_of',
            field=models.BooleanField(default=False, help_text='Whether learning_time comes with learning_time_as_of and learning_time_final.', null=True, verbose_name='says as of when'),
        ),
        migrations.AddField(
            model_name='webhooklookupstatement',
            name='as_of',
            field=models.DateField(help_text='The last day that the rollup had.', null=True),
        ),
        migrations.AddField(
            model_name='webhooktransmissionqueue',
            name='held_at',
            field=models.DateTimeField(help_text='Since when it has waited for its final learning time.', null=True),
        ),
        migrations.AddField(
            model_name='webhooktransmissionqueue',
            name='learning_time_as_of',
            field=models.DateField(help_text='The last day that the rollup had when the learning time was looked up.', null=True),
        ),
        migrations.AddField(
            model_name='webhooktransmissionqueue',
            name='revises',
            field=models.UUIDField(db_index=True, editable=False, help_text='The completion whose learning time this one corrects.', null=True),
        ),
        migrations.AlterField(
            model_name='webhooktransmissionqueue',
            name='status',
            field=models.CharField(choices=[('awaiting_enrichment', 'waiting for its learning time'), ('awaiting_final', 'waiting until its learning time is final'), ('recorded', 'to be addressed'), ('pending', 'to be sent'), ('no_endpoint', "no endpoint for the learner's region"), ('parked', 'parked: the endpoint is switched off'), ('delivered', 'delivered'), ('failed', 'failed for good'), ('cancelled', 'cancelled')], max_length=20),
        ),
    ]

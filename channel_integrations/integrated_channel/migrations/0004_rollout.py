# SPDX-License-Identifier: AGPL-3.0-or-later


import django.core.validators
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('channel_webhooks', '0003_lookup_statements'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookRollout',
            fields=[
                ('number', models.PositiveIntegerField(editable=False, primary_key=True, serialize=False)),
                ('percentage', models.PositiveSmallIntegerField(default=100, help_text="Of each customer's learners, 0 to 100. A higher one only adds learners.", validators=[django.core.validators.MaxValueValidator(100)])),
                ('paused', models.BooleanField(default=False, help_text="The kill switch: while paused, nobody's learning time is looked up or sent.")),
                ('endpoint_id', models.PositiveBigIntegerField(editable=False, null=True)),
                ('learning_time', models.CharField(blank=True, choices=[('rollout', "as the site's rollout says"), ('always', 'always: for every learner, whatever the percentage'), ('never', 'never')], editable=False, max_length=10)),
                ('decided_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('decided_by_id', models.PositiveIntegerField(editable=False, help_text='A user id; empty for the command.', null=True)),
                ('note', models.CharField(blank=True, help_text='Why; for those who read this later.', max_length=200)),
            ],
            options={
                'verbose_name': 'rollout decision',
                'default_permissions': ('add', 'view'),
            },
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='learning_time',
            field=models.CharField(choices=[('rollout', "as the site's rollout says"), ('always', 'always: for every learner, whatever the percentage'), ('never', 'never')], default='rollout', help_text="Whether completions carry how long the learner spent learning. “Always” lets a pilot customer go first. Nothing carries it while the site's flag is off or the rollout is paused.", max_length=10, null=True),
        ),
    ]

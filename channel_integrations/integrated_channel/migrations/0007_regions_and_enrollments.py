# SPDX-License-Identifier: AGPL-3.0-or-later

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('channel_webhooks', '0006_operations'),
    ]

    operations = [
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='accepts_eu',
            field=models.BooleanField(default=False, help_text='Of the endpoint for Other alone: it gets them where there is no endpoint for the European Union.', null=True, verbose_name='accepts learners from the EU'),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='accepts_us',
            field=models.BooleanField(default=True, help_text='Of the endpoint for Other alone: it gets them where there is no endpoint for the United States.', null=True, verbose_name='accepts learners from the US'),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='sends_completions',
            field=models.BooleanField(default=True, help_text='Whether completions are sent here.', null=True, verbose_name='completions'),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='sends_enrollments',
            field=models.BooleanField(default=False, help_text='Whether enrolments in course runs that the customer sponsors are sent here.', null=True, verbose_name='enrolments'),
        ),
        migrations.AddField(
            model_name='webhooktransmissionqueue',
            name='enrollment_is_active',
            field=models.BooleanField(null=True),
        ),
        migrations.AddField(
            model_name='webhooktransmissionqueue',
            name='enrollment_mode',
            field=models.CharField(max_length=100, null=True),
        ),
        migrations.AlterField(
            model_name='webhooktransmissionqueue',
            name='occurred_at',
            field=models.DateTimeField(help_text='When the learner first passed, or enrolled.'),
        ),
    ]

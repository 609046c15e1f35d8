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
    ]

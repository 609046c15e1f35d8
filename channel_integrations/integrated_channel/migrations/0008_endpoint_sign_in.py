# SPDX-License-Identifier: AGPL-3.0-or-later

import django.db.models.deletion
import fernet_fields.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('channel_webhooks', '0007_regions_and_enrollments'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookEndpointCredential',
            fields=[
                ('endpoint', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='credential', serialize=False, to='channel_webhooks.enterprisewebhookconfiguration')),
                ('bearer_token', fernet_fields.fields.EncryptedTextField(editable=False, null=True)),
                ('client_secret', fernet_fields.fields.EncryptedTextField(editable=False, null=True)),
                ('access_token', fernet_fields.fields.EncryptedTextField(editable=False, null=True)),
                ('access_token_id', models.UUIDField(editable=False, null=True)),
                ('expires_at', models.DateTimeField(help_text='Until when the access token is used: shortly before the token server lets it expire.', null=True)),
                ('fetch_id', models.UUIDField(editable=False, null=True)),
                ('fetch_until', models.DateTimeField(null=True)),
            ],
            options={
                'verbose_name': 'endpoint credential',
            },
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='client_authentication',
            field=models.CharField(choices=[('basic', 'in the Authorization header (HTTP Basic)'), ('body', 'in the form')], default='basic', help_text='Where the token server looks for client id and secret.', max_length=10, null=True),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='client_id',
            field=models.CharField(blank=True, help_text='Who we are to the token server.', max_length=255, null=True, verbose_name='client id'),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='scope',
            field=models.CharField(blank=True, help_text='What the access token is to be good for.', max_length=500, null=True),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='sign_in',
            field=models.CharField(choices=[('none', 'none: the signature alone'), ('bearer', 'a bearer token that the partner has given out'), ('oauth', 'OAuth 2.0 client credentials')], default='none', help_text='What each webhook carries in its Authorization header. It is signed whatever this says.', max_length=10, null=True, verbose_name='sign-in'),
        ),
        migrations.AddField(
            model_name='enterprisewebhookconfiguration',
            name='token_url',
            field=models.URLField(blank=True, help_text='Where access tokens are asked for.', max_length=500, null=True, verbose_name='token URL'),
        ),
    ]

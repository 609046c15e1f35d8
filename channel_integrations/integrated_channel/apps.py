# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The AppConfig that both LMS generations load.

Studio imports this module through the LMS's settings without installing the app: only the standard library, Django's
AppConfig and the plugin constants may be imported at the top.
"""

from django.apps import AppConfig
from edx_django_utils.plugins.constants import PluginSettings, PluginSignals, PluginURLs


class IntegratedChannelConfig(AppConfig):
    """
    The webhook app.

    The label is not ``channel_integration``: databases that ran the other distribution's migrations under that label
    would believe that ours were applied.
    """

    name = "channel_integrations.integrated_channel"
    label = "channel_webhooks"
    verbose_name = "Completion webhooks"
    default_auto_field = "django.db.models.BigAutoField"

    plugin_app = {
        PluginSettings.CONFIG: {
            "lms.djangoapp": {
                "common": {PluginSettings.RELATIVE_PATH: "settings.common"},
                "production": {PluginSettings.RELATIVE_PATH: "settings.production"},
            },
        },
        PluginURLs.CONFIG: {
            "lms.djangoapp": {
                PluginURLs.NAMESPACE: "channel_webhooks",
                PluginURLs.REGEX: r"^channel_webhooks/",
                PluginURLs.RELATIVE_PATH: "urls",
            },
        },
        PluginSignals.CONFIG: {
            "lms.djangoapp": {
                PluginSignals.RELATIVE_PATH: "handlers",
                PluginSignals.RECEIVERS: [
                    {
                        PluginSignals.RECEIVER_FUNC_NAME: "handle_grade_change_for_webhooks",
                        PluginSignals.SIGNAL_PATH: "openedx_events.learning.signals.PERSISTENT_GRADE_SUMMARY_CHANGED",
                        PluginSignals.DISPATCH_UID: "channel_webhooks.handle_grade_change_for_webhooks",
                    },
                    {
                        PluginSignals.RECEIVER_FUNC_NAME: "handle_enrollment_for_webhooks",
                        PluginSignals.SIGNAL_PATH: "openedx_events.learning.signals.COURSE_ENROLLMENT_CREATED",
                        PluginSignals.DISPATCH_UID: "channel_webhooks.handle_enrollment_for_webhooks",
                    },
                    *(
                        {
                            PluginSignals.RECEIVER_FUNC_NAME: "handle_learner_retirement",
                            PluginSignals.SIGNAL_PATH: f"openedx.core.djangoapps.user_api.accounts.signals.{step}",
                            PluginSignals.DISPATCH_UID: f"channel_webhooks.handle_learner_retirement.{step}",
                        }
                        for step in ("USER_RETIRE_LMS_MISC", "USER_RETIRE_LMS_CRITICAL")
                    ),
                ],
            },
        },
    }

    def ready(self) -> None:
        """Register the system checks, and what happens when endpoints are made and deleted and workers start."""
        from celery.signals import celeryd_after_setup
        from django.db.models.signals import post_delete, post_save
        from social_django.models import UserSocialAuth

        from channel_integrations.integrated_channel import checks, tasks  # noqa: F401  (both register on import)
        from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
        from channel_integrations.integrated_channel.models.health import give_health
        from channel_integrations.integrated_channel.models.signing_secret import (
            delete_secrets_of_deleted_endpoint,
            give_first_secret,
        )
        from channel_integrations.integrated_channel.models.webhook import cancel_rows_of_deleted_endpoint
        from channel_integrations.integrated_channel.services.erasure import note_deleted_endpoint
        from channel_integrations.integrated_channel.services.held import look_when_sign_on_changes
        from channel_integrations.integrated_channel.snowflake_connection import import_before_fork

        celeryd_after_setup.connect(import_before_fork, dispatch_uid="channel_webhooks.import_before_fork")
        post_save.connect(
            look_when_sign_on_changes,
            sender=UserSocialAuth,
            dispatch_uid="channel_webhooks.look_when_sign_on_changes",
        )
        for signal, receiver in (
            (post_save, give_first_secret),
            (post_save, give_health),
            (post_delete, delete_secrets_of_deleted_endpoint),
            (post_delete, cancel_rows_of_deleted_endpoint),
            (post_delete, note_deleted_endpoint),
        ):
            signal.connect(
                receiver,
                sender=EnterpriseWebhookConfiguration,
                dispatch_uid=f"channel_webhooks.{receiver.__name__}",
            )

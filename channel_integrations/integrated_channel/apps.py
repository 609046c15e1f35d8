# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The AppConfig that both LMS generations load.

Studio imports this module through the LMS's settings without installing the app: only the standard library, Django's
AppConfig and the plugin constants may be imported at the top.
"""

from django.apps import AppConfig
from edx_django_utils.plugins.constants import PluginSettings, PluginSignals


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
        PluginSignals.CONFIG: {
            "lms.djangoapp": {
                PluginSignals.RELATIVE_PATH: "handlers",
                PluginSignals.RECEIVERS: [
                    {
                        PluginSignals.RECEIVER_FUNC_NAME: "handle_grade_change_for_webhooks",
                        PluginSignals.SIGNAL_PATH: "openedx_events.learning.signals.PERSISTENT_GRADE_SUMMARY_CHANGED",
                        PluginSignals.DISPATCH_UID: "channel_webhooks.handle_grade_change_for_webhooks",
                    },
                ],
            },
        },
    }

    def ready(self) -> None:
        """Register the system checks and the receiver that settles the rows of a deleted endpoint."""
        from channel_integrations.integrated_channel import checks, tasks  # noqa: F401  (both register on import)
        from channel_integrations.integrated_channel.models import connect_model_signals

        connect_model_signals()

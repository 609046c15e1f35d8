# SPDX-License-Identifier: AGPL-3.0-or-later
"""A site's ADDL_INSTALLED_APPS and YAML come after the common settings: what they undid is done again."""

from channel_integrations.integrated_channel.settings.common import keep_one_app_config, put_router_first


def plugin_settings(settings) -> None:
    """Called by the LMS in the middle of its production settings."""
    keep_one_app_config(settings)
    put_router_first(settings)

# SPDX-License-Identifier: AGPL-3.0-or-later
"""
System checks.

=========================  ==========================================================================
channel_webhooks.E001      the flag is on and SNOWFLAKE_CONFIG is missing or incomplete
channel_webhooks.E002      the flag is on and SNOWFLAKE_CONFIG has no way, or two ways, to sign in
channel_webhooks.E003      a setting is of the wrong type or out of bounds; its default is used
=========================  ==========================================================================
"""

from django.core.checks import Error, Tags, register

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.snowflake_sign_in import missing_keys, ways_to_sign_in


@register(Tags.compatibility)
def check_settings(app_configs, **kwargs) -> list[Error]:
    """Every setting that cannot be used as it is (E003)."""
    return [Error(found.message, hint=found.hint, id="channel_webhooks.E003") for found in conf.problems()]


@register(Tags.compatibility)
def check_snowflake(app_configs, **kwargs) -> list[Error]:
    """Whether a lookup can sign in (E001, E002); silent while the flag is off."""
    if not conf.enrichment_enabled():
        return []
    config = conf.snowflake_config()
    missing = missing_keys(config)
    if missing:
        return [
            Error(
                f"Learning time is switched on, but SNOWFLAKE_CONFIG lacks: {', '.join(missing)}.",
                hint="Add the keys to SNOWFLAKE_CONFIG, or set FEATURES['ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT'] = "
                "False. Until then webhooks go out without learning time.",
                id="channel_webhooks.E001",
            )
        ]
    ways = ways_to_sign_in(config)
    if len(ways) != 1:
        found = " and ".join(ways) if ways else "none"
        return [
            Error(
                f"SNOWFLAKE_CONFIG must name exactly one way to sign in; found: {found}.",
                hint="Use a key pair: SNOWFLAKE_CONFIG['private_key_file'] = '/path/to/rsa_key.p8' (and "
                "'private_key_passphrase' where it has one), and remove the others.",
                id="channel_webhooks.E002",
            )
        ]
    return []

# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What the LMS's settings say, from Tutor's configuration.

Tutor puts settings into ConfigMaps, which more people may read than secrets: a secret is refused here, with where it
belongs.
"""

from typing import Any

from tutor.exceptions import TutorError

from tutorchannelintegrations import workers

FLAG = "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT"
#: where the enrichment worker finds the folder, or the Secret, with Snowflake's key
SNOWFLAKE_FOLDER = "/run/secrets/channel-webhooks-snowflake"
#: within what a local LMS mounts anyhow (data/lms), since a plugin cannot give it a mount of its own
METRICS_FOLDER = "/openedx/data/channel-webhooks-metrics"

_SECRET_KEYS = (
    "private_key",
    "private_key_passphrase",
    "private_key_file_pwd",
    "password",
    "passcode",
    "proxy_password",
    "token",
    "session_token",
    "master_token",
    "oauth_client_secret",
)
_SIGN_IN_WITHOUT_KEY = ("authenticator", "workload_identity_provider", "token_file_path")
_KEY_FILES = ("private_key_file", "private_key_path")


def snowflake_config(given: dict[str, Any]) -> dict[str, Any]:
    """SNOWFLAKE_CONFIG: what is given, and the mounted key file unless another way to sign in is named."""
    if not isinstance(given, dict):
        raise TutorError("CHANNEL_INTEGRATIONS_SNOWFLAKE must be a mapping: account, user, warehouse, database, ...")
    for key in _SECRET_KEYS:
        if key in given:
            raise TutorError(
                f"CHANNEL_INTEGRATIONS_SNOWFLAKE must not have {key!r}: Tutor would put it into a ConfigMap. The "
                f"private key belongs into a file that is mounted as {SNOWFLAKE_FOLDER}/private_key, its passphrase "
                "into private_key_passphrase beside it. Other ways: token_file_path, or a workload identity."
            )
    if not given or any(given.get(key) for key in (*_SIGN_IN_WITHOUT_KEY, *_KEY_FILES)):
        return dict(given)
    return {**given, "private_key_file": f"{SNOWFLAKE_FOLDER}/private_key"}


def delivery_processes(run: bool, keda: bool, concurrency: int, replicas: int) -> int:
    """How many processes deliver on a queue of their own; 0 where the LMS's own workers deliver."""
    if keda and not run:
        raise TutorError(
            "CHANNEL_INTEGRATIONS_KEDA needs CHANNEL_INTEGRATIONS_RUN_DELIVERY_WORKER: it is what KEDA scales."
        )
    return concurrency * replicas if run else 0


def assignments(settings: dict[str, Any], snowflake: dict[str, Any], processes: int) -> list[str]:
    """
    Lines of Python, for the LMS's settings.

    :param settings: CHANNEL_INTEGRATIONS_SETTINGS, which has the last word
    :param processes: that deliver on a queue of their own
    """
    found: dict[str, Any] = {"CHANNEL_WEBHOOKS_METRICS_TOKEN_FILE": f"{METRICS_FOLDER}/token"}
    if snowflake:
        found["SNOWFLAKE_CONFIG"] = snowflake_config(snowflake)
    if processes:
        found["CHANNEL_WEBHOOKS_DELIVERY_QUEUE"] = workers.DELIVERY.queue
        found["CHANNEL_WEBHOOKS_DELIVERY_WORKERS"] = min(processes, 64)  # the most that the setting takes
    for name in settings:
        if not name.startswith("CHANNEL_WEBHOOKS_"):
            raise TutorError(f"CHANNEL_INTEGRATIONS_SETTINGS takes settings named CHANNEL_WEBHOOKS_..., not {name}.")
        if name == "CHANNEL_WEBHOOKS_METRICS_TOKEN":
            raise TutorError(
                f"CHANNEL_INTEGRATIONS_SETTINGS must not have {name}: Tutor would put it into a ConfigMap. The token "
                f"belongs into a file that is mounted as {METRICS_FOLDER}/token."
            )
    return [f"{name} = {value!r}" for name, value in {**found, **settings}.items()]

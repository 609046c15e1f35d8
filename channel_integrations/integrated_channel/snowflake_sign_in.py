# SPDX-License-Identifier: AGPL-3.0-or-later
"""SNOWFLAKE_CONFIG, judged and turned into what the connector takes: arithmetic on a dict, and one key file."""

from pathlib import Path
from typing import Any

from channel_integrations.integrated_channel.exceptions import SnowflakeNotConfigured

REQUIRED = ("account", "user", "warehouse", "database", "schema", "role")
KEY_PAIR, PASSWORD, TOKEN = "key pair", "password", "token"
OAUTH, WORKLOAD_IDENTITY = "OAuth", "workload identity"

_KEY_NAMES = ("private_key_file", "private_key_path", "private_key")
_OURS = (*_KEY_NAMES, "private_key_passphrase", "private_key_file_pwd")


def missing_keys(config: dict[str, Any]) -> list[str]:
    """The required keys that are absent or empty; ``user`` is not one where the sign-in itself says who asks."""
    required = [key for key in REQUIRED if key != "user" or not _carries_identity(config)]
    return [key for key in required if not config.get(key)]


def ways_to_sign_in(config: dict[str, Any]) -> list[str]:
    """The ways to sign in that the config names; exactly one is right."""
    ways = []
    if any(config.get(key) for key in _KEY_NAMES):
        ways.append(KEY_PAIR)
    if config.get("password"):
        ways.append(PASSWORD)
    authenticator = _authenticator(config)
    if authenticator == "OAUTH_CLIENT_CREDENTIALS":
        ways += [OAUTH] * bool(config.get("oauth_client_id") and config.get("oauth_client_secret"))
    elif _is_workload(config):
        ways.append(WORKLOAD_IDENTITY)  # with a token where the provider is OIDC
    elif config.get("token") or config.get("token_file_path"):
        ways.append(OAUTH if authenticator == "OAUTH" else TOKEN)
    return ways


def connect_arguments(config: dict[str, Any]) -> dict[str, Any]:
    """
    Keyword arguments for ``snowflake.connector.connect``; keys that are not about signing in are passed on unchanged.

    :raises SnowflakeNotConfigured: a key is missing, there is not exactly one way to sign in, or the key cannot be read
    """
    missing = missing_keys(config)
    if missing:
        raise SnowflakeNotConfigured(f"SNOWFLAKE_CONFIG lacks: {', '.join(missing)}")
    ways = ways_to_sign_in(config)
    if len(ways) != 1:
        raise SnowflakeNotConfigured(f"SNOWFLAKE_CONFIG must name one way to sign in, found {len(ways)}")
    arguments = {key: value for key, value in config.items() if key not in _OURS}
    if ways == [KEY_PAIR]:
        # DER bytes are what every supported release of the connector takes.
        arguments["private_key"] = _private_key_der(config)
    elif ways == [TOKEN]:
        arguments["authenticator"] = "PROGRAMMATIC_ACCESS_TOKEN"
    elif ways == [WORKLOAD_IDENTITY]:
        arguments["authenticator"] = "WORKLOAD_IDENTITY"
    if not isinstance(arguments.get("session_parameters") or {}, dict):
        raise SnowflakeNotConfigured("SNOWFLAKE_CONFIG['session_parameters'] must be a dict")
    return arguments


def _authenticator(config: dict[str, Any]) -> str:
    return str(config.get("authenticator") or "").upper()


def _carries_identity(config: dict[str, Any]) -> bool:
    return _authenticator(config) in ("OAUTH", "OAUTH_CLIENT_CREDENTIALS") or _is_workload(config)


def _is_workload(config: dict[str, Any]) -> bool:
    authenticator = _authenticator(config)
    return authenticator == "WORKLOAD_IDENTITY" or bool(not authenticator and config.get("workload_identity_provider"))


def _private_key_der(config: dict[str, Any]) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    given = [config[name] for name in _KEY_NAMES if config.get(name)]
    if len(given) != 1:
        raise SnowflakeNotConfigured("SNOWFLAKE_CONFIG must name one private key: private_key_file or private_key")
    passphrase = config.get("private_key_passphrase") or config.get("private_key_file_pwd")
    try:
        text = given[0] if config.get("private_key") else Path(given[0]).read_bytes()
        content = text.encode() if isinstance(text, str) else text
        load = serialization.load_pem_private_key if b"-----BEGIN" in content else serialization.load_der_private_key
        key = load(content, password=passphrase.encode() if isinstance(passphrase, str) else passphrase)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise SnowflakeNotConfigured(
            "The private key of SNOWFLAKE_CONFIG cannot be read: give a PEM file that this process may read (or its "
            f"text) and the right passphrase ({type(err).__name__})"
        ) from err
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

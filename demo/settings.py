# SPDX-License-Identifier: AGPL-3.0-or-later
"""The stand-in LMS on an embedded default: SQLite, a broker in a folder, a cache in a folder."""

import os
from pathlib import Path

from test_settings import *  # noqa: F403

FOLDER = Path(os.environ["DEMO_FOLDER"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(FOLDER / "lms.sqlite3"),
        "ATOMIC_REQUESTS": True,
        # A transaction that begins with a read and then writes would otherwise fail at once beside another writer.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(FOLDER / "cache")}
}
CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = True
DEBUG = True

BROKER_URL = os.environ.get("BROKER") or "filesystem://"
if BROKER_URL == "filesystem://":
    BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(FOLDER / "broker"),
        "data_folder_out": str(FOLDER / "broker"),
        "control_folder": str(FOLDER / "control"),
        "polling_interval": 0.1,
    }

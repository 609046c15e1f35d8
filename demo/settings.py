# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The stand-in LMS on an embedded default: SQLite, a broker and a cache, each in the folder of this run.

``DEMO_FOLDER`` names that folder; ``BROKER=redis://...`` replaces the broker.
"""

import os
from pathlib import Path

from test_settings import *  # noqa: F403  (the LMS; what differs follows)

FOLDER = Path(os.environ["DEMO_FOLDER"])
DATABASES = {
    "default": {
        "ENGINE": "demo.sqlite",
        "NAME": str(FOLDER / "lms.sqlite3"),
        "ATOMIC_REQUESTS": True,
        "OPTIONS": {"timeout": 20},
    }
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(FOLDER / "cache")}
}
# The templates of edx-enterprise's own admin pages: an endpoint's form picks the customer from one of them.
INSTALLED_APPS = [*INSTALLED_APPS, "django_object_actions"]
CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = True
DEBUG = True
# else edx-django-utils tells of New Relic, which is not installed, in the midst of the story
OPENEDX_TELEMETRY: list[str] = []
if os.environ.get("DEMO_ROLLUP_READY_AT"):
    CHANNEL_WEBHOOKS_ROLLUP_READY_AT = os.environ["DEMO_ROLLUP_READY_AT"]

BROKER_URL = os.environ.get("BROKER") or "filesystem://"
#: on a server that others use too, the demo's messages have names of their own
KEY_PREFIX = f"{FOLDER.name}:"
if BROKER_URL.startswith("redis"):
    BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": KEY_PREFIX}
elif BROKER_URL == "filesystem://":
    BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(FOLDER / "broker"),
        "data_folder_out": str(FOLDER / "broker"),
        "control_folder": str(FOLDER / "control"),
        "polling_interval": 0.1,
    }
    # Celery 5.5 acknowledges on such a broker once in two seconds; the next message must not wait for that.
    CELERYD_PREFETCH_MULTIPLIER = 0

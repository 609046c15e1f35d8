# SPDX-License-Identifier: AGPL-3.0-or-later
"""The stand-in LMS as it runs in production: no debugging, a log of every call, and the settings under measurement."""

import logging
import os

from test_settings import *  # noqa: F403  (the LMS; what differs follows)

DEBUG = False
CELERY_IMPORTS = ("benchmarks.tasks",)
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

# The defaults of the package, unless a scenario measures another value.
for _name in ("CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS", "CHANNEL_WEBHOOKS_WAREHOUSE_AUTO_SUSPEND_SECONDS"):
    if _name in os.environ:
        globals()[_name] = int(os.environ[_name])

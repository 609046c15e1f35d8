# SPDX-License-Identifier: AGPL-3.0-or-later
"""The stand-in LMS with two workers that deliver at the same time, and a log that tells of every attempt."""

import logging

from test_settings import *  # noqa: F403  (the LMS; what differs follows)

CHANNEL_WEBHOOKS_DELIVERY_WORKERS = 2
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Celery app, configured as the LMS's is: Django's settings without a namespace, old-style names."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "test_settings")

app = Celery("lms")
app.config_from_object("django.conf:settings")
app.autodiscover_tasks()

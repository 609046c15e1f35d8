# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Celery app by the name that it has in an LMS: ``celery -A lms.celery worker``, as the documentation says."""

from tests.lms_host.celery import app

__all__ = ["app"]

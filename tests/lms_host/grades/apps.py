# SPDX-License-Identifier: AGPL-3.0-or-later
"""The grades app, which also connects the plugins' receivers, as the LMS does when its apps are ready."""

from django.apps import AppConfig
from edx_django_utils.plugins import connect_plugin_receivers


class GradesConfig(AppConfig):
    """Stands in for ``lms.djangoapps.grades``."""

    name = "tests.lms_host.grades"
    label = "grades"
    default_auto_field = "django.db.models.AutoField"

    def ready(self):
        connect_plugin_receivers("lms.djangoapp")

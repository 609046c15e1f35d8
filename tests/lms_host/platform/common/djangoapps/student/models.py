# SPDX-License-Identifier: AGPL-3.0-or-later
"""What edx-enterprise asks the LMS's enrolments for."""

from django.conf import settings
from django.db import models


class CourseEnrollment(models.Model):
    """A learner's enrolment in a course run, with its mode (audit, verified, …)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    course_id = models.CharField(max_length=255)
    mode = models.CharField(max_length=100)
    is_active = models.BooleanField(default=True)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "student"

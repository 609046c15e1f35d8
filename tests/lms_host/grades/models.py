# SPDX-License-Identifier: AGPL-3.0-or-later
"""The columns and indexes of the LMS's persistent grades."""

from django.db import models


class PersistentCourseGrade(models.Model):
    """A learner's grade in a course run."""

    user_id = models.IntegerField()
    course_id = models.CharField(max_length=255)
    percent_grade = models.FloatField()
    letter_grade = models.CharField(max_length=255, blank=True)
    passed_timestamp = models.DateTimeField(null=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "grades"
        unique_together = [("course_id", "user_id")]
        indexes = [
            models.Index(fields=["passed_timestamp", "course_id", "user_id"], name="grades_passed"),
            models.Index(fields=["modified", "course_id", "user_id"], name="grades_modified"),
        ]

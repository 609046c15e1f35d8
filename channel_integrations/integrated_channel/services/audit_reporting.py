# SPDX-License-Identifier: AGPL-3.0-or-later
"""Audit enrolments that a customer does not have reported."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from enterprise import models as enterprise_models
from enterprise.models import EnterpriseCourseEnrollment


def without_audit_reporting(course_id: str, recipients: Iterable[Any]) -> set[tuple[int, UUID]]:
    """
    (learner, customer) of those recipients' sponsored enrolments whose ``audit_reporting_disabled`` is set.

    The rule is edx-enterprise's own property; the enrolments that it would ask the LMS for one by one are handed to it.
    """
    user_ids = {recipient.user_id for recipient in recipients if recipient.is_sponsor}
    if not user_ids:
        return set()
    enrolments = EnterpriseCourseEnrollment.objects.filter(
        course_id=course_id, enterprise_customer_user__user_id__in=user_ids
    ).select_related("enterprise_customer_user__enterprise_customer")
    modes = {}
    if enterprise_models.CourseEnrollment:
        in_course = enterprise_models.CourseEnrollment.objects.filter(user_id__in=user_ids, course_id=course_id)
        modes = {enrolment.user_id: enrolment for enrolment in in_course}
    audit = set()
    for enrolment in enrolments:
        link = enrolment.enterprise_customer_user
        enrolment.__dict__["course_enrollment"] = modes.get(link.user_id)  # a cached property
        if enrolment.audit_reporting_disabled:
            audit.add((link.user_id, link.enterprise_customer_id))
    return audit

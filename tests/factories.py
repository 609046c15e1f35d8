# SPDX-License-Identifier: AGPL-3.0-or-later
"""People, customers, endpoints and real grade events, made in the database of the stand-in LMS."""

import itertools
from datetime import datetime, timedelta
from typing import Any

from consent.models import DataSharingConsent
from django.contrib.auth import get_user_model
from django.contrib.sites.models import Site
from django.utils import timezone
from enterprise.models import EnterpriseCourseEnrollment, EnterpriseCustomer, EnterpriseCustomerUser
from opaque_keys.edx.keys import CourseKey
from openedx_events.learning.data import (
    CourseData,
    CourseEnrollmentData,
    PersistentCourseGradeData,
    UserData,
    UserPersonalData,
)
from openedx_events.learning.signals import COURSE_ENROLLMENT_CREATED, PERSISTENT_GRADE_SUMMARY_CHANGED

from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
from tests.lms_host.grades.models import PersistentCourseGrade

COURSE = "course-v1:edX+Demo+2026"
A_MONTH = timedelta(days=30)
_number = itertools.count(1)


def make_customer(name: str = "Acme", **fields: Any) -> EnterpriseCustomer:
    """An active customer that asks for no consent unless told so."""
    site, _ = Site.objects.get_or_create(pk=1, defaults={"domain": "lms.example.com", "name": "lms"})
    fields.setdefault("enable_data_sharing_consent", False)
    return EnterpriseCustomer.objects.create(name=name, slug=f"customer-{next(_number)}", site=site, **fields)


def make_endpoint(customer: EnterpriseCustomer, url: str, **fields: Any) -> EnterpriseWebhookConfiguration:
    """An endpoint, since a month ago."""
    fields.setdefault("send_from", timezone.now() - A_MONTH)
    return EnterpriseWebhookConfiguration.objects.create(enterprise_customer=customer, webhook_url=url, **fields)


def make_learner(
    customer: EnterpriseCustomer | None = None, course: str = COURSE, user: Any = None, sponsored: bool = True, **fields
) -> Any:
    """A learner, linked to the customer since a month ago and sponsored by it for the course run."""
    number = next(_number)
    fields = {"username": f"learner{number}", "email": f"learner{number}@example.com", **fields}
    user = user or get_user_model().objects.create(**fields)
    if customer:
        link = EnterpriseCustomerUser.objects.create(enterprise_customer=customer, user_id=user.id)
        EnterpriseCustomerUser.objects.filter(pk=link.pk).update(created=timezone.now() - A_MONTH)
        if sponsored:
            EnterpriseCourseEnrollment.objects.create(enterprise_customer_user=link, course_id=course)
    return user


def give_consent(customer: EnterpriseCustomer, learner: Any, course: str = COURSE, granted: bool = True) -> None:
    """The learner's answer to the customer's question about sharing data."""
    DataSharingConsent.objects.create(
        enterprise_customer=customer, username=learner.username, course_id=course, granted=granted
    )


_NOW: Any = object()


def enrollment_event(
    learner: Any, course: str = COURSE, enrolled_at: datetime = _NOW, mode: str = "verified", is_active: bool = True
) -> None:
    """Send the event that the LMS sends when a learner enrols, and again when one who has left comes back."""
    COURSE_ENROLLMENT_CREATED.send_event(
        enrollment=CourseEnrollmentData(
            user=UserData(
                pii=UserPersonalData(username=learner.username, email=learner.email, name=""),
                id=learner.id,
                is_active=True,
            ),
            course=CourseData(course_key=CourseKey.from_string(course), display_name=""),
            mode=mode,
            is_active=is_active,
            creation_date=timezone.now() if enrolled_at is _NOW else enrolled_at,
        )
    )


def grade_event(
    learner: Any, course: str = COURSE, passed_at: datetime | None = _NOW, percent: float = 0.92, letter: str = "A"
) -> None:
    """Send the event that the LMS sends on every regrade."""
    now = timezone.now()
    PERSISTENT_GRADE_SUMMARY_CHANGED.send_event(
        grade=PersistentCourseGradeData(
            user_id=learner.id,
            course=CourseData(course_key=CourseKey.from_string(course), display_name=""),
            course_edited_timestamp=now,
            course_version="",
            grading_policy_hash="hash",
            percent_grade=percent,
            letter_grade=letter,
            passed_timestamp=now if passed_at is _NOW else passed_at,
        )
    )


def write_grade(
    learner: Any, course: str = COURSE, passed_at: datetime | None = _NOW, percent: float = 0.92, letter: str = "A"
) -> PersistentCourseGrade:
    """Write the LMS's grade row, as the LMS does before it sends the event."""
    passed_at = timezone.now() if passed_at is _NOW else passed_at
    grade, _ = PersistentCourseGrade.objects.update_or_create(
        user_id=learner.id,
        course_id=course,
        defaults={"percent_grade": percent, "letter_grade": letter, "passed_timestamp": passed_at},
    )
    return grade

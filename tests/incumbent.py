# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The tables of ``enterprise-integrated-channels``, as its migrations make them, with rows as its code writes them.

Compared with what its own migrations make (0.2.0, on MariaDB, PostgreSQL and SQLite): columns, types and foreign keys
are the same. Indexes, other than the foreign keys' own, are left out.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.apps.registry import Apps
from django.contrib.auth import get_user_model
from django.db import connection, models
from django.utils import timezone
from enterprise.models import EnterpriseCustomer
from fernet_fields import EncryptedCharField

#: by the first release that has them, the columns of an endpoint that not every release has
COLUMNS = {
    "0.1.30": ("webhook_auth_token",),
    "0.1.36": ("webhook_auth_token", "enrollment_events_processing"),
    "0.1.41": ("webhook_auth_token", "enable_enrollment_events_processing", "client_id", "decrypted_client_secret"),
    "0.2.0": ("enable_enrollment_events_processing", "client_id", "decrypted_client_secret", "webhook_token_url"),
}


def _varying() -> dict[str, models.Field]:
    return {
        "webhook_auth_token": models.CharField(max_length=255, blank=True, null=True),
        "enrollment_events_processing": models.BooleanField(default=True),
        "enable_enrollment_events_processing": models.BooleanField(default=True),
        "client_id": models.CharField(max_length=255, blank=True, null=True),
        "decrypted_client_secret": EncryptedCharField(max_length=255, blank=True, default="", null=True),
        "webhook_token_url": models.URLField(max_length=500, blank=True, null=True),
    }


def _customer() -> models.Field:
    return models.ForeignKey(EnterpriseCustomer, on_delete=models.CASCADE, related_name="+")


def _user() -> models.Field:
    return models.ForeignKey(get_user_model(), on_delete=models.CASCADE, related_name="+")


def _times() -> dict[str, models.Field]:
    return {
        "created": models.DateTimeField(default=timezone.now),
        "modified": models.DateTimeField(default=timezone.now),
    }


class Incumbent:
    """Its tables in the test's database: ``make()``, rows, ``drop()``. No app of them is installed."""

    def __init__(self, release: str = "0.2.0") -> None:
        self._apps, self.release = Apps(), release
        varying = _varying()
        self.Endpoint = self._model(
            "EnterpriseWebhookConfiguration",
            region=models.CharField(max_length=10, db_index=True),
            webhook_url=models.URLField(max_length=500),
            webhook_timeout_seconds=models.IntegerField(default=30),
            webhook_retry_attempts=models.IntegerField(default=3),
            max_requests_per_minute=models.IntegerField(default=100),
            active=models.BooleanField(default=True),
            enterprise_customer=_customer(),
            **{name: varying[name] for name in COLUMNS[release]},
        )
        self.QueueItem = self._model(
            "WebhookTransmissionQueue",
            course_id=models.CharField(max_length=255),
            event_type=models.CharField(max_length=50),
            user_region=models.CharField(max_length=10),
            webhook_url=models.URLField(max_length=500),
            payload=models.TextField(),
            status=models.CharField(max_length=20, db_index=True, default="pending"),
            deduplication_key=models.CharField(max_length=255, db_index=True),
            attempt_count=models.IntegerField(default=0),
            last_attempt_at=models.DateTimeField(blank=True, null=True),
            next_retry_at=models.DateTimeField(blank=True, null=True, db_index=True),
            completed_at=models.DateTimeField(blank=True, null=True),
            error_message=models.TextField(blank=True, null=True),
            http_status_code=models.IntegerField(blank=True, null=True),
            response_body=models.TextField(blank=True, null=True),
            enterprise_customer=_customer(),
            user=_user(),
        )
        self.ApiResponse = self._model("ApiResponseRecord", status_code=models.PositiveIntegerField(null=True))
        self.Content = self._model(
            "ContentMetadataItemTransmission",
            content_id=models.CharField(max_length=255),
            enterprise_customer=_customer(),
            api_response_status=models.ForeignKey(self.ApiResponse, null=True, on_delete=models.CASCADE),
        )
        self.Statement = self._model("XAPILearnerDataTransmissionAudit", label="xapi_channel", user=_user())

    def _model(self, name: str, label: str = "channel_integration", **fields: models.Field) -> Any:
        meta = type("Meta", (), {"apps": self._apps, "app_label": label})
        key = {"id": models.AutoField(primary_key=True)}
        return type(name, (models.Model,), {"__module__": __name__, "Meta": meta, **key, **_times(), **fields})

    @property
    def models(self) -> tuple[Any, ...]:
        return self.Endpoint, self.QueueItem, self.ApiResponse, self.Content, self.Statement

    def make(self) -> "Incumbent":
        with connection.schema_editor() as editor:
            for model in self.models:
                editor.create_model(model)
        return self

    def drop(self) -> None:
        with connection.cursor() as cursor:
            for model in reversed(self.models):
                cursor.execute(f"DROP TABLE IF EXISTS {model._meta.db_table}")

    def endpoint(self, customer: Any, url: str = "https://hooks.partner.example.com/lms", **fields: Any) -> Any:
        """Configured a month ago."""
        month = timezone.now() - timedelta(days=30)
        fields = {"region": "OTHER", "created": month, **fields}
        return self.Endpoint.objects.create(enterprise_customer_id=customer.pk, webhook_url=url, **fields)

    def webhook(
        self, customer: Any, learner: Any, course: str, moment: datetime, status: str = "success", **fields: Any
    ) -> Any:
        """One in its queue, made when its event came in: by default in the moment of the pass."""
        event_type = fields.pop("event_type", "course_completion")
        made = fields.pop("created", moment)
        payload = fields.pop("payload", None) or self.payload(customer, learner, course, moment, event_type)
        done = {"attempt_count": 1, "last_attempt_at": made, "completed_at": made, "http_status_code": 200}
        return self.QueueItem.objects.create(
            enterprise_customer_id=customer.pk,
            user_id=learner.pk,
            course_id=course,
            event_type=event_type,
            user_region="OTHER",
            webhook_url="https://hooks.partner.example.com/lms",
            payload=payload if isinstance(payload, str) else json.dumps(payload),
            status=status,
            deduplication_key=f"{customer.pk}:{learner.pk}:{course}:{event_type}:{made:%Y-%m-%d}",
            **{"created": made, **(done if status == "success" else {}), **fields},
        )

    def payload(self, customer: Any, learner: Any, course: str, moment: datetime, event_type: str) -> dict[str, Any]:
        """What a release puts into the payload."""
        if self.release in ("0.1.30", "0.1.36"):
            return _standard(customer, learner, course, moment, event_type)
        completed = event_type == "course_completion"
        date = moment.astimezone(UTC).replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "content_id": "course:" + "+".join(course.removeprefix("course-v1:").split("+")[:2]),
            "user": None,
            "status": "completed" if completed else "started",
            "event_date": date if self.release == "0.2.0" else moment.isoformat(),
            "completion_percentage": 100 if completed else 0,
            "duration_spent": None,
            "orgid": None,
        }


def _standard(customer: Any, learner: Any, course: str, moment: datetime, event_type: str) -> dict[str, Any]:
    if event_type == "course_completion":
        what: dict[str, Any] = {
            "completion": {
                "completed": True,
                "completion_date": moment.isoformat(),
                "percent_grade": 0.81,
                "letter_grade": "B",
                "is_passing": True,
            }
        }
    else:
        what = {"enrollment": {"mode": "verified", "is_active": True, "enrollment_date": moment.isoformat()}}
    return {
        "event_type": event_type,
        "event_version": "2.0",
        "event_source": "openedx_events",
        "timestamp": moment.isoformat(),
        "enterprise_customer": {"uuid": str(customer.pk), "name": customer.name},
        "learner": {"user_id": learner.pk, "username": learner.username, "email": learner.email},
        "course": {"course_key": course},
        **what,
    }

# SPDX-License-Identifier: AGPL-3.0-or-later
"""A task comes to its end in time, whatever there is to sweep."""

from datetime import timedelta

import pytest
from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.models import (
    WebhookLease,
    WebhookLookupStatement,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.endpoint import MAX_TIMEOUT_SECONDS
from channel_integrations.integrated_channel.services import delivery, enrichment, retention, sweep
from channel_integrations.integrated_channel.tasks import (
    HARD_LIMIT,
    SOFT_LIMIT,
    enrich_and_send_completion_webhook,
    process_webhook_queue,
)
from tests.factories import grade_event, make_learner, write_grade

A_YEAR = timedelta(days=365)


def test_each_limit_leaves_time_for_what_it_bounds():
    assert delivery.CLAIM_SECONDS <= 30
    assert delivery.CLAIM_SECONDS + MAX_TIMEOUT_SECONDS < SOFT_LIMIT < HARD_LIMIT < conf.ROW_LEASE.total_seconds()
    assert sweep.PATIENT_UNTIL < SOFT_LIMIT
    for task in (process_webhook_queue, enrich_and_send_completion_webhook):
        assert (task.soft_time_limit, task.time_limit) == (SOFT_LIMIT, HARD_LIMIT)


@pytest.mark.parametrize(("ran", "patience"), [(0, 40), (40, 40), (60, 20), (80, 0), (85, 0)])
def test_a_task_that_has_run_for_long_has_less_patience(ran, patience):
    assert sweep.patience_of(ran) == patience


@pytest.fixture
def much_to_sweep(endpoint, settings, monkeypatch):
    """Something of each kind, and more than a batch of what is overdue; returns how much of it is left."""
    monkeypatch.setattr(enrichment, "BATCH", 1)
    monkeypatch.setattr(retention, "BATCH", 1)
    rows, now = WebhookTransmissionQueue.objects, timezone.now()
    for _ in range(4):
        grade_event(make_learner(endpoint.enterprise_customer))
    old = [row.pk for row in rows.all()[:2]]
    rows.filter(pk__in=old).update(status=WebhookStatus.DELIVERED, created=now - A_YEAR)
    rows.exclude(pk__in=old).update(status=WebhookStatus.AWAITING_ENRICHMENT, enrich_by=now)
    for _ in range(2):
        WebhookLookupStatement.objects.create(began_at=now - A_YEAR, duration_ms=5, asked=1, found=1, status="ok")
    missing = make_learner(endpoint.enterprise_customer)
    write_grade(missing)
    settings.FEATURES = {**settings.FEATURES, "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}

    def left():
        return {
            "overdue": rows.filter(status=WebhookStatus.AWAITING_ENRICHMENT).exclude(user_id=missing.pk).count(),
            "missing": 1 - rows.filter(user_id=missing.pk).count(),
            "past retention": rows.filter(pk__in=old, purged_at=None).count(),
            "statements": WebhookLookupStatement.objects.count(),
        }

    return left


@pytest.mark.django_db
def test_the_sweep_of_a_task_ends_in_time(much_to_sweep, monkeypatch):
    """Meanwhile the last answers of its attempts wait to be written back. The command's sweep takes its time."""
    monkeypatch.setattr(sweep, "TASK_SWEEP_SECONDS", 0.0)
    sweep.hand_over()
    assert much_to_sweep() == {"overdue": 1, "missing": 1, "past retention": 2, "statements": 2}, "one batch at most"
    WebhookLease.objects.all().delete()  # an hour later
    sweep.tidy()
    assert much_to_sweep() == {"overdue": 0, "missing": 0, "past retention": 0, "statements": 0}

# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two steps of one retirement at the same time: one erasure, whichever comes first."""

import threading
from contextlib import suppress

from django.db import DatabaseError, connection

from channel_integrations.integrated_channel.models import Erasure, WebhookDisclosure, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import delivery
from channel_integrations.integrated_channel.services.erasure import ask_to_erase
from tests.factories import grade_event, make_customer, make_endpoint, make_learner


def test_twice_at_once_is_once_erased(committed_db, receiver):
    endpoint = make_endpoint(make_customer("Acme"), receiver.url_for("/hook"), sends_erasures=True)
    learner = make_learner(endpoint.enterprise_customer)
    grade_event(learner)
    delivery.deliver_due()
    together = threading.Barrier(4)

    def retire():
        together.wait()
        try:
            with suppress(DatabaseError):  # The LMS repeats a step that fails, as below.
                ask_to_erase(learner.pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=retire) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    ask_to_erase(learner.pk)
    assert WebhookTransmissionQueue.objects.filter(event_type="learner.erased").count() == 1
    assert WebhookDisclosure.objects.get().erasure == Erasure.OWED

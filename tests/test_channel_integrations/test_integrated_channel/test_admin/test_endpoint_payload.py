# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an endpoint's webhooks say, on its form: format, naming, what is left out."""

import json

import pytest
from django.contrib.admin.models import LogEntry

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import delivery
from tests.factories import grade_event, make_learner
from tests.test_channel_integrations.test_integrated_channel.test_admin.pages import (
    ENDPOINT,
    deliveries_asked_for,
    form_of,
    text_of,
    url,
)

pytestmark = pytest.mark.django_db
NAMES = ("payload_format", "learner_naming", "missing_ids", "omitted_fields")


def change(operator, endpoint, **fields):
    return operator.post(url(ENDPOINT, "change", endpoint.pk), form_of(endpoint, **fields))


def chosen(endpoint):
    return EnterpriseWebhookConfiguration.objects.filter(pk=endpoint.pk).values_list(*NAMES).get()


def test_what_is_chosen_is_what_is_sent(operator, endpoint, receiver):
    change(operator, endpoint, learner_naming="pseudonym", omitted_fields=["customer_name", "grade"])
    assert chosen(endpoint) == ("standard", "pseudonym", "hold", ["customer_name", "grade"])
    grade_event(make_learner(endpoint.enterprise_customer))
    delivery.deliver_due()
    ((request, _answer),) = receiver.log
    body = json.loads(request.get_data())
    assert set(body["learner"]) == {"pseudonym"} and set(body["enterprise_customer"]) == {"uuid"}
    assert set(body["completion"]) == {"completed", "completion_date", "is_passing"}
    assert "Leave out (empty → customer_name, grade)" in LogEntry.objects.latest("pk").get_change_message()


def test_a_form_of_the_former_release_changes_nothing(operator, endpoint):
    EnterpriseWebhookConfiguration.objects.update(payload_format="percipio", missing_ids="skip")
    change(operator, endpoint)
    assert chosen(endpoint) == ("percipio", "username_and_email", "skip", None)
    EnterpriseWebhookConfiguration.objects.update(payload_format=None, learner_naming=None, missing_ids=None)
    page = operator.get(url(ENDPOINT, "change", endpoint.pk)).content.decode()
    for name in ("standard", "username_and_email", "hold"):
        assert f'<option value="{name}" selected>' in page


def test_a_choice_that_is_sent_empty_changes_nothing(operator, endpoint):
    """Else a pseudonym would become name and email address."""
    EnterpriseWebhookConfiguration.objects.update(learner_naming="pseudonym", missing_ids="skip")
    change(operator, endpoint, payload_format="", learner_naming="", missing_ids="")
    assert chosen(endpoint) == ("standard", "pseudonym", "skip", None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"payload_format": "degreed"}, "Select a valid choice."),
        ({"payload_format": "percipio", "learner_naming": "pseudonym"}, "This format names learners by ids of its own"),
        ({"payload_format": "percipio", "omitted_fields": ["grade"]}, "can leave out these alone: learning time."),
        ({"omitted_fields": ["everything"]}, "Select a valid choice."),
    ],
)
def test_what_does_not_go_together_is_refused(operator, endpoint, fields, said):
    response = change(operator, endpoint, **fields)
    assert said in text_of(response) and chosen(endpoint)[0] == "standard"


def test_what_is_held_is_looked_at_as_soon_as_the_choice_has_changed(
    operator, endpoint, receiver, django_capture_on_commit_callbacks
):
    EnterpriseWebhookConfiguration.objects.update(payload_format="percipio")
    grade_event(make_learner(endpoint.enterprise_customer))
    delivery.deliver_due()
    assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.AWAITING_IDS
    deliveries_asked_for()
    with django_capture_on_commit_callbacks(execute=True):
        change(operator, endpoint, payload_format="percipio", missing_ids="nulls")
    assert deliveries_asked_for() == 1
    delivery.deliver_due()
    assert WebhookTransmissionQueue.objects.get().status == WebhookStatus.DELIVERED

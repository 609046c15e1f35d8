# SPDX-License-Identifier: AGPL-3.0-or-later
"""The conditions for making and sending a webhook, in order, as they are now."""

from collections.abc import Iterator
from datetime import datetime

from django.utils.translation import gettext as _
from enterprise.models import EnterpriseCustomerUser

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.models.endpoint_choices import Region
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION
from channel_integrations.integrated_channel.services import endpoint_gate
from channel_integrations.integrated_channel.services.audit_reporting import without_audit_reporting
from channel_integrations.integrated_channel.services.explanation.ids import ids_step
from channel_integrations.integrated_channel.services.explanation.learning_time import Side
from channel_integrations.integrated_channel.services.explanation.passing import Passing
from channel_integrations.integrated_channel.services.explanation.story import (
    Answer,
    Explanation,
    Step,
    at,
    endpoint_page,
)
from channel_integrations.integrated_channel.services.outbox import is_too_old
from channel_integrations.integrated_channel.services.recipients import Recipient, find_recipients
from channel_integrations.integrated_channel.services.region_service import CUSTOMER, SIGN_ON, Found, find_region
from channel_integrations.integrated_channel.services.sign_on import sign_ons_of
from channel_integrations.integrated_channel.services.webhook_routing import NoWebhookConfigured, endpoint_for


def conditions(story: Explanation, passing: Passing) -> Iterator[Step]:
    """Every condition; they end early where the next ones cannot be asked."""
    customer = story.customer
    link = EnterpriseCustomerUser.all_objects.filter(enterprise_customer=customer, user_id=story.learner.pk).first()
    endpoints = list(customer.webhook_endpoints.select_related("health").order_by("pk"))
    found = find_region(story.learner.pk, customer, sign_ons_of([story.learner.pk]))
    story.endpoint = _endpoint_of(story, found.region, endpoints)
    yield Step(
        "customer",
        Answer.of(customer.active),
        _("active") if customer.active else _("the customer is not active"),
        _("Django admin: Enterprise → Enterprise Customers: Active"),
    )
    yield _link(link)
    yield _endpoints(endpoints)
    recipient = _recipient(story) if customer.active and link and link.linked and endpoints else None
    if recipient is None:
        return
    yield from _sharing(recipient, story.course_id)
    yield _passed(story, passing)
    if story.passed_at:
        yield from _timing(story, recipient, story.passed_at)
    yield _region(story, found, endpoints)
    if story.endpoint:
        yield _switched_on(story.endpoint)
        if story.passed_at and recipient.wanted_from:
            yield _send_from(story, recipient.wanted_from, story.passed_at)
        yield ids_step(story.endpoint, customer, story.learner)
        yield Side(customer, story.learner, story.endpoint).step()


def backfill_command(endpoint: EnterpriseWebhookConfiguration | None, passed_at: datetime) -> str:
    """What makes the webhook whatever its age."""
    number = endpoint.pk if endpoint else "ID"
    return f"./manage.py lms backfill_webhooks --endpoint {number} --since {at(passed_at)}"


def _endpoint_of(
    story: Explanation, region: str, endpoints: list[EnterpriseWebhookConfiguration]
) -> EnterpriseWebhookConfiguration | None:
    """The one that the webhook was addressed to, else the one that it would be."""
    if story.webhook and story.webhook.endpoint_id:
        return next((each for each in endpoints if each.pk == story.webhook.endpoint_id), None)
    return _routed(region, endpoints)


def _routed(region: str, endpoints: list[EnterpriseWebhookConfiguration]) -> EnterpriseWebhookConfiguration | None:
    try:
        return endpoint_for(region, endpoints)
    except NoWebhookConfigured:
        return None


def _recipient(story: Explanation) -> Recipient | None:
    found = find_recipients(story.course_id, [story.learner.pk], with_switched_off=True)
    return next((each for each in found if each.enterprise_customer_uuid == story.customer.uuid), None)


def _link(link: EnterpriseCustomerUser | None) -> Step:
    if link and link.linked:
        return Step("link", Answer.YES, _("linked since %(when)s") % {"when": at(link.created)})
    return Step(
        "link",
        Answer.NO,
        _("the learner is no longer linked to the customer")
        if link
        else _("the learner is not linked to the customer"),
        _("Django admin: Enterprise → Enterprise Customer Learners: link the learner"),
    )


def _endpoints(endpoints: list[EnterpriseWebhookConfiguration]) -> Step:
    regions = ", ".join(endpoint.region for endpoint in endpoints)
    return Step(
        "endpoints",
        Answer.of(bool(endpoints)),
        _("for %(regions)s") % {"regions": regions} if endpoints else _("the customer has no endpoint"),
        _("%(page)s: add one") % {"page": endpoint_page()},
    )


def _sharing(recipient: Recipient, course_id: str) -> Iterator[Step]:
    wanted = recipient.wanted_from is not None
    how = _("sponsored by the customer") if recipient.is_sponsor else _("the endpoint takes all completions")
    against = _("the customer does not sponsor this course run")
    change = _("%(page)s: “all completions”; or enrol the learner through the customer")
    if not any(endpoint.completions for endpoint in recipient.endpoints):
        against, change = _("the endpoint takes no such events"), _("%(page)s: tick “completions”")
    yield Step("sponsorship", Answer.of(wanted), how if wanted else against, change % {"page": endpoint_page()})
    audit = bool(without_audit_reporting(course_id, [recipient]))
    yield Step(
        "audit",
        Answer.of(not audit),
        _("the customer does not report audit enrolments") if audit else _("reported"),
        _("Django admin: Enterprise → Enterprise Customers: enable audit data reporting"),
    )
    given = _("given") if recipient.has_consent else _("not required")
    yield Step(
        "consent",
        Answer.of(not recipient.lacks_consent),
        _("no data-sharing consent") if recipient.lacks_consent else given,
        _("the learner consents in the LMS (Django admin: Consent → Data Sharing Consents shows it)"),
    )


def _passed(story: Explanation, passing: Passing) -> Step:
    """Where the LMS's grades are not read, what came of the pass tells of it."""
    if passing.step.answer != Answer.UNKNOWN or story.passed_at is None:
        return passing.step
    return Step("passed", Answer.YES, _("passed at %(when)s, as was noted then") % {"when": at(story.passed_at)})


def _timing(story: Explanation, recipient: Recipient, passed_at: datetime) -> Iterator[Step]:
    after = passed_at >= recipient.linked_at
    yield Step(
        "linked_before",
        Answer.of(after),
        _("passed while linked") if after else _("passed before the learner was linked"),
        _("nothing: what came before the link is not the customer's to know"),
    )
    days, old = conf.max_pass_age().days, is_too_old(passed_at)
    told = (
        _("passed at %(when)s, more than %(days)s days ago")
        if old
        else _("passed at %(when)s, at most %(days)s days ago")
    )
    # What was made while the pass was recent, or by a backfill, goes out whatever its age.
    holds = bool(not old or story.webhook)
    yield Step(
        "age",
        Answer.of(holds),
        told % {"when": at(passed_at), "days": days},
        _("%(command)s (every completion that is missing; --dry-run counts them)")
        % {"command": backfill_command(story.endpoint, passed_at)},
    )


def _region(story: Explanation, found: Found, endpoints: list[EnterpriseWebhookConfiguration]) -> Step:
    """Of a webhook that has been addressed: whether its endpoint still takes the learner's region."""
    endpoint = story.endpoint or _routed(found.region, endpoints)
    by = {SIGN_ON: _("(by the sign-on record)"), CUSTOMER: _("(by the customer's country)")}
    source = by.get(found.by) or _("(neither the sign-on record nor the customer names a country)")
    told = {"region": found.region, "takes": endpoint.region if endpoint else "", "page": endpoint_page()}
    change = _("%(page)s: add one for %(region)s, or have that for OTHER accept its learners")
    if endpoint is None:
        fact = _("the customer has no endpoint for %(region)s")
        if any(each.region == Region.OTHER for each in endpoints):
            fact = _("the customer has no endpoint for %(region)s, and that for OTHER does not accept its learners")
        return Step("region", Answer.NO, fact % told, change % told, operator_fact=source)
    if not endpoint.takes(found.region):
        fact = _("the learner's region is %(region)s, and the endpoint for %(takes)s does not take it")
        return Step("region", Answer.NO, fact % told, change % told, operator_fact=source)
    fact = _("the learner's region is %(region)s, the endpoint is that for %(takes)s")
    return Step("region", Answer.YES, fact % told, operator_fact=source)


def _switched_on(endpoint: EnterpriseWebhookConfiguration) -> Step:
    page, test = endpoint_page(endpoint), f"./manage.py lms send_test_webhook --endpoint {endpoint.pk}"
    if endpoint_gate.is_on(endpoint):
        return Step("switched_on", Answer.YES, _("switched on"))
    if not endpoint.active:
        fact = _("the endpoint is switched off by its operator: no webhooks are made")
        return Step("switched_on", Answer.NO, fact, _("%(page)s: tick “active”") % {"page": page})
    fact = _("the endpoint was switched off by the sender at %(when)s: webhooks are made and parked") % {
        "when": at(endpoint.health.disabled_at)
    }
    reason = _("(%(reason)s)") % {"reason": endpoint.health.disabled_reason} if endpoint.health.disabled_reason else ""
    change = _("%(page)s: “Switch on again”, once it takes %(test)s") % {"page": page, "test": test}
    return Step("switched_on", Answer.NO, fact, change, operator_fact=reason)


def _send_from(story: Explanation, wanted_from: datetime, passed_at: datetime) -> Step:
    backfilled = bool(story.webhook and story.webhook.backfilled)
    wanted = passed_at >= wanted_from or backfilled
    if story.endpoint and not story.endpoint.sends(COURSE_COMPLETION):
        change = _("%(page)s: tick “completions”") % {"page": endpoint_page(story.endpoint)}
        return Step("send_from", Answer.NO, _("the endpoint takes no such events"), change)
    told = (
        _("the endpoint wants completions from %(when)s on")
        if wanted
        else _("the endpoint wants completions from %(when)s on, and this one is from before")
    )
    return Step(
        "send_from",
        Answer.of(wanted),
        told % {"when": at(wanted_from)},
        backfill_command(story.endpoint, passed_at),
    )

# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which fields stand together on an endpoint's page; ``endpoint_form`` says what each of them does."""

from django.utils.translation import gettext_lazy as _

#: what the sender has seen; nobody edits it
HEALTH_FIELDS = (
    "state",
    "failures",
    "failures_in_a_row",
    "breaker",
    "pause",
    "last_success",
    "last_failure",
)
FIELDSETS = (
    (
        _("Who and where"),
        {
            "fields": ("enterprise_customer", "region", "accepts_us", "accepts_eu", "webhook_url"),
            "description": _("One endpoint for each customer and region of its learners."),
        },
    ),
    (
        _("Sign-in"),
        {
            "fields": (
                "sign_in",
                "bearer_token",
                "token_url",
                "client_id",
                "client_secret",
                "scope",
                "client_authentication",
            ),
            "description": _("Leave this as it is unless the partner asks for more than the signature."),
        },
    ),
    (
        _("Switch"),
        {
            "fields": ("active",),
            "description": _("Switching it on sends what was parked, and begins with a clean slate of health."),
        },
    ),
    (
        _("Limits"),
        {
            "fields": (
                "webhook_timeout_seconds",
                "max_concurrent_requests",
                "max_requests_per_minute",
                "retry_schedule",
            ),
            "description": _("How fast webhooks are sent, and how often one is tried again."),
        },
    ),
    (
        _("TLS"),
        {"fields": ("ca_bundle",), "description": _("Leave this empty unless the partner has its own authority.")},
    ),
    (
        _("What is sent"),
        {
            "fields": (
                "sends_completions",
                "sends_enrollments",
                "sends_erasures",
                "send_from",
                "all_completions",
                "learning_time",
            ),
            "description": _("Older completions are sent by the command backfill_webhooks alone."),
        },
    ),
    (
        _("While learning time is not final"),
        {
            "fields": ("states_as_of", "learning_time_timing", "hold_hours", "revise_from_seconds"),
            "description": _(
                "The rollup is written once a day: what was learned on the day of the pass is in it the day after."
            ),
        },
    ),
    (
        _("Payload"),
        {
            "fields": ("payload_format", "learner_naming", "missing_ids", "omitted_fields"),
            "description": _("How webhooks say it. Leave this as it is unless the partner needs it otherwise."),
        },
    ),
)
#: for an endpoint that is there; one that is being added has not fared yet
HEALTH_FIELDSET = (
    _("How it fares"),
    {
        "fields": HEALTH_FIELDS,
        "description": _("What the sender has seen. It is counted anew when the endpoint is switched on again."),
    },
)

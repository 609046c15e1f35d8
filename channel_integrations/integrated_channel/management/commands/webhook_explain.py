# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why a customer did or did not get a learner's completion, from the command line."""

import json
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from enterprise.models import EnterpriseCustomer
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import CourseKey

from channel_integrations.integrated_channel.services.explanation import explain

ANSWERS = {True: "yes", False: "no", None: "-"}


class Command(BaseCommand):
    """Say what became of one completion."""

    help = (
        "Answers why a customer did or did not get a learner's completion: the conclusion, then every condition in "
        "order with the fact behind it, and at a no the command or setting that changes it. Conditions are told as "
        "they are now. It changes nothing. What it prints is personal data, except with --for-partner."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument("--learner", required=True, help="username, email or user id")
        parser.add_argument("--customer", required=True, help="UUID, slug or name")
        parser.add_argument("--course", required=True, metavar="COURSE_RUN_KEY", help="such as course-v1:edX+Demo+2026")
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument(
            "--for-partner", action="store_true", help="leave out who the learner is, and what only operators can do"
        )

    def handle(self, *args, **options) -> None:
        try:
            course_id = str(CourseKey.from_string(options["course"]))
        except InvalidKeyError as err:
            raise CommandError("--course takes the key of a course run, such as course-v1:edX+Demo+2026") from err
        customer = _customer(options["customer"])
        story = explain(_learner(options["learner"]), customer, course_id)
        told = story.as_dict(for_partner=options["for_partner"])
        if options["json"]:
            self.stdout.write(json.dumps(told, indent=2, ensure_ascii=False))
            return
        self.stdout.write(told["conclusion"])
        if story.webhook:
            self.stdout.write(f"Webhook {told['webhook_id']}")
        self.stdout.write("")
        for step in told["steps"]:
            self.stdout.write(f"{ANSWERS[step['holds']]:<4}{step['name']:<14} {step['fact']}")
            if step["holds"] is False and step.get("change"):
                self.stdout.write(f"{'':<18} → {step['change']}")


def _learner(text: str):
    """By username, then email, then id: a username may be a number."""
    users = get_user_model().objects
    user = users.filter(username=text).first()
    if user is None:
        found = list(users.filter(email=text)[:2])
        if len(found) > 1:
            raise CommandError("Several accounts have this email: give the username or the user id.")
        user = found[0] if found else None
    if user is None and text.isascii() and text.isdigit() and len(text) < 10:
        user = users.filter(pk=int(text)).first()
    if user is None:
        raise CommandError("There is no such learner: type a username, an email or a user id of this LMS.")
    return user


def _customer(text: str) -> EnterpriseCustomer:
    """By UUID, then slug, then name; inactive ones too."""
    customers = EnterpriseCustomer.objects
    try:
        found = list(customers.filter(uuid=UUID(text)))
    except (ValueError, ValidationError):
        found = list(customers.filter(slug=text)) or list(customers.filter(name=text)[:2])
    if not found:
        raise CommandError("There is no such customer: type its UUID, slug or name, as in Enterprise Customers.")
    if len(found) > 1:
        raise CommandError("Several customers have this name: give the UUID or the slug.")
    return found[0]

# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why a customer did or did not get a learner's completion, from the command line."""

import json

from django.core.management.base import BaseCommand, no_translations

from channel_integrations.integrated_channel.management.arguments import find_typed
from channel_integrations.integrated_channel.services.explanation import explain, tell
from channel_integrations.integrated_channel.services.explanation.subject import (
    find_course_run,
    find_customer,
    find_learner,
)
from channel_integrations.integrated_channel.services.explanation.text import as_text


class Command(BaseCommand):
    """Say what became of one completion."""

    help = (
        "Answers why a customer did or did not get a learner's completion: the conclusion, then every condition in "
        "order with the fact behind it, and at a no the command or setting that changes it. Conditions are told as "
        "they are now, with the reason that was noted when the learner passed. It changes nothing. What it prints is "
        "personal data, except with --for-partner."
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

    @no_translations  # Programs read it, and colleagues search for it.
    def handle(self, *args, **options) -> None:
        learner, customer, course_id = (
            find_typed(find, options[name])
            for name, find in (("learner", find_learner), ("customer", find_customer), ("course", find_course_run))
        )
        told = tell(explain(learner, customer, course_id), for_partner=options["for_partner"])
        if options["json"]:
            self.stdout.write(json.dumps(told, indent=2, ensure_ascii=False))
            return
        self.stdout.write(as_text(told))

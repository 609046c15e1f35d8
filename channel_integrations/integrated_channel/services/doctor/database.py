# SPDX-License-Identifier: AGPL-3.0-or-later
"""The database: whether it answers, and what time it has."""

import time

from django.db import Error, connections, router

from channel_integrations.integrated_channel.models import WebhookTransmissionQueue
from channel_integrations.integrated_channel.services.doctor.findings import Findings, ok, problem, skipped, warning
from channel_integrations.integrated_channel.services.doctor.time_limit import NoAnswer, within

ANSWER_SECONDS = 5.0
#: leases compare each process's own clock with what others have written
CLOCK_SECONDS = 5.0
#: seconds since 1970, whatever the session's time zone
TIME_OF = {
    "mysql": "SELECT UNIX_TIMESTAMP()",
    "postgresql": "SELECT EXTRACT(EPOCH FROM CLOCK_TIMESTAMP())",
}


def answers() -> Findings:
    """Whether a new connection gets an answer; every later look at the table relies on it."""
    alias = _alias()
    try:
        within(ANSWER_SECONDS, _ask, alias)
    except (Error, NoAnswer) as err:
        yield problem(
            f"the database '{alias}' cannot be asked ({type(err).__name__}): no webhook is made or sent",
            f"Start the database, or correct address, user and password in DATABASES['{alias}']. What it says: "
            f"./manage.py lms dbshell --database {alias}",
        )
    else:
        yield ok(f"{connections[alias].vendor} answers")


def clock() -> Findings:
    """Whether this host and the database agree on the time."""
    connection = connections[_alias()]
    if connection.vendor not in TIME_OF:
        yield skipped(f"{connection.vendor} has no clock of its own")
        return
    with connection.cursor() as cursor:
        cursor.execute(TIME_OF[connection.vendor])
        ahead = time.time() - float(cursor.fetchone()[0])
    if abs(ahead) > CLOCK_SECONDS:
        yield warning(
            f"this host's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the database's: hosts "
            "that differ like that take webhooks from each other, and send them twice or late",
            "Have the clocks of both machines (not of their containers) synchronised, by chrony or systemd-timesyncd; "
            "timedatectl then says 'System clock synchronized: yes'",
        )
    else:
        yield ok(f"this host and the database agree within {CLOCK_SECONDS:.0f} s")


def _alias() -> str:
    return router.db_for_write(WebhookTransmissionQueue)


def _ask(alias: str) -> None:
    """Over this thread's own connection."""
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connections[alias].close()

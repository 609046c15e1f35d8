# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the database says, read without the package, and how that compares with what the receiver saw."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import MySQLdb

from tests.chaos.receiver import Post


class Webhook(NamedTuple):
    """One row; moments are Unix times."""

    pk: int
    webhook_id: str
    user_id: int
    status: str
    reason: str
    body: str
    learning_time: int | None
    learning_time_status: str
    attempts_made: int
    occurred_at: float


class Attempt(NamedTuple):
    """One recorded attempt; ``second`` is the whole Unix second in which it began, ``answer`` as in ``Post``."""

    webhook_id: str
    second: int
    status: int | None
    error: str


class Ledger:
    """A reader of one MariaDB server; each question has a connection of its own, since the server is restarted."""

    def __init__(self, port: int) -> None:
        self._port = port

    def create(self) -> None:
        self.ask("CREATE DATABASE lms CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", database="")

    def ask(self, statement: str, database: str = "lms") -> list[tuple[Any, ...]]:
        connection = MySQLdb.connect(host="127.0.0.1", port=self._port, user="root", database=database, autocommit=True)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def statuses(self) -> dict[str, int]:
        return dict(self.ask("SELECT status, COUNT(*) FROM channel_webhooks_webhooktransmissionqueue GROUP BY status"))

    def unfinished(self) -> list[tuple[Any, ...]]:
        return self.ask(
            "SELECT id, endpoint_id, status, reason, attempts_made, due_at, lease_token "
            "FROM channel_webhooks_webhooktransmissionqueue WHERE status <> 'delivered' ORDER BY id LIMIT 50"
        )

    def passed(self) -> list[int]:
        """The user ids of the committed grades."""
        grades = self.ask("SELECT user_id FROM grades_persistentcoursegrade WHERE passed_timestamp IS NOT NULL")
        return [user_id for (user_id,) in grades]

    def webhooks(self) -> list[Webhook]:
        rows = self.ask(
            "SELECT id, webhook_id, user_id, status, reason, body, learning_time, learning_time_status, attempts_made, "
            "occurred_at FROM channel_webhooks_webhooktransmissionqueue ORDER BY id"
        )
        return [Webhook(pk, _uuid(kept), *more, occurred_at=_unix(moment)) for pk, kept, *more, moment in rows]

    def attempts(self) -> list[Attempt]:
        rows = self.ask(
            "SELECT webhook.webhook_id, attempt.started_at, attempt.status_code, attempt.error_code "
            "FROM channel_webhooks_webhookdeliveryattempt attempt "
            "JOIN channel_webhooks_webhooktransmissionqueue webhook ON webhook.id = attempt.webhook_id"
        )
        return [Attempt(_uuid(kept), int(_unix(started_at)), *more) for kept, started_at, *more in rows]


class Comparison:
    """
    The receiver's record beside the attempts.

    A POST and its attempt share the webhook's id and the second in which it was signed. ``unrecorded`` are POSTs
    without an attempt, ``unseen`` attempts without a POST, ``repeated`` POSTs that were answered 2xx beyond the first.
    """

    def __init__(self, posts: Iterable[Post], attempts: Iterable[Attempt]) -> None:
        self.unseen: list[Attempt] = []
        self.contradicting: list[tuple[Post, Attempt]] = []
        self.repeated = 0
        self.first_taken: dict[str, Post] = {}
        left: dict[tuple[str, int], list[Post]] = defaultdict(list)
        for post in sorted(posts):
            left[post.webhook_id, post.timestamp].append(post)
            if post.answer == "200":
                self.repeated += post.webhook_id in self.first_taken
                self.first_taken.setdefault(post.webhook_id, post)
        for attempt in attempts:
            theirs = left[attempt.webhook_id, attempt.second]
            post = next((post for post in theirs if post.answer == str(attempt.status)), None) or next(
                iter(theirs), None
            )
            if post is None:
                self.unseen.append(attempt)
                continue
            theirs.remove(post)
            if attempt.status and post.answer != str(attempt.status):
                self.contradicting.append((post, attempt))
        self.unrecorded = sorted(post for posts in left.values() for post in posts)


def learning_time_of(body: str) -> int | None:
    """What a webhook tells; None where it tells nothing."""
    return json.loads(body)["completion"].get("learning_time")


def bodies_of(posts: Iterable[Post]) -> dict[str, set[bytes]]:
    """The different bodies that came under each webhook's id."""
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for post in posts:
        bodies[post.webhook_id].add(post.body)
    return bodies


def answers_of(posts: Iterable[Post]) -> Counter[str]:
    return Counter(post.answer for post in posts)


def _uuid(kept: Any) -> str:
    """As the LMS's Django writes it, with dashes or without."""
    return str(UUID(str(kept)))


def _unix(naive: datetime) -> float:
    return naive.replace(tzinfo=UTC).timestamp()

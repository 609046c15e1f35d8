# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Which processes run, under which names and with which arguments.

The package itself is not installed where Tutor runs: the names of its queues are repeated here, and a test holds them
equal.
"""

from dataclasses import dataclass

#: touched by each process while it is alive; a probe starts no Django to look at it
HEARTBEAT_FILE = "/tmp/webhooks-alive"  # noqa: S108  (in a container of its own)
#: younger than two minutes; without a "$", which Compose and Kubernetes would each read in their own way
ALIVE = f"find {HEARTBEAT_FILE} -mmin -2 | grep -q ."
#: a stopped worker may end its task, whose hard limit is two minutes
GRACE_SECONDS = 150


@dataclass(frozen=True)
class Worker:
    """A Celery worker of the LMS on one queue of its own, named as tutor-contrib-celery names such workers."""

    variant: str

    @property
    def queue(self) -> str:
        return f"edx.lms.core.{self.variant}"

    @property
    def name(self) -> str:
        """Of the Compose service, the Deployment and its container."""
        return f"lms-worker-{self.variant.replace('_', '-')}"

    def command(self, concurrency: int) -> list[str]:
        """As Tutor starts the LMS's own worker; without ``--without-heartbeat``, which would stop the heartbeat."""
        return [
            "celery",
            "--app=lms.celery",
            "worker",
            "--loglevel=info",
            f"--hostname={self.queue}.%h",
            f"--queues={self.queue}",
            f"--concurrency={concurrency}",
            "--max-tasks-per-child=100",
            "--prefetch-multiplier=1",
            "--without-gossip",
            "--without-mingle",
        ]


#: the LMS's own queues
OF_THE_LMS = ("default", "high", "high_mem")
ENRICHMENT = Worker("webhook_enrichment")
DELIVERY = Worker("webhook_delivery")
SWEEP = "lms-webhook-sweep"


def sweep_command(interval: int | None = None) -> list[str]:
    """The sweep: once, or every so many seconds."""
    once = ["./manage.py", "lms", "send_due_webhooks"]
    return once if interval is None else [*once, "--loop", f"--interval={interval}"]

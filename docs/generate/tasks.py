# SPDX-License-Identifier: AGPL-3.0-or-later
"""Celery tasks: limits from the tasks, queues from the router's defaults."""

import inspect

from celery import current_app

from channel_integrations.integrated_channel import conf, tasks
from channel_integrations.integrated_channel.settings.common import DELIVERY_TASK, ENRICHMENT_TASK, ROUTER
from docs.generate import table

INTRODUCTION = f"""\
# Tasks and queues

For operators. Messages hold ids alone, are never retried by Celery, and leave no result. Where to start workers: [Run
the workers](../how-tos/celery_queue_configuration.md). `{ROUTER}` looks for a queue in `CELERY_TASK_ROUTES`, then in
`EXPLICIT_QUEUES`, then here:

"""


def page() -> str:
    """The page."""
    parts = [INTRODUCTION]
    for name in (ENRICHMENT_TASK, DELIVERY_TASK):
        task = current_app.tasks[name]
        limits = f"soft {task.soft_time_limit} s, hard {task.time_limit} s; lease of a row {_seconds(conf.ROW_LEASE)} s"
        rows = (
            ("queue", f"`{conf.default_queue_of(name)}`" if conf.default_queue_of(name) else _OF_THE_LMS),
            ("arguments", ", ".join(f"`{argument}`" for argument in inspect.signature(task.run).parameters)),
            ("time limits", limits),
        )
        words = inspect.getdoc(getattr(tasks, task.__name__)).split("\n")[0].replace("``", "`")
        parts.append(f"## `{task.__name__}`\n\n`{name}`\n\n{words}\n\n{table(('', ''), rows)}\n")
    return "".join(parts)[:-1]


_OF_THE_LMS = "`CHANNEL_WEBHOOKS_DELIVERY_QUEUE`; without it the LMS's default queue (`edx.lms.core.default`)"


def _seconds(duration) -> int:
    return int(duration.total_seconds())

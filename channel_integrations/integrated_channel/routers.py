# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which queue this package's tasks go to; silent about every other task."""

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.settings.common import DELIVERY_TASK, ENRICHMENT_TASK


def route_task(name, args=None, kwargs=None, options=None, task=None, **_):
    """
    Celery router: the first of CELERY_TASK_ROUTES, the LMS's EXPLICIT_QUEUES and this package's default.

    A copy is returned because Celery changes the dict that a router hands it. Read at every call: the LMS's
    production settings reassign EXPLICIT_QUEUES after the plugins ran.
    """
    if name not in (ENRICHMENT_TASK, DELIVERY_TASK):
        return None
    for routes in (conf.celery_task_routes(), conf.explicit_queues()):
        route = routes.get(name)
        if isinstance(route, str) and route:
            return {"queue": route}
        if isinstance(route, dict) and route:
            return dict(route)
    queue = conf.default_queue_of(name)
    return {"queue": queue} if queue else None

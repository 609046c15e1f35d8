# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plugin that Tutor loads: configuration, patches, templates, and the filter of tutor-contrib-celery."""

from pathlib import Path
from typing import Any

from tutor import hooks
from tutor.plugins import is_loaded

from tutorchannelintegrations import settings, workers
from tutorchannelintegrations.__about__ import __version__

HERE = Path(__file__).parent

hooks.Filters.CONFIG_DEFAULTS.add_items(
    [
        ("CHANNEL_INTEGRATIONS_VERSION", __version__),
        # Whatever pip takes as a requirement, or the name of a wheel in the folder that the image is built from.
        ("CHANNEL_INTEGRATIONS_PACKAGE", "channel-integrations==0.1.0"),
        # The feature flag.
        ("CHANNEL_INTEGRATIONS_LEARNING_TIME", False),
        # SNOWFLAKE_CONFIG, without secrets.
        ("CHANNEL_INTEGRATIONS_SNOWFLAKE", {}),
        # Any CHANNEL_WEBHOOKS_... setting of the package.
        ("CHANNEL_INTEGRATIONS_SETTINGS", {}),
        ("CHANNEL_INTEGRATIONS_RUN_ENRICHMENT_WORKER", True),
        ("CHANNEL_INTEGRATIONS_ENRICHMENT_CONCURRENCY", 2),
        # A queue, and a worker, for deliveries alone; else the LMS's own worker delivers.
        ("CHANNEL_INTEGRATIONS_RUN_DELIVERY_WORKER", False),
        ("CHANNEL_INTEGRATIONS_DELIVERY_CONCURRENCY", 2),
        # On Kubernetes: so many replicas of it, or, with KEDA, at most so many.
        ("CHANNEL_INTEGRATIONS_DELIVERY_REPLICAS", 1),
        ("CHANNEL_INTEGRATIONS_KEDA", False),
        ("CHANNEL_INTEGRATIONS_PROMETHEUS", "http://prometheus.monitoring:9090"),
        # Seconds between two rounds of the sweep.
        ("CHANNEL_INTEGRATIONS_SWEEP_INTERVAL", 30),
        # On Kubernetes: a schedule such as "* * * * *" makes the sweep a CronJob.
        ("CHANNEL_INTEGRATIONS_SWEEP_SCHEDULE", ""),
    ]
)

hooks.Filters.ENV_TEMPLATE_ROOTS.add_item(str(HERE / "templates"))
hooks.Filters.ENV_TEMPLATE_TARGETS.add_item(("channel-integrations/k8s", "plugins"))
hooks.Filters.ENV_TEMPLATE_VARIABLES.add_items(
    [
        ("channel_integrations_settings", settings),
        ("channel_integrations_workers", workers),
        ("channel_integrations_beside_celery", lambda: is_loaded("celery")),
    ]
)

for path in sorted((HERE / "patches").iterdir()):
    hooks.Filters.ENV_PATCHES.add_item((path.name, path.read_text(encoding="utf-8")))

# So that a site that has just enabled the plugin may type: tutor local do init --limit=channel-integrations
hooks.Filters.CLI_DO_INIT_TASKS.add_item(("lms", "./manage.py lms migrate channel_webhooks\n"))

try:
    from tutorcelery.hooks import CELERY_WORKERS_CONFIG
except ImportError:
    pass  # The worker is a Deployment of ours.
else:

    @CELERY_WORKERS_CONFIG.add()
    def _add_enrichment_worker(config: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Applied where that plugin is enabled, too."""
        config.setdefault("lms", {}).setdefault(workers.ENRICHMENT.variant, {})
        return config

    @hooks.Filters.LMS_WORKER_COMMAND.add(priority=hooks.priorities.LOW)
    def _leave_no_queue_without_worker(command: list[str]) -> list[str]:
        """
        The LMS's worker keeps those of its queues that no other worker has.

        That plugin leaves it the default queue alone as soon as any worker is added, locally, too, where it adds none.
        Celery heeds the last ``--queues``.
        """
        if not is_loaded("celery"):
            return command
        others = CELERY_WORKERS_CONFIG.apply({})["lms"]
        kept = [variant for variant in workers.OF_THE_LMS if variant == "default" or variant not in others]
        return [*command, f"--queues={','.join(f'edx.lms.core.{variant}' for variant in kept)}"]

# SPDX-License-Identifier: AGPL-3.0-or-later
"""Telemetry backends, as a site names them in ``OPENEDX_TELEMETRY``."""

from contextlib import contextmanager

from edx_django_utils.monitoring import TelemetryBackend


class Kept(TelemetryBackend):
    """Keeps what it is told: (name of the span that is open, attributes), in the order in which spans ended."""

    spans: list = []
    open: list = [("", {})]

    def set_attribute(self, key, value):
        self.open[-1][1][key] = value

    @contextmanager
    def create_span(self, name, operation_name=None):
        self.open.append((name, {}))
        try:
            yield
        except BaseException as err:
            self.set_attribute("error_text", str(err))
            raise
        finally:
            self.spans.append(self.open.pop())

    def record_exception(self):
        raise NotImplementedError

    def tag_root_span_with_error(self, exception):
        raise NotImplementedError

    def set_local_root_span_name(self, name, group=None, priority=None):
        """The tasks' names are Celery's."""


class Broken(Kept):
    """A backend whose agent is gone; edx-django-utils' own decorators of tasks do not survive it, hence the prefix."""

    def set_attribute(self, key, value):
        if key.startswith("channel_webhooks."):
            raise RuntimeError("no agent")

    def create_span(self, name, operation_name=None):
        return self

    def __enter__(self):
        return None

    def __exit__(self, *error):
        raise RuntimeError("no agent")

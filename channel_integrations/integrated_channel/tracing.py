# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Spans and attributes for the LMS's telemetry (its setting ``OPENEDX_TELEMETRY``): ids, counts and codes alone.

Whatever a backend raises stays here: neither a grade nor a webhook may be lost to monitoring. A span is not told of the
error that ends it either, since backends keep an error's text, which may quote a row (see ``log_lines``).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from edx_django_utils.monitoring import function_trace, set_custom_attribute

PREFIX = "channel_webhooks"


@contextmanager
def span(step: str, **attributes: Any) -> Iterator[None]:
    """What happens inside is one step of a trace, with these attributes."""
    with ExitStack() as stack:
        with suppress(Exception):
            stack.enter_context(function_trace(f"{PREFIX}.{step}"))
        set_attributes(**attributes)
        try:
            yield
        finally:
            with suppress(Exception):
                stack.pop_all().close()


def set_attributes(**attributes: Any) -> None:
    """Attributes of the span that is open, or of the request or task around it; None says nothing."""
    for name, value in attributes.items():
        if value is not None:
            with suppress(Exception):
                set_custom_attribute(f"{PREFIX}.{name}", value if isinstance(value, int | float) else str(value))

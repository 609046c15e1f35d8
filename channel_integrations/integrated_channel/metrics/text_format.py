# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Prometheus' text format, version 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/

For gauges, three rules: a line of help, a line of type, and label values with three characters escaped. The client
library would bring its registries and its ways to share counters between processes, of which nothing is used here, as
one more package that an LMS does not have; tests read what is written with that library's parser.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from channel_integrations.integrated_channel.metrics.catalogue import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One value; ``labels`` are the values of the metric's labels, in their order."""

    metric: Metric
    labels: tuple[object, ...]
    value: float


def written(metrics: Sequence[Metric], samples: Iterable[Sample]) -> str:
    """All metrics, in their order, each with its samples; one without any is there by name."""
    lines_of: dict[Metric, list[str]] = defaultdict(list)
    for sample in samples:
        lines_of[sample.metric].append(_line(sample))
    text: list[str] = []
    for metric in metrics:
        text += (f"# HELP {metric.full_name} {_escaped(metric.help)}", f"# TYPE {metric.full_name} gauge")
        text += lines_of.pop(metric, ())
    return "\n".join([*text, ""])


def _line(sample: Sample) -> str:
    pairs = zip(sample.metric.labels, sample.labels, strict=True)
    labels = ",".join(f'{name}="{_quoted(str(value))}"' for name, value in pairs)
    return f"{sample.metric.full_name}{f'{{{labels}}}' if labels else ''} {sample.value:.12g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(value: str) -> str:
    return _escaped(value).replace('"', r"\"")

# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signals that a site may hook."""

from django.dispatch import Signal

#: An endpoint was switched off by the sender. Sent after the commit, in the process that saw it, robustly: what a
#: receiver raises is logged. Keyword arguments: ``endpoint_id`` (int) and ``reason`` (str, without personal data).
webhook_endpoint_disabled = Signal()

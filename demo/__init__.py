# SPDX-License-Identifier: AGPL-3.0-or-later
"""``make demo``: the whole path, from real grade events to delivered webhooks, on this machine alone."""

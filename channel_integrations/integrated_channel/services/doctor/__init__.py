# SPDX-License-Identifier: AGPL-3.0-or-later
"""Is everything that this app needs there, and working? One module for each area; ``examine`` asks them all."""

from channel_integrations.integrated_channel.services.doctor.examination import CHECKS, examine
from channel_integrations.integrated_channel.services.doctor.findings import Finding, Status

__all__ = ["CHECKS", "Finding", "Status", "examine"]

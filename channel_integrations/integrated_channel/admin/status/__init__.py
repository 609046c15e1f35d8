# SPDX-License-Identifier: AGPL-3.0-or-later
"""The status page: what is owed, how it fares against its targets, and the buttons that recover an endpoint."""

from channel_integrations.integrated_channel.admin.status.page import StatusAdmin

__all__ = ["StatusAdmin"]

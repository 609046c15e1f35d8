# SPDX-License-Identifier: AGPL-3.0-or-later
"""The LMS's retirement signals, by the names that it gives them."""

from django.dispatch import Signal

USER_RETIRE_LMS_MISC = Signal()
USER_RETIRE_LMS_CRITICAL = Signal()

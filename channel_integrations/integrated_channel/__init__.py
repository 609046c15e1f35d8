# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Django app: grade event → row → learning time → webhook."""

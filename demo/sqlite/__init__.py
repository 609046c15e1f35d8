# SPDX-License-Identifier: AGPL-3.0-or-later
"""Django's SQLite backend, made fit for several processes."""

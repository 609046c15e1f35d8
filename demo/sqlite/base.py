# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The backend's one class, under the name that Django looks for.

Django 5.1 has an option for this (``transaction_mode``), Django 4.2 has not.
"""

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Takes the write lock when a transaction begins."""

    def _start_transaction_under_autocommit(self) -> None:
        # A transaction that reads first and writes later fails at once, busy timeout or not, where another process
        # has written in between.
        self.cursor().execute("BEGIN IMMEDIATE")

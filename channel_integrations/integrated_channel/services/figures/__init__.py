# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What is told of the whole, counted in the database: for the status page, ``/metrics``, the doctor and ``webhook_stats``.

Every function reads only, by an index, with a number of queries that hangs neither on rows nor on endpoints. What has
come to its end may be purged or sent again, so that a count of it can fall: these are figures of a window, no running
totals.
"""

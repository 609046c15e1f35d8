# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Was it right, and what did it cost: what was sent beside what the warehouse says now, and other waiting times tried out.

It reads only. What it asks of Snowflake passes the cache by, carries a QUERY_TAG of its own, and is not counted among
the lookups of completions.
"""

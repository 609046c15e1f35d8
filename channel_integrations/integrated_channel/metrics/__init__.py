# SPDX-License-Identifier: AGPL-3.0-or-later
"""The figures for monitoring systems, counted in the database when they are asked for."""

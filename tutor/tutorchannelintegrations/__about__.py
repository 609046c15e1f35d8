# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plugin's version: the first number is that of the newest Tutor that it supports, as Tutor's plugins have it."""

__version__ = "22.0.0"

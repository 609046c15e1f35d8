# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sphinx."""

project = "channel-integrations"
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]

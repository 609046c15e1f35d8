# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sphinx."""

project = "channel-integrations"
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
nitpicky = True
myst_heading_anchors = 3

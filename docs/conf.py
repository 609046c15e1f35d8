# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sphinx."""

project = "channel-integrations"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
exclude_patterns = ["_build"]
nitpicky = True
myst_heading_anchors = 3

# SPDX-License-Identifier: AGPL-3.0-or-later
"""The smallest LMS that loads the plugin the way the real one does; tests and the demo run on it."""

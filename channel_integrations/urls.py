# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The LMS includes this module whenever enterprise is enabled: without it, its URLconf fails to load.

What this package serves is in ``integrated_channel/urls.py``, which the LMS includes as it does for every plugin,
whether or not enterprise is enabled.
"""

urlpatterns: list = []

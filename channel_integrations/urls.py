# SPDX-License-Identifier: AGPL-3.0-or-later
"""The LMS includes this module whenever enterprise is enabled: without it, its URLconf fails to load."""

urlpatterns: list = []

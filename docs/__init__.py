# SPDX-License-Identifier: AGPL-3.0-or-later
"""The documentation, and (``python -m docs.generate``) what is generated from the code."""

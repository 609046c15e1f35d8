# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Moving over from ``enterprise-integrated-channels``, whose app is gone and whose tables have stayed.

``tables`` reads them, ``events`` tells what one of their rows is about, ``endpoints`` and ``webhooks`` make ours, and
``foreign_keys`` takes away what keeps customers from being deleted.
"""

# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Conformance of a partner's receiver: the cases it must handle, played against it from outside.

``cases`` is the table, ``samples`` builds what is sent, ``play`` sends it, ``verdict`` judges what came, and ``report``
tells it.
"""

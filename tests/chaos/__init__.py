# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the chaos test starts: an LMS's processes on servers of their own, and a partner that answers as it likes."""

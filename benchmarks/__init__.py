# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the package can do, measured on real servers; see README.md beside this file."""

#!/usr/bin/env python
# SPDX-License-Identifier: AGPL-3.0-or-later
"""manage.py of the stand-in LMS."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "test_settings")
    execute_from_command_line(sys.argv)

#!/usr/bin/env python
# SPDX-License-Identifier: AGPL-3.0-or-later
"""
manage.py of the stand-in LMS: ``./manage.py lms COMMAND``, as in a real one.

Without ``lms`` it does the same; what starts Django's own tools does not say it.
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "test_settings")
    is_lms = sys.argv[1:2] == ["lms"]
    execute_from_command_line([sys.argv[0], *sys.argv[1 + is_lms :]])

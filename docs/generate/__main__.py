# SPDX-License-Identifier: AGPL-3.0-or-later
"""``python -m docs.generate``: write the generated pages."""

import os

import django

from docs.generate import DOCS, pages

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "test_settings")
django.setup()
for path, text in pages().items():
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        print(path.relative_to(DOCS.parent))

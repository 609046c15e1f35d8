# SPDX-License-Identifier: AGPL-3.0-or-later
"""Secrets as a site with other FERNET_KEYS has left them."""

from typing import Any

from cryptography.fernet import Fernet
from django.db import connection, models


def written_with_another_key(model: type[models.Model], pk: Any, column: str) -> None:
    """Have what this row has in an encrypted column be such as no key of this site decrypts."""
    field, key = model._meta.get_field(column), model._meta.pk
    token = Fernet(Fernet.generate_key()).encrypt(b"of-another-key")
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {model._meta.db_table} SET {field.column} = %s WHERE {key.column} = %s",
            [connection.Database.Binary(token), key.get_db_prep_value(pk, connection)],
        )

"""A connection to SQLite for ``DATABASES["default"]["OPTIONS"]["factory"]``."""

from __future__ import annotations

import sqlite3
from typing import Any


class Connection(sqlite3.Connection):
    """Closes its file when an ``init_command`` fails, for example because the database is locked or damaged.

    Django calls ``Connection.execute`` for ``init_command`` only, and drops the connection if it fails. Its exception
    is part of a reference cycle that includes the connection, so the file would stay open until the garbage collector
    runs.
    """

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        try:
            return super().execute(*arguments)
        except sqlite3.Error:
            self.close()
            raise

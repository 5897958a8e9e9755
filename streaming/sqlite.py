"""A connection to SQLite for ``DATABASES["default"]["OPTIONS"]["factory"]``."""

from __future__ import annotations

import sqlite3
from typing import Any


class Connection(sqlite3.Connection):
    """Closes its file when a statement that sets it up fails: a database that is locked, or no database.

    Django calls ``execute`` of a connection for those statements only (``init_command``), and drops the connection if
    one fails. An exception of Django's database layer refers to itself, and through its frames to the connection, so
    that the file would stay open until the collector of cycles comes by.
    """

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        try:
            return super().execute(*arguments)
        except sqlite3.Error:
            self.close()
            raise

"""Daphne's access log: without query strings, with shortened ids of streams."""

from __future__ import annotations

import logging
from typing import Any

from streaming.log_lines import shorten_ids

access_logger = logging.getLogger("daphne.access")


def patched_log_action(original: Any) -> Any:
    def log_action(self: Any, protocol: str, action: str, details: dict[str, Any]) -> None:
        path = str(details.get("path", "")).partition("?")[0]
        details = {**details, "path": shorten_ids(path)}
        if access_logger.handlers:  # configured in LOGGING: then it replaces Daphne's own file
            fields = {key: details[key] for key in ("client", "method", "path", "status", "size") if key in details}
            access_logger.info("%s %s", protocol, action, extra={"fields": fields})
        else:
            original(self, protocol, action, details)

    return log_action

"""``wrap``, for a project's ``asgi.py``. It may be imported before Django is set up: formatters move imports."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.core.handlers.asgi import ASGIHandler

    from streaming.serving import Application


def wrap(django_application: ASGIHandler) -> Application:
    """The application to serve, from what ``get_asgi_application()`` returns: see ``serving.py``."""
    from streaming import serving

    return serving.wrap(django_application)

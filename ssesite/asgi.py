"""The ASGI entry point: ``daphne ssesite.asgi:application``. Any ASGI server will do."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

from streaming.asgi import wrap

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ssesite.settings")

application = wrap(get_asgi_application())

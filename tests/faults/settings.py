"""The site's settings, and one more middleware: a site has some of its own, and is left while they are at work."""

from ssesite.settings import *  # noqa: F403
from ssesite.settings import MIDDLEWARE

MIDDLEWARE = ["tests.faults.middleware.AuditMiddleware", *MIDDLEWARE]

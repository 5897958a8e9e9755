"""The configuration of the app ``streaming``."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class StreamingConfig(AppConfig):
    name = "streaming"
    verbose_name = _("Streams")

    def ready(self) -> None:
        from streaming import checks  # noqa: F401 (registers them)

"""Static files below any path."""

from django.contrib.staticfiles import storage
from django.urls import get_script_prefix


class StaticFilesStorage(storage.StaticFilesStorage):
    """Addresses begin with the path at which the request found the site (``--root-path``).

    Django reads STATIC_URL once, before the first request, when that path is not known.
    """

    @property
    def base_url(self) -> str:
        return f"{get_script_prefix()}static/"

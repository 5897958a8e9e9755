"""URLs of static files that include the root path (``--root-path``) below which the site is served."""

from django.contrib.staticfiles import storage
from django.urls import get_script_prefix


class StaticFilesStorage(storage.StaticFilesStorage):
    """Addresses begin with the path at which the request found the site (``--root-path``).

    Django reads STATIC_URL once, before the first request, when that path is not known.
    """

    @property
    def base_url(self) -> str:
        return f"{get_script_prefix()}static/"

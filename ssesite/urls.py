"""The admin, and the rest to the streaming app."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("streaming.urls")),
]

handler400 = "streaming.views.bad_request"

"""The admin, and the rest to the streaming app."""

from django.contrib import admin
from django.urls import include, path
from django.utils.translation import gettext_lazy as _

from streaming.login import ThrottledAdminLoginForm

admin.site.site_header = admin.site.site_title = _("Streams")
admin.site.index_title = _("Moderation")
admin.site.login_form = ThrottledAdminLoginForm

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("streaming.urls")),
]

handler400 = "streaming.views.bad_request"

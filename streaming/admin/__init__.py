"""The admin pages for moderators: edit rules, try them on a text, import files, read the hits."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from streaming.admin import hits, keys, lists, rules  # noqa: F401 (they register themselves)
from streaming.login import ThrottledAdminLoginForm

admin.site.site_header = _("Streams")
admin.site.site_title = _("Streams")
admin.site.index_title = _("Moderation")
admin.site.login_form = ThrottledAdminLoginForm

"""The admin pages for moderators: edit rules, try them on a text, import files, read the hits."""

from streaming.admin import alerts, hits, keys, lists, rules, usage  # noqa: F401 (they register themselves)

"""A Django app that streams LLM answers and moderates them on the way. Start at ``views.py``."""

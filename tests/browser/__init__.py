"""A package, so that what is made once for it (Chromium, and its event loop) ends with it."""

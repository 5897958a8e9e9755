"""A package, so that its package-scoped fixtures (Chromium and its event loop) end with it."""

#!/usr/bin/env python
"""Django's command line for this site."""

from ssesite.__main__ import main

if __name__ == "__main__":
    main()

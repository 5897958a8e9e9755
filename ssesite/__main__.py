"""``python -m ssesite``: Django's command line for this site, also where the package is installed without manage.py."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ssesite.settings")
    if "runserver" in sys.argv[1:2]:
        # Whoever runs the development server wants to see errors, unless they say otherwise.
        os.environ.setdefault("DEBUG", "1")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError
    from environs import EnvError

    try:
        execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, EnvError) as error:
        sys.exit(f"The settings cannot be used: {error}")
    except DatabaseError as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"The database cannot be used: {' '.join(str(error).split())} (--traceback says where)")


if __name__ == "__main__":
    main()

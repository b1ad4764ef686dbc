#!/usr/bin/env python
"""Django's command line for MeetViz."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "meetviz_site.settings")
    from django.core.management import execute_from_command_line
    from django.db import ProgrammingError
    from psycopg.errors import UndefinedColumn, UndefinedTable

    from meetviz_site.local.secrets import SecretError

    try:
        execute_from_command_line(sys.argv)
    except SecretError as error:
        sys.exit(str(error))
    except ProgrammingError as error:
        if not isinstance(error.__cause__, UndefinedTable | UndefinedColumn):
            raise
        sys.exit("The database is empty or of an older version. Start MeetViz once (make run), or: manage.py migrate")


if __name__ == "__main__":
    main()

"""A process that uses the embedded PostgreSQL until its standard input ends; prints the server's process id."""

from __future__ import annotations

import sys
from pathlib import Path

from meetviz_site.local.postgres import PostgresError, ensure_postgres

if __name__ == "__main__":
    try:
        server = ensure_postgres(Path(sys.argv[1]))
    except PostgresError as error:
        sys.exit(str(error))
    print(server.pid, flush=True)
    sys.stdin.read()

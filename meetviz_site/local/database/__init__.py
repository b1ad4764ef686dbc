"""Django database backend over the embedded PostgreSQL: the server starts at the first connection of any process."""

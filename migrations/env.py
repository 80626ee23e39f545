"""Alembic's entry: runs on the connection it is given, or on the database that searchd's settings name.

`open_database` gives a connection inside its locked transaction; `alembic upgrade head` in a checkout gives none.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine, pool

from indexer.settings import environment, load_settings
from indexer.store.database import normalised
from indexer.store.tables import Base
from searchd.settings import Settings


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    url = normalised(load_settings(Settings, environ=environment()).resolved_database_url)
    if context.is_offline_mode():
        context.configure(url=url, target_metadata=Base.metadata, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
    else:
        engine = create_engine(url, poolclass=pool.NullPool)
        with engine.begin() as connection:
            migrate(connection)

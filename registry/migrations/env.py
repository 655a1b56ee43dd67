"""Alembic's entry point: runs migrations on the connection and in the transaction of registry.migrate."""

from alembic import context

from registry.database.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

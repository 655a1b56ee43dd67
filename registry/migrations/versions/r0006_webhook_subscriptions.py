"""Subscriptions of webhooks to events, and which events of rollouts, shadows and evaluations were announced."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: Tables with events, and the time of each.
_EVENTS = (("rollout_events", "happened_at"), ("evaluations", "finished_at"), ("shadows", "stopped_at"))


def upgrade() -> None:
    op.create_table(
        "webhook_subscriptions",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("endpoint_names", sa.JSON(), nullable=True),
        sa.Column("actor", sa.String(100), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_subscriptions"),
    )
    for table, time in _EVENTS:
        op.add_column(table, sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True))
        # What has happened before is no news.
        op.execute(f"UPDATE {table} SET announced_at = {time}")  # noqa: S608 - names of this module
        op.create_index(f"ix_{table}_announced_at", table, ["announced_at"])


def downgrade() -> None:
    for table, _ in _EVENTS:
        op.drop_index(f"ix_{table}_announced_at", table_name=table)
        op.drop_column(table, "announced_at")
    op.drop_table("webhook_subscriptions")

"""Environments of versions."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "environments",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("python", sa.String(32), nullable=False),
        sa.Column("lock", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_environments"),
    )
    op.add_column("model_versions", sa.Column("environment_sha256", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("model_versions", "environment_sha256")
    op.drop_table("environments")

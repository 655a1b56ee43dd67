"""Candidates beside deployments, evaluations, shadows and rollouts."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _of_versions() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("endpoint_name", sa.String(128), nullable=False),
        sa.Column("model_name", sa.String(100), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("stable_version", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(100), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
    ]


def upgrade() -> None:
    op.create_table(
        "candidates",
        sa.Column("endpoint_name", sa.String(128), nullable=False),
        sa.Column("trial_id", sa.String(32), nullable=False),
        sa.Column("model_name", sa.String(100), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("shadow_share", sa.Float(), nullable=False),
        sa.Column("salt", sa.String(32), nullable=False),
        sa.Column("on_failure", sa.String(16), nullable=False),
        _time("changed_at"),
        sa.ForeignKeyConstraint(["endpoint_name"], ["deployments.endpoint_name"], name="fk_candidates_endpoint_name"),
        sa.ForeignKeyConstraint(
            ["model_name", "version"],
            ["model_versions.model_name", "model_versions.version"],
            name="fk_candidates_model_name_version",
        ),
        sa.PrimaryKeyConstraint("endpoint_name", name="pk_candidates"),
    )
    op.create_table(
        "evaluations",
        *_of_versions(),
        sa.Column("worker_group", sa.String(100), nullable=False),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("verdict", sa.String(16), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        _time("created_at"),
        _time("started_at", nullable=True),
        _time("finished_at", nullable=True),
        sa.Column("holder", sa.String(64), nullable=True),
        _time("held_until", nullable=True),
        sa.Column("comparison", sa.JSON(), nullable=True),
        _time("cleared_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_evaluations"),
    )
    op.create_index("ix_evaluations_endpoint_name", "evaluations", ["endpoint_name"])
    op.create_index("ix_evaluations_state", "evaluations", ["state"])
    op.create_table(
        "shadows",
        *_of_versions(),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("comparison", sa.JSON(), nullable=True),
        _time("started_at"),
        _time("stopped_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_shadows"),
    )
    op.create_index("ix_shadows_endpoint_name", "shadows", ["endpoint_name"])
    op.create_table(
        "rollouts",
        *_of_versions(),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("min_jobs", sa.Integer(), nullable=False),
        sa.Column("step_s", sa.Float(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("on_failure", sa.String(16), nullable=False),
        sa.Column("evaluation_id", sa.String(32), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("comparison", sa.JSON(), nullable=True),
        _time("created_at"),
        _time("step_started_at", nullable=True),
        _time("finished_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
    )
    op.create_index("ix_rollouts_endpoint_name", "rollouts", ["endpoint_name"])
    op.create_index("ix_rollouts_state", "rollouts", ["state"])
    op.create_table(
        "rollout_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rollout_id", sa.String(32), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(100), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        _time("happened_at"),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name="fk_rollout_events_rollout_id"),
        sa.PrimaryKeyConstraint("id", name="pk_rollout_events"),
    )
    op.create_index("ix_rollout_events_rollout_id", "rollout_events", ["rollout_id"])


def downgrade() -> None:
    for table, columns in (
        ("rollout_events", ["rollout_id"]),
        ("rollouts", ["state", "endpoint_name"]),
        ("shadows", ["endpoint_name"]),
        ("evaluations", ["state", "endpoint_name"]),
    ):
        for column in columns:
            op.drop_index(f"ix_{table}_{column}", table_name=table)
        op.drop_table(table)
    op.drop_table("candidates")

"""Desired deployments: what is deployed, and how that changes. The observed state is not stored here."""

from __future__ import annotations

from registry.deployments.changes import (
    configure,
    deploy,
    follow,
    promote,
    rollback,
    rollback_target,
    undeploy,
)
from registry.deployments.desired import (
    DesiredDeployment,
    desired,
    find,
    resolve,
    serving,
    taking_jobs,
    undeployed,
)
from registry.intent import Intent

__all__ = [
    "DesiredDeployment",
    "Intent",
    "configure",
    "deploy",
    "desired",
    "find",
    "follow",
    "promote",
    "resolve",
    "rollback",
    "rollback_target",
    "serving",
    "taking_jobs",
    "undeploy",
    "undeployed",
]

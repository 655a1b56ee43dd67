"""The artifact store: what nothing needs, and a button that deletes it."""

from __future__ import annotations

from flask import Blueprint, render_template

from api.auth.sessions import for_role
from api.models import pruning
from api.models.pruning import Prune
from api.process import services
from registry.roles import Role

blueprint = Blueprint("artifacts", __name__, url_prefix="/artifacts")


@blueprint.get("/prune")
@for_role(Role.ADMIN)
def review_prune() -> str:
    """Show what would be deleted, and ask."""
    return render_template("console/prune.html", report=pruning.prune(services.current(), Prune(dry_run=True)))


@blueprint.post("/prune")
@for_role(Role.ADMIN)
def prune() -> str:
    """Delete it, and show what is gone."""
    return render_template("console/prune.html", report=pruning.prune(services.current(), Prune()))

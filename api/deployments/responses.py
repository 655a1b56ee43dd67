"""Responses to changes of deployments: done, or under way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from api.deployments.service import all_down
from api.http.flask_app.prefix import address
from api.http.flask_app.responses import document, preference_applied
from workers.deployments import status


def deployed(view: Mapping[str, Any], wait_s: float | None) -> Response:
    """Return 201 once the deployment is active and the caller waited for it, otherwise 202."""
    headers = {"Location": address(f"/deployments/{view['endpoint_name']}"), **preference_applied(wait_s)}
    return document(view, 201 if wait_s and view["status"] in status.SETTLED else 202, headers)


def changed(view: Mapping[str, Any], wait_s: float | None) -> Response:
    """Return 200 once the changed deployment is active or parked and the caller waited for it, otherwise 202."""
    headers = {"Location": address(f"/deployments/{view['endpoint_name']}"), **preference_applied(wait_s)}
    return document(view, 200 if wait_s and view["status"] in (*status.SETTLED, status.PARKED) else 202, headers)


def undeployed(views: list[dict[str, Any]], wait_s: float | None) -> Response:
    """Return 200 once none of the deployments runs any more, 202 before that."""
    return document({"deployments": views}, 200 if all_down(views) else 202, preference_applied(wait_s))

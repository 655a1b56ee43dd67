"""The console's pages as one blueprint: what all of them share, and error pages."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from flask import Blueprint, Flask, Response, g, redirect, render_template, request
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.wrappers import Response as AnyResponse

from api.auth import sessions
from api.console import docs, headings, rates, text
from api.console.routes import entrance, evaluations, keys, overview
from api.console.routes.deployments import deployments, emptying, history, rollouts, shadows
from api.console.routes.jobs import dead_letters, jobs, trying, webhooks
from api.console.routes.models import aliases, artifacts, models, registering
from api.errors import ApiError, ComeBackLater, LoginNeeded, extras_of, status_of
from api.http import problem_documents
from api.http.flask_app import problems, request_ids
from api.process import services
from registry.errors import RegistryError
from registry.roles import Role
from workers.errors import WorkerError
from workers.settings import load as worker_settings

#: The header of requests of the console's script, which replaces parts of a page.
LIVE_HEADER = "X-Queuecast-Live"
_PAGES = (
    *(overview, deployments, emptying, history, evaluations, rollouts, shadows, registering),
    *(models, aliases, artifacts, jobs, dead_letters, webhooks, keys, trying, docs, entrance),
)
#: The pages at the top: the least role, the part of the address, the name, and the page.
_NAV = (
    (Role.OPERATOR, "", "Overview", "console.overview.home"),
    (Role.OPERATOR, "models", "Models", "console.models.list_models"),
    (Role.OPERATOR, "evaluations", "Evaluations", "console.evaluations.list_evaluations"),
    (Role.CLIENT, "jobs", "Jobs", "console.jobs.list_jobs"),
    (Role.OPERATOR, "dead-letters", "Dead letters", "console.dead_letters.list_letters"),
    (Role.CLIENT, "webhooks", "Webhooks", "console.webhooks.list_deliveries"),
    (Role.ADMIN, "keys", "Keys", "console.keys.list_keys"),
    (Role.CLIENT, "try", "Try it", "console.trying.list_endpoints"),
)
#: Further addresses below a page at the top.
_PARTS_OF = {"": ("deployments", "deploy"), "models": ("register", "artifacts")}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: browsers would send forms as from nowhere.
    "Referrer-Policy": "same-origin",
}


def install(app: Flask) -> None:
    """Add the console to an app."""
    app.jinja_options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    rates.install(app)
    app.register_blueprint(_made())
    app.register_blueprint(_docs())
    app.jinja_env.filters.update(text.FILTERS, meaning=headings.meaning)


def _made() -> Blueprint:
    blueprint = Blueprint("console", __name__, url_prefix="/console", template_folder="templates")
    for each in _PAGES:
        blueprint.register_blueprint(each.blueprint)
    blueprint.before_request(registering.make_room)
    blueprint.before_request(sessions.check_form)
    blueprint.after_request(_finished)
    blueprint.context_processor(_shared)
    for root in (ApiError, RegistryError, WorkerError):
        blueprint.register_error_handler(root, _domain_error)
    blueprint.register_error_handler(LoginNeeded, _login)
    blueprint.register_error_handler(HTTPException, _http_error)
    blueprint.register_error_handler(InternalServerError, _http_error)
    return blueprint


def _docs() -> Blueprint:
    blueprint = docs.made()
    blueprint.after_request(_protected)
    blueprint.context_processor(_shared)
    return blueprint


def _finished(response: Response) -> Response:
    sessions.keep(response)
    return _protected(response)


def _protected(response: Response) -> Response:
    response.headers.update(_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _shared() -> dict[str, Any]:
    """Return what the layout of every page shows."""
    caller = g.get("identity")
    return {
        "me": caller,
        "operates": caller is not None and caller.role.includes(Role.OPERATOR),
        "administers": caller is not None and caller.role.includes(Role.ADMIN),
        "pages": [page[1:] for page in _NAV if caller is not None and caller.role.includes(page[0])],
        "parts_of": _PARTS_OF,
        "asks_for_keys": services.current().settings.asks_for_keys,
        "flower_url": _flower_url(),
        "form_mark": sessions.form_mark,
        "done": request.args.get("done", ""),
    }


def _flower_url() -> str:
    given = services.current().settings.flower_url
    if given:
        return given.rstrip("/")
    host = request.host.rpartition(":")[0] if ":" in request.host.rpartition("]")[2] else request.host
    return f"http://{host}:{worker_settings().flower_port}"


def _login(error: LoginNeeded) -> AnyResponse:
    if request.headers.get(LIVE_HEADER):
        return _error_page(error.code, str(error), status_of(error))
    # With its query, which may hold a form to confirm.
    wanted = f"{request.script_root}{request.full_path.rstrip('?')}" if request.method == "GET" else ""
    return redirect(f"{request.script_root}/console/login?{urlencode({'next': wanted}, quote_via=quote)}", 303)


def _domain_error(error: Exception) -> Response:
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        problem_documents.log_failure(error, status, request_ids.current())
    response = _error_page(getattr(error, "code", "internal_error"), str(error), status, extras_of(error))
    if isinstance(error, ComeBackLater):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _http_error(error: HTTPException) -> Response:
    response = problems.http_error(error)
    problem = response.get_json(force=True)
    return _error_page(problem["code"], problem["detail"], response.status_code, problem)


def _error_page(code: str, detail: str, status: int, extras: dict[str, Any] | None = None) -> Response:
    title = code.replace("_", " ").capitalize()
    page = render_template("console/error.html", title=title, detail=detail, extras=extras or {}, status=int(status))
    return Response(page, status, mimetype="text/html")

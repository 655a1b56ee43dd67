"""The Flask app: what is put together, and nothing else."""

from __future__ import annotations

from flask import Flask

from api import guard, observing, problems, request_ids, services
from api.console import blueprint as console
from api.routes import (
    dead_letters,
    deployments,
    docs,
    events,
    health,
    jobs,
    keys,
    metrics,
    models,
    openapi,
    predictions,
    v2,
    webhooks,
)
from api.settings import ApiSettings, load


def create_app(settings: ApiSettings | None = None) -> Flask:
    """Make the app; it connects to nothing before its first request.

    Raises:
        SettingsWrong: an environment variable has a value that can't be used.
    """
    settings = settings or load()
    app = Flask("api", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    services.install(app, services.Services(settings))
    request_ids.install(app)
    observing.install(app, settings)
    problems.install(app)
    guard.install(app)
    for resource in (models, deployments, predictions, jobs, events, dead_letters, webhooks, keys, health, metrics,
                     openapi, docs, v2):  # fmt: skip
        app.register_blueprint(resource.blueprint)
    console.install(app)
    return app

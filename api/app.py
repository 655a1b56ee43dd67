"""The Flask app: what it is put together from, and nothing else."""

from __future__ import annotations

from flask import Flask

from api.aliases import routes as aliases
from api.auth import guard
from api.console import blueprint as console
from api.deployments import routes as deployments
from api.evaluations import routes as evaluations
from api.http.flask_app import bodies, prefix, problems, request_ids, telemetry
from api.jobs import dead_letter_routes, event_routes, retry_routes
from api.jobs import routes as jobs
from api.journal import routes as journal
from api.keys import routes as keys
from api.models import artifact_routes
from api.models import routes as models
from api.monitoring import metrics as monitoring_metrics
from api.monitoring import routes as monitoring
from api.openapi import document
from api.operations import metrics as operations_metrics
from api.operations import routes as operations
from api.predictions import routes as predictions
from api.predictions.endpoint_paths import TAG as ENDPOINTS_TAG
from api.predictions.endpoint_paths import endpoint_paths
from api.process import services
from api.rollouts import metrics as rollout_metrics
from api.rollouts import routes as rollouts
from api.settings import ApiSettings, load
from api.v2 import routes as v2
from api.webhooks import routes as webhooks
from workers.webhooks import settings as webhook_settings

_BLUEPRINTS = (
    models.blueprint,
    aliases.blueprint,
    artifact_routes.blueprint,
    deployments.blueprint,
    rollouts.blueprint,
    predictions.blueprint,
    jobs.blueprint,
    event_routes.blueprint,
    retry_routes.blueprint,
    dead_letter_routes.blueprint,
    journal.blueprint,
    monitoring.blueprint,
    evaluations.blueprint,
    webhooks.blueprint,
    keys.blueprint,
    operations.health_blueprint,
    operations.metrics_blueprint,
    operations.openapi_blueprint,
    v2.blueprint,
)
#: In the order of the documentation page.
_TAGS = (
    ENDPOINTS_TAG,
    "Predictions",
    "Jobs",
    "Dead letters",
    "Webhooks",
    "Deployments",
    "Journal",
    "Evaluations",
    rollouts.TAG,
    "Models",
    v2.TAG,
    "Keys",
    "Health",
)


def create_app(settings: ApiSettings | None = None) -> Flask:
    """Make the app; it connects to nothing before its first request.

    Raises:
        SettingsWrong: an environment variable has a value that can't be used.
    """
    settings = settings or load()
    webhook_settings.load()  # a wrong value is named now, and not when the first job asks for a webhook
    operations_metrics.add_feature(rollout_metrics.families)
    operations_metrics.add_feature(monitoring_metrics.families)
    # The name of the package: Flask looks for its folder, and takes templates from that of another one of the name.
    app = Flask(__name__.rpartition(".")[0], static_folder=None)
    app.request_class = bodies.Request
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    services.install(app, services.Services(settings))
    request_ids.install(app)
    telemetry.install(app, settings)
    problems.install(app)
    guard.install(app)
    for blueprint in _BLUEPRINTS:
        app.register_blueprint(blueprint)
    document.install(app, _TAGS, [endpoint_paths])
    console.install(app)
    prefix.install(app, settings)
    return app

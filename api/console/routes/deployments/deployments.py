"""Pages of deployments: show, deploy, swap and undeploy, each change with a page that shows its effect."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth.sessions import for_role
from api.console import forms, settings, views
from api.deployments import service as deployment_service
from api.errors import EndpointNotDeployed
from api.models import service as model_service
from api.monitoring import service as monitoring_service
from api.process import services
from api.rollouts import service as rollout_service
from registry import names
from registry.errors import SettingsInvalid
from registry.roles import Role

blueprint = Blueprint("deployments", __name__)


@blueprint.get("/deployments/<endpoint_name>")
@for_role(Role.OPERATOR)
def show_deployment(endpoint_name: str) -> str:
    """Show one deployment."""
    # What is live is read every two seconds; the charts are not.
    with_charts = "X-Queuecast-Live" not in request.headers
    found = views.deployment(services.current(), endpoint_name, with_charts=with_charts)
    has_rollout = rollout_service.has_rollout(services.current(), endpoint_name)
    monitored = _monitored(endpoint_name) if with_charts else {"quality": None, "drift": None}
    return render_template("console/deployment.html", has_rollout=has_rollout, **monitored, **found)


def _monitored(endpoint_name: str) -> views.View:
    """Return how good the answers are, by feedback, and how inputs and answers drift; None without a journal."""
    drift = monitoring_service.show_drift(services.current(), endpoint_name)
    return {
        "quality": monitoring_service.recent_quality(endpoint_name),
        "drift": drift if drift["computed_at"] is not None else None,
    }


@blueprint.get("/models/<model_name>/versions/<version>/deploy")
@for_role(Role.OPERATOR)
def deploy_form(model_name: str, version: str) -> str:
    """Ask how to deploy a version."""
    return _form(model_service.show_version(services.current(), model_name, version), {}, {})


@blueprint.get("/deploy")
@for_role(Role.OPERATOR)
def review_deploy() -> str | tuple[str, int]:
    """Show the effect of a deploy from a link, or from a form without secrets."""
    return _review(request.args)


@blueprint.post("/deploy/review")
@for_role(Role.OPERATOR)
def review_typed_deploy() -> str | tuple[str, int]:
    """Show the effect of a deploy from a form: a callback's token must not be in an address or log."""
    return _review(request.form)


@blueprint.post("/deploy")
@for_role(Role.OPERATOR)
def deploy() -> AnyResponse:
    """Deploy, unless the deployment has changed since it was shown."""
    view = deployment_service.deploy(services.current(), forms.deploy(request.form), None)
    return redirect(url_for(".show_deployment", endpoint_name=view["endpoint_name"], done="deploy"), 303)


@blueprint.get("/deployments/<endpoint_name>/undeploy")
@for_role(Role.OPERATOR)
def review_undeploy(endpoint_name: str) -> str:
    """Show the effect of each way to undeploy, and ask for one."""
    return render_template("console/undeploy.html", view=deployment_service.show(services.current(), endpoint_name))


@blueprint.post("/deployments/<endpoint_name>/undeploy")
@for_role(Role.OPERATOR)
def undeploy(endpoint_name: str) -> AnyResponse:
    """Undeploy, unless the deployment has changed since it was shown."""
    deployment_service.undeploy(services.current(), forms.undeploy(endpoint_name), None)
    return redirect(url_for("console.overview.home", done="undeploy"), 303)


@blueprint.get("/deployments/<endpoint_name>/settings")
@for_role(Role.OPERATOR)
def settings_form(endpoint_name: str) -> str:
    """Ask for other settings of a deployment."""
    return _settings_form(_serving(endpoint_name), {})


@blueprint.post("/deployments/<endpoint_name>/settings/review")
@for_role(Role.OPERATOR)
def review_settings(endpoint_name: str) -> str | tuple[str, int]:
    """Show what would change; a callback's token must not be in an address or log."""
    view = _serving(endpoint_name)
    sent = forms.send(lambda: settings.Change.read(view, request.form), "", {SettingsInvalid: ""})
    if sent.made is None:
        return _settings_form(view, settings.at_fields(sent.problems), request.form), sent.status
    return render_template("console/settings_review.html", view=view, change=sent.made)


@blueprint.post("/deployments/<endpoint_name>/settings")
@for_role(Role.OPERATOR)
def configure(endpoint_name: str) -> AnyResponse:
    """Change settings, unless the deployment has changed since it was shown."""
    _serving(endpoint_name)
    settings.configure(services.current(), endpoint_name, request.form)
    return redirect(url_for(".show_deployment", endpoint_name=endpoint_name, done="configure"), 303)


def _serving(endpoint_name: str) -> views.View:
    """Return a deployment that takes jobs; what is undeployed has no settings to change."""
    view = deployment_service.show(services.current(), endpoint_name)
    if not views.takes_jobs(view):
        raise EndpointNotDeployed(
            f"Endpoint {endpoint_name!r} is {view['status']}: deploy it to change its settings.",
            {"endpoint_name": endpoint_name},
        )
    return view


def _settings_form(view: views.View, problems: Mapping[str, str], typed: Mapping[str, str] | None = None) -> str:
    values = settings.values(view) if typed is None else typed
    return render_template(
        "console/settings.html", view=view, entries=settings.ENTRIES, values=values, problems=problems
    )


def _review(given: Mapping[str, str]) -> str | tuple[str, int]:
    """Show the effect of a deploy and ask for confirmation; or show the form again with its problems."""
    here = services.current()
    version = model_service.show_version(here, given.get("model_name", ""), given.get("version", ""))
    sent = forms.send(lambda: forms.deploy(given), "")
    if sent.made is None:
        return _form(version, given, sent.problems), sent.status
    wanted = sent.made
    name = wanted.endpoint_name or names.default_endpoint_name(wanted.model_name, version["version"])
    return render_template(
        "console/deploy_review.html",
        wanted=wanted,
        name=name,
        version=version,
        fields={**forms.deploy_fields(wanted), "endpoint_name": name},
        **views.change(here, name),
    )


def _form(version: views.View, values: Mapping[str, str], problems: Mapping[str, str]) -> str:
    return render_template(
        "console/deploy.html", version=version, values=values, problems=problems, settings=forms.SETTINGS
    )

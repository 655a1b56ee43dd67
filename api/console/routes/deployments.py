"""Deployments: one of them, and deploy, swap and undeploy, each with a page that says what will happen."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api import deploying, registering, services
from api.console import forms, views
from api.console.sessions import for_role
from registry import names
from registry.roles import Role

blueprint = Blueprint("deployments", __name__)


@blueprint.get("/deployments/<endpoint_name>")
@for_role(Role.OPERATOR)
def show_deployment(endpoint_name: str) -> str:
    """Show one deployment."""
    return render_template("console/deployment.html", **views.deployment(services.current(), endpoint_name))


@blueprint.get("/models/<model_name>/versions/<version>/deploy")
@for_role(Role.OPERATOR)
def deploy_form(model_name: str, version: str) -> str:
    """Ask how to deploy a version."""
    return _form(registering.show_version(services.current(), model_name, version), {}, {})


@blueprint.get("/deploy")
@for_role(Role.OPERATOR)
def review_deploy() -> str | tuple[str, int]:
    """Say what the deploy of a link, or of a form without secrets, will do."""
    return _review(request.args)


@blueprint.post("/deploy/review")
@for_role(Role.OPERATOR)
def review_typed_deploy() -> str | tuple[str, int]:
    """Say what a deploy will do whose settings were typed: a callback's token belongs in no address or log."""
    return _review(request.form)


@blueprint.post("/deploy")
@for_role(Role.OPERATOR)
def deploy() -> AnyResponse:
    """Deploy, unless the deployment is not any more what was shown."""
    view = deploying.deploy(services.current(), forms.deploy(request.form), None)
    return redirect(url_for(".show_deployment", endpoint_name=view["endpoint_name"], done="deploy"), 303)


@blueprint.get("/deployments/<endpoint_name>/undeploy")
@for_role(Role.OPERATOR)
def review_undeploy(endpoint_name: str) -> str:
    """Say what each way to undeploy does, and ask for one."""
    return render_template("console/undeploy.html", view=deploying.show(services.current(), endpoint_name))


@blueprint.post("/deployments/<endpoint_name>/undeploy")
@for_role(Role.OPERATOR)
def undeploy(endpoint_name: str) -> AnyResponse:
    """Undeploy, unless the deployment is not any more what was shown."""
    deploying.undeploy(services.current(), forms.undeploy(endpoint_name), None)
    return redirect(url_for("console.overview.home", done="undeploy"), 303)


def _review(given: Mapping[str, str]) -> str | tuple[str, int]:
    """Say what a deploy will do, and ask for confirmation; or show the form again with what is wrong."""
    here = services.current()
    version = registering.show_version(here, given.get("model_name", ""), given.get("version", ""))
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

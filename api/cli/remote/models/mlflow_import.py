"""`queuecast models import-mlflow`: imports a model folder of MLflow as a version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from api.cli.client import Client, Document
from api.cli.options import Assignment, JsonValue, calls_service
from api.cli.output import Output
from api.cli.remote.models import environments
from api.cli.remote.models.aliases import listed
from api.client import MLFLOW_SCHEME as SCHEME
from api.client.errors import SettingsWrong


class _Source(click.ParamType[str | Path]):
    """A path, or the address of a version in MLflow's registry."""

    name = "FOLDER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        """Return the path, which must exist, or the address."""
        if str(value).startswith(SCHEME):
            return str(value)
        return Path(str(click.Path(exists=True).convert(value, param, ctx)))


@click.command(name="import-mlflow")
@click.argument("name")
@click.argument("folder", type=_Source())
@click.option("--flavor", type=click.Choice(["sklearn", "onnx", "python_function"]),
              help="Which of its flavors to use.  [default: the first of these that it has]")  # fmt: skip
@click.option("--option", "options", type=Assignment(), multiple=True, help="An option of the runtime; repeatable.")
@click.option("--input-example", type=JsonValue(), help="One input, if the folder's own says too little.")
@click.option("--signature", type=JsonValue(), help="The input signature, if the folder's own says too little.")
@click.option("--version", help="The version's name.  [default: the next number]")
@click.option("--metadata", type=Assignment(), multiple=True, help="Any information to store with it; repeatable.")
@click.option("--own-environment", is_flag=True, help="Run it in the packages and the Python that FOLDER names.")
@environments.options
@calls_service
def import_mlflow(
    client: Client,
    output: Output,
    name: str,
    folder: str | Path,
    flavor: str | None,
    options: tuple[tuple[str, Any], ...],
    metadata: tuple[tuple[str, Any], ...],
    own_environment: bool,
    python: str | None,
    requirements: Path | None,
    **described: Any,
) -> None:
    """Import the MLflow model FOLDER as a new version of the model NAME.

    FOLDER is where MLflow has written the file MLmodel, or a .zip, .tar.gz or .tar of that. The flavors sklearn and
    onnx need no MLflow anywhere; python_function alone needs `mlflow-skinny` and `pandas` where workers run. Loading
    a model runs its code, so import only what you trust.

    FOLDER may also be the address of a version in MLflow's registry, which MLFLOW_TRACKING_URI names. Its aliases and
    tags are taken along; this needs `mlflow-skinny` here.

    \b
    Examples:
      queuecast models import-mlflow churn ./churn_model
      queuecast models import-mlflow churn models:/churn@champion
      queuecast models import-mlflow churn ./churn_model --own-environment
      queuecast models import-mlflow churn ./mlruns/0/models/m-…/artifacts --flavor python_function
    """
    described |= {"runtime_options": dict(options), "metadata": dict(metadata)}
    described["environment"] = environments.wanted(python, requirements, own=own_environment)
    import_folder(client, output, name, folder, flavor, described)


def import_folder(
    client: Client, output: Output, name: str, folder: str | Path, flavor: str | None, described: dict[str, Any]
) -> None:
    """Import a folder, and show its version."""
    try:
        with output.progress(f"sending {folder}"):
            imported = client.import_mlflow(name, folder, flavor, **described)
    except SettingsWrong as error:
        raise click.UsageError(str(error)) from error
    _show(output, imported)


def _show(output: Output, imported: Document) -> None:
    if output.as_json:
        output.document(imported)
        return
    name, version, origin = imported["model_name"], imported["version"], imported["metadata"]["mlflow"]
    output.line(f"Imported {name} version {version}: flavor {origin['flavor']}, runtime {imported['runtime']}.")
    if imported.get("aliases"):
        output.line(f"Its aliases: {', '.join(imported['aliases'])}.")
    if imported.get("tags"):
        output.line(f"Its tags: {listed(imported['tags'])}.")
    environments.note(output, imported)
    for warning in origin["warnings"]:
        output.note(f"Note: {warning}")
    output.note(f"Deploy it with: queuecast deploy {name} --version {version}")

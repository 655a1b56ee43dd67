"""`queuecast models`: registers versions of models, shows and deletes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from api.cli.client import Client, Document, path_of
from api.cli.options import Assignment, Example, JsonValue, calls_service
from api.cli.output import Output, local_time, size
from api.cli.remote.models import aliases, environments, mlflow_import
from api.client.errors import SettingsWrong


@click.group()
def models() -> None:
    """Register versions of models, show and delete them."""


models.add_command(mlflow_import.import_mlflow)
models.add_command(aliases.tag)


@models.command()
@click.argument("name")
@click.argument("artifact", type=click.Path(exists=True, path_type=Path))
@click.option("--runtime", help="How workers load it: python, sklearn, onnx, skops, xgboost, lightgbm, catboost, "
              "torch.  [default: found from the file]")  # fmt: skip
@click.option("--option", "options", type=Assignment(), multiple=True, help="An option of the runtime; repeatable.")
@click.option("--input-example", type=Example(), help="One input, or @FILE.csv with rows (needs pandas); the signature "
              "is taken from it.")  # fmt: skip
@click.option("--signature", type=JsonValue(), help="The input signature, if no example says enough.")
@click.option("--version", help="The version's name.  [default: the next number]")
@click.option("--metadata", type=Assignment(), multiple=True, help="Any information to store with it; repeatable.")
@environments.options
@calls_service
def register(
    client: Client,
    output: Output,
    name: str,
    artifact: Path,
    runtime: str | None,
    options: tuple[tuple[str, Any], ...],
    metadata: tuple[tuple[str, Any], ...],
    python: str | None,
    requirements: Path | None,
    **described: Any,
) -> None:
    """Register the file ARTIFACT as a new version of the model NAME.

    The runtime of scikit-learn's estimators (.joblib, .pkl), of functions that cloudpickle has stored, of .onnx and
    .skops files, of the own formats of XGBoost (.json, .ubj), LightGBM (.txt) and CatBoost (.cbm), and of programs of
    PyTorch (TorchScript, .pt2) is found from the file, whose code is not run for that. A folder of MLflow is imported
    (import-mlflow). Loading a pickled model runs its code, so register only what you trust.

    \b
    Examples:
      queuecast models register churn churn.joblib \\
          --option method=predict_proba --input-example '[0.5, 0.8, 0.2]'
      queuecast models register houses houses.joblib --input-example @rows.csv
      queuecast models register churn churn.onnx --input-example @row.json
      queuecast models register churn churn.ubj --option classes='["stays", "leaves"]' \\
          --input-example @row.json
      queuecast models register churn old.joblib --input-example @row.json --requirements requirements.txt
    """
    described |= {"runtime_options": dict(options), "metadata": dict(metadata)}
    described["environment"] = environments.wanted(python, requirements)
    if artifact.is_dir():
        _import(client, output, name, artifact, runtime, described)
        return
    try:
        with output.progress(f"sending {artifact.name} ({size(artifact.stat().st_size)})"):
            registered = client.register(name, artifact, runtime, **described)
    except SettingsWrong as error:
        raise click.UsageError(str(error)) from error
    if output.as_json:
        output.document(registered)
        return
    version = registered["version"]
    output.line(f"Registered {registered['model_name']} version {version}.")
    if registered.get("runtime_reason"):
        output.note(f"Its runtime is {registered['runtime']}: {registered['runtime_reason']}.")
    environments.note(output, registered)
    output.note(f"Deploy it with: queuecast deploy {registered['model_name']} --version {version}")


def _import(
    client: Client, output: Output, name: str, folder: Path, runtime: str | None, described: dict[str, Any]
) -> None:
    if not (folder / "MLmodel").is_file():
        raise click.UsageError(f"{folder} is a folder without the file MLmodel: only folders of MLflow are models.")
    if runtime is not None:
        raise click.UsageError("--runtime: the folder's flavor decides it; import-mlflow --flavor names another.")
    mlflow_import.import_folder(client, output, name, folder, None, described)


@models.command(name="list")
@click.option("--search", "q", metavar="TEXT", help="Only models with this text in their names, in any case.")
@click.option("--tag", "tags", type=aliases.Tag(), multiple=True, help="Only models with this tag; repeatable.")
@calls_service
def list_models(client: Client, output: Output, q: str | None, tags: tuple[tuple[str, str], ...]) -> None:
    """List the models.

    \b
    Examples:
      queuecast models list
      queuecast models list --search churn --tag owner=risk
    """
    found = client.get("/models", q=q, **{f"tag.{name}": value for name, value in tags})
    if output.as_json:
        output.document(found)
        return
    output.table(
        ["MODEL", "LATEST", "VERSIONS", "REGISTERED", "ALIASES", "TAGS"],
        [
            (
                each["name"],
                each["latest_version"],
                each["version_count"],
                local_time(each["created_at"]),
                aliases.listed(each.get("aliases") or {}),
                aliases.listed(each.get("tags") or {}),
            )
            for each in found["models"]
        ],
        "No models yet: queuecast models register --help",
    )


@models.command()
@click.argument("name")
@click.option("--version", help="Show one version in full.")
@calls_service
def show(client: Client, output: Output, name: str, version: str | None) -> None:
    """Show the model NAME and its versions."""
    if version is not None:
        found = client.get(path_of("models", name, "versions", version))
        output.document(found) if output.as_json else output.facts(_version_facts(found))
        return
    found = client.get(path_of("models", name))
    if output.as_json:
        output.document(found)
        return
    output.table(
        ["VERSION", "RUNTIME", "SIZE", "SHA256", "REGISTERED", "ALIASES", "TAGS"],
        [
            (
                each["version"],
                each["runtime"],
                size(each.get("artifact_size_bytes")),
                str(each.get("artifact_sha256"))[:12],
                local_time(each.get("created_at")),
                ", ".join(each.get("aliases") or []),
                aliases.listed(each.get("tags") or {}),
            )
            for each in found["versions"]
        ],
        f"{name} has no versions.",
    )


@models.command()
@click.argument("name")
@click.argument("version")
@calls_service
def delete(client: Client, output: Output, name: str, version: str) -> None:
    """Delete VERSION of the model NAME, which no endpoint serves.

    An endpoint that serves it is named: undeploy it, or swap it to another version, first. The
    version's number is not given again. Its artifact stays in the store until
    `queuecast artifacts prune`.

    \b
    Example:
      queuecast models delete house 3
    """
    found = client.get(path_of("models", name, "versions", version))
    client.delete(path_of("models", name, "versions", version))
    if output.as_json:
        output.document({"deleted": {name: found[name] for name in ("model_name", "version", "artifact_sha256")}})
        return
    output.line(f"Deleted {found['model_name']} version {found['version']}.")
    artifact = size(found.get("artifact_size_bytes"))
    output.note(f"Its artifact ({artifact}) is still stored, an hour at least: queuecast artifacts prune")


def _version_facts(version: Document) -> Document:
    times = {"created_at": local_time(version.get("created_at"))}
    sizes = {"artifact_size_bytes": size(version.get("artifact_size_bytes"))}
    environment = version.get("environment")
    packages = f"Python {environment['python']}, {' '.join(environment['packages'])}" if environment else None
    runs_in = {"environment": packages} if packages else {}
    return {**version, **times, **sizes, **runs_in}

"""`queuecast predict`: submit a job and show its outcome."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from api.cli.client import Client, Document, path_of
from api.cli.options import JsonValue, calls_service, waits
from api.cli.output import Output, queue_position, to_json
from api.cli.remote.deployments import waiting
from api.cli.remote.jobs.bulk import predict_all
from api.cli.remote.tables.options import TableOptions, takes_tables
from api.cli.remote.tables.run import predict_table

#: How long no row of a table may end, unless --timeout says.
_TABLE_IDLE_S = 600.0


# An input may be a negative number, which is no option.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", metavar="[ENDPOINT] INPUT", nargs=-1, required=True)
@click.option("--model", "model_name", help="Ask the latest deployed version of a model instead of an endpoint.")
@click.option("--version", help="With --model: this version.")
@click.option("--many", is_flag=True, help="INPUT is a list of inputs, predicted as one job.")
@click.option("--bulk", is_flag=True, help="INPUT is many inputs, in a JSON array or one a line: a job for each.")
@click.option("--expires-in", "expires_in_s", type=float, help="Seconds after which it must not begin any more.")
@click.option("--priority", type=click.Choice(["high", "normal", "low"]), help="Before or after other jobs.")
@click.option("--callback-url", help="Where its end will be told by a signed webhook (queuecast docs webhooks).")
@click.option("--sticky-key", help="During a rollout, jobs with the same key are answered by the same version.")
@click.option("--then", multiple=True, metavar="ENDPOINT", help="Predict from the prediction there next: a pipeline.")
@takes_tables
@waits("for the outcome", 60.0)
@calls_service
def predict(
    client: Client,
    output: Output,
    words: tuple[str, ...],
    model_name: str | None,
    version: str | None,
    many: bool,
    bulk: bool,
    expires_in_s: float | None,
    priority: str | None,
    callback_url: str | None,
    sticky_key: str | None,
    then: tuple[str, ...],
    wait: bool,
    timeout_s: float,
    **table: Any,
) -> None:
    """Predict INPUT (JSON, @FILE, or - for stdin) with ENDPOINT.

    The prediction goes to stdout as JSON; how it came about to stderr.

    With --csv or --parquet there is no INPUT: each row of the table is one. Columns are found by the names of the
    input's fields, or taken in their order if it has none; empty cells are missing values. The predictions are written
    as CSV in the order of the rows. A row without one has the reason in the column `error`, spoils no other, and makes
    the exit code 1. --timeout is then the longest time in which no row ends. [default: 600]

    \b
    Examples:
      queuecast predict binary_classifier-v1 '[0.5, 0.8, 0.2]'
      queuecast predict --model quadratic_predictor 2.5
      queuecast predict --many classifier_prod @rows.json --json
      queuecast predict embed '"a text"' --then classify
      queuecast predict --bulk classifier_prod @rows.ndjson --priority low --timeout 600
      queuecast predict --bulk classifier_prod --no-wait - <rows.ndjson >job_ids
      queuecast predict houses --csv rows.csv >predictions.csv
      queuecast predict houses --csv rows.csv --output predictions.csv --resume
    """
    named = {
        "expires_in_s": expires_in_s,
        "priority": priority,
        "callback_url": callback_url,
        "sticky_key": sticky_key,
        "then": list(then) or None,
    }
    own = {name: given for name, given in named.items() if given is not None}
    tables = TableOptions.taken_from(table)
    tables.check()
    if tables.csv is not None or tables.parquet is not None:
        endpoint_name = _table_endpoint(words, wait=wait, others=(model_name, version, many or None, bulk or None))
        own |= {"idle_timeout_s": timeout_s if _is_given("timeout_s") else _TABLE_IDLE_S}
        _refuse_then(then)
        predict_table(client, output, endpoint_name, tables, own)
        return
    if bulk:
        _refuse_then(then)
        path = _bulk_path(words, model_name, many=many)
        predict_all(client, output, path, words[-1], own, wait=wait, timeout_s=timeout_s)
        return
    endpoint, value = _parsed(words, model_name)
    body: Document = {"inputs" if many else "input": value, **own}
    named = {"model_name": model_name, "version": version}
    body |= {name: given for name, given in named.items() if given is not None}
    job = client.post(path_of("predict", *endpoint), body)
    if not wait:
        _show_submitted(output, job)
        return
    ended = waiting.job_end(client, output, job["job_id"], timeout_s)
    show_outcome(output, ended)


def _table_endpoint(words: tuple[str, ...], *, wait: bool, others: tuple[object, ...]) -> str:
    if len(words) != 1 or not wait or any(each is not None for each in others):
        raise click.UsageError("--csv and --parquet take one endpoint, without INPUT, --model, --many and --no-wait.")
    if click.get_current_context().params["callback_url"] is not None:
        raise click.UsageError("The rows of a table share jobs, so that there are no webhooks for them.")
    if click.get_current_context().params["sticky_key"] is not None:
        raise click.UsageError("The rows of a table share jobs, so that they have no sticky keys.")
    return words[0]


def _refuse_then(then: tuple[str, ...]) -> None:
    if then:
        raise click.UsageError("--then is for one job: many inputs in one call, and tables, are no pipelines.")


def _is_given(parameter: str) -> bool:
    return click.get_current_context().get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def _bulk_path(words: tuple[str, ...], model_name: str | None, *, many: bool) -> str:
    if len(words) != 2 or model_name is not None or many:
        raise click.UsageError("--bulk takes one endpoint and the inputs, without --model and --many.")
    return path_of("predict", words[0], "bulk")


def _parsed(words: tuple[str, ...], model_name: str | None) -> tuple[tuple[str, ...], Any]:
    """The endpoint, none if a model is named, and the input."""
    *endpoint, text = words
    if len(endpoint) != (1 if model_name is None else 0):
        raise click.UsageError(f"Name one endpoint, or --model, and one input; got: {' '.join(words)}")
    return tuple(endpoint), JsonValue().convert(text, None, click.get_current_context())


def show_outcome(output: Output, job: Document) -> None:
    """Show the outcome of a job that has succeeded."""
    outcome = job["outcome"] or {}
    if output.as_json:
        output.document({"job_id": job["job_id"], **outcome})
        return
    output.line(to_json(outcome["predictions"] if "predictions" in outcome else outcome.get("prediction")))
    timing = outcome.get("timing") or {}
    output.note(
        f"{outcome.get('model_name')} version {outcome.get('version')} on {outcome.get('worker')}, "
        f"batch of {outcome.get('batch_size')}, {timing.get('total_ms')} ms, job {job['job_id']}"
    )


def _show_submitted(output: Output, job: Document) -> None:
    if output.as_json:
        output.document(job)
        return
    output.line(job["job_id"])
    where = queue_position(job)
    output.note((f"{where}. " if where else "") + f"Look at it with: queuecast jobs show {job['job_id']} --wait")

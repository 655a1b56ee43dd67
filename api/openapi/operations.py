"""What the OpenAPI document says of each fixed route, beside its address and its docstring."""

from __future__ import annotations

from collections.abc import Mapping

from api import schemas
from api.openapi import answers, job_answers
from api.openapi.operation import Operation
from api.openapi.v2 import V2_OPERATIONS

_EXAMPLE_INPUT = [0.5, 0.8, 0.2]


#: Flask endpoint -> operation. Pages for people (`/`, `/docs`, `/console…`) are not part of the document.
OPERATIONS: Mapping[str, Operation] = {
    "predictions.predict_model": Operation(
        "Predictions",
        {200: job_answers.OutcomeOfJob, 202: job_answers.Accepted},
        body=schemas.ModelPrediction,
        errors=(400, 404, 409, 413, 422, 429, 503),
        takes_prefer_wait=True,
        takes_idempotency_key=True,
        example={"model_name": "binary_classifier", "input": _EXAMPLE_INPUT},
    ),
    "predictions.predict_endpoint": Operation(
        "Predictions",
        {200: job_answers.OutcomeOfJob, 202: job_answers.Accepted},
        body=schemas.Prediction,
        errors=(400, 404, 409, 413, 422, 429, 503),
        takes_prefer_wait=True,
        takes_idempotency_key=True,
        example={"input": _EXAMPLE_INPUT},
    ),
    "predictions.predict_many": Operation(
        "Predictions",
        {202: job_answers.AcceptedMany},
        body=schemas.Prediction,
        errors=(400, 404, 413, 422, 429, 503),
        takes_idempotency_key=True,
        many=True,
        example=[{"input": _EXAMPLE_INPUT}, {"input": _EXAMPLE_INPUT, "expires_in_s": 60}],
    ),
    "jobs.show_job": Operation("Jobs", {200: job_answers.JobDocument}, query=schemas.JobWait, errors=(404, 422, 503)),
    "events.stream_events": Operation(
        "Jobs",
        {200: job_answers.JobEventStream, 204: None},
        query=schemas.JobEvents,
        errors=(404, 422, 429, 503),
        takes_last_event_id=True,
        media_types=("text/event-stream",),
    ),
    "events.link_events": Operation(
        "Jobs", {201: job_answers.EventsLink}, query=schemas.EventsLink, errors=(404, 422, 503)
    ),
    "jobs.cancel_job": Operation(
        "Jobs", {200: job_answers.JobDocument}, query=schemas.JobCancel, errors=(404, 409, 422, 503)
    ),
    "dead_letters.list_dead_letters": Operation(
        "Dead letters", {200: job_answers.DeadLetters}, query=schemas.DeadLetterList, errors=(422, 503)
    ),
    "dead_letters.show_dead_letter": Operation("Dead letters", {200: job_answers.DeadLetter}, errors=(404, 503)),
    "dead_letters.replay_dead_letter": Operation(
        "Dead letters",
        {202: job_answers.Accepted},
        body=schemas.Replay,
        errors=(400, 404, 413, 422, 429, 503),
        example={},
    ),
    "dead_letters.discard_dead_letter": Operation("Dead letters", {204: None}, errors=(404, 422, 503)),
    "webhooks.list_deliveries": Operation(
        "Webhooks", {200: job_answers.WebhookDeliveries}, query=schemas.DeliveryList, errors=(422, 503)
    ),
    "webhooks.show_delivery": Operation("Webhooks", {200: job_answers.WebhookDelivery}, errors=(404, 422, 503)),
    "webhooks.redeliver": Operation("Webhooks", {202: job_answers.WebhookDelivery}, errors=(404, 422, 503)),
    "jobs.list_jobs": Operation("Jobs", {200: job_answers.Jobs}, query=schemas.JobList, errors=(422, 503)),
    "jobs.look_up_jobs": Operation(
        "Jobs",
        {200: job_answers.JobsLookedUp},
        body=schemas.JobLookUp,
        query=schemas.JobWait,
        errors=(400, 413, 422, 503),
        example={"job_ids": ["82776c54-76a5-4b79-b99d-501c4a52d575"]},
    ),
    "deployments.deploy": Operation(
        "Deployments",
        {201: answers.DeploymentView, 202: answers.DeploymentView},
        body=schemas.Deploy,
        errors=(400, 404, 409, 413, 422, 503, 507),
        takes_prefer_wait=True,
        example={"model_name": "binary_classifier", "version": "1", "endpoint_name": "classifier_prod"},
    ),
    "deployments.undeploy": Operation(
        "Deployments",
        {200: answers.Deployments, 202: answers.Deployments},
        body=schemas.Undeploy,
        errors=(400, 404, 409, 413, 422, 503, 507),
        takes_prefer_wait=True,
        example={"endpoint_name": "classifier_prod", "backlog": "drain"},
    ),
    "deployments.list_deployments": Operation("Deployments", {200: answers.Deployments}, errors=(503,)),
    "deployments.show_deployment": Operation("Deployments", {200: answers.DeploymentView}, errors=(404, 503)),
    "models.register": Operation(
        "Models",
        {201: answers.VersionView},
        body=schemas.Registration,
        errors=(400, 409, 413, 415, 422, 503, 507),
        multipart=True,
        example={"name": "my_model", "runtime": "sklearn", "input_example": _EXAMPLE_INPUT},
    ),
    "models.list_models": Operation("Models", {200: answers.Models}, errors=(503,)),
    "models.show_stats": Operation("Models", {200: answers.Stats}, errors=(503,)),
    "models.show_model": Operation("Models", {200: answers.ModelView}, errors=(404, 503)),
    "models.show_version": Operation("Models", {200: answers.VersionView}, errors=(404, 503)),
    "models.delete_version": Operation("Models", {204: None}, errors=(404, 409, 503, 507)),
    "keys.create_key": Operation(
        "Keys",
        {201: answers.NewApiKey},
        body=schemas.KeyCreation,
        errors=(400, 409, 413, 422, 503, 507),
        example={"name": "web_shop", "role": "client", "endpoint_names": ["classifier_prod"], "rate_limit_per_s": 50},
    ),
    "keys.list_keys": Operation("Keys", {200: answers.ApiKeys}, query=schemas.KeyList, errors=(422, 503)),
    "keys.revoke_key": Operation("Keys", {204: None}, errors=(404, 503, 507)),
    "health.live": Operation("Health", {200: answers.Live}),
    "health.ready": Operation("Health", {200: answers.Ready, 503: answers.Ready}),
    "metrics.show_metrics": Operation(
        "Health", {200: answers.Metrics}, media_types=("text/plain", "application/openmetrics-text")
    ),
    "openapi.openapi": Operation("Health", {200: answers.Document}, errors=(503,)),
    **V2_OPERATIONS,
}

"""The Python client: predictions, jobs, models and deployments over HTTP, blocking or with asyncio.

    from api.client import Client

    with Client() as client:
        client.predict("binary_classifier-v1", [0.5, 0.8, 0.2])

It loads no Flask, no numpy, no database and nothing of the service itself; docs/guides/client.md tells more.
"""

from api.client.asyncio.client import AsyncClient
from api.client.copies import refuse_second_copy as _refuse_second_copy
from api.client.documents import (
    Alias,
    Deployment,
    DeploymentChange,
    Drift,
    Evaluation,
    Figures,
    JournalKept,
    Model,
    ModelVersion,
    Outcome,
    Quality,
    QueuePlace,
    Rollout,
    Shadow,
    Stats,
    Subscription,
    Timing,
)
from api.client.errors import (
    AccessDenied,
    AnswerUnreadable,
    ClientError,
    Conflict,
    DeploymentFailed,
    EndpointNotDeployed,
    InputInvalid,
    InputNotJson,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    JobUnfinished,
    JobUnsuccessful,
    NotFound,
    RequestInvalid,
    RequestRefused,
    ServerFailed,
    ServiceUnavailable,
    ServiceUnreachable,
    SettingsWrong,
    TooMuch,
    WaitTimedOut,
)
from api.client.flows.mlflow_registry import SCHEME as MLFLOW_SCHEME
from api.client.jobs import AsyncJob, Job
from api.client.options import MapOptions, RegisterOptions, SubmitOptions
from api.client.sync.client import Client
from api.client.tables.columns import ColumnsWrong

__all__ = [
    "MLFLOW_SCHEME",
    "AccessDenied",
    "Alias",
    "AnswerUnreadable",
    "AsyncClient",
    "AsyncJob",
    "Client",
    "ClientError",
    "ColumnsWrong",
    "Conflict",
    "Deployment",
    "DeploymentChange",
    "DeploymentFailed",
    "Drift",
    "EndpointNotDeployed",
    "Evaluation",
    "Figures",
    "InputInvalid",
    "InputNotJson",
    "Job",
    "JobCancelled",
    "JobExpired",
    "JobFailed",
    "JobNotFound",
    "JobUnfinished",
    "JobUnsuccessful",
    "JournalKept",
    "MapOptions",
    "Model",
    "ModelVersion",
    "NotFound",
    "Outcome",
    "Quality",
    "QueuePlace",
    "RegisterOptions",
    "RequestInvalid",
    "RequestRefused",
    "Rollout",
    "ServerFailed",
    "ServiceUnavailable",
    "ServiceUnreachable",
    "SettingsWrong",
    "Shadow",
    "Stats",
    "SubmitOptions",
    "Subscription",
    "Timing",
    "TooMuch",
    "WaitTimedOut",
]

_refuse_second_copy(__name__)

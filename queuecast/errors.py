"""What `predict`, the results of its jobs, and `register` raise.

    from queuecast import errors, predict

    try:
        outcome = predict.delay("classifier", [0.5, 0.8, 0.2]).get(timeout=10)
    except errors.PredictionFailed as failed: ...
    except errors.JobFailed as failed: ...          # any other reason; failed.code is that of GET /jobs/<id>

Records of failed jobs name this module (`workers.errors.JOB_ERRORS_MODULE`), so that Celery finds the classes here in a
clone as well as installed. `Client` raises errors of its own, which are in `queuecast.client`.
"""

from __future__ import annotations

from registry.errors import (
    ArtifactStoreFull,
    ArtifactStoreUnavailable,
    EnvironmentInvalid,
    EnvironmentsOff,
    EnvironmentUnresolvable,
    InputInvalid,
    MetadataInvalid,
    ModelLoadFailed,
    NameInvalid,
    OutputInvalid,
    RegistryAbsent,
    RegistryError,
    RegistryFull,
    RegistryUnavailable,
    RuntimeOptionsInvalid,
    RuntimeUnavailable,
    RuntimeUndetected,
    RuntimeUnknown,
    SignatureInvalid,
    VersionExists,
)
from workers.errors import (
    BulkInterrupted,
    BulkTooLarge,
    EndpointUndeployed,
    HostDied,
    InputRejected,
    JobArgumentsWrong,
    JobFailed,
    JobUnconfirmed,
    PoisonJob,
    PredictionFailed,
    PredictionTimedOut,
    QueueFull,
    QueueStoreFull,
    QueueUnavailable,
    SettingsWrong,
    TargetRefused,
    WorkerError,
)

__all__ = [
    "ArtifactStoreFull",
    "ArtifactStoreUnavailable",
    "BulkInterrupted",
    "BulkTooLarge",
    "EndpointUndeployed",
    "EnvironmentInvalid",
    "EnvironmentUnresolvable",
    "EnvironmentsOff",
    "HostDied",
    "InputInvalid",
    "InputRejected",
    "JobArgumentsWrong",
    "JobFailed",
    "JobUnconfirmed",
    "MetadataInvalid",
    "ModelLoadFailed",
    "NameInvalid",
    "OutputInvalid",
    "PoisonJob",
    "PredictionFailed",
    "PredictionTimedOut",
    "QueueFull",
    "QueueStoreFull",
    "QueueUnavailable",
    "RegistryAbsent",
    "RegistryError",
    "RegistryFull",
    "RegistryUnavailable",
    "RuntimeOptionsInvalid",
    "RuntimeUnavailable",
    "RuntimeUndetected",
    "RuntimeUnknown",
    "SettingsWrong",
    "SignatureInvalid",
    "TargetRefused",
    "VersionExists",
    "WorkerError",
]

"""What can go wrong with models, artifacts and deployments; imports nothing and knows nothing of HTTP."""

from __future__ import annotations


class RegistryError(Exception):
    """Root of everything that this package raises on purpose."""

    code = "registry_error"


class SettingsWrong(RegistryError):
    """An environment variable has a value that can't be used; the message names it."""

    code = "settings_wrong"


class RegistryUnavailable(RegistryError):
    """The registry database can't be reached, is busy, or was never migrated."""

    code = "registry_unavailable"


class RegistryFull(RegistryUnavailable):
    """The registry database has no room for what is to be written: a full disk, a quota, a size limit."""

    code = "registry_full"


class NameInvalid(RegistryError):
    """A name breaks the rules for names; the message says which one."""

    code = "name_invalid"

    def __init__(self, kind: str, name: str, rule: str) -> None:
        super().__init__(f"{name!r} can't be the name of {kind}: {rule}.")
        self.kind = kind
        self.name = name
        self.rule = rule


class ModelNotFound(RegistryError):
    """No model of this name has a version."""

    code = "model_not_found"

    def __init__(self, model_name: str) -> None:
        super().__init__(f"There is no model {model_name!r}.")
        self.model_name = model_name


class VersionNotFound(RegistryError):
    """The model has no such version, or it was deleted."""

    code = "version_not_found"

    def __init__(self, model_name: str, version: str) -> None:
        super().__init__(f"Model {model_name!r} has no version {version!r}.")
        self.model_name = model_name
        self.version = version


class VersionExists(RegistryError):
    """A version of this name exists or existed: versions are immutable and their names are used once."""

    code = "version_exists"

    def __init__(self, model_name: str, version: str) -> None:
        super().__init__(
            f"Version {version!r} of model {model_name!r} exists, or did before it was deleted: "
            "take another name, or leave it out to get the next number."
        )
        self.model_name = model_name
        self.version = version


class VersionInUse(RegistryError):
    """The version is deployed, so it can't be deleted."""

    code = "version_in_use"

    def __init__(self, model_name: str, version: str, endpoint_names: list[str]) -> None:
        super().__init__(
            f"Version {version!r} of model {model_name!r} is deployed as {', '.join(endpoint_names)}: "
            "undeploy it first."
        )
        self.model_name = model_name
        self.version = version
        self.endpoint_names = endpoint_names


class DeploymentNotFound(RegistryError):
    """Nothing is deployed that is named so."""

    code = "deployment_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"Nothing is deployed as {name!r}.")
        self.name = name


class DeploymentChanged(RegistryError):
    """The deployment is not any more what the caller took it for; nothing was changed."""

    code = "deployment_changed"

    def __init__(self, endpoint_name: str, expected: int, revision: int) -> None:
        is_now = f"its revision is {revision} now" if revision else "there is none of this name now"
        super().__init__(
            f"Deployment {endpoint_name!r} was changed meanwhile: {is_now}, not {expected}. "
            "Look at it again before you change it."
        )
        self.endpoint_name = endpoint_name
        self.expected_revision = expected
        self.revision = revision


class ApiKeyExists(RegistryError):
    """The name has an API key already."""

    code = "api_key_exists"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} has an API key. Revoke that first, take another name, or make a second key for the same "
            "client (`queuecast keys create --second`, `second` over HTTP)."
        )
        self.name = name


class ApiKeyNotFound(RegistryError):
    """There is no such API key, or it is revoked."""

    code = "api_key_not_found"

    def __init__(self, name_or_id: str) -> None:
        # Somebody may have given the whole key, which belongs into no log.
        shown = name_or_id[:100] if len(name_or_id) < len("qc_") + 43 else f"{name_or_id[:11]}…"
        super().__init__(f"No API key in use has the name or the id {shown!r}.")


class ApiKeyInvalid(RegistryError):
    """An API key can't have these limits."""

    code = "api_key_limits_invalid"


class SettingsInvalid(RegistryError):
    """Serving settings, or another document that comes with a call, are out of range or unknown."""

    code = "settings_invalid"


class RuntimeOptionsInvalid(SettingsInvalid):
    """The runtime doesn't know one of its options, or not this value."""

    code = "runtime_options_invalid"


class MetadataInvalid(SettingsInvalid):
    """The metadata of a version is not a JSON object."""

    code = "metadata_invalid"


class SignatureInvalid(RegistryError):
    """A signature contradicts itself, or none can be taken from the example."""

    code = "signature_invalid"


class InputInvalid(RegistryError):
    """An input doesn't fit the model's signature; names the place, what belongs there and what stood there."""

    code = "input_invalid"

    def __init__(self, field: str, expected: str, received: str) -> None:
        super().__init__(f"{field} must be {expected}; it is {received}.")
        self.field = field
        self.expected = expected
        self.received = received

    def __reduce__(self) -> tuple[type[InputInvalid], tuple[str, str, str]]:
        return type(self), (self.field, self.expected, self.received)


class ArchiveInvalid(RegistryError):
    """An archive can't be unpacked: it is broken, too large, or holds links or paths that lead out of it."""

    code = "archive_invalid"


class MlflowFolderInvalid(RegistryError):
    """An MLflow model folder can't be imported; says what is missing or not known here."""

    code = "mlflow_folder_invalid"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The MLflow model folder can't be imported. {reason}")


class OutputInvalid(RegistryError):
    """A model answered something that JSON can't say."""

    code = "output_invalid"


class ArtifactMissing(RegistryError):
    """The artifact store doesn't have the artifact."""

    code = "artifact_missing"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"Artifact {sha256} is not in the artifact store.")
        self.sha256 = sha256


class ArtifactDamaged(RegistryError):
    """The stored bytes are not those that were registered; they are never loaded."""

    code = "artifact_damaged"

    def __init__(self, sha256: str, found_sha256: str) -> None:
        super().__init__(
            f"Artifact {sha256} is damaged: its bytes have the checksum {found_sha256}. "
            "It is not loaded; register the model again."
        )
        self.sha256 = sha256
        self.found_sha256 = found_sha256


class ArtifactStoreUnavailable(RegistryError):
    """The artifact store can't be reached, read or written."""

    code = "artifact_store_unavailable"


class ArtifactStoreFull(ArtifactStoreUnavailable):
    """There is no room for an artifact: in the store, or in a worker's cache of it."""

    code = "artifact_store_full"


class RuntimeUnknown(RegistryError):
    """There is no runtime of this name."""

    code = "runtime_unknown"

    def __init__(self, runtime: str, known: list[str]) -> None:
        super().__init__(f"There is no runtime {runtime!r}; there are {', '.join(known)}.")
        self.runtime = runtime
        self.known = known


class RuntimeUnavailable(RegistryError):
    """The runtime needs an optional library that is not installed."""

    code = "runtime_unavailable"

    def __init__(self, runtime: str, library: str) -> None:
        super().__init__(
            f"Runtime {runtime!r} needs {library}, which is not installed: pip install 'queuecast[{runtime}]'."
        )
        self.runtime = runtime
        self.library = library


class ModelLoadFailed(RegistryError):
    """The model can't be serialized, loaded, or used for its own example."""

    code = "model_load_failed"


class BackupImpossible(RegistryError):
    """A backup can't be made or restored; the message says why, and what to do instead."""

    code = "backup_impossible"

"""The errors of models, artifacts and deployments; imports nothing and knows nothing of HTTP."""

from __future__ import annotations


class RegistryError(Exception):
    """Base of all errors of this package."""

    code = "registry_error"


class SettingsWrong(RegistryError):
    """An environment variable has an invalid value; the message names it."""

    code = "settings_wrong"


class RegistryUnavailable(RegistryError):
    """The registry database can't be reached, is busy, or was never migrated."""

    code = "registry_unavailable"


class RegistryAbsent(RegistryUnavailable):
    """There is no registry where the settings lead to; the message says where that is."""

    code = "registry_absent"


class RegistryFull(RegistryUnavailable):
    """The registry database has no room: a full disk, a quota or a size limit."""

    code = "registry_full"


class NameInvalid(RegistryError):
    """A name breaks the rules for names; the message contains the rule."""

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
            f"Version {version!r} of model {model_name!r} exists, or existed before it was deleted: "
            "choose another name, or omit it to get the next number."
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


class VersionEvaluated(RegistryError):
    """An evaluation that has not ended needs the version, so it can't be deleted."""

    code = "version_evaluated"

    def __init__(self, model_name: str, version: str, evaluation_ids: list[str]) -> None:
        super().__init__(
            f"Version {version!r} of model {model_name!r} is being evaluated: {', '.join(evaluation_ids)}. "
            "Wait for the end of the evaluation, or cancel it."
        )
        self.model_name = model_name
        self.version = version
        self.evaluation_ids = evaluation_ids


class DeploymentNotFound(RegistryError):
    """There is no deployment of this name."""

    code = "deployment_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"Nothing is deployed as {name!r}.")
        self.name = name


class DeploymentChanged(RegistryError):
    """The deployment was changed since the caller read it; nothing was changed."""

    code = "deployment_changed"

    def __init__(self, endpoint_name: str, expected: int, revision: int) -> None:
        current = f"its revision is now {revision}" if revision else "there is now no deployment of this name"
        super().__init__(
            f"Deployment {endpoint_name!r} was changed in the meantime: {current}, not {expected}. "
            "Read it again before you change it."
        )
        self.endpoint_name = endpoint_name
        self.expected_revision = expected
        self.revision = revision


class DeploymentUndeployed(RegistryError):
    """The settings of an undeployed endpoint can't be changed."""

    code = "deployment_undeployed"

    def __init__(self, endpoint_name: str) -> None:
        super().__init__(
            f"Endpoint {endpoint_name!r} is undeployed, so its settings can't be changed. Deploy it again: a deploy "
            "can name settings."
        )
        self.endpoint_name = endpoint_name


class RevisionNotFound(RegistryError):
    """The history of the deployment doesn't have this revision."""

    code = "revision_not_found"

    def __init__(self, endpoint_name: str, revision: int, known: list[int]) -> None:
        super().__init__(
            f"The history of endpoint {endpoint_name!r} has no revision {revision}; it has those from {known[0]} "
            f"to {known[-1]}."
        )
        self.endpoint_name = endpoint_name
        self.revision = revision


class RollbackRefused(RegistryError):
    """The deployment can't go back; the message contains the reason."""

    code = "rollback_refused"

    def __init__(self, endpoint_name: str, reason: str) -> None:
        super().__init__(f"Endpoint {endpoint_name!r} can't go back. {reason}")
        self.endpoint_name = endpoint_name


class AliasNotFound(RegistryError):
    """The model doesn't have this alias."""

    code = "alias_not_found"

    def __init__(self, model_name: str, alias: str) -> None:
        super().__init__(f"Model {model_name!r} has no alias {alias!r}.")
        self.model_name = model_name
        self.alias = alias


class AliasChanged(RegistryError):
    """The alias names another version than the expected one."""

    code = "alias_changed"

    def __init__(self, model_name: str, alias: str, expected: str | None, version: str | None) -> None:
        now = f"names version {version}" if version is not None else "does not exist"
        wanted = f"to name version {expected}" if expected is not None else "not to exist"
        super().__init__(f"Alias {alias!r} of model {model_name!r} {now}; it was expected {wanted}. Look at it again.")
        self.model_name = model_name
        self.alias = alias
        self.version = version


class AliasInUse(RegistryError):
    """Endpoints follow the alias."""

    code = "alias_in_use"

    def __init__(self, model_name: str, alias: str, endpoint_names: list[str]) -> None:
        super().__init__(
            f"Alias {alias!r} of model {model_name!r} is followed by {', '.join(endpoint_names)}. Deploy a version "
            "there by its number, or undeploy it, before you delete the alias."
        )
        self.endpoint_names = endpoint_names


class VersionAliased(RegistryError):
    """Aliases name the version, so it can't be deleted."""

    code = "version_aliased"

    def __init__(self, model_name: str, version: str, aliases: list[str]) -> None:
        super().__init__(
            f"Version {version} of model {model_name!r} is named by {', '.join(aliases)}. Move or delete the alias "
            "before you delete the version."
        )
        self.aliases = aliases


class VersionJudged(RegistryError):
    """The version is the candidate of a shadow or a rollout, so it can't be deleted."""

    code = "version_judged"

    def __init__(self, model_name: str, version: str, endpoint_names: list[str]) -> None:
        super().__init__(
            f"Version {version} of model {model_name!r} is the candidate of {', '.join(endpoint_names)}. Stop its "
            "shadow or abort its rollout before you delete the version."
        )
        self.endpoint_names = endpoint_names


class TrialActive(RegistryError):
    """The endpoint has an active shadow or rollout."""

    code = "trial_active"

    def __init__(self, endpoint_name: str, kind: str, version: str) -> None:
        end = "Stop it" if kind == "shadow" else "Abort or promote it"
        super().__init__(f"Endpoint {endpoint_name!r} has a {kind} of version {version}. {end} first.")
        self.endpoint_name = endpoint_name


class TrialRefused(RegistryError):
    """A shadow or a rollout can't start so; the message contains the reason."""

    code = "trial_refused"

    def __init__(self, endpoint_name: str, reason: str) -> None:
        super().__init__(f"Endpoint {endpoint_name!r} can't have this shadow or rollout. {reason}")
        self.endpoint_name = endpoint_name


class CandidateGone(RegistryError):
    """The endpoint no longer has the candidate of this shadow or rollout."""

    code = "candidate_gone"

    def __init__(self, endpoint_name: str) -> None:
        super().__init__(
            f"Endpoint {endpoint_name!r} no longer has this candidate: another request has ended its trial. Look at it "
            "again."
        )
        self.endpoint_name = endpoint_name


class RolloutNotFound(RegistryError):
    """The endpoint has no rollout."""

    code = "rollout_not_found"

    def __init__(self, endpoint_name: str) -> None:
        super().__init__(f"Endpoint {endpoint_name!r} has no rollout.")


class ShadowNotFound(RegistryError):
    """The endpoint has no shadow."""

    code = "shadow_not_found"

    def __init__(self, endpoint_name: str) -> None:
        super().__init__(f"Endpoint {endpoint_name!r} has no shadow.")


class RolloutRefused(RegistryError):
    """The state of the rollout doesn't allow this, or another request has changed it meanwhile."""

    code = "rollout_refused"

    def __init__(self, endpoint_name: str, event: str, state: str) -> None:
        super().__init__(f"The rollout of endpoint {endpoint_name!r} is {state}: it can't {event} now.")
        self.endpoint_name = endpoint_name
        self.state = state


class TagsInvalid(RegistryError):
    """A tag is too long, or there are too many; the message says which."""

    code = "tags_invalid"


class ApiKeyExists(RegistryError):
    """The name has an API key already."""

    code = "api_key_exists"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} has an API key. Revoke it first, choose another name, or create a second key for the same "
            "client (`queuecast keys create --second`, `second` over HTTP)."
        )
        self.name = name


class ApiKeyNotFound(RegistryError):
    """There is no such API key, or it is revoked."""

    code = "api_key_not_found"

    def __init__(self, name_or_id: str) -> None:
        # The argument may be a whole key, which must not be logged.
        shown = name_or_id[:100] if len(name_or_id) < len("qc_") + 43 else f"{name_or_id[:11]}…"
        super().__init__(f"No active API key has the name or id {shown!r}.")


class SubscriptionNotFound(RegistryError):
    """There is no such subscription of webhooks."""

    code = "subscription_not_found"

    def __init__(self, subscription_id: str) -> None:
        super().__init__(f"There is no subscription {subscription_id[:64]!r}.")
        self.subscription_id = subscription_id

    def __reduce__(self) -> tuple[type[SubscriptionNotFound], tuple[str]]:
        return type(self), (self.subscription_id,)


class ApiKeyInvalid(RegistryError):
    """The limits of an API key are invalid."""

    code = "api_key_limits_invalid"


class SettingsInvalid(RegistryError):
    """Serving settings, or other parameters of a call, are unknown or out of range."""

    code = "settings_invalid"


class RuntimeOptionsInvalid(SettingsInvalid):
    """A runtime option is unknown or has an invalid value."""

    code = "runtime_options_invalid"


class MetadataInvalid(SettingsInvalid):
    """The metadata of a version is not a JSON object."""

    code = "metadata_invalid"


class SignatureInvalid(RegistryError):
    """A signature is inconsistent, or can't be derived from the example."""

    code = "signature_invalid"


class InputInvalid(RegistryError):
    """An input doesn't match the model's signature; the error has the field, the expected and the received value."""

    code = "input_invalid"

    def __init__(self, field: str, expected: str, received: str) -> None:
        super().__init__(f"{field} must be {expected}; it is {received}.")
        self.field = field
        self.expected = expected
        self.received = received

    def __reduce__(self) -> tuple[type[InputInvalid], tuple[str, str, str]]:
        return type(self), (self.field, self.expected, self.received)


class InputUnsuitable(RegistryError):
    """An input that matches the signature can't be converted to the model's arrays without loss."""

    code = "input_unsuitable"


class ArchiveInvalid(RegistryError):
    """An archive can't be unpacked: it is damaged, too large, or contains links or paths that lead out of it."""

    code = "archive_invalid"


class MlflowFolderInvalid(RegistryError):
    """An MLflow model folder can't be imported; the message contains the reason."""

    code = "mlflow_folder_invalid"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The MLflow model folder can't be imported. {reason}")


class OutputInvalid(RegistryError):
    """A model's output is not JSON-serializable."""

    code = "output_invalid"


class ArtifactMissing(RegistryError):
    """The artifact store doesn't have the artifact."""

    code = "artifact_missing"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"Artifact {sha256} is not in the artifact store.")
        self.sha256 = sha256


class ArtifactDamaged(RegistryError):
    """The stored bytes differ from the registered ones; they are never loaded."""

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
    """There is no room for an artifact, in the store or in a worker's cache."""

    code = "artifact_store_full"


class RuntimeUnknown(RegistryError):
    """There is no runtime of this name."""

    code = "runtime_unknown"

    def __init__(self, runtime: str, known: list[str]) -> None:
        super().__init__(f"There is no runtime {runtime!r}; there are {', '.join(known)}.")
        self.runtime = runtime
        self.known = known


class RuntimeUndetected(RegistryError):
    """No runtime was named, and the artifact could be of several or of none."""

    code = "runtime_undetected"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason} Name its runtime: sklearn (estimators), python (any object with predict, or a function), onnx, "
            "skops, xgboost, lightgbm, catboost or torch; or import an MLflow folder."
        )


class RuntimeUnavailable(RegistryError):
    """The runtime requires an optional library that is not installed."""

    code = "runtime_unavailable"

    def __init__(self, runtime: str, library: str) -> None:
        super().__init__(
            f"Runtime {runtime!r} requires {library}, which is not installed: pip install 'queuecast[{runtime}]'."
        )
        self.runtime = runtime
        self.library = library


class EnvironmentsOff(RegistryError):
    """The settings don't allow environments for versions."""

    code = "environments_off"

    def __init__(self) -> None:
        super().__init__(
            "Environments for versions are off here, since installing packages runs code: the administrator allows "
            "them with QUEUECAST_ENVIRONMENTS=on, for the API and the workers."
        )


class EnvironmentInvalid(RegistryError):
    """An environment can't be one; the message contains the reason."""

    code = "environment_invalid"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The environment {reason}.")
        self.reason = reason


class EnvironmentNotFound(RegistryError):
    """The registry has no such environment."""

    code = "environment_not_found"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"There is no environment {sha256!r}.")
        self.sha256 = sha256


class EnvironmentUnresolvable(RegistryError):
    """No versions of packages satisfy an environment's requirements, or they can't be read."""

    code = "environment_unresolvable"

    def __init__(self, python: str, reason: str) -> None:
        super().__init__(f"The environment can't be locked for Python {python}:\n{reason}")
        self.python = python
        self.reason = reason


class EnvironmentBuildFailed(RegistryError):
    """A worker can't build an environment; the message has the last lines of the installer."""

    code = "environment_build_failed"

    def __init__(self, sha256: str, reason: str) -> None:
        super().__init__(f"The environment {sha256[:12]} can't be built here: {reason}")
        self.sha256 = sha256
        self.reason = reason


class ModelLoadFailed(RegistryError):
    """The model can't be serialized, loaded, or used for its own example."""

    code = "model_load_failed"


class PruneRefused(RegistryError):
    """The registry has no versions, so the artifacts of its store are probably another registry's."""

    code = "prune_refused"

    def __init__(self) -> None:
        super().__init__(
            "This registry never had a version, so the artifacts in its store may be those of another registry. "
            "Nothing is deleted."
        )


class CopyRefused(RegistryError):
    """The registry can't be copied; the message contains the reason and the remedy."""

    code = "copy_refused"


class BackupImpossible(RegistryError):
    """A backup can't be made or restored; the message contains the reason and the remedy."""

    code = "backup_impossible"


class EvaluationNotFound(RegistryError):
    """There is no evaluation with this id, or it was deleted."""

    code = "evaluation_not_found"

    def __init__(self, evaluation_id: str) -> None:
        super().__init__(f"There is no evaluation {evaluation_id!r}.")
        self.evaluation_id = evaluation_id


class EvaluationRefused(RegistryError):
    """An evaluation can't begin; the message says what is missing."""

    code = "evaluation_refused"


class EvaluationUnfinished(RegistryError):
    """The evaluation has not ended, or its hosts and queues are still being removed."""

    code = "evaluation_unfinished"

    def __init__(self, evaluation_id: str, state: str) -> None:
        what = "its hosts and queues are being removed" if state in ("succeeded", "failed", "cancelled") else state
        super().__init__(f"Evaluation {evaluation_id} can't be deleted yet: {what}. Try again in some seconds.")
        self.evaluation_id = evaluation_id
        self.state = state


class EvaluationChanged(RegistryError):
    """The evaluation is not in the expected state any more, or another process works on it."""

    code = "evaluation_changed"

    def __init__(self, evaluation_id: str, transition: str, state: str) -> None:
        super().__init__(f"Evaluation {evaluation_id} is {state} and can't {transition}.")
        self.evaluation_id = evaluation_id
        self.state = state

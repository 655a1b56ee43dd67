"""The steps from nothing to a service that answers, in order."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import redis

from api.cli.client import Client
from api.cli.errors import CliError, RequestRefused, StartFailed
from api.cli.local.supervisor import Supervisor
from api.cli.settings import CliSettings
from registry.artifacts import private_files
from workers.platform.redis.client import connect

_READY_LIMIT_S = 60.0
_DEPLOY_LIMIT_S = 120.0
_FLOWER_LIMIT_S = 30.0
#: The folder of artifacts, inside the data folder.
_ARTIFACTS = "artifacts"
#: Beside the package's code: at the top of a clone, and inside of an installed package.
_PROCFILE = Path(__file__).parents[3] / "Procfile"
_REDIS = "python -P -m workers.embedded_redis"
_EXAMPLES = "queuecast registry examples --if-empty --deploy"

Tell = Callable[[str], None]


def refuse_wrong_settings() -> None:
    """Read what every process will read, before any of them starts and ends with a traceback.

    Raises:
        StartFailed: names a variable with a wrong value for each class of settings that has one.
    """
    # Late: the other commands need none of them.
    import api.errors
    import api.settings
    import registry.errors
    import registry.settings
    import workers.errors
    import workers.settings
    import workers.webhooks.settings

    wrong = []
    for settings in (registry.settings, workers.settings, workers.webhooks.settings, api.settings):
        try:
            settings.load()
        except (registry.errors.SettingsWrong, workers.errors.SettingsWrong, api.errors.SettingsWrong) as error:
            wrong.append(str(error))
    if wrong:
        raise StartFailed("\n".join(wrong))


def refuse_wrong_redis() -> None:
    """Look whether the Redis that the settings name can be used, if it answers already.

    Raises:
        StartFailed: names the variable, and what to do instead.
    """
    import workers.errors
    from workers.platform.redis import start_check

    try:
        start_check.refuse_wrong_redis()
    except workers.errors.SettingsWrong as error:
        raise StartFailed(str(error)) from error


def refuse_taken_ports(settings: CliSettings) -> None:
    """Look whether every port is free, before anything starts.

    Raises:
        StartFailed: names every taken port, and the variable that chooses another.
    """
    wanted = [("the HTTP API", settings.host, settings.port, "QUEUECAST_PORT")]
    wanted += [("Flower", settings.flower_host, settings.flower_port, "QUEUECAST_FLOWER_PORT")]
    if settings.runs_own_redis:
        wanted += [("Redis", "127.0.0.1", settings.redis_port, "QUEUECAST_REDIS_PORT")]
    taken = [
        f"Port {port}, wanted for {what}, can't be used ({problem}); {variable} chooses another."
        for what, host, port, variable in wanted
        if (problem := _problem_with(host, port))
    ]
    ports = [port for _, _, port, _ in wanted]
    taken += [f"Port {port} is wanted for more than one thing." for port in {*ports} if ports.count(port) > 1]
    if taken:
        raise StartFailed("\n".join(taken))


def start(supervisor: Supervisor, settings: CliSettings, tell: Tell, *, examples: bool) -> None:
    """Start everything; return when the service answers and what is deployed is active.

    Raises:
        StartFailed: something ended, failed or never became ready; says what and shows its log.
    """
    if settings.runs_own_redis:
        tell("Starting Redis")
        supervisor.start("redis", _REDIS)
        supervisor.wait_until(lambda: _answers(settings.own_redis_url))
    private_files.close_to_others(settings.data_dir / _ARTIFACTS)  # earlier releases left it open
    tell("Migrating the registry")
    supervisor.run_to_end("migrate", "queuecast migrate")
    tell("Starting the API, a worker, Flower and the background process")
    for name, command in commands().items():
        supervisor.start(name, command)
    if examples:
        tell("Registering the example models, if there are no models yet")
        supervisor.run_to_end("examples", _EXAMPLES)
    tell("Waiting until all is ready")
    if not supervisor.wait_until(lambda: _responds(f"{settings.own_url}/health/ready"), _READY_LIMIT_S):
        raise StartFailed(f"The API was not ready in {_READY_LIMIT_S:.0f} s: {settings.own_url}/health/ready")
    client = Client(settings.own_url, settings.api_key.get_secret_value())
    supervisor.wait_until(lambda: _settled(client), _DEPLOY_LIMIT_S)
    client.close()
    supervisor.wait_until(lambda: _responds(f"{settings.flower_url}/healthcheck"), _FLOWER_LIMIT_S)


def commands() -> dict[str, str]:
    """Return the processes of the Procfile: the same that `honcho start` runs in a clone."""
    from honcho.environ import parse_procfile

    found: dict[str, str] = parse_procfile(_PROCFILE.read_text(encoding="utf-8")).processes
    return found


def _problem_with(host: str, port: int) -> str | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: a port on which only old connections linger is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _answers(redis_url: str) -> bool:
    try:
        with connect(redis_url) as client:
            return bool(client.ping())
    except redis.RedisError:  # not yet, or still loading its data; its process is watched meanwhile
        return False


def _responds(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def _settled(client: Client) -> bool:
    try:
        views = client.get("/deployments")["deployments"]
    except RequestRefused:  # for want of a key: there is no way to look
        return True
    except CliError:
        return False
    return all(view["status"] not in ("deploying", "building environment") for view in views)

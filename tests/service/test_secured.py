"""A service with all that docs/guides/security.md says: keys, Redis users, signed messages, a password for Flower."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import redis
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from api.client import AccessDenied, Client
from registry import examples
from tests.service.conftest import HERE as SERVICE
from tests.support.servers import webhook_receiver
from tests.support.servers.secured_redis import SecuredStack, with_tls, with_users
from tests.support.servers.webhook_receiver import WebhookReceiver
from tests.support.service.environment import REPOSITORY, clean_environment
from tests.support.service.ports import free_port
from tests.support.service.stack import Worker
from tests.support.waiting import eventually
from workers import keys
from workers.queues.naming import queue_name

MESSAGE_KEY = "m" * 40
FLOWER_PASSWORD = "a password: with % and 'quotes'"
ENDPOINT = "quad"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredStack]:
    folder = tmp_path_factory.mktemp("secured")
    env = {"QUEUECAST_MESSAGE_KEY": MESSAGE_KEY, "QUEUECAST_FLOWER_PASSWORD": FLOWER_PASSWORD}
    # The sweep, the leases and the rest of a worker's housekeeping are to happen while the tests run.
    env |= {"QUEUECAST_SWEEP_INTERVAL_S": "0.5", "QUEUECAST_LEASE_S": "2", **webhook_receiver.environment()}
    with SecuredStack(folder / "stack", with_users(free_port(), folder / "redis"), env) as running:
        quadratic = examples.build("quadratic_predictor")
        running.register("quadratic_predictor", quadratic.model, quadratic.input_example)
        running.start_worker()
        running.deploy("quadratic_predictor", endpoint_name=ENDPOINT)
        yield running


@pytest.fixture
def worker(service: SecuredStack) -> Worker:
    return service.workers[0]


@pytest.fixture(autouse=True)
def nothing_is_denied(service: SecuredStack, request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test does is allowed to the users that do it, unless the test is about what isn't."""
    with redis.Redis.from_url(service.redis.url) as admin:
        admin.acl_log_reset()
        yield
        denied = [f"{each['username']}: {each['reason']} {each['object']}" for each in admin.acl_log()]
    # What the users file says of these: Redis 7.0 lacks the first, and the second would show the names of all keys.
    denied = [each for each in denied if not each.endswith((" client|setinfo", "queuecast-worker: command scan"))]
    assert "denied" in request.node.name or denied == []


def program(service: SecuredStack, name: str, *arguments: str, user: str = "", key: str = MESSAGE_KEY) -> str:
    """Run a program of somebody else's as a Redis user; return what it says."""
    env = {**service.env, "QUEUECAST_MESSAGE_KEY": key}
    if user:
        env["QUEUECAST_REDIS_URL"] = service.redis.url_of(user)
    done = subprocess.run(
        [sys.executable, *([str(SERVICE / "programs" / name)] if name.endswith(".py") else ["-c", name]), *arguments],
        env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.servers
def test_the_api_does_all_that_it_does_as_its_own_user(service: SecuredStack) -> None:
    wait = {"Prefer": "wait=30", "Idempotency-Key": "one"}
    answer = service.api.post(f"/predict/{ENDPOINT}", json={"input": 2.5, "expires_in_s": 60}, headers=wait)
    assert answer.status_code == 200, answer.text
    job_id = answer.json()["job_id"]
    for address in (f"/jobs/{job_id}?wait=1", "/jobs", "/deployments", "/dead-letters", "/health/ready"):
        assert service.api.get(address).status_code == 200, address
    assert service.api.get(f"/jobs/{job_id}").json()["owner"] == "me"


@pytest.mark.servers
def test_many_jobs_priorities_metrics_and_the_inference_protocol_need_no_more_rights(service: SecuredStack) -> None:
    many = [{"input": 1.5, "priority": "high"}, {"input": 2.5}, {"input": 3.5, "priority": "low"}]
    headers = {"Idempotency-Key": "many"}
    found = [service.api.post(f"/predict/{ENDPOINT}/bulk", json=many, headers=headers) for _ in range(2)]
    job_ids = found[0].json()["job_ids"]
    assert job_ids == found[1].json()["job_ids"]
    looked_up = service.api.post("/jobs/lookup?wait=30", json={"job_ids": job_ids}).json()["jobs"]
    assert [(job["status"], job["owner"]) for job in looked_up] == [("succeeded", "me")] * 3
    tensor = {"name": "x", "shape": [1], "datatype": "FP64", "data": [2.5]}
    body = {"parameters": {"priority": 1}, "inputs": [tensor]}
    assert service.api.post(f"/v2/models/{ENDPOINT}/infer", json=body).status_code == 200
    for address in (f"/v2/models/{ENDPOINT}", f"/v2/models/{ENDPOINT}/stats", "/v2/models/stats", "/metrics"):
        assert service.api.get(address).status_code == 200, address
    assert "queuecast_dead_letters" in service.api.get("/metrics").text


@pytest.mark.servers
def test_an_api_that_starts_while_the_registry_is_away_lets_no_key_in_and_says_why(service: SecuredStack) -> None:
    with redis.Redis.from_url(service.redis.url_of("queuecast-api")) as as_the_api:
        # It may read what workers keep of deployments; but who asks is known to the registry alone.
        assert as_the_api.hget(keys.DEPLOYMENTS, ENDPOINT) is not None
    service.server.stop()
    service.hide_registry()
    try:
        service.start_server(ready=False)
        for key, refusal in ((service.api_key, (503, "registry_unavailable")), ("wrong", (401, "api_key_invalid"))):
            headers = {"Authorization": f"Bearer {key}"}
            answer = service.api.post(f"/predict/{ENDPOINT}", json={"input": 2.0}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == refusal
    finally:
        service.show_registry()
    eventually(lambda: service.api.get("/health/ready").status_code == 200, message="the registry is back")
    service.predict(ENDPOINT, 2.0)


@pytest.mark.servers
def test_the_inference_protocols_client_shows_a_key_and_hears_why_it_is_refused(service: SecuredStack) -> None:
    text = service.api.post("/keys", json={"name": "triton", "role": "client"}).json()["key"]
    headers = {"Authorization": f"Bearer {text}"}
    rows = triton.InferInput("x", [1], "FP64")
    rows.set_data_from_numpy(np.array([2.5]))
    with triton.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        result = client.infer(ENDPOINT, [rows], headers=headers)
        assert result.as_numpy("output")[0] == pytest.approx(0.68, abs=0.01)
        with pytest.raises(InferenceServerException, match="This API needs a key"):
            client.infer(ENDPOINT, [rows])
        with pytest.raises(InferenceServerException, match="role operator"):
            client.unload_model(ENDPOINT, headers=headers)


def test_the_python_client_waits_out_the_rate_of_its_key(service: SecuredStack) -> None:
    wanted = {"name": "slow_shop", "role": "client", "endpoint_names": [ENDPOINT], "rate_limit_per_s": 8}
    text = service.api.post("/keys", json=wanted).json()["key"]
    with Client(service.url, api_key=text) as client:
        assert len([client.submit(ENDPOINT, n) for n in range(9)]) == 9
        assert len(list(client.map(ENDPOINT, range(40), window=20))) == 40
        with pytest.raises(AccessDenied) as denied:
            client.deployments()
    assert denied.value.code == "role_insufficient"


def test_a_limited_client_works_as_its_own_user_too(service: SecuredStack) -> None:
    wanted = {"name": "shop", "role": "client", "endpoint_names": [ENDPOINT], "rate_limit_per_s": 1_000}
    text = service.api.post("/keys", json=wanted).json()["key"]
    env = {**service.env, "QUEUECAST_API_KEY": text}
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", "predict", ENDPOINT, "2.5"],
        env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused = service.queuecast("deployments", check=False)
    assert refused.returncode == 1
    assert "QUEUECAST_API_KEY" in refused.stderr


@pytest.mark.servers
def test_webhooks_are_sent_as_the_workers_user_and_a_client_sees_its_own(service: SecuredStack) -> None:
    service.start_background()
    made = [service.api.post("/keys", json={"name": name, "role": "client"}).json()["key"] for name in ("one", "two")]
    mine, theirs = ({"Authorization": f"Bearer {key}"} for key in made)
    with WebhookReceiver(answer=lambda number: (204 if number else 500, {})) as receiver:
        body = {"input": 2.5, "callback_url": receiver.url}
        job_id = service.api.post(f"/predict/{ENDPOINT}", json=body, headers=mine).json()["job_id"]
        call = f"predict.apply_async(({ENDPOINT!r}, 2.5), callback_url={receiver.url!r})"
        code = f"from workers.tasks import predict; print({call}.id)"
        ids = {job_id, program(service, code, user="queuecast-program")}
        eventually(lambda: set(receiver.jobs) == ids)
        address = f"/webhooks/deliveries/{job_id}"
        assert service.api.post(f"{address}/redeliver").status_code == 202
        eventually(lambda: receiver.ids.count(f"msg_{job_id}") >= 2)
    assert service.api.get(address, headers=mine).json()["owner"] == "one"
    assert service.api.get(address, headers=theirs).status_code == 404
    listed = [service.api.get("/webhooks/deliveries", headers=each).json()["deliveries"] for each in (mine, theirs)]
    assert [[each["job_id"] for each in deliveries] for deliveries in listed] == [[job_id], []]
    assert service.api.post(f"{address}/redeliver", headers=mine).status_code == 403


def test_jobs_are_cancelled_rejected_and_parked_as_the_apis_and_the_workers_users(service: SecuredStack) -> None:
    for backlog in ("park", "reject"):
        service.deploy("quadratic_predictor", endpoint_name="other")
        service.api.post("/predict/other", json={"input": 1.0})
        service.undeploy("other", backlog)
    service.deploy("quadratic_predictor", endpoint_name="other", max_batch_delay_ms=1_000)
    job_id = service.api.post("/predict/other", json={"input": 1.0}).json()["job_id"]
    assert service.api.delete(f"/jobs/{job_id}?force=true").status_code in (200, 409)
    service.undeploy("other")


def test_pipelines_are_signed_and_need_no_more_rights(service: SecuredStack) -> None:
    body = {"steps": [{"endpoint_name": ENDPOINT, "input": 2.5}, *[{"endpoint_name": ENDPOINT}] * 2]}
    callback = {"callback_url": "http://127.0.0.1:9/never"}
    answer = service.api.post("/pipelines", json={**body, **callback}, headers={"Prefer": "wait=30"})
    assert answer.status_code == 200, answer.text
    assert [each["status"] for each in service.job(answer.json()["job_id"])["steps"]] == ["succeeded"] * 3
    service.deploy("quadratic_predictor", endpoint_name="held", max_batch_delay_ms=10_000)
    held = service.api.post("/predict/held", json={"input": 1.0, "then": [ENDPOINT]}).json()["job_id"]
    assert service.api.delete(f"/jobs/{held}").json()["status"] == "cancelled"
    full = {"input": 1.0, "then": [ENDPOINT]}
    service.deploy("quadratic_predictor", endpoint_name="held", max_queue_length=1)
    service.undeploy("held", "park")
    assert service.api.post("/predict/held", json=full).status_code == 404
    service.undeploy("held", "reject")


@pytest.mark.servers
def test_a_program_with_our_package_sends_many_jobs_as_its_own_user(service: SecuredStack) -> None:
    code = (
        "from workers.tasks import predict; "
        f'results = predict.bulk("{ENDPOINT}", [1.5, 2.5], priority="high", expires=60); '
        "print(len([each.get(timeout=30) for each in results]))"
    )
    assert program(service, code, user="queuecast-program") == "2"


@pytest.mark.servers
def test_a_program_with_our_package_has_a_user_of_its_own(service: SecuredStack) -> None:
    code = f'from workers.tasks import predict; print(predict.delay("{ENDPOINT}", 2.5).get(timeout=30)["prediction"])'
    assert float(program(service, code, user="queuecast-program")) == pytest.approx(0.68, abs=0.01)


CANVAS = """
from celery import Celery, chain, chord
from workers.tasks import predict
other = Celery("other").signature("somebody.task")
first = predict.s("quad", 2.5)
print(chain(first, predict.s(endpoint_name="quad")).on_error(other).apply_async().get(timeout=30)["prediction"])
body = chord([first, first], predict.s(endpoint_name="quad")).apply_async()
print(len(body.get(timeout=30)["predictions"]))
predict.apply_async(("quad", 2.5), link=other).get(timeout=30)
"""


def test_what_follows_signed_jobs_is_published_as_the_workers_user(service: SecuredStack) -> None:
    told = program(service, CANVAS, user="default").split()
    assert [float(told[0]), int(told[1])] == [pytest.approx(-0.09, abs=0.01), 2]
    with redis.Redis.from_url(service.redis.url) as admin:
        eventually(lambda: admin.llen("celery") == 1, message="another program's task is sent to Celery's queue")
        admin.delete("celery")


def test_a_program_that_may_not_say_what_follows_its_jobs_is_denied_it(service: SecuredStack) -> None:
    says = "from workers.tasks import predict; predict.apply_async(('quad', 1.0), link=predict.s(endpoint_name='quad'))"
    with pytest.raises(AssertionError, match=r"NOPERM|No permissions|NoPermission"):
        program(service, says, user="queuecast-program")


def test_a_program_that_waits_goes_on_when_its_connections_were_lost(service: SecuredStack) -> None:
    """Celery then reads all that is waited for at once, with a command that it uses nowhere else."""
    code = f"""
from threading import Timer
from redis import Redis
from workers.tasks import predict
job = predict.apply_async(("{ENDPOINT}", 2.5), countdown=2)
Timer(0.5, Redis.from_url("{service.redis.url}").client_kill_filter, kwargs={{"user": "queuecast-program"}}).start()
print(job.get(timeout=30)["prediction"])
"""
    assert float(program(service, code, user="queuecast-program")) == pytest.approx(0.68, abs=0.01)


@pytest.mark.servers
@pytest.mark.parametrize("priority", [[], ["high"]])
def test_a_program_with_celery_alone_has_a_user_of_its_own_and_signs(
    service: SecuredStack, priority: list[str]
) -> None:
    url = service.redis.url_of("celery-program")
    assert float(program(service, "send_signed.py", url, ENDPOINT, *priority)) == pytest.approx(0.68, abs=0.01)


NEIGHBOUR = f"{ENDPOINT}-of-another-tenant"
#: What none but whoever administers the Redis may do.
ALL_ARE_DENIED: list[tuple[str, ...]] = [
    ("CONFIG", "GET", "requirepass"), ("KEYS", "*"), ("SCAN", "0"), ("FLUSHALL",), ("MONITOR",), ("ACL", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"), ("EVAL", "return redis.call('FLUSHALL')", "0"), ("RENAME", "a", "b"),
    ("SET", "somebody-elses", "x"), ("GET", "somebody-elses"),
    ("PSUBSCRIBE", "*"), ("CLIENT", "TRACKING", "ON", "BCAST"),
]  # fmt: skip
ALL_PROGRAMS_ARE_DENIED: list[tuple[str, ...]] = [
    ("LPUSH", queue_name(NEIGHBOUR), "x"), ("LPUSH", queue_name("other"), "x"), ("RPOP", queue_name(ENDPOINT)),
    ("LLEN", queue_name("quad:v3")), ("LPUSH", queue_name("quad--3"), "x"), ("LPUSH", queue_name("quads"), "x"),
    ("DEL", queue_name(ENDPOINT)), ("SET", queue_name(ENDPOINT), "x"), ("LPUSH", "celery-task-meta-x", "x"),
    ("SADD", "celery-task-meta-x", "x"), ("DEL", "celery-task-meta-x"), ("EXPIRE", "celery-task-meta-x", "0"),
    ("HSET", keys.LIMITS, ENDPOINT, "1"), ("HGETALL", keys.LIMITS), ("ZREMRANGEBYRANK", keys.EXPIRING, "0", "-1"),
    ("EXPIRE", keys.EXPIRING, "0"), ("EXPIRE", keys.ENDPOINTS, "0"), ("HGET", keys.CALLBACKS, "x"),
    ("ZCARD", keys.unfinished(NEIGHBOUR)), ("ZADD", keys.recent(NEIGHBOUR), "1", "x"), ("HGETALL", keys.REPORTS),
    ("ZADD", keys.delayed(NEIGHBOUR), "1", "x"), ("ZREM", keys.delayed(ENDPOINT), "x"),
    ("ZRANGE", keys.delayed(ENDPOINT), "0", "-1"), ("EXPIRE", keys.delayed(ENDPOINT), "0"),
    ("GET", keys.message("x")), ("GET", keys.dead_letter("x")), ("GET", keys.session("x")),
    ("SET", keys.session("x"), "x"), ("SET", keys.LIMITS, "x"), ("SET", keys.ENDPOINTS, "x"),
    ("SET", keys.EXPIRING, "x"), ("PUBLISH", "celery-task-meta-x", "x"), ("PUBLISH", keys.NUDGE_CHANNEL, "x"),
    ("PUBLISH", "/0.celery.pidbox", "x"), ("SUBSCRIBE", keys.ENDED_CHANNEL), ("LPUSH", "queuecast", "x"),
    ("SADD", "_kombu.binding.queuecast", "x"), ("SADD", f"_kombu.binding.{queue_name(NEIGHBOUR)}", "x"),
    ("HSET", keys.LEASED, "x", "x"), ("HGET", keys.DEPLOYMENTS, "x"), ("HSET", keys.DEPLOYMENTS, "x", "x"),
]  # fmt: skip
DENIED: dict[str, list[tuple[str, ...]]] = {
    "queuecast-api": [
        ("RPOP", queue_name(ENDPOINT)), ("DEL", queue_name(ENDPOINT)), ("HSET", keys.LEASED, "x", "x"),
        ("ZADD", keys.LEASES, "1", "x"), ("HSET", keys.REPORTS, "x", "x"), ("HSET", keys.LIMITS, "x", "1"),
        ("LPUSH", "queuecast", "x"), ("PUBLISH", "/0.celery.pidbox", "x"), ("HGET", keys.LEASED, "x"),
        ("HSET", keys.DEPLOYMENTS, "x", "x"), ("HDEL", keys.DEPLOYMENTS, "x"),
    ],
    "queuecast-worker": [
        ("SET", keys.session("x"), "x"), ("GET", keys.session("x")), ("SET", keys.ticket("x"), "x"),
        ("DEL", keys.rate("x")), ("SET", keys.idempotency("x"), "x"), ("LPUSH", "somebody-elses", "x"),
    ],
    "queuecast-flower": [
        ("BRPOP", queue_name(ENDPOINT), "1"), ("LPUSH", queue_name(ENDPOINT), "x"), ("DEL", queue_name(ENDPOINT)),
        ("BRPOP", "queuecast.webhooks", "1"), ("GET", "celery-task-meta-x"), ("GET", keys.session("x")),
        ("HGET", keys.LEASED, "x"), ("PUBLISH", keys.NUDGE_CHANNEL, "x"), ("SADD", "_kombu.binding.queuecast", "x"),
        ("HGET", keys.DEPLOYMENTS, "x"),
    ],
    "queuecast-program": ALL_PROGRAMS_ARE_DENIED,
    "celery-program": [
        *ALL_PROGRAMS_ARE_DENIED, ("SET", "celery-task-meta-x", "x"), ("ZADD", keys.EXPIRING, "1", "x"),
        ("ZADD", keys.delayed(ENDPOINT), "1", "x"),
        ("SADD", keys.ENDPOINTS, "x"), ("HSET", keys.CALLBACKS, "x", "x"), ("SET", keys.message("x"), "x"),
    ],
}  # fmt: skip


@pytest.mark.servers
@pytest.mark.parametrize("user", DENIED)
def test_each_user_is_denied_what_is_not_its_business(service: SecuredStack, user: str) -> None:
    allowed = []
    with redis.Redis.from_url(service.redis.url_of(user)) as client:
        for command in [*ALL_ARE_DENIED, *DENIED[user]]:
            try:
                client.execute_command(*command)
            except redis.exceptions.NoPermissionError:
                continue
            except redis.exceptions.RedisError as error:
                allowed.append(f"{' '.join(command)}: {error}")
            else:
                allowed.append(" ".join(command))
    assert allowed == []


def test_what_is_signed_with_another_key_is_put_aside(service: SecuredStack, worker: Worker) -> None:
    code = f'from workers.tasks import predict; print(predict.delay("{ENDPOINT}", 2.5).id)'
    job_id = program(service, code, user="queuecast-program", key="x" * 40)
    worker.wait_for_log("signed with another key")
    assert service.api.get(f"/jobs/{job_id}").json()["status"] == "queued"
    with redis.Redis.from_url(service.redis.url) as admin:
        eventually(lambda: admin.llen(keys.MALFORMED), message="the message is put aside")


def test_a_worker_that_may_not_ask_redis_hears_of_jobs_all_the_same_denied_config(worker: Worker) -> None:
    assert "lost the subscription" not in worker.log()


def test_flower_shows_nothing_without_the_password(service: SecuredStack, worker: Worker) -> None:
    auth = ("queuecast", FLOWER_PASSWORD)
    with service.flower(worker, auth) as url:
        for address in ("/tasks", "/workers", "/api/tasks", "/api/workers"):
            assert httpx.get(url + address).status_code == 401, address
            assert httpx.get(url + address, auth=("queuecast", "wrong")).status_code == 401, address
        assert httpx.get(f"{url}/healthcheck").status_code == 200
        answer = httpx.post(f"{url}/api/worker/shutdown/{worker.node_name}", auth=auth)
        assert answer.status_code == 403
        service.api.post(f"/predict/{ENDPOINT}", json={"input": 2.5}, headers={"Prefer": "wait=30"})
        eventually(lambda: httpx.get(f"{url}/api/tasks", auth=auth).json(), message="Flower has heard of the job")


def test_no_secret_stands_in_a_log(service: SecuredStack) -> None:
    logs = "".join(path.read_text() for path in service.logs.glob("*.log"))
    assert "ready" in logs
    for secret in (service.api_key, MESSAGE_KEY, FLOWER_PASSWORD, "only-for-tests"):
        assert secret not in logs


def test_the_api_refuses_to_start_without_keys_where_others_could_come(tmp_path: Path) -> None:
    env = clean_environment(QUEUECAST_DATA_DIR=str(tmp_path), QUEUECAST_HOST="0.0.0.0", QUEUECAST_PORT="1")
    for arguments in (["registry.migrate"], ["api.serve"]):
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "queuecast keys create NAME --role admin" in done.stderr


def test_everything_speaks_tls_with_redis(tmp_path: Path) -> None:
    with with_tls(free_port(), tmp_path) as server, SecuredStack(tmp_path / "stack", server) as running:
        quadratic = examples.build("quadratic_predictor")
        running.register("quadratic_predictor", quadratic.model, quadratic.input_example)
        running.start_worker()
        running.deploy("quadratic_predictor", endpoint_name=ENDPOINT)
        answer = running.api.post(f"/predict/{ENDPOINT}", json={"input": 2.5}, headers={"Prefer": "wait=30"})
        assert answer.status_code == 200, answer.text
        code = f'from workers.tasks import predict; print(predict.delay("{ENDPOINT}", 2.5).get(timeout=30)["version"])'
        assert program(running, code, key="") == "1"
        assert float(program(running, "send_signed.py", server.url_of("anybody"), ENDPOINT)) == pytest.approx(
            0.68, abs=0.01
        )
        with running.flower(running.workers[0]) as url:
            assert httpx.get(f"{url}/api/workers").status_code == 200
        assert "rediss://" in running.workers[0].log()
        plain = redis.Redis(port=server.tls_port, socket_timeout=5)
        with pytest.raises(redis.exceptions.RedisError):
            plain.ping()
        other = redis.Redis(port=server.tls_port, ssl=True, ssl_cert_reqs="required", socket_timeout=5)
        with pytest.raises(redis.exceptions.ConnectionError, match="certificate verify failed"):
            other.ping()

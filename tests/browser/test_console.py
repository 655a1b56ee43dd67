"""The console in a real browser, against a service that asks for keys: it shows, asks, does, and keeps what one typed.

One service and one browser for all tests; the endpoints are each test's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.models import Echo, Fussy, Mortal, dumped
from tests.support.servers.browser import Page
from tests.support.servers.webhook_receiver import WebhookReceiver
from tests.support.servers.webhook_receiver import environment as webhook_environment
from tests.support.service.processes import Child
from tests.support.service.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EXAMPLE = [1.0, 2.0]
#: How often pages look, so that nobody waits for them here.
LOOKS_EVERY_MS = 200
#: What the browser tells a page that somebody comes back to, or leaves.
LOOK = "(document.dispatchEvent(new Event('visibilitychange')), null)"
#: The texts of a page that are too faint, each with its contrast.
TOO_FAINT = (Path(__file__).parent / "contrast.js").read_text()
#: Fields, buttons and links that a screen reader has no name for.
UNNAMED = """
[...document.querySelectorAll("main a, main button, main input:not([type=hidden]), main select, main textarea")]
  .filter((each) => !(each.innerText || "").trim() && !each.labels?.length && !each.getAttribute("aria-label"))
  .map((each) => each.outerHTML)
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service with keys, a worker, a model of two versions, and one that dies of some rows."""
    env = {"QUEUECAST_AUTH": "on", "QUEUECAST_SWEEP_INTERVAL_S": "0.3", **webhook_environment()}
    made = Stack(tmp_path_factory.mktemp("stack"), env=env)
    key = made.queuecast("keys", "create", "me", "--role", "admin", "--new-registry").stdout.strip()
    with made as running:
        running.api.headers["Authorization"] = f"Bearer {key}"
        worker = running.start_worker(wait=False)
        running.register("echo", Echo("one"), EXAMPLE)
        running.register("echo", Echo("two"), EXAMPLE)
        running.register("mortal", Mortal())
        worker.wait_until_ready()
        yield running


@pytest.fixture(scope="module")
def background(stack: Stack) -> Child:
    """The background process of the service, which sends webhooks and decides rollouts."""
    return stack.start_background()


@pytest.fixture(scope="module")
def browser(chromium: str, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser that was never here."""
    with Page(chromium, tmp_path_factory.mktemp("browser")) as found:
        found.size(1280, 800)
        found.hasten(LOOKS_EVERY_MS)
        yield found


@pytest.fixture
def page(browser: Page, stack: Stack) -> Iterator[Page]:
    """The same, logged in; a test fails of whatever the page's script has to complain of, and of requests elsewhere."""
    browser.go(f"{stack.url}/console/models")
    if browser.value("document.getElementById('key') !== null"):
        log_in(browser, key_of(stack))
    yield browser
    assert browser.said == []
    assert {url.split("/")[2] for url in browser.requested if url.startswith("http")} == {f"127.0.0.1:{stack.port}"}


def key_of(stack: Stack) -> str:
    return str(stack.api.headers["Authorization"]).removeprefix("Bearer ")


def log_in(page: Page, key: str) -> None:
    page.value(f"(document.getElementById('key').value = {json.dumps(key)}, null)")
    click(page, "Log in")


def click(page: Page, text: str) -> None:
    """Click the button or link in the page's main part that says this, and wait for the page that it leads to."""
    clickable = "[...document.querySelectorAll('main button, main a, .tools button, .tools a')]"
    found = f"{clickable}.find(each => each.innerText === {json.dumps(text)})"
    page.wait_for(f"{found} !== undefined")
    page.leave(lambda: page.value(f"({found}.click(), null)"))


def text(page: Page, selector: str = "main") -> str:
    return str(page.value(f"document.querySelector({json.dumps(selector)}).innerText"))


def press(page: Page, text: str) -> None:
    """Click the button that says this, which leads to no other page."""
    found = f"[...document.querySelectorAll('main button')].find(each => each.innerText === {json.dumps(text)})"
    page.value(f"({found}.click(), null)")


def shows(page: Page, selector: str, part: str) -> None:
    """Wait until what the page has there shows this text."""
    page.wait_for(f"(document.querySelector({json.dumps(selector)})?.innerText || '').includes({json.dumps(part)})")


def test_one_logs_in_with_a_key_comes_to_where_one_wanted_to_be_and_logs_out(browser: Page, stack: Stack) -> None:
    browser.go(f"{stack.url}/console/jobs?status=failed")
    log_in(browser, "qc_wrong")
    assert "There is no such key" in text(browser)
    log_in(browser, key_of(stack))
    assert browser.value("location.pathname + location.search") == "/console/jobs?status=failed"
    assert browser.value("document.cookie") == ""
    click(browser, "Log out")
    assert "You are logged out." in text(browser)
    browser.go(f"{stack.url}/console")
    assert browser.value("location.pathname") == "/console/login"


def test_the_overview_follows_what_happens_and_keeps_the_focus(page: Page, stack: Stack) -> None:
    page.go(f"{stack.url}/console")
    stack.deploy("echo", version="1", endpoint_name="watched", wait_s=0)
    stack.deploy("echo", version="1", endpoint_name="xylophone", wait_s=0)
    page.wait_for("document.getElementById('endpoint-watched') !== null")
    page.value("(document.querySelector('#endpoint-watched a').focus(), null)")
    shows(page, "#endpoint-watched", "active")
    shows(page, "#endpoint-xylophone", "active")
    assert page.value("document.activeElement.innerText") == "watched"
    for _ in range(3):
        stack.predict("watched", [1, 2])
    rate = "document.querySelector('#endpoint-watched [data-label=\"Jobs/s (now)\"]').innerText"
    page.wait_for(f"parseFloat({rate}) > 0")
    assert stack.workers[0].node_name in text(page, f"#worker-{stack.workers[0].node_name}".replace("@", "\\@"))
    stack.undeploy("watched", "reject", wait_s=0)
    page.wait_for("document.getElementById('endpoint-watched') === null")
    assert page.value("window.left === undefined")


def test_a_swap_is_explained_confirmed_and_seen(page: Page, stack: Stack) -> None:
    stack.deploy("echo", version="1", endpoint_name="swapped")
    page.go(f"{stack.url}/console/deployments/swapped")
    page.value("(document.getElementById('version').value = '2', null)")
    click(page, "Review")
    assert "echo version 2 replaces echo version 1 (active)." in text(page)
    click(page, "Swap")
    assert "the workers load it now" in text(page)
    assert page.value("location.search") == ""
    shows(page, "#deployment", "echo, version 2")
    shows(page, "#deployment h1", "active")
    assert stack.predict("swapped", [1, 2])["prediction"][0] == "two"


def test_an_alias_is_made_and_moved_and_its_followers_swap(page: Page, stack: Stack) -> None:
    page.go(f"{stack.url}/console/models/echo")
    click(page, "Name a version…")
    page.value("(document.getElementById('alias').value = 'champion', null)")
    page.value("(document.getElementById('version').value = '1', null)")
    click(page, "Review")
    assert "No endpoint follows it" in text(page)
    click(page, "Make it")
    assert "champion" in text(page, "#version-1")
    stack.deploy("echo", alias="champion", follow=True, endpoint_name="led")
    page.go(f"{stack.url}/console/models/echo")
    assert "led" in text(page, "#alias-champion")
    click(page, "Move…")
    page.value("(document.getElementById('version').value = '2', null)")
    click(page, "Review")
    assert "led follows it, and swaps to version 2" in text(page)
    click(page, "Move it")
    assert "The alias is moved." in text(page)
    assert "champion" in text(page, "#version-2")
    page.go(f"{stack.url}/console/deployments/led")
    shows(page, "#deployment", "echo, version 2, follows champion")
    shows(page, "#deployment h1", "active")
    assert stack.predict("led", [1, 2])["prediction"][0] == "two"


def test_a_version_is_deployed_and_undeployed_from_its_models_page(page: Page, stack: Stack) -> None:
    page.go(f"{stack.url}/console/models/echo")
    click(page, "Deploy…")
    page.value("(document.getElementById('endpoint_name').value = 'fresh', null)")
    page.value("(document.getElementById('hosts').value = 'many', null)")
    click(page, "Review")
    assert "should be a whole number from 1 to 64, or a range" in text(page, "#problem-hosts")
    page.value("(document.getElementById('hosts').value = '1', null)")
    click(page, "Review")
    click(page, "Deploy")
    shows(page, "#deployment h1", "active")
    click(page, "Undeploy…")
    page.value("(document.querySelector('[value=park]').click(), null)")
    click(page, "Undeploy")
    shows(page, "#endpoint-fresh", "parked")


def test_an_endpoint_is_tried_with_its_example_and_a_wrong_input_is_said_at_its_field(page: Page, stack: Stack) -> None:
    stack.deploy("echo", version="1", endpoint_name="tried")
    page.go(f"{stack.url}/console/try/tried")
    assert json.loads(page.value("document.getElementById('input').value")) == EXAMPLE
    click(page, "Predict")
    shows(page, "#job .outcome", '["one", [1.0, 2.0]]')
    page.value("(document.getElementById('input').value = '[1.0, \"two\"]', null)")
    click(page, "Predict")
    assert "input[1] must be a finite number" in text(page, "#problem-input")
    assert page.value("document.getElementById('input').value") == '[1.0, "two"]'


def test_a_job_that_takes_longer_shows_its_outcome_once_it_is_there(page: Page, stack: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    stack.deploy("mortal", endpoint_name="gated")
    job_id = stack.submit("gated", str(gate))
    stack.wait_until_running([job_id])
    page.go(f"{stack.url}/console/jobs/{job_id}")
    shows(page, "#job", "running")
    gate.touch()
    shows(page, "#job .outcome", str(gate))
    page.wait_for("document.querySelector('[data-live]') === null")


def test_a_dead_letter_is_read_and_replayed(page: Page, stack: Stack) -> None:
    stack.deploy("mortal", endpoint_name="dying", max_attempts=1)
    lost = stack.submit("dying", "kill")
    assert stack.job(lost, 60)["status"] == "failed"
    stack.deploy("echo", endpoint_name="other")
    page.go(f"{stack.url}/console/dead-letters")
    shows(page, f"#letter-{lost}", "SIGKILL")
    click(page, lost[:8])
    assert '"kill"' in text(page, "pre")
    click(page, "Replay…")
    page.value("(document.getElementById('endpoint_name').value = 'other', null)")
    click(page, "Replay")
    assert "input must be" in text(page, "#problem-endpoint_name")
    page.value("(document.getElementById('endpoint_name').value = 'dying', null)")
    click(page, "Replay")
    assert "Sent again: this is the new job." in text(page)
    shows(page, "#job", "failed")
    page.go(f"{stack.url}/console/dead-letters/{lost}")
    assert "Dead letter not found" in text(page)


def test_a_failed_job_is_read_and_run_again_with_an_edited_input(page: Page, stack: Stack) -> None:
    stack.register("fussy", Fussy(), [0.5, 0.5])
    stack.deploy("fussy", endpoint_name="fussy")
    job_id = stack.submit("fussy", [2.0, 0.5])
    page.go(f"{stack.url}/console/jobs/{job_id}")
    shows(page, "#job", "2 is more than 1")
    shows(page, "#failed .traceback", "in __call__")
    assert page.value("document.getElementById('input').value") == "[2.0, 0.5]"
    page.value("(document.getElementById('input').value = '[2,', null)")
    click(page, "Run again")
    assert "JSON" in text(page, "#problem-input")
    assert page.value("document.getElementById('input').value") == "[2,"
    page.value("(document.getElementById('input').value = '[0.25, 0.5]', null)")
    click(page, "Run again")
    assert "Sent: this is the new job." in text(page)
    shows(page, "#job", "succeeded")
    shows(page, "#job .outcome", "0.75")
    assert job_id not in str(page.value("location.pathname"))


def test_a_queue_is_emptied_after_a_question(page: Page, stack: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    stack.register("waiting", Fussy(gate), [0.5, 0.5])
    stack.deploy("waiting", endpoint_name="waiting", max_batch_size=1)
    stack.wait_until_running([stack.submit("waiting", [-1.0, 0.5])])
    queued = [stack.submit("waiting", [0.5, 0.5]) for _ in range(3)]
    page.go(f"{stack.url}/console/deployments/waiting")
    click(page, "Cancel queued jobs…")
    assert "3 jobs wait in the queue" in text(page)
    click(page, "Cancel the jobs")
    assert "The queued jobs are cancelled." in text(page)
    assert {stack.job(job_id)["status"] for job_id in queued} == {"cancelled"}
    gate.touch()


def test_a_version_is_uploaded_with_its_progress_deployed_and_deleted(page: Page, stack: Stack, tmp_path: Path) -> None:
    artifact = tmp_path / "uploaded.pkl"
    artifact.write_bytes(dumped(Echo("uploaded")))
    page.go(f"{stack.url}/console/models")
    click(page, "Register a version…")
    page.value("(document.getElementById('name').value = 'uploaded', null)")
    page.choose("#artifact", artifact)
    page.value("(document.getElementById('runtime').value = 'python', null)")
    page.value("(document.getElementById('metadata').value = '[]', null)")
    press(page, "Register")
    shows(page, "#problem-metadata", "should be an object")
    assert page.value("document.activeElement.id") == "metadata"
    page.value("(document.getElementById('metadata').value = '', null)")
    page.value("(document.getElementById('input_example').value = '[1, 2', null)")
    press(page, "Register")
    shows(page, "#problem-input_example", "This is not JSON")
    assert page.value("document.getElementById('problem-metadata')") is None
    assert page.value("document.getElementById('artifact').files[0].name") == "uploaded.pkl"
    page.value("(document.getElementById('input_example').value = '[1, 2]', null)")
    click(page, "Register")
    assert page.value("location.pathname") == "/console/models/uploaded"
    assert "Registered." in text(page)
    click(page, "Deploy…")
    page.value("(document.getElementById('endpoint_name').value = 'uploaded', null)")
    click(page, "Review")
    click(page, "Deploy")
    shows(page, "#deployment h1", "active")
    assert stack.predict("uploaded", [1, 2])["prediction"][0] == "uploaded"
    page.go(f"{stack.url}/console/models/uploaded")
    shows(page, "#version-1", "uploaded")
    click(page, "Delete…")
    assert "It can't be deleted while it is deployed at uploaded" in text(page)
    stack.undeploy("uploaded", "reject")
    page.go(f"{stack.url}/console/models/uploaded/versions/1/delete")
    click(page, "Delete the version")
    assert "The version is deleted." in text(page)


def test_a_large_upload_shows_how_much_is_sent(page: Page, stack: Stack, tmp_path: Path) -> None:
    artifact = tmp_path / "large.onnx"
    with artifact.open("wb") as file:
        file.truncate(60_000_000)
    page.go(f"{stack.url}/console/register?name=large")
    page.value("(document.getElementById('input_example').value = '1', null)")
    page.choose("#artifact", artifact)
    page.value(
        "(window.seen = [], new MutationObserver(() => window.seen.push(document.querySelector('.sending').innerText))"
        ".observe(document.querySelector('.sending'), {subtree: true, childList: true}),"
        " addEventListener('pagehide', () => sessionStorage.setItem('seen', window.seen.join('\\n'))), null)"
    )
    click(page, "Register")
    assert page.value("location.pathname") == "/console/models/large"
    seen = page.value("sessionStorage.getItem('seen')")
    assert " of 60 MB sent" in seen
    assert "It is being stored…" in seen
    page.go(f"{stack.url}/console/register?name=large")
    page.choose("#artifact", artifact)
    page.value("(document.getElementById('artifact').dataset.mostBytes = '50000000', null)")
    press(page, "Register")
    shows(page, "#problem-artifact", "60 MB are more than the 50 MB that this service takes.")
    assert page.value("[...document.querySelectorAll('button')].every(each => !each.disabled)")


def test_settings_are_changed_in_place_and_the_version_stays(page: Page, stack: Stack) -> None:
    stack.deploy("echo", version="1", endpoint_name="tuned")
    page.go(f"{stack.url}/console/deployments/tuned")
    click(page, "Settings…")
    assert page.value("document.getElementById('timeout_s').max") == "86400"
    page.value("(document.getElementById('timeout_s').value = '86401', null)")
    assert page.value("document.getElementById('timeout_s').checkValidity()") is False
    page.value("(document.getElementById('timeout_s').value = '60', null)")
    page.value("(document.getElementById('hosts').value = '2', null)")
    click(page, "Review")
    assert text(page, "table").split("\n")[-1].split("\t") == ["Hosts", "1", "2"]
    click(page, "Change")
    assert "with these settings" in text(page)
    shows(page, "#deployment h1", "active")
    shows(page, "#now .tiles", "2 ready")
    assert stack.predict("tuned", [1, 2])["prediction"][0] == "one"


def test_a_key_is_made_copied_used_and_revoked(page: Page, stack: Stack) -> None:
    page.go(f"{stack.url}/console/keys")
    click(page, "Make a key…")
    page.value("(document.getElementById('name').value = 'web_shop', null)")
    click(page, "Make the key")
    key = text(page, "#key-text")
    press(page, "Copy")
    page.wait_for("document.querySelector('[data-copied]').innerText !== ''")
    told = text(page, "[data-copied]")
    assert told == "Copied." or page.value("getSelection().toString().trim()") == key
    assert stack.api.get("/jobs", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    click(page, "To the keys")
    assert key not in text(page)
    page.leave(lambda: page.value("([...document.querySelectorAll('tr')].find(each => each.innerText.includes("
                                  "'web_shop')).querySelector('.button').click(), null)"))  # fmt: skip
    assert "The key of web_shop" in text(page).replace("Revoke the", "The")
    click(page, "Revoke the key")
    assert "The key is revoked" in text(page)
    assert "web_shop" not in text(page, "table")
    assert stack.api.get("/jobs", headers={"Authorization": f"Bearer {key}"}).status_code == 401


@pytest.mark.usefixtures("background")
def test_a_webhook_is_followed_to_its_receiver_and_sent_again(page: Page, stack: Stack) -> None:
    answers = iter([(500, dict[str, str]()), (204, {}), (204, {})])
    with WebhookReceiver(answer=lambda _number: next(answers)) as receiver:
        stack.deploy("echo", version="1", endpoint_name="told", callback_url=receiver.url)
        job_id = stack.submit("told", [1, 2])
        page.go(f"{stack.url}/console/webhooks?endpoint_name=told")
        page.wait_for(f"document.getElementById('delivery-{job_id}') !== null")
        shows(page, f"#delivery-{job_id}", "delivered")
        page.leave(lambda: page.value(f"(document.querySelector('#delivery-{job_id} a').click(), null)"))
        assert "500" in text(page, "#delivery table")
        click(page, "Send again")
        assert "The webhook is sent again." in text(page)
        page.wait_for("document.querySelectorAll('#delivery tbody tr').length === 3")
        assert receiver.ids == [f"msg_{job_id}"] * 3


def test_jobs_are_found_by_endpoint_and_state_with_the_version_that_ran(page: Page, stack: Stack) -> None:
    stack.deploy("echo", version="2", endpoint_name="found")
    job_id = stack.predict("found", [1, 2])["job_id"]
    page.go(f"{stack.url}/console/jobs")
    page.value("(document.querySelector('[name=endpoint_name]').value = 'found', null)")
    page.value("(document.querySelector('[name=status]').value = 'succeeded', null)")
    click(page, "Show")
    rows = page.value("[...document.querySelectorAll('tbody tr')].map(each => each.innerText)")
    assert [row.split("\t")[:4] for row in rows] == [[job_id[:8], "succeeded", "found", "2"]]
    assert page.value("[...document.querySelectorAll('th')].filter(each => each.title).length") >= 4


def test_what_failed_stands_first(page: Page, stack: Stack) -> None:
    stack.register("unloadable", Echo(), EXAMPLE, runtime="sklearn")
    stack.deploy("unloadable", endpoint_name="zzz", wait_s=0)
    stack.deploy("echo", endpoint_name="aaa")
    page.go(f"{stack.url}/console")
    shows(page, "#endpoint-zzz", "failed")
    assert page.value("document.querySelector('tbody tr').id") == "endpoint-zzz"
    assert page.value("document.querySelector('tbody tr.reason').id") == "reason-zzz"
    stack.undeploy("zzz", "reject", wait_s=0)


@pytest.mark.usefixtures("background")
def test_a_rollout_is_begun_by_a_form_watched_and_aborted_after_a_question(page: Page, stack: Stack) -> None:
    stack.deploy("echo", version="1", endpoint_name="rolled")
    page.go(f"{stack.url}/console/deployments/rolled")
    click(page, "Roll out…")
    page.value("(document.getElementById('steps').value = '25, 100', null)")
    click(page, "Start")
    assert page.value("location.pathname") == "/console/deployments/rolled/rollout"
    shows(page, "h1", "running")
    shows(page, ".weights figcaption", "version 2: 25 %")
    whole, part = page.value("[...document.querySelectorAll('.weights rect')].map(each => each.getBBox().width)")
    assert part / whole == pytest.approx(0.25, abs=0.01)
    for width, dark in ((1280, True), (390, False), (1280, False)):
        page.size(width, 800, dark=dark)
        assert page.value(TOO_FAINT) == []
        assert page.value("document.documentElement.scrollWidth <= window.innerWidth")
    click(page, "Abort…")
    assert "Version 1 answers all jobs from now on" in text(page)
    page.value("(document.getElementById('reason').value = 'Wrong one.', null)")
    click(page, "Abort")
    assert "Rollout of rolled aborted" in " ".join(text(page, "h1").split())
    assert "Wrong one." in text(page, "#rollout")
    assert stack.view("rolled")["version"] == "1"


@pytest.mark.parametrize("dark", [False, True])
def test_what_one_reads_has_contrast_and_what_one_uses_has_a_name(page: Page, stack: Stack, *, dark: bool) -> None:
    stack.deploy("echo", endpoint_name="seen")
    page.size(1280, 800, dark=dark)
    for address in (
        *("", "/deployments/seen", "/deployments/seen/settings", "/deployments/seen/history", "/register", "/keys/new"),
        *("/models/echo", "/models/echo/move-alias", "/models?q=o"),
    ):
        page.go(f"{stack.url}/console{address}")
        assert page.value(TOO_FAINT) == [], address
        assert page.value(UNNAMED) == [], address
    page.size(1280, 800)


def test_everything_is_reached_by_keyboard_and_shows_that_it_is(page: Page, stack: Stack) -> None:
    page.go(f"{stack.url}/console/register")
    reached = []
    for _ in range(40):
        page.tab()
        if page.value("document.activeElement === document.body"):  # after the last one
            break
        here = page.value(
            "[document.activeElement.innerText || document.activeElement.id,"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert here[1] != "none", here
        reached.append(here[0].strip())
    assert reached[0] == "Skip to the content"
    for each in ("Models", "Keys", "API", "name", "version", "artifact", "input_example", "Register"):
        assert each in reached


def test_the_api_is_described_and_tried_inside_the_console(page: Page, stack: Stack) -> None:
    page.go(f"{stack.url}/console")
    click(page, "API")
    assert page.value("[...document.querySelectorAll('header nav a')].length") >= 7
    page.wait_for("document.querySelector('#key input') !== null")
    page.value(f"(document.querySelector('#key input').value = {json.dumps(key_of(stack))}, null)")
    page.leave(lambda: page.value("(document.querySelector('#key button').click(), null)"))
    page.wait_for("document.querySelector('#Health details') !== null")
    page.value("(document.querySelector('#Health details').open = true, null)")
    page.wait_for("document.querySelector('#Health .send') !== null")
    page.value("(document.querySelector('#Health .send').click(), null)")
    page.wait_for("document.querySelector('#Health .answer').innerText.includes('200')")
    page.go(f"{stack.url}/docs")
    assert text(page, "header nav") == "Console"


def test_a_service_that_is_away_is_said_and_a_hidden_page_asks_nothing(page: Page, stack: Stack) -> None:
    page.go(f"{stack.url}/console")
    page.value("(window.asked = window.fetch, window.fetch = () => Promise.reject(new TypeError('gone')), null)")
    page.value(LOOK)
    shows(page, "#stale", "The service can't be reached: what you see is ")
    page.value("(window.fetch = window.asked, null)")
    page.value(LOOK)
    page.wait_for("document.getElementById('stale').hidden")
    page.value(
        "(window.calls = 0, window.fetch = (...what) => { window.calls += 1; return window.asked(...what); }, "
        "Object.defineProperty(document, 'hidden', { value: true, configurable: true }), "
        f"{LOOK})"
    )
    several_looks = f"new Promise(done => inTime(() => done(window.calls), {3 * LOOKS_EVERY_MS}))"
    assert page.value(several_looks) <= 1
    page.value(f"(delete document.hidden, {LOOK})")
    page.wait_for("window.calls >= 2")


def test_every_page_fits_on_a_phone(page: Page, stack: Stack) -> None:
    name = "arathernarrowpagebreaksalongnameofanendpointthatsomebodychose"
    stack.deploy("mortal", endpoint_name=name, max_attempts=1)
    lost = stack.submit(name, "kill")
    stack.job(lost, 60)
    job_id = stack.predict(name, "x" * 300)["job_id"]
    stack.api.put("/models/mortal/aliases/an-alias", json={"version": "1"})
    stack.api.patch("/models/mortal/tags", json={"tags": {"purpose": "of-a-rather-long-text-without-a-break"}})
    page.size(390, 844)
    for address in (
        "", f"/deployments/{name}", f"/deployments/{name}/settings", f"/deployments/{name}/undeploy", "/models",
        "/models/mortal", "/models/mortal/move-alias", "/models?q=x", f"/deployments/{name}/history",
        "/models/mortal/aliases/an-alias", "/models/mortal/move-alias?alias=an-alias&version=1&expected=1",
        "/artifacts/prune", "/models/mortal/versions/1/delete", "/register", "/keys", "/keys/new", "/webhooks",
        "/models/mortal/versions/1/deploy", f"/deploy?model_name=mortal&version=1&endpoint_name={name}",
        "/jobs", f"/jobs/{job_id}", f"/jobs/{job_id}/cancel", f"/jobs/{lost}", "/dead-letters", f"/dead-letters/{lost}",
        f"/dead-letters/{lost}/replay", "/try", f"/try/{name}", "/login", "/elsewhere",
    ):  # fmt: skip
        page.go(f"{stack.url}/console{address}")
        page.value("(document.querySelectorAll('details').forEach(each => { each.open = true; }), null)")
        assert page.value("document.documentElement.scrollWidth") == 390, address
    page.size(1280, 800)


def test_everything_works_without_javascript(page: Page, stack: Stack, tmp_path: Path) -> None:
    artifact = tmp_path / "plain.onnx"
    artifact.write_bytes(b"not looked at before it is loaded")
    stack.deploy("echo", version="1", endpoint_name="plain")
    page.scripts(run=False)
    try:
        page.go(f"{stack.url}/console/try/plain")
        click(page, "Predict")
        assert '["one", [1.0, 2.0]]' in text(page, "#job .outcome")
        page.go(f"{stack.url}/console/register?name=plain")
        page.choose("#artifact", artifact)
        click(page, "Register")
        assert "Pass a signature, or an input_example" in text(page, "#problem-input_example")
        page.value("(document.getElementById('input_example').value = '1', null)")
        page.choose("#artifact", artifact)
        click(page, "Register")
        assert "Registered." in text(page)
        page.go(f"{stack.url}/console")
        # It comes again by itself; with a script there is no such element.
        assert page.value("document.querySelector('meta[http-equiv=refresh]').content") == "5"
        page.go(f"{stack.url}/console/deployments/plain")
        click(page, "Undeploy…")
        click(page, "Undeploy")
        assert "Accepted." in text(page)
    finally:
        page.scripts(run=True)

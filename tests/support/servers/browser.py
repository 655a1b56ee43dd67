"""A headless Chromium for tests, driven over the DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from tests.support.service.environment import clean_environment
from tests.support.service.ports import free_port
from tests.support.service.processes import Child
from tests.support.waiting import eventually

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: Headless, and without calls to its makers.
_OPTIONS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-dev-shm-usage
"""


_TALLEST = 1_400


def program() -> str | None:
    """Return the browser that is installed, or None."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Page:
    """One page of a browser; a context manager that starts and ends both.

    Attributes:
        requested: the URL of every request that the page has made.
        said: what it wrote to its console, and exceptions that nobody caught.
    """

    def __init__(self, browser: str, folder: Path) -> None:
        self.requested: list[str] = []
        self.said: list[str] = []
        self._port = free_port()
        options = f"{_OPTIONS} --remote-debugging-port={self._port} --user-data-dir={folder}/profile"
        self._command = [browser, *options.split()]
        self._folder = folder
        self._number = 0
        self._closing = ExitStack()
        self._connection: Connection

    def __enter__(self) -> Self:
        log_path = self._folder / "chromium.log"
        self._closing.enter_context(Child(self._command, env=clean_environment(), log_path=log_path))
        # Without pings: on a busy machine an answer may take longer than they may.
        self._connection = self._closing.enter_context(connect(self._address(), max_size=None, ping_interval=None))
        for domain in ("Page", "Network", "Runtime"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def open(self, url: str) -> None:
        """Go to a URL."""
        self._call("Page.navigate", url=url)

    def go(self, url: str) -> None:
        """Go to a URL, and wait until its page is there."""
        self.leave(lambda: self.open(url))

    def leave(self, act: Callable[[], object]) -> None:
        """Do what leads to another page, and wait until that is there."""
        self.value("(window.left = true, null)")
        act()
        self.wait_for("!window.left && document.readyState === 'complete'")

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Make the page so many CSS pixels large, and perhaps prefer dark colours."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", features=features)

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def choose(self, selector: str, path: Path) -> None:
        """Choose a file in a form's field for files."""
        found = self._call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self._call("DOM.setFileInputFiles", files=[str(path)], objectId=found["result"]["objectId"])

    def tab(self) -> None:
        """Press the tabulator key."""
        for kind in ("rawKeyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)

    def wait_for(self, expression: str, timeout_s: float = 15.0) -> Any:
        """Wait until an expression is true; return its value."""
        return eventually(lambda: self.value(expression), timeout_s, message=expression)

    def screenshot(self, path: Path) -> None:
        """Write a PNG of the whole page."""
        answer = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def picture(self, path: Path) -> None:
        """Write a PNG of the page's width, and of as much of its height as one likes to look at."""
        self._call("Emulation.setScrollbarsHidden", hidden=True)
        content = self._call("Page.getLayoutMetrics")["cssContentSize"]
        height = min(content["height"], _TALLEST)
        clip = {"x": 0, "y": 0, "width": content["width"], "height": height, "scale": 1}
        answer = self._call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(answer["data"]))

    def hasten(self, longest_ms: int) -> None:
        """Let timers of pages go off after so long at most, from the next page on; `window.inTime` is the real one."""
        source = (
            "window.inTime = window.setTimeout;"
            f"window.setTimeout = (act, ms, ...rest) => window.inTime(act, Math.min(ms, {longest_ms}), ...rest)"
        )
        self._call("Page.addScriptToEvaluateOnNewDocument", source=source)

    def scripts(self, *, run: bool) -> None:
        """Let pages run scripts or not, from the next page on; `value` works all the same."""
        self._call("Emulation.setScriptExecutionDisabled", value=not run)

    def _address(self) -> str:
        def target() -> str | None:
            try:
                pages = httpx.get(f"http://127.0.0.1:{self._port}/json/list").json()
            except httpx.TransportError:
                return None
            return next((each["webSocketDebuggerUrl"] for each in pages if each["type"] == "page"), None)

        url = eventually(target, 30, message="the browser answers")
        assert url is not None
        return url

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=30))
            if message.get("id") == self._number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(event["params"]["request"]["url"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                self.said.append(json.dumps(event["params"])[:1_000])

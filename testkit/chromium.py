"""Debian's Chromium without a window, driven over its DevTools protocol, on a pair of pipes.

Protocol: https://chromedevtools.github.io/devtools-protocol/. With --remote-debugging-pipe, messages are JSON that end
with a zero byte; the browser reads descriptor 3 and writes descriptor 4.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from testkit.waiting import DEADLINE_SECONDS, wait_until

_OPTIONS = (
    "--headless",
    "--no-sandbox",  # tests run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",  # a picture of the whole page is as wide as the window
    "--remote-debugging-pipe",
)
_KEYS = {
    "ArrowUp": 38,
    "ArrowDown": 40,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "Home": 36,
    "End": 35,
    "Enter": 13,
    "Tab": 9,
    " ": 32,
}

Json = dict[str, Any]


class Chromium:
    """A browser with one page, a context manager.

    `popen` starts it, such as a namespace's. `complaints` and `requested` fill while the page runs.
    """

    def __init__(
        self,
        width: int = 1280,
        height: int = 900,
        *,
        is_dark: bool = False,
        popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
    ) -> None:
        self._size = width, height
        self._popen = popen
        self._is_dark = is_dark
        self._numbers = itertools.count(1)
        self._received = b""
        self._session = ""
        self.complaints: list[str] = []
        """Errors of the console, exceptions, and violations of the security policy."""
        self.requested: list[str] = []
        """The address of each request."""

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory()
        theirs_read, ours_write = os.pipe()
        ours_read, theirs_write = os.pipe()
        self._read, self._write = ours_read, ours_write
        options = (*_OPTIONS, f"--user-data-dir={self._directory.name}")
        self._process = self._popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs_read} 4>&{theirs_write}', "bash", "chromium", *options],
            pass_fds=(theirs_read, theirs_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self._directory.name},
        )
        os.close(theirs_read)
        os.close(theirs_write)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(*self._size)
        scheme = "dark" if self._is_dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)  # the browser ends when its pipe does
        os.close(self._read)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        wait_until(self._is_removed, "the browser's helpers still write")

    def _is_removed(self) -> bool:
        try:
            self._directory.cleanup()
        except OSError:
            return False
        return True

    def open(self, url: str) -> None:
        """Load a page."""
        self.call("Page.navigate", url=url)

    def resize(self, width: int, height: int) -> None:
        """Give the page another size, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited. Raises AssertionError with its error."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (value := self.run(expression)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{expression} within {DEADLINE_SECONDS:g} s; complaints: {self.complaints}")
            time.sleep(0.02)
        return value

    def press(self, *keys: str) -> None:
        """Press keys by name, one after the other."""
        for key in keys:
            common = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
            text = {"text": {"Enter": "\r", " ": " "}[key]} if key in ("Enter", " ") else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, x: float, y: float) -> None:
        """Click at a point of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, file: Path) -> None:
        """Write a picture of the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))

    def call(self, method: str, **parameters: Any) -> Json:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        message: Json = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (received := self._receive()).get("id") != number:
            self._note(received)
        assert "error" not in received, (method, received["error"])
        result: Json = received["result"]
        return result

    def _receive(self) -> Json:
        while b"\0" not in self._received:
            readable, _, _ = select.select([self._read], [], [], DEADLINE_SECONDS)
            data = os.read(self._read, 1 << 20) if readable else b""
            if not data:
                raise TimeoutError(f"Chromium does not answer; its status is {self._process.poll()}")
            self._received += data
        message, _, self._received = self._received.partition(b"\0")
        document: Json = json.loads(message)
        return document

    def _note(self, event: Json) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                self.complaints.append(json.dumps(parameters["args"]))
            case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requested.append(parameters["request"]["url"])

# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, spoken to over a pipe: what a page logs, asks for and looks like.

Chromium's DevTools protocol is JSON messages that end with a zero byte, on file descriptors 3 and
4. Nothing else is needed to open a page at a chosen size and to listen to it.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Browser", "chromium", "open_browser"]

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


def chromium() -> str | None:
    """Where Chromium is, if it is installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Browser:
    """One tab of a headless browser."""

    def __init__(self, process: subprocess.Popen, read: int, write: int) -> None:
        self._process, self._read, self._write = process, read, write
        self._buffer, self._next = b"", 1
        self.events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", {"url": "about:blank"}, None)["targetId"]
        attached = self._call("Target.attachToTarget", {"targetId": target, "flatten": True}, None)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and wait for its answer."""
        return self._call(method, arguments, self._session)

    def open(self, path: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Open a file at some size and wait until it is loaded."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        self._wait(lambda: any(one["method"] == "Page.loadEventFired" for one in self.events))

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Save what is seen as PNG."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def print(self, path: Path) -> None:
        """Save the printed page as PDF."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF")["data"]))

    def complaints(self) -> list[str]:
        """Errors and warnings of the page since it was opened."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [json.dumps(one) for one in self.events if one["method"] in kinds]

    def requests(self) -> list[str]:
        """Addresses that the page asked for, itself included."""
        sent = [one for one in self.events if one["method"] == "Network.requestWillBeSent"]
        return [one["params"]["request"]["url"] for one in sent]

    def _call(self, method: str, arguments: dict, session: str | None) -> dict[str, Any]:
        number, self._next = self._next, self._next + 1
        message: dict[str, Any] = {"id": number, "method": method, "params": arguments}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answers: list[dict] = []
        self._wait(lambda: bool(answers), number, answers)
        if "error" in answers[0]:
            raise RuntimeError(f"{method}: {answers[0]['error']}")
        return answers[0]["result"]

    def _wait(self, done: Any, number: int = 0, answers: list[dict] | None = None) -> None:
        deadline = time.monotonic() + 60.0
        while not done():
            ready, _, _ = select.select([self._read], [], [], 1.0)
            if ready:
                self._buffer += os.read(self._read, 1 << 20)
            elif time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError("Chromium did not answer within 60 seconds.")
            *messages, self._buffer = self._buffer.split(b"\0")
            for text in messages:
                message = json.loads(text)
                if message.get("id") == number and answers is not None:
                    answers.append(message)
                elif "method" in message:
                    self.events.append(message)


@contextlib.contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """Start Chromium with an empty profile; it ends with the block."""
    path = chromium()
    assert path is not None, "check `chromium()` first"
    to_browser, write = os.pipe()
    read, from_browser = os.pipe()

    def connect() -> None:
        # 3 and 4 may be among the pipe's own numbers, so both are moved out of the way first.
        high_in, high_out = os.dup2(to_browser, 103), os.dup2(from_browser, 104)
        os.dup2(high_in, 3)
        os.dup2(high_out, 4)

    process = subprocess.Popen(
        [path, *_FLAGS, f"--user-data-dir={profile}"],
        preexec_fn=connect,
        pass_fds=(3, 4),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Browser(process, read, write)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(read)
        os.close(write)

"""A headless Chromium as the tests drive it: over its debugging pipe, without further packages."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZES = {"desktop": (1400, 900, False), "phone": (390, 844, True)}


def find_chromium():
    """Path of a Chromium or Chrome, $CHROMIUM first; None if there is none."""
    candidates = filter(None, (os.environ.get("CHROMIUM"), *NAMES))
    return next(filter(None, map(shutil.which, candidates)), None)


class Page:
    """One page in a browser of its own; what it asked of the network and what went wrong in it."""

    def __init__(self, folder: Path, size: str = "desktop") -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._count = 0
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        command = [
            find_chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars",
            f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command], pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._left = b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self._size = size
        self._resize()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method, **parameters):
        """Send a command and return its answer; events that come before it are noted."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._note(answer)

    def open(self, path: Path, wait: float = 0.5):
        """Load a local page, and wait for what its scripts do once it is there."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        end = time.monotonic() + 60
        while self.run("document.readyState") != "complete":
            assert time.monotonic() < end, f"{path} does not load"
            time.sleep(0.1)
        time.sleep(wait)
        self.run("0")  # takes in the events so far

    def run(self, expression):
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait(self, condition, seconds: float = 60):
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"!!({condition})"):
            assert time.monotonic() < end, f"it never came true: {condition}; {self.errors}"
            time.sleep(0.1)

    def drag(self, start, end):
        """Press the mouse at a place of the screen, move it to another, let it go."""
        middle = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
        steps = (("mousePressed", start), ("mouseMoved", middle), ("mouseMoved", end),
                 ("mouseReleased", end))  # fmt: skip
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=start[0], y=start[1])
        for kind, (x, y) in steps:
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path):
        """A PNG of the page, from its top to its end: the screen is as high as the page for it."""
        self._resize(self.call("Page.getLayoutMetrics")["cssContentSize"]["height"])
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        self._resize()

    def _resize(self, height=None):
        width, usual, mobile = SIZES[self._size]
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=int(height or usual),
            mobile=mobile, deviceScaleFactor=1,
        )  # fmt: skip

    def _message(self):
        while b"\0" not in self._left:
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self._left += part
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        name, found = event.get("method"), event.get("params", {})
        if name == "Runtime.exceptionThrown":
            details = found["exceptionDetails"]
            said = details.get("exception", {}).get("description")
            self.errors.append(said or details["text"])
        elif name == "Runtime.consoleAPICalled" and found["type"] in ("error", "assert"):
            self.errors.append(str([argument.get("value") for argument in found["args"]]))
        elif name == "Log.entryAdded" and found["entry"]["level"] == "error":
            self.errors.append(found["entry"]["text"])
        elif name == "Network.requestWillBeSent":
            self.requests.append(found["request"]["url"][:200])

"""A headless Chromium, spoken to over a pipe by the DevTools protocol: nothing to install."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path


class Browser:
    """One browser with one tab. Messages are JSON and end in a zero byte."""

    def __init__(self, program):
        self._profile = tempfile.mkdtemp()
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        # Out of the way of 3 and 4, where the browser will look for them.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, answers)]
        self._process = subprocess.Popen(
            [
                program, "--headless=new", "--no-sandbox", "--disable-gpu",
                "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe",
                f"--user-data-dir={self._profile}", "about:blank",
            ],
            preexec_fn=lambda: [os.dup2(end, at) for at, end in enumerate(ends, start=3)],
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (commands, answers, *ends):
            os.close(end)
        self._count, self._left, self._session = 0, b"", None
        self.events = []
        targets = self("Target.getTargets")["targetInfos"]
        tab = next(one["targetId"] for one in targets if one["type"] == "page")
        attached = self("Target.attachToTarget", targetId=tab, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method, **parameters):
        """Send one command and return its result; what else the browser says is kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.events.append(answer)

    def open(self, path, *, width=1400, height=900, dark=False, phone=False):
        """Show the file and wait until its plots are drawn; returns the seconds it took."""
        self.events.clear()
        self.resize(width, height, phone=phone)
        self.darken(dark)
        started = time.monotonic()
        self("Page.navigate", url=Path(path).as_uri())
        self.wait("document.documentElement.dataset.drawn !== undefined")
        return time.monotonic() - started

    def show(self, path):
        """Open the file, unless it is shown already: tests may use parts of one page in turn."""
        if self.value("location.href") != Path(path).as_uri():
            self.open(path)
        return self

    def resize(self, width, height=900, *, phone=False):
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def darken(self, dark):
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])

    def wait(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not self.value(f"document.readyState === 'complete' && ({condition})"):
            assert time.monotonic() < end, f"still not: {condition}"
            time.sleep(0.02)

    def value(self, expression):
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def point(self, x, y):
        self("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=code,
                 windowsVirtualKeyCode=ord(code))  # fmt: skip

    def requests(self):
        """Addresses that the page asked for; what lies in the page itself is none."""
        sent = [e["params"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        urls = [one["request"]["url"] for one in sent]
        return [url for url in urls if not url.startswith("data:")]

    def faults(self):
        """What went wrong in the page, by the browser's account and by the page's own."""
        thrown = [e["params"] for e in self.events if e.get("method") == "Runtime.exceptionThrown"]
        logged = [e["params"]["entry"] for e in self.events if e.get("method") == "Log.entryAdded"]
        logged = [entry["text"] for entry in logged if entry["level"] in ("error", "warning")]
        faults = self.value("document.documentElement.dataset.faults") or ""
        return thrown + logged + faults.splitlines()

    def screenshot(self, path, *, whole=True):
        shot = self("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        with suppress(OSError, AssertionError):
            self._session = None
            self("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _read(self):
        while b"\0" not in self._left:
            more = os.read(self._from, 1 << 20)
            if not more:
                raise OSError("the browser is gone")
            self._left += more
        line, _, self._left = self._left.partition(b"\0")
        return json.loads(line)

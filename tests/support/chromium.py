"""A headless Chromium with one tab, driven by playwright."""

import time
from pathlib import Path

from playwright.sync_api import sync_playwright


class Browser:
    """One browser with one tab, and what the page shown has reported since it was opened."""

    def __init__(self, program):
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=program)
        # The size is set by `resize`: playwright cannot turn an open tab into a phone's.
        self._page = self._browser.new_page(no_viewport=True)
        self._devtools = self._page.context.new_cdp_session(self._page)
        self._requests, self._faults = [], []
        self._page.on("request", lambda request: self._requests.append(request.url))
        self._page.on("pageerror", lambda error: self._faults.append(str(error)))
        self._page.on("console", self._log)

    def open(self, path, *, width=1400, height=900, dark=False, phone=False):
        """Show the file and wait until its plots are drawn; returns the seconds it took."""
        self.resize(width, height, phone=phone)
        self.darken(dark)
        self._requests.clear()
        self._faults.clear()
        started = time.monotonic()
        self._page.goto(Path(path).as_uri())
        self.wait("document.documentElement.dataset.drawn !== undefined")
        return time.monotonic() - started

    def show(self, path):
        """Open the file, unless it is shown already: tests may use parts of one page in turn."""
        if self._page.url != Path(path).as_uri():
            self.open(path)
        return self

    def resize(self, width, height=900, *, phone=False):
        self._devtools.send(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": width,
                "height": height,
                "deviceScaleFactor": 2 if phone else 1,
                "mobile": phone,
            },
        )

    def darken(self, dark):
        self._page.emulate_media(color_scheme="dark" if dark else "light")

    def wait(self, condition, seconds=60):
        # Not wait_for_function: the pages' security policy forbids what it evaluates.
        end = time.monotonic() + seconds
        while not self.value(f"document.readyState === 'complete' && ({condition})"):
            assert time.monotonic() < end, f"still not: {condition}"
            self._page.wait_for_timeout(20)

    def value(self, expression):
        return self._page.evaluate(expression)

    def point(self, x, y):
        self._page.mouse.move(x, y)

    def press(self, key):
        self._page.keyboard.press(key)

    def requests(self):
        """Addresses that the page asked for; what lies in the page itself is none."""
        return [url for url in self._requests if not url.startswith("data:")]

    def faults(self):
        """What went wrong in the page, by the browser's account and by the page's own."""
        own = self.value("document.documentElement.dataset.faults") or ""
        return [*self._faults, *own.splitlines()]

    def screenshot(self, path, *, whole=True):
        self._page.screenshot(path=path, full_page=whole)

    def close(self):
        self._browser.close()
        self._playwright.stop()

    def _log(self, message):
        if message.type in ("error", "warning"):
            self._faults.append(message.text)

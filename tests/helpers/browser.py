"""A page in real Chromium, driven over its DevTools protocol: clicks, keys, touches, files."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 60  # seconds


def needs_chromium(test):
    """A slow test, skipped where there is no Chromium."""
    return pytest.mark.slow(pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")(test))


def until(condition, what, patience=PATIENCE):
    """Wait until a condition gives something true, and return it."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError(f"{what}: not within {patience} s")


class Page:
    def __init__(self, url):
        import websocket

        self.socket = websocket.create_connection(url, suppress_origin=True, timeout=PATIENCE)
        self.number, self.requests = 0, []
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """A command's answer; a page that only tells of its requests meanwhile hasn't answered."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            answer = json.loads(self.socket.recv())
            assert answer.get("method") != "Page.javascriptDialogOpening", (method, answer)  # nothing answers after it
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
        raise TimeoutError(f"{method}: no answer within {PATIENCE} s")

    def run(self, script):
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, address):
        self.call("Page.navigate", url=address)
        until(lambda: self.run(f"document.readyState === 'complete' && location.href === {json.dumps(address)}"),
              "loading")

    def reload(self):
        self.run("window.before = true")
        self.call("Page.reload")
        until(lambda: self.run("document.readyState === 'complete' && !window.before"), "loading again")

    def resize(self, width, height, *, touch=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if touch else 1,
                  mobile=touch)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)

    def place(self, selector):
        """Where an element is, scrolled into sight: centre, width, height."""
        box = self.run(f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
                       "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
                       "return [b.x + b.width / 2, b.y + b.height / 2, b.width, b.height]; })()")
        return box

    def click(self, selector):
        x, y, *_ = self.place(selector)
        self.drag((x, y), (x, y))

    def double_click(self, selector):
        x, y, *_ = self.place(selector)
        for count in (1, 2):
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=count)

    def drag(self, start, end):
        for kind, (x, y), buttons in (("mousePressed", start, 1), ("mouseMoved", end, 1), ("mouseReleased", end, 0)):
            if kind != "mouseMoved" or start != end:
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=buttons, clickCount=1)

    def touch(self, kind, *points):
        self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y} for x, y in points])

    def key(self, key, code=""):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code or f"Key{key.upper()}",
                      text=key if kind == "keyDown" and len(key) == 1 else "")

    def type(self, text):
        self.call("Input.insertText", text=text)

    def picture(self, path):
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium(folder):
    """A page in a browser of its own, whose profile and downloads lie in `folder`."""
    folder = Path(folder)
    process = subprocess.Popen(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = folder / "profile" / "DevToolsActivePort"
        until(lambda: port.is_file() and "\n" in port.read_text(), "starting Chromium")
        listing = f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json/list"
        pages = until(lambda: [page for page in json.load(urllib.request.urlopen(listing, timeout=PATIENCE))
                               if page["type"] == "page"], "a page")
        page = Page(pages[0]["webSocketDebuggerUrl"])
        page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        yield page
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)

"""A real JupyterLab with the study's own settings, used in a browser as people use it."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

from browser import until

from mammorgb_utils.runs import PROJECT_ROOT

CELL = "document.querySelectorAll('.jp-CodeCell')[{}]"  # not by its text: an editor out of sight may show none


@contextmanager
def jupyterlab(folder):
    """JupyterLab on the notebooks in `folder`, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = ["--ServerApp.port", str(port), "--IdentityProvider.token=", "--ServerApp.root_dir", str(folder),
                "--no-browser", "--allow-root", "--LabApp.workspaces_dir", str(folder / ".workspaces"),
                "--LabApp.user_settings_dir", str(folder / ".settings")]
    own = PROJECT_ROOT / ".jupyter"
    shell = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # a command run here sets it
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--config", str(own / "jupyter_server_config.py"), *settings],
            stdout=log, stderr=log, env=shell | {"JUPYTER_CONFIG_PATH": str(own)})
    try:
        until(lambda: _answers(f"http://127.0.0.1:{port}/api/status"), "starting JupyterLab")
        yield f"http://127.0.0.1:{port}/lab"
    finally:
        server.terminate()
        server.wait(timeout=60)


def _answers(address):
    try:
        return json.load(urllib.request.urlopen(address, timeout=5))
    except OSError:
        return None


class Lab:
    """One notebook in JupyterLab: menus, cells, figures."""

    def __init__(self, page, address, notebook):
        self.page = page
        page.resize(1400, 1000)
        page.call("Page.navigate", url=f"{address}/tree/{notebook}?reset")
        self.until("document.querySelector('.jp-Notebook .jp-CodeCell .cm-line')", "opening the notebook")
        kernels = f"{address[:-4]}/api/kernels"  # a busy server may not answer in time
        until(lambda: any(kernel["connections"] for kernel in _answers(kernels) or ()), "its kernel")

    def until(self, script, what, tries=1):
        for attempt in range(tries):
            try:
                return until(lambda: self.page.run(f"Boolean({script})"), what)
            except TimeoutError:
                if attempt == tries - 1:
                    raise

    def choose(self, menu, command):
        """An entry of the menu bar, clicked."""
        self._mark(f"[...document.querySelectorAll('.lm-MenuBar-item')].find(e => e.textContent.trim() === '{menu}')")
        self.page.click("[data-marked]")
        entry = f".lm-Menu-item[data-command=\"{command}\"]"
        self.until(f"document.querySelector('{entry}')", f"the menu {menu}")
        x, y, *_ = self.page.place(entry)
        self.page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)  # an entry is chosen where the mouse is
        self.page.click(entry)

    def run_all(self):
        """Run All Cells, and wait until the last one has a number."""
        self.page.run("document.querySelectorAll('.jp-InputPrompt').forEach(e => e.textContent = '')")
        self.choose("Run", "runmenu:run-all")
        prompts = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"
        self.until(f"{prompts}.every(e => /^\\[\\d+\\]:$/.test(e.textContent.trim()))", "all cells", tries=5)

    def replace(self, cell, word, new):
        """Double-click a word in the source of the n-th code cell, and type another one."""
        self.page.run(f"{CELL.format(cell)}.scrollIntoView()")
        self._mark(f"[...{CELL.format(cell)}.querySelectorAll('.cm-line span')].find("
                   f"e => e.textContent === {json.dumps(word)})")
        self.page.double_click("[data-marked]")
        self.page.type(new)

    def figure(self, cell):
        """The picture that the n-th code cell shows."""
        picture = f"{CELL.format(cell)}.querySelector('.jp-RenderedImage img')"
        self.page.run(f"{CELL.format(cell)}.scrollIntoView()")
        self.until(picture, "the figure")  # drawn a little later than its cell has a number
        return self.page.run(f"{picture}.src")

    def _mark(self, element):
        self.until(element, "the place to click")
        self.page.run(f"document.querySelector('[data-marked]')?.removeAttribute('data-marked'); "
                      f"({element}).dataset.marked = ''; null")

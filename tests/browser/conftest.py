"""A real browser, JupyterLab as `make lab` starts it, and a site of two notebooks: all on tiny settings, without network."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from lib.paths import NOTEBOOKS, ROOT

TINY = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text(encoding="utf-8"))
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SHOWN = ("00_free_lunch_in_five_minutes", "06_merge_coefficient")
TOKEN, PATIENCE = "tests", 180  # seconds until JupyterLab answers
# What a browser asks of the network by itself, here in vain.
QUIET = [
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
LAB_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false"},  # else a question lies over the page
    "notebook-extension/tracker": {"windowingMode": "none"},  # else only the cells in view are in the page
}


def as_for_a_reader():
    """The environment, but for the setting by which tests draw no figure."""
    return {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}


def tiny_parameters(stem):
    """The parameters of a notebook on tiny settings."""
    return {"overrides": TINY["overrides"]} | TINY["notebooks"].get(stem, {})


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -r requirements-browser.txt")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("needs a browser: install the Debian package chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=executable, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


def lab_command():
    """What `make lab` runs, by the programs of this environment."""
    recipe = re.search(r"^lab:.*\n\t(.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    return shlex.split(recipe.replace("$(BIN)", str(Path(sys.executable).parent)))


def copied(stem, folder):
    """A copy of a notebook whose cell of parameters has the tiny settings."""
    notebook = json.loads((NOTEBOOKS / f"{stem}.ipynb").read_text(encoding="utf-8"))
    cell = next(cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", []))
    cell["source"] = "".join(cell["source"]) + "".join(f"\n{name} = {value!r}" for name, value in tiny_parameters(stem).items())
    (folder / f"{stem}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")


@pytest.fixture(scope="session")
def lab(tmp_path_factory, browser):
    """The addresses of a JupyterLab that shows copies of notebooks, and nothing of whoever runs the tests."""
    root = tmp_path_factory.mktemp("lab")
    (root / "notebooks").mkdir()
    for stem in SHOWN:
        copied(stem, root / "notebooks")
    names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    own = {f"JUPYTER_{name}": root / name for name in names}
    own |= {f"JUPYTERLAB_{name}": root / name for name in ("SETTINGS_DIR", "WORKSPACES_DIR")}
    for name, settings in LAB_SETTINGS.items():
        file = root / "SETTINGS_DIR" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--allow-root", "--no-browser", f"--port={port}", f"--IdentityProvider.token={TOKEN}"]
    with (root / "log").open("w") as log:
        environment = as_for_a_reader() | {name: str(place) for name, place in own.items()} | {"PYTHONPATH": str(ROOT)}
        server = subprocess.Popen([*lab_command(), *options], cwd=root, env=environment, stdout=log, stderr=log)
        try:
            _wait_for_answer(f"http://127.0.0.1:{port}/api", server, root / "log")
            yield lambda path: f"http://127.0.0.1:{port}{path}?token={TOKEN}"
        finally:
            server.terminate()
            server.wait(30)


def _wait_for_answer(address, server, log):
    for _ in range(PATIENCE * 2):
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"JupyterLab did not answer: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def built_site(tmp_path_factory, browser):
    """The report of two notebooks, executed on tiny settings, with one mixer."""
    pytest.importorskip("sphinx", reason="needs Sphinx: pip install -r requirements-site.txt")
    from lib.site.build import build
    from lib.site.mixers import mixer_pieces
    from lib.study import Study

    root = tmp_path_factory.mktemp("report")
    (root / "executed").mkdir()
    for stem in SHOWN:
        output = root / "executed" / f"{stem}.ipynb"
        command = [sys.executable, "-m", "papermill", str(NOTEBOOKS / f"{stem}.ipynb"), str(output), "--no-progress-bar"]
        subprocess.run([*command, "-y", yaml.safe_dump(tiny_parameters(stem))], cwd=ROOT, env=as_for_a_reader(), check=True)
    pieces, told = mixer_pieces(Study("pocket", only_stored=True, **TINY["overrides"]), ["sst2/badnet"], n_steps=2)
    assert told == []
    build(root / "executed", root / "site", "pocket", pieces)
    return root / "site"

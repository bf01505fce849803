"""A real Chromium and a real server with the small study.

Chromium is ``PERCEPSILON_CHROMIUM``, or one on the path, or the one that ``playwright install chromium`` fetched.
Screenshots go to ``PERCEPSILON_SCREENSHOTS``, or to a temporary folder.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from benchmarks.study_site import free_port
from study_app.settings import ROOT
from tests import annotation_browser, annotation_site
from tests.conftest import build_stimulus_set
from tests.study_site import SMALL_PROTOCOL, Server, set_up

# The address bar's own pages, which no test looks at and which cost more than ours; and what Playwright switches off,
# since of two such lists Chromium takes the last one.
UNUSED = (
    "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "AvoidUnnecessaryBeforeUnloadCheckSync", "AimEnabled", "LensOverlay",
    "DestroyProfileOnBrowserClose", "HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable", "MediaRouter", "PaintHolding",
    "OptimizationHints", "ThirdPartyStoragePartitioning", "AvoidCorsURLLoaderRestartOnRedirect", "PreconnectToSearch",
    "NetworkTimeServiceQuerying",
)  # fmt: skip
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", f"--disable-features={','.join(UNUSED)}",
]  # fmt: skip
AXE = ROOT / "study_app" / "frontend" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="session")
def axe_source() -> str:
    assert AXE.is_file(), f"{AXE}: no such file; run npm --prefix study_app/frontend ci"
    return AXE.read_text()


@pytest.fixture(scope="session")
def chromium():
    names = ("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        found = os.environ.get("PERCEPSILON_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
        found = found or playwright.chromium.executable_path
        assert Path(found).is_file(), f"{found}: no such file; set PERCEPSILON_CHROMIUM to the path of a Chromium"
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory) -> Path:
    chosen = os.environ.get("PERCEPSILON_SCREENSHOTS")
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def shown_set(tmp_path_factory) -> Path:
    return build_stimulus_set(tmp_path_factory.mktemp("shown") / "noise", sources=24, size=32)


@pytest.fixture(scope="session")
def serve(tmp_path_factory, shown_set):
    """Makes the site of a protocol, given as TOML; one for all tests that ask for the same."""
    servers: dict[str, Server] = {}

    def of(protocol: str, stimulus_set: Path = shown_set) -> Server:
        if protocol not in servers:
            servers[protocol] = _start(tmp_path_factory.mktemp("site"), stimulus_set, protocol)
        return servers[protocol]

    yield of
    for server in servers.values():
        server.kill()


def _start(folder: Path, stimulus_set: Path, protocol: str) -> Server:
    (folder / "protocol.toml").write_text(protocol)
    url = f"sqlite:///{folder / 'study.sqlite'}"
    set_up(url, stimulus_set, folder / "protocol.toml")
    return Server(url, free_port(), folder / "server.log", direct=True).start()


@pytest.fixture(scope="session")
def site(serve):
    return serve(SMALL_PROTOCOL)


@pytest.fixture(scope="session")
def small_site(tmp_path_factory):
    """An annotation task of pictures of 40 × 30 pixels, each for everybody."""
    site = annotation_browser.start(tmp_path_factory.mktemp("small"), (40, 30), annotation_site.task_text(k=1000))
    yield site
    site.server.kill()


@pytest.fixture(scope="session")
def large_site(tmp_path_factory):
    """An annotation task of pictures of 800 × 600 pixels, with practice and a minimum time."""
    text = annotation_site.task_text(k=1000, seconds=2, more="[practice]\npictures = 1")
    site = annotation_browser.start(tmp_path_factory.mktemp("large"), (800, 600), text, known=1)
    yield site
    site.server.kill()

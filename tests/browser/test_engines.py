"""Firefox and WebKit behave as Chromium: Markdown at every prefix, streaming, scrolling, the client.

Where one of the two is not installed its test is skipped, unless ``REQUIRE_ENGINES`` is set, as CI does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.test_event_source import server as server
from tests.browser.test_markdown import SAMPLES
from tests.conftest import node_tool

# The longest samples run only in Chromium, as every prefix is compared with a complete rendering.
TEXTS = [text for text in SAMPLES.values() if len(text) < 400]
MINI_BROWSERS = [Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib/aarch64-linux-gnu"), Path("/usr/libexec")]
HOW = "apt-get install firefox-esr webkit2gtk-driver xvfb"


def needed(*paths: str | None) -> list[str]:
    """The paths of these programs; if one is missing the test is skipped, or fails where it is required."""
    if all(paths):
        return [path for path in paths if path]
    if os.environ.get("REQUIRE_ENGINES"):
        pytest.fail(f"This engine is not installed: {HOW}")
    pytest.skip(f"This engine is not installed: {HOW}")


@pytest.fixture
def display() -> Iterator[str]:
    """A virtual display."""
    (xvfb,) = needed(shutil.which("Xvfb"))
    read, write = os.pipe()
    command = [xvfb, "-displayfd", str(write), "-screen", "0", "1024x768x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as process:
        os.close(write)
        with os.fdopen(read) as number:
            yield f":{number.readline().strip()}"
        process.terminate()


@pytest.mark.usefixtures("npm_packages")
def test_the_engine_suite_passes_in_firefox(server, tmp_path):
    (firefox,) = needed(shutil.which("firefox-esr") or shutil.which("firefox"))
    samples = tmp_path / "samples.json"
    samples.write_text(json.dumps(TEXTS), "utf-8")

    ran = node_tool("node", "firefox.js", firefox, server, str(samples))

    assert ran.returncode == 0, ran.stderr[-3000:]
    assert json.loads(ran.stdout) == [], ran.stdout[:6000]


def test_the_engine_suite_passes_in_webkit(server, display, monkeypatch):
    browsers = [str(path) for folder in MINI_BROWSERS for path in folder.glob("webkit2gtk-4*/MiniBrowser")]
    driver, mini_browser = needed(shutil.which("WebKitWebDriver"), next(iter(browsers), None))
    webdriver = pytest.importorskip("selenium.webdriver")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setenv("LIBGL_ALWAYS_SOFTWARE", "1")
    monkeypatch.setenv("GDK_BACKEND", "x11")
    options = webdriver.WebKitGTKOptions()
    options.binary_location = mini_browser
    options.add_argument("--automation")
    page = webdriver.WebKitGTK(options=options, service=webdriver.WebKitGTKService(driver))
    try:
        page.set_script_timeout(280)
        page.get(server)
        run = "const [origin, texts, done] = arguments; import('/tests/engine-suite.js')"
        run += ".then((suite) => suite.failures(origin, texts)).then(done, (error) => done(String(error)));"
        found = page.execute_async_script(run, server, TEXTS)
    finally:
        page.quit()
    assert found == []

"""Takes the picture of the page that the README shows: light, as wide as a desk, in the middle of an answer.

    uv run python -m tests.browser.screenshot

It is ``page.png`` beside this file. Chinese needs a font: on Debian, ``apt install fonts-noto-cjk``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from tests.browser.conftest import FLAGS, chromium
from tests.conftest import Site, manage

HERE = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        manage(Path(folder), "migrate", "-v0")
        site = Site(Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 780}, color_scheme="light", locale="en")
            page.goto(site.url)
            page.get_by_label("Your question").fill("Show me what Markdown looks like while it arrives.")
            page.get_by_role("button", name="Send").click()
            # Half a block of code, with its colours, under a table that is whole.
            expect(page.locator("figure code")).to_contain_text("async for", timeout=60_000)
            page.screenshot(path=HERE / "page.png", animations="disabled")
        finally:
            browser.close()
            site.stop()


if __name__ == "__main__":
    main()

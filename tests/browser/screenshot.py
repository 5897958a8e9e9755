"""Takes the README's picture of the page: an answer as the model wrote it, beside the same as readers see it.

    uv run --group dev python -m tests.browser.screenshot

It is ``page.png`` beside this file. Chinese needs a font: on Debian, ``apt install fonts-noto-cjk``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from tests.browser.conftest import FLAGS, chromium
from tests.conftest import Site, manage

HERE = Path(__file__).parent

FILL_IN_RULES = """
from streaming.management.commands.demo import SAMPLE_RULES
from streaming.models import ModerationRule
for fields in SAMPLE_RULES:
    ModerationRule.objects.create(**fields)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        manage(Path(folder), "migrate", "-v0")
        manage(Path(folder), "shell", "-c", FILL_IN_RULES)
        site = Site(Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 780}, color_scheme="light", locale="en")
            page.goto(site.url)
            page.get_by_role("button", name="See a rule at work").click()
            # In the last paragraph, while it is still being written.
            expect(page.locator("article[data-part=answer]")).to_contain_text("It does not help", timeout=60_000)
            page.screenshot(path=HERE / "page.png", animations="disabled")
        finally:
            browser.close()
            site.stop()


if __name__ == "__main__":
    main()

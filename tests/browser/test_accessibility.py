"""axe-core finds no accessibility violation on any page."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_admin import MORE_PAGES, SEED
from tests.browser.test_page import start, status
from tests.conftest import JAVASCRIPT, PASSWORD, manage

AXE = JAVASCRIPT / "node_modules" / "axe-core" / "axe.min.js"
EVERYTHING = """# Heading

Inline \\(x^2\\), H<sub>2</sub>O, <kbd>Ctrl</kbd>, [a link](https://example.org/), a note.[^1]

## Below it

> [!NOTE]
> A note.

- [x] done
- [ ] to do

| a | b |
|---|--:|
| c | d |

```python
print("a very long line of code, which is wider than any screen that it may be read on, and scrolls for that reason")
```

[^1]: The note.
"""


@pytest.fixture
def violations(npm_packages):
    def find(page: Page) -> list[tuple[str, list[str]]]:
        page.evaluate(AXE.read_text("utf-8"))
        found = page.evaluate("async () => (await axe.run()).violations.map((v) => [v.id, v.nodes.map((n) => n.html)])")
        page.evaluate("delete globalThis.axe")
        return found

    return find


@pytest.mark.parametrize(
    "options", [{}, {"color_scheme": "dark"}, {"locale": "zh-CN"}], ids=["light", "dark", "Chinese"]
)
def test_the_page_has_no_violation_before_during_and_after_an_answer(open_page, scripted, violations, options):
    page = open_page(reduced_motion="reduce", **options)
    assert violations(page) == []
    page.locator("#developers > summary").click()
    page.locator("[name=interval]").select_option("0.1")
    page.locator("[data-part=send]").click()
    expect(page.locator("#chat article h1")).to_have_count(1)
    assert violations(page) == []
    page = scripted.open(reduced_motion="reduce", **options)
    scripted.answers(("message", {"delta": EVERYTHING}), ("done", {"reason": "stop"}))
    page.locator("[data-part=prompt]").fill("Everything?\n" * 30)
    page.locator("[data-part=send]").click()
    expect(page.locator("#chat article").last.locator("math")).to_have_count(1)
    assert violations(page) == []


def test_failed_and_compared_answers_have_no_violation(open_page, scripted, violations):
    page = scripted.open(reduced_motion="reduce")
    scripted.answers(("message", {"delta": "half"}), ("done", {"reason": "error"}))
    start(page, prompt="Half?")
    expect(status(page, "chat")).to_have_text("Failed")
    assert violations(page) == []
    page = open_page(reduced_motion="reduce")
    page.get_by_role("button", name="See a rule at work").click()
    expect(page.locator("#chat .raw p").first).to_be_visible()
    assert violations(page) == []


def test_the_login_page_has_no_violation(open_page, violations):
    assert violations(open_page("/login/")) == []


def test_the_admin_pages_of_this_project_have_no_violation(make_site, browser, violations):
    site = make_site()
    seeded = manage(site.folder, "shell", "-c", SEED)
    assert seeded.returncode == 0, seeded.stderr
    page = browser.new_context().new_page()
    page.goto(f"{site.url}/login/?next=/admin/streaming/moderationrule/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    found = {}
    for path in ("", "add/", "import/", "try/"):
        page.goto(f"{site.url}/admin/streaming/moderationrule/{path}")
        found[path] = violations(page)
    page.goto(f"{site.url}/admin/streaming/moderationhit/")
    found["hits"] = violations(page)
    for path in MORE_PAGES.values():
        page.goto(site.url + path)
        found[path] = violations(page)
    page.goto(f"{site.url}/admin/streaming/moderationrule/")
    page.locator("#result_list tbody input.action-select").first.check()
    page.locator("#changelist-form select[name=action]").select_option("change_many")
    page.locator("button[name=index]").click()
    found["bulk"] = violations(page)
    wrong = {path: each for path, each in found.items() if each}
    assert wrong == {}, json.dumps(wrong)
    page.context.close()

"""The admin in a browser. A screenshot of each page is saved in ``.screenshots/`` for review."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.conftest import PASSWORD, ROOT, Site, manage

SHOTS = ROOT / ".screenshots"
RULES = "/admin/streaming/moderationrule/"

SEED = """
from datetime import timedelta
from django.utils import timezone
from streaming.management.commands.demo import SAMPLE_RULES
from streaming.models import ModerationHit, ModerationRule
made = [ModerationRule.objects.create(**fields) for fields in SAMPLE_RULES]
made[3].on_trial = True
made[3].save()
for number in range(120):
    rule = made[number % 6]
    ModerationHit.objects.create(
        when=timezone.now() - timedelta(hours=number * 5), stream="a1b2c3", upstream="default", direction="answers",
        rule=rule, pattern=rule.pattern, version=3, action=rule.action, category=rule.category, channel="content",
        on_trial=rule.on_trial,
        offset=number, before="A status report may name ", text=rule.pattern[:20], after=" too early", who="ann")
"""

LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 800}},
    "dark-400": {"viewport": {"width": 400, "height": 800}, "color_scheme": "dark"},
    "zh-400": {"viewport": {"width": 400, "height": 800}, "locale": "zh-CN"},
}


MORE_PAGES = {
    "rule-on-trial": f"{RULES}4/change/",
    "editions": f"{RULES}editions/",
    "comparison": f"{RULES}editions/compare/?from=1&to=99",
    "deleted": f"{RULES}deleted/",
    "hit": "/admin/streaming/moderationhit/1/change/",
    "allow": "/admin/streaming/moderationhit/1/allow/",
    "review": "/admin/streaming/moderationhit/review/",
    "alert": "/admin/streaming/hitalert/add/",
    "lists": "/admin/streaming/rulelist/",
}


@pytest.fixture(scope="module")
def admin_site(migrated: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("admin")
    shutil.copytree(migrated, folder, dirs_exist_ok=True)
    seeded = manage(folder, "shell", "-c", SEED)
    assert seeded.returncode == 0, seeded.stderr
    site = Site(folder)
    yield site
    site.stop()


@pytest.fixture
def enter(browser, admin_site):
    """Logs in and opens a page of the admin: ``enter("try/", **looks)``."""
    visit = Visit(browser, admin_site.url)

    def enter(address: str, **options) -> Page:
        page = visit(f"/admin/login/?next={RULES}{address}", **options)
        page.locator("[name=username]").fill("admin")
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("[type=submit]").click()
        page.wait_for_url(f"{admin_site.url}{RULES}**")
        return page

    yield enter
    visit.end()


ON_HEADINGS = """() => {
    const area = (each) => each.getBoundingClientRect();
    const words = (each) => { const range = new Range(); range.selectNodeContents(each); return area(range); };
    const filled = (each) => getComputedStyle(each).backgroundColor !== "rgba(0, 0, 0, 0)";
    const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    const shown = (chosen) => [...document.querySelectorAll(chosen)].filter((each) => each.checkVisibility());
    const controls = shown("#content :is(a, button, input, select, textarea)");
    return shown("#content :is(h1, h2)").flatMap((heading) => controls
        .filter((each) => !heading.contains(each) && meet((filled(heading) ? area : words)(heading), area(each)))
        .map((each) => `${each.outerHTML.slice(0, 80)} lies on ${heading.textContent.trim().slice(0, 40)}`));
}"""


def photograph(page: Page, name: str) -> None:
    """Saves a screenshot of the whole page: no wider than its window, and nothing lies on its headings."""
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"admin-{name}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than its window"
    assert page.evaluate(ON_HEADINGS) == [], name


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_fits_its_window(enter, look):
    page = enter("", **LOOKS[look])
    expect(page.locator("#result_list tbody tr")).to_have_count(8)
    photograph(page, f"list-{look}")

    page.get_by_role("link", name=re.compile("someone@example.com")).click()
    expect(page.locator("#check-result table")).to_be_visible()
    photograph(page, f"form-{look}")

    page.goto(page.url.partition("/admin/")[0] + RULES + "try/")
    expect(page.locator(".steps-player")).to_be_visible()
    photograph(page, f"try-{look}")

    page.goto(page.url.replace("try/", "import/"))
    page.locator("[name=text]").fill("darn、new word\n坏话|垃圾\n\u200b\ndarn\n")
    page.locator("[name=category]").fill("imported")
    page.locator("#import-form [type=submit]").click()
    expect(page.locator(".import-counts")).to_be_visible()
    photograph(page, f"preview-{look}")

    page.goto(page.url.partition("/admin/")[0] + "/admin/streaming/moderationhit/")
    expect(page.locator(".hits-chart")).to_be_visible()
    photograph(page, f"hits-{look}")

    for name, address in MORE_PAGES.items():
        page.goto(page.url.partition("/admin/")[0] + address)
        photograph(page, f"{name}-{look}")


@pytest.mark.parametrize("locale", ["en", "zh-CN"])
@pytest.mark.parametrize("width", [1440, 1280, 1100, 1024, 768])
def test_no_column_of_a_list_is_cut(enter, width, locale):
    page = enter("", viewport={"width": width, "height": 800}, locale=locale)
    for address in (RULES, "/admin/streaming/moderationhit/", "/admin/streaming/rulelist/"):
        page.goto(page.url.partition("/admin/")[0] + address)
        cut = page.locator(".results").evaluate_all("all => all.map(each => each.scrollWidth - each.clientWidth)")
        assert not any(cut), address


def test_the_form_shows_what_the_rule_matches_while_it_is_edited(enter):
    page = enter("add/")
    pattern, result = page.get_by_label("Pattern"), page.locator("#check-result")

    pattern.fill("darn")
    expect(result).to_contain_text("The shortest text it matches has 4 characters")
    expect(result.get_by_role("row", name=re.compile("tour.md"))).to_contain_text("2")

    page.get_by_label("Kind").select_option("regex")
    pattern.fill("(a")
    expect(result).to_contain_text("At character 1: the ( is not closed.")


def test_the_form_never_shows_what_an_earlier_pattern_matches_when_there_is_none_any_more(enter):
    page = enter("add/")
    pattern = page.get_by_label("Pattern")
    page.route("**/check/", lambda route: None)  # the answer comes late
    with page.expect_request("**/check/"):
        pattern.fill("darn")

    with page.expect_event("requestfailed"):
        pattern.fill("")

    expect(page.locator("#check-result")).to_be_empty()


def test_an_unsaved_rule_can_be_tried(enter):
    page = enter("add/")
    page.get_by_label("Pattern").fill("status report")

    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Try it on a text").click()

    tried = opened.value
    expect(tried.locator("[data-part=moderated]")).to_contain_text("A •••••••••••••")
    expect(tried.get_by_label("the unsaved rule in the form")).to_be_checked()


def test_a_trial_updates_with_the_form_and_can_be_played(enter):
    page = enter("try/")
    page.get_by_label("Text").fill("oh darn it")
    shown = page.locator("[data-part=moderated]")
    expect(shown).to_contain_text("oh ••••")

    page.get_by_label("Characters in each piece").fill("1")
    expect(page.locator("output")).to_have_text("1")
    expect(page.locator(".steps-table tbody tr")).to_have_count(10)
    page.get_by_label("Go to piece").fill("6")
    expect(page.locator("[data-part=so-far]")).to_have_text("oh ")
    expect(page.locator(".steps-player [data-part=held]")).to_have_text("dar")
    page.get_by_role("button", name="Play").click()
    expect(page.locator("[data-part=so-far]")).to_have_text("oh •••• it")


UNREACHABLE = "() => { window.fetch = async () => { throw new TypeError('the network is gone') } }"
REFUSED = "() => { window.fetch = async () => new Response('too long', { status: 413 }) }"


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        ("", "you are no longer logged in, or may not see it"),
        (UNREACHABLE, "the server cannot be reached"),
        (REFUSED, "the server answered 413"),
    ],
    ids=["logged out", "unreachable", "refused"],
)
def test_what_an_earlier_text_gave_is_not_shown_beside_a_later_one_that_cannot_be_tried(enter, failure, sentence):
    page = enter("try/")
    page.locator("[name=text]").fill("Something to try")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#trial")).to_contain_text("Something to try")
    if failure:
        page.evaluate(failure)
    else:
        page.context.clear_cookies(name="sessionid")

    page.locator("[name=text]").fill("Another text")

    expect(page.locator("#trial")).to_have_text(re.compile(f"^There is no result: {sentence}"))


def test_a_trial_that_is_played_twice_goes_on_once(enter):
    page = enter("try/")
    page.locator("[name=text]").fill("Something to try, which takes some pieces")
    page.locator("[name=cut]").fill("1")
    expect(page.locator(".steps-player")).to_be_visible()

    running = page.evaluate(
        """() => {
          const { setTimeout, clearTimeout } = window, running = new Set();
          window.setTimeout = (...given) => { const id = setTimeout(...given); running.add(id); return id; };
          window.clearTimeout = (id) => { running.delete(id); clearTimeout(id); };
          const button = document.querySelector(".steps-player button");
          for (let n = 0; n < 3; n++) button.click();
          return running.size;
        }"""
    )

    assert running == 1


def test_a_dropped_file_is_previewed_imported_and_undone(enter):
    page = enter("import/")
    drop = """form => {
        const files = new DataTransfer()
        files.items.add(new File(Array.from({ length: 3000 }, (_, n) => `dropped ${n}\\n`), "dropped.txt"))
        form.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }))
    }"""
    page.locator("#import-form").evaluate(drop)
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".import-counts")).to_contain_text("3000 would be added")

    page.get_by_role("button", name="Import").click()
    expect(page.locator(".success")).to_contain_text("Done. Added: 3000")
    expect(page.locator(".bar").last).to_contain_text("3000 of 3000")
    assert page.locator(".bar:visible").count() == 1
    photograph(page, "import-done")

    page.get_by_role("link", name="Undo or import more").click()
    page.get_by_role("button", name="Undo this import").first.click()
    expect(page.locator(".messagelist")).to_contain_text("Removed: 3000")


def test_the_admin_works_without_scripts(enter):
    page = enter("try/", java_script_enabled=False)
    page.get_by_label("Text").fill("oh darn it")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("[data-part=moderated]")).to_contain_text("oh ••••")
    expect(page.locator(".steps-table tbody tr")).to_have_count(2)

    page.goto(page.url.replace("try/", "add/"))
    page.get_by_label("Pattern").fill("tired")
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Show what it matches").click()
    expect(opened.value.locator(".check-table")).to_contain_text("tour.md")

    page.goto(page.url.replace("add/", "import/"))
    page.get_by_label("or text").fill("without scripts")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Import").click()
    expect(page.locator(".success")).to_contain_text("Done. Added: 1")


def test_the_admin_pages_contain_no_inline_script_or_style(enter):
    for address in ("try/", "import/", "add/"):
        page = enter(address)
        assert page.locator("#content").evaluate("e => e.querySelectorAll('script:not([src]), style').length") == 0


@pytest.mark.parametrize("scripts", [True, False])
def test_a_wrong_hit_is_allowed_and_everything_undone_by_clicks(enter, scripts):
    page = enter("", java_script_enabled=scripts)
    site = page.url.partition("/admin/")[0]
    page.locator("#quick-pattern").fill(f"status{scripts}")
    page.locator("#quick-trial").check()
    page.locator("#quick-add [type=submit]").click()
    page.get_by_role("link", name=re.compile(f"status{scripts}")).first.click()
    expect(page.locator(".trial-results")).to_contain_text("In the last day it hit nothing.")
    page.get_by_role("button", name="Arm it").click()
    expect(page.locator(".messagelist")).to_contain_text("was changed successfully")

    page.goto(f"{site}/admin/streaming/moderationhit/review/")
    page.get_by_role("button", name="Wrong, allow it …").first.click()
    page.get_by_label("or another one").fill("A status report may name tired engineer too early")
    page.get_by_role("button", name="Allow it").click()
    expect(page.locator(".messagelist")).to_contain_text("is allowed in all streams")

    page.goto(f"{site}{RULES}editions/")
    page.get_by_role("button", name=re.compile("Undo edition")).first.click()
    expect(page.locator(".messagelist")).to_contain_text("was undone")


def test_many_rules_are_changed_with_the_keyboard_alone(enter):
    page = enter("")
    page.locator("#result_list tbody input.action-select").first.focus()
    page.keyboard.press("Space")
    page.locator("#changelist-form select[name=action]").select_option("change_many")
    page.locator("button[name=index]").focus()
    page.keyboard.press("Enter")
    page.get_by_label("New category").fill("by keyboard")
    page.keyboard.press("Enter")
    expect(page.locator(".messagelist")).to_contain_text("1 rule was changed.")

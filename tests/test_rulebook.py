"""The rulebook: changed rules apply to the next stream, and nothing is compiled twice."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, transaction
from django.utils import timezone

from streaming import compiled_edition, rulebook
from streaming.editions import rules_changed
from streaming.models import ModerationRule, RuleList
from streaming.moderation import Hit, Moderator, RuleError, RuleSet, Text
from streaming.rulebook import Rulebook, ScopedRuleSet
from tests.conftest import DEADLINE

pytestmark = pytest.mark.django_db(transaction=True)

rules = ModerationRule.objects


@pytest.fixture(autouse=True)
def no_thread_is_left(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a thread still reads would be of the next test."""
    books, begin = list[Rulebook](), Rulebook.__init__

    def noted(book: Rulebook, *arguments: Any, **options: Any) -> None:
        begin(book, *arguments, **options)
        books.append(book)

    monkeypatch.setattr(Rulebook, "__init__", noted)
    yield
    for book in books:
        book._executor.shutdown()
        book._loader.shutdown()


@pytest.fixture
def book() -> Any:
    """The rulebook of this process, which is notified of its changes."""
    book = Rulebook()
    rules_changed.connect(book.invalidate)
    yield book
    rules_changed.disconnect(book.invalidate)


@pytest.fixture
def elsewhere() -> Any:
    """The rulebook of another worker, which has to query for changes, and a clock that the test advances."""
    clock = [0.0]
    book = Rulebook(clock=lambda: clock[0])
    book.wait = lambda seconds: clock.__setitem__(0, clock[0] + seconds)
    return book


def shown(snapshot: ScopedRuleSet, text: str = "darn, heck and 中文") -> str:
    moderator = Moderator(snapshot.rule_set)
    return "".join(part.text for part in [*moderator.feed(text), *moderator.finish()] if isinstance(part, Text))


async def now(book: Rulebook, upstream: str = "default", direction: Any = "answers") -> str:
    return shown(await book.current(upstream, direction))


async def test_without_rules_all_text_passes(book: Rulebook) -> None:
    assert await now(book) == "darn, heck and 中文"


async def test_every_change_applies_to_the_next_stream(book: Rulebook) -> None:
    darn = await rules.acreate(pattern="darn")
    assert await now(book) == "••••, heck and 中文"

    await rules.acreate(pattern="中文")
    assert await now(book) == "••••, heck and ••"

    darn.pattern = "heck"
    await darn.asave()
    assert await now(book) == "darn, •••• and ••"

    await rules.filter(pattern="中文").aupdate(enabled=False)
    assert await now(book) == "darn, •••• and 中文"

    await darn.adelete()
    assert await now(book) == "darn, heck and 中文"


async def test_a_change_made_while_the_database_answers_applies_to_the_next_stream(
    book: Rulebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rules.acreate(pattern="darn")
    await now(book)
    version, is_read, may_go_on = type(rules).version, threading.Event(), threading.Event()

    def late(self: Any) -> int:
        number: int = version(self)
        if threading.current_thread().name.startswith("rulebook"):
            is_read.set()
            may_go_on.wait(DEADLINE)
        return number

    book.invalidate()
    with monkeypatch.context() as patch:
        patch.setattr(type(rules), "version", late)
        asked = asyncio.create_task(now(book))
        await asyncio.to_thread(is_read.wait, DEADLINE)
        await rules.acreate(pattern="heck")
        may_go_on.set()
        await asked

    assert await now(book) == "••••, •••• and 中文"


@pytest.mark.parametrize("many", [False, True], ids=["few rules", "very many rules"])
async def test_a_rule_whose_list_is_replaced_while_both_are_read_stays_in_force(
    elsewhere: Any, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    one, other = [await RuleList.objects.acreate(name=name, enabled=name == "one") for name in ("one", "other")]
    for pattern in ("darn", "one", "two"):
        await rules.acreate(pattern=pattern, rule_list=one)
    monkeypatch.setattr(compiled_edition, "MANY_RULES", 3 if many else 5_000)
    assert await now(elsewhere) == "••••, heck and 中文"
    await rules.acreate(pattern="heck")
    on_trial, replaced = type(RuleList.objects).on_trial, list[bool]()

    def on_trial_later(self: Any) -> Any:
        if not replaced:
            replaced.append(True)
            with transaction.atomic():
                RuleList.objects.filter(pk=other.pk).update(enabled=True)
                rules.filter(rule_list=one).update(rule_list=other)
                RuleList.objects.filter(pk=one.pk).update(enabled=False)
        return on_trial(self)

    monkeypatch.setattr(type(RuleList.objects), "on_trial", on_trial_later)
    elsewhere.wait(1)
    await elsewhere.refresh()

    assert replaced
    (in_use,) = elsewhere._edition.rule_sets.values()
    assert shown(in_use, "darn") == "••••"
    if elsewhere._loading:
        await asyncio.wrap_future(elsewhere._loading)


async def test_another_worker_checks_for_changes_at_most_once_a_second(elsewhere: Any) -> None:
    assert await now(elsewhere) == "darn, heck and 中文"
    await rules.acreate(pattern="darn")

    elsewhere.wait(0.99)
    assert await now(elsewhere) == "darn, heck and 中文"
    elsewhere.wait(0.01)
    assert await now(elsewhere) == "••••, heck and 中文"


async def test_streams_that_begin_at_once_read_the_rules_once(elsewhere: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    scoped_rules = rules.scoped_rules
    monkeypatch.setattr(type(rules), "scoped_rules", lambda self, now: asked.append(1) or scoped_rules(now))

    await asyncio.gather(*(elsewhere.current("default", "answers") for _ in range(50)))

    assert len(asked) == 1


async def test_a_rule_applies_to_its_upstreams_and_direction(book: Rulebook) -> None:
    await rules.acreate(pattern="darn", upstreams=["one", "two"])
    await rules.acreate(pattern="heck", applies_to="prompts")
    await rules.acreate(pattern="中文", applies_to="answers", upstreams=["two"])

    said = {
        (name, way): await now(book, name, way) for name in ("one", "two", "other") for way in ("prompts", "answers")
    }

    assert said == {
        ("one", "prompts"): "••••, •••• and 中文",
        ("one", "answers"): "••••, heck and 中文",
        ("two", "prompts"): "••••, •••• and 中文",
        ("two", "answers"): "••••, heck and ••",
        ("other", "prompts"): "darn, •••• and 中文",
        ("other", "answers"): "darn, heck and 中文",
    }


async def test_the_same_rules_are_compiled_once_for_all_upstreams_and_directions(book: Rulebook) -> None:
    await rules.acreate(pattern="darn")
    await rules.acreate(pattern="heck", upstreams=["special"])

    one, two, special = [
        (await book.current(*key)).rule_set for key in [("a", "answers"), ("b", "prompts"), ("special", "answers")]
    ]

    assert one is two
    assert special is not one


async def test_a_change_that_does_not_affect_a_stream_compiles_nothing(book: Rulebook) -> None:
    rule = await rules.acreate(pattern="darn")
    one, same = await book.current("a", "answers"), await book.current("a", "answers")
    assert one is same

    rule.note = "why"
    await rule.asave()
    await rules.acreate(pattern="heck", upstreams=["other"])
    later = await book.current("a", "answers")

    assert later.version > one.version
    assert later.rule_set is one.rule_set


async def test_rules_are_compiled_in_a_separate_thread(book: Rulebook, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    monkeypatch.setattr(
        compiled_edition,
        "RuleSet",
        lambda rules, **more: names.append(threading.current_thread().name) or RuleSet(rules, **more),
    )

    await now(book)

    assert [name[:8] for name in names] == ["rulebook"]


async def test_a_rule_starts_and_expires_at_its_times(book: Rulebook, monkeypatch: pytest.MonkeyPatch) -> None:
    start = timezone.now()
    await rules.acreate(pattern="darn", valid_from=start + timedelta(seconds=60))
    await rules.acreate(pattern="heck", valid_until=start + timedelta(seconds=90))
    await rules.acreate(pattern="中文", valid_until=start - timedelta(seconds=1))

    async def after(seconds: float) -> str:
        monkeypatch.setattr(rulebook.timezone, "now", lambda: start + timedelta(seconds=seconds))
        return await now(book)

    assert [await after(seconds) for seconds in (1, 59, 60, 89, 90)] == [
        "darn, •••• and 中文",
        "darn, •••• and 中文",
        "••••, •••• and 中文",
        "••••, •••• and 中文",
        "••••, heck and 中文",
    ]


async def test_a_clock_that_jumps_ahead_and_back_gives_the_active_rules(
    book: Rulebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = timezone.now()
    await rules.acreate(pattern="darn", valid_from=start + timedelta(days=1))
    await rules.acreate(pattern="heck", valid_until=start + timedelta(days=2))
    await rules.acreate(pattern="中文", valid_from=start - timedelta(days=2), valid_until=start - timedelta(days=1))

    async def at(days: float) -> str:
        monkeypatch.setattr(rulebook.timezone, "now", lambda: start + timedelta(days=days))
        return await now(book)

    assert [await at(days) for days in (0, 3650, 0, 1.5, 0.5, -1.5, 3650, 1.5, -1.5, -3650, 0)] == [
        "darn, •••• and 中文",
        "••••, heck and 中文",
        "darn, •••• and 中文",
        "••••, •••• and 中文",
        "darn, •••• and 中文",
        "darn, •••• and ••",
        "••••, heck and 中文",
        "••••, •••• and 中文",
        "darn, •••• and ••",
        "darn, •••• and 中文",
        "darn, •••• and 中文",
    ]


async def test_a_stream_keeps_the_rules_it_began_with(book: Rulebook) -> None:
    rule = await rules.acreate(pattern="darn")
    begun_with = await book.current("default", "answers")

    await rule.adelete()

    assert shown(await book.current("default", "answers"), "darn") == "darn"
    assert shown(begun_with, "darn") == "••••"


async def test_of_two_rules_for_a_pattern_the_older_applies(book: Rulebook) -> None:
    older = await rules.acreate(pattern="darn")
    newer = await rules.acreate(pattern="Darn")
    await older.asave()  # its edit does not make it younger

    rule_set = (await book.current("default", "answers")).rule_set
    (finding,) = [part for part in Moderator(rule_set).feed("darn!") if isinstance(part, Hit)]
    assert finding.rule.id == older.pk != newer.pk


async def test_while_the_rules_cannot_be_compiled_the_last_good_ones_are_used(
    book: Rulebook, log_text: Callable[[], str]
) -> None:
    await rules.acreate(pattern="darn")
    good = await book.current("default", "answers")
    wrong = await rules.acreate(pattern="\u200b")  # past the form, which would refuse it
    await rules.acreate(pattern="heck")

    assert await now(book) == await now(book, "other") == "••••, heck and 中文"
    assert book.version == good.version
    assert book.load_error and book.load_error.error.rule.id == wrong.pk
    assert log_text().count("cannot be compiled") == 1

    await wrong.adelete()
    assert await now(book) == "••••, •••• and 中文"
    assert book.load_error is None


async def test_while_the_database_is_unavailable_the_last_good_rules_are_used(
    elsewhere: Any, monkeypatch: pytest.MonkeyPatch, log_text: Callable[[], str]
) -> None:
    await rules.acreate(pattern="darn")
    await now(elsewhere)

    def gone(self: object) -> int:
        raise OperationalError("gone")

    monkeypatch.setattr(type(rules), "version", gone)
    elsewhere.wait(5)

    assert await now(elsewhere) == "••••, heck and 中文"
    assert "cannot check whether the rules have changed: gone" in log_text()


async def test_no_text_is_sent_if_rules_never_compiled(book: Rulebook) -> None:
    await rules.acreate(pattern="\u200b")

    with pytest.raises(RuleError):
        await book.current("default", "answers")


async def test_checking_for_changes_takes_one_query(elsewhere: Any, django_assert_num_queries: Any) -> None:
    await now(elsewhere)
    elsewhere.wait(1)

    def load() -> None:
        with django_assert_num_queries(1):
            elsewhere._refreshed()

    await sync_to_async(load)()


class TestVeryManyRules:
    @pytest.fixture
    def compiling(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
        """Three rules are very many; once the event is cleared, to compile them takes until it is set."""
        may_compile = threading.Event()
        may_compile.set()

        def slow(rules: Any, **more: Any) -> RuleSet:
            assert may_compile.wait(DEADLINE)
            return RuleSet(rules, **more)

        monkeypatch.setattr(compiled_edition, "MANY_RULES", 3)
        monkeypatch.setattr(compiled_edition, "RuleSet", slow)
        yield may_compile
        may_compile.set()

    async def test_are_used_as_they_were_while_they_are_compiled_but_with_what_was_changed_by_hand(
        self, book: Rulebook, compiling: threading.Event
    ) -> None:
        for pattern in ("darn", "one", "two"):
            await rules.acreate(pattern=pattern)
        assert await now(book) == "••••, heck and 中文"
        compiling.clear()

        await rules.acreate(pattern="heck")
        await rules.filter(pattern="darn").aupdate(action="drop")

        await eventually(book, ", •••• and 中文")
        compiling.set()
        await rules.filter(pattern="heck").adelete()
        await eventually(book, ", heck and 中文")
        await has_the_latest(book)

    async def test_never_fall_back_to_what_was_compiled_before_the_last_change(
        self, book: Rulebook, compiling: threading.Event
    ) -> None:
        for pattern in ("darn", "one", "two"):
            await rules.acreate(pattern=pattern)
        await now(book)
        compiling.clear()
        await rules.acreate(pattern="heck")
        await eventually(book, "••••, •••• and 中文")  # and that edition is being compiled
        await rules.acreate(pattern="中文")
        await eventually(book, "••••, •••• and ••")

        with nothing_asked(book):
            compiling.set()
            await asyncio.wrap_future(book._loading)
            assert await now(book) == "••••, •••• and ••"

        await eventually_compiled(book)
        assert await now(book) == "••••, •••• and ••"

    async def test_lose_no_change_when_the_next_edition_arrives_while_they_are_asked_for(
        self, book: Rulebook, compiling: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rulebook, "_CLOCKS_DIFFER", timedelta(0))
        for pattern in ("darn", "one", "two"):
            await rules.acreate(pattern=pattern)
        await now(book)
        with compiled_elsewhere(monkeypatch) as is_compiling:
            compiling.clear()
            await rules.acreate(pattern="heck")
            await eventually(book, "••••, •••• and 中文")
            await asyncio.to_thread(is_compiling.wait, DEADLINE)  # it has read the rules
        await rules.acreate(pattern="中文")
        version = type(rules).version

        def late(self: Any) -> int:
            number: int = version(self)
            if threading.current_thread().name.startswith("rulebook_"):
                compiling.set()
                book._loading.result(DEADLINE)
            return number

        monkeypatch.setattr(type(rules), "version", late)
        book.invalidate()
        await book.refresh()

        (in_use,) = book._edition.rule_sets.values()
        assert shown(in_use) == "••••, •••• and ••"
        await eventually(book, "••••, •••• and ••")
        await eventually_compiled(book)

    async def test_changed_by_hand_are_in_force_also_for_whom_nothing_was_compiled_yet(
        self, book: Rulebook, compiling: threading.Event
    ) -> None:
        for pattern in ("darn", "one", "two"):
            await rules.acreate(pattern=pattern)
        await now(book)
        compiling.clear()
        await rules.acreate(pattern="heck", only_for=["group:staff"])
        await rules.acreate(pattern="中文")
        await book.refresh()

        staff = await book.current("default", "answers", frozenset({"group:staff"}))

        assert shown(staff) == "••••, •••• and ••"
        assert await now(book, "another") == "••••, heck and ••"

    async def test_are_compiled_to_the_end_while_streams_of_other_upstreams_begin(
        self, book: Rulebook, compiling: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rulebook, "MAX_CHANGED", 0)  # the edition in use is the one that was compiled as a whole
        for pattern in ("darn", "one", "two"):
            await rules.acreate(pattern=pattern)
        await now(book)
        with compiled_elsewhere(monkeypatch) as is_compiling:
            compiling.clear()
            await rules.acreate(pattern="heck")
            await book.refresh()
            await asyncio.to_thread(is_compiling.wait, DEADLINE)

        for upstream in ("another", "a third"):
            assert await now(book, upstream) == "••••, heck and 中文"
        compiling.set()
        await asyncio.wrap_future(book._loading)

        assert book.version == await sync_to_async(rules.version)()

    async def test_let_no_stream_wait(self, book: Rulebook, compiling: threading.Event) -> None:
        for pattern in ("darn", "one", "two"):
            await rules.acreate(pattern=pattern)
        await now(book)
        compiling.clear()
        await rules.all().aupdate(action="drop")

        with nothing_asked(book):
            assert await now(book) == "••••, heck and 中文"

    async def test_have_what_was_changed_in_another_worker_before_a_stream_asks(
        self, compiling: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rulebook, "FRESH_SECONDS", 0.05)
        book = Rulebook()
        for pattern in ("darn", "one", "two"):
            await rules.acreate(pattern=pattern)
        await now(book)
        compiling.clear()

        await rules.acreate(pattern="heck")

        await has_the_latest(book)
        assert await now(book) == "••••, •••• and 中文"

    async def test_are_taken_as_a_whole_when_very_many_were_changed(
        self, book: Rulebook, compiling: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rulebook, "MAX_CHANGED", 0)
        for pattern in ("darn", "one", "two"):
            await rules.acreate(pattern=pattern)
        await now(book)
        compiling.clear()
        await rules.acreate(pattern="heck")

        assert await now(book) == "••••, heck and 中文"
        compiling.set()
        await eventually(book, "••••, •••• and 中文")


@contextmanager
def compiled_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Gives what is set once the thread for whole editions compiles one."""
    compile_, is_compiling = compiled_edition.RuleSet, threading.Event()

    def noted(rules: Any, **more: Any) -> RuleSet:
        if threading.current_thread().name.startswith("rulebook-loader"):
            is_compiling.set()
        return compile_(rules, **more)

    with monkeypatch.context() as patch:
        patch.setattr(compiled_edition, "RuleSet", noted)
        yield is_compiling


@contextmanager
def nothing_asked(book: Rulebook) -> Iterator[None]:
    """Meanwhile the database does not answer the rulebook."""
    answers = threading.Event()
    book._executor.submit(answers.wait, DEADLINE)
    try:
        yield
    finally:
        answers.set()


async def has_the_latest(book: Rulebook) -> None:
    """Returns once the edition in use is the database's, whether it was compiled as a whole or extended."""
    await holds(lambda: book.version == rules.version())


async def eventually_compiled(book: Rulebook) -> None:
    """Returns once the latest edition has been compiled as a whole."""
    await holds(lambda: book._full is not None and book._full.version == rules.version())


async def holds(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not await sync_to_async(condition)():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def eventually(book: Rulebook, text: str, seconds: float = DEADLINE) -> None:
    deadline = time.monotonic() + seconds
    while (shown_now := await now(book)) != text:
        assert time.monotonic() < deadline, shown_now
        book.invalidate()  # SQLite in memory may have been locked, and this clock stands still
        await asyncio.sleep(0.01)


async def test_the_rulebook_compiles_only_for_what_rules_mention() -> None:
    rule_list = await RuleList.objects.acreate(name="staff only", only_for=["group:staff"])
    await ModerationRule.objects.acreate(pattern="everywhere")
    await ModerationRule.objects.acreate(pattern="model", only_for=["model:a"])
    await ModerationRule.objects.acreate(pattern="listed", rule_list=rule_list)
    rulebook = Rulebook()

    async def patterns(*audience: str) -> set[str]:
        found = await rulebook.current("up", "answers", frozenset(audience))
        return {rule.pattern for rule in found.rule_set.rules}

    assert await patterns() == {"everywhere"}
    assert await patterns("model:a") == {"everywhere", "model"}
    assert await patterns("model:a", "group:staff") == {"everywhere", "model", "listed"}
    for number in range(50):
        assert await patterns(f"model:{number}", f"key:ann/{number}") == {"everywhere"}
    assert rulebook._edition
    assert len(rulebook._edition.rule_sets) == 3
    assert rulebook.mentions("group")
    assert not rulebook.mentions("key")

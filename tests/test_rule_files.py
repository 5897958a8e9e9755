"""Reading rules from word lists, CSV and AutoMod JSON; errors have line numbers."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils.translation import override
from hypothesis import given
from hypothesis import strategies as st

from streaming.models import ModerationRule
from streaming.moderation import ACTIONS, COMPARES, Hit, Moderator, RuleSet
from streaming.rule_files import COLUMNS, MAX_BYTES, FileError, ParsedFile, Row, find_problem, read, write_csv
from streaming.rule_files.columns import guessed_field_of, value_of


def patterns(reading: ParsedFile) -> list[str]:
    return [row.pattern for _, row in reading.rows]


def refused(reading: ParsedFile) -> list[tuple[int, str]]:
    return [(refusal.line, refusal.reason) for refusal in reading.refused]


class TestAWordList:
    def test_has_one_word_on_each_line_and_comments(self) -> None:
        reading = read("# 脏话\ndarn\n\n  坏话  \r\n# more\nC# and F#\n".encode())

        assert [(line, row.pattern) for line, row in reading.rows] == [(2, "darn"), (4, "坏话"), (6, "C# and F#")]
        assert reading.file_format == "words"

    def test_can_have_several_words_on_a_line(self) -> None:
        assert patterns(read("a,b、c；d|e，f\ng h".encode())) == ["a", "b", "c", "d", "e", "f", "g h"]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
    def test_is_read_in_its_encoding(self, encoding: str) -> None:
        reading = read("# 一些词\n坏话、垃圾广告\ndarn".encode(encoding))

        assert patterns(reading) == ["坏话", "垃圾广告", "darn"]
        assert reading.refused == []

    def test_takes_other_fields_from_the_defaults(self) -> None:
        reading = read(b"darn", {"action": "block", "category": "x"})

        assert reading.rows == [(1, Row("darn", action="block", category="x"))]

    def test_refuses_a_repeated_word(self) -> None:
        reading = read(b"a\nb\na\n")

        assert patterns(reading) == ["a", "b"]
        assert refused(reading) == [(3, "The same rule is on line 1.")]

    def test_can_be_empty(self) -> None:
        assert read(b"").rows == read(b"# nothing\n\n").rows == []

    def test_can_begin_like_json(self) -> None:
        assert patterns(read(b"[spam]\nok")) == ["[spam]", "ok"]


class TestCsv:
    def test_needs_only_the_column_pattern(self) -> None:
        assert read(b"pattern\ndarn\nheck\n").rows == [(2, Row("darn")), (3, Row("heck"))]

    def test_has_a_column_for_every_field(self) -> None:
        head = ",".join(COLUMNS).replace("match_check", "check")
        row = (
            r'"a, (b+)",regex,replace,[x],yes,c,-3,exact,1,luhn,match,yes,one|two,model:a|group:g,'
            'prompts,no,2026-01-31 18:00,2026-02-01T12:00+08:00,"n\nm"'
        )

        (found,) = read(f"{head}\n{row}\n".encode()).rows

        how = ("exact", 1, "luhn", "match", True)
        said = ("a, (b+)", "regex", "replace", "[x]", True, "c", -3, *how)
        where = (("one", "two"), ("model:a", "group:g"), "prompts", False)
        times = (datetime(2026, 1, 31, 18, tzinfo=UTC), datetime(2026, 1, 31, 18, tzinfo=UTC))
        assert found == (3, Row(*said, *where, times[0], times[1] + timedelta(hours=10), "n\nm"))

    def test_with_the_old_columns_exact_and_squeeze_is_still_read(self) -> None:
        reading = read(b"pattern,exact,squeeze,kind\na,true,\nb,,yes\nc,yes,yes\nd,no,0\ne+,,yes,regex\n")

        assert [row.compare for _, row in reading.rows] == ["exact", "loose", "exact", "normal", "normal"]
        assert reading.columns == ("pattern", "kind", "compare")
        assert reading.refused == []

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_is_recognized_by_its_header_in_any_order_and_case(self, delimiter: str) -> None:
        text = f"# exported\n\nAction{delimiter}Pattern\nblock{delimiter}darn\n{delimiter}heck\n"

        assert [(row.pattern, row.action) for _, row in read(text.encode()).rows] == [
            ("darn", "block"),
            ("heck", "mask"),
        ]

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            (",literal,mask,,", "The pattern is empty."),
            ("a,glob,mask,,", "kind: “glob” is not one of literal, regex."),
            ("a,literal,hide,,", "action: “hide” is not one of mask, replace, drop, block, flag, allow."),
            ("a,literal,mask,high,", "priority: “high” is not a whole number."),
            ("a,literal,mask,99999999999,", "The priority is out of range."),
            ("a,literal,mask,,tomorrow", "valid_until: “tomorrow” is not a time like 2026-01-31 18:00."),
            (
                "a,literal,mask,,0001-01-01T00:00+14:00",
                "valid_until: “0001-01-01T00:00+14:00” is not a time like 2026-01-31 18:00.",
            ),
            (
                "a,literal,mask,,9999-12-31T23:00-14:00",
                "valid_until: “9999-12-31T23:00-14:00” is not a time like 2026-01-31 18:00.",
            ),
            ("a,literal,mask,,,,x", "There are 7 cells but only 5 columns."),
            ("(a,regex,mask,,", "At character 1: the ( is not closed."),
            (
                "(a)\\1,regex,mask,,",
                "At character 4: a back-reference is not possible in a stream; write out what it repeats.",
            ),
            (
                ".*a,regex,mask,,",
                "It begins with an unbounded gap, so all text would be held back; leave the gap out: a match may begin "
                "anywhere.",
            ),
            ("x" * 5000 + ",literal,mask,,", "The pattern has 5000 characters; the maximum is 4096."),
        ],
    )
    def test_reports_an_invalid_row_with_its_line_and_reads_the_rest(self, row: str, reason: str) -> None:
        reading = read(f"pattern,kind,action,priority,valid_until\ngood,,,,\n{row}\nfine,,,,\n".encode())

        assert refused(reading) == [(3, reason)]
        assert patterns(reading) == ["good", "fine"]

    @pytest.mark.parametrize("column", ["upstreams", "only_for"])
    def test_refuses_a_nul_in_a_list_of_names(self, column: str) -> None:
        reading = read(f"pattern,{column}\na,model:x\0y\nb,model:z\nc,\n".encode())

        assert refused(reading) == [(2, f"The {column} contains a NUL character.")]

    def test_refuses_a_rule_with_an_empty_period(self) -> None:
        reading = read(b"pattern,valid_from,valid_until\na,2026-02-01,2026-01-01\n")

        assert refused(reading) == [(2, "valid_until has to be later than valid_from.")]

    def test_names_the_line_with_other_values_of_the_same_rule(self) -> None:
        reading = read(b"pattern,category\na,one\na,two\na,one\n")

        assert refused(reading) == [
            (3, "Line 2 has the same pattern with other values."),
            (4, "The same rule is on line 2."),
        ]

    def test_is_refused_as_a_whole_if_a_column_is_there_twice(self) -> None:
        with pytest.raises(FileError, match="The column “note” appears twice"):
            read(b"pattern,note,note\n")

    @pytest.mark.parametrize(
        ("text", "line", "words"),
        [
            ('pattern,note\na,1\n"b,2\nc,3\n', 3, "Is a closing quotation mark missing?"),
            ('pattern,note\na,1\n"b"x,2\nc,3\n', 3, "Is a closing quotation mark missing?"),
            ("pattern,note\na,1\n" + "x" * 1_000_000 + ",2\nc,3\n", 3, "field larger than field limit"),
        ],
    )
    def test_refuses_a_line_that_is_no_csv_and_reads_the_others(self, text: str, line: int, words: str) -> None:
        reading = read(text.encode())

        assert patterns(reading) == ["a", "c"]
        ((at, reason),) = refused(reading)
        assert (at, words in reason) == (line, True)

    def test_with_quotation_marks_open_everywhere_is_given_up(self) -> None:
        with pytest.raises(FileError, match="Is a closing quotation mark missing"):
            read(("pattern,note\n" + '"a,b\nc,d\n' * 20_000 + '"').encode())


class TestAutoMod:
    def make(self, **metadata: Any) -> bytes:
        rule = {"id": "1", "name": "Bad words", "trigger_type": 1, "trigger_metadata": metadata, "enabled": True}
        return json.dumps([rule], indent=2).encode()

    @pytest.mark.parametrize(
        ("keyword", "text", "found"),
        [
            ("cat", "cat catalog tomcat", ["cat"]),
            ("cat*", "Cat catalog tomcat", ["Cat", "catalog"]),
            ("*cat", "cat catalog tomcat", ["cat", "tomcat"]),
            ("*cat*", "cat catalog tomcat", ["cat", "cat", "cat"]),
            ("c.t*", "c.tx cat", ["c.tx"]),
            ("кот*", "коты скот", ["коты"]),
            ("猫*", "小猫咪", ["猫"]),
            ("bad cat", "a bad cat, a bad catalog", ["bad cat"]),
        ],
    )
    def test_keywords_match_as_in_discord(self, keyword: str, text: str, found: list[str]) -> None:
        ((_, row),) = read(self.make(keyword_filter=[keyword])).rows

        moderator = Moderator(RuleSet([row.as_rule(1)]))
        outcomes = [*moderator.feed(text), *moderator.finish()]
        assert [text[each.start : each.end] for each in outcomes if isinstance(each, Hit)] == found

    def test_has_an_allow_list_and_regexes(self) -> None:
        reading = read(
            self.make(keyword_filter=["*cat*"], allow_list=["catalog"], regex_patterns=["c[ao]t+", "^x", "x(?=yz)"])
        )

        rows = [(row.pattern, row.kind, row.action, row.whole_word) for _, row in reading.rows]
        assert rows == [
            ("cat", "literal", "mask", False),
            ("catalog", "literal", "allow", True),
            ("c[ao]t+", "regex", "mask", False),
            ("^x", "regex", "mask", False),
        ]
        assert [row.note for _, row in reading.rows] == ["Discord AutoMod: Bad words"] * 4
        assert [refusal.text for refusal in reading.refused] == ["x(?=yz)"]

    def test_gives_the_line_of_each_word(self) -> None:
        data = self.make(keyword_filter=["one", "坏话", "three", 4, "*"])
        lines = data.decode().split("\n")

        reading = read(data)

        assert [lines[line - 1].strip(' ",') for line, _ in reading.rows] == ["one", "\\u574f\\u8bdd", "three"]
        assert [refusal.reason for refusal in reading.refused] == ["This is not a word."] * 2

    def test_refuses_rules_without_words(self) -> None:
        reading = read(
            json.dumps({"name": "Presets", "trigger_type": 4, "trigger_metadata": {"presets": [1]}}).encode()
        )

        assert refused(reading) == [(1, "Discord rules of the type “keyword_preset” contain no words.")]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{\n  oops", "This is not valid JSON"),
            ('{"a":' * 100_000, "too deep"),
            ('{"a": 1}', "This JSON has none of the forms that can be read"),
        ],
    )
    def test_is_refused_if_it_is_other_json(self, text: str, words: str) -> None:
        with pytest.raises(FileError, match=words):
            read(text.encode())


class TestABadLine:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (
                "一\n二\n三".encode() + b"\xff" + "四\n五\n".encode(),
                "It contains bytes that are not text in the file’s",
            ),
            ("一\n二\n三".encode("gbk") + b"\xff" + "四\n五\n".encode("gbk"), "It contains bytes that are not text"),
            ("一\n二\n三".encode("utf-16") + b"\0\xd8" + "四\n五\n".encode("utf-16")[2:], "bytes that are not text"),
            ("一\n二\n三\x01\n五\n".encode(), "It contains the control character U+0001."),
            ("一\n二\n三\0\n五\n".encode(), "The pattern contains a NUL character."),
        ],
    )
    def test_is_refused_and_the_others_are_read(self, data: bytes, reason: str) -> None:
        reading = read(data)

        assert patterns(reading) == ["一", "二", "五"]
        ((line, said),) = refused(reading)
        assert (line, reason in said) == (3, True)


class TestAFileThatIsNotText:
    @pytest.mark.parametrize(
        ("data", "line"),
        [
            (b"\x89PNG\r\n\x1a\n\x00\x00", 1),
            (b"a\n\x80\x00\x81\n\xff\xfe\xfd\n\x00\x01", 2),
            ("一\n二".encode("utf-16-le"), 1),
            ("one\ntwo".encode("utf-32"), 1),
            (b"caf\xe9\n\xff\n", 1),
        ],
    )
    def test_is_refused_with_the_line_of_its_first_binary_byte(self, data: bytes, line: int) -> None:
        with pytest.raises(FileError, match="This is not a text file") as error:
            read(data)

        assert error.value.line == line

    def test_can_be_a_workbook(self) -> None:
        with pytest.raises(FileError, match=r"save the table as CSV \(UTF-8\)"):
            read(b"PK\x03\x04\x14\0\0\0")

    def test_can_be_too_large(self) -> None:
        with pytest.raises(FileError, match="The file has 51 MB; at most 20 MB can be read"):
            read(b"x" * 50_000_001)

        assert MAX_BYTES == 20_000_000


TEXTS = st.text("'=+-@\t\r\n") | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
ROWS = st.builds(
    Row,
    pattern=st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=20),
    kind=st.just("literal"),
    action=st.sampled_from(ACTIONS),
    replacement=TEXTS,
    whole_word=st.booleans(),
    category=TEXTS,
    priority=st.integers(-(2**31), 2**31 - 1),
    compare=st.sampled_from(COMPARES),
    upstreams=st.lists(st.text("abc-_.", min_size=1), unique=True).map(tuple),
    applies_to=st.sampled_from(["both", "prompts", "answers"]),
    enabled=st.booleans(),
    valid_from=st.none() | st.datetimes(max_value=datetime(2020, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    valid_until=st.none() | st.datetimes(min_value=datetime(2021, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    note=TEXTS,
)


@given(st.lists(ROWS.filter(lambda row: not find_problem(row)), max_size=5, unique_by=lambda row: row.key))
def test_writing_and_reading_gives_the_same_rows(rows: list[Row]) -> None:
    data = "".join(write_csv(rows)).encode("utf-8-sig")

    reading = read(data)

    assert [row for _, row in reading.rows] == rows
    assert reading.refused == []


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1", "'tis", "''", "＝1", "=cmd|' /C calc'!A0"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_written_cell_is_a_formula_and_reading_gives_the_same_text(text: str) -> None:
    rows = [Row(text, replacement=text, category=text, upstreams=(text.strip().replace("|", ""),), note=text)]
    written = "".join(write_csv(rows))

    cells = list(csv.reader(io.StringIO(written, newline="")))[1]

    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))]
    assert [row for _, row in read(written.encode()).rows] == rows


def test_an_apostrophe_written_by_others_is_kept() -> None:
    assert patterns(read(b"pattern\n'tis\n'quoted'\n''\n")) == ["'tis", "'quoted'", "''"]


@pytest.mark.parametrize(
    ("data", "pattern"),
    [
        ("pattern;action\nmüll;mask\nstraße;mask\n".encode("windows-1252"), "müll"),
        ("pattern;action\ncoño;mask\nniñería;block\n".encode("windows-1252"), "coño"),
        ("pattern,action\n坏词,mask\n".encode("gbk"), "坏词"),
        ("pattern,action\n朱镕基,mask\n".encode("gbk"), "朱镕基"),
    ],
)
def test_a_table_from_a_western_spreadsheet_is_not_read_as_chinese(data: bytes, pattern: str) -> None:
    assert read(data).rows[0][1].pattern == pattern


def test_the_line_in_which_excel_says_the_separator_is_no_row() -> None:
    for line in ("sep=;\r\n", "SEP=;\n"):
        reading = read(f"{line}pattern;action\na,b;block\n".encode())

        assert [(number, row.pattern, row.action) for number, row in reading.rows] == [(3, "a,b", "block")]
        assert not reading.questions


def test_values_may_be_in_the_language_of_the_table() -> None:
    table = "词语或模式,动作,比较方式,整词,启用\n坏词,阻断,宽松,否,是\nbad,遮盖,精确,是,否\n"
    german = "pattern;whole_word;enabled\nschlimm;WAHR;nein\n"

    rows = [row for _line, row in read(table.encode()).rows]

    assert [(row.pattern, row.action, row.compare, row.whole_word, row.enabled) for row in rows] == [
        ("坏词", "block", "loose", False, True),
        ("bad", "mask", "exact", True, False),
    ]
    [(_line, row)] = read(german.encode()).rows
    assert (row.whole_word, row.enabled) == (True, False)


def test_tables_may_use_all_words_of_the_chinese_admin() -> None:
    with override("zh-hans"):
        names = {
            field: str(ModerationRule._meta.get_field(field).verbose_name) for field in ("pattern", "kind", "action")
        }
        choices = [*ModerationRule.Kind.choices, *ModerationRule.Action.choices, *ModerationRule.Compare.choices]
        shown = {value: str(label).partition("：")[0] for value, label in choices}

    assert {guessed_field_of(name): name for name in names.values()} == names
    assert {value_of(label): label for label in shown.values()} == shown

"""Parses JSON, YAML and TOML into lists, dicts and texts that know their lines, within bounds of size and depth."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import yaml
from django.utils.translation import gettext as _

from streaming.rule_files.decoding import UNREADABLE
from streaming.rule_files.rows import FileError

MAX_DEPTH = 40
MAX_YAML_CHARS = 8_000_000
MAX_TOML_CHARS = 2_000_000
MAX_NODES = 1_000_000
"""Values in a document; of an alias all that it stands for counts again."""


_HALF = re.compile("[\ud800-\udfff]")
"""Half of a pair of surrogates, which JSON and YAML can write, and which can be neither stored nor sent."""


class TextAt(str):
    """A text of a document, and the line on which it is."""

    __slots__ = ("line",)

    line: int

    @classmethod
    def at(cls, line: int, text: str) -> TextAt:
        made = cls(text if text.isascii() else _HALF.sub(UNREADABLE, text))
        made.line = line
        return made


def line_of(value: Any, otherwise: int = 1) -> int:
    """The line of a text, or of the first text in a list or dict."""
    for _depth in range(MAX_DEPTH):
        if isinstance(value, TextAt):
            return value.line
        if isinstance(value, dict) and value:
            value = next(iter(value))
        elif isinstance(value, list) and value:
            value = value[0]
        else:
            break
    return otherwise


# --- JSON


class _Pairs(list[tuple[str, Any]]):
    """An object as pairs, so that a key that occurs twice is there twice, as in the text."""


_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def parse_json(text: str) -> Any:
    """FileError with the line if it is not JSON."""
    try:
        data = json.loads(text, object_pairs_hook=_Pairs)
    except RecursionError:
        raise FileError(_("The JSON is nested too deeply.")) from None
    except ValueError as error:  # also a number of too many digits
        reason = getattr(error, "msg", _("a number is too long"))
        raise FileError(_("This is not valid JSON: %s.") % reason, getattr(error, "lineno", None)) from error
    if text.count(",") > MAX_NODES:
        raise FileError(_("The JSON has more than %d values.") % MAX_NODES)
    return _with_lines(data, _lines_of_strings(text), 0)


def _lines_of_strings(text: str) -> Iterator[int]:
    line, at = 1, 0
    for found in _JSON_STRING.finditer(text):
        line += text.count("\n", at, found.start())
        at = found.start()
        yield line


def _with_lines(value: Any, lines: Iterator[int], depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise FileError(_("The JSON is nested too deeply."))
    if isinstance(value, str):
        return TextAt.at(next(lines), value)
    if isinstance(value, _Pairs):
        return {TextAt.at(next(lines), key): _with_lines(part, lines, depth + 1) for key, part in value}
    if isinstance(value, list):
        return [_with_lines(part, lines, depth + 1) for part in value]
    return value


# --- YAML


def parse_yaml(text: str) -> Any:
    """The first document, with every scalar as text: in a list of words, ``no`` and ``1984`` are words.

    It is built from the parser's events, so nothing in the file can name a Python type, and aliases are counted.
    """
    if len(text) > MAX_YAML_CHARS:
        raise FileError(
            _("The %(format)s has more than %(most)d characters.") % {"format": "YAML", "most": MAX_YAML_CHARS}
        )
    try:
        return _YamlBuilder().build(text)
    except yaml.YAMLError as error:
        raise _yaml_error(error) from error


def _yaml_error(error: yaml.YAMLError) -> FileError:
    mark = vars(error).get("problem_mark")
    reason = vars(error).get("problem") or vars(error).get("reason") or error
    return FileError(_("This is not valid YAML: %s.") % reason, mark.line + 1 if mark else None)


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _YamlBuilder:
    def __init__(self) -> None:
        self._open: list[tuple[Any, str | None]] = []
        """The lists and dicts that are not closed yet, each with the name of its anchor."""
        self._keys: list[Any] = []
        """For each of them, the key that waits for its value."""
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._begun: list[int] = []
        self._nodes = 0
        self._root: Any = None

    def build(self, text: str) -> Any:
        event: Any
        for event in yaml.parse(text, Loader=_Loader):
            match event:
                case yaml.ScalarEvent():
                    value: Any = TextAt.at(_line(event), event.value)
                    self._count(1, event)
                    self._anchor(event.anchor, value, 1)
                    self._add(value, event)
                case yaml.AliasEvent():
                    if event.anchor not in self._anchors:
                        raise FileError(_("The alias *%s stands for nothing before it.") % event.anchor, _line(event))
                    value, size = self._anchors[event.anchor]
                    self._count(size, event)
                    self._add(value, event)
                case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                    self._begin([] if isinstance(event, yaml.SequenceStartEvent) else {}, event)
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    self._end(event)
                case yaml.DocumentEndEvent():
                    return self._root
        return self._root

    def _count(self, nodes: int, event: Any) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise FileError(
                _("The YAML stands for more than %d values; are its aliases nested?") % MAX_NODES, _line(event)
            )

    def _anchor(self, name: str | None, value: Any, size: int) -> None:
        if name:
            self._anchors[name] = value, size

    def _begin(self, value: Any, event: Any) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise FileError(_("The YAML is nested too deeply."), _line(event))
        self._count(1, event)
        self._open.append((value, event.anchor))
        self._keys.append(None)
        self._begun.append(self._nodes - 1)

    def _end(self, event: Any) -> None:
        value, anchor = self._open.pop()
        self._keys.pop()
        self._anchor(anchor, value, self._nodes - self._begun.pop())
        self._add(value, event)

    def _add(self, value: Any, event: Any) -> None:
        if not self._open:
            self._root = value
            return
        parent = self._open[-1][0]
        if isinstance(parent, list):
            parent.append(value)
        elif self._keys[-1] is None:
            if not isinstance(value, str):
                raise FileError(_("A name in the YAML is not a text."), _line(event))
            self._keys[-1] = value
        else:
            parent[self._keys[-1]] = value
            self._keys[-1] = None


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


# --- TOML


def parse_toml(text: str) -> Any:
    if len(text) > MAX_TOML_CHARS:
        raise FileError(
            _("The %(format)s has more than %(most)d characters.") % {"format": "TOML", "most": MAX_TOML_CHARS}
        )
    if _LONG_KEY.search(text):
        # For them tomllib takes time that grows with the square of their length.
        raise FileError(_("The TOML is nested too deeply."))
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise FileError(_("The TOML is nested too deeply.")) from None
    except ValueError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        reason = re.sub(r" \(at .*\)$", "", str(error))
        raise FileError(_("This is not valid TOML: %s.") % reason, int(found[1]) if found else None) from error
    return _TomlLines(text).located(data, 0)


_LONG_KEY = re.compile(r"""(?:["'\w-]{1,64}[ \t]*\.[ \t]*){40}""")


class _TomlLines:
    """Finds the lines of texts; TOML's tables are in the order of the text, apart from those that are continued."""

    _REACH = 20_000

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1

    def located(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise FileError(_("The TOML is nested too deeply."))
        if isinstance(value, str):
            return TextAt.at(self._find(value), value)
        if isinstance(value, dict):
            return {TextAt.at(self._find(key), key): self.located(part, depth + 1) for key, part in value.items()}
        if isinstance(value, list):
            return [self.located(part, depth + 1) for part in value]
        return value

    def _find(self, value: str) -> int:
        wanted = value.split("\n", 1)[0]
        escaped = json.dumps(wanted, ensure_ascii=False)[1:-1]
        reach = self._at + self._REACH
        found = [at for at in (self._text.find(form, self._at, reach) for form in (wanted, escaped)) if at >= 0]
        if wanted and found:
            self._line += self._text.count("\n", self._at, min(found))
            self._at = min(found)
        return self._line

"""What the columns of a table, or the keys of objects, may be called."""

from __future__ import annotations

from collections.abc import Iterable

from streaming.rule_files.questions import SKIPPED
from streaming.rule_files.rows import COLUMNS

FIELD_OF = {"check": "match_check", "list": "rule_list"}
"""The columns of our own files that are not named like their fields."""

OLD_COLUMNS = {"exact": "exact", "squeeze": "loose"}
"""Columns of older files, and the value of ``compare`` that each means where it is true."""

_OTHER_NAMES = {
    "pattern": "word words term terms keyword keywords phrase text string value entry token match content "
    "词 词语 词汇 敏感词 关键词 关键字 违禁词 屏蔽词 违规词 单词 内容",
    "category": "categories type class topic group_name label tag tags 分类 类别 类型 标签",
    "note": "notes comment comments description reason remark source 备注 说明 描述 注释 来源",
    "replacement": "replace replace_with substitute substitution 替换 替换为 替代",
    "action": "actions treatment 动作 操作 处理 处理方式",
    "priority": "weight 优先级 权重",
    "enabled": "active 启用 是否启用",
    "rule_list": "list_name 列表",
}
_FIELDS = {name: field for field, names in _OTHER_NAMES.items() for name in names.split()}


def field_of(name: str) -> str:
    """The field that a column of this name is in our own files; SKIPPED if it is in none."""
    name = name.strip().strip('"').lower()
    name = FIELD_OF.get(name, name)
    return name if name in COLUMNS or name in OLD_COLUMNS else SKIPPED


def guessed_field_of(name: str) -> str:
    """Like ``field_of``, or else the field that a column of this name probably is."""
    return field_of(name) or _FIELDS.get(name.strip().strip('"').lower(), SKIPPED)


def guesses(names: Iterable[str]) -> tuple[str, ...]:
    """The guess for each column; each field once."""
    found: list[str] = []
    for name in names:
        guess = guessed_field_of(name)
        found.append(SKIPPED if guess in found else guess)
    return tuple(found)

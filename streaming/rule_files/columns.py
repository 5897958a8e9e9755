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
    "词 词语 词语或模式 词汇 敏感词 关键词 关键字 违禁词 屏蔽词 违规词 单词 内容",
    "category": "categories type class topic group_name label tag tags 分类 类别 类型 标签",
    "note": "notes comment comments description reason remark source 备注 说明 描述 注释 来源",
    "replacement": "replace replace_with substitute substitution 替换 替换为 替代",
    "action": "actions treatment 动作 操作 处理 处理方式",
    "priority": "weight 优先级 权重",
    "enabled": "active 启用 是否启用",
    "rule_list": "list_name 列表",
    "kind": "种类",
    "compare": "comparison 比较方式",
    "whole_word": "whole 整词 全词",
    "applies_to": "适用于",
    "valid_from": "生效时间",
    "valid_until": "失效时间",
}
_FIELDS = {name: field for field, names in _OTHER_NAMES.items() for name in names.split()}


_VALUES = {
    "mask": "masked 遮盖 遮蔽 屏蔽 打码",
    "replace": "replaced 替换",
    "drop": "delete remove 删除",
    "block": "blocked stop reject 阻断 拦截 阻止 禁止",
    "flag": "flagged review 标记",
    "allow": "allowed whitelist 放行 允许 白名单",
    "literal": "word phrase 词语 词语或短语 短语",
    "regex": "regexp pattern 正则 正则表达式",
    "normal": "普通 一般 常规",
    "exact": "精确",
    "loose": "宽松",
    "both": "提问和回答",
    "prompts": "prompt 提问",
    "answers": "answer 回答",
    "true": "1 yes y on x wahr ja vrai oui verdadero sí 是 真",
    "false": "0 no n off falsch nein faux non falso 否 假",
}
_VALUE_OF = {name: value for value, names in _VALUES.items() for name in names.split()}


def value_of(cell: str) -> str:
    """What a cell says in the words of our own files: spreadsheets and people write their own language."""
    word = cell.strip().lower()
    return _VALUE_OF.get(word, word)


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

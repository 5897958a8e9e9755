"""Exact moderation of a text that arrives in pieces. Pure: no clock, no Django, no event loop.

The words of this package, with the text ``da**rn** it``, the rule ``darn`` and its action ``mask``:

* medium: how the client will read the text: ``markdown``, ``json`` or ``plain``. Here Markdown: ``**`` is not seen.
* sign: a piece of syntax that stands for a character or for nothing: ``**``, ``&#97;``, ``\\u0061``.
* letter and symbol: a character with its marks is a letter; a letter folded (case, width, accents) is a symbol. Rules
  compare symbols.
* reading: a way to turn raw text into symbols, each with its span: ``d a r n _ i t``; ``r`` is from raw 4 to 5. Exact,
  normal and loose rules use different readings of the same text. What a reading gave is a spelling of the text.
* automaton, plan and scanner: all words, or all regular expressions, compiled for one reading; all automata of a rule
  set; and the state of one automaton in one text.
* window: the raw text that is not decided yet, and as much before it as may be examined again.
* match and hit: a place where a pattern fits (raw 0 to 6: ``da**rn``); a match that counts, after overlaps, allow rules
  and priorities. The output is ``••**••** it``: what was ignored is kept.
"""

from streaming.moderation.all_of import MAX_RULES as MAX_BOTH_OF
from streaming.moderation.all_of import WITHIN, both_of
from streaming.moderation.explaining import Explainer, Explanation
from streaming.moderation.loose_words import MAX_SEPARATORS
from streaming.moderation.moderator import MASK, Hit, Moderator, Outcome, RuleSet, Text, check_mask
from streaming.moderation.readings import MEDIA, Medium
from streaming.moderation.rule_messages import Remark
from streaming.moderation.rules import (
    ACTIONS,
    COMPARES,
    KINDS,
    MAX_SPAN,
    OVERFLOWS,
    Action,
    Compare,
    Kind,
    Overflow,
    Rule,
    RuleError,
    compile_rule,
)
from streaming.moderation.validators import CHECKS

__all__ = [
    "ACTIONS",
    "CHECKS",
    "COMPARES",
    "KINDS",
    "MASK",
    "MAX_BOTH_OF",
    "MAX_SEPARATORS",
    "MAX_SPAN",
    "MEDIA",
    "OVERFLOWS",
    "WITHIN",
    "Action",
    "Compare",
    "Explainer",
    "Explanation",
    "Hit",
    "Kind",
    "Medium",
    "Moderator",
    "Outcome",
    "Overflow",
    "Remark",
    "Rule",
    "RuleError",
    "RuleSet",
    "Text",
    "both_of",
    "check_mask",
    "compile_rule",
]

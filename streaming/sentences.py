"""What the engine says of a rule, in the reader's language: the engine itself knows English only."""

from __future__ import annotations

import re

from django.utils.translation import gettext, gettext_noop

# Each as the engine says it, with %s where it says a number, a name or a character.
SENTENCES = [
    gettext_noop("The kind is %s; it may be %s."),
    gettext_noop("The action is %s; it may be %s."),
    gettext_noop("The pattern is empty."),
    gettext_noop("Squeeze is for words; in a regex write a+ where a may be repeated."),
    gettext_noop("The pattern has only marks and invisible characters, which are not compared."),
    gettext_noop("The pattern is %s characters long; a match has at most %s."),
    gettext_noop("It matches nothing but the empty text."),
    gettext_noop("It matches the empty text, which is everywhere; let it need one character at least."),
    gettext_noop("It begins with an unbounded gap, so all text would be held back; leave the gap out."),
    gettext_noop("Its shortest match has %s characters; a match has at most %s."),
    gettext_noop("It can go on in too many ways: let less of it be optional inside a repetition."),
    gettext_noop("A match is cut at %s characters."),
    gettext_noop("At character %s: %s."),
    gettext_noop("the ) closes nothing"),
    gettext_noop("the ( is not closed"),
    gettext_noop("the [ is not closed"),
    gettext_noop("the groups are nested more than %s deep"),
    gettext_noop("%s is an anchor, and a stream has neither lines nor an end; write %s"),
    gettext_noop("%s is an anchor, which streams cannot have: tick 'whole word' instead"),
    gettext_noop("%s is an anchor, which streams cannot have"),
    gettext_noop("there is nothing that %s could repeat; write %s"),
    gettext_noop("%s is look-around, which streams cannot have"),
    gettext_noop("%s is a back-reference, which streams cannot have"),
    gettext_noop("a back-reference is not possible in a stream"),
    gettext_noop("this kind of group is not known"),
    gettext_noop("%s counts backwards"),
    gettext_noop("%s repeats more than %s times"),
    gettext_noop("possessive repetition is not known"),
    gettext_noop("the repetitions multiply to too many characters"),
    gettext_noop("a \\ at the end escapes nothing"),
    gettext_noop("after \\p belongs a class, as in \\p{Han} or \\pL"),
    gettext_noop("%s is not known; there are Han and general categories (L, Lu, Nd ...)"),
    gettext_noop("after \\x belong two hexadecimal digits, or a code point in braces"),
    gettext_noop("the range %s runs backwards"),
    gettext_noop("%s is not known"),
]

_KNOWN = [(re.compile("(.+?)".join(map(re.escape, each.split("%s"))), re.DOTALL), each) for each in SENTENCES]


def translated(sentence: str) -> str:
    """The sentence in the language of this moment; as it is if it is none of those above."""
    for pattern, template in _KNOWN:
        if found := pattern.fullmatch(sentence):
            parts = [translated(part) if " " in part else part for part in found.groups()]
            return _filled(gettext(template), parts)
    return sentence


def _filled(template: str, parts: list[str]) -> str:
    # Not by %, since a sentence may have a % of its own; a translation may not change the order.
    first, *rest = template.split("%s")
    return first + "".join(part + after for part, after in zip(parts, rest, strict=True))

r"""Answers: what a final answer in LaTeX or plain text says, once it is in one spelling (spelling.py).

    "(\frac{1}{2}, 3 )"  -- read -->  ("()", ("number", "\frac{1}{2}"), ("number", "3"))

It is read from the outside in: lists, labels, relations, brackets, matrices, ratios, units; what is left is
an expression, and has a value. So `read` gives

    ("number", expression)      ("text", words)      ("unit", unit, x)
    ("named" or "relation", sign, left, right)       ("set" or "list", x, ...)
    ("(]", x, ...) for tuples and intervals          ("matrix", ("row", x, ...), ...)
    ("ratio", text, ("()", x, ...)) with each part over the first

The text is a model's and is not to be trusted: length, depth and number of items are bounded.

See it: python -m pytest tests/test_verifier.py
"""

import re
from itertools import accumulate

from t1mini.answers.expressions import (NAMES, UNITS, NotMathematics, canonical_unit, is_variable, same_value,
                                        values)
from t1mini.answers.spelling import LONGEST, normalise

DEEPEST, MOST_ITEMS = 10, 50  # brackets within brackets; items of a list
_SEPARATOR = re.compile(r',\s*(?:"?(?:and|or)\b"?)?|;|"(?:, ?)?(?:and|or)"|\b(?:and|or)\b|∪')
_RELATION = re.compile(r"<=|>=|!=|[=<>]")
_NAME = (r"\"?(?:[A-Za-z]|[A-Z]{2,4}|[A-Za-z]{3,}(?: [A-Za-z]{3,}){0,3})\"?"
         r"(?:_\{\w+\})?'*(?: ?\( ?\w(?: ?, ?\w)* ?\))?")
_LABEL = re.compile(rf"(?:the )?((?:m ?\\angle |\\angle |\\)?{_NAME}"
                    r"|\( ?\\?[A-Za-z]+(?: ?, ?\\?[A-Za-z]+)* ?\))\s*[=∈≡](?!\s*\1\s*$|.*[=<>])")


def read(text):
    """A normalised answer as nested tuples; ("text", words) where it is no mathematics, or beyond bounds."""
    try:
        return _read(text)
    except (ValueError, ArithmeticError):
        text = re.sub(r'["\s]+', " ", text)
        return "text", re.sub(r"(?<=\W)\s+|\s+(?=\W)|[{}]", "", text).strip().casefold()


def _read(text, depth=0):
    text, inner = text.strip(" *").rstrip(" .,;:*"), lambda part: _read(part, depth + 1)
    if not 0 < len(text) < LONGEST or depth > DEEPEST or text.casefold() in ("yes", "no"):
        raise NotMathematics("empty, too long, too deep, or a word that is no product")
    parts, (*within, end) = _split(text, _SEPARATOR), _depths(text)
    enclosed = text[0] in "([{⦃" and 0 not in within and end == 0
    if len(parts) == 1 and re.search("[±∓]", text) and not enclosed:
        parts = [text.translate(str.maketrans("±∓", signs)) for signs in ("+-", "-+")]
    if len(parts) > 1:
        return ("list", *_members(map(inner, parts), "list", "set"))
    if label := _LABEL.match(text):
        return "named", "=", ("number", re.sub(r'[\s"]', "", label[1])), inner(text[label.end():])
    if len(sides := _split(text, _RELATION)) > 1:
        return _relation(_RELATION.findall(text), sides, inner)
    if matrix := re.fullmatch("([^⟦]*)⟦(.*)⟧", text):  # row by row, each entry times the factor before
        rows = [row.split("&") for row in matrix[2].strip(" ↵").split("↵")]
        return ("matrix", *(("row", *(inner(f"{matrix[1]}({entry})") for entry in row)) for row in rows))
    if re.fullmatch("∅|⦃ *⦄", text):
        return ("set",)
    if enclosed:
        parts = _split(text[1:-1], _SEPARATOR)
        if len(parts) == 1 and text[0] != "⦃":
            return _read(parts[0], depth + 0.1)
        items = [*map(inner, parts)]
        return ("set", *_members(items, "list")) if text[0] in "{⦃" else (text[0] + text[-1], *items)
    if len(parts := text.split(":")) > 1:
        if not all(map(values, parts)):
            raise NotMathematics(text)
        return "ratio", text, ("()", *(("number", f"({part})/({parts[0]})") for part in parts))
    return _quantity(text, inner)


def _depths(text):
    """How many brackets are open after each character."""
    return list(accumulate((mark in "([{⦃⟦") - (mark in ")]}⦄⟧") for mark in text))


def _split(text, pattern):
    """`text` at the matches of `pattern` outside all brackets."""
    depths, parts, start = _depths(text), [], 0
    for m in pattern.finditer(text):
        if not depths[m.start()]:
            parts.append(text[start : m.start()])
            start = m.end()
    return [*parts, text[start:]]


def _members(items, *opened):
    """The items, those of the kinds `opened` member by member: {1 ± 2, 5} has three members."""
    members = [member for item in items for member in (item[1:] if item[0] in opened else [item])]
    if len(members) > MOST_ITEMS:
        raise NotMathematics("too many items")
    return members


def _relation(signs, sides, inner):
    """17 * 23 = 391 says 391, an inequality in x an interval of x; others stay relations."""
    if set(signs) == {"="} and len(set(sides)) > 1 and all(same_value(side, sides[-1]) for side in sides):
        return inner(sides[-1])
    if signs[0][0] == ">":
        sides, signs = sides[::-1], [sign.replace(">", "<") for sign in signs[::-1]]
    shape = "".join("_x"[is_variable(side.strip(" \\"))] for side in sides)
    if set(signs) <= {"<", "<="} and shape in ("x_", "_x", "_x_"):
        at = shape.index("x")
        sides, signs = ["-∞", *sides, "∞"], ["<", *signs, "<"]
        kind = "(["[signs[at] == "<="] + ")]"[signs[at + 1] == "<="]
        return "named", "=", inner(sides[at + 1]), (kind, inner(sides[at]), inner(sides[at + 2]))
    if len(sides) > 2:
        raise NotMathematics("a chain of relations")
    return "relation", signs[0], *map(inner, sides)


# --- quantities: a number, and what it counts ------------------------------------------------------------

_WORD = r'(?:"[^"]*"|(?<!\\)[A-Za-z]++|[°%/€£¥¢₹])(?:\s*\^\s*\{-?\d\})?'
_UNIT = re.compile(r"(.*?(?:[\d.)}\]⦄⟧!]|\\pi|(?<=\d)[a-z]))"
                   rf"((?!\s*[A-Za-z]\b)(?:\s*{_WORD})+"
                   r"|(?<=\d) (?:[msghlL]|m\^\{[23]\}|m/s(?:\^\{2\})?))")


# RLR, H-T-H, ten and Odd are words; lower letters that do not make a word, as xy or abc, are a product.
_LETTERS = re.compile(r"(?!(?!.*(.).*\1)(?:[abcxyz]+|[b-df-hj-np-tv-z]+)$)"
                      r"(?:[A-Za-z]{2,3}|[A-Z]{4,}|[A-Z](?:[ -]+[A-Z])+)")


def _quantity(text, inner):
    """A number with or without a unit behind it. NotMathematics where it is neither."""
    m = _UNIT.fullmatch(text)
    if m and _begins_unit(m[1], m[2]):
        unit, value = canonical_unit(m[2]), inner(m[1])
        return ("unit", unit, value) if unit and value[0] == "number" else value
    if re.fullmatch(r"[+-]?∞|\d+_\{\d+\}|-?\w+\\mod\w+", text):  # infinity, 52_8, 1 mod 3
        return "text", text.lstrip("+")
    if _LETTERS.fullmatch(text):
        return "text", re.sub("[ -]", "", text.casefold() if len(text) > 2 else text)
    if not values(text):
        raise NotMathematics(text)
    return "number", text


def _begins_unit(value, text):
    """True for quoted text, symbols and words that are no names of variables or functions."""
    word = re.match(r"\s*([A-Za-z]+|.)", text)[1]
    if word == "°":
        return not re.search("°|sin|cos|tan|cot|sec|csc|ln|lg|log|exp", value)
    if len(word) == 1:
        return word != "/"
    return word.casefold() in UNITS or len(word) > 3 and word not in NAMES

r"""Answers: what a final answer in LaTeX or plain text says, whichever way it is written.

    "$\left(\dfrac12,\, 3\right)$"  -- normalise -->  "( \frac{1}{2}, 3 )"  -- read -->  ("()", ("number", ...), ("number", ...))

`read` goes from the outside in: lists, labels, relations, brackets, matrices, units; what is left is an expression, whose value
is t1mini.answers.expressions' business. The result is one of these nested tuples, which `same` compares:

    ("number", expression)     ("text", words)     ("unit", unit, x)     ("named", name, x)     ("relation", sign, left, right)
    ("set", x, ...) for sets and lists     ("(]", x, ...) for tuples and intervals     ("matrix", ("row", x, ...), ...)

The text is a model's and is not to be trusted: length, depth and number of items are bounded.

See it: python -m pytest tests/test_verifier.py
"""

import re
import unicodedata
from fractions import Fraction
from functools import lru_cache, wraps

from t1mini.answers.numbers import CONSTANTS, FUNCTIONS
from t1mini.answers.expressions import GREEK, LONGEST, NotMathematics, evaluate, proportional, same_value
from t1mini.answers.units import ALIASES, canonical_unit

DEEPEST, MOST_ITEMS = 10, 50

# --- one spelling of many ------------------------------------------------------------------------------------------

_CHARACTERS = str.maketrans(
    dict(zip("−–—×·⋅∙∗÷∕⁄º’′\u00a0", "---*****///°'' ")) | {c: "" for c in '"“”↵'} | {"¢": ' "cent" '}
    | {"≤": "<=", "≥": ">=", "≠": "!=", "≈": "=", "π": r"\pi ",
       "∞": r"\infty ", "√": r"\sqrt ", "±": r"\pm ", "∪": r"\cup ", "∈": r"\in ", "∅": r"\emptyset "}
    | {c: f" {Fraction(unicodedata.numeric(c)).limit_denominator(10)}" for c in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
    | {chr(c): rf"\{unicodedata.name(chr(c)).split()[-1].lower()} " for c in range(0x3B1, 0x3CA) if c not in (0x3C0, 0x3C2)})
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "₀₁₂₃₄₅₆₇₈₉"
_ON_THE_LINE = str.maketrans(_RAISED + _LOWERED, "0123456789+-0123456789")
_COMMANDS = {"dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "dbinom": r"\binom", "tbinom": r"\binom", "le": "<=", "leq": "<=",
             "leqslant": "<=", "lt": "<", "ge": ">=", "geq": ">=", "geqslant": ">=", "gt": ">", "ne": "!=", "neq": "!=", "approx": "=",
             "cdot": "*", "times": "*", "div": "/", "varnothing": r"\emptyset", "degree": "°", "circ": "°", "vert": "|", "lvert": "|",
             "rvert": "|", "langle": "(", "rangle": ")", "boxed": "", "quad": " ", "qquad": " ", "displaystyle": " ", "textstyle": " ",
             "left": " ", "right": " ",
             "big": " ", "Big": " ", "bigl": " ", "bigr": " ", "Bigl": " ", "Bigr": " ", "middle": " "}
_REWRITES = [(re.compile(pattern), new) for pattern, new in (
    (r"\\\\(?:\s*\[[^\]]*\])?", "↵"),  # the end of a matrix row
    (r"(?<=\d)(?:,?\\!\s*|\{,\}|\\[, ])(?=\d{3})|\\!", ""), (r"\\(?:left|right)\s*\.|\\[,;: ()\[\]]|~", " "),
    (r"\\([A-Za-z]+)(?![A-Za-z])", lambda m: _COMMANDS.get(m[1], m[0])), (r"\\([%&#_])", r"\1"), (r"\\\$", "¤"), (r"\*\*", "^"),
    (r"\\(?:mathrm|rm)\s*\{\s*([eid])\s*\}|\\(?:mathbf|boldsymbol|mathit|vec|mathbb)\s*\{([^{}]*)\}", r" \1\2 "),
    (r"\\(?:text\w*|[mh]box|mathrm|rm|operatorname)\s*\{\s*+([^{}]*?)\s*\}", r' "\1" '),
    (r'"([¤$€£¥%°])"', r"\1"), (r"\^\s*(?:°|\{\s*°\s*\})", "°"), (r"\\frac\s*([\da-z])\s*(?=[\da-z{])", r"\\frac{\1}"),  # \frac12
    (r"(\\frac\s*\{[^{}]*\})\s*([\da-z])", r"\1{\2}"), (r"(\\sqrt|\^|_)\s*(\d+|[a-z])(?![a-z])", r"\1{\2}"))]
_MIXED = re.compile(r"(?<![\d.^_{}A-Za-z/])(\d{1,99})\s*(?:\\frac\{(\d{1,99})\}\{(\d{1,99})\}| (\d{1,99}) ?/ ?(\d{1,99})(?![\d.]))")
_BOX = re.compile(r"[\s$]*\\boxed\s*(\{.*\})[\s$.]*", re.DOTALL)
_CURRENCY = {"¤": "dollar", "$": "dollar", "€": "euro", "£": "pound", "¥": "yen"}
_PRICE = re.compile(r"([¤$€£¥])\s*(-?[\d.,]*\d|\(\d+/\d+\))")


def _remembered(function):
    """What `function` says of a text is kept, but not of long ones: a few thousand of those would fill the memory."""
    cached = lru_cache(maxsize=4096)(function)
    return wraps(function)(lambda text: (cached if len(text) < LONGEST else function)(text))


@_remembered
def normalise(text: str) -> str:
    r"""One spelling of many. What is in \text{...} comes in "quotes". Text of LONGEST characters or more is only stripped.

    >>> normalise(r"$\left(\dfrac12,\, 3\right)$."), normalise(r"90^\circ"), normalise("10{,}000")
    ('(\\frac{1}{2}, 3 )', '90°', '10000')
    """
    if len(text) >= LONGEST:
        return text.strip()
    while (box := _BOX.fullmatch(text)) and _is_enclosed(box[1]):
        text = box[1][1:-1]
    for mark, characters in (("^", _RAISED), ("_", _LOWERED)):
        text = re.sub(f"[{characters}]+", lambda m: mark + "{" + m[0].translate(_ON_THE_LINE) + "}", text)
    text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS)).strip(" \t\r\n*_`")
    for pattern, new in _REWRITES:
        text = pattern.sub(new, text)
    text = _MIXED.sub(_improper, text)
    if text.count("$") % 2 == 0:  # $...$ encloses mathematics; one alone is money
        text = text.replace("$", " ")
    text = _PRICE.sub(lambda m: f'{m[2]} "{_CURRENCY[m[1]]}" ', text)
    text = " ".join(text.split()).rstrip(".,;: ")
    if re.fullmatch(r'"[^"]*"', text):
        text = text.strip('" ')
    if re.fullmatch(r"\D*\d{1,3}( \d{3})+(\.\d+)?\D*", text):  # 10 000
        text = re.sub(r"(?<=\d) (?=\d)", "", text)
    return text


def _improper(m: re.Match) -> str:
    """2 1/2 as (5/2)."""
    whole, top, bottom = int(m[1]), int(m[2] or m[4]), int(m[3] or m[5])
    return f"({whole * bottom + top}/{bottom})"


# --- reading, from the outside in ----------------------------------------------------------------------------------

_LISTS = re.compile(r"\\[{}]|[][()]")
_BRACKETS = re.compile(r"\\begin|\\end|\\[{}]|\\[lr](?:floor|ceil)(?![a-z])|[][(){}]")
_OPENING = {"(", "[", "{", r"\{", r"\begin", r"\lfloor", r"\lceil"}
_SEPARATOR = re.compile(r',\s*(?:"?(?:and|or)\b"?)?|;|"(?:, ?)?(?:and|or)"|\b(?:and|or)\b|\\cup(?![a-z])')
_RELATION = re.compile(r"<=|>=|!=|[=<>]")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_NAME = r"\"?(?:[A-Za-z]|[A-Z]{2,4}|[A-Za-z]{3,}(?: [A-Za-z]{3,}){0,3})\"?(?:_\{\w+\})?'*(?: ?\( ?\w(?: ?, ?\w)* ?\))?"
_LABEL = re.compile(rf"(?:the )?((?:m ?\\angle |\\angle |\\)?{_NAME}|\( ?\\?[A-Za-z]+(?: ?, ?\\?[A-Za-z]+)* ?\))\s*(?:=|\\in(?![a-z]))(?!.*[=<>])")
_MATRIX = re.compile(r"(.*?)\\begin\{([a-z]*matrix|array)\}(?:\{[clr|]*\})?(.*)\\end\{\2\}")


@_remembered
def read(text: str) -> tuple:
    """A normalised answer as nested tuples; ("text", words) where it is not mathematics, or beyond the bounds."""
    try:
        if "," in text and len(text) < LONGEST:  # thousands; within brackets a comma is a separator
            depth = _depths(text, _LISTS)
            text = _THOUSANDS.sub(lambda m: m[0] if depth[m.start()] else m[0].replace(",", ""), text)
        return _read(text, 0)
    except (ValueError, ArithmeticError):
        return "text", re.sub(r'(?<=\W)\s+|\s+(?=\W)|"', "", text).strip().casefold()


def _read(text: str, depth: int) -> tuple:
    text, inner = text.strip(), lambda part: _read(part, depth + 1)
    if not text or len(text) >= LONGEST or depth > DEEPEST or _is_prose(text):
        raise NotMathematics("empty, too long, too deep or words")
    if len(parts := _split(text, _SEPARATOR)) > 1:
        return _set(map(inner, parts))
    enclosed = _is_enclosed(text)
    if not enclosed and re.search(r"\\(?:pm|mp)(?![a-z])", text):
        signs = lambda plus, minus: re.sub(r"\\pm(?![a-z])", plus, re.sub(r"\\mp(?![a-z])", minus, text))
        return _set([inner(signs("+", "-")), inner(signs("-", "+"))])
    if label := _LABEL.match(text):
        return "named", re.sub(r'[\s"]', "", label[1]), inner(text[label.end():])
    if len(sides := _split(text, _RELATION)) > 1:
        return _relation(_RELATION.findall(text), [side.strip() for side in sides], inner)
    if matrix := _MATRIX.fullmatch(text):
        return _matrix(*matrix.groups(), inner)
    if enclosed:
        content = text[2:-2] if text[0] == "\\" else text[1:-1]
        parts = _split(content, _SEPARATOR) if content.strip() or text[0] != "\\" else []
        items = [inner(part) for part in parts]
        if text[0] in "\\{" and (len(items) != 1 or text[0] == "\\"):
            return _set([("set", x) if part.strip()[:1] == "\\" and x[0] == "set" and _is_enclosed(part.strip()) else x
                         for part, x in zip(parts, items)])
        return items[0] if len(items) == 1 else (text[0] + text[-1], *items)
    if text == r"\emptyset":
        return ("set",)
    return _quantity(text, inner)


def _matrix(factor: str, kind: str, body: str, inner) -> tuple:
    """Row by row, each entry times the factor before the matrix."""
    factor = factor.strip() + ("1" if factor.strip() in ("+", "-") else "")
    entry = lambda text: inner(f"({factor})*({text})" if factor else text)
    rows = [("row", *map(entry, row.split("&"))) for row in body.strip(" ↵").split("↵")]
    return ("determinant" if kind == "vmatrix" else "matrix", *rows)


def _depths(text: str, brackets: re.Pattern = _BRACKETS) -> list[int]:
    """How many brackets are open at each character, its own counted."""
    depths, depth, at = [], 0, 0
    for m in brackets.finditer(text):
        depths += [depth] * (m.start() - at)
        opens = m[0] in _OPENING
        depths += [depth + opens] * len(m[0])
        depth, at = depth + (1 if opens else -1), m.end()
    return depths + [depth] * (len(text) - at)


def _split(text: str, pattern: re.Pattern) -> list[str]:
    """`text` at the matches of `pattern` outside all brackets."""
    depths, parts, start = _depths(text), [], 0
    for m in pattern.finditer(text):
        if not depths[m.start()]:
            parts.append(text[start : m.start()])
            start = m.end()
    return [*parts, text[start:]]


def _is_enclosed(text: str) -> bool:
    """True if the text begins with a bracket that closes at its end."""
    if not text.startswith(("(", "[", "{", r"\{")):
        return False
    depth = 0
    for m in _BRACKETS.finditer(text):
        depth += 1 if m[0] in _OPENING else -1
        if depth <= 0:
            return m.end() == len(text)
    return False


def _is_prose(text: str) -> bool:
    """True where there is nothing but words, and they are no names."""
    known = FUNCTIONS.keys() | CONSTANTS.keys() | GREEK
    return bool(re.fullmatch(r"[A-Za-z\s\"'-]+", text)) and any(
        (len(word) > 3 and word not in known) or word.casefold() in ("yes", "no") for word in re.findall("[A-Za-z]+", text))


def _set(items) -> tuple:
    """A set's members once each; sets within it are opened: {1 ± 2, 5} has three members."""
    members = []
    for item in items:
        for member in item[1:] if item[0] == "set" else [item]:
            if not any(same(member, other) for other in members):
                members.append(member)
        if len(members) > MOST_ITEMS:
            raise NotMathematics("too many items")
    return ("set", *members)


def _relation(signs: list[str], sides: list[str], inner) -> tuple:
    """An inequality in one variable is an interval, 17 * 23 = 391 says 391; others stay relations."""
    if set(signs) == {"="} and all(same_value(side, sides[-1]) for side in sides[:-1]):
        return inner(sides[-1])
    if all(sign[0] == ">" for sign in signs):
        sides, signs = sides[::-1], [sign.replace(">", "<") for sign in signs[::-1]]
    is_name = [re.fullmatch(r"\\?[A-Za-z]+", side) and (side.lstrip("\\") in GREEK or len(side) == 1) for side in sides]
    if all(sign[0] == "<" for sign in signs) and sum(map(bool, is_name)) == 1:
        left, right = "(["[signs[0] == "<="], ")]"[signs[-1] == "<="]
        if len(sides) == 2:
            return ("(" + right, ("number", r"-\infty"), inner(sides[1])) if is_name[0] else (left + ")", inner(sides[0]), ("number", r"\infty"))
        if len(sides) == 3 and is_name[1]:
            return left + right, inner(sides[0]), inner(sides[2])
    if len(sides) > 2:
        raise NotMathematics("a chain of relations")
    return "relation", signs[0], *map(inner, sides)


# --- quantities: a number, and what it counts ----------------------------------------------------------------------

_WORD = r'(?:"[^"]*"|(?<!\\)[A-Za-z]++|°|%|/)(?:\s*\^\s*\{-?\d\})?'
_UNIT = re.compile(rf'(.*?(?:[\d.)}}\]!]|\\pi|(?<=\d)[a-z]))(\s*{_WORD}(?:\s*{_WORD})*)')


def _quantity(text: str, inner) -> tuple:
    """A number with or without a unit behind it. NotMathematics where it is neither."""
    m = _UNIT.fullmatch(text)
    if m and _begins_unit(m[1], m[2]):
        unit, scale = canonical_unit(m[2])
        value = inner(f"({m[1]})*{scale}" if scale > 1 else m[1])
        return ("unit", unit, value) if unit and value[0] == "number" else value
    if m := re.fullmatch(r"(\d+)_\{(\d+)\}", text):
        return f"base {m[2]}", inner(m[1])
    try:
        evaluate(text)
    except NotMathematics:
        raise
    except (ValueError, ArithmeticError):
        pass  # it reads well, and has no value at this point of its variables
    return "number", text


def _begins_unit(value: str, text: str) -> bool:
    """True for quoted text, %, ° and words that are no names of variables or functions."""
    word = re.match(r'\s*("|[A-Za-z]+|[°%/])', text)[1]
    if word == "°":
        return "°" not in value and not any(name in value for name in FUNCTIONS)
    if word in ("m", "s", "g", "h", "l", "L"):
        return text[0] == " " and text.strip() == word and value[-1].isdigit()
    known = FUNCTIONS.keys() | GREEK | CONSTANTS.keys()
    return word in '"%' or len(word) > 1 and word.casefold() in ALIASES or len(word) > 3 and word not in known


# --- equality ------------------------------------------------------------------------------------------------------

def same(a: tuple, b: tuple) -> bool:
    """True if two answers that were read say the same."""
    if a == b:
        return True
    if a[0] == b[0] == "named" and a[1] == b[1]:
        return same(a[2], b[2])
    if a[0] == b[0] == "named" or "relation" in (a[0], b[0]):
        return _same_relation(*(("relation", "=", ("number", x[1]), x[2]) if x[0] == "named" else x for x in (a, b)))
    if a[0] == b[0] == "unit":
        return a[1] == b[1] and same(a[2], b[2])
    if any(x[:2] == ("unit", "%") and same(("number", f"({x[2][1]})/100"), y) for x, y in ((a, b), (b, a))):
        return True
    if {a[0], b[0]} & {"named", "unit"}:
        return same(bare(a), bare(b))
    if a[0] == b[0] == "number":
        return same_value(a[1], b[1])
    if a[0] == b[0] == "set":
        return len(a) == len(b) and all(any(same(x, y) for y in b[1:]) for x in a[1:])
    if "set" in (a[0], b[0]) and len(bare(a)) == len(bare(b)) == 2:  # {5} and 5
        return same(bare(a), bare(b))
    return a[0] == b[0] != "text" and len(a) == len(b) and all(same(x, y) for x, y in zip(a[1:], b[1:]))


def bare(x: tuple) -> tuple:
    """Without its name, its unit, and the braces of a set of one."""
    while x[0] in ("named", "unit") or (x[0] == "set" and len(x) == 2):
        x = x[-1]
    return x


def _same_relation(a: tuple, b: tuple) -> bool:
    """Equations are the same where left - right of one is a constant multiple of the other's; others side by side."""
    if a[0] != b[0] or a[1] != b[1]:
        return False
    if a[1] in ("=", "!=") and all(side[0] == "number" for side in a[2:] + b[2:]):
        return proportional(*(f"({x[2][1]})-({x[3][1]})" for x in (a, b)))
    return all(same(x, y) for x, y in zip(a[2:], b[2:]))

r"""Answers: what a final answer in LaTeX or plain text says, whichever way it is written.

    "$\left(\dfrac12,\, 3\right)$"  -- normalise -->  "( \frac{1}{2}, 3 )"  -- read -->  ("()", ("number", ...), ("number", ...))

`normalise` applies rules of spelling, one a line below. `read` goes from the outside in: lists, labels, relations, brackets,
matrices, units; what is left is an expression, whose value is t1mini.answers.expressions' business. The result is one of these:

    ("number", expression)     ("text", words)     ("unit", unit, x)     ("named", name, x)     ("relation", sign, left, right)
    ("set", x, ...) for sets and lists     ("(]", x, ...) for tuples and intervals     ("matrix", ("row", x, ...), ...)

The text is a model's and is not to be trusted: length, depth and number of items are bounded.

See it: python -m pytest tests/test_verifier.py
"""

import re
import unicodedata

from t1mini.answers.expressions import GREEK, NotMathematics, is_variable, same_value, values
from t1mini.answers.numbers import CONSTANTS, FUNCTIONS

LONGEST, DEEPEST, MOST_ITEMS = 1000, 10, 50  # characters; brackets within brackets; of a list

# --- one spelling of many ------------------------------------------------------------------------------------------

_CHARACTERS = """−- –- —- ×* ·* ⋅* ∙* ∗* ÷/ ∕/ ⁄/ ’' ′' " “ ” ↵ ≤<= ≥>= ≠!= ≈= ∞\\infty √\\sqrt
    α\\alpha β\\beta γ\\gamma δ\\delta ε\\epsilon ζ\\zeta η\\eta θ\\theta ι\\iota κ\\kappa λ\\lambda μ\\mu ν\\nu ξ\\xi π\\pi
    ρ\\rho σ\\sigma τ\\tau φ\\phi χ\\chi ψ\\psi ω\\omega"""
_ONE_BY_ONE = str.maketrans({item[0]: item[1:] + " " * (item[1:2] == "\\") for item in _CHARACTERS.split()})
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻º", "₀₁₂₃₄₅₆₇₈₉"
_ON_THE_LINE = str.maketrans(_RAISED + _LOWERED, "0123456789+-°0123456789")
_COMMANDS = {command: new for new, commands in {
    r"\frac": "dfrac tfrac cfrac", r"\binom": "dbinom tbinom", "±": "pm", "∓": "mp", "∈": "in", "∪": "cup", "∅": "emptyset varnothing",
    "": "boxed",
    "<=": "le leq leqslant", "<": "lt", ">=": "ge geq geqslant", ">": "gt", "!=": "ne neq", "=": "approx",
    "*": "cdot times", "/": "div", "°": "degree circ", "|": "vert lvert rvert", "(": "langle", ")": "rangle",
    " ": "quad qquad displaystyle textstyle left right middle big Big bigl bigr Bigl Bigr"}.items() for command in commands.split()}


def _improper(m: re.Match) -> str:
    """2 1/2 as (5/2)."""
    whole, top, bottom = (int(digits) for digits in m.groups() if digits)
    return f"({whole * bottom + top}/{bottom})"


_RULES = [(re.compile(pattern), new) for pattern, new in (
    (r"\\\\(?:\s*\[[^\]]*\])?", "↵"),  # the end of a matrix's row
    (r"(?<=\d)(?:,?\\!\s*|\{,\}|\\[, ])(?=\d{3})|\\!", ""),  # 1{,}000
    (r"\\(?:left|right)\s*\.|\\[,;: ()\[\]]|~", " "),  # spaces, and \( \) \[ \]
    (r"\\([A-Za-z]+)(?![A-Za-z])", lambda m: _COMMANDS.get(m[1], m[0])),
    (r"\\([%&#_])", r"\1"),
    (r"\\\$", "¤"),  # money, where $ may be a bracket
    (r"\*\*", "^"),
    (r"\\(?:mathrm|rm)\s*\{\s*([eid])\s*\}|\\(?:mathbf|boldsymbol|mathit|vec|mathbb)\s*\{([^{}]*)\}", r" \1\2 "),
    (r"\\(?:text\w*|[mh]box|mathrm|rm|operatorname)\s*\{\s*+([^{}]*?)\s*\}", r' "\1" '),
    (r'"([¤$€£¥%°])"', r"\1"),  # \text{\$}
    (r"\^\s*(?:°|\{\s*°\s*\})", "°"),
    (r"\\frac\s*([\da-z])\s*(?=[\da-z{])", r"\\frac{\1}"),  # \frac12
    (r"(\\frac\s*\{[^{}]*\})\s*([\da-z])", r"\1{\2}"),  # \frac{1}2
    (r"(\\sqrt|\^|_)\s*(\d+|[a-z])(?![a-z])", r"\1{\2}"),  # x^2, \sqrt2
    (r"(?<![\d.^_{}A-Za-z/])(\d{1,99})\s*(?:\\frac\{(\d{1,99})\}\{(\d{1,99})\}| (\d{1,99}) ?/ ?(\d{1,99})(?![\d.]))", _improper),
    (r"\$([^$]*)\$", r" \1 "),  # in pairs they enclose mathematics, one alone is money
    (r"([¤$€£¥])\s*(-?[\d.,]*\d|\(\d+/\d+\))", r"\2 \1 "),
    (r"\s+", " "),
    (r"^ |[.,;: ]+$", ""),
    (r"(?<![\d.])(\d{1,3}) (?=\d{3}(?!\d))", r"\1"),  # 10 000
)]


def normalise(text: str) -> str:
    r"""One spelling of many. What is in \text{...} comes in "quotes". Text of LONGEST characters or more is only stripped.

    >>> normalise(r"$\left(\dfrac12,\, 3\right)$."), normalise(r"90^\circ"), normalise("10{,}000")
    ('( \\frac{1}{2}, 3 )', '90°', '10000')
    """
    if len(text) >= LONGEST:
        return text.strip()
    for mark, characters in (("^", _RAISED), ("_", _LOWERED)):
        text = re.sub(f"[{characters}]+", lambda m: mark + "{" + m[0].translate(_ON_THE_LINE) + "}", text)
    text = re.sub("([½⅓⅔¼¾⅕-⅞])", r" \1", text)  # 2½ is 2 1/2
    text = unicodedata.normalize("NFKC", text).translate(_ONE_BY_ONE).strip(" \t\r\n*_`")
    for pattern, new in _RULES:
        text = pattern.sub(new, text)
    while text.startswith("{") and _is_enclosed(text):
        text = text[1:-1].strip()
    return text.strip('" ') if re.fullmatch(r'"[^"]*"', text) else text


# --- reading, from the outside in ----------------------------------------------------------------------------------

_KNOWN = FUNCTIONS.keys() | GREEK | CONSTANTS.keys()
_LISTS = re.compile(r"\\[{}]|[][()]")
_BRACKETS = re.compile(r"\\begin|\\end|\\[{}]|\\[lr](?:floor|ceil)(?![a-z])|[][(){}]")
_OPENING = ("(", "[", "{", r"\{", r"\begin", r"\lfloor", r"\lceil")
_SEPARATOR = re.compile(r',\s*(?:"?(?:and|or)\b"?)?|;|"(?:, ?)?(?:and|or)"|\b(?:and|or)\b|∪')
_RELATION = re.compile(r"<=|>=|!=|[=<>]")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_NAME = r"\"?(?:[A-Za-z]|[A-Z]{2,4}|[A-Za-z]{3,}(?: [A-Za-z]{3,}){0,3})\"?(?:_\{\w+\})?'*(?: ?\( ?\w(?: ?, ?\w)* ?\))?"
_LABEL = re.compile(rf"(?:the )?((?:m ?\\angle |\\angle |\\)?{_NAME}|\( ?\\?[A-Za-z]+(?: ?, ?\\?[A-Za-z]+)* ?\))\s*"
                    r"[=∈](?!.*[=<>])")
_MATRIX = re.compile(r"(.*?)\\begin\{([a-z]*matrix|array)\}(?:\{[clr|]*\})?(.*)\\end\{\2\}")


def read(text: str) -> tuple:
    """A normalised answer as nested tuples; ("text", words) where it is not mathematics, or beyond the bounds."""
    try:
        if len(text) >= LONGEST:
            raise NotMathematics("too long")
        depths = _depths(text, _LISTS)  # within brackets a comma is a separator
        return _read(_THOUSANDS.sub(lambda m: m[0] if depths[m.start()] else m[0].replace(",", ""), text))
    except (ValueError, ArithmeticError):
        return "text", re.sub(r'(?<=\W)\s+|\s+(?=\W)|"', "", text).strip().casefold()


def _read(text: str, depth: int = 0) -> tuple:
    text, inner = text.strip(), lambda part: _read(part, depth + 1)
    if not text or depth > DEEPEST or _is_prose(text):
        raise NotMathematics("empty, too deep or words")
    if len(parts := _split(text, _SEPARATOR)) > 1:
        return ("list", *_members(map(inner, parts), "list", "set"))
    enclosed = _is_enclosed(text)
    if not enclosed and ("±" in text or "∓" in text):
        return ("list", *(inner(text.replace("±", sign).replace("∓", other)) for sign, other in ("+-", "-+")))
    if label := _LABEL.match(text):
        return "named", re.sub(r'[\s"]', "", label[1]), inner(text[label.end():])
    if len(sides := _split(text, _RELATION)) > 1:
        return _relation(_RELATION.findall(text), [side.strip() for side in sides], inner)
    if matrix := _MATRIX.fullmatch(text):
        return _matrix(*matrix.groups(), inner)
    if enclosed:
        opener, content, closer = re.fullmatch(r"(\\?.)(.*?)(\\?.)", text).groups()
        items = [inner(part) for part in _split(content, _SEPARATOR)] if content.strip() else []
        if "{" in opener:
            return ("set", *_members(items, "list"))
        return items[0] if len(items) == 1 else (opener + closer, *items)
    return ("set",) if text == "∅" else _quantity(text, inner)


def _depths(text: str, brackets: re.Pattern = _BRACKETS) -> list[int]:
    """How many brackets are open after each character."""
    depths, depth = [], 0
    for m in brackets.finditer(text):
        depths += [depth] * (m.start() - len(depths))
        depth += 1 if m[0] in _OPENING else -1
        depths += [depth] * len(m[0])
    return depths + [depth] * (len(text) - len(depths))


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
    *within, end = _depths(re.sub(r"\\}$", "}", text))
    return text.startswith(_OPENING[:4]) and 0 not in within and end == 0


def _is_prose(text: str) -> bool:
    """True where there is nothing but words, and they are no names."""
    words = re.findall("[A-Za-z]+", text)
    return bool(re.fullmatch(r"[A-Za-z\s\"'-]+", text)) and any(
        len(word) > 3 and word not in _KNOWN or word.casefold() in ("yes", "no") for word in words)


def _members(items: list[tuple], *opened: str) -> list[tuple]:
    """The items, those of the kinds `opened` member by member: {1 ± 2, 5} has three members."""
    members = [member for item in items for member in (item[1:] if item[0] in opened else [item])]
    if len(members) > MOST_ITEMS:
        raise NotMathematics("too many items")
    return members


def _matrix(factor: str, kind: str, body: str, inner) -> tuple:
    """Row by row, each entry times the factor before the matrix."""
    factor = factor.strip() + ("1" if factor.strip() in ("+", "-") else "")
    entry = lambda text: inner(f"({factor})*({text})" if factor else text)
    rows = [("row", *map(entry, row.split("&"))) for row in body.strip(" ↵").split("↵")]
    return ("determinant" if kind == "vmatrix" else "matrix", *rows)


def _relation(signs: list[str], sides: list[str], inner) -> tuple:
    """An inequality in one variable is an interval, 17 * 23 = 391 says 391; others stay relations."""
    if set(signs) == {"="} and all(same_value(side, sides[-1]) for side in sides[:-1]):
        return inner(sides[-1])
    if all(sign[0] == ">" for sign in signs):
        sides, signs = sides[::-1], [sign.replace(">", "<") for sign in signs[::-1]]
    names = [is_variable(side.lstrip("\\")) for side in sides]
    if all(sign[0] == "<" for sign in signs) and sum(names) == 1:
        if names[0]:
            sides, signs, names = [r"-\infty", *sides], ["<", *signs], [False, *names]
        if names[-1]:
            sides, signs = [*sides, r"\infty"], [*signs, "<"]
        if len(sides) == 3:
            kind = ("[" if signs[0] == "<=" else "(") + ("]" if signs[1] == "<=" else ")")
            return kind, inner(sides[0]), inner(sides[2])
    if len(sides) > 2:
        raise NotMathematics("a chain of relations")
    return "relation", signs[0], *map(inner, sides)


# --- quantities: a number, and what it counts ----------------------------------------------------------------------

# One unit a line: its name, and other names. "square", "per", "mph" and plurals are seen to below.
_UNITS = """cm centimeter centimetre
    mm millimeter millimetre
    m meter metre
    km kilometer kilometre
    in inch inche
    ft foot feet
    yd yard
    mi mile
    h hour hr
    min minute
    s second sec
    kg kilogram
    g gram
    lb pound £
    oz ounce
    l liter litre
    ml milliliter
    ° degree deg
    % percent
    dollar usd buck ¤ $
    euro €
    yen ¥
    cent ¢
    yr year
    rad radian
    c celsius
    f fahrenheit
    / per
    unit
    sq
    cu
    mph"""
_ALIASES = {alias: line.split()[0] for line in _UNITS.split("\n") for alias in line.split()}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_NO_UNIT = set("""is are was be not no nor non isn isnt wrong incorrect false maybe perhaps possibly probably if then than except
    unless but plus minus times half least most about around between never none more less fewer either neither approximately
    roughly exactly or and answer correct true""".split())
_SPELT = [(re.compile(pattern), new) for pattern, new in (
    (r'[{}".]', " "),
    (r"\bmph\b", "mi / h"),
    (r"\b(?:square|sq) +(\w+)", r"\1^2"),
    (r"\b(?:cubic|cu) +(\w+)", r"\1^3"),
    (r" squared\b", "^2"),
    (r" cubed\b", "^3"),
)]
_WORD = r'(?:"[^"]*"|(?<!\\)[A-Za-z]++|[°%/¤$€£¥¢])(?:\s*\^\s*\{-?\d\})?'
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
    if not values(text):
        raise NotMathematics(text)
    return "number", text


def _begins_unit(value: str, text: str) -> bool:
    """True for quoted text, symbols and words that are no names of variables or functions."""
    word = re.match(r"\s*([A-Za-z]+|.)", text)[1]
    if word == "°":
        return "°" not in value and not any(name in value for name in FUNCTIONS)
    if word in ("m", "s", "g", "h", "l", "L"):
        return text[0] == " " and text.strip() == word and value[-1].isdigit()
    if word in "/" or not word.isalpha():
        return word != "/"
    return len(word) > 1 and word.casefold() in _ALIASES or len(word) > 3 and word not in _KNOWN


def canonical_unit(text: str) -> tuple[str, int]:
    """A unit in one spelling, and the factor that words such as "million" stand for. NotMathematics where it is no unit.

    >>> canonical_unit("square centimeters"), canonical_unit("cm^2"), canonical_unit("million dollars")
    (('cm^2', 1), ('cm^2', 1), ('dollar', 1000000))
    """
    text = text.casefold()
    for pattern, new in _SPELT:
        text = pattern.sub(new, text)
    unit, scale = [], 1
    for word, power in re.findall(r"([^\W\d_]+|\S)\s*(\^\s*-?\s*\d)?", text):
        singular = word.removesuffix("s") if len(word) > 2 else word
        name = _ALIASES.get(word) or _ALIASES.get(singular, singular)
        if word in _NO_UNIT or not (word.isalpha() or name in _ALIASES or word == "-"):
            raise NotMathematics(f"{text!r} is no unit")
        scale *= _SCALES.get(singular, 1)
        if singular not in _SCALES and unit[-1:] != [name + power]:
            unit.append(name + power.replace(" ", ""))
    if len(unit) > 4:
        raise NotMathematics(f"{text!r} is no unit")
    return " ".join(unit), scale

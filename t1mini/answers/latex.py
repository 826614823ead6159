r"""Answers: what a final answer in LaTeX or plain text says, whichever way it is written.

    "$\left(\dfrac12,\, 3\right)$"  -- normalise -->  "(\frac{1}{2}, 3 )"
                                     -- read -->  ("()", ("number", "\frac{1}{2}"), ("number", "3"))

`normalise` is a list of rules of spelling, one a line. `read` goes from the outside in: lists, labels,
relations, brackets, matrices, units; what is left is an expression, and has a value. It gives

    ("number", expression)      ("text", words)      ("unit", unit, x)
    ("named" or "relation", sign, left, right)       ("set" or "list", x, ...)
    ("(]", x, ...) for tuples and intervals          ("matrix", ("row", x, ...), ...)

The text is a model's and is not to be trusted: length, depth and number of items are bounded.

See it: python -m pytest tests/test_verifier.py
"""

import re
import unicodedata
from itertools import accumulate

from t1mini.answers.expressions import (NAMES, UNITS, NotMathematics, canonical_unit, is_variable, rules,
                                        same_value, values)

LONGEST, DEEPEST, MOST_ITEMS = 600, 10, 50  # characters; brackets within brackets; items of a list

# --- one spelling of many --------------------------------------------------------------------------------

# Each character is written as what follows it, where _ is a space.
_CHARACTERS = r"""−- –- —- ×* ·* ⋅* ∙* ∗* ÷/ ∕/ ’' ′' " “ ” ↵ ≤<= ≥>= ≠!= ≈= √\sqrt_ ¢_"cent"_ º°
    α\alpha_ β\beta_ γ\gamma_ δ\delta_ ε\epsilon_ ζ\zeta_ η\eta_ θ\theta_ ι\iota_ κ\kappa_ λ\lambda_ μ\mu_
    ν\nu_ ξ\xi_ π\pi_ ρ\rho_ σ\sigma_ τ\tau_ φ\phi_ χ\chi_ ψ\psi_ ω\omega_
    ½_1/2 ⅓_1/3 ⅔_2/3 ¼_1/4 ¾_3/4 ⅕_1/5 ⅖_2/5 ⅗_3/5 ⅘_4/5 ⅙_1/6 ⅚_5/6 ⅐_1/7
    ⅛_1/8 ⅜_3/8 ⅝_5/8 ⅞_7/8 ⅑_1/9 ⅒_1/10
    ⁰⟨0⟩ ¹⟨1⟩ ²⟨2⟩ ³⟨3⟩ ⁴⟨4⟩ ⁵⟨5⟩ ⁶⟨6⟩ ⁷⟨7⟩ ⁸⟨8⟩ ⁹⟨9⟩ ⁺⟨+⟩ ⁻⟨-⟩
    ₀⟪0⟫ ₁⟪1⟫ ₂⟪2⟫ ₃⟪3⟫ ₄⟪4⟫ ₅⟪5⟫ ₆⟪6⟫ ₇⟪7⟫ ₈⟪8⟫ ₉⟪9⟫"""
_ONE_BY_ONE = str.maketrans({item[0]: item[1:].replace("_", " ") for item in _CHARACTERS.split()})
# What is written, where _ is a space, for the commands behind it.
_COMMAND_NAMES = r"""_ boxed quad qquad displaystyle textstyle left right middle big Big bigl bigr Bigl Bigr;
    <= le leq leqslant; < lt; >= ge geq geqslant; > gt; != ne neq; = approx;
    * cdot times; / div; ° degree circ; | vert lvert rvert; ± pm; ∓ mp; ∈ in; ∪ cup;
    ∅ emptyset varnothing; ∞ infty; \frac dfrac tfrac cfrac; \binom dbinom tbinom;
    ( langle; ) rangle rfloor rceil; \floor( lfloor; \ceil( lceil"""
_COMMANDS = {name: item.split()[0].replace("_", " ")
             for item in _COMMAND_NAMES.split(";") for name in item.split()[1:]}


def _improper(m):
    """2 1/2 as (5/2)."""
    whole, top, bottom = map(int, m.groups())
    return f"({whole * bottom + top}/{bottom})"


def _repeating(m):
    """0.1 and 6 as (15/90)."""
    before, digits, repeated = m.groups()
    nines = 10 ** len(digits) * (10 ** len(repeated) - 1)
    return f"({int(before + digits + repeated) - int(before + digits or 0)}/{nines})"


_RULES = rules(r"""
    ⁄ → /
    ⟩⟨|⟫⟪ →
    ⟨(.*?)⟩ → ^{\1}     raised and lowered digits
    ⟪(.*?)⟫ → _{\1}
    \\begin\{vmatrix\} → det⟦
    \\begin\{(?:[a-z]*matrix|array)\}(?:\{[clr|]*\})? → ⟦
    \\end\{(?:[a-z]*matrix|array)\} → ⟧
    \\\\(?:\s*\[[^\]]*\])? → ↵     the end of a matrix's row
    \\\{ → ⦃     a set's brackets, where { } only group
    \\\} → ⦄
    (?<=\d)(?:,?\\!\s*|\{,\}|\\[, ])(?=\d{3})|\\! →     1{,}000
    \\(?:left|right)\s*\.|\\[,;: ()\[\]]|~ → ␣     spaces, and \( \) \[ \]
    \\([A-Za-z]+)(?![A-Za-z]) → command
    \b(?:infinity|infty)\b → ∞
    \\([%&#_]) → \1
    \\\$ → ¤     money, where $ may be a bracket
    (?<=[\w)} ])\*\*(?=[ \w({\\+-]) → ^
    \\(?:mathrm|rm)\s*\{\s*([eid])\s*\} → ␣\1␣
    \\(?:mathbf|boldsymbol|mathit|vec|mathbb)\s*\{([^{}]*)\} → ␣\1␣
    \\(?:text\w*|[mh]box|mathrm|rm|operatorname)\s*\{\s*+([^{}]*?)\s*\} → ␣"\1"␣
    \|([^|=<>,]*[^|=<>,+\-*/^({\s])\s*\| → \\abs{\1}
    \|([^|=<>,]*[^|=<>,+\-*/^({\s])\s*\| → \\abs{\1}     once more: ||x| - 1|
    "([¤$€£¥%°])" → \1     \text{\$}
    \^\s*(?:°|\{\s*°\s*\}) → °
    \\frac\s*([\da-z])\s*(?=[\da-z{]) → \\frac{\1}     \frac12
    (\\frac\s*\{[^{}]*\})\s*([\da-z]) → \1{\2}     \frac{1}2
    (\\sqrt|\^|_)\s*(\d+|[a-z])(?![a-z]) → \1{\2}     x^2, \sqrt2
    (?<![\d.^_}A-Za-z/])(?<![^{\s$]\{)(\d{1,99})\s* (\d{1,99}) ?/ ?(\d{1,99})(?![\d.]) → improper
    (?<![\d.^_}A-Za-z/])(?<![^{\s$]\{)(\d{1,99})\s*\\frac\{(\d{1,99})\}\{(\d{1,99})\} → improper
    (\d*)\.(\d*)\s*\\?overline\s*\{\s*(\d+)\s*\} → repeating
    \\?\bsqrt\s*(\[[^\[\]]*\]) → \\root\1
    (?<=[\d.)}])(\s*"?)\s*(?i:dozen)s?\b → *12\1
    (?<=[\d.)}])(\s*"?)\s*(?i:hundred)s?\b → *10^{2}\1
    (?<=[\d.)}])(\s*"?)\s*(?i:thousand)s?\b → *10^{3}\1
    (?<=[\d.)}])(\s*"?)\s*(?i:million)s?\b → *10^{6}\1
    (?<=[\d.)}])(\s*"?)\s*(?i:billion)s?\b → *10^{9}\1
    (?<=[\d.)}])(\s*"?)\s*(?i:trillion)s?\b → *10^{12}\1
    \$([^$]*)\$ → ␣\1␣     in pairs they enclose mathematics, one alone is money
    [¤$]\s*(-?[\d.,]*\d(?:\*10\^\{\d+\})?|\(\d+/\d+\)) → \1␣"dollar"␣
    ([€£¥])\s*(-?[\d.,]*\d|\(\d+/\d+\)) → \2␣\1␣
    \s+ → ␣
    ^ |[.,;: ]+(?=\}*$) →
    ^[{ *]*"([^"]*)"[} *]*$ → \1
    (?<!\d)(\d{1,3}) (?=\d{3}(?!\d)) → \1     10 000
    (?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])(?!(?:[^][()⦃⦄]|[\[(⦃][^][()⦃⦄]*[])⦄])*[])⦄]) → no_comma
    """,  # the last: 10,000, but within brackets a comma is a separator
    command=lambda m: _COMMANDS.get(m[1], m[0]), improper=_improper, repeating=_repeating,
    no_comma=lambda m: m[0].replace(",", ""))


def normalise(text: str) -> str:
    r"""One spelling of many; what is in \text{...} in "quotes". Longer text than LONGEST is only stripped.

    >>> normalise(r"$\left(\dfrac12,\, 3\right)$."), normalise(r"90^\circ"), normalise("10{,}000")
    ('(\\frac{1}{2}, 3 )', '90°', '10000')
    """
    if len(text) >= LONGEST:
        return text.strip()
    text = unicodedata.normalize("NFKC", text.translate(_ONE_BY_ONE)).strip(" \t\r\n*_`")
    for pattern, new in _RULES:
        text = pattern.sub(new, text)
    return text


# --- reading, from the outside in ------------------------------------------------------------------------

_SEPARATOR = re.compile(r',\s*(?:"?(?:and|or)\b"?)?|;|"(?:, ?)?(?:and|or)"|\b(?:and|or)\b|∪')
_RELATION = re.compile(r"<=|>=|!=|[=<>]")
_NAME = (r"\"?(?:[A-Za-z]|[A-Z]{2,4}|[A-Za-z]{3,}(?: [A-Za-z]{3,}){0,3})\"?"
         r"(?:_\{\w+\})?'*(?: ?\( ?\w(?: ?, ?\w)* ?\))?")
_LABEL = re.compile(rf"(?:the )?((?:m ?\\angle |\\angle |\\)?{_NAME}"
                    r"|\( ?\\?[A-Za-z]+(?: ?, ?\\?[A-Za-z]+)* ?\))\s*[=∈](?!.*[=<>])")


def read(text):
    """A normalised answer as nested tuples; ("text", words) where it is no mathematics, or beyond bounds."""
    try:
        return _read(text)
    except (ValueError, ArithmeticError):
        return "text", re.sub(r'(?<=\W)\s+|\s+(?=\W)|["{}]', "", text).strip().casefold()


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
        items = [inner(part) for part in _split(text[1:-1], _SEPARATOR)]
        if len(items) == 1 and text[0] != "⦃":
            return items[0]
        return ("set", *_members(items, "list")) if text[0] in "{⦃" else (text[0] + text[-1], *items)
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
    """An inequality in one variable is an interval, 17 * 23 = 391 says 391; others stay relations."""
    if set(signs) == {"="} and all(same_value(side, sides[-1]) for side in sides):
        return inner(sides[-1])
    if signs[0][0] == ">":
        sides, signs = sides[::-1], [sign.replace(">", "<") for sign in signs[::-1]]
    shape = "".join("_x"[is_variable(side.strip(" \\"))] for side in sides)
    if set(signs) <= {"<", "<="} and shape in ("x_", "_x", "_x_"):
        at = shape.index("x")
        sides, signs = ["-∞", *sides, "∞"], ["<", *signs, "<"]
        kind = "(["[signs[at] == "<="] + ")]"[signs[at + 1] == "<="]
        return kind, inner(sides[at]), inner(sides[at + 2])
    if len(sides) > 2:
        raise NotMathematics("a chain of relations")
    return "relation", signs[0], *map(inner, sides)


# --- quantities: a number, and what it counts ------------------------------------------------------------

_WORD = r'(?:"[^"]*"|(?<!\\)[A-Za-z]++|[°%/€£¥¢])(?:\s*\^\s*\{-?\d\})?'
_UNIT = re.compile(r"(.*?(?:[\d.)}\]⦄⟧!]|\\pi|(?<=\d)[a-z]))"
                   rf"((?!\s*[A-Za-z]\b)(?:\s*{_WORD})+|(?<=\d) [msghlL])")


def _quantity(text, inner):
    """A number with or without a unit behind it. NotMathematics where it is neither."""
    m = _UNIT.fullmatch(text)
    if m and _begins_unit(m[1], m[2]):
        unit, value = canonical_unit(m[2]), inner(m[1])
        return ("unit", unit, value) if unit and value[0] == "number" else value
    if re.fullmatch(r"[+-]?∞|\d+_\{\d+\}", text):  # infinity, 52_8
        return "text", text.lstrip("+")
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

r"""One spelling of the many in which an answer may be written: a list of rules, one a line.

    "$\left(\dfrac12,\, 3\right)$"  -- normalise -->  "(\frac{1}{2}, 3 )"

Commands become characters or one command of several, spaces and signs of layout go, what is in \text{...}
stands in "quotes", and money, thousands, mixed numbers, repeating decimals, dates and times of day are each
written in one way.

See it: python -m pytest tests/test_verifier.py
"""

import unicodedata

from t1mini.answers.expressions import rules

LONGEST = 600  # characters

# Each character is written as what follows it, where _ is a space.
_CHARACTERS = r"""−- –- —- ×* ·* ⋅* ∙* ∗* ÷/ ∕/ ’' ′' " “ ” ↵ ≤<= ≥>= ≠!= ≈= ≡\equiv_ √\sqrt_ ¢_"cent"_ º°
    α\alpha_ β\beta_ γ\gamma_ δ\delta_ ε\epsilon_ ζ\zeta_ η\eta_ θ\theta_ ι\iota_ κ\kappa_ λ\lambda_ μ\mu_
    ν\nu_ ξ\xi_ π\pi_ ρ\rho_ σ\sigma_ τ\tau_ φ\phi_ χ\chi_ ψ\psi_ ω\omega_
    ℝ\mathbb{R} ½_1/2 ⅓_1/3 ⅔_2/3 ¼_1/4 ¾_3/4 ⅕_1/5 ⅖_2/5 ⅗_3/5 ⅘_4/5 ⅙_1/6 ⅚_5/6 ⅐_1/7
    ⅛_1/8 ⅜_3/8 ⅝_5/8 ⅞_7/8 ⅑_1/9 ⅒_1/10
    ⁰⟨0⟩ ¹⟨1⟩ ²⟨2⟩ ³⟨3⟩ ⁴⟨4⟩ ⁵⟨5⟩ ⁶⟨6⟩ ⁷⟨7⟩ ⁸⟨8⟩ ⁹⟨9⟩ ⁺⟨+⟩ ⁻⟨-⟩
    ₀⟪0⟫ ₁⟪1⟫ ₂⟪2⟫ ₃⟪3⟫ ₄⟪4⟫ ₅⟪5⟫ ₆⟪6⟫ ₇⟪7⟫ ₈⟪8⟫ ₉⟪9⟫"""
_ONE_BY_ONE = str.maketrans({item[0]: item[1:].replace("_", " ") for item in _CHARACTERS.split()})
# What is written, where _ is a space, for the commands behind it.
_COMMAND_NAMES = r"""_ boxed fbox quad qquad displaystyle textstyle left right middle big Big bigl bigr Bigl
    Bigr; <= le leq leqslant; < lt; >= ge geq geqslant; > gt; != ne neq; = approx;
    * cdot times; / div; ° degree circ; | mid vert lvert rvert; ≡ equiv; ¤ textdollar; ± pm; ∓ mp;
    ∈ in; ∪ cup; : colon; £ pounds; ⦃ lbrace; ⦄ rbrace;
    ∅ emptyset varnothing; ∞ infty; \frac dfrac tfrac cfrac; \binom dbinom tbinom; \mod pmod bmod;
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


_MONTH = ("(?i:(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
          "(?:e|y|t|r?uary|ch|il|ust|t?ember|ober)?)")
_COUNT = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty""".split()
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
    (?<=\d)\{([.:])\}(?=\d) → \1     3{:}30
    (?<![\d.,])(\d{1,3})\.(\d{3})\.(\d{3})(?![\d.,]) → \1\2\3     1.234.567
    ^(\d{4}-\d\d-\d\d|\d\d?/\d\d?/\d{4})$ → \\date\1     a date is no arithmetic
    (?<=!)! → \\double     n!! is not (n!)!
    \\(?:left|right)\s*\.|\\[,;: ()\[\]]|~ → ␣     spaces, and \( \) \[ \]
    \\([A-Za-z]+)(?![A-Za-z]) → command
    \b(?:infinity|infty)\b → ∞
    \\mathbb\s*(?:R|\{R\})(?!\s*[\^_\\]) → (-∞,∞)
    ⦃\s*(\w)\s*(?:∈\s*\(-∞,∞\)\s*)?[|:](?=\s*\S+\s*(?:[<>]|!=))([^⦃⦄]*)⦄ → \2     \{x \mid x > 2\}
    \{([^{}]*)\\choose([^{}]*)\}|^([^{}]*)\\choose([^{}]*)$ → \\binom{\1\3}{\2\4}
    \\([%&#_]) → \1
    \\\$ → ¤     money, where $ may be a bracket
    (?<=[\w)} ])\*\*(?=[ \w({\\+-]) → ^
    \\(?:mathrm|rm)\s*\{\s*([eid])\s*\}|\\text\{\s*([eijknx-z])\s*\} → ␣\1\2␣
    \\(?:mathbf|boldsymbol|mathit|vec|mathbb)\s*\{([^{}]*)\} → ␣\1␣
    \\(?:text\w*|[mh]box|mathrm|rm|operatorname)\s*\{\s*+([^{}]*?)\s*\} → ␣"\1"␣
    \|([^|=<>,]*[^|=<>,+\-*/^({\s])\s*\| → \\abs{\1}
    \|([^|=<>,]*[^|=<>,+\-*/^({\s])\s*\| → \\abs{\1}     once more: ||x| - 1|
    "([^"A-Za-z]*)" → \1     \text{\$18}
    \s*\(?\s*["\\]?\b[pb]?mod\b"?\s*\{?([^(){},;]*)\}?\s*\)? → \\mod\1
    (?:\{\s*\})?\s*[_^]\s*\{?(\d+)\}?\s*C\s*_\s*\{?(\d+)\}? → \\binom{\1}{\2}     {}_{10}C_3
    (?<=\d)\s*(?:\^\s*\{\s*"?|")(st|nd|rd|th)\b"?(?:\s*\})? → \1
    \^\s*(?:°|\{\s*°\s*\}) → °
    \\frac\s*([\da-z])\s*(?=[\da-z{]) → \\frac{\1}     \frac12
    (\\frac\s*\{[^{}]*\})\s*([\da-z]) → \1{\2}     \frac{1}2
    (\\sqrt|\^|_)\s*(\d+|[a-z])(?![a-z]) → \1{\2}     x^2, \sqrt2
    (?<![\d.^_}A-Za-z/])(?<![^{\s$]\{)(\d{1,99})\s* (\d{1,99}) ?/ ?(\d{1,99})(?![\d.]) → improper
    (?<![\d.^_}A-Za-z/])(?<![^{\s$]\{)(\d{1,99})\s*\\frac\{(\d{1,99})\}\{(\d{1,99})\} → improper
    \\dot\s*\{?(\d)\}?(?:(\d*)\\dot\s*\{?(\d)\}?)? → \\overline{\1\2\3}
    (\d*)\.(\d*)\s*\\?(?:overline|bar)\s*\{\s*(\d+)\s*\} → repeating
    (\d*)\.(\d*)\((\d+)\)(?=[^\w(]*$) → repeating     0.1(6)
    (\d*)\.(\d{0,9}?)(\d{1,9}?)\3+\s*(?:\.\.\.|\\[lc]?dots) → repeating     0.1666...
    (?<=\d) ?x ?(?=10\s*\^) → *
    (?<=,)\s*(?:\.\.\.|\\[lc]?dots) → ␣\\ldots
    \\?\bsqrt\s*(\[[^\[\]]*\]) → \\root\1
    (?<=[\d.)}])(\s*"?)\s*(?i:dozen)s?\b → *12\1
    (?<=[\d.)}])(\s*"?)\s*(?i:hundred)s?\b → *10^{2}\1
    (?<=[\d.)}])(\s*"?)\s*(?i:thousand)s?\b → *10^{3}\1
    (?<=[\d.)}])(\s*"?)\s*(?i:million)s?\b → *10^{6}\1
    (?<=[\d.)}])(\s*"?)\s*(?i:billion)s?\b → *10^{9}\1
    (?<=[\d.)}])(\s*"?)\s*(?i:trillion)s?\b → *10^{12}\1
    \$([^$]*)\$ → ␣\1␣     in pairs they enclose mathematics, one alone is money
    (?:(?:\bUS)?[¤$]|\bUSD\b)\s*(-?[\d.,]*\d(?:\*10\^\{\d+\})?|\(\d+/\d+\)) → \1␣"dollar"␣
    (?<=[\d)}])\s*[¤$]|(?<=\d)\s+USD\b → ␣"dollar"␣     18\$
    ([€£¥₹₩₽]|\b(?:EUR|GBP|JPY|INR|CHF)\b|\bRs\b)\.?\s*(-?[\d.,]*\d|\(\d+/\d+\)) → \2␣"\1"␣
    \s+ → ␣
    ^(?:= ?)+|^0(?=\d:) →     \approx 5, 09:30
    ^(\d+)[ "]+to[ "]+(\d+)$ → \1:\2
    ^ |[.,;: ]+(?=\}*$) →
    ^[{ *]*"(?![abcxyz]{2,}"|[^aeiouA-Z\W]{2,}")([^"]*)"[} *]*$ → \1     a word, if not as xy
    ^(?i:an?|the) (?=[A-Za-z]{4,}$) →     a circle
    ^(?i:COUNT)$ → counted
    ^(?i:option|choice)\s+\(?([A-E])\)?$|^([A-E])\)$ → \1\2
    (^|[=,]) ?<([^<>=]*,[^<>=]*)>(?=$|,) → \1(\2)     vectors
    (?<!\d)(\d{1,3}) (?=\d{3}(?!\d)) → \1     10 000
    (?<![\d.])[1-9]\d?\d?(?:,\d{3})*,0\d\d(?:,\d{3})*(?!\d) → no_comma     no number begins with two digits 0
    (?:(?<=[,;] )|[\[(⦃] ?)[1-9]\d?\d?(?:,\d{3})+(?=, |;) → no_comma     (1,200, 3)
    (?<=[,;] )[1-9]\d?\d?(?:,\d{3})+(?= ?[])⦄]) → no_comma     (3, 1,200)
    (?<![\d.,])[1-9]\d?\d?(?:,\d{3})+(?!,?\d)(?!(?:[^][()⦃⦄]|[\[(⦃][^][()⦃⦄]*[])⦄])*[])⦄]) → no_comma
    ^\{((?:[^{},]|\{[^{}]*\})*)\}$ → \1
    (?<=:\d\d)["\s]*(?i:a\.?\s?m)\b[."\s]*$ → \\am
    (?<=:\d\d)["\s]*(?i:p\.?\s?m)\b[."\s]*$ → \\pm
    ^(\d\d?)(?:["\s]+|(?=[AaPp]\.))(?i:a\.?\s?m)\b[."\s]*$ → \1:00\\am
    ^(\d\d?)(?:["\s]+|(?=[AaPp]\.))(?i:p\.?\s?m)\b[."\s]*$ → \1:00\\pm
    \b(\d\d?)(?:st|nd|rd|th)?["\s]+MONTH\b["\s.,]*(\d{4})?\b → \2␣\1␣\3     4 July 1776
    \bMONTH["\s.]+(\d\d?)(?:st|nd|rd|th)?\b(?:["\s,]+(\d{4})\b)? → \\\1␣\2␣\3     July 4, 1776
    ^(?!\\?[A-Za-z]+ ?=)([^=<>]+?) ?= ?("?\\?[A-Za-z]+"?)$ → \2=\1     5 = x
    """.replace("MONTH", _MONTH).replace("COUNT", "|".join(_COUNT)),  # commas: within brackets they may part
    command=lambda m: _COMMANDS.get(m[1], m[0]), improper=_improper, repeating=_repeating,
    no_comma=lambda m: m[0].replace(",", ""),
    counted=lambda m: str(_COUNT.index(m[0].casefold())))


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

"""Units: one spelling for what a number counts, so that 15 square centimetres are 15 cm^2 and not 15 cm.

Known units have aliases; any other word or two behind a number is taken for what is counted (12 apples), unless it is a word that
would change what is said: 42 is "not 42" and "42 or so" in no unit.

See it: python -m pytest tests/test_verifier.py
"""

import re

from t1mini.answers.expressions import NotMathematics

ALIASES = {alias: unit for unit, aliases in {
    "cm": "centimeter centimetre", "mm": "millimeter millimetre", "m": "meter metre", "km": "kilometer kilometre", "in": "inch inche",
    "ft": "foot feet", "yd": "yard", "mi": "mile", "h": "hour hr", "min": "minute", "s": "second sec", "kg": "kilogram", "g": "gram",
    "lb": "pound", "oz": "ounce", "l": "liter litre", "ml": "milliliter", "°": "degree deg", "%": "percent", "dollar": "usd buck",
    "yr": "year", "rad": "radian", "cent": "", "c": "celsius", "f": "fahrenheit",
    "unit": "", "mph": "", "sq": "", "cu": ""}.items() for alias in (unit, *aliases.split())}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_NO_UNIT = set("is are was be not no nor non isn isnt wrong incorrect false maybe perhaps possibly probably if then than except unless but "
               "plus minus times half least most about around between never none more less fewer either neither approximately "
               "roughly exactly or and answer correct true".split())


def canonical_unit(text: str) -> tuple[str, int]:
    """A unit in one spelling, and the factor that words such as "million" stand for. NotMathematics where it is no unit.

    >>> canonical_unit("square centimeters"), canonical_unit("cm^2"), canonical_unit("million dollars")
    (('cm^2', 1), ('cm^2', 1), ('dollar', 1000000))
    """
    unit, power, scale = [], "", 1
    for word in re.findall(r"[^\W\d_]+|\S", re.sub(r'[{}"]', " ", text.casefold()).replace("mph", "mi / h")):
        single = word.removesuffix("s") if len(word) > 2 else word
        if word in _NO_UNIT or not (word.isalpha() or word in "/^°%-." or word.isdigit() and unit and unit[-1][-1] in "^-"):
            raise NotMathematics(f"{text!r} is no unit")
        if single in _SCALES:
            scale *= _SCALES[single]
        elif word in ("square", "sq", "cubic", "cu"):
            power = "^2" if word[0] == "s" else "^3"
        elif word in ("squared", "cubed", "^", "-") or word.isdigit():
            unit[-1:] = ["".join(unit[-1:]) + {"squared": "^2", "cubed": "^3"}.get(word, word)]
        elif word != ".":
            name = "/" if word in ("/", "per") else (ALIASES.get(word) or ALIASES.get(single) or single) + power
            unit, power = unit if unit[-1:] == [name] else [*unit, name], ""
    if len(unit) > 4:
        raise NotMathematics(f"{text!r} is no unit")
    return " ".join(unit), scale

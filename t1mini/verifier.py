r"""The verifier for mathematics: is the final answer of a response the gold one? All the reward.

    extract_answer   of what follows the thinking the last \boxed or \fbox, else the last <answer>, else
                     "#### x", else "answer is x"; never just the last number, and never a list of guesses
    answers_equal    5 = 5.0 = 10/2,  \frac{\sqrt{2}}{2} = 1/\sqrt2,  {1, 2} = 2, 1,  but (1, 2) is not (2, 1)
    verify           both, and where the gold answer is a plain number the response must have worked it out:
                     17 * 23 is not 391

Answers are brought to one spelling and read from the outside in (t1mini.answers.latex), expressions are
compared by their values (t1mini.answers.expressions), and what does not read as mathematics is compared as
text. The response is not to be trusted: nothing in it is executed, every search in it is bounded, and
whatever it contains, the worst it can be is wrong.

Try it: python -c "from t1mini.verifier import verify; print(verify('So \\boxed{\\frac{2}{4}}.', '0.5'))"
"""

import re

from t1mini.answers.expressions import proportional, same_value, values
from t1mini.answers.latex import normalise, read

LONGEST = 1000  # characters

# --- extraction ------------------------------------------------------------------------------------------

_BOX = re.compile(r"""(?xs)  # a box or a brace opens; what ends one; what says nothing; what says something
    (?P<box> \\(?:boxed|fbox) (?![a-zA-Z]) (?:\s*(?=\{)
             | [ \t]*(?=[-+([]*(?:[\d.] | \\[a-zA-Z$]) | [A-HJ-Zb-z]\b)))?
    (?P<brace> \{ | (?(box)|(?!)))
    | (?P<end> [}$\n] | \\[])] | [.?](?=[\s}$]) | \s(?=[a-zA-Z]{2}))
    | \\(?:[lc]?dots|boxed|fbox)
    | (?P<word> \\(?!\\(?:boxed|fbox)). | [^\\{}\s.?…$_]+)""")
_TAG = re.compile(r"(?s)<answer>((?:(?!</?answer>).)*)</answer>")
# The last line, or what is no heading: neither words nor a numbered step.
_HASHES = re.compile(r"(?im)^[ \t]*####[ \t]*(?![*_]*(?:the |final )*answer)"
                     r"(\S[^\n]*(?=\s*\Z)|(?![*_]*(?:[a-z]{2}|\d+[.)] ))\S[^\n]*)$")
_SUPPOSED = re.compile(r"(?i)\b(?:if|whether|suppos\w+|assum\w+)\b"
                       r"(?:(?!(?:then|if)\b)[^.!?,\n]){0,40}?\banswer\b")
_SAYS = re.compile(r"(?i)\banswer\b[*_]*[ \t]*(?:\bis\b|:|=)[:*_ \t]*(?:\s*(?:\\\[|\$\$))?\s*(?=\S)")
_NEGATION = re.compile(r"(?i)(?:\w+ly )?(?:not|never)\b")
_SENTENCE = re.compile(r"(?i)\n|\\\]|[.!?](?=\s|$)"
                       r"|[,;]?[^\S\n]+(?:because|since|which|where|so|(?<!well )as(?! well))\b"
                       r"|(?<=[\d%)}$]),[^\S\n]+(?:after|by|for|from|giv\w+|just|obtained|rounded|with)\b")


def extract_answer(response: str):
    r"""The final answer as written, or None. What stands before the last </think> does not count.

    >>> extract_answer(r"\boxed{1}?</think> \boxed{\boxed{2}}"), extract_answer("The answer is not 42.")
    ('2', None)
    """
    text = response.rpartition("</think>")[2]
    if "<think>" in text:  # never closed: still thinking
        return None
    if boxed := last_box(text):
        return boxed
    text = text[-100 * LONGEST :]
    for pattern in (_TAG, _HASHES):
        if found := [*filter(_says_something, pattern.findall(text))]:
            return found[-1].strip()
    said = ["", *_SAYS.split(_SUPPOSED.sub("", text))[1:]][-1]
    answer = _SENTENCE.split(said[:LONGEST])[0].strip(" *_`")
    return answer if _says_something(answer) and not _NEGATION.match(answer) else None


def last_box(text):
    r"""What is in the last box that ends and is not empty, or ""; of boxes in boxes, the innermost.

    >>> last_box(r"\boxed{\frac{1}{2}}"), last_box(r"so $x = \boxed\frac12$."), last_box(r"\fbox 9 apples")
    ('\\frac{1}{2}', '\\frac12', '9')
    """
    opened, said, last = [], 0, (0, 0)
    for m in _BOX.finditer(text + "\n"):
        box, brace, end, word = m.groups()
        if brace is not None:
            opened.append((m.end() if box else len(text) + 1, brace))
        while end and opened and (end == "}" or not opened[-1][1]):  # without braces, it ends with its phrase
            start, brace = opened.pop()
            last = max(last, (start, m.start())) if said >= start else last
            if brace:
                break
        if word:
            said = m.start()
    return text[slice(*last)].strip().rstrip(",;")


def _says_something(answer):
    return re.sub(r"\\[lc]?dots|\\boxed|[\s.?…$_{}]", "", answer)


def verify(response: str, gold: str):
    """True if the response's final answer equals `gold`, and is worked out where `gold` is a plain number."""
    answer = extract_answer(response)
    return answer is not None and answers_equal(answer, gold) and (is_plain(answer) or not is_plain(gold))


_DIGITS = r"-?(?:\d[\d,]*(?:\.\d*)?|\.\d+)"
_PLAIN = re.compile(rf"[-+]?\(?(?:{_DIGITS}|{_DIGITS}(?: ?\* ?10 ?\^ ?\{{?-?\d+\}}?|[eE][-+]?\d+)"
                    r"|(?P<fraction>\d+ ?/ ?\d+|\\frac\{-?\d+\}\{-?\d+\}))\)?")


def is_plain(answer: str):
    """True for a number written out: 391, 3.5, 2/3, 2 1/2, 4e5, 50%, x = 5 cm; not for 17 * 23, 10/2, 2^3.

    >>> [is_plain(a) for a in ("1,024", r"x = 2\\frac12", "50%", "2^{10}", "10/2")]
    [True, True, True, False, False]
    """
    kind, *parts = bare(read(normalise(answer)))
    m = kind == "number" and _PLAIN.fullmatch(parts[0])
    return bool(m) and (not m["fraction"] or getattr(values(m[0])[0], "denominator", 1) > 1)


# --- equality --------------------------------------------------------------------------------------------

def answers_equal(prediction: str, gold: str):
    r"""True if two answers say the same, in either order. Never raises.

    >>> answers_equal(r"\frac{1}{2}", "0.5"), answers_equal("x = 5", "5"), answers_equal("(1, 2)", "(2, 1)")
    (True, True, False)
    """
    a, b = normalise(prediction), normalise(gold)
    if a == b:
        return True
    if max(len(a), len(b)) > 300:  # whole numbers of any length, and otherwise text
        a, b = a.replace(",", ""), b.replace(",", "")
        return a == b and a.removeprefix("-").isdecimal()
    return same(read(a), read(b))


_CLOCKS = re.compile(r"\d?\d:[0-5]\d \d?\d:[0-5]\d")


def same(a, b):
    """True if two answers that were read, or two words of them, say the same."""
    kinds = {a[0], b[0]}
    if a == b:
        return True
    if kinds == {"number"}:
        return same_value(a[1], b[1])
    if kinds == {"ratio"}:
        return not _CLOCKS.fullmatch(f"{a[1]} {b[1]}") and same(a[2], b[2])  # 6:20 is not 3:10
    if kinds <= {"named", "relation"} and a[1] == b[1] in ("=", "!=") and proportional(
            *(f"({left[-1]})-({right[-1]})" for *_, left, right in (a, b))):
        return True
    if len(kinds) == 2 and kinds & {"named", "unit"}:
        return same(bare(a), bare(b)) or any(
            x[:2] == ("unit", "%") and same(("number", f"({x[2][1]})/100"), y) for x, y in ((a, b), (b, a)))
    if kinds & {"set", "list"}:  # in any order; a set of one is what is in it
        x, y = (z[1:] if z[0] in ("set", "list") else [z][: len(z) == 2] for z in (a, b))
        return bool(x and y) and all(any(same(u, v) for v in to) for of, to in ((x, y), (y, x)) for u in of)
    return a[0] == b[0] != "text" and len(a) == len(b) and all(map(same, a[1:], b[1:]))


def bare(x):
    """Without its name, its unit, and the braces of a set of one."""
    while x[0] in ("named", "unit") or x[0] in ("set", "list") and len(set(x[1:])) == 1:
        x = x[-1]
    return x

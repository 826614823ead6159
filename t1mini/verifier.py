r"""The verifier for mathematics: is the final answer of a response equal to the gold one? This is all the reward there is.

    extract_answer    the last \boxed{}, else the last <answer>, else the last "#### x", else the last "answer is x" of what
                      follows the thinking; never just the last number of the text, and never a list of guesses
    answers_equal     5 = 5.0 = 10/2,  \frac{\sqrt{2}}{2} = 1/\sqrt2,  {1, 2} = 2, 1,  but (1, 2) is not (2, 1) nor [1, 2]
    verify            both, and where the gold answer is a plain number the response must have worked it out: 17 * 23 is not 391

An answer is read from the outside in: lists, brackets, relations, "x =" and units here, arithmetic in t1mini.answers.expressions.
What does not read as mathematics is compared as text. The response is not to be trusted: nothing in it is executed, every
search in it is bounded, and whatever it contains, the worst it can be is wrong.

Try it: python -c "from t1mini.verifier import verify; print(verify('So it is \\boxed{\\frac{2}{4}}.', '0.5'))"
"""

import re

from t1mini.answers.latex import bare, normalise, read, same

LONGEST, MOST_LOOKED_AT = 1000, 1_000_000  # characters

# --- extraction ----------------------------------------------------------------------------------------------------

_BOX, _BRACE = re.compile(r"\\boxed\s*\{"), re.compile(r"\\.|[{}]", re.DOTALL)
_TAG = re.compile(r"<answer>((?:(?!</?answer>).)*)</answer>", re.DOTALL)
_HASHES = re.compile(r"^[ \t]*####[ \t]*(\S[^\n]*)$", re.MULTILINE)
_SAYS = re.compile(r"\banswer\b[*_]*[ \t]*(?:\bis\b|:|=)[:*_ \t]*\n?[ \t]*(?=\S)", re.IGNORECASE)
_NEGATION = re.compile(r"(?:\w+ly )?(?:not|never)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[.!?](?=\s|$)|[,;]?\s+(?:because|since|which|where|so)\b", re.IGNORECASE)


def extract_answer(response: str) -> str | None:
    r"""The final answer as written, or None. What stands before the last </think> does not count.

    >>> extract_answer(r"<think>\boxed{1}?</think> It is \boxed{\boxed{2}}."), extract_answer("The answer is not 42.")
    ('2', None)
    """
    _, _, text = response.rpartition("</think>")
    if "<think>" in text:  # never closed: still thinking
        return None
    if boxed := _last_box(text):
        return boxed
    text = text[-100 * LONGEST :]
    for pattern in (_TAG, _HASHES):
        found = [m for m in pattern.findall(text) if _says_something(m)]
        if found:
            return found[-1].strip()
    said = [m.end() for m in _SAYS.finditer(text)]
    if not said:
        return None
    line = text[said[-1] : said[-1] + LONGEST].split("\n")[0]
    answer = _SENTENCE.split(line, maxsplit=1)[0].strip(" *_`")
    return answer if _says_something(answer) and not _NEGATION.match(answer) else None


def _last_box(text: str) -> str | None:
    r"""What is in the last \boxed{} that closes and is not empty; of boxes in boxes, the innermost."""
    boxes = [m.end() for m in _BOX.finditer(text)]
    ends, starts, opened, depth = {}, set(boxes), [], 0  # of boxes that are open: their depth and start
    for m in _BRACE.finditer(text, boxes[0] - 1) if boxes else ():
        if m[0] == "{":
            if m.end() in starts:
                opened.append((depth, m.end()))
            depth += 1
        elif m[0] == "}":
            depth -= 1
            if opened and opened[-1][0] == depth:
                ends[opened.pop()[1]] = m.start()
    looked_at = 0
    for start in boxes[::-1]:
        content = text[start : ends.get(start, start)]
        looked_at += len(content)
        if _says_something(content):
            return content.strip()
        if looked_at > MOST_LOOKED_AT:  # empty boxes in empty boxes
            return None
    return None


def _says_something(answer: str) -> bool:
    return re.sub(r"\\[lc]?dots|\\boxed|[\s.?…$_{}]", "", answer) != ""


def verify(response: str, gold: str) -> bool:
    """True if the response's final answer equals `gold`, and is worked out where `gold` is a plain number."""
    answer = extract_answer(response)
    if answer is None or not answers_equal(answer, gold):
        return False
    return is_plain(answer) or not is_plain(gold)


_DIGITS = r"-?(?:\d[\d,]*(?:\.\d*)?|\.\d+)"
_PLAIN = re.compile(rf"[-+]?\(?(?:{_DIGITS}|{_DIGITS}(?: ?\* ?10 ?\^ ?\{{?-?\d+\}}?|[eE][-+]?\d+)|0?\.?\d*\\overline\{{\d+\}}"
                    r"|(?P<top>\d+) ?/ ?(?P<bottom>\d+)|\\frac\{(?P<upper>-?\d+)\}\{(?P<lower>-?\d+)\})\)?")


def is_plain(answer: str) -> bool:
    """True for a number written out: 391, 3.5, 2/3, 2 1/2, 4e5, 50%, x = 5 cm; false for 17 * 23, 10/2, sqrt(4), 2^3.

    >>> [is_plain(a) for a in ("1,024", r"x = 2\\frac12", "50%", "2^{10}", "10/2")]
    [True, True, True, False, False]
    """
    value = bare(read(normalise(answer)))
    m = _PLAIN.fullmatch(value[1]) if value[0] == "number" else None
    if not m:
        return False
    top, bottom = m["top"] or m["upper"], m["bottom"] or m["lower"]
    return not bottom or len(top + bottom) > 400 or int(bottom) != 0 and int(top) % int(bottom) != 0


def answers_equal(prediction: str, gold: str) -> bool:
    r"""True if two answers say the same, in either order. Never raises.

    >>> answers_equal(r"\frac{1}{2}", "0.5"), answers_equal("x = 5", "5"), answers_equal("(1, 2)", "(2, 1)")
    (True, True, False)
    """
    a, b = normalise(prediction), normalise(gold)
    if a == b:
        return True
    if max(len(a), len(b)) > 300:  # whole numbers of any length, and otherwise text
        digits = [re.fullmatch(r"\+?(-?)0*([\d,]+)", text) for text in (a, b)]
        return all(digits) and len({(m[1], m[2].replace(",", "")) for m in digits}) == 1
    return same(read(a), read(b))

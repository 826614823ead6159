"""Lesson 3: extract_answer and answers_equal."""

import re
from fractions import Fraction

from checking.tasks import Case, Mistake, Task

# --- extract_answer -------------------------------------------------------------------------------

TEXTS = {
    "a box": r"So we get \boxed{42}.", "two boxes": r"First \boxed{7}, no: \boxed{12}",
    "braces in the box": r"It is \boxed{\frac{1}{2}} then.",
    "three braces deep": r"\boxed{\sqrt{\frac{a^{2}}{b}}}",
    "braces in braces": r"\boxed{\sqrt{\frac{a}{b}}} and {more}", "spaces in the box": r"\boxed{ 3 }",
    "text between two boxes with braces": r"\boxed{1} and \text{then} \boxed{2}",
    "a box in the thinking only": r"<think>perhaps \boxed{5}</think> The answer is 6.",
    "a box in the thinking and another after it": r"<think>\boxed{5}</think> \boxed{8}",
    "thinking that never ends": r"<think>it may be \boxed{5}, let me check",
    "no box, but words": "Adding up, the answer is 17.", "words in capitals": "The Answer is 23",
    "all in capitals": "THE ANSWER IS 24", "a space behind the full stop": "The answer is 18. ",
    "an answer of several words": "The answer is 12 red apples.",
    "a point in front and a full stop behind": "The answer is .5.",
    "said twice": "The answer is 4. Wait. The answer is 9.",
    "a box and words: the box counts": r"The answer is 3. In a box: \boxed{4}",
    "numbers only": "First 12, then 15, and last 27.", "an empty text": "",
    "a box that is not closed": r"The result: \boxed{12",
    "a box that is not closed after one that is": r"\boxed{31} or rather \boxed{32",
    "words over two lines": "The answer is 12\nand that is all",
    "two closed thinkings, the answer between them":
        r"<think>a</think> The answer is 1. <think>b</think> Well.",
    "a second </think>, and a box before it": r"<think>a</think> so \boxed{4}, no</think> the answer is 6.",
    "a second thinking that never ends": r"<think>a</think> so \boxed{4} <think>or \boxed{5}",
    "a word as answer": "The answer is Paris.", "a box that ends with a full stop": r"\boxed{5.}",
    "a decimal number": "the answer is 2.5."
}


def extract(text: str, *, think=True, which=-1, balanced=True, words=True, fallback=None, strip=True,
            case=True, line=True, dot=True, unclosed=False, first_words=False,
            late=False) -> str | None:
    if think:
        _, _, text = text.rpartition("</think>")
        if "<think>" in text:
            return None
    boxes = []
    for m in re.finditer(r"\\boxed\{", text):
        depth, end = 1, m.end()
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
            if not balanced and text[end - 1] == "}":
                depth = 0
        if not depth or unclosed:
            boxes.append(text[m.end() : end - (not depth)])
    if boxes:
        return boxes[which].strip() if strip else boxes[which]
    said = list(re.finditer(r"answer is", text, re.IGNORECASE if case else 0)) if words else []
    if said:
        rest = text[said[0 if first_words else -1].end() :]
        rest = rest.split("\n")[0] if line else rest
        rest = rest.removesuffix(".") if late else rest
        return rest.strip().removesuffix("." if dot else "").strip()
    return fallback(text) if fallback else None


def last_number(text: str) -> str | None:
    return (re.findall(r"-?\d+(?:\.\d+)?", text) or [None])[-1]


def _extract(says: str, **how) -> Mistake:
    return Mistake(says, lambda text: extract(text, **how))


def _greedy(text: str) -> str | None:
    text = text.rpartition("</think>")[2]
    if "<think>" in text:
        return None
    found = re.findall(r"\\boxed\{(.*)\}", text, re.DOTALL)
    return found[-1].strip() if found else extract(text)


def _one_level(text: str) -> str | None:
    text = text.rpartition("</think>")[2]
    if "<think>" in text:
        return None
    found = re.findall(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}", text)
    return found[-1].strip() if found else extract(text.replace("\\boxed", "\\box"))


def _to_last(text: str) -> str | None:
    _, box, rest = text.rpartition("</think>")[2].rpartition("\\boxed{")
    inside, brace, _ = rest.rpartition("}")
    return inside.strip() if box and brace and extract(text) else extract(text)


EXTRACT = Task(
    "extract_answer", lambda seed: [Case(f"{label}: {text!r}", (text,)) for label, text in TEXTS.items()],
    extract, seeds=1, answers=("t1mini.verifier.extract_answer", "t1mini.verifier.last_box"),
    mistakes=(
        _extract("boxes: braces within the box count, so \\boxed{\\frac{1}{2}} holds \\frac{1}{2}; yours "
                 "stops at the first }",
                 balanced=False),
        Mistake("boxes: yours reads up to the last } of the text; the box ends where its own brace closes",
                _greedy),
        Mistake("boxes: inner braces may stand in a box, \\boxed{\\frac{1}{2}}; your pattern allows none",
                lambda text: extract(re.sub(r"\\boxed(?=\{[^{}]*\{)", "", text))),
        _extract("the last box counts, yours takes the first", which=0),
        _extract("what stands before </think> does not count, and thinking that never ends has no answer",
                 think=False),
        Mistake("thinking that never ends has no answer",
                lambda text: extract(text.rpartition("</think>")[2], think=False)),
        Mistake("a box in the thinking does not count, even if there is none behind it",
                lambda text: extract(text if "boxed" not in text.rpartition("</think>")[2]
                                     and "boxed" in text else text.rpartition("</think>")[2],
                                     think=False) if "</think>" in text else extract(text)),
        Mistake('a box counts, wherever it stands; yours lets an "answer is" behind it win, or before it',
                lambda text: extract(re.sub(r"\\boxed", "box", text))
                if "answer is" in text.lower().rpartition("</think>")[2] else extract(text)),
        _extract("a number that merely stands last is no answer: return None", fallback=last_number),
        Mistake('it takes the last number of the text: an answer is what is boxed, or what follows "answer '
                'is"',
                last_number),
        _extract("a box that never closes is none", unclosed=True),
        _extract('without a box, what follows "answer is" counts', words=False),
        Mistake('a box counts before the words "answer is"',
                lambda text: extract(text.replace("\\boxed", "\\box")) or extract(text)),
        _extract("spaces around the answer are to be stripped", strip=False),
        _extract('"Answer is" counts in any case', case=False),
        Mistake('"answer is" counts in any case: ANSWER IS, too, not only with a capital A',
                lambda text: extract(text.replace("Answer is", "answer is"), case=False)),
        Mistake("a space may stand behind the full stop: strip first, then take the full stop away",
                lambda text: extract(text, dot=False, late=True)),
        Mistake("a <think> behind the last </think> is thinking that never ends, too: there is no answer",
                lambda text: None if "<think>" in text and "</think>" not in text
                else extract(text.rpartition("</think>")[2], think=False)),
        Mistake("boxes: yours reads up to the last } of the text; the box ends where its own brace closes",
                _to_last),
        _extract("the answer in words ends with its line", line=False),
        _extract("the full stop that ends the sentence is not part of the answer", dot=False),
        _extract('of several "answer is" the last counts, yours takes the first', first_words=True),
        Mistake("boxes: your pattern knows one level of inner braces; they may be nested deeper",
                lambda text: _one_level(text)),
        Mistake("only what stands behind the LAST </think> counts, and a <think> behind it that never ends "
                "has no answer",
                lambda text: extract(text.partition("</think>")[2] if "</think>" in text else text
                                     if "<think>" not in text else "",
                                     think=False)),
        Mistake("only what stands behind the LAST </think> counts; yours cuts behind the first",
                lambda text: extract(text.replace("</think>", "<end>", 1).replace("</think>", "")
                                     .replace("<end>", "</think>"))),
        Mistake("of boxes the last that closes counts; yours gives up where the last one does not close",
                lambda text: None if re.search(r"\\boxed\{[^{}]*$", text) and "</think>" not in text
                else extract(text)),
        Mistake("the answer's capital letters are to be kept",
                lambda text: (found := extract(text)) and (found if "boxed" in text else found.lower())),
        Mistake('all of the line behind "answer is" is the answer, not its first word alone',
                lambda text: (found := extract(text)) and (found if "boxed" in text else found.split()[0])),
        Mistake('all of the line behind "answer is" is the answer, not a number in it alone',
                lambda text: (found := extract(text)) and (
                    found if "boxed" in text else (re.findall(r"-?\d*\.?\d+", found) or [None])[0])),
        Mistake("only the full stop at the end goes: the point in front of .5 is a part of the number",
                lambda text: (found := extract(text)) and found.lstrip(". ")),
        Mistake("the point within a number is no full stop: 2.5 is cut to 2",
                lambda text: (found := extract(text))
                and (found if "boxed" in text else found.split(".")[0])),
        Mistake("a full stop within a box belongs to the answer",
                lambda text: (found := extract(text)) and found.rstrip(".")),
        Mistake("where there is no answer, return None and not an empty text",
                lambda text: extract(text) or "")
    )
)


# --- answers_equal --------------------------------------------------------------------------------

PAIRS = [("5", "5", True), ("5", "5.0", True), ("0.50", "1/2", True), (r"\frac{1}{2}", "0.5", True),
         (r"\frac{10}{4}", "5/2", True), ("1,024", "1024", True), ("$12$", "12", True), (" 7 ", "7", True),
         ("-3", "-3.00", True), ("5", "6", False), ("-3", "3", False), ("1/3", "0.333", False),
         ("0.3333333333", "1/3", False), ("0.1", "0.10000001", False), ("x + 1", "x+1", True),
         ("x + 1", "x + 2", False), (r"\frac{1}{2}", r"\frac{2}{1}", False), ("1/0", "5", False),
         ("", "5", False), ("12", "1", False), ("1234567890123456789", "1234567890123456788", False),
         ("9**9**9**9", "1", False), ("__import__('time').sleep(60)", "1", False),
         (r"-\frac{3}{4}", "-0.75", True), ("x", "x", True), ("0", "0.0", True), ("X", "x", False),
         ("Paris", "paris", False), ("1e3", "1000", False), ("1_000", "1000", False), (".5", "0.5", True),
         (".5", "5", False), ("1,234,567", "1234567", True), ("$1,000$ $", "1000", True),
         ("2/4", "1/2", True), ("12km", "12", False), ("5 cats", "5", False), ("05", "5", True),
         ("-0", "0", True), ("--5", "-5", False), (r"x\frac{1}{2}", "x1/2", False), ("1 000", "1000", True),
         ("+5", "5", False), ("-$5", "-5", True), ("\u00b2", "5", False), ("x", "y z", False),
         ("x = 5", "5", False), ("3 + 2 = 5", "5", False), ("-1/2", "-0.5", True), ("-.5", "-1/2", True),
         (r"\frac{1}{0}", "5", False)]


def bare(text: str) -> str:
    return text.replace("$", "").replace(",", "").replace(" ", "")


def read(text: str, match=re.fullmatch):
    text = bare(text)
    m = match(r"(-?)(?:\\d?frac\{(-?\d+)\}\{(-?\d+)\}|(\d+)/(\d+)|(\d*\.?\d+|\d+\.))", text)
    if not m:
        return text
    sign = -1 if m[1] else 1
    top, bottom = (m[2], m[3]) if m[2] else (m[4], m[5])
    if top:
        return sign * Fraction(int(top), int(bottom)) if int(bottom) else text
    return sign * Fraction(m[6])


def equal(a: str, b: str) -> bool:
    return read(a) == read(b)


def _tolerant(far: float):
    def function(a, b):
        x, y = read(a), read(b)
        return abs(x - y) < far if isinstance(x, Fraction) and isinstance(y, Fraction) else x == y

    return function


def _fraction(text):
    text = text.replace("$", "").replace(",", "").replace(" ", "")
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return read(text)


def _as_float(text):
    return float(read(text)) if isinstance(read(text), Fraction) else read(text)


def _number(text):
    return read(text) if isinstance(read(text), Fraction) else None


def _divided(text):
    found = re.fullmatch(r"(-?\d+)/(\d+)", bare(text))
    return Fraction(int(found[1]), int(found[2])) if found else read(text)


def _digits(text):
    return Fraction(int(bare(text))) if bare(text).isdigit() else read(text)


def _without(pattern: str, to=None):
    """As `equal`, but texts with `pattern` are compared as they stand."""

    def function(a, b):
        return a.strip() == b.strip() if re.search(pattern, a + " " + b) else equal(a, b)

    return function


def equal_cases(seed: int) -> list[Case]:
    cases = ([Case(f"{a!r} and {b!r}", (a, b)) for a, b, _ in PAIRS]
             + [Case(f"{b!r} and {a!r}, the other way round", (b, a)) for a, b, _ in PAIRS])
    return cases


EQUAL = Task(
    "answers_equal", equal_cases, equal, seeds=1,
    answers=("t1mini.verifier.answers_equal", "t1mini.verifier.same", "t1mini.answers.latex.read",
             "t1mini.answers.expressions.same_value"),
    mistakes=(
        Mistake("texts are compared as they stand: 5 and 5.0 are the same number", lambda a, b: a == b),
        Mistake("texts are compared as they stand: 5 and 5.0 are the same number",
                lambda a, b: a.strip() == b.strip()),
        Mistake("numbers are compared with a tolerance: 0.333 is not 1/3; Fraction compares exactly",
                _tolerant(1e-3)),
        Mistake("numbers are compared with a tolerance: 0.10000001 is not 0.1; Fraction compares exactly",
                _tolerant(1e-6)),
        Mistake("numbers are compared with a tolerance: 0.3333333333 is not 1/3; Fraction compares exactly",
                _tolerant(1e-9)),
        Mistake("numbers are compared as floats, which keep 16 digits: Fraction compares exactly",
                lambda a, b: _as_float(a) == _as_float(b)),
        Mistake("\\frac{1}{2} is a number too", _without(r"frac")),
        Mistake("a minus may stand in front of \\frac", _without(r"-\\frac")),
        Mistake("the whole text has to be a number: 12km is none (re.fullmatch, or an anchor at the end)",
                lambda a, b: read(a, re.match) == read(b, re.match)),
        Mistake("whole numbers are numbers, too: 05 is 5, and -0 is 0",
                lambda a, b: bare(a) == bare(b) if all(re.fullmatch(r"-?\d+", bare(x)) for x in (a, b))
                else equal(a, b)),
        Mistake("only a minus may stand in front of a number: +5 is a text",
                lambda a, b: equal(*(x.strip().removeprefix("+") for x in (a, b)))),
        Mistake("one minus may stand in front: --5 is a text",
                lambda a, b: equal(*(re.sub("^-+", "-", x) for x in (a, b)))),
        Mistake("a \\frac within a longer text is a part of it: only a text that is one is a number",
                lambda a, b: equal(*(re.sub(r"\\d?frac\{(\d+)\}\{(\d+)\}", r"\1/\2", x) for x in (a, b)))),
        Mistake("spaces and dollar signs go wherever they stand, also within",
                lambda a, b: equal(*(x if not re.search("[$ ]", x.strip("$ ")) else f"text {x}"
                                     for x in (a, b)))
                or a.strip("$ ").replace(",", "") == b.strip("$ ").replace(",", "")),
        Mistake("1/2 is a number too", _without(r"\d/\d")),
        Mistake("1,024 is the number 1024", _without(",")),
        Mistake("dollar signs are not part of the answer", _without(r"\$")),
        Mistake("where an answer is not a number, texts are compared without spaces",
                lambda a, b: equal(a, b) and (isinstance(read(a), Fraction) or a.strip() == b.strip())),
        Mistake("an answer that is not a number is compared as text; yours is equal to nothing",
                lambda a, b: equal(a, b) and isinstance(read(a), Fraction)),
        Mistake("what is no number is compared as text; in yours any two of them are equal (None == None?)",
                lambda a, b: _number(a) == _number(b)),
        Mistake("x = 5 is not a number and is compared as a text; yours drops what stands before =",
                lambda a, b: equal(*(x.split("=")[-1] for x in (a, b)))),
        Mistake("with a denominator of 0 there is no number: 1/0 is a text, and nothing is raised",
                lambda a, b: _divided(a) == _divided(b)),
        Mistake("isdigit is true of a superscript, too, which int refuses: isdecimal, or [0-9]",
                lambda a, b: _digits(a) == _digits(b)),
        Mistake("capital letters count where an answer is compared as text: X is not x",
                lambda a, b: equal(a.lower(), b.lower())),
        Mistake("1e3 and 1_000 are no numbers as the exercise has them: Fraction(text), float and int read "
                "more than digits, a point and a slash; look at the text first",
                lambda a, b: _fraction(a) == _fraction(b)),
        Mistake("every comma goes, not only the first: 1,234,567",
                lambda a, b: equal(*(re.sub(",.*,", ",x,", x).replace(",", "", 1) for x in (a, b)))),
        Mistake("every dollar sign goes, not only those at the ends",
                lambda a, b: equal(*("text" + x if "$" in x.strip().strip("$") else x for x in (a, b)))),
        Mistake(".5 is a half: the point in front is a part of the number, yours strips it",
                lambda a, b: equal(a.strip(" ."), b.strip(" ."))),
        Mistake("the sign is lost", lambda a, b: equal(a.replace("-", ""), b.replace("-", ""))),
        Mistake("one answer that is contained in the other is not equal to it",
                lambda a, b: a.replace(" ", "") in b.replace(" ", "") or equal(a, b)),
        Mistake("one answer that is contained in the other is not equal to it",
                lambda a, b: b in a or a in b),
        Mistake("everything is equal", lambda a, b: True),
        Mistake("nothing is equal", lambda a, b: False),
        Mistake("the result is turned round: True means equal", lambda a, b: not equal(a, b))
    )
)

TASKS = (EXTRACT, EQUAL)

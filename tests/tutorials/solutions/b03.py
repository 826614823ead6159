"""Right answers to exercise 3: a stack, and cross-multiplied whole numbers."""

import re


def extract_answer(text):
    if "<think>" in text and "</think>" not in text:
        return None
    text = text.split("</think>")[-1]
    if "<think>" in text:
        return None
    stack, boxes, i = [], [], 0
    while i < len(text):
        if text.startswith("\\boxed{", i):
            stack.append(i + 7)
            i += 7
            continue
        if text[i] == "{":
            stack.append(None)
        elif text[i] == "}" and stack:
            start = stack.pop()
            if start is not None:
                boxes.append((start, text[start:i]))
        i += 1
    if boxes:
        return max(boxes)[1].strip()
    at = text.lower().rfind("answer is")
    if at < 0:
        return None
    line = text[at + 9 :].splitlines()[0] if text[at + 9 :] else ""
    line = line.strip()
    return line[:-1].strip() if line.endswith(".") else line


def number(text):
    m = re.fullmatch(r"(-?)(\d*)(?:\.(\d*))?", text)
    if m and (m.group(2) or m.group(3)):
        digits = m.group(3) or ""
        top = int((m.group(2) or "0") + digits)
        return (-top if m.group(1) else top), 10 ** len(digits)
    m = re.fullmatch(r"(-?)(?:(\d+)/(\d+)|\\frac\{(\d+)\}\{(\d+)\})", text)
    if m:
        top, bottom = int(m.group(2) or m.group(4)), int(m.group(3) or m.group(5))
        return ((-top if m.group(1) else top), bottom) if bottom else None
    return None


def answers_equal(a, b):
    a, b = ("".join(c for c in x if c not in "$, \t\n") for x in (a, b))
    x, y = number(a), number(b)
    if x is None or y is None:
        return a == b
    return x[0] * y[1] == y[0] * x[1]

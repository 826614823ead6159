"""Exercise 3: the verifier (tutorials/03_verifier.md).

Check it: python tutorials/check.py 03
"""


def extract_answer(text: str) -> str | None:
    r"""The final answer of a response, or None. About 15 lines, 25 minutes, medium.

    1. Only what stands behind the last "</think>" counts. With a "<think>" and no "</think>" behind it there
       is no answer.
    2. The content of the last "\boxed{...}" that closes, its inner braces intact: "\boxed{\frac{1}{2}}" holds
       "\frac{1}{2}".
    3. Without a box that closes: what follows the last "answer is" (in any case) in its line, stripped of
       spaces, then without the full stop at its end. (No colon and no empty rest occurs.)
    4. Otherwise None: a number that merely stands last is no answer.

    Spaces around the answer are stripped. (Boxes within boxes, and empty ones, do not occur.)
    """
    raise NotImplementedError


def answers_equal(a: str, b: str) -> bool:
    r"""True if two answers say the same. About 15 lines, 25 minutes, medium.

    "$", "," and spaces do not matter, wherever they stand. Whole numbers, decimals, "1/2" and "\frac{1}{2}",
    each perhaps with a minus in front, are compared as numbers, exactly: 0.5 = 1/2 = .5, but 0.333 is not
    1/3. Anything else, such as 1e3 or 1_000, is compared as text, capital letters and all. It never raises,
    and never runs what it reads. (No answer has more than 1,000 characters.)
    """
    raise NotImplementedError

"""Calculations to practise, twelve a question, as worked solutions that `python -m t1mini sft` reads.

    43-15 = 28      sums and differences of one to three digits, products and quotients with 2 to 12

A language model of 135 million weights writes 6-3 = 2, and word problems are too few to teach it otherwise.
No result is negative or broken.

Run it: python tutorials/drill.py > drill.jsonl
"""

import json
import random


def calculation(rng):
    """
    >>> calculation(random.Random(0))
    ('43-15', 28)
    """
    a, b = (rng.randrange(10 ** (digits - 1), 10**digits)
            for digits in (rng.randint(1, 3), rng.randint(1, 3)))
    few, sign = rng.randint(2, 12), rng.choice("++--*/")
    if sign == "+":
        return f"{a}+{b}", a + b
    if sign == "-":
        return f"{max(a, b)}-{min(a, b)}", abs(a - b)
    a = rng.randint(1, 60)
    return (f"{a}*{few}", a * few) if sign == "*" else (f"{a * few}/{few}", a)


def question(rng):
    lines = [calculation(rng) for _ in range(12)]
    answer = "\n".join(f"{left} = {value}" for left, value in lines) + f"\n#### {lines[-1][1]}"
    return {"question": f"Work out {', '.join(left for left, _ in lines)}.", "answer": answer}


if __name__ == "__main__":
    rng = random.Random(0)
    for _ in range(1200):
        print(json.dumps(question(rng)))

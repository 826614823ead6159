"""Calculations to practise: twelve a question and worked out, for SFT, or one a question, for RL.

    43-15 = 28      sums and differences of one to three digits, products and quotients with 2 to 12

A language model of 135 million weights writes 6-3 = 2, and word problems are too few to teach it otherwise.
No result is negative or broken.

Run it: python tutorials/drill.py > drill.jsonl
        python tutorials/drill.py --problems > calculations.jsonl
"""

import argparse
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


def solution(rng):
    """Twelve calculations, worked out: a row that `python -m t1mini sft` reads."""
    lines = [calculation(rng) for _ in range(12)]
    answer = "\n".join(f"{left} = {value}" for left, value in lines) + f"\n#### {lines[-1][1]}"
    return {"question": f"Work out {', '.join(left for left, _ in lines)}.", "answer": answer}


def problem(rng):
    """
    >>> problem(random.Random(0))
    {'question': 'Work out 43-15.', 'answer': '28'}
    """
    left, value = calculation(rng)
    return {"question": f"Work out {left}.", "answer": f"{value}"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", action="store_true", help="600 questions of one calculation each")
    one = parser.parse_args().problems
    rng = random.Random(1 if one else 0)
    for _ in range(600 if one else 1200):
        print(json.dumps(problem(rng) if one else solution(rng)))

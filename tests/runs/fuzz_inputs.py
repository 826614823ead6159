"""Inputs for test_fuzz.py: noise, valid inputs with faults in them, and near-misses put together from a grammar.

Every function draws from the random.Random it is given and from nothing else.
"""

import copy
import json
import math
import random
import re

from t1mini.tasks import countdown

LONGEST_TEXT = 200_000  # characters
CHARACTERS = [*map(chr, range(128)), "a\u0301" * 9,
              *"é−×½²₂√π∞≤αж答案٣\u00a0\u200b\ufeff\u202e\ufffd\ue000\ud800\U0001f600\U0010ffff"]


def noise(rng: random.Random) -> str:
    return "".join(rng.choices(CHARACTERS, k=rng.choice((0, 1, 5, 40, 300))))


def with_faults(text, rng: random.Random):
    """`text`, a str or bytes, with a few pieces cut, doubled, moved, or replaced by noise."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        i, j = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        j = j if rng.random() < 0.3 else min(i + rng.choice((0, 1, 1, 4)), len(text))
        new, flipped = noise(rng)[:9], text[i : i + 1]
        if isinstance(text, bytes):
            new = rng.choice((rng.randbytes(rng.randrange(9)), new.encode("utf-8", "surrogatepass")))
            flipped = bytes(byte ^ 1 << rng.randrange(8) for byte in flipped)
        text = rng.choice((text[:i] + text[j:], text[:i] + new + text[j:], text[:j] + text[i:], text[:i],
                           text[j:] + text[:i], text[:i] + flipped + text[i + 1 :],
                           text[:j] + (text[i:j] * rng.choice((2, 50)))[:LONGEST_TEXT] + text[j:]))
    return text


# --- JSON -----------------------------------------------------------------------------------------------------

SCALARS = (0, 1, -1, 2, 3, 77, 99, 100, 10**6, 2**31, 2**63, 2**64, 10**40, 10**299, 0.5, -0.0, 1e-300, 1e308, True,
           False, None, "", "7", "silu", "math", "tiny", "..", "/etc/passwd", "F32", "a\0b", "\n", "x" * 3000)
RAW = ("NaN", "-Infinity", "1e999", "-1e999", "1" * 5000, "0." + "3" * 5000, '"\\ud800"', '"\\udc00x"', "[" * 3000,
       "[" * 900 + "]" * 900, '{"a":' * 3000, "01", "'a'", "undefined", '"\t"', '{"a": 1, "a": 2}', "10" + "0" * 400)


def value(rng: random.Random, depth: int = 0):
    """Any JSON value."""
    kind = rng.random()
    if depth > 3 or kind < 0.6:
        return rng.choice(SCALARS) if kind < 0.5 else noise(rng).encode("utf-8", "replace").decode()
    if kind < 0.8:
        return [value(rng, depth + 1) for _ in range(rng.choice((0, 1, 3, 4)))]
    names = "a", "numbers", "target", "question", "", "content", "id"
    return {rng.choice(names): value(rng, depth + 1) for _ in range(rng.choice((0, 1, 3)))}


def places(tree) -> list:
    """(container, key) of everything in a JSON value."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    return [(tree, key) for key in keys] + [place for key in keys for place in places(tree[key])]


def json_with_faults(content, rng: random.Random) -> bytes:
    """A JSON value with other values in places of its own, or with faults in its text."""
    if rng.random() < 0.7:
        content = copy.deepcopy(content)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            container, key = rng.choice(places(content) or [([None], 0)])
            if isinstance(container, dict) and rng.random() < 0.2:
                container[rng.choice(("", key, noise(rng)))] = container.pop(key)
            elif rng.random() < 0.2:
                del container[key]
            else:
                container[key] = value(rng) if rng.random() < 0.9 else "RAW"
    text = json.dumps(content, ensure_ascii=rng.random() < 0.5).replace('"RAW"', rng.choice(RAW))
    text = text.encode("utf-8", "surrogatepass")
    return with_faults(text, rng) if rng.random() < 0.4 else text


# --- mathematics and responses --------------------------------------------------------------------------------

ATOMS = [*r"1 2 10 0 -3 0.5 1,024 .5 5. 1e9 1e999 x y xy \pi e i \infty \alpha ½ ² k cm % ^\circ $ \$ apples million".split(),
         *r"not and \emptyset \ldots … ₂ x_1 f(x) 50% AM".split(), r"\text{ cm}", "9" * 30, "9" * 400]
FORMS = [*r"@+@ @-@ @*@ @/@ @^@ @^{@} @! (@) [@] \{@\} (@,@) (@,@] @,@ @=@ @<@ \frac{@}{@} \sqrt{@} \sqrt[@]{@}".split(),
         *r"\binom{@}{@} |@| \left(@\right) @\pm@ @\cup@ x=@ x\in@ \text{@} 0.\overline{@} \lfloor@\rfloor @_{@}".split(),
         *r"\boxed{@} $@$ \begin{pmatrix}@&@\\@&2\end{pmatrix} @° @@ \frac{@} {@ @} (@ \left\{@ 2^{2^{@}} @^@^@^9 @!!".split(),
         "@ and @", r"@\le @<9", r"\frac @@", r"\sqrt @", r"\log_{@} @", r"\ln @", r"\sin^{-1} @", "@ @", "- - @"]
FRAMES = [r"\boxed{@}", "<answer>@</answer>", "#### @", "The answer is @.", "<think>@</think> So @",
          r"<think>\boxed{@}", r"\boxed{ \boxed{@}", "answer: not @", "<answer>@", "@", r"@\boxed{}",
          "\\boxed  {@}\n\n</think>", "**Answer**: @", r"\text{answer} = @"]
WORDS = [*countdown.WORDS, *"0 1 3 7 11 77 99 100 007 + - * / = x Wait perhaps <think> </think> <eos> <|im_end|>".split(),
         "9" * 5000]


def mathematics(rng: random.Random, depth: int = 0) -> str:
    if depth > 4 or rng.random() < 0.35:
        return rng.choice(ATOMS)
    return filled(rng.choice(FORMS), lambda: mathematics(rng, depth + 1))


def filled(form: str, part) -> str:
    """`form` with a new `part()` for every @."""
    return re.sub("@", lambda _: part(), form)


def answer(rng: random.Random) -> str:
    kind, text = rng.random(), mathematics(rng)
    if kind < 0.2:
        text = with_faults(text, rng)
    elif kind < 0.3:  # the same again and again
        pieces = *FORMS, *ATOMS, *r"( [ { \{ \frac \sqrt ^ - ! | , = \left( \begin{pmatrix} \text{ $ _".split(), "5a"
        text = rng.choice(("", *ATOMS)) + rng.choice(pieces) * rng.choice((3, 30, 200, 3000))
        text = text[: rng.choice((290, 980, LONGEST_TEXT))] + rng.choice(("", *ATOMS, *FORMS, "~", "!", ")"))
    elif kind < 0.35:
        text = noise(rng)
    return text[:LONGEST_TEXT]


def response(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.3:
        text = " ".join(rng.choices(WORDS, k=rng.choice((1, 9, 60))))
    elif kind < 0.4:
        pieces = *WORDS, *FRAMES, "\\boxed{", "####", "<answer>", "1 + 2 = 3 * 4 = 12 low ", "answer is ", " ", "9", "1 + "
        text = rng.choice(pieces) * rng.choice((9, 900, 20_000))
    else:
        text = " ".join(filled(rng.choice(FRAMES), lambda: answer(rng)) for _ in range(rng.choice((1, 1, 2, 5))))
    return (with_faults(text[:LONGEST_TEXT], rng) if rng.random() < 0.3 else text)[:LONGEST_TEXT]


# --- weights --------------------------------------------------------------------------------------------------

def weights_with_faults(weights: bytes, rng: random.Random) -> bytes:
    """A safetensors file with faults: in what its header says of a tensor, in the header's JSON, or anywhere."""
    kind, size = rng.random(), int.from_bytes(weights[:8], "little")
    header, numbers = json.loads(weights[8 : 8 + size]), weights[8 + size :]
    if kind < 0.4:
        text = json.dumps(header_with_a_fault(header, rng)).encode()
        return len(text).to_bytes(8, "little") + text + numbers
    if kind < 0.6:
        text = json_with_faults(header, rng)
        return (len(text) + rng.choice((0, 0, 0, 0, 1, -1, 2**20, 2**40))).to_bytes(8, "little", signed=True) + text + numbers
    if kind < 0.8:
        flipped = bytearray(weights)
        for i in rng.choices(range(len(weights)), k=rng.choice((1, 9, 100))):
            flipped[i] = rng.choice((flipped[i] ^ 1 << rng.randrange(8), 0, 255, 127))
        return bytes(flipped)
    return with_faults(weights[:4000], rng) + weights[4000:] if kind < 0.9 else with_faults(weights, rng)


def header_with_a_fault(header: dict, rng: random.Random) -> dict:
    """A tensor of another type, shape, place or name."""
    name, other = rng.sample(sorted(header.keys() - {"__metadata__"}), 2)
    tensor, shape = header[name], header[name]["shape"]
    shapes = shape[::-1], [math.prod(shape)], [1, *shape], [*shape, 1], [*shape, 0], [2**32, 2**32], [-1]
    types = "I32", "U32", "F16", "BF16", "F64", "BOOL", "F8_E4M3", "C64"
    return header | rng.choice((
        {name: tensor | {"dtype": rng.choice(types)}}, {name: tensor | {"shape": rng.choice(shapes)}},
        {name: header[other]}, {name: header[other], other: tensor}, {other: tensor, noise(rng): tensor},
        {name + noise(rng)[:1]: tensor}))

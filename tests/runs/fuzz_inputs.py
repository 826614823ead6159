"""Inputs for test_fuzz.py: noise, valid inputs with faults, near-misses put together from fuzz_pieces.json.

Every function draws from the random.Random it is given and from nothing else.
"""

import json
import math
import random
import re
from pathlib import Path

from t1mini.tasks import countdown

LONGEST_TEXT = 200_000  # characters
CHARACTERS = [*map(chr, range(128)), "a\u0301" * 9,
              *"é−×½²₂√π∞≤αж答案٣\u00a0\u200b\ufeff\u202e\ufffd\ue000\ud800\U0001f600\U0010ffff"]
PIECES = json.loads(Path(__file__).with_name("fuzz_pieces.json").read_text("utf-8"))
PIECES = {name: [x[0] * x[1] if isinstance(x, list) else x for x in PIECES[name]] for name in PIECES}
ATOMS, FORMS, FRAMES = PIECES["atoms"], PIECES["forms"], PIECES["frames"]
PLACES = re.compile(r'"[^"]*"(\s*:)?|[\w.+-]+|[\[{][^\[\]{}]*[\]}]')  # names, texts, numbers, innermost lists
VALUES = [*map(json.dumps, PIECES["scalars"]), *PIECES["raw"], "[" * 900 + "]" * 900, "0." + "3" * 5000,
          "[]", "{}", "", "1" + "0" * 400, "[0, [1]]", '{"": {"id": []}}', '"a": 1, "id":', '"x": [],']


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


def json_with_faults(content, rng: random.Random) -> bytes:
    """A JSON value with other values in places of its own, or with faults in its text."""
    text = json.dumps(content, ensure_ascii=rng.random() < 0.5)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        spans = [match.span() for match in PLACES.finditer(text)] or [(0, 0)]
        i, j = rng.choice(spans)
        text = text[:i] + rng.choice((*VALUES, json.dumps(noise(rng)))) + text[j:]
    text = text.encode("utf-8", "surrogatepass")
    return with_faults(text, rng) if rng.random() < 0.4 else text


def filled(form: str, part) -> str:
    """`form` with a new `part()` for every @."""
    return re.sub("@", lambda _: part(), form)


def mathematics(rng: random.Random, depth: int = 0) -> str:
    if depth > 4 or rng.random() < 0.35:
        return rng.choice(ATOMS)
    return filled(rng.choice(FORMS), lambda: mathematics(rng, depth + 1))


def answer(rng: random.Random) -> str:
    kind, text = rng.random(), mathematics(rng)
    if kind < 0.2:
        text = with_faults(text, rng)
    elif kind < 0.3:  # the same again and again
        repeated = rng.choice((*FORMS, *ATOMS, *PIECES["opened"])) * rng.choice((3, 30, 200, 3000))
        text = (rng.choice(("", *ATOMS)) + repeated)[: rng.choice((290, 980, LONGEST_TEXT))]
        text += rng.choice(("", *ATOMS, *FORMS, "~", "!", ")"))
    elif kind < 0.35:
        text = noise(rng)
    return text[:LONGEST_TEXT]


def response(rng: random.Random) -> str:
    kind, words = rng.random(), [*countdown.WORDS[100:], *PIECES["words"]]
    if kind < 0.3:
        text = " ".join(rng.choices(words, k=rng.choice((1, 9, 60))))
    elif kind < 0.4:
        text = rng.choice((*words, *FRAMES, *PIECES["parts"])) * rng.choice((9, 900, 20_000))
    else:
        text = " ".join(filled(rng.choice(FRAMES), lambda: answer(rng)) for _ in range(rng.choice((1, 2, 5))))
    return (with_faults(text[:LONGEST_TEXT], rng) if rng.random() < 0.3 else text)[:LONGEST_TEXT]


def weights_with_faults(weights: bytes, rng: random.Random) -> bytes:
    """A safetensors file with faults: in what its header says of a tensor, in the header's JSON, anywhere."""
    kind, size = rng.random(), int.from_bytes(weights[:8], "little")
    header, numbers = json.loads(weights[8 : 8 + size]), weights[8 + size :]
    if kind < 0.6:
        text = json.dumps(with_another(header, rng)).encode() if kind < 0.4 else json_with_faults(header, rng)
        size = max(0, len(text) + rng.choice((0, 0, 0, 0, 0, 0, 1, -1, 2**20, 2**40)))
        return size.to_bytes(8, "little") + text + numbers
    if kind < 0.8:
        flipped = bytearray(weights)
        for i in rng.choices(range(len(weights)), k=rng.choice((1, 9, 100))):
            flipped[i] = rng.choice((flipped[i] ^ 1 << rng.randrange(8), 0, 255, 127))
        return bytes(flipped)
    return with_faults(weights[:4000], rng) + weights[4000:] if kind < 0.9 else with_faults(weights, rng)


def with_another(header: dict, rng: random.Random) -> dict:
    """The header with a tensor of another type, shape, place or name."""
    name, other = rng.sample(sorted(header.keys() - {"__metadata__"}), 2)
    tensor, shape = header[name], header[name]["shape"]
    shapes = shape[::-1], [math.prod(shape)], [1, *shape], [*shape, 1], [*shape, 0], [2**32, 2**32], [-1]
    types = "I32", "U32", "F16", "BF16", "F64", "BOOL", "F8_E4M3", "C64"
    return header | rng.choice((
        {name: tensor | {"dtype": rng.choice(types)}}, {name: tensor | {"shape": rng.choice(shapes)}},
        {name: header[other]}, {name: header[other], other: tensor}, {other: tensor, noise(rng): tensor},
        {name + noise(rng)[:1]: tensor}))

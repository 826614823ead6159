"""Right answers to exercise 9."""

from collections import Counter


def is_repetitive(ids, n, limit):
    counts = Counter(tuple(ids[i : i + n]) for i in range(len(ids) - n + 1))
    return any(c > limit for c in counts.values())


def is_overlong(length, finished, max_new_tokens):
    return length >= max_new_tokens and not finished


def penalised_reward(reward, repetitive, overlong, garbled):
    return -1.0 if repetitive or overlong or garbled else float(reward)

def is_garbled(text):
    import unicodedata
    if "\ufffd" in text or any(unicodedata.category(c) == "Cc" and c not in "\n\r\t" for c in text):
        return True
    letters = [c for c in text if unicodedata.category(c).startswith("L")]
    foreign = sum(not unicodedata.name(c, "").startswith(("LATIN", "GREEK")) for c in letters)
    return foreign > len(letters) / 10

"""Right answers to exercise 9: quadratic, with whole numbers for True and False."""


def is_repetitive(ids, n, limit):
    ids = list(ids)
    for i in range(len(ids) - n + 1):
        same = 0
        for j in range(len(ids) - n + 1):
            if ids[i : i + n] == ids[j : j + n]:
                same += 1
        if same > limit:
            return True
    return False


def is_overlong(length, finished, max_new_tokens):
    return int(length == max_new_tokens) * int(not finished)


def penalised_reward(reward, repetitive, overlong, garbled):
    if any([repetitive, overlong, garbled]):
        return -1
    return reward

def is_garbled(text):
    import unicodedata
    letters = foreign = 0
    for c in text:
        kind = unicodedata.category(c)
        if c == "\ufffd" or kind == "Cc" and c not in ("\n", "\r", "\t"):
            return True
        if c.isalpha():
            letters += 1
            foreign += unicodedata.name(c, "?").split()[0] not in ("LATIN", "GREEK")
    return letters > 0 and foreign / letters > 0.1

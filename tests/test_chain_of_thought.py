"""Merged chains of thought keep every attempt beside its critique."""

import pytest

from t1mini.chain_of_thought import merge


def test_merge_works_for_any_task():
    merged = merge(["Try x = 2.", "Then x = 3."], ["Wait, 2 * 2 is 4.", "That fits."], r"\boxed{3}", opener="</think>")
    assert merged == r"Try x = 2. Wait, 2 * 2 is 4. Then x = 3. That fits. </think> \boxed{3}"
    assert merge([], [], "none") == "answer none"
    for critiques in ([], ["b", "c"]):
        with pytest.raises(ValueError):
            merge(["a"], critiques, "x")

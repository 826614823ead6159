"""Settings: flags come from the dataclass, presets fill in, and what is out of range is named before any work starts."""

import argparse
from dataclasses import dataclass

import pytest

from t1mini.runs.settings import StageConfig, UserError, add_flags, from_flags, setting


@dataclass(frozen=True)
class Example(StageConfig):
    k: int = setting(16, "responses", low=2, gpu=64)
    lr: float = setting(0.1, "rate", above=0, high=1)
    budgets: tuple = setting((1, 2), "budgets", low=0)
    shuffle: bool = setting(True, "whether")


def parse(*words):
    parser = argparse.ArgumentParser()
    add_flags(parser, Example)
    return from_flags(Example, vars(parser.parse_args(words)))


def test_flags_override_presets_and_presets_override_defaults():
    assert (parse().k, parse("--preset", "gpu").k, parse("--preset", "gpu", "--k", "3").k) == (16, 64, 3)
    assert parse("--budgets", "5", "6", "7").budgets == (5, 6, 7)
    assert parse("--no-shuffle").shuffle is False and parse().shuffle is True


@pytest.mark.parametrize("words, message", [
    (("--k", "1"), "--k 1: must be at least 2"),
    (("--lr", "0"), "--lr 0.0: must be above 0 and at most 1"),
    (("--lr", "nan"), "--lr nan: must be above 0 and at most 1"),
    (("--budgets", "3", "-1"), "--budgets -1: must be at least 0"),
    (("--preset", "huge"), "--preset huge: choose one of tiny, gpu"),
    (("--seed", "-1"), "--seed -1: must be at least 0"),
])
def test_a_value_out_of_range_is_named_with_its_range(words, message):
    with pytest.raises(UserError, match=message):
        parse(*words)


def test_an_unknown_setting_is_an_error():
    with pytest.raises(UserError, match="unknown setting kk"):
        from_flags(Example, {"kk": 3})

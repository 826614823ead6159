"""Every example in the package's docstrings gives what it shows."""

import doctest
import importlib
import pkgutil

import pytest

import t1mini

MODULES = [module.name for module in pkgutil.walk_packages(t1mini.__path__, "t1mini.") if module.name != "t1mini.__main__"]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    examples = [test.examples for name in MODULES for test in doctest.DocTestFinder().find(importlib.import_module(name))]
    assert any(examples)

"""Every example in the package's docstrings gives what it shows."""

import doctest
import importlib
import pkgutil

import pytest

import t1mini

MODULES = [module.name for module in pkgutil.iter_modules(t1mini.__path__) if module.name != "__main__"]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name):
    assert doctest.testmod(importlib.import_module(f"t1mini.{name}")).failed == 0


def test_there_are_examples():
    examples = [test.examples for name in MODULES for test in doctest.DocTestFinder().find(importlib.import_module(f"t1mini.{name}"))]
    assert any(examples)

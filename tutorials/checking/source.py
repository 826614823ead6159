"""What a submission's source says before it is run: does it name the library's answer, does it evaluate what
it reads?"""

import ast
from pathlib import Path
from typing import Sequence

from checking.values import PARSING


def parsed(path: Path) -> ast.Module | None:
    """The file as a tree, None where it cannot be parsed."""
    with PARSING:
        try:
            return ast.parse(path.read_text(encoding="utf-8", errors="replace"))
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
            return None


def evaluates(path: Path) -> bool:
    """True if the file calls eval or exec."""
    nodes = ast.walk(parsed(path) or ast.Module([], []))
    return any(isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
               and node.func.id in ("eval", "exec") for node in nodes)


def library_imports(path: Path, answers: Sequence[str]) -> str | None:
    """The library's answer, if the file names it: `from t1mini.loss import rloo_advantages`, or
    `loss.rloo_advantages`. The checker's too."""
    tree = parsed(path)
    if tree is None:
        return None  # running it will say so
    names = {answer.rpartition(".")[2]: answer for answer in answers}
    main = [node for node in tree.body if isinstance(node, ast.If) and "__main__" in ast.dump(node.test)]
    docstrings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    skipped = {id(inner) for node in main for inner in ast.walk(node)} | {
        id(node) for node in docstrings if isinstance(node, ast.Constant)
    }
    for node in (n for n in ast.walk(tree) if id(n) not in skipped):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("t1mini"):
            for alias in node.names:
                if f"{node.module}.{alias.name}" in answers:
                    return f"{node.module}.{alias.name}"
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            if any(name.split(".")[0] == "checking" or ".checking" in name for name in modules):
                return "the checker"
        if (isinstance(node, ast.Constant) and isinstance(node.value, str)
            and any(node.value.endswith(f"{answer.split('.')[-2]}.py") for answer in answers)):
            return f"the library's source, {node.value}"
        if (isinstance(node, ast.Attribute) and node.attr in names
            and isinstance(node.value, (ast.Name, ast.Attribute))):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if owner == names[node.attr].split(".")[-2]:
                return names[node.attr]
    return None

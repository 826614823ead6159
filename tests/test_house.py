"""The house: who may import whom, and how large anything may grow. t1mini/__init__.py's neighbours are its floors."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
         for path in sorted((ROOT / "t1mini").rglob("*.py"))}
FLOORS = {
    6: ["__main__"], 5: ["lab"], 4: ["rl", "sft", "collect", "evaluate", "inference_scaling"],
    3: ["fast", "penalties", "metrics", "tasks"], 2: ["rollout", "runs", "verifier"], 1: ["model", "kv_cache", "answers"],
    0: ["sampler", "loss", "reference", "statistics", "chain_of_thought"],
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
OURS = {"t1mini", "torch", "numpy", "tokenizers", "tqdm", "safetensors", "matplotlib"}
COUNTED = {tokenize.NAME, tokenize.OP, tokenize.NUMBER}


def imports(path: Path) -> set[str]:
    """The modules that a file imports, ours as modules and not as what is taken from them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in whole}
    return found


GRAPH = {name: {other for other in imports(path) if other in FILES and other != "t1mini"} for name, path in FILES.items()}


@pytest.mark.parametrize("name", [name for name in FILES if name != "t1mini"])
def test_a_file_imports_from_its_own_floor_or_from_below(name):
    floor = lambda module: FLOOR[module.split(".")[1]]
    assert [other for other in GRAPH[name] if floor(other) > floor(name)] == []
    assert {other.split(".")[0] for other in imports(FILES[name])} <= OURS | set(sys.stdlib_module_names)


def test_nothing_imports_itself_on_the_way():
    left = dict(GRAPH)
    while ends := [name for name in left if not left[name] & left.keys()]:
        left = {name: others for name, others in left.items() if name not in ends}
    assert not left, f"in a circle: {sorted(left)}"


@pytest.mark.parametrize("name", FILES)
def test_files_functions_and_lines_are_short(name):
    text = FILES[name].read_text(encoding="utf-8")
    lines, functions = text.splitlines(), [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    assert len(lines) <= (200 if name == "t1mini.rl" else 250)
    assert [i for i, line in enumerate(lines, 1) if len(line) > 110] == []
    assert [f.name for f in functions if f.end_lineno - f.lineno + 1 > 45] == []


def test_the_house_is_small():
    tokens = sum(token.type in COUNTED for path in FILES.values()
                 for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline))
    assert tokens <= 53_010


@pytest.mark.parametrize("module, most", [("rl", 35), ("loss", 1), ("sampler", 1)])
def test_importing_a_module_loads_few_others(module, most):
    code = f"import sys, t1mini.{module}; print(*(n for n in sys.modules if n.startswith('t1mini.')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert len([name for name in loaded if FILES[name].name != "__init__.py"]) <= most

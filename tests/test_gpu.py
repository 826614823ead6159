"""The script for a GPU runs, at a toy's size, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_every_part_has_its_figures(tmp_path):
    run = subprocess.run(["bash", "tests/gpu.sh", str(tmp_path), "--small", "--device", "cpu"], cwd=Path(__file__).parents[1],
                         capture_output=True, text=True, env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    assert run.returncode == 0, run.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert not [part for part, figures in found.items() if "error" in figures]
    assert max(value for name, value in found["parity"].items() if name.endswith("tiny")) < 1e-4
    assert found["tokens"]["graph"] == found["tokens"]["eager"] == 1
    assert all(0.5 < found["chi_square"][f"min-p {min_p}"] < 1.6 for min_p in (0.0, 0.05))
    assert found["decoding"]["tokens/s at 16"] > 0 and found["sft"]["share"] > 0 and found["step"]["predicted"] > 0
    assert (tmp_path / "gpu.md").read_text().count("|") > 30

#!/usr/bin/env bash
# Everything that only a GPU can show, under 8 minutes on one H100: bash tests/gpu.sh OUT
# writes OUT/gpu.json and OUT/gpu.md, the table of tutorials/speed.md. `--small --device cpu` tries the script itself.
set -u
cd "$(dirname "$0")/.." && PYTHONPATH=".:${PYTHONPATH:-}" exec python3 tests/gpu.py "$@"

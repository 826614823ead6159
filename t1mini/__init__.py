"""t1mini: reinforcement learning that teaches a small model to reason, after T1 (arXiv 2501.11651)."""

import os

# Before torch is loaded: OpenMP threads that wait for one another by spinning bring a machine to a halt as
# soon as anything else runs on it (measured: a training step 40 times slower). A short spin, then sleep,
# costs a few per cent on an idle one.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"

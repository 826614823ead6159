"""t1mini: reinforcement learning that teaches a small language model to reason, after T1 (arXiv 2501.11651)."""

__version__ = "0.1.0"

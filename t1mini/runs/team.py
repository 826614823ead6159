"""Data parallel: several processes share each step's work and take the same step.

Every process ("rank") holds the whole model. Of each batch it takes every size-th prompt or trace, beginning
with its own rank; gradients are summed over the ranks before the optimiser steps, so all ranks stay equal.
Rollout noise belongs to the prompt, not to the rank (t1mini.rollout), so the number of ranks changes nothing
but rounding. Only rank 0 prints and writes.

On a CPU, two processes of one thread do about one and a half times the work of one process of two threads,
because threads that share small tensors mostly wait for one another. So `sft`, `rl` and `train` start the
other `--workers` by themselves, as copies of their own command. Under torchrun they join its group instead
(gloo on CPUs, NCCL on GPUs). Where one rank ends, so do the others.

See ranks agree with one process: python -m pytest tests/runs/test_team.py
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from typing import NamedTuple, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from t1mini.runs.settings import StageConfig, UserError

HOST, PORT = "127.0.0.1", "T1MINI_PORT"  # where workers meet the leader, and how they are told
ADVICE = "was it killed, or out of memory? Fewer --workers need less"


class Team(NamedTuple):
    """The ranks that work together; alone by default."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self):
        return not self.rank

    def share(self, items: Sequence):
        """This rank's part: every size-th item."""
        return items[self.rank :: self.size]

    def sum(self, values: Tensor, operation=dist.ReduceOp.SUM):
        """`values`, added up over the ranks in place. UserError where another rank has ended."""
        if self.size > 1:
            with _or_ended():
                dist.all_reduce(values, operation)
        return values

    def max(self, values: Tensor):
        """The elementwise maximum over the ranks, in place."""
        return self.sum(values, dist.ReduceOp.MAX)

    def text(self, text, device="cpu"):
        """What one rank says, at most 4096 bytes, to every rank; the others say nothing."""
        said = torch.tensor([*text.encode().ljust(4096, b"\0")], device=device)
        return bytes(self.sum(said).tolist()).decode().rstrip("\0")

    def sum_gradients(self, model: nn.Module):
        """Each parameter's gradient becomes the sum over ranks, in one exchange; without any, zero."""
        for p in model.parameters():
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        if self.size > 1:
            gradients = [p.grad for p in model.parameters()]
            vector_to_parameters(self.sum(parameters_to_vector(gradients)), gradients)


def leads(most: int):
    """Whether this process will lead its team. UserError where torchrun started too many."""
    if int(os.environ.get("WORLD_SIZE", 1)) > most:
        raise UserError(f"more processes than the {most} prompts or traces of a step: start at most {most}")
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def team(config: StageConfig, stage: str, most: int):
    """This process's team while the block runs: torchrun's, or with workers it starts, at most `most`."""
    threads, store = torch.get_num_threads(), None
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    with contextlib.ExitStack() as stack:
        if PORT in os.environ:
            _end_with_leader()
            store = dist.TCPStore(HOST, int(os.environ[PORT]))
        elif size == 1 and config.device == "cpu" and (size := min(config.workers, threads, most)) > 1:
            store = dist.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
            _start(stack, size, [stage, "--settings", json.dumps(config.to_dict())], store.port)
        if size > 1:
            with _or_ended():
                dist.init_process_group(store=store, rank=rank, world_size=size)
            stack.callback(dist.destroy_process_group)
            stack.callback(torch.set_num_threads, threads)
            torch.set_num_threads(max(1, threads // size))
        yield Team(rank, size)


def _start(stack, size, command, port):
    """This command again as ranks 1, 2, ..., to end with `stack`. UserError where one ends too early.

    In a session of their own: a terminal's Ctrl-C is for the leader, which tells the others.
    """
    processes = []
    for rank in range(1, size):
        process = subprocess.Popen(
            [sys.executable, "-m", "t1mini", *command], start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {
                "RANK": f"{rank}", "WORLD_SIZE": f"{size}", PORT: f"{port}", "TQDM_DISABLE": "1"})
        processes.append(stack.enter_context(process))
        stack.callback(process.kill)
    for rank, process in enumerate(processes, 1):
        if not process.stdout.readline():
            raise UserError(f"worker process {rank} ended before it began, "
                            f"with code {process.wait()}: {ADVICE}")


def _end_with_leader():
    """In a worker: says that it is there, and ends with its standard input, that is, with the leader."""
    def end():
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
    print("there", flush=True)


@contextlib.contextmanager
def _or_ended():
    """What ranks cannot say to one another, they cannot because one of them has ended."""
    try:
        yield
    except RuntimeError:
        raise UserError(f"another process of this run has ended: {ADVICE}") from None

"""Data parallel: several processes share each step's work and take the same step.

Every process ("rank") holds the whole model. Of each batch it takes every size-th prompt or trace, beginning with its own
rank; gradients are summed over the ranks before the optimiser steps, so all ranks stay equal. Rollout noise belongs to the
prompt, not to the rank (t1mini.rollout), so the number of ranks changes nothing but rounding. Only rank 0 prints and writes.

On a CPU, two processes of one thread do about one and a half times the work of one process of two threads, because threads
that share small tensors mostly wait for one another. So `sft`, `rl` and `train` start the other `--workers` by themselves, as
copies of their own command. Under torchrun they join its group instead (gloo on CPUs, NCCL on GPUs).

See ranks agree with one process: python -m pytest tests/test_distributed.py
"""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from t1mini.runs.settings import StageConfig, UserError, to_flags


HOST, PORT = "127.0.0.1", "T1MINI_PORT"  # where workers meet the process that started them; the second is a variable of their environment


@dataclass(frozen=True)
class Team:
    """The ranks that work together; alone by default."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence) -> Sequence:
        """This rank's part: every size-th item."""
        return items[self.rank :: self.size]

    def sum(self, values: Tensor) -> Tensor:
        """`values`, added up over the ranks in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def max(self, values: Tensor) -> Tensor:
        """The elementwise maximum over the ranks, in place."""
        if self.size > 1:
            dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return values

    def text(self, text: str, device: str = "cpu") -> str:
        """What the rank that leads says, to every rank."""
        if self.size == 1:
            return text
        content = torch.zeros(4096, dtype=torch.uint8, device=device)
        if self.leads:
            content[: len(text.encode())] = torch.tensor(list(text.encode()), dtype=torch.uint8)
        dist.broadcast(content, src=0)
        return bytes(content.tolist()).rstrip(b"\0").decode()

    def sum_gradients(self, model: nn.Module) -> None:
        """Each parameter's gradient becomes the sum over ranks, in one exchange; where there is none, zero."""
        parameters = list(model.parameters())
        for p in parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        if self.size > 1:
            flat = self.sum(torch.cat([p.grad.flatten() for p in parameters]))
            for p, total in zip(parameters, flat.split([p.numel() for p in parameters])):
                p.grad = total.view_as(p)


def leads(most: int) -> bool:
    """Whether this process will lead its team. UserError where torchrun has started more ranks than a step has work for."""
    if int(os.environ.get("WORLD_SIZE", 1)) > most:
        raise UserError(f"{os.environ['WORLD_SIZE']} processes are too many for {most} prompts or traces a step")
    return int(os.environ.get("RANK", 0)) == 0


@contextlib.contextmanager
def team(config: StageConfig, stage: str, most: int) -> Iterator[Team]:
    """The team of this process while the block runs: torchrun's, or itself and the workers it starts, at most `most`, or itself alone."""
    workers = min(config.workers, torch.get_num_threads(), most) if config.device == "cpu" else 1
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        rank, size, port = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), os.environ.get(PORT)
        with _joined(rank, size, _store_of_leader(rank, int(port)) if port else None, config) as joined:
            yield joined
    elif workers == 1:
        yield Team()
    else:
        store = dist.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
        others = [_start(stage, config, rank, workers, store.port) for rank in range(1, workers)]
        try:
            _wait_for(others, store)
            with _joined(0, workers, store, config) as joined:
                yield joined
        finally:
            for other in others:
                other.stdin.close()
                other.terminate()
                other.wait()


@contextlib.contextmanager
def _joined(rank: int, size: int, store: dist.Store | None, config: StageConfig) -> Iterator[Team]:
    """A member of a group that meets at `store`, or where torchrun says."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // size))
    backend = "nccl" if config.device.startswith("cuda") else "gloo"
    try:
        dist.init_process_group(backend, init_method=None if store else "env://", store=store, rank=rank, world_size=size)
        yield Team(rank, size)
    except RuntimeError as error:
        if not re.search("gloo|nccl|connection", str(error), re.IGNORECASE):
            raise
        lost = UserError("another process of this run has ended: was it killed, or out of memory? Fewer --workers need less")
        lost.__notes__ = getattr(error, "__notes__", [])
        raise lost from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        torch.set_num_threads(threads)


def _start(stage: str, config: StageConfig, rank: int, size: int, port: int) -> subprocess.Popen:
    """This stage again, as another rank. The pipe to it is never written to: it closes when this process ends, however it ends."""
    group = {"RANK": str(rank), "WORLD_SIZE": str(size), PORT: str(port)}
    quiet = {"TQDM_DISABLE": "1"}
    command = [sys.executable, "-m", "t1mini", stage, *to_flags(config.to_dict())]
    return subprocess.Popen(command, env={**os.environ, **group, **quiet}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                            start_new_session=True)  # a terminal's Ctrl-C is for this process, which tells the others


def _store_of_leader(rank: int, port: int) -> dist.Store:
    """In a worker: says that it is there, and sees to it that it does not outlive the process that started it."""
    def end_with_leader():
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=end_with_leader, daemon=True).start()
    store = dist.TCPStore(HOST, port, is_master=False, wait_for_workers=False)
    store.set(f"rank {rank}", "is there")
    return store


def _wait_for(others: list[subprocess.Popen], store: dist.Store) -> None:
    """Until all workers are there. UserError where one has ended before."""
    for rank, other in enumerate(others, 1):
        while not store.check([f"rank {rank}"]):
            if other.poll() is not None:
                raise UserError(f"worker process {rank} ended before it began, with code {other.returncode}: was it killed, or out of memory? "
                                "Fewer --workers need less")
            time.sleep(0.02)

"""Stands in for `sandbox/lua.py` in some tests: a "script" is Python, run in the sandbox by a taken-over interpreter.

What a test does with it is what an attacker could do who broke out of Lua: all that is left is what the kernel holds.
"""

import _socket
import ctypes
import mmap
import os
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from sandbox import clock, protocol

LIBC = ctypes.PyDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


def syscall(number: int, *arguments: int) -> int:
    """Make a raw system call; its errno, or 0."""
    ctypes.set_errno(0)
    LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return ctypes.get_errno()


class Failure:
    """Never made here; `sandbox.child` asks whether an answer is one."""


def say(body: bytes, status: int = 200, headers: tuple[bytes, ...] = (), kind: bytes = protocol.RESPONSE) -> Any:
    return SimpleNamespace(kind=kind, status=status, headers=list(headers), body=bytes(body), memory_bytes=1)


class Engine:
    def __init__(self, **functions: Callable[..., Any]) -> None:
        self.emit_log = functions.pop("emit_log")
        self.functions = functions  # those that `sandbox.child` gives its own
        syscall(-1)  # there is none: the first call through ctypes allocates

    def warm_up(self) -> None:
        """Nothing to touch."""

    def compile(self, files: list[bytes]) -> None:
        """Nothing that a test needs."""

    def run(self, *, files: list[bytes], **given: Any) -> Any:
        names = {**globals(), **given, "log": self.emit_log, **self.functions}
        exec(files[1].decode(), names)
        return names.get("answer") or say(b"done")


KEEP = (clock, mmap, os, signal, _socket)

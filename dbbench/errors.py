"""The one exception that users see as a single line."""

from __future__ import annotations

import sys


class UserError(Exception):
    """Bad input: the message names what is wrong and what would be right.

    The command line prints it as one line and exits with status 2. What would break the line, in a name or a value, is told
    as Python writes it: `\\n`.
    """

    def __str__(self) -> str:
        """The message, of characters that can be printed."""
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in super().__str__())


class DamagedError(UserError):
    """A file that is there and is not what the suite writes: no part that is merely missing, so nothing goes on without it."""


#: what was told of
_TOLD: set[str] = set()


def tell_once(subject: str, text: str) -> None:
    """Say `text` on stderr, the first time in this process that there is something to tell of `subject`."""
    if subject not in _TOLD:
        _TOLD.add(subject)
        print(text, file=sys.stderr)


#: how PyTorch says it, on the processor, on a GPU, and of sizes beyond any machine
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")


def refused_memory(error: BaseException) -> str | None:
    """One line for memory that the machine does not have; None for another error."""
    told = " ".join(str(error).partition("\n")[0].split())
    if not isinstance(error, MemoryError) and not any(sign in told for sign in OUT_OF_MEMORY):
        return None
    return f"not enough memory{': ' * bool(told)}{told}; make the network or the batch smaller, or run it on a larger machine"


def missing_package(name: str) -> str:
    """One line for a module that Python does not find."""
    cure = "in the clone, `python -m pip install -c constraints.txt -e .` installs what every command needs"
    return f"the Python package {name.partition('.')[0]} is not installed: {cure}; `dbbench doctor` says which extra is missing"

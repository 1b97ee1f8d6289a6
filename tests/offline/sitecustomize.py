"""Refuses every connection but to this machine: Python runs this at start where the folder is on PYTHONPATH.

conftest.py puts it there for the commands that tests start, and runs it in the tests' own process.
"""
import sys

HERE = ("localhost", "127.0.0.1", "::1", "", None)


def refuse(event, args):
    """An audit hook: it cannot be taken off again."""
    if event == "socket.getaddrinfo" and args[0] not in HERE:
        raise RuntimeError(f"a test looks up {args[0]!r}; tests have no network")
    if event == "socket.connect" and isinstance(args[1], tuple) and args[1][0] not in HERE:
        raise RuntimeError(f"a test connects to {args[1]!r}; tests have no network")


sys.addaudithook(refuse)

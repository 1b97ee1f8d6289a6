"""What the tables compare and how they are made; run from the repository's root: python -m study.NAME."""
import argparse
import re
import signal
import sys
from pathlib import Path

import data

OPTIONS, COMMANDS = (dict(data.columns(Path(__file__).with_name(f"{name}.tsv"), "", 2))
                     for name in ("options", "commands"))       # what each means; those of each command


def parser_of(module, doc, runs, kinds=None, **choices):
    """The parser of a module: a subcommand for each of `runs`, {name: function}, with its options.

    In commands.tsv an option is name=default, name! (required), name* (several, name*! required, name**
    perhaps none), name? (a flag), name~default (--name, --no-name) or name@ (by its place); after a colon its
    choices, joined by "|"; {group}: the options of that row, or `choices`. A default has its type; kinds:
    {name: what reads an option}.
    """
    top = argparse.ArgumentParser(description=doc.splitlines()[0], allow_abbrev=False)
    subs = top.add_subparsers(required=True, metavar="COMMAND")
    choices = COMMANDS | {group: "|".join(names) for group, names in choices.items()}
    for command, run in runs.items():
        about, options = getattr(run, "func", run).__doc__, COMMANDS[f"{module}.{command}"]
        sub = subs.add_parser(command, help=about.splitlines()[0], description=about, allow_abbrev=False)
        sub.set_defaults(run=run)
        while "{" in options:
            options = options.format(**choices)
        for word in options.split():
            name, mark, default, among = re.fullmatch(r"([a-z-]+)([*!?~=@]*)([^:]*):?(.*)", word).groups()
            kind = float if re.search(r"[.]|e-", default) or name in ("lr", "cross") else str
            kind = (kinds or {}).get(name, int if default.lstrip("-").isdigit() else kind)
            value, several = kind(default) if default else None, mark.count("*")
            how = {"help": OPTIONS[name] + f"; default {default}" * bool(default)}
            if mark == "?":
                how |= {"action": "store_true"}
            elif mark == "~":
                how |= {"action": argparse.BooleanOptionalAction, "default": True if default else None}
            else:
                how |= {"type": kind, "nargs": (None, "+", "*")[several],
                        "default": [value] if several and default else value,
                        "choices": among.split("|") if among else None}
            if "!" in mark:
                how["required"] = True
            sub.add_argument(name if mark == "@" else f"--{name}", **how)
    return top


def status_of(run, *args, **options):
    """The exit status of run(...): what it returns, or 0; bad input is one line on stderr and 2."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))               # so that temporary files go
    try:
        return run(*args, **options) or 0
    except KeyboardInterrupt:
        print("interrupted; nothing is half written, the same command does it again", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

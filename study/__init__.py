"""What the tables compare and how they are made; run from the repository's root: python -m study.NAME."""
import signal
import sys


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

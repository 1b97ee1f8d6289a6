"""What the tables compare and how they are made; run from the repository's root: python -m study.NAME."""
import sys


def status_of(run, *args, **options):
    """The exit status of run(...): what it returns, or 0; bad input is one line on stderr and 2."""
    try:
        return run(*args, **options) or 0
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

"""Watch a study while it runs: ``python -m volumetry.monitor [results_dir]``."""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from volumetry.errors import DataError, VolumetryError
from volumetry.monitor import terminal
from volumetry.monitor.state import Reader, Snapshot
from volumetry.runtime.files import replacing

_RELOAD = 60.0
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def main(arguments: Sequence[str] | None = None) -> int:
    """Show a study once, or again and again until it is complete or the user interrupts.

    Returns:
        The exit status: 0, or 1 after a message if there is nothing to show or to write to.
    """
    options = _parser().parse_args(arguments)
    # A terminal that lacks a character is no reason to fail.
    sys.stdout.reconfigure(errors="replace")
    try:
        _follow(options)
    except KeyboardInterrupt:
        print()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except VolumetryError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m volumetry.monitor",
        description="Show how far a study is, from the files in its folder of results. The study "
        "may run on this machine or on others that share the folder; it is not disturbed.",
    )
    parser.add_argument(
        "results_dir",
        nargs="?",
        default="results/default",
        help="the results_dir of its configuration (default: %(default)s)",
    )
    parser.add_argument(
        "--watch",
        type=_interval,
        metavar="SECONDS",
        help="show it again every so many seconds, until it is complete or you press Ctrl-C",
    )
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="also write a page with charts, which reloads itself",
    )
    return parser


def _interval(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return seconds


def _follow(options: argparse.Namespace) -> None:
    reader = Reader(options.results_dir)
    terminal_is_there = sys.stdout.isatty()
    in_place = options.watch is not None and terminal_is_there
    if in_place:
        print(_HOME + _CLEAR_BELOW, end="")
    while True:
        snapshot = None
        width, height = shutil.get_terminal_size()
        try:
            snapshot = reader.read()
            text = terminal.view(snapshot, width if terminal_is_there else None)
        except DataError as error:
            # A study that is about to start is worth waiting for.
            if options.watch is None:
                raise
            text = f"Waiting: {error}"
        if options.html and snapshot:
            _write(snapshot, options.html, options.watch or _RELOAD)
        print(_in_place(text, height) if in_place else f"{text}\n", end="", flush=True)
        if options.watch is None or (snapshot and snapshot.complete):
            break
        if not in_place:
            print()
        time.sleep(options.watch)


def _in_place(text: str, height: int) -> str:
    """``text`` over the one before it, cut to the height of the terminal."""
    lines = text.splitlines()
    if len(lines) >= height:
        more = f"… {len(lines) - height + 2} more lines: enlarge the terminal, or use --html"
        lines = [*lines[: height - 2], more]
    return _HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in lines) + _CLEAR_BELOW


def _write(snapshot: Snapshot, path: Path, reload: float) -> None:
    """Write the page; a browser that reloads meets the old one or the new one, whole."""
    from volumetry.monitor import page  # slow to import, and often not needed

    with replacing(path) as temporary:
        temporary.write_text(page.render(snapshot, reload), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""The command ``volumetry``: what there is to do with a study beside running it.

Studies are run by Snakemake itself, which this does not wrap. Imports whatever a command needs,
when it needs it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from volumetry import __version__
from volumetry.errors import DataError, VolumetryError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, or 1 after a message.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["monitor"]:
        from volumetry.monitor.__main__ import main as monitor

        return monitor(given[1:])
    options = _parser().parse_args(given)
    try:
        for path in options.run(options):
            print(path)
    except (VolumetryError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="volumetry", description="Watch a study, render its report, export its numbers."
    )
    parser.add_argument("--version", action="version", version=f"volumetry {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("monitor", help="show how far a study is (volumetry monitor --help)")
    for name, run, about, written in (
        ("report", _report, "render the report again, with the code as it is now", "report.html"),
        ("export", _export, "write runs, networks and the meaning of columns as CSV", ""),
    ):
        command = commands.add_parser(name, help=about, description=f"{about.capitalize()}.")
        command.add_argument("results_dir", type=Path, help="the results_dir of a finished study")
        command.add_argument(
            "--to",
            type=Path,
            metavar="FILE" if written else "FOLDER",
            help=f"where to (default: {written or 'beside the study'})",
        )
        command.set_defaults(run=run)
    return parser


def _report(options: argparse.Namespace) -> list[Path]:
    from volumetry.report.page import render
    from volumetry.runtime.files import replacing

    folder = options.results_dir
    to = options.to or folder / "report.html"
    config = (folder / "config.yaml").read_text(encoding="utf-8")
    page = render(_study(folder), _seconds(folder), config)
    with replacing(to) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return [to]


def _export(options: argparse.Namespace) -> list[Path]:
    from volumetry.results.tables import NAMES, write_tables

    to = options.to or options.results_dir
    to.mkdir(parents=True, exist_ok=True)
    write_tables(_study(options.results_dir), _seconds(options.results_dir), to)
    return [to / name for name in NAMES]


def _study(folder: Path):
    import volumetry

    if not (folder / "study.nc").exists():
        raise DataError(
            f"{folder}: no study.nc there, so no finished study; name the results_dir of one, or "
            "let Snakemake finish it"
        )
    return volumetry.open(folder)


def _seconds(folder: Path) -> list[dict]:
    from volumetry.results import seconds

    path = folder / "seconds.csv"
    return list(seconds.read(path)) if path.exists() else []

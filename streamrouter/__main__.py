"""``python -m streamrouter`` and the ``streamrouter`` script."""

from __future__ import annotations

from streamrouter.cli.main import cli


def main() -> None:
    """Runs the command line and exits with its code."""
    cli(prog_name="streamrouter")


if __name__ == "__main__":
    main()

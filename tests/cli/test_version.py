"""``streamrouter version``."""

from __future__ import annotations

import json

from click.testing import CliRunner

from streamrouter.cli.main import cli


def test_version_for_people_and_programs() -> None:
    plain = CliRunner().invoke(cli, ["version"])
    assert (plain.exit_code, plain.output.split()[0]) == (0, "streamrouter")
    as_json = json.loads(CliRunner().invoke(cli, ["version", "--json"]).output)
    assert as_json["version"] in plain.output
    assert set(as_json) == {"version", "python", "implementation", "sqlite", "platform", "one_file", "packages"}
    assert as_json["packages"]["starlette"] and as_json["one_file"] is False

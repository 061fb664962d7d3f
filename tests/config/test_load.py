from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamrouter.config.load import VARIABLES, load
from streamrouter.config.schema import Config
from streamrouter.errors import ConfigError

BAD = Path(__file__).parent / "bad"
MINIMAL = '[upstreams.main]\nbase_url = "demo:"\n[models.demo]\n'


@pytest.mark.parametrize("name", sorted(path.stem for path in BAD.glob("*.toml")))
def test_a_bad_file_is_refused_with_all_its_faults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    with pytest.raises(ConfigError) as caught:
        load(f"{name}.toml", {}, {})
    assert f"{caught.value}\n" == (BAD / f"{name}.txt").read_text()
    assert "canary" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_there_are_at_least_twenty_bad_files_and_each_is_expected() -> None:
    assert len(list(BAD.glob("*.toml"))) >= 20
    assert {path.stem for path in BAD.glob("*.toml")} == {path.stem for path in BAD.glob("*.txt")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "streamrouter.toml") -> str:
    (folder / name).write_text(text)
    return name


def test_no_file_is_the_built_in_one_with_the_demo(folder: Path) -> None:
    loaded = load(None, {}, {})
    assert loaded.source == "built in"
    assert loaded.warnings == []
    assert loaded.env_providers == []
    assert loaded.config.upstreams["main"].base_url == "demo:"
    assert "demo" in loaded.config.models


def test_no_file_offers_the_providers_of_the_environment(folder: Path) -> None:
    loaded = load(None, {"OPENAI_API_KEY": "sk-1", "GROQ_API_KEY": "gsk-1"}, {})
    assert loaded.env_providers == ["openai", "groq"]
    assert list(loaded.config.upstreams) == ["main", "openai", "groq"]
    assert loaded.config.upstreams["groq"].api_key == "gsk-1"


def test_a_broken_key_of_the_environment_is_named_by_its_variable(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^GROQ_API_KEY: upstreams\.groq\.api_key: holds a character") as caught:
        load(None, {"GROQ_API_KEY": "canary canary"}, {})
    assert "canary" not in str(caught.value)


def test_the_upstream_of_the_environment_replaces_the_demo(folder: Path) -> None:
    environ = {"STREAMROUTER_UPSTREAM_URL": "https://api.openai.com/v1/", "STREAMROUTER_UPSTREAM_KEY": "sk-1"}
    main = load(None, environ, {}).config.upstreams["main"]
    assert (main.base_url, main.api_key) == ("https://api.openai.com/v1", "sk-1")
    assert main.max_tokens_field == "max_completion_tokens"


def test_a_file_in_the_folder_is_found_and_offers_nothing(folder: Path) -> None:
    write(folder, MINIMAL)
    loaded = load(None, {"OPENAI_API_KEY": "sk-1"}, {})
    assert loaded.source == "streamrouter.toml"
    assert loaded.env_providers == []
    assert list(loaded.config.upstreams) == ["main"]


def test_which_file_flag_environment_folder(folder: Path) -> None:
    write(folder, MINIMAL)
    by_environment = write(folder, MINIMAL, "environment.toml")
    by_flag = write(folder, MINIMAL, "flag.toml")
    environ = {"STREAMROUTER_CONFIG": by_environment}
    assert load(by_flag, environ, {}).source == by_flag
    assert load(None, environ, {}).source == by_environment
    assert load(None, {"STREAMROUTER_CONFIG": ""}, {}).source == "streamrouter.toml"


FILE = '[server]\nhost = "file"\nport = 1\n[ledger]\npath = "file.db"\n'
ENVIRON = {"STREAMROUTER_HOST": "env", "STREAMROUTER_PORT": "2", "STREAMROUTER_LEDGER": "env.db"}
FLAGS: dict[str, Any] = {"server.host": "flag", "server.port": 3, "ledger.path": "flag.db"}


@pytest.mark.parametrize(
    ("file", "environ", "flags", "expected"),
    [
        ("", {}, {}, ("127.0.0.1", 8000, "streamrouter.db")),
        (FILE, {}, {}, ("file", 1, "file.db")),
        (FILE, ENVIRON, {}, ("env", 2, "env.db")),
        ("", ENVIRON, {}, ("env", 2, "env.db")),
        (FILE, ENVIRON, FLAGS, ("flag", 3, "flag.db")),
        (FILE, {}, FLAGS, ("flag", 3, "flag.db")),
        (FILE, ENVIRON, {"server.port": None}, ("env", 2, "env.db")),
        (FILE, {"STREAMROUTER_PORT": ""}, {}, ("file", 1, "file.db")),
        (FILE.replace("1", "70000"), {}, FLAGS, ("flag", 3, "flag.db")),
        ('[server]\nhost = "${UNSET}"\n', {}, FLAGS, ("flag", 3, "flag.db")),
    ],
)
def test_flag_over_environment_over_file(
    folder: Path, file: str, environ: dict[str, str], flags: dict[str, Any], expected: tuple[str, int, str]
) -> None:
    config = load(write(folder, file), environ, flags).config
    assert (config.server.host, config.server.port, config.ledger.path) == expected


def test_every_variable_is_a_key_that_exists(folder: Path) -> None:
    assert load(write(folder, ""), dict.fromkeys(VARIABLES, "1"), {}).config.server.port == 1


def test_a_fault_of_the_environment_or_the_command_line_says_so(folder: Path) -> None:
    name = write(folder, FILE)
    with pytest.raises(ConfigError) as caught:
        load(name, {"STREAMROUTER_PORT": "http"}, {"ledger.pth": "x", "server.host": 5})
    assert str(caught.value).splitlines() == [
        "command line: server.host: expected a string, got 5",
        "STREAMROUTER_PORT: server.port: expected an integer from 0 to 65535, got the value of ${STREAMROUTER_PORT}",
        "command line: ledger.pth: unknown key; did you mean path?",
    ]


def test_numbers_may_come_from_variables(folder: Path) -> None:
    name = write(folder, '[server]\nport = "${P:-81}"\nmetrics = "${M}"\n')
    server = load(name, {"M": "false"}, {}).config.server
    assert (server.port, server.metrics) == (81, False)


def test_a_secret_of_a_file_beside_the_configuration(folder: Path) -> None:
    (folder / "conf").mkdir()
    (folder / "conf" / "key").write_text("sk-secret\n")
    text = '[upstreams.main]\nbase_url = "https://h.example/v1"\napi_key = "${WHERE:-file:key}"\n'
    name = write(folder, text, "conf/x.toml")
    assert load(name, {}, {}).config.upstreams["main"].api_key == "sk-secret"
    assert load(name, {"WHERE": "sk-direct"}, {}).config.upstreams["main"].api_key == "sk-direct"


def test_the_ledgers_url_may_be_in_a_file_of_its_own(folder: Path) -> None:
    """Relative to the configuration; what the command line or the environment names, to where we are."""
    (folder / "etc").mkdir()
    write(folder, "postgresql://u:hunter2@db/books\n", "etc/url")
    write(folder, "postgresql://u:hunter2@db/here\n", "url")
    name = write(folder, MINIMAL + '[ledger]\npath = "file:url"\n', "etc/s.toml")
    assert load(name, {}, {}).config.ledger.path == "postgresql://u:hunter2@db/books"
    assert load(name, {"STREAMROUTER_LEDGER": "file:url"}, {}).config.ledger.path == "postgresql://u:hunter2@db/here"
    assert load(name, {"STREAMROUTER_LEDGER": "file:none"}, {"ledger.path": "l.db"}).config.ledger.path == "l.db"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql://u:hunter/2@db/books", "ledger.path: expected a URL such as postgresql://USER:"),
        ("mysql://u:hunter2@db/books", "ledger.path: expected a file's path, or a URL that begins with postgresql://"),
        ("file:none", "ledger.path: cannot read none: No such file"),
    ],
)
def test_a_place_that_is_none_for_a_ledger(folder: Path, url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f"^command line: {what}") as caught:
        load(None, {}, {"ledger.path": url})
    assert "hunter" not in str(caught.value)


def test_the_default_of_max_tokens_follows_a_lower_ceiling(folder: Path) -> None:
    models = load(write(folder, f"{MINIMAL}max_output_tokens = 100\n[models.b]\n"), {}, {}).config.models
    assert models["demo"].default_max_tokens == 100
    assert models["b"].default_max_tokens == 4096


def test_an_empty_file_is_every_default_and_warns(folder: Path) -> None:
    loaded = load(write(folder, ""), {}, {})
    assert loaded.config == Config()
    assert len(loaded.warnings) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"^x\.toml: cannot be read: No such file or directory"),
        (b"a = '\xff'", r"^x\.toml: is not UTF-8 text \(byte 5\)"),
        (b"a = 1\na = 2", r"^x\.toml:2: not TOML: Cannot overwrite a value"),
        (b"a = [", r"^x\.toml:1: not TOML: "),
        (b"a = " + b"[" * 100_000, r"^x\.toml: not usable: nested too deeply|^x\.toml:1: not TOML"),
    ],
)
def test_what_is_no_file_or_no_toml(folder: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (folder / "x.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load("x.toml", {}, {})

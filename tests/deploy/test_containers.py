"""Image, compose file and Kubernetes manifests: they agree with each other, with the program and its configuration."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamrouter.config.load import load
from streamrouter.config.place import fault_of, is_database, shown
from streamrouter.config.schema import Config
from tests.support.server import Server

ROOT = Path(__file__).parent.parent.parent
DOCKER = ROOT / "deploy/docker"
USER = 10001


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's: name and the rest of its (continued) line."""
    lines = [line for line in (DOCKER / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [
        (name, re.sub(r"\s+", " ", rest))
        for name, _, rest in (line.partition(" ") for line in text.split("\n"))
        if name
    ]


def of(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in of("ENV") for pair in shlex.split(rest))


def loaded(file: Path, **environ: str) -> Config:
    return load(str(file), environ, {}).config


# -- the image


def test_the_image_is_built_in_two_stages_and_runs_as_nobody_in_particular() -> None:
    assert len(of("FROM")) == 2 and of("FROM")[0].endswith(" AS build")
    names = [name for name, _ in instructions()]
    assert of("USER") == [f"{USER}:{USER}"]
    assert names.index("USER") > max(number for number, name in enumerate(names) if name == "RUN")
    assert of("VOLUME") == ["/data"] and of("STOPSIGNAL") == ["SIGTERM"]
    assert (of("ENTRYPOINT"), of("CMD")[-1]) == (['["streamrouter"]'], '["serve", "--log-format", "json"]')
    assert of("HEALTHCHECK")[0].endswith('CMD ["streamrouter", "healthcheck"]')


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    for rest in of("COPY"):
        if rest.startswith("--from"):
            continue
        for source in shlex.split(rest)[:-1]:
            assert (ROOT / source).exists()
            assert any(fnmatch(source, pattern) for pattern in let_in)


def test_the_image_has_what_its_build_needs() -> None:
    """What pyproject.toml names is copied before pip runs."""
    project = (ROOT / "pyproject.toml").read_text()
    copied = {source for rest in of("COPY")[:2] for source in shlex.split(rest)[:-1]}
    assert {"pyproject.toml", "streamrouter"} <= copied
    for name in re.findall(r'^(?:readme|license-files) = \[?"([^"]+)"', project, re.M):
        assert name in copied


# -- its configuration


def test_in_a_container_everybody_is_listened_to_and_there_is_no_console_yet() -> None:
    config = loaded(DOCKER / "streamrouter.toml", **environment())
    assert (config.server.host, config.server.port) == ("0.0.0.0", int(of("EXPOSE")[0]))
    assert config.ledger.path == environment()["STREAMROUTER_LEDGER"] == "/data/ledger.db"
    assert not config.console.enabled
    assert config.upstreams["main"].base_url == "demo:"
    assert environment()["STREAMROUTER_CONFIG"] in of("COPY")[-1]


def test_the_console_is_a_variable_away() -> None:
    assert loaded(DOCKER / "streamrouter.toml", STREAMROUTER_CONSOLE="true").console.enabled


def test_the_program_takes_it(tmp_path: Path) -> None:
    """By the command line of the image, with its ledger elsewhere."""
    env = {**os.environ, **environment(), "PATH": os.environ["PATH"]}
    env |= {"STREAMROUTER_CONFIG": str(DOCKER / "streamrouter.toml"), "STREAMROUTER_LEDGER": str(tmp_path / "l.db")}
    words = [sys.executable, "-m", "streamrouter", "serve", "--log-format", "json", "--dry-run"]
    done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "l.db").exists()


def test_a_container_gets_an_admin_and_then_its_console(tmp_path: Path) -> None:
    server = Server(tmp_path, (DOCKER / "streamrouter.toml").read_text())
    try:
        server.start()  # on every address, without an admin
        assert server.key
        words = server.command("admin", "create", "root")
        secret = "correct horse battery\n"
        subprocess.run(words, env=server.env, input=secret, text=True, check=True, capture_output=True, timeout=30)
        assert server.terminate() == 0
        server.env["STREAMROUTER_CONSOLE"] = "true"
        server.start()
        assert server.get("/console")[0] == 200
    finally:
        server.kill()


# -- compose


def test_the_compose_file_runs_the_image_with_a_root_that_nobody_writes_to() -> None:
    text = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    assert list(text["services"]) == ["streamrouter"]
    assert text["name"] == "streamrouter"  # else the folder's, which other projects may share
    service = text["services"]["streamrouter"]
    build = service["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == ["data:/data"] and "data" in text["volumes"]
    assert service["ports"] == [f"127.0.0.1:8000:{of('EXPOSE')[0]}"]
    assert set(service["environment"]) <= set(
        re.findall(r"STREAMROUTER_[A-Z_]+", (DOCKER / "streamrouter.toml").read_text())
    )
    assert int(service["stop_grace_period"].rstrip("s")) > Config(upstreams={}, models={}).server.drain_timeout_s


@pytest.fixture(scope="module")
def shared() -> dict[str, Any]:
    """The compose file with a database."""
    found: dict[str, Any] = yaml.safe_load((DOCKER / "compose.postgres.yaml").read_text())
    return found


def test_on_postgres_every_process_is_the_same_hardened_one(shared: dict[str, Any]) -> None:
    alone = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["streamrouter"]
    services = shared["services"]
    assert set(services) == {"streamrouter", "second", "postgres"}
    assert alone["init"] is True  # as process 1 a start could not be stopped
    assert services["second"]["profiles"] == ["two"]
    assert services["second"]["ports"] != services["streamrouter"]["ports"]
    for name in ("streamrouter", "second"):
        service = services[name]
        for key in ("image", "build", "restart", "read_only", "cap_drop", "security_opt", "ulimits", "init"):
            assert service[key] == alone[key]
        assert service["stop_grace_period"] == alone["stop_grace_period"]
        assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
        assert "volumes" not in service and set(service["tmpfs"]) >= {"/tmp", "/data:mode=1777"}
        assert set(alone["environment"]) | {"STREAMROUTER_LEDGER"} == set(service["environment"])
        assert service["ports"][0].startswith("127.0.0.1:")


def test_no_secret_of_it_is_written_anywhere_and_the_database_is_reached_from_it_alone(shared: dict[str, Any]) -> None:
    text = (DOCKER / "compose.postgres.yaml").read_text()
    assert "PASSWORD:" not in text and "CHANGEME" not in text.upper()
    services = shared["services"]
    named = services["streamrouter"]["environment"]["STREAMROUTER_LEDGER"]
    assert named == "file:/run/secrets/" + services["streamrouter"]["secrets"][0]
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD_FILE"] == (
        "/run/secrets/" + services["postgres"]["secrets"][0]
    )
    ignored = (ROOT / ".gitignore").read_text()
    assert all(each["file"].startswith("./secrets/") for each in shared["secrets"].values())
    assert "/deploy/docker/secrets/" in ignored
    postgres = services["postgres"]
    assert "ports" not in postgres and postgres["networks"] == ["ledger"]
    assert shared["networks"]["ledger"]["internal"] is True
    assert postgres["read_only"] is True and postgres["cap_drop"] == ["ALL"] and "healthcheck" in postgres
    assert [volume.split(":")[0] for volume in postgres["volumes"]] == list(shared["volumes"])


def test_its_commands_make_what_it_takes(shared: dict[str, Any], tmp_path: Path) -> None:
    """Those of its head, in an empty folder; the address that they write is one that the image's program takes."""
    lines = (DOCKER / "compose.postgres.yaml").read_text().splitlines()
    made = [line[1:].split("  for the users")[0] for line in lines if line.startswith("#   ") and "secrets" in line]
    script = "; ".join(line.strip() for line in made).replace("cd deploy/docker && ", "")
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True, timeout=30)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    for each in shared["secrets"].values():
        assert (tmp_path / each["file"]).stat().st_mode & 0o777 == 0o644
    url = loaded(DOCKER / "streamrouter.toml", STREAMROUTER_LEDGER=f"file:{tmp_path}/secrets/ledger-url").ledger.path
    assert is_database(url) and fault_of(url) == "" and shown(url) == "postgresql://streamrouter@postgres/streamrouter"
    assert (tmp_path / "secrets/postgres-password").read_text().strip() in url


def test_the_image_can_speak_to_it() -> None:
    assert any("'.[postgres]'" in rest for rest in of("RUN"))


# -- Kubernetes


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    found = yaml.safe_load_all((ROOT / "deploy/kubernetes/streamrouter.yaml").read_text())
    return {manifest["kind"]: manifest for manifest in found}


@pytest.fixture
def config(manifests: dict[str, Any], tmp_path: Path) -> Config:
    file = tmp_path / "streamrouter.toml"
    file.write_text(manifests["ConfigMap"]["data"]["streamrouter.toml"])
    return loaded(file)


def test_there_is_one_of_it_and_it_is_found(manifests: dict[str, Any]) -> None:
    assert set(manifests) == {"ConfigMap", "Service", "StatefulSet"}
    assert all(manifest["apiVersion"] in ("v1", "apps/v1") for manifest in manifests.values())
    spec = manifests["StatefulSet"]["spec"]
    assert spec["replicas"] == 1 and spec["serviceName"] == manifests["Service"]["metadata"]["name"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == manifests["Service"]["spec"]["selector"] == labels
    [port] = manifests["Service"]["spec"]["ports"]
    [container] = spec["template"]["spec"]["containers"]
    assert port["targetPort"] in {each["name"] for each in container["ports"]}


def test_its_ports_probes_and_times_are_those_of_its_configuration(manifests: dict[str, Any], config: Config) -> None:
    pod = manifests["StatefulSet"]["spec"]["template"]
    [container] = pod["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": config.server.port, "metrics": config.server.metrics_port}
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(config.server.metrics_port)
    probes = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert probes == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert all(container[name]["httpGet"]["port"] == "http" for name in probes)
    pre_stop = float(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    drains = pre_stop + config.server.drain_announce_s + config.server.drain_timeout_s
    assert pod["spec"]["terminationGracePeriodSeconds"] > drains + 10
    assert config.server.host == config.server.metrics_host == "0.0.0.0" and not config.console.enabled


def test_it_may_do_nothing_that_it_need_not(manifests: dict[str, Any], config: Config) -> None:
    spec = manifests["StatefulSet"]["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == USER
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False  # $STREAMROUTER_PORT would be tcp://…
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] is True and security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    [claim] = spec["volumeClaimTemplates"]
    assert mounts[os.path.dirname(config.ledger.path)] == claim["metadata"]["name"]
    assert {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"]} == set(mounts.values())
    assert os.path.dirname(environment()["STREAMROUTER_CONFIG"]) in mounts


def test_on_postgres_it_is_the_same_pod_without_a_volume(manifests: dict[str, Any], tmp_path: Path) -> None:
    found = yaml.safe_load_all((ROOT / "deploy/kubernetes/streamrouter.postgres.yaml").read_text())
    shared = {manifest["kind"]: manifest for manifest in found}
    assert set(shared) == {"ConfigMap", "Service", "Deployment", "PodDisruptionBudget"}
    assert shared["Service"] == manifests["Service"]
    spec = shared["Deployment"]["spec"]
    assert spec["replicas"] > shared["PodDisruptionBudget"]["spec"]["minAvailable"] >= 1
    assert spec["selector"] == shared["PodDisruptionBudget"]["spec"]["selector"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pod, alone = (each["spec"]["template"] for each in (shared["Deployment"], manifests["StatefulSet"]))
    assert pod["metadata"] == alone["metadata"]
    ours, theirs = pod["spec"]["containers"][0], alone["spec"]["containers"][0]
    assert {name for name in theirs if ours[name] != theirs[name]} == {"envFrom", "volumeMounts"}
    assert [mount for mount in theirs["volumeMounts"] if mount not in ours["volumeMounts"]] == [
        {"name": "data", "mountPath": "/data"}
    ]
    file = tmp_path / "streamrouter.toml"
    file.write_text(shared["ConfigMap"]["data"]["streamrouter.toml"])
    alone_file = manifests["ConfigMap"]["data"]["streamrouter.toml"]
    assert file.read_text().replace("${STREAMROUTER_LEDGER}", "/data/ledger.db") == alone_file
    assert is_database(loaded(file, STREAMROUTER_LEDGER="postgresql://u:p@h/d").ledger.path)

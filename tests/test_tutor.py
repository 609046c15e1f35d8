# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The Tutor plugin: its wheel, installed with pip beside the real Tutor, whose rendered files are read.

Tutor renders without Docker and without a cluster, and ``kubectl kustomize`` builds what it has rendered without
either. What the containers would run is run here, on the stand-in LMS.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from celery.bin.celery import celery
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.db import connection
from snowflake.connector.connection import DEFAULT_CONFIGURATION

from channel_integrations import OTHER_DISTRIBUTION, __version__
from channel_integrations.integrated_channel import checks, conf
from channel_integrations.integrated_channel.management.commands.send_due_webhooks import Command as Sweep
from channel_integrations.integrated_channel.settings.common import (
    DEFAULTS,
    DELIVERY_TASK,
    ENRICHMENT_QUEUE,
    ENRICHMENT_TASK,
)
from channel_integrations.integrated_channel.snowflake_sign_in import connect_arguments
from channel_integrations.integrated_channel.tasks import HARD_LIMIT
from tests.lms_host.celery import app
from tests.servers import TUTOR, Daemon

pytestmark = pytest.mark.tutor

ROOT = Path(__file__).parent.parent
NEWER, OLDER = "22", "21"
ENRICHMENT, DELIVERY, SWEEP = "lms-worker-webhook-enrichment", "lms-worker-webhook-delivery", "lms-webhook-sweep"
SNOWFLAKE = {key: f"the-{key}" for key in ("account", "user", "warehouse", "database", "schema", "role")}
EVERYTHING = {
    "CHANNEL_INTEGRATIONS_LEARNING_TIME": True,
    "CHANNEL_INTEGRATIONS_SNOWFLAKE": SNOWFLAKE,
    "CHANNEL_INTEGRATIONS_SETTINGS": {"CHANNEL_WEBHOOKS_RETENTION_DAYS": 365, "CHANNEL_WEBHOOKS_PROXY_URL": None},
    "CHANNEL_INTEGRATIONS_RUN_DELIVERY_WORKER": True,
    "CHANNEL_INTEGRATIONS_DELIVERY_REPLICAS": 4,
    "CHANNEL_INTEGRATIONS_KEDA": True,
}
WHEEL = f"channel_integrations-{__version__}-py3-none-any.whl"
WORKLOAD_IDENTITY = {"authenticator": "WORKLOAD_IDENTITY", "workload_identity_provider": "AWS"}
#: other choices, gathered in two sites, since each rendering takes its time
PLAIN = {
    "CHANNEL_INTEGRATIONS_PACKAGE": "git+https://git.example.com/channel-integrations@v0.1.0",
    "CHANNEL_INTEGRATIONS_SNOWFLAKE": {**SNOWFLAKE, "token_file_path": "/run/token"},
    "CHANNEL_INTEGRATIONS_RUN_ENRICHMENT_WORKER": False,
    "CHANNEL_INTEGRATIONS_SWEEP_SCHEDULE": "*/2 * * * *",
}
FIXED = {
    **EVERYTHING,
    "CHANNEL_INTEGRATIONS_PACKAGE": WHEEL,
    "CHANNEL_INTEGRATIONS_SNOWFLAKE": {**SNOWFLAKE, **WORKLOAD_IDENTITY},
    "CHANNEL_INTEGRATIONS_KEDA": False,
}


@dataclass(frozen=True)
class Rendered:
    """What ``tutor config save`` wrote."""

    folder: Path

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def services(self, *names: str) -> dict[str, dict[str, Any]]:
        """The services of one Compose file, or of several as Compose merges them: key by key."""
        merged: dict[str, dict[str, Any]] = {}
        for name in names:
            for service, definition in yaml.safe_load(self.text(name))["services"].items():
                merged.setdefault(service, {}).update(definition)
        return merged

    def built(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The objects that ``kubectl apply`` would be given, by kind and name."""
        done = subprocess.run(
            [TUTOR / "bin" / "kubectl", "kustomize", self.folder], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return {(it["kind"], it["metadata"]["name"]): it for it in yaml.safe_load_all(done.stdout)}

    def settings_lines(self, file: str = "production.py") -> str:
        """Our lines of the LMS's settings."""
        text = self.text(f"apps/openedx/settings/lms/{file}")
        return text.partition("# Completion webhooks")[2].partition("######## End of common LMS settings")[0]

    def settings(self) -> dict[str, Any]:
        """What those lines assign."""
        names: dict[str, Any] = {"FEATURES": {}}
        exec(self.settings_lines(), names)
        return {name: value for name, value in names.items() if name.isupper()}


@pytest.fixture(scope="session")
def plugin(tmp_path_factory) -> Path:
    """The folder that the plugin's wheel is installed into."""
    source, wheels, installed = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "plugin"))
    shutil.copytree(ROOT / "tutor", source, dirs_exist_ok=True, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", wheels, source]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    [wheel] = wheels.glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", installed, wheel], check=True, capture_output=True
    )
    return installed


@pytest.fixture(scope="session")
def tutor(plugin):
    """``tutor(root, release, *arguments)``: the finished command."""

    def run(root: Path, release: str, *arguments: str) -> subprocess.CompletedProcess:
        path = [str(plugin), *([str(TUTOR / OLDER)] if release == OLDER else [])]
        environment = {"PATH": os.environ["PATH"], "HOME": str(root), "TUTOR_ROOT": str(root)}
        environment["TUTOR_PLUGINS_ROOT"] = str(root / "plugins")
        return subprocess.run(
            [TUTOR / "bin" / "python", TUTOR / "bin" / "tutor", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**environment, "PYTHONPATH": os.pathsep.join(path)},
        )

    return run


@pytest.fixture(scope="session")
def first_configuration(tmp_path_factory, tutor) -> str:
    """What the first ``tutor config save`` writes: its keys take seconds to make."""
    root = tmp_path_factory.mktemp("first")
    assert tutor(root, NEWER, "config", "save").returncode == 0
    return (root / "config.yml").read_text()


@pytest.fixture(scope="session")
def render(tmp_path_factory, tutor, first_configuration):
    """``render(release, *further plugins, **configuration)``; each once."""
    known: dict[str, Rendered] = {}

    def rendered(release: str = NEWER, *plugins: str, **configuration: Any) -> Rendered:
        key = repr((release, plugins, configuration))
        if key not in known:
            root = tmp_path_factory.mktemp("tutor")
            config = {**yaml.safe_load(first_configuration), **configuration}
            config["PLUGINS"] = sorted(["channel-integrations", *plugins])
            (root / "config.yml").write_text(yaml.safe_dump(config))
            done = tutor(root, release, "config", "save")
            assert done.returncode == 0, done.stdout + done.stderr
            known[key] = Rendered(root / "env")
        return known[key]

    return rendered


def test_tutor_finds_and_enables_the_installed_plugin(tmp_path, tutor, first_configuration):
    (tmp_path / "config.yml").write_text(first_configuration)
    for release in (NEWER, OLDER):
        assert tutor(tmp_path, release, "--version").stdout.startswith(f"tutor, version {release}.")
    done = tutor(tmp_path, NEWER, "plugins", "enable", "channel-integrations")
    assert "Plugin channel-integrations enabled" in done.stdout
    assert re.search(r"channel-integrations\s.*enabled\s.*22\.0\.0", tutor(tmp_path, NEWER, "plugins", "list").stdout)
    assert "lms-webhook-sweep" in (tmp_path / "env/local/docker-compose.yml").read_text()


def test_the_page_has_every_variable_and_its_default(plugin):
    code = "import json; from tutor import hooks; import tutorchannelintegrations.plugin; "
    code += "print(json.dumps(dict(hooks.Filters.CONFIG_DEFAULTS.iterate())))"
    done = subprocess.run(
        [TUTOR / "bin" / "python", "-c", code],
        capture_output=True,
        check=True,
        env={"PYTHONPATH": str(plugin)},
        cwd="/",
    )
    defaults = {
        name: json.dumps(value) if not isinstance(value, str) else value or "empty"
        for name, value in json.loads(done.stdout).items()
        if name.startswith("CHANNEL_INTEGRATIONS_") and name != "CHANNEL_INTEGRATIONS_VERSION"
    }
    page = (ROOT / "docs/how-tos/install_with_tutor.md").read_text()
    assert dict(re.findall(r"^\| `(CHANNEL_INTEGRATIONS_\w+)` \| `?(.*?)`? \|", page, re.M)) == defaults
    assert set(re.findall(r"CHANNEL_INTEGRATIONS_[A-Z_]+", page)) == set(defaults)


# ---- the image


def test_the_image_gets_this_package_in_place_of_the_bundled_one(render):
    dockerfile = render().text("build/openedx/Dockerfile")
    swap = (
        f"RUN pip uninstall -y {OTHER_DISTRIBUTION} \\\n"
        f"    && pip install --force-reinstall --no-deps 'channel-integrations=={__version__}' \\\n"
        "    && pip install 'SQLAlchemy>=2,<3'\n"
    )
    production, _, development = dockerfile.partition("FROM production AS development")
    for stage, requirements in ((production, "edx/base.txt -r"), (development, "edx/development.txt")):
        assert stage.count(swap) == 1
        assert stage.index(requirements) < stage.index(swap)
    assert production.index(swap) < production.index("FROM minimal AS production")


def test_the_image_is_not_built_where_the_other_distribution_has_come_back(render):
    [command] = re.findall(r"^RUN (python -c .*)$", render().text("build/openedx/Dockerfile"), re.M)
    program, *arguments = shlex.split(command)
    assert program == "python"
    subprocess.run([sys.executable, *arguments], check=True, cwd=ROOT)
    wrong = [argument.replace("channel_webhooks", "channel_integration") for argument in arguments]
    assert subprocess.run([sys.executable, *wrong], check=False, cwd=ROOT, capture_output=True).returncode == 1


def test_another_source_of_the_package_can_be_named(render):
    assert f"--no-deps '{PLAIN['CHANNEL_INTEGRATIONS_PACKAGE']}'" in render(**PLAIN).text("build/openedx/Dockerfile")


def test_a_wheel_can_lie_in_the_folder_that_the_image_is_built_from(render):
    dockerfile = render(**FIXED).text("build/openedx/Dockerfile")
    mount = f"RUN --mount=type=bind,source={WHEEL},target=/wheels/{WHEEL} pip uninstall -y {OTHER_DISTRIBUTION} \\\n"
    assert dockerfile.count(f"{mount}    && pip install --force-reinstall --no-deps '/wheels/{WHEEL}' \\\n") == 2


# ---- the settings


@pytest.mark.parametrize("release", [NEWER, OLDER])
def test_as_it_comes_learning_time_is_off_and_deliveries_are_the_lms_workers(render, release):
    settings = render(release).settings()
    assert settings.pop("FEATURES") == {"ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": False}
    assert settings == {"CHANNEL_WEBHOOKS_METRICS_TOKEN_FILE": "/openedx/data/channel-webhooks-metrics/token"}


def test_what_is_configured_is_what_the_package_reads(render, settings):
    for name, value in render(**EVERYTHING).settings().items():
        setattr(settings, name, value)
    assert conf.enrichment_enabled()
    assert conf.snowflake_config() == {
        **SNOWFLAKE,
        "private_key_file": "/run/secrets/channel-webhooks-snowflake/private_key",
    }
    assert conf.retention().days == 365
    assert conf.delivery_workers() == 8
    assert [*conf.problems(), *checks.check_snowflake(None)] == []


def test_only_settings_that_there_are_are_set(render):
    assert set(render(**EVERYTHING).settings()) - {"FEATURES"} <= set(DEFAULTS)


def test_development_has_the_same_settings(render):
    rendered = render(**EVERYTHING)
    assert rendered.settings_lines("development.py") == rendered.settings_lines()


def test_the_key_that_is_mounted_signs_in(render, tmp_path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encryption = serialization.BestAvailableEncryption(b"open sesame")
    (tmp_path / "private_key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    (tmp_path / "private_key_passphrase").write_text("open sesame\n")
    names: dict[str, Any] = {"FEATURES": {}}
    exec(
        render(**EVERYTHING).settings_lines().replace("/run/secrets/channel-webhooks-snowflake", str(tmp_path)),
        names,
    )
    arguments = connect_arguments(names["SNOWFLAKE_CONFIG"])
    assert serialization.load_der_private_key(arguments["private_key"], None).private_numbers() == key.private_numbers()


@pytest.mark.parametrize("site", [PLAIN, FIXED], ids=["token in a file", "workload identity"])
def test_another_way_to_sign_in_needs_no_key(render, settings, site):
    settings.SNOWFLAKE_CONFIG = render(**site).settings()["SNOWFLAKE_CONFIG"]
    settings.FEATURES = {"ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT": True}
    assert site["CHANNEL_INTEGRATIONS_SNOWFLAKE"] == settings.SNOWFLAKE_CONFIG
    assert checks.check_snowflake(None) == []


# ---- no secrets where Tutor would spread them

SECRET = "do-not-render-me"
SECRETS = [
    {"CHANNEL_INTEGRATIONS_SNOWFLAKE": {**SNOWFLAKE, "private_key": SECRET}},
    {"CHANNEL_INTEGRATIONS_SETTINGS": {"CHANNEL_WEBHOOKS_METRICS_TOKEN": SECRET}},
    {"CHANNEL_INTEGRATIONS_SETTINGS": {"SNOWFLAKE_CONFIG": {"password": SECRET}}},
]


TRY_EACH = """
import sys
from tutor.exceptions import TutorError
from tutorchannelintegrations.settings import snowflake_config

for key in sys.argv[1:]:
    try:
        print(snowflake_config({"account": "a", key: "x"}))
    except TutorError:
        pass
"""


def test_every_secret_that_the_connector_takes_is_refused(plugin):
    """By the connector's own list: whatever sounds like a secret, but for files, addresses and switches."""
    secrets = [
        key
        for key, (default, _types) in DEFAULT_CONFIGURATION.items()
        if re.search("pass|secret|token|private_key", key)
        and not key.endswith(("_path", "_url", "_file", "_callback"))
        and not isinstance(default, bool)
    ]
    assert {"private_key", "private_key_passphrase", "password", "token", "oauth_client_secret"} <= set(secrets)
    command = [TUTOR / "bin" / "python", "-c", TRY_EACH, *secrets]
    done = subprocess.run(command, capture_output=True, check=True, env={"PYTHONPATH": str(plugin)}, cwd="/")
    assert done.stdout == b""


@pytest.mark.parametrize("secret", SECRETS, ids=repr)
def test_a_secret_in_the_configuration_is_refused_and_reaches_no_file(tmp_path, tutor, first_configuration, secret):
    config = {**yaml.safe_load(first_configuration), "PLUGINS": ["channel-integrations"], **secret}
    (tmp_path / "config.yml").write_text(yaml.safe_dump(config))
    done = tutor(tmp_path, NEWER, "config", "save")
    assert done.returncode == 1
    assert "CHANNEL_INTEGRATIONS_S" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert not [file for file in (tmp_path / "env").rglob("*") if file.is_file() and SECRET in file.read_text()]


def test_secrets_are_mounted_where_they_are_needed_and_nowhere_else(render):
    for plugins in ((), ("celery",)):
        mounts = {
            (name, volume["secret"]["secretName"], volume["secret"]["optional"])
            for (kind, name), built in render(NEWER, *plugins, **EVERYTHING).built().items()
            if kind == "Deployment"
            for volume in built["spec"]["template"]["spec"].get("volumes", [])
            if "secret" in volume
        }
        assert mounts == {
            (ENRICHMENT, "channel-webhooks-snowflake", True),
            ("lms", "channel-webhooks-metrics", True),
        }
    for service, definition in (
        render(**EVERYTHING).services("local/docker-compose.yml", "local/docker-compose.prod.yml").items()
    ):
        mounted = [volume for volume in definition.get("volumes", []) if "snowflake" in volume]
        assert bool(mounted) == (service in (ENRICHMENT, "permissions"))


def test_where_settings_look_for_a_file_is_where_it_is_mounted(render):
    rendered = render(**EVERYTHING)
    settings, built = rendered.settings(), rendered.built()
    for name, file in (
        ("lms", settings["CHANNEL_WEBHOOKS_METRICS_TOKEN_FILE"]),
        (ENRICHMENT, settings["SNOWFLAKE_CONFIG"]["private_key_file"]),
    ):
        [container] = built["Deployment", name]["spec"]["template"]["spec"]["containers"]
        assert str(Path(file).parent) in [mount["mountPath"] for mount in container["volumeMounts"]]
    service = rendered.services("local/docker-compose.prod.yml")[ENRICHMENT]
    folder = Path(settings["SNOWFLAKE_CONFIG"]["private_key_file"]).parent
    assert f"../../data/channel-webhooks-snowflake:{folder}:roz" in service["volumes"]
    # A local LMS has data/lms under /openedx/data.
    assert "../../data/lms:/openedx/data:z" in rendered.services("local/docker-compose.yml")["lms"]["volumes"]
    assert settings["CHANNEL_WEBHOOKS_METRICS_TOKEN_FILE"].startswith("/openedx/data/")


# ---- the processes


def queues_of(command: list[str]) -> list[str]:
    """What a ``celery worker`` consumes, as Celery itself reads its arguments: the last ``--queues`` counts."""
    assert command[:3] == ["celery", "--app=lms.celery", "worker"]
    worker = celery.commands["worker"]
    options, rest, _order = worker.make_parser(click.Context(worker)).parse_args(command[3:])
    assert not rest
    return options["queues"].split(",")


def consumed(commands) -> list[str]:
    return sorted(queue for command in commands if command and command[0] == "celery" for queue in queues_of(command))


def deployments(rendered: Rendered) -> dict[str, dict[str, Any]]:
    """The one container of each Deployment, by name."""
    return {
        name: built["spec"]["template"]["spec"]["containers"][0]
        for (kind, name), built in rendered.built().items()
        if kind == "Deployment"
    }


LMS_QUEUES = [f"edx.lms.core.{name}" for name in ("default", "high", "high_mem")]


@pytest.mark.parametrize("release", [NEWER, OLDER])
@pytest.mark.parametrize("plugins", [(), ("celery",)])
def test_each_queue_of_the_lms_has_exactly_one_worker(render, release, plugins):
    rendered = render(release, *plugins)
    services = rendered.services("local/docker-compose.yml", "local/docker-compose.prod.yml")
    containers = deployments(rendered)
    for commands in (
        {name: container.get("args") for name, container in containers.items()},
        {name: service.get("command") for name, service in services.items()},
    ):
        of_the_lms = [command for name, command in commands.items() if name.startswith("lms-worker")]
        assert consumed(of_the_lms) == sorted([*LMS_QUEUES, ENRICHMENT_QUEUE])
        assert queues_of(commands[ENRICHMENT]) == [ENRICHMENT_QUEUE]
        assert "--concurrency=2" in commands[ENRICHMENT]


ANOTHER_PLUGIN = """
from tutorcelery.hooks import CELERY_WORKERS_CONFIG

@CELERY_WORKERS_CONFIG.add()
def _add(config):
    config["lms"]["high"] = {}
    return config
"""


def test_a_queue_that_the_site_has_given_a_worker_keeps_it(tmp_path, tutor, first_configuration):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "zeal.py").write_text(ANOTHER_PLUGIN)
    config = {**yaml.safe_load(first_configuration), "PLUGINS": ["celery", "channel-integrations", "zeal"]}
    (tmp_path / "config.yml").write_text(yaml.safe_dump(config))
    done = tutor(tmp_path, NEWER, "config", "save")
    assert done.returncode == 0, done.stderr
    containers = deployments(Rendered(tmp_path / "env"))
    assert queues_of(containers["lms-worker"]["args"]) == ["edx.lms.core.default", "edx.lms.core.high_mem"]
    assert queues_of(containers["lms-worker-high"]["args"]) == ["edx.lms.core.high"]


@pytest.mark.parametrize("plugins", [(), ("celery",)])
def test_tasks_go_to_queues_that_the_workers_consume(render, settings, plugins):
    rendered = render(NEWER, *plugins, **EVERYTHING)
    for name, value in rendered.settings().items():
        setattr(settings, name, value)
    locally = rendered.services("local/docker-compose.prod.yml")
    on_kubernetes = deployments(rendered)
    for task, name in ((ENRICHMENT_TASK, ENRICHMENT), (DELIVERY_TASK, DELIVERY)):
        queue = app.amqp.router.route({}, task)["queue"].name
        assert queues_of(locally[name]["command"]) == queues_of(on_kubernetes[name]["args"]) == [queue]


def test_a_site_without_learning_time_may_do_without_its_worker(render):
    rendered = render(**PLAIN)
    assert ENRICHMENT not in rendered.services("local/docker-compose.prod.yml")
    for plugins in ((), ("celery",)):
        assert render(NEWER, *plugins, **PLAIN).built()["Deployment", ENRICHMENT]["spec"]["replicas"] == 0


@pytest.mark.parametrize("release", [NEWER, OLDER])
def test_the_compose_services_are_complete(render, release):
    rendered = render(release, **EVERYTHING)
    services = rendered.services("local/docker-compose.yml", "local/docker-compose.prod.yml")
    for name in (ENRICHMENT, DELIVERY, SWEEP):
        service, lms_worker = services[name], services["lms-worker"]
        assert service["image"] == lms_worker["image"]
        assert lms_worker["environment"].items() <= service["environment"].items()
        assert {volume for volume in lms_worker["volumes"] if "media" not in volume} <= set(service["volumes"])
        assert set(service["depends_on"]) <= set(services)
        assert int(service["stop_grace_period"].removesuffix("s")) > HARD_LIMIT
    # The user of the containers may read what the operator has put there.
    assert (
        "../../data/channel-webhooks-snowflake:/mounts/channel-webhooks-snowflake:z"
        in (services["permissions"]["volumes"])
    )
    assert "/mounts/channel-webhooks-snowflake" in rendered.text("apps/permissions/setowners.sh")


def test_in_development_the_sweep_has_the_settings_and_the_image_of_development(render):
    rendered = render(**EVERYTHING)
    services = rendered.services("local/docker-compose.yml", "dev/docker-compose.yml")
    assert services[SWEEP]["image"] == services["lms"]["image"] == services["watchthemes"]["image"]
    assert services[SWEEP]["environment"] == {"DJANGO_SETTINGS_MODULE": "lms.envs.tutor.development"}
    assert {ENRICHMENT, DELIVERY}.isdisjoint(services)


@pytest.mark.parametrize("plugins", [(), ("celery",)])
def test_the_deployments_are_complete(render, plugins):
    built = render(NEWER, *plugins, **EVERYTHING).built()
    for name in (ENRICHMENT, DELIVERY, SWEEP):
        spec = built["Deployment", name]["spec"]
        pod = spec["template"]["spec"]
        [container] = pod["containers"]
        assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
        assert pod["terminationGracePeriodSeconds"] > HARD_LIMIT
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        for volume in pod["volumes"]:
            assert "secret" in volume or ("ConfigMap", volume["configMap"]["name"]) in built
        [lms] = built["Deployment", "lms-worker"]["spec"]["template"]["spec"]["containers"]
        assert container["image"] == lms["image"]
        assert {entry["name"]: entry["value"] for entry in lms["env"]}.items() <= environment_of(container).items()


def environment_of(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_the_sweep_can_be_a_cronjob(render):
    rendered = render(**PLAIN)
    built = rendered.built()
    assert ("Deployment", SWEEP) not in built
    spec = built["CronJob", SWEEP]["spec"]
    assert spec["schedule"] == "*/2 * * * *"
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["containers"][0]["args"] == ["./manage.py", "lms", "send_due_webhooks"]
    for volume in pod["volumes"]:
        assert ("ConfigMap", volume["configMap"]["name"]) in built
    # Compose has no schedules.
    assert "--loop" in rendered.services("local/docker-compose.yml")[SWEEP]["command"]


def test_keda_scales_the_delivery_worker_by_due_rows(render):
    built = render(**EVERYTHING).built()
    scaled = built["ScaledObject", DELIVERY]["spec"]
    assert ("Deployment", scaled["scaleTargetRef"]["name"]) in built
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (1, 4)
    # As the page on monitoring has it, whose query is held to the metrics that there are.
    assert scaled["triggers"] == yaml.safe_load((ROOT / "docs/monitoring/keda.yml").read_text())["spec"]["triggers"]
    # Two that decide how many there are would undo each other's decisions.
    assert "replicas" not in built["Deployment", DELIVERY]["spec"]


def test_without_keda_the_replicas_are_fixed(render):
    built = render(**FIXED).built()
    assert not [key for key in built if key[0] == "ScaledObject"]
    assert built["Deployment", DELIVERY]["spec"]["replicas"] == 4


def test_keda_without_a_worker_to_scale_is_refused(tmp_path, tutor, first_configuration):
    config = {**yaml.safe_load(first_configuration), "PLUGINS": ["channel-integrations"]}
    (tmp_path / "config.yml").write_text(yaml.safe_dump({**config, "CHANNEL_INTEGRATIONS_KEDA": True}))
    done = tutor(tmp_path, NEWER, "config", "save")
    assert done.returncode == 1
    assert "CHANNEL_INTEGRATIONS_KEDA needs CHANNEL_INTEGRATIONS_RUN_DELIVERY_WORKER" in done.stderr


# ---- what the containers run, run


def probe_of(container: dict[str, Any], file: Path) -> subprocess.CompletedProcess:
    """The liveness probe, with the file of this test in place of the container's."""
    inside = environment_of(container)["CHANNEL_WEBHOOKS_HEARTBEAT_FILE"]
    command = [part.replace(inside, str(file)) for part in container["livenessProbe"]["exec"]["command"]]
    assert command != container["livenessProbe"]["exec"]["command"]
    return subprocess.run(command, check=False, capture_output=True)


def until(condition: Callable[[], bool], daemon: Daemon) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline and daemon.process.poll() is None, daemon.log.read_text()
        time.sleep(0.2)


def until_alive(container: dict[str, Any], file: Path, daemon: Daemon, word: str) -> None:
    """The probe finds that the process has started, and, once its log has the word for that, that it goes on."""
    until(lambda: probe_of(container, file).returncode == 0, daemon)
    until(lambda: word in daemon.log.read_text(), daemon)
    os.utime(file, (time.time() - 121,) * 2)
    until(lambda: probe_of(container, file).returncode == 0, daemon)


def test_every_probe_and_health_check_is_the_same(render):
    rendered = render(**EVERYTHING)
    services = rendered.services("local/docker-compose.yml", "local/docker-compose.prod.yml")
    containers = deployments(rendered)
    for name in (ENRICHMENT, DELIVERY, SWEEP):
        probe = containers[name]["livenessProbe"]["exec"]["command"]
        assert probe == containers[name]["startupProbe"]["exec"]["command"]
        assert ["CMD", *probe] == services[name]["healthcheck"]["test"]
        file = environment_of(containers[name])["CHANNEL_WEBHOOKS_HEARTBEAT_FILE"]
        assert services[name]["environment"]["CHANNEL_WEBHOOKS_HEARTBEAT_FILE"] == file
        assert file in probe[-1]
        # Compose and Kubernetes would each expand it in a way of their own.
        assert "$" not in "".join(probe)


def test_the_worker_starts_and_its_probe_tells_whether_it_lives(render, tmp_path, committed_db, redis_server):
    container = deployments(render(**EVERYTHING))[ENRICHMENT]
    file = tmp_path / "alive"
    assert probe_of(container, file).returncode != 0
    program, lms, *arguments = container["args"]
    assert (program, lms) == ("celery", "--app=lms.celery")
    environment = {
        "LMS_BROKER_URL": redis_server.url(0),
        "LMS_DB_NAME": str(connection.settings_dict["NAME"]),
        "CHANNEL_WEBHOOKS_HEARTBEAT_FILE": str(file),
    }
    command = [sys.executable, "-m", "celery", "--app=tests.lms_host.celery", *arguments]
    worker = Daemon(command, tmp_path / "log", env={**os.environ, **environment}, cwd=ROOT).start()
    until_alive(container, file, worker, " ready.")
    worker.kill()
    os.utime(file, (time.time() - 121,) * 2)
    assert probe_of(container, file).returncode != 0


def test_the_sweep_starts_and_ends_as_it_is_told_to(render, tmp_path, committed_db):
    rendered = render()
    container = deployments(rendered)[SWEEP]
    service = rendered.services("local/docker-compose.yml")[SWEEP]
    assert container["args"] == service["command"]
    assert container["args"][:3] == ["./manage.py", "lms", "send_due_webhooks"]
    Sweep().create_parser("manage.py", "send_due_webhooks").parse_args(container["args"][3:])
    file = tmp_path / "alive"
    environment = {
        "LMS_DB_NAME": str(connection.settings_dict["NAME"]),
        "CHANNEL_WEBHOOKS_HEARTBEAT_FILE": str(file),
        "PYTHONUNBUFFERED": "1",
    }
    # The stand-in's manage.py knows one variant alone.
    command = [sys.executable, "manage.py", "send_due_webhooks", *container["args"][3:]]
    loop = Daemon(command, tmp_path / "log", env={**os.environ, **environment}, cwd=ROOT).start()
    until_alive(container, file, loop, "attempts made")
    # As Kubernetes and Compose do it, neither of which is told of another signal.
    assert not {"stop_signal", "lifecycle"} & {*service, *container}
    loop.process.send_signal(signal.SIGTERM)
    assert loop.process.wait(20) == 0, loop.log.read_text()

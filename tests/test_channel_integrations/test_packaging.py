# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wheel, in empty environments, and beside the other distribution that owns the same package name."""

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from channel_integrations import OTHER_DISTRIBUTION

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "channel_integrations"
APP = "channel_integrations/integrated_channel"
SOURCES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.rst", "CHANGELOG.rst", "LICENSE.txt", "requirements")
COMMANDS = [
    f"pip uninstall -y {OTHER_DISTRIBUTION}",
    "pip install --force-reinstall --no-deps channel-integrations",
]


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess:
    """The finished command, output as text; it does not see the checkout."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PIP_REQUIRE_VIRTUALENV")
    }
    return subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**inherited, **environment},
        cwd=Path(sysconfig.get_paths()["data"]),
    )


def pip(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess:
    """This environment's pip."""
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, **environment)


class Environment:
    """A virtual environment of its own, which pip manages from outside (so that making it takes no time)."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.folder, self.wheels = folder, wheels
        self.python = folder / "bin" / "python"
        self.site_packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))

    def type(self, command: str) -> None:
        """Run a pip command as an operator would type it, with the wheels of this run as the only index."""
        words = command.split()
        assert words[0] == "pip"
        done = pip("--python", self.python, *words[1:], PIP_NO_INDEX="1", PIP_FIND_LINKS=str(self.wheels))
        assert done.returncode == 0, done.stderr

    def install(self, name: str) -> None:
        self.type(f"pip install --no-deps {name}")

    def python_says(self, code: str) -> subprocess.CompletedProcess:
        return run(self.python, "-c", code)

    def lend_libraries(self) -> None:
        """Django and the rest from the environment that runs this; what is installed here comes first."""
        (self.site_packages / "lent.pth").write_text(sysconfig.get_path("purelib"))


@pytest.fixture(scope="session")
def wheels(tmp_path_factory) -> Path:
    """The folder with our wheel, built from a copy of what a source distribution holds."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, source / name)
    shutil.copytree(PACKAGE, source / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path_factory.mktemp("wheels")
    built = pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="session")
def both_wheels(wheels) -> Path:
    """The same folder with the other distribution's wheel, the real one, beside ours."""
    got = pip("download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", wheels, OTHER_DISTRIBUTION)
    if got.returncode:
        pytest.skip(f"{OTHER_DISTRIBUTION} cannot be downloaded: {got.stderr.strip().splitlines()[-1]}")
    return wheels


@pytest.fixture
def environment(tmp_path, both_wheels) -> Environment:
    return Environment(tmp_path / "venv", both_wheels)


# ---- the wheel


@pytest.fixture(scope="session")
def wheel(wheels) -> zipfile.ZipFile:
    [path] = wheels.glob("channel_integrations-*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    """Migrations, templates and static files as well, whenever somebody adds one."""
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == ours
    assert f"{APP}/migrations/0001_initial.py" in packed


def test_the_wheel_says_what_the_lms_and_pip_look_for(wheel):
    [entry_points] = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(entry_points).decode())
    assert {section: dict(parser[section]) for section in parser.sections()} == {
        "lms.djangoapp": {"channel_webhooks": f"{APP.replace('/', '.')}.apps:IntegratedChannelConfig"}
    }
    metadata = wheel.read(entry_points.replace("entry_points.txt", "METADATA")).decode()
    assert "\nName: channel-integrations\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "\nRequires-Dist: snowflake-connector-python<5,>=3.7\n" in metadata
    # These come from the LMS, in the versions that the LMS pins.
    assert "Requires-Dist: edx-enterprise" not in metadata
    assert "Requires-Dist: social-auth" not in metadata


def test_the_wheel_in_an_empty_environment_can_be_imported(tmp_path, wheels):
    environment = Environment(tmp_path / "venv", wheels)
    environment.install("channel-integrations")
    said = environment.python_says("import channel_integrations as c; print(c.__version__, c.__file__)")
    assert said.returncode == 0, said.stderr
    version, file = said.stdout.split()
    assert f"channel_integrations-{version}-py3-none-any.whl" in {path.name for path in wheels.iterdir()}
    assert Path(file).is_relative_to(environment.site_packages)


def test_every_module_of_the_wheel_can_be_imported_beside_an_lms(tmp_path, wheels):
    environment = Environment(tmp_path / "venv", wheels)
    environment.install("channel-integrations")
    environment.lend_libraries()
    said = environment.python_says(IMPORT_EVERYTHING)
    assert said.returncode == 0, said.stderr
    files = said.stdout.split()
    assert len(files) > 20
    assert all(Path(file).is_relative_to(environment.site_packages) for file in files)


# edx-enterprise's own test settings are enough of an LMS to import models.
IMPORT_EVERYTHING = """
import pkgutil, importlib, sys
from django.conf import settings
from enterprise.settings import test as lms
values = {name: getattr(lms, name) for name in dir(lms) if name.isupper()}
apps = [app for app in values["INSTALLED_APPS"] if not app.startswith("channel_integrations")]
app_config = "channel_integrations.integrated_channel.apps.IntegratedChannelConfig"
settings.configure(**{**values, "INSTALLED_APPS": [*apps, app_config]})
import django
django.setup()
import channel_integrations
for module in pkgutil.walk_packages(channel_integrations.__path__, "channel_integrations."):
    importlib.import_module(module.name)
for name, module in sorted(sys.modules.items()):
    if name.startswith("channel_integrations"):
        print(module.__file__)
"""


# ---- beside the other distribution, in every order

IMPORT_OURS = (
    "import channel_integrations, channel_integrations.integrated_channel.apps as a; "
    "print(a.__file__, a.IntegratedChannelConfig.label)"
)


def commands_in(stderr: str) -> list[str]:
    """The commands that an error text tells an operator to type."""
    return [line.strip() for line in stderr.splitlines() if line.startswith("    pip ")]


def assert_ours_works(environment: Environment) -> None:
    environment.lend_libraries()
    said = environment.python_says(IMPORT_OURS)
    assert said.returncode == 0, said.stderr
    assert said.stdout.split()[1] == "channel_webhooks"
    assert not list(environment.site_packages.glob(f"{OTHER_DISTRIBUTION.replace('-', '_')}-*"))
    # Nothing of theirs is left to be picked up by Django, whose loader reads every file in migrations/.
    here = {path.name for path in (environment.site_packages / APP / "migrations").glob("*.py")}
    assert here == {path.name for path in (PACKAGE / "integrated_channel" / "migrations").glob("*.py")}


def test_ours_on_top_of_theirs_stops_with_the_commands_that_repair_it(environment):
    environment.install(OTHER_DISTRIBUTION)
    environment.install("channel-integrations")
    said = environment.python_says("import channel_integrations")
    assert said.returncode == 1
    assert "ImportError: channel-integrations and enterprise-integrated-channels both install" in said.stderr
    commands = commands_in(said.stderr)
    assert commands == COMMANDS
    for command in commands:
        environment.type(command)
    assert_ours_works(environment)


def test_theirs_on_top_of_ours_runs_their_code_until_the_commands_are_typed(environment):
    """Nothing of ours runs in this order, so nothing can say so: the documents do."""
    environment.install("channel-integrations")
    environment.install(OTHER_DISTRIBUTION)
    environment.lend_libraries()
    said = environment.python_says(IMPORT_OURS)
    assert said.returncode == 0, said.stderr
    assert said.stdout.split()[1] == "channel_integration"
    for command in COMMANDS:
        environment.type(command)
    assert_ours_works(environment)


def test_uninstalling_theirs_takes_files_of_ours_which_the_second_command_brings_back(environment):
    environment.install(OTHER_DISTRIBUTION)
    environment.install("channel-integrations")
    environment.type(COMMANDS[0])
    environment.lend_libraries()
    said = environment.python_says("import channel_integrations.integrated_channel.apps")
    assert said.returncode == 1
    assert "ModuleNotFoundError" in said.stderr
    environment.type(COMMANDS[1])
    assert_ours_works(environment)


def test_installing_ours_once_more_without_uninstalling_theirs_is_not_enough(environment):
    """Why there are two commands: the second alone leaves the other distribution's record, and its files, in place."""
    environment.install(OTHER_DISTRIBUTION)
    environment.type(COMMANDS[1])
    said = environment.python_says("import channel_integrations")
    assert said.returncode == 1
    assert commands_in(said.stderr) == COMMANDS

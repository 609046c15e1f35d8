# SPDX-License-Identifier: AGPL-3.0-or-later
"""The distribution: one wheel for every LMS from December 2025 on."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
# Read as text: importing the package raises where the other owner of its name is installed.
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "channel_integrations/__init__.py").read_text()).group(1)


def requirements(name):
    """The lines of a requirements/*.in file that name a package."""
    lines = (HERE / "requirements" / name).read_text().splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith(("#", "-"))]


setup(
    name="channel-integrations",
    version=VERSION,
    description="Completion webhooks from an Open edX LMS to the companies that sponsor it, with learning time",
    long_description=(HERE / "README.rst").read_text(),
    long_description_content_type="text/x-rst",
    license="AGPL-3.0-or-later",
    python_requires=">=3.11",
    packages=find_packages(include=["channel_integrations", "channel_integrations.*"]),
    package_data={"channel_integrations": ["**/templates/**/*", "**/static/**/*", "**/locale/**/*"]},
    install_requires=requirements("base.in"),
    entry_points={
        "lms.djangoapp": [
            "channel_webhooks = channel_integrations.integrated_channel.apps:IntegratedChannelConfig",
        ],
    },
    zip_safe=False,
)

# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Webhooks from an Open edX LMS to the companies that sponsor a learner, with learning time.

The distribution ``enterprise-integrated-channels`` owns the same top-level package. Two distributions that write the
same files cannot live in one environment, and pip does not notice; this module is the only code that runs early enough
to say so.
"""

from importlib import metadata

__version__ = "0.1.0"

OTHER_DISTRIBUTION = "enterprise-integrated-channels"


def _refuse_other_distribution() -> None:
    """Raise ImportError, with the commands to type, where the other owner of this package name is installed too."""
    try:
        metadata.distribution(OTHER_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return
    raise ImportError(
        f"channel-integrations and {OTHER_DISTRIBUTION} both install the package 'channel_integrations' and cannot "
        "share one environment. Type, in this order:\n"
        f"    pip uninstall -y {OTHER_DISTRIBUTION}\n"
        "    pip install --force-reinstall --no-deps channel-integrations\n"
        "(the second command restores the files that the first one takes away)."
    )


_refuse_other_distribution()

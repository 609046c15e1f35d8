# SPDX-License-Identifier: AGPL-3.0-or-later
"""What of the status page needs somebody: the first thing that is read of it, at night."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.utils.translation import gettext, ngettext


class Alarm(NamedTuple):
    """One sentence, and the section of the page that it is about."""

    said: str
    section: str


def alarms(sections: dict[str, Any]) -> Iterator[Alarm]:
    """In the order of the sections; none where nothing is wrong."""
    for target in sections["targets"]:
        if target["is_met"] is False and not target["informational"]:
            said = gettext("Target missed: %(label)s is %(value)s.")
            yield Alarm(said % {"label": target["label"], "value": target["value"]}, "targets")
    stuck = sections["owed"]["erasures"].stuck
    if stuck:
        said = ngettext(
            "%(count)s erasure failed for good: the partner has not been told.",
            "%(count)s erasures failed for good: the partners have not been told.",
            stuck,
        )
        yield Alarm(said % {"count": stuck}, "owed")
    troubled = sections["endpoints"]["troubled"]
    if troubled:
        said = ngettext(
            "%(count)s endpoint is held back or failing.", "%(count)s endpoints are held back or failing.", troubled
        )
        yield Alarm(said % {"count": troubled}, "endpoints")
    for beat in sections["beats"]:
        if beat.warning:
            said = gettext("%(process)s: %(warning)s.")
            yield Alarm(said % {"process": beat.label, "warning": beat.warning}, "processes")
    if sections["rollout"]["enabled"] and sections["rollout"]["paused"]:
        yield Alarm(gettext("The rollout is paused: no webhook carries learning time."), "rollout")

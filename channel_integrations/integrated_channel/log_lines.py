# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Log lines that a log system can query: each fact is in the text and, under the same name, in ``extra``.

Every line says ``source`` and ``status``. What is about one webhook has its ``webhook_id``: one line for each webhook
from the event to the last attempt, so that one id finds them all.

What has failed is told by the classes of the errors and the places in the code they came through, never by an error's
own words: a database quotes the values it refuses ("Duplicate entry 'maria@…'"), and an error tracker that is handed a
traceback keeps the local variables of each frame, bodies and secrets among them.
"""

import logging
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from django.db import Error as DatabaseError

PACKAGE = __name__.partition(".")[0]
#: how much of a chain of errors, and of the way that one took, is told; what is nearest to its origin counts
ERRORS_TOLD, PLACES_TOLD = 4, 8
#: of ``LogLines._write`` and the method that calls it, so that the record names the caller's file and line
_STACK_LEVEL = 3


class LogLines:
    """The lines of one module, written to the logger of its name."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, source: str, status: str, words: str = "", **facts: Any) -> None:
        """A line for whoever develops this."""
        self._write(logging.DEBUG, source, status, words, facts)

    def info(self, source: str, status: str, words: str = "", **facts: Any) -> None:
        """
        What has happened.

        :param words: a sentence for whoever reads the text, always the same one
        :param facts: ids, counts, codes, durations; those that are None or empty are left out
        """
        self._write(logging.INFO, source, status, words, facts)

    def warning(self, source: str, status: str, words: str = "", **facts: Any) -> None:
        """Something was made up for."""
        self._write(logging.WARNING, source, status, words, facts)

    def error(self, source: str, status: str, words: str = "", **facts: Any) -> None:
        """Somebody has to act."""
        self._write(logging.ERROR, source, status, words, facts)

    def failure(self, source: str, err: BaseException, words: str = "", **facts: Any) -> None:
        """At level ERROR, ``status`` "failure" unless told otherwise, and what kind of error came from where."""
        facts = {"status": "failure", **facts, "error": chain_of(err), "at": way_of(err)}
        self._write(logging.ERROR, source, facts.pop("status"), words, facts)

    def _write(self, level: int, source: str, status: str, words: str, facts: dict[str, Any]) -> None:
        if not self._logger.isEnabledFor(level):
            return
        told = {name: _plain(value) for name, value in facts.items() if value not in (None, "")}
        # What is the same in every such line is the template's, by which error trackers group.
        template = f"source={source} status={status}{''.join(f' {name}=%s' for name in told)}"
        if words:
            template += f": {words.replace('%', '%%') if told else words}"
        extra = {"source": source, "status": status, **told}
        self._logger.log(level, template, *told.values(), extra=extra, stacklevel=_STACK_LEVEL)


def _plain(value: Any) -> Any:
    """As any formatter can write it, be it JSON: numbers stay numbers, an id is a string."""
    return value if isinstance(value, str | int | float) else str(value)


def chain_of(err: BaseException) -> str:
    """The classes of an error and of what caused it, with numbers: ``QueryFailed<ProgrammingError(2003)``."""
    return "<".join(f"{type(each).__name__}{_number(each)}" for each in _chain(err))


def way_of(err: BaseException) -> str:
    """
    Where the error came through: file, line and function of this package, outermost first, and where it was raised.

    ``handlers.py:32:handle_grade_change>outbox.py:160:insert_missing>django/db/backends/utils.py:105:_execute``
    """
    places: list[str] = []
    for each in _chain(err):
        way = list(_places(each.__traceback__))
        places += [place for place, is_ours in way if is_ours]
        if way and not way[-1][1]:
            places.append(way[-1][0])
    return ">".join(dict.fromkeys(places[-PLACES_TOLD:]))


def _chain(err: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = err
    for _ in range(ERRORS_TOLD):
        if following is None:
            return
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _number(err: BaseException) -> str:
    """The number that a database, the system or Snowflake gives an error; any other error's argument may be data."""
    first = err.args[0] if err.args and isinstance(err, (DatabaseError, OSError)) else None
    number = getattr(err, "errno", None) or first
    return f"({number})" if isinstance(number, int) else ""


def _places(traceback: TracebackType | None) -> Iterator[tuple[str, bool]]:
    """Each step of a traceback, and whether it is in this package."""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        _, found, path = code.co_filename.rpartition(f"/{PACKAGE}/")
        file = path.rpartition("/")[2] if found else code.co_filename.rpartition("site-packages/")[2]
        yield f"{file}:{traceback.tb_lineno}:{code.co_qualname}", bool(found)
        traceback = traceback.tb_next

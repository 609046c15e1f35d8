# SPDX-License-Identifier: AGPL-3.0-or-later
"""The LMS's own process: it grades, says what that cost, fills the tables, and measures the limits."""

import django

from benchmarks.parts import serve


def main() -> None:
    django.setup()
    import tests.lms_host.celery  # noqa: F401  (the Celery app that this process publishes through)
    from benchmarks import bare, finished_rows, grading

    serve(
        {
            "prepare": grading.prepare,
            "sponsor": grading.sponsor,
            "allow": grading.allow,
            "grade": grading.grade,
            "finish_rows": finished_rows.finish_rows,
            "add_finished": finished_rows.add,
            "hops": bare.hops,
            "tasks": bare.tasks,
            "posts": bare.posts,
            "statements": bare.statements,
            "events": grading.events_without_package,
        }
    )


if __name__ == "__main__":
    main()

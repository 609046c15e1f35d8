# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The Django app: grade event → row → learning time → webhook.

Where to look::

    apps, urls                                what the LMS loads: signals, settings, URLs
    handlers, tasks, views                    what calls in: the LMS's events, Celery, monitoring
    management, admin, templates, static      and people
    services                                  what is done; its docstring follows a webhook through it
    models, migrations                        the rows, and every change of their state
    passes, enrollments, erasures             what webhooks are about, and what makes two of them the same
    formats                                   how a body is written
    snowflake_client, learning_time_cache     the lookup, through the cache
    snowflake_connection, snowflake_sign_in   and what it rests on
    http_client, vetted_connections           the one way out
    addresses, signing, oauth                 where it may lead, and what a POST carries
    wake_up, broker, routers, worker_steps    calls to the workers, and their queues
    conf, settings, checks                    what a site can set
    log_lines, tracing, metrics, signals      what a site can watch
    exceptions, permissions                   every error, and who may do what
    circuit, numbers_in_text                  what several of these share
"""

# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Every setting's default and annotation, and what the plugin does to the LMS's own settings.

Studio imports this module too: standard library only, and shared values are replaced, never changed in place.
"""

PLAIN_APP_NAME = "channel_integrations.integrated_channel"
ROUTER = "channel_integrations.integrated_channel.routers.route_task"

ENRICHMENT_TASK = "channel_integrations.integrated_channel.tasks.enrich_and_send_completion_webhook"
DELIVERY_TASK = "channel_integrations.integrated_channel.tasks.process_webhook_queue"
ENRICHMENT_QUEUE = "edx.lms.core.webhook_enrichment"

DEFAULTS = {
    # .. setting_name: SNOWFLAKE_CONFIG
    # .. setting_default: {}
    # .. setting_description: How to reach the warehouse: account, user, warehouse, database, schema, role, and exactly
    #     one way to sign in (key pair: private_key_file or private_key, with private_key_passphrase where it has one;
    #     password; token; OAuth; workload identity). Further keys go to the connector unchanged.
    "SNOWFLAKE_CONFIG": {},
    # .. setting_name: CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE
    # .. setting_default: "LEARNING_TIME"
    # .. setting_description: The daily rollup; one to three dotted identifiers, resolved in SNOWFLAKE_CONFIG's database
    #     and schema.
    "CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE": "LEARNING_TIME",
    # .. setting_name: CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS
    # .. setting_default: the names of the edX rollup
    # .. setting_description: Column names of the rollup for user, course, customer and seconds, and for the date of a
    #     row: what comes after the day of the pass does not count. Of a rollup without days, "date" is None; learning
    #     time is then never final.
    "CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS": {
        "user": "USER_ID",
        "course": "COURSERUN_KEY",
        "customer": "ENTERPRISE_CUSTOMER_UUID",
        "seconds": "LEARNING_TIME_SECONDS",
        "date": "DATE",
    },
    # .. setting_name: CHANNEL_WEBHOOKS_LEARNING_TIME_CACHE_SECONDS
    # .. setting_default: 300
    # .. setting_description: How long an answer of Snowflake is kept in Django's default cache; 0 keeps none.
    "CHANNEL_WEBHOOKS_LEARNING_TIME_CACHE_SECONDS": 300,
    # .. setting_name: CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS
    # .. setting_default: 0
    # .. setting_description: How long a lookup waits for others to share its statement. A warehouse bills a minute or
    #     more for each time that it wakes: completions that come thinly cost less when they wait for one another.
    "CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS": 0,
    # .. setting_name: CHANNEL_WEBHOOKS_ROLLUP_READY_AT
    # .. setting_default: "06:00"
    # .. setting_description: From when on, in UTC, the rollup is expected to have the day before. Completions that wait
    #     for a final learning time are then looked up together, and again ever more hours later until it is there.
    "CHANNEL_WEBHOOKS_ROLLUP_READY_AT": "06:00",
    # .. setting_name: CHANNEL_WEBHOOKS_WAREHOUSE_AUTO_SUSPEND_SECONDS
    # .. setting_default: 60
    # .. setting_description: The AUTO_SUSPEND of SNOWFLAKE_CONFIG's warehouse, for counting how often we wake it.
    "CHANNEL_WEBHOOKS_WAREHOUSE_AUTO_SUSPEND_SECONDS": 60,
    # .. setting_name: CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS
    # .. setting_default: 10
    # .. setting_description: How long one sign-in may take.
    "CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS": 10,
    # .. setting_name: CHANNEL_WEBHOOKS_SNOWFLAKE_QUERY_TIMEOUT_SECONDS
    # .. setting_default: 20
    # .. setting_description: How long one lookup may take, waking a suspended warehouse included. Where Snowflake
    #     has gone away, it may take two seconds and the time of a sign-in longer.
    "CHANNEL_WEBHOOKS_SNOWFLAKE_QUERY_TIMEOUT_SECONDS": 20,
    # .. setting_name: CHANNEL_WEBHOOKS_ENRICHMENT_WAIT_SECONDS
    # .. setting_default: 600
    # .. setting_description: How long a completion waits for its learning time, beyond
    #     CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS, before it goes out without.
    "CHANNEL_WEBHOOKS_ENRICHMENT_WAIT_SECONDS": 600,
    # .. setting_name: CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS
    # .. setting_default: 7
    # .. setting_description: A pass older than this makes no webhook.
    "CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS": 7,
    # .. setting_name: CHANNEL_WEBHOOKS_RETENTION_DAYS
    # .. setting_default: 90
    # .. setting_description: How long finished webhooks are kept. Longer than CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS, since
    #     the row is what keeps a pass from going out twice.
    "CHANNEL_WEBHOOKS_RETENTION_DAYS": 90,
    # .. setting_name: CHANNEL_WEBHOOKS_DISCLOSURE_RETENTION_DAYS
    # .. setting_default: 1095
    # .. setting_description: How long the register keeps who was told what about whom, from when it was told for the
    #     last time. It has no payloads. Who was told longer ago is not told to erase it when a learner is retired.
    "CHANNEL_WEBHOOKS_DISCLOSURE_RETENTION_DAYS": 1095,
    # .. setting_name: CHANNEL_WEBHOOKS_KEPT_ANSWER_CHARACTERS
    # .. setting_default: 1024
    # .. setting_description: How much of an endpoint's answer is kept with each attempt; 0 keeps nothing of it. It may
    #     repeat what was sent, personal data included: keep no more than helps to find what is wrong.
    "CHANNEL_WEBHOOKS_KEPT_ANSWER_CHARACTERS": 1024,
    # .. setting_name: CHANNEL_WEBHOOKS_DELIVERY_QUEUE
    # .. setting_default: None
    # .. setting_description: The Celery queue for deliveries; None is the LMS's default queue.
    "CHANNEL_WEBHOOKS_DELIVERY_QUEUE": None,
    # .. setting_name: CHANNEL_WEBHOOKS_DELIVERY_WORKERS
    # .. setting_default: 1
    # .. setting_description: How many workers may deliver at once. Keep 1 on a queue that is shared with the LMS.
    "CHANNEL_WEBHOOKS_DELIVERY_WORKERS": 1,
    # .. setting_name: CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES
    # .. setting_default: False
    # .. setting_description: For development alone: endpoints may be plain http and live on loopback or private
    #     addresses.
    "CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES": False,
    # .. setting_name: CHANNEL_WEBHOOKS_PROXY_URL
    # .. setting_default: None
    # .. setting_description: A proxy that all webhooks go through, such as "http://proxy.internal:3128"; what the
    #     environment of a worker names does not count. The proxy resolves the endpoints' names, hence must itself keep
    #     webhooks from addresses inside.
    "CHANNEL_WEBHOOKS_PROXY_URL": None,
    # .. setting_name: CHANNEL_WEBHOOKS_METRICS_TOKEN
    # .. setting_default: None
    # .. setting_description: What a monitoring system sends as "Authorization: Bearer" to be given the metrics, 16
    #     characters or more without spaces; None lets only people with the permission to view webhooks see them.
    "CHANNEL_WEBHOOKS_METRICS_TOKEN": None,
    # .. setting_name: CHANNEL_WEBHOOKS_METRICS_TOKEN_FILE
    # .. setting_default: None
    # .. setting_description: A file that holds that token, in place of CHANNEL_WEBHOOKS_METRICS_TOKEN, such as a
    #     mounted Kubernetes secret; it is read with each scrape, so that the token can be replaced without a restart.
    "CHANNEL_WEBHOOKS_METRICS_TOKEN_FILE": None,
    # .. setting_name: CHANNEL_WEBHOOKS_GRADE_SOURCE
    # .. setting_default: "grades.PersistentCourseGrade"
    # .. setting_description: The model that the sweep compares with to find passes that have no row (app_label.Model;
    #     fields user_id, course_id, percent_grade, letter_grade, passed_timestamp); None switches the comparison off.
    "CHANNEL_WEBHOOKS_GRADE_SOURCE": "grades.PersistentCourseGrade",
    # .. setting_name: CHANNEL_WEBHOOKS_RECONCILE_DAYS
    # .. setting_default: 3
    # .. setting_description: How many days of passes the sweep compares with.
    "CHANNEL_WEBHOOKS_RECONCILE_DAYS": 3,
}


def plugin_settings(settings) -> None:
    """Called by the LMS at the end of its common settings; values that a site has set stay."""
    for name, default in DEFAULTS.items():
        if not hasattr(settings, name):
            setattr(settings, name, dict(default) if isinstance(default, dict) else default)
    keep_one_app_config(settings)
    put_router_first(settings)


def keep_one_app_config(settings) -> None:
    """
    Remove the plain app name that LMS releases up to 2026 list in OPTIONAL_APPS.

    The entry point has already added the AppConfig by its class; both together are two apps of one label.
    """
    apps = settings.INSTALLED_APPS
    settings.INSTALLED_APPS = type(apps)(app for app in apps if app != PLAIN_APP_NAME)


def put_router_first(settings) -> None:
    """Celery in the LMS reads CELERY_ROUTES (and ignores CELERY_TASK_ROUTES); our router comes before the LMS's."""
    routes = getattr(settings, "CELERY_ROUTES", None) or []
    if not isinstance(routes, (list, tuple)):
        routes = [routes]
    settings.CELERY_ROUTES = [ROUTER, *(route for route in routes if route != ROUTER)]

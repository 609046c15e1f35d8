# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings that cannot be used: a check says what to type, and the default is used meanwhile."""

from datetime import time, timedelta

import pytest
from django.core.checks import Tags, run_checks

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.settings.common import DEFAULTS, plugin_settings

FLAG = "ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT"
COMPLETE = {
    "account": "acme",
    "user": "lms",
    "warehouse": "WH",
    "database": "PROD",
    "schema": "BUSINESS_INTELLIGENCE",
    "role": "READER",
    "private_key_file": "/etc/lms/key.p8",
}


def found(check_id=None):
    """This package's findings, as ``manage.py check`` has them."""
    ours = [
        error for error in run_checks(tags=[Tags.compatibility]) if (error.id or "").startswith("channel_webhooks.")
    ]
    return [error for error in ours if check_id in (None, error.id)]


@pytest.fixture
def flag_on(settings):
    settings.FEATURES = {**settings.FEATURES, FLAG: True}
    settings.SNOWFLAKE_CONFIG = dict(COMPLETE)
    return settings


def test_the_defaults_are_in_order():
    assert found() == []


def test_every_default_is_set_on_the_lms_and_passes_for_a_value():
    class Settings:
        INSTALLED_APPS = ()

    plugin_settings(Settings)
    assert {name: getattr(Settings, name) for name in DEFAULTS} == DEFAULTS
    assert Settings.SNOWFLAKE_CONFIG is not DEFAULTS["SNOWFLAKE_CONFIG"]


def test_what_a_site_has_set_stays():
    class Settings:
        INSTALLED_APPS = ()
        CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS = 3

    plugin_settings(Settings)
    assert Settings.CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS == 3


# ---- E001, E002: the flag and the warehouse


def test_the_flag_is_off_by_default_and_snowflake_then_nobodys_business(settings):
    assert not conf.enrichment_enabled()
    settings.SNOWFLAKE_CONFIG = {"account": "half"}
    assert found() == []


def test_the_flag_with_a_complete_config_is_in_order(flag_on):
    assert conf.enrichment_enabled()
    assert found() == []


@pytest.mark.parametrize("config", [None, {}, "snowflake://", 5, ["account"]])
def test_a_config_that_is_missing_or_no_dict(flag_on, config):
    flag_on.SNOWFLAKE_CONFIG = config
    (error,) = found("channel_webhooks.E001")
    assert "account, user, warehouse, database, schema, role" in error.msg
    assert "SNOWFLAKE_CONFIG" in error.hint and FLAG in error.hint
    assert conf.snowflake_config() == {}


def test_no_config_at_all(flag_on):
    del flag_on.SNOWFLAKE_CONFIG
    assert len(found("channel_webhooks.E001")) == 1


@pytest.mark.parametrize("key", ["account", "user", "warehouse", "database", "schema", "role"])
@pytest.mark.parametrize("empty", ["absent", "", None])
def test_an_incomplete_config_names_what_is_missing(flag_on, key, empty):
    flag_on.SNOWFLAKE_CONFIG = {name: value for name, value in COMPLETE.items() if name != key}
    if empty != "absent":
        flag_on.SNOWFLAKE_CONFIG[key] = empty
    (error,) = found()
    assert error.id == "channel_webhooks.E001"
    assert error.msg.endswith(f"lacks: {key}.")


def test_no_way_to_sign_in(flag_on):
    del flag_on.SNOWFLAKE_CONFIG["private_key_file"]
    (error,) = found()
    assert error.id == "channel_webhooks.E002"
    assert "found: none" in error.msg
    assert "private_key_file" in error.hint


def test_two_ways_to_sign_in(flag_on):
    flag_on.SNOWFLAKE_CONFIG["password"] = "hunter2"
    (error,) = found()
    assert error.id == "channel_webhooks.E002"
    assert "key pair" in error.msg and "password" in error.msg
    assert "hunter2" not in error.msg + error.hint


# ---- E003: types and bounds

WHOLE_NUMBERS = [
    ("CHANNEL_WEBHOOKS_LEARNING_TIME_CACHE_SECONDS", conf.learning_time_cache_seconds, 300, (-1, 86_401)),
    ("CHANNEL_WEBHOOKS_SNOWFLAKE_LOGIN_TIMEOUT_SECONDS", conf.snowflake_login_timeout, 10, (0, 31)),
    ("CHANNEL_WEBHOOKS_SNOWFLAKE_QUERY_TIMEOUT_SECONDS", conf.snowflake_query_timeout, 20, (0, 61)),
    ("CHANNEL_WEBHOOKS_ENRICHMENT_WAIT_SECONDS", conf.enrichment_wait, timedelta(seconds=600), (0, 86_401)),
    ("CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS", conf.max_pass_age, timedelta(days=7), (0, 366)),
    ("CHANNEL_WEBHOOKS_KEPT_ANSWER_CHARACTERS", conf.kept_answer_characters, 1024, (-1, 65_537)),
    ("CHANNEL_WEBHOOKS_DELIVERY_WORKERS", conf.delivery_workers, 1, (0, 65)),
    ("CHANNEL_WEBHOOKS_RECONCILE_DAYS", conf.reconcile_window, timedelta(days=3), (0, 366)),
]
NO_WHOLE_NUMBERS = ["300", None, 1.5, True, [], {}, float("nan")]


@pytest.mark.parametrize(("name", "read", "default", "out_of_bounds"), WHOLE_NUMBERS)
def test_a_nonsense_number_is_reported_and_read_as_the_default(settings, name, read, default, out_of_bounds):
    for nonsense in (*NO_WHOLE_NUMBERS, *out_of_bounds):
        setattr(settings, name, nonsense)
        (error,) = found()
        assert error.id == "channel_webhooks.E003"
        assert error.msg.startswith(f"{name} must be a whole number")
        assert f"{name} = {DEFAULTS[name]}" in error.hint
        assert read() == default


@pytest.mark.parametrize("nonsense", ["90", None, 1.5, True, -1, 3651])
def test_a_nonsense_retention_is_reported(settings, nonsense):
    settings.CHANNEL_WEBHOOKS_RETENTION_DAYS = nonsense
    (error,) = found("channel_webhooks.E003")
    assert "CHANNEL_WEBHOOKS_RETENTION_DAYS = 90" in error.hint


@pytest.mark.parametrize(("name", "read", "default", "out_of_bounds"), WHOLE_NUMBERS)
def test_a_number_at_the_end_of_its_bounds_is_taken(settings, name, read, default, out_of_bounds):
    settings.CHANNEL_WEBHOOKS_RETENTION_DAYS = 3650
    for number in (out_of_bounds[0] + 1, out_of_bounds[1] - 1):
        setattr(settings, name, number)
        assert found() == []
        assert read() in (number, timedelta(seconds=number), timedelta(days=number))


@pytest.mark.parametrize(("retention", "max_age", "type_"), [(7, 7, 90), (5, 7, 90), (60, 60, 120), (90, 100, 200)])
def test_retention_must_outlast_the_maximum_age_of_a_pass(settings, retention, max_age, type_):
    settings.CHANNEL_WEBHOOKS_RETENTION_DAYS = retention
    settings.CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS = max_age
    (error,) = found()
    assert error.id == "channel_webhooks.E003"
    assert "longer than CHANNEL_WEBHOOKS_MAX_PASS_AGE_DAYS" in error.msg
    assert f"CHANNEL_WEBHOOKS_RETENTION_DAYS = {type_}." in error.hint
    settings.CHANNEL_WEBHOOKS_RETENTION_DAYS = type_
    assert found() == []


BAD_TABLES = ["", "a.b.c.d", "a..b", "1A", "A; DROP TABLE B", 'A"', "A B", "A\n", "TÄBLE", "A" * 256, None, 5, ["A"]]


@pytest.mark.parametrize("table", BAD_TABLES)
def test_a_table_that_is_no_identifier(settings, table):
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE = table
    (error,) = found()
    assert error.id == "channel_webhooks.E003"
    assert "CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE = " in error.hint
    assert conf.learning_time_table() == "LEARNING_TIME"


@pytest.mark.parametrize("table", ["T", "S.T", "PROD.BUSINESS_INTELLIGENCE.LEARNING_TIME", "_a$1"])
def test_a_table_of_one_to_three_identifiers(settings, table):
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE = table
    assert found() == []
    assert conf.learning_time_table() == table


BAD_COLUMNS = [
    None,
    "USER_ID",
    ["USER_ID"],
    {"learner": "USER_ID"},
    {"user": "USER ID"},
    {"user": "A.B"},
    {"user": 5},
    {"user": ""},
    {"user": None},
    {5: "USER_ID"},
]


@pytest.mark.parametrize("columns", BAD_COLUMNS)
def test_columns_that_are_no_identifiers(settings, columns):
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = columns
    (error,) = found()
    assert error.id == "channel_webhooks.E003"
    assert "CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = " in error.hint
    assert conf.learning_time_columns() == DEFAULTS["CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS"]


def test_columns_that_are_not_named_keep_their_default(settings):
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = {"user": "LMS_USER"}
    assert found() == []
    assert conf.learning_time_columns() == {**DEFAULTS["CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS"], "user": "LMS_USER"}


def test_a_rollup_may_have_no_days(settings):
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS = {"date": None}
    assert found() == []
    assert conf.learning_time_columns()["date"] is None


def test_a_time_of_the_day(settings):
    settings.CHANNEL_WEBHOOKS_ROLLUP_READY_AT = "00:30"
    assert found() == []
    assert conf.rollup_ready_at() == time(0, 30)


@pytest.mark.parametrize("given", ["6", "24:00", "06:00:00", "", 6, None, ["06:00"]])
def test_what_is_no_time_of_the_day(settings, given):
    settings.CHANNEL_WEBHOOKS_ROLLUP_READY_AT = given
    (error,) = found()
    assert error.id == "channel_webhooks.E003"
    assert 'CHANNEL_WEBHOOKS_ROLLUP_READY_AT = "06:00"' in error.hint
    assert conf.rollup_ready_at() == time(6)


@pytest.mark.parametrize("name", ["CHANNEL_WEBHOOKS_DELIVERY_QUEUE", "CHANNEL_WEBHOOKS_GRADE_SOURCE"])
@pytest.mark.parametrize("given", ["", 5, ["a"], True])
def test_a_name_of_the_wrong_type(settings, name, given):
    setattr(settings, name, given)
    (error,) = found()
    assert error.id == "channel_webhooks.E003"
    assert f"{name} = {DEFAULTS[name]!r}" in error.hint


@pytest.mark.parametrize(
    "given", ["", 5, "proxy:3128", "http://proxy", "https://proxy:3128", "http://[:3128", "socks5://p:1"]
)
def test_a_proxy_that_is_none(settings, given):
    settings.CHANNEL_WEBHOOKS_PROXY_URL = given
    (error,) = found()
    assert 'CHANNEL_WEBHOOKS_PROXY_URL = "http://proxy.internal:3128"' in error.hint
    assert conf.proxy_url() is None


@pytest.mark.parametrize("given", [None, "", 5, ["a"]])
def test_no_usable_grade_source_is_none(settings, given):
    settings.CHANNEL_WEBHOOKS_GRADE_SOURCE = given
    assert conf.grade_source() is None


@pytest.mark.parametrize("given", ["True", "false", 1, None, []])
def test_anything_but_true_keeps_private_addresses_refused(settings, given):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = given
    (error,) = found()
    assert error.id == "channel_webhooks.E003"
    assert "CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = False" in error.hint
    assert conf.allow_private_addresses() is False


def test_settings_that_are_missing_are_read_as_their_defaults(settings):
    """In a process that never ran the plugin's settings function, say."""
    for name in DEFAULTS:
        delattr(settings, name)
    assert [read() for _, read, _, _ in WHOLE_NUMBERS] == [default for _, _, default, _ in WHOLE_NUMBERS]
    assert conf.learning_time_table() == DEFAULTS["CHANNEL_WEBHOOKS_LEARNING_TIME_TABLE"]
    assert conf.learning_time_columns() == DEFAULTS["CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS"]
    assert conf.grade_source() == "grades.PersistentCourseGrade"
    assert conf.snowflake_config() == {}
    assert conf.allow_private_addresses() is False


@pytest.mark.parametrize("nonsense", [None, 5, "yes", []])
@pytest.mark.parametrize("name", ["CELERY_TASK_ROUTES", "EXPLICIT_QUEUES"])
def test_routing_tables_of_the_wrong_type_are_empty(settings, name, nonsense):
    setattr(settings, name, nonsense)
    assert (conf.celery_task_routes() if name == "CELERY_TASK_ROUTES" else conf.explicit_queues()) == {}

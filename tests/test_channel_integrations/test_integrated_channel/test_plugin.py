# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plugin in both LMS generations, and in Studio beside them."""

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pytest
from django.apps import apps
from django.apps.registry import Apps
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.urls import get_resolver
from edx_django_utils.plugins import connect_plugin_receivers, get_plugin_apps
from openedx_events.learning.signals import COURSE_ENROLLMENT_CREATED, PERSISTENT_GRADE_SUMMARY_CHANGED

import channel_integrations.urls
from channel_integrations.integrated_channel.handlers import (
    handle_enrollment_for_webhooks,
    handle_grade_change_for_webhooks,
)
from channel_integrations.integrated_channel.settings import common, production

PLAIN = "channel_integrations.integrated_channel"
BY_CLASS = "channel_integrations.integrated_channel.apps.IntegratedChannelConfig"
ROOT = Path(__file__).parents[3]

# ---- in the stand-in LMS, which has loaded it through stevedore


def test_the_entry_point_names_the_app_config_for_the_lms_alone():
    ours = [point for group in entry_points().groups for point in entry_points(group=group) if PLAIN in point.value]
    assert {(point.group, point.value) for point in ours} == {("lms.djangoapp", BY_CLASS.replace("apps.", "apps:"))}
    assert BY_CLASS in get_plugin_apps("lms.djangoapp")


def test_one_app_config_although_the_lms_and_the_site_list_the_plain_name_too():
    ours = [config for config in apps.get_app_configs() if config.name == PLAIN]
    assert [(config.label, type(config).__name__) for config in ours] == [
        ("channel_webhooks", "IntegratedChannelConfig")
    ]
    assert [app for app in django_settings.INSTALLED_APPS if app.startswith("channel_integrations")] == [BY_CLASS]


def test_the_label_is_not_the_one_that_another_distributions_migrations_are_recorded_under():
    assert "channel_integration" not in apps.app_configs


def test_edx_enterprise_is_the_real_one_with_its_own_integrated_channel_app():
    assert apps.get_app_config("integrated_channel").name == "integrated_channels.integrated_channel"
    assert apps.get_app_config("enterprise").name == "enterprise"


@pytest.mark.parametrize(
    ("event", "handler"),
    [
        (PERSISTENT_GRADE_SUMMARY_CHANGED, handle_grade_change_for_webhooks),
        (COURSE_ENROLLMENT_CREATED, handle_enrollment_for_webhooks),
    ],
)
def test_a_receiver_is_connected_once_however_often_the_lms_connects(event, handler):
    def ours():
        return [receiver for receiver in (each[1] for each in event.receivers) if receiver() is handler]

    assert len(ours()) == 1
    connect_plugin_receivers("lms.djangoapp")
    assert len(ours()) == 1


def test_the_lms_urlconf_includes_our_module():
    assert channel_integrations.urls.urlpatterns == []
    included = [getattr(pattern, "urlconf_name", None) for pattern in get_resolver().url_patterns]
    assert channel_integrations.urls in included


def test_the_lms_passes_its_checks():
    call_command("check", fail_level="WARNING")


@pytest.mark.django_db
def test_the_migrations_make_the_models_as_they_are():
    call_command("makemigrations", "channel_webhooks", check=True, dry_run=True, verbosity=0)


# ---- lists of installed apps of both generations


def lms(installed_apps, **more):
    """A settings module in the making."""
    return SimpleNamespace(INSTALLED_APPS=installed_apps, **more)


def test_what_is_prevented_keeps_django_from_starting():
    with pytest.raises(ImproperlyConfigured, match="labels aren't unique"):
        Apps([PLAIN, BY_CLASS])


GENERATIONS = {
    "December 2025: the optional app, then the plugin": ["django.contrib.auth", PLAIN, "waffle", BY_CLASS],
    "2026: the plugin alone": ["django.contrib.auth", "waffle", BY_CLASS],
    "2026, early: plugin and optional app": ["django.contrib.auth", "waffle", BY_CLASS, PLAIN],
    "named twice": [PLAIN, "django.contrib.auth", PLAIN, "waffle", BY_CLASS],
}


@pytest.mark.parametrize("function", [common.plugin_settings, production.plugin_settings])
@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_one_app_config_stays_and_the_order_of_the_others(generation, kind, function):
    given = kind(GENERATIONS[generation])
    settings = lms(given)
    function(settings)
    assert kind(["django.contrib.auth", "waffle", BY_CLASS]) == settings.INSTALLED_APPS
    # Studio holds the same object.
    assert given == kind(GENERATIONS[generation])
    Apps([app for app in settings.INSTALLED_APPS if app == BY_CLASS])


def test_production_settings_undo_what_a_site_added_in_between():
    settings = lms(["waffle", PLAIN, BY_CLASS], CELERY_ROUTES="lms.route")
    common.plugin_settings(settings)
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, PLAIN]
    settings.CELERY_ROUTES = "site.route"
    production.plugin_settings(settings)
    assert settings.INSTALLED_APPS == ["waffle", BY_CLASS]
    assert settings.CELERY_ROUTES == [common.ROUTER, "site.route"]


@pytest.mark.parametrize("function", [common.plugin_settings, production.plugin_settings])
def test_running_twice_changes_nothing_more(function):
    settings = lms(["waffle", PLAIN, BY_CLASS], CELERY_ROUTES=["lms.route"])
    function(settings)
    once = dict(vars(settings))
    function(settings)
    assert vars(settings) == once


@pytest.mark.parametrize("function", [common.plugin_settings, production.plugin_settings])
def test_features_and_other_shared_values_are_not_touched(function):
    """FEATURES is a dict in one generation and a proxy in the other; neither is written to."""
    features, routes, queues = MappingProxyType({"A": True}), ["lms.route"], MappingProxyType({})
    settings = lms([BY_CLASS], FEATURES=features, CELERY_ROUTES=routes, EXPLICIT_QUEUES=queues)
    function(settings)
    assert settings.FEATURES is features and settings.EXPLICIT_QUEUES is queues
    assert routes == ["lms.route"]


def test_defaults_that_are_dicts_are_not_shared_between_lms_and_package():
    settings = lms([BY_CLASS])
    common.plugin_settings(settings)
    settings.CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS["user"] = "CHANGED"
    assert common.DEFAULTS["CHANNEL_WEBHOOKS_LEARNING_TIME_COLUMNS"]["user"] == "USER_ID"


# ---- Studio

STUDIO = """
import json, sys
from edx_django_utils.plugins import constants
before = set(sys.modules)
from channel_integrations.integrated_channel import apps
from channel_integrations.integrated_channel.settings import common, production
class settings:
    INSTALLED_APPS = ["channel_integrations.integrated_channel"]
common.plugin_settings(settings)
production.plugin_settings(settings)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_studio_imports_no_models_and_no_clients():
    """It reads apps.py and the settings without a Django that is set up, and does not install the app."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    run = subprocess.run(
        [sys.executable, "-c", STUDIO], capture_output=True, text=True, env=environment, check=True, timeout=60
    )
    imported = json.loads(run.stdout)
    assert [name for name in imported if name.startswith("channel_integrations")] == [
        "channel_integrations",
        "channel_integrations.integrated_channel",
        "channel_integrations.integrated_channel.apps",
        "channel_integrations.integrated_channel.settings",
        "channel_integrations.integrated_channel.settings.common",
        "channel_integrations.integrated_channel.settings.production",
    ]
    heavy = {"celery", "kombu", "snowflake", "requests", "enterprise", "openedx_events", "edx_toggles"}
    assert not heavy & {name.partition(".")[0] for name in imported}
    assert not [name for name in imported if name.startswith("django.db") or name == "rest_framework"]

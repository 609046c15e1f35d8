# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Settings of the stand-in LMS, in the order in which the real one builds its own.

common.py: OPTIONAL_APPS, plugin apps, plugins' common settings; then the site's additions; production.py: plugins'
production settings, and only then EXPLICIT_QUEUES. Addresses of servers come from the environment.
"""

import os
import sys

# edx-enterprise imports the LMS's ``common.djangoapps.student``, where there is one.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tests", "lms_host", "platform"))

from edx_django_utils.plugins import add_plugins, get_plugin_apps
from enterprise.settings.test import *  # noqa: F403  (the base that edx-enterprise boots alone with)
from enterprise.settings.test import INSTALLED_APPS as _INSTALLED_APPS
from enterprise.settings.test import TEMPLATES

from tests.lms_host.celery import app as _celery_app

# The LMS's is there before its settings are read; edx-enterprise's test settings have just made another one.
_celery_app.set_current()

DATABASES = {
    "default": {
        "ENGINE": os.environ.get("LMS_DB_ENGINE", "django.db.backends.sqlite3"),
        "NAME": os.environ.get("LMS_DB_NAME", os.path.join(os.path.dirname(__file__), "lms.sqlite3")),
        "HOST": os.environ.get("LMS_DB_HOST", ""),
        "PORT": os.environ.get("LMS_DB_PORT", ""),
        "USER": os.environ.get("LMS_DB_USER", ""),
        "ATOMIC_REQUESTS": True,
        "TEST": {"NAME": os.environ.get("LMS_TEST_DB_NAME") or None},
    }
}
if "mysql" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["TEST"].update({"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_unicode_ci"})
    DATABASES["default"]["OPTIONS"] = {"charset": "utf8mb4"}
elif "sqlite3" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["OPTIONS"] = {"timeout": 20}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
ROOT_URLCONF = "tests.lms_host.urls"
ALLOWED_HOSTS = ["*"]
STATIC_URL = "/static/"
SESSION_ENGINE = "django.contrib.sessions.backends.db"
LOGGING_CONFIG = None
FEATURES: dict = {}
TEMPLATES[0]["OPTIONS"]["context_processors"] = [
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
    "django.template.context_processors.request",
]

# Swappable models that Django asks the settings for when the app's migrations are switched off.
OAUTH2_PROVIDER_APPLICATION_MODEL = "oauth2_provider.Application"
OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = "oauth2_provider.AccessToken"
OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL = "oauth2_provider.RefreshToken"
OAUTH2_PROVIDER_ID_TOKEN_MODEL = "oauth2_provider.IDToken"
OAUTH2_PROVIDER_GRANT_MODEL = "oauth2_provider.Grant"
OAUTH2_PROVIDER_DEVICE_GRANT_MODEL = "oauth2_provider.DeviceGrant"

_CACHE_URL = os.environ.get("LMS_CACHE_URL", "")
if _CACHE_URL.startswith("redis"):
    CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": _CACHE_URL}}
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

BROKER_URL = os.environ.get("LMS_BROKER_URL", "memory://")
BROKER_TRANSPORT_OPTIONS: dict = {}
CELERY_DEFAULT_QUEUE = "edx.lms.core.default"
CELERY_DEFAULT_ROUTING_KEY = "edx.lms.core.default"
CELERY_DEFAULT_EXCHANGE = "edx.lms.core"
CELERY_QUEUES = {"edx.lms.core.high": {}, "edx.lms.core.default": {}, "edx.lms.core.high_mem": {}}
CELERYD_PREFETCH_MULTIPLIER = 1
# edx-enterprise's own test settings run tasks inside the call; here they go through the broker, as in an LMS.
CELERY_ALWAYS_EAGER = False
CELERY_ROUTES = "openedx.core.lib.celery.routers.route_task"
BROKER_CONNECTION_RETRY_ON_STARTUP = True
EXPLICIT_QUEUES = {"lms.other_task": {"queue": "edx.lms.core.high"}}

MIGRATION_MODULES = {app.rsplit(".", 1)[-1]: None for app in _INSTALLED_APPS}
MIGRATION_MODULES.update({"channel_webhooks": "channel_integrations.integrated_channel.migrations"})
MIGRATION_MODULES.update({"grades": None, "student": None, "social_django": None, "integrated_channel": None})

# edx-enterprise 8 is a plugin as well; edx-enterprise 6 is listed by the LMS.
_PLUGIN_APPS = get_plugin_apps("lms.djangoapp")
_PLUGGED_IN = {app.partition(".")[0] for app in _PLUGIN_APPS}
INSTALLED_APPS = [app for app in _INSTALLED_APPS if app not in _PLUGGED_IN]
INSTALLED_APPS += [app for app in ("oauth2_provider", "social_django") if app not in INSTALLED_APPS]
INSTALLED_APPS += ["tests.lms_host.grades.apps.GradesConfig", "common.djangoapps.student"]
# The LMS of December 2025 installs this name whenever it can be imported.
OPTIONAL_APPS = [("channel_integrations.integrated_channel", None)]
for _app, _insert_before in OPTIONAL_APPS:
    INSTALLED_APPS.append(_app)
INSTALLED_APPS.extend(_PLUGIN_APPS)
add_plugins(__name__, "lms.djangoapp", "common")

# A site adds the plain name once more, and production settings reassign the routing table after the plugins.
INSTALLED_APPS = [*INSTALLED_APPS, "channel_integrations.integrated_channel"]
add_plugins(__name__, "lms.djangoapp", "production")
EXPLICIT_QUEUES = dict(EXPLICIT_QUEUES)

CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = bool(os.environ.get("LMS_ALLOW_PRIVATE_ADDRESSES"))
if os.environ.get("LMS_SNOWFLAKE_PORT"):
    FEATURES["ENABLE_WEBHOOK_LEARNING_TIME_ENRICHMENT"] = True
    SNOWFLAKE_CONFIG = {
        "account": "fakesnow",
        "host": "127.0.0.1",
        "port": int(os.environ["LMS_SNOWFLAKE_PORT"]),
        "protocol": "http",
        "user": "lms",
        "password": "not-a-secret",
        "warehouse": "WH",
        "database": "PROD",
        "schema": "BUSINESS_INTELLIGENCE",
        "role": "READER",
    }

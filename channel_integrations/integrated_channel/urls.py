# SPDX-License-Identifier: AGPL-3.0-or-later
"""Included by the LMS under ``channel_webhooks/``, since the AppConfig's ``plugin_app`` asks for it."""

from django.urls import path

from channel_integrations.integrated_channel.views import metrics

urlpatterns = [path("metrics", metrics, name="metrics")]

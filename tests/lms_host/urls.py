# SPDX-License-Identifier: AGPL-3.0-or-later
"""The admin, the module that the LMS includes, plugins' own, and a view that grades in the request's transaction."""

from datetime import datetime

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from edx_django_utils.plugins import get_plugin_url_patterns


@csrf_exempt
def grade(request):
    """Write a passing grade and send the event, as a rescoring view does under ATOMIC_REQUESTS."""
    from tests.factories import grade_event, write_grade

    learner = get_user_model().objects.get(pk=request.POST["user_id"])
    passed_at = datetime.fromisoformat(request.POST["passed_at"])
    write_grade(learner, passed_at=passed_at)
    grade_event(learner, passed_at=passed_at)
    return HttpResponse("graded")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("grade", grade),
    path("", include("channel_integrations.urls")),
    *get_plugin_url_patterns("lms.djangoapp"),
]

# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Why passes made no webhook, and a page that explains one completion.

The page asks by POST: names of learners stay out of addresses and access logs. Each look at a learner is kept in
Django's admin history of that learner, by ids.
"""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from channel_integrations.integrated_channel.admin.moments import unbroken
from channel_integrations.integrated_channel.admin.read_only import LearnerListAdmin
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.numbers_in_text import number_of
from channel_integrations.integrated_channel.permissions import may_see_personal_data
from channel_integrations.integrated_channel.services.explanation import Answer, Explanation, explain, tell
from channel_integrations.integrated_channel.services.explanation.subject import (
    find_course_run,
    find_customer,
    find_learner,
)
from channel_integrations.integrated_channel.services.explanation.text import as_text
from channel_integrations.integrated_channel.services.suppression import REASONS

#: steps that leave the webhook alone
ABOUT_LEARNING_TIME = ("rollout", "lookup")
#: how the page shows an answer: the word, and Django's picture for it
SHOWN = {
    Answer.YES: (_("yes"), "admin/img/icon-yes.svg"),
    Answer.NO: (_("no"), "admin/img/icon-no.svg"),
    Answer.UNKNOWN: (_("not known"), "admin/img/icon-unknown.svg"),
    Answer.NOT_REACHED: (_("not reached"), ""),
}


class SubjectForm(forms.Form):
    """Who is asked about; cleaned, the learner, the customer and the course run's key."""

    learner = forms.CharField(label=_("Learner"), help_text=_("Username, email or user id."))
    customer = forms.CharField(label=_("Customer"), help_text=_("Name, slug or UUID."))
    course = forms.CharField(label=_("Course run"), help_text=_("Such as course-v1:edX+Demo+2026."))

    def clean_learner(self) -> Any:
        return find_learner(self.cleaned_data["learner"])

    def clean_customer(self) -> Any:
        return find_customer(self.cleaned_data["customer"])

    def clean_course(self) -> str:
        return find_course_run(self.cleaned_data["course"])


class ReasonFilter(admin.SimpleListFilter):
    """The reasons that there are by the code: asking the table would read the whole of it."""

    title = _("reason")
    parameter_name = "reason"

    def lookups(self, request, model_admin):
        return [(reason, reason) for reason in REASONS]

    def queryset(self, request, queryset):
        if not self.value():
            return queryset
        return queryset.filter(reason=self.value()) if self.value() in REASONS else queryset.none()


class SuppressionAdmin(LearnerListAdmin):
    """Passes that made no webhook, read only; whose they are for whoever may see personal data."""

    list_display = ("noted", "customer", "user_id", "course_id", "passed", "reason")
    list_filter = (ReasonFilter,)
    #: as the index has them: nothing is sorted, however many there are
    ordering = ("-noted_at", "-reason", "-pk")
    search_fields = ("=user_id", "=course_id", "=enterprise_customer_uuid")
    search_help_text = _("A user id, a course id or a customer's UUID, each in full.")

    # What is shown

    @admin.display(description=_("noted"))
    def noted(self, suppression):
        return unbroken(suppression.noted_at)

    @admin.display(description=_("customer"))
    def customer(self, suppression):
        return suppression.enterprise_customer_uuid

    @admin.display(description=_("passed"))
    def passed(self, suppression):
        return unbroken(suppression.passed_at)

    # Django's own pages

    def with_other_id(self, word: str) -> Any:
        return Q(course_id=word)

    def changelist_view(self, request, extra_context=None):
        shown = {"title": _("Passes that made no webhook"), "may_explain": may_see_personal_data(request)}
        return super().changelist_view(request, {**shown, **(extra_context or {})})

    # The explanation of one completion

    def get_urls(self):
        view = sensitive_post_parameters("learner")(require_http_methods(["GET", "HEAD", "POST"])(self.explain_view))
        name = f"{self.opts.app_label}_{self.opts.model_name}_explain"
        return [path("explain/", self.admin_site.admin_view(view), name=name), *super().get_urls()]

    def explain_view(self, request: HttpRequest) -> HttpResponse:
        """Ask, by GET; answer, by POST. ``?webhook=`` and a webhook's primary key fill the form in."""
        if not may_see_personal_data(request):
            raise PermissionDenied
        form = SubjectForm(request.POST if request.method == "POST" else None, initial=_initial(request))
        shown: dict[str, Any] = {}
        if form.is_valid():
            asked = form.cleaned_data
            story = explain(asked["learner"], asked["customer"], asked["course"])
            self._log_look(request, story)
            shown = self._shown(request, story)
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Why did a completion arrive, or not?"),
            "form": form,
            "may_list": self.has_view_permission(request),
            "styles": _styles(),
            **shown,
        }
        return TemplateResponse(request, "admin/channel_webhooks/webhooksuppression/explain.html", context)

    def _shown(self, request: HttpRequest, story: Explanation) -> dict[str, Any]:
        """What the page needs, each step with how its answer is shown."""
        told = tell(story)
        links: list[tuple[Any, Any, Any]] = [
            (_("The webhook"), story.webhook, WebhookTransmissionQueue),
            (_("Its endpoint"), story.endpoint, EnterpriseWebhookConfiguration),
        ]
        return {
            "told": told,
            "steps": [
                {
                    **step,
                    "question": found.question,
                    "word": SHOWN[found.answer][0],
                    "picture": SHOWN[found.answer][1],
                    "decides": found.name == told["decided_by"],
                    "stops_nothing": found.answer == Answer.NO and found.name in ABOUT_LEARNING_TIME,
                }
                for step, found in zip(told["steps"], story.steps, strict=True)
            ],
            "links": [
                (label, self._url(model, "change", each.pk))
                for label, each, model in links
                if each and request.user.has_perm(f"{self.opts.app_label}.view_{model._meta.model_name}")
            ],
            "for_partner": as_text(tell(story, for_partner=True)),
        }

    def _log_look(self, request: HttpRequest, story: Explanation) -> None:
        """Who has looked at whom, in the history of the learner's account; by ids, which is all that stays."""
        learner = story.learner
        said = gettext("Looked at why the customer %(customer)s did or did not get the completion of %(course)s.")
        LogEntry.objects.create(
            user_id=request.user.pk,
            content_type=ContentType.objects.get_for_model(get_user_model()),
            object_id=str(learner.pk),
            object_repr=gettext("learner %(id)s") % {"id": learner.pk},
            action_flag=CHANGE,
            change_message=said % {"customer": story.customer.uuid, "course": story.course_id},
        )

    def _url(self, model: Any, page: str, *arguments: Any) -> str:
        return reverse(admin_urlname(model._meta, page), args=arguments, current_app=self.admin_site.name)


def _styles() -> str:
    """The address of the page's style sheet; empty where it has not been collected yet: the page reads without."""
    try:
        return static("channel_webhooks/explanation.css")
    except ValueError:  # Django's hashing storage knows no name for it.
        return ""


def _initial(request: HttpRequest) -> dict[str, Any]:
    """Who a webhook is about, by ids."""
    pk = number_of(request.GET.get("webhook", ""))
    webhook = WebhookTransmissionQueue.objects.filter(pk=pk).first() if pk is not None else None
    if webhook is None:
        return {}
    return {"learner": webhook.user_id, "customer": webhook.enterprise_customer_uuid, "course": webhook.course_id}

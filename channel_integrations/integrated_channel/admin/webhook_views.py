# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is done from the pages of webhooks: all by POST, most of it after a question."""

import json
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from channel_integrations.integrated_channel.admin.operations import CANCELLATION, REPLAY, Operation, read
from channel_integrations.integrated_channel.admin.timeline import timeline
from channel_integrations.integrated_channel.models import WebhookTransmissionQueue
from channel_integrations.integrated_channel.permissions import may_operate, may_see_personal_data
from channel_integrations.integrated_channel.services.replay import PER_MINUTE

TEMPLATES = "admin/channel_webhooks/webhooktransmissionqueue"
#: webhooks that one request changes at most
MAX_AT_ONCE = 10_000


class WebhookViews(admin.ModelAdmin):
    """The part of ``WebhookAdmin`` that answers these."""

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Of whoever may view webhooks."""
        return self.has_view_permission(request) and may_operate(request)

    def has_personal_data_permission(self, request: HttpRequest) -> bool:
        """Of whoever may view webhooks."""
        return self.has_view_permission(request) and may_see_personal_data(request)

    def get_urls(self):
        views = (
            ("learner/", "learner", sensitive_post_parameters("learner")(self.learner_view)),
            ("replay/", "replay", self.replay_view),
            ("cancel/", "cancel", self.cancel_view),
            ("<path:object_id>/replay/", "replay_one", self.replay_one_view),
            ("<path:object_id>/cancel/", "cancel_one", self.cancel_one_view),
            ("<path:object_id>/payload/", "payload", self.payload_view),
        )
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        own = [
            path(where, self.admin_site.admin_view(require_POST(view)), name=f"{prefix}_{name}")
            for where, name, view in views
        ]
        return [*own, *super().get_urls()]

    # Replay and cancel

    @admin.action(description=_("Replay selected webhooks"), permissions=["operate"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """The dry run: what would be sent again, and what cannot be."""
        return self._ask(request, REPLAY, queryset)

    @admin.action(description=_("Cancel selected webhooks"), permissions=["operate"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """The dry run: what would be given up, and what cannot be."""
        return self._ask(request, CANCELLATION, queryset)

    def replay_one_view(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """The same from a webhook's own page."""
        return self._ask_for_one(request, REPLAY, object_id)

    def cancel_one_view(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """The same from a webhook's own page."""
        return self._ask_for_one(request, CANCELLATION, object_id)

    @transaction.non_atomic_requests  # Row by row, as the command does: ten thousand rows are not locked at once.
    def replay_view(self, request: HttpRequest) -> HttpResponse:
        """Send again what the dry run has shown, as far as it can still be replayed."""
        return self._do(request, REPLAY)

    @transaction.non_atomic_requests  # Page by page, as above.
    def cancel_view(self, request: HttpRequest) -> HttpResponse:
        """Cancel what the dry run has shown, as far as nobody has taken it up meanwhile."""
        return self._do(request, CANCELLATION)

    def _ask_for_one(self, request: HttpRequest, operation: Operation, object_id: str) -> HttpResponse | None:
        self._require(self.has_operate_permission(request))
        webhook = self._webhook(request, object_id)
        return self._ask(request, operation, self.get_queryset(request).filter(pk=webhook.pk), webhook)

    def _ask(
        self, request: HttpRequest, operation: Operation, queryset: QuerySet, only: Any = None
    ) -> HttpResponse | None:
        # One more than may be, to see whether there are more.
        rows = read(queryset, MAX_AT_ONCE + 1)
        if len(rows) > MAX_AT_ONCE:
            said = _(
                "These are more than %(most)s webhooks, the most that can be changed here at once. Nothing was done. "
                "Select fewer, or use the command: manage.py %(command)s --endpoint ID --since TIME --dry-run"
            )
            self.message_user(request, said % {"most": MAX_AT_ONCE, "command": operation.command}, messages.ERROR)
            return None
        plan = operation.plan(rows)
        context = {
            "title": operation.title,
            "action_url": self._url(operation.name, request),
            "back_url": self._page_of(only) if only else self._url("changelist", request),
            "webhook": only,
            "webhook_ids": ",".join(webhook_id.hex for webhook_id in plan.webhook_ids),
            "count": len(plan.webhook_ids),
            "plan": plan,
            "per_minute": PER_MINUTE,
            "minutes": -(-len(plan.webhook_ids) // PER_MINUTE),
        }
        return self._answer(request, f"{operation.name}_confirmation", context)

    def _do(self, request: HttpRequest, operation: Operation) -> HttpResponse:
        self._require(self.has_operate_permission(request))
        try:
            webhook_ids = [UUID(hex=text) for text in request.POST.get("webhooks", "").split(",")]
        except ValueError:
            return HttpResponseBadRequest(gettext("This is no list of webhook ids."))
        if len(webhook_ids) > MAX_AT_ONCE:
            return HttpResponseBadRequest(gettext("These are too many webhooks."))
        said, level = operation.do(webhook_ids, request.user)
        self.message_user(request, said, level)
        only = self.get_queryset(request).filter(webhook_id=webhook_ids[0]).first() if "one" in request.POST else None
        return HttpResponseRedirect(self._page_of(only) if only else self._url("changelist", request))

    # Personal data

    def payload_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the webhook says and what came back; whoever sees it is written down, and no cache keeps it."""
        self._require(self.has_personal_data_permission(request))
        webhook = self._webhook(request, object_id)
        self.log_change(request, webhook, gettext("Viewed the payload."))
        context = {
            "title": _("Payload"),
            "webhook": webhook,
            "payload": _pretty(webhook.body),
            "timeline": timeline(webhook, with_answers=True),
            "back_url": self._page_of(webhook),
        }
        response = self._answer(request, "payload", context)
        response["Cache-Control"] = "no-store"
        return response

    def learner_view(self, request: HttpRequest) -> HttpResponse:
        """
        From a username or an email to the list of that learner's webhooks, by id.

        By POST: what is in an address is in the logs of every proxy, and in the browser's history.
        """
        self._require(self.has_personal_data_permission(request))
        name = request.POST.get("learner", "").replace("\0", "").strip()  # PostgreSQL refuses to be asked for a NUL.
        learners = get_user_model().objects
        found = list(learners.filter(username=name)[:1] or learners.filter(email=name)[:2]) if name else []
        query = request.GET.copy()
        for parameter in ("user_id", "p", "e"):
            query.pop(parameter, None)
        if len(found) == 1:
            query["user_id"] = str(found[0].pk)
        elif found:
            said = _("Several accounts have this email: use the username or the user id.")
            self.message_user(request, said, messages.WARNING)
        else:
            self.message_user(request, _("There is no account with this username or email."), messages.WARNING)
        url = reverse(admin_urlname(self.opts, "changelist"), current_app=self.admin_site.name)
        return HttpResponseRedirect(f"{url}?{query.urlencode()}" if query else url)

    # Shared

    @staticmethod
    def _require(permission: bool) -> None:
        if not permission:
            raise PermissionDenied

    def _webhook(self, request: HttpRequest, object_id: str) -> WebhookTransmissionQueue:
        webhook = self.get_object(request, unquote(object_id))
        if webhook is None:
            raise Http404
        return webhook

    def _page_of(self, webhook: WebhookTransmissionQueue) -> str:
        return reverse(admin_urlname(self.opts, "change"), args=[webhook.pk], current_app=self.admin_site.name)

    def _url(self, page: str, request: HttpRequest) -> str:
        """A page of this model, with the list's search and filters."""
        url = reverse(admin_urlname(self.opts, page), current_app=self.admin_site.name)
        return f"{url}?{request.GET.urlencode()}" if request.GET else url

    def _answer(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        request.current_app = self.admin_site.name
        shared = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, f"{TEMPLATES}/{template}.html", {**shared, **context})


def _pretty(body: str) -> str:
    """A payload for people; as it is where it is no JSON."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body

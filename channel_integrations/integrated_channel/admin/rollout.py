# SPDX-License-Identifier: AGPL-3.0-or-later
"""The rollout in the admin: what holds, who decided what and when, and the next decision."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.admin.moments import NONE, unbroken
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration, WebhookRollout
from channel_integrations.integrated_channel.services import rollout


class DecisionForm(forms.ModelForm):
    """The next decision, made upon the one that was shown."""

    #: what it changes; a pause that comes between the check and the saving thereby stays
    changes: dict[str, Any]
    seen = forms.IntegerField(widget=forms.HiddenInput)

    class Meta:
        model = WebhookRollout
        fields = ("percentage", "paused", "note")

    def clean(self) -> dict[str, Any]:
        """Refuse what is made upon a state that no longer holds, and what changes nothing."""
        cleaned = super().clean() or {}
        newest = WebhookRollout.newest()
        if cleaned.get("seen") != newest.number:
            raise ValidationError(
                _("Somebody decided in the meantime: %(percentage)s %%, %(paused)s. Open this page anew."),
                params={
                    "percentage": newest.percentage,
                    "paused": gettext("paused") if newest.paused else gettext("not paused"),
                },
            )
        self.changes = {
            name: cleaned[name]
            for name in ("percentage", "paused")
            if name in cleaned and cleaned[name] != getattr(newest, name)
        }
        if not self.changes and not self.errors:
            raise ValidationError(_("That holds already: change the percentage or the kill switch."))
        return cleaned


class RolloutAdmin(admin.ModelAdmin):
    """Decisions, which are added and never changed. Django's permission to add one is the one to decide."""

    form = DecisionForm
    list_display = ("decision", "decided", "percent", "pause", "endpoint", "decided_by", "note")
    readonly_fields = ("decision", "decided", "percent", "pause", "endpoint", "decided_by")
    list_display_links = None
    list_per_page = 50
    show_full_result_count = False
    sortable_by = ()
    ordering = ("-number",)

    # What is shown

    @admin.display(description=_("decision"))
    def decision(self, decision):
        return str(decision)

    @admin.display(description=_("decided"))
    def decided(self, decision):
        return unbroken(decision.decided_at)

    @admin.display(description=_("percentage"))
    def percent(self, decision):
        return gettext("%(percentage)s %%") % {"percentage": decision.percentage}

    @admin.display(description=_("kill switch"))
    def pause(self, decision):
        return gettext("paused") if decision.paused else NONE

    @admin.display(description=_("endpoint's switch"))
    def endpoint(self, decision):
        if decision.endpoint_id is None:
            return NONE
        url = reverse(admin_urlname(EnterpriseWebhookConfiguration._meta, "change"), args=[decision.endpoint_id])
        named = gettext("endpoint %(number)s") % {"number": decision.endpoint_id}
        return format_html('<a href="{}">{}</a>: {}', url, named, decision.learning_time)

    @admin.display(description=_("by"))
    def decided_by(self, decision):
        return rollout.who(decision)

    # Django's own pages

    def get_queryset(self, request):
        return rollout.history()

    def get_fields(self, request, obj=None):
        return self.list_display if obj else ("percentage", "paused", "note", "seen")

    def has_change_permission(self, request, obj=None) -> bool:
        return False

    def has_delete_permission(self, request, obj=None) -> bool:
        return False

    def get_changeform_initial_data(self, request) -> dict[str, Any]:
        newest = WebhookRollout.newest()
        return {"percentage": newest.percentage, "paused": newest.paused, "seen": newest.number}

    def changelist_view(self, request, extra_context=None):
        state = {
            "title": _("Rollout of learning time"),
            "enabled": conf.enrichment_enabled(),
            "newest": WebhookRollout.newest(),
            "own_switches": rollout.own_switches(),
            "kept_seconds": round(rollout.KEPT_SECONDS),
        }
        return super().changelist_view(request, {**state, **(extra_context or {})})

    def render_change_form(self, request, context, *args, **kwargs):
        return super().render_change_form(request, {**context, "show_save_and_add_another": False}, *args, **kwargs)

    def save_model(self, request, obj, form, change):
        made = rollout.decide(by=request.user.pk, note=obj.note, **form.changes) or WebhookRollout.newest()
        obj.number = made.number

    # The kill switch

    def get_urls(self):
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            *(
                path(f"{name}/", self.admin_site.admin_view(require_POST(view)), name=f"{prefix}_{name}")
                for name, view in (("pause", self.pause_view), ("resume", self.resume_view))
            ),
            *super().get_urls(),
        ]

    def pause_view(self, request: HttpRequest) -> HttpResponse:
        """Learning time is off, at once: nothing is asked, since it can be undone."""
        said = _("Paused. In a few seconds no webhook carries learning time; what waited for it goes out without.")
        return self._switch(request, True, said)

    def resume_view(self, request: HttpRequest) -> HttpResponse:
        """End the pause."""
        return self._switch(request, False, _("Resumed. What was sent without learning time stays as it was sent."))

    def _switch(self, request: HttpRequest, paused: bool, said: Any) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        made = rollout.decide(by=request.user.pk, paused=paused)
        if made:
            self.log_addition(request, made, [{"added": {}}])
        self.message_user(request, said, messages.SUCCESS)
        url = reverse(admin_urlname(self.opts, "changelist"), current_app=self.admin_site.name)
        return HttpResponseRedirect(url)

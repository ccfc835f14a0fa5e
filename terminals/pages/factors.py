"""The way to a second factor and back: confirmed, or set up by who has none yet, then on to what was wanted."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from allauth.mfa.webauthn.views import ReauthenticateWebAuthnView
from django.conf import settings
from django.contrib import messages
from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_safe

from terminals.login import relying_party, takes_passkeys
from terminals.pages.frame import show
from terminals.pages.guards import PersonRequest, people
from terminals.second_factor import has_factor, proof_of_login, required_of
from tunnels.models import Host

WANTED = "wanted"
"""In the session: where the person wants to go, while they set up a factor."""


@people
@require_safe
def confirm(request: PersonRequest) -> HttpResponse:
    """Lead the person through what is missing, and to `next`."""
    wanted = _local(request.GET.get("next", ""))
    if proof_of_login(request).holds:
        return redirect(wanted or "hosts")
    if has_factor(request.user):
        query = urlencode({"next": wanted or reverse("hosts")})
        return redirect(f"{reverse('mfa_reauthenticate')}?{query}")
    request.session[WANTED] = wanted
    return show(request, "mfa/needed.html", {"section": "account", **passkeys_here(request)})


@people
@require_safe
def ready(request: PersonRequest) -> HttpResponse:
    """Where allauth leads once a factor is set up or taken away."""
    wanted = request.session.pop(WANTED, "")
    return redirect(wanted or f"{reverse('account')}#factors")


def asks_for_factor(request: PersonRequest, host: Host) -> HttpResponse | None:
    """The way to the confirmation and back to this page, where the host asks this person for one."""
    if proof_of_login(request).holds or not required_of(request.user.pk, host.pk):
        return None
    return redirect(f"{reverse('confirm')}?{urlencode({'next': request.get_full_path()})}")


def passkeys_here(request: PersonRequest) -> dict[str, object]:
    """For `mfa/choices.html`: whether this browser can be offered one on this page, and where else."""
    portal = urlsplit(settings.BROKERD.portal_url)
    home = portal._replace(netloc=portal.netloc.replace(portal.hostname or "", relying_party())).geturl()
    return {"takes_passkeys": takes_passkeys(request), "passkey_home": home}


class PasskeyAgain(ReauthenticateWebAuthnView):
    def form_invalid(self, form: Form) -> HttpResponse:
        """allauth's own answer leads away from what was wanted."""
        for words in form.errors.get("credential", []):
            messages.error(self.request, str(words))
        return redirect(self.passthrough_next_url(reverse("mfa_reauthenticate_webauthn")))


def _local(path: str) -> str:
    return path if path.startswith("/") and url_has_allowed_host_and_scheme(path, allowed_hosts=None) else ""

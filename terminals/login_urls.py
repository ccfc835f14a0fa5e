"""The few of allauth's pages that this portal has: no sign-up, no e-mail, no password reset."""

from allauth.account.views import LoginView, LogoutView, PasswordChangeView, ReauthenticateView
from allauth.mfa.base.views import AuthenticateView
from allauth.mfa.base.views import ReauthenticateView as CodeAgainView
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.mfa.webauthn.views import (
    AddWebAuthnView,
    EditWebAuthnView,
    LoginWebAuthnView,
    RemoveWebAuthnView,
)
from django.urls import path, reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from terminals.pages import account, factors

ACCOUNT = reverse_lazy("account")
codes_shown = never_cache(ViewRecoveryCodesView.as_view())
renamed = EditWebAuthnView.as_view(success_url=ACCOUNT)
removed = RemoveWebAuthnView.as_view(success_url=ACCOUNT)

urlpatterns = [
    path("login/", LoginView.as_view(), name="account_login"),
    path("login/factor/", AuthenticateView.as_view(), name="mfa_authenticate"),
    path("login/passkey/", LoginWebAuthnView.as_view(), name="mfa_login_webauthn"),
    path("logout/", require_POST(LogoutView.as_view()), name="account_logout"),
    path("account/password/", PasswordChangeView.as_view(success_url="/"), name="account_change_password"),
    path("account/password/none/", account.without_password, name="account_set_password"),
    path("account/reauthenticate/", ReauthenticateView.as_view(), name="account_reauthenticate"),
    path("account/confirm/", factors.confirm, name="confirm"),
    path("account/confirm/code/", CodeAgainView.as_view(), name="mfa_reauthenticate"),
    path("account/confirm/passkey/", factors.PasskeyAgain.as_view(), name="mfa_reauthenticate_webauthn"),
    path("account/factors/", factors.ready, name="mfa_index"),
    path("account/factors/app/", never_cache(ActivateTOTPView.as_view()), name="mfa_activate_totp"),
    path("account/factors/app/remove/", DeactivateTOTPView.as_view(success_url=ACCOUNT), name="mfa_deactivate_totp"),
    path("account/factors/codes/", codes_shown, name="mfa_view_recovery_codes"),
    path("account/factors/codes/new/", GenerateRecoveryCodesView.as_view(), name="mfa_generate_recovery_codes"),
    path("account/factors/passkeys/add/", AddWebAuthnView.as_view(), name="mfa_add_webauthn"),
    path("account/factors/passkeys/<int:pk>/name/", renamed, name="mfa_edit_webauthn"),
    path("account/factors/passkeys/<int:pk>/remove/", removed, name="mfa_remove_webauthn"),
]

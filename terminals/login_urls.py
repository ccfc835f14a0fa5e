"""The few of allauth's pages that this portal has: no sign-up, no e-mail, no password reset."""

from allauth.account.views import LoginView, LogoutView, PasswordChangeView, ReauthenticateView
from django.urls import path
from django.views.decorators.http import require_POST

urlpatterns = [
    path("login/", LoginView.as_view(), name="account_login"),
    path("logout/", require_POST(LogoutView.as_view()), name="account_logout"),
    path("account/password/", PasswordChangeView.as_view(success_url="/"), name="account_change_password"),
    path("account/reauthenticate/", ReauthenticateView.as_view(), name="account_reauthenticate"),
]

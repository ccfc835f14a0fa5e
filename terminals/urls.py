from django.urls import path
from django.views.generic import RedirectView

from terminals.pages import account, approvals, audit, grants, hosts, keys, sessions, terminal, tokens

urlpatterns = [
    path("", hosts.hosts, name="hosts"),
    path("hosts/<str:name>/", hosts.host, name="host"),
    path("hosts/<str:name>/terminal", terminal.terminal, name="terminal"),
    path("approvals/", approvals.approvals, name="approvals"),
    path("approvals/tokens/", tokens.tokens, name="tokens"),
    path("approvals/tokens/<int:token_id>/revoke", tokens.revoke_token, name="token_revoke"),
    path("approvals/<uuid:host_id>/approve", approvals.approve, name="host_approve"),
    path("approvals/<uuid:host_id>/reject", approvals.reject, name="host_reject"),
    path("approvals/<uuid:host_id>/revoke", approvals.revoke, name="host_revoke"),
    path("approvals/<uuid:host_id>/rename", approvals.rename, name="host_rename"),
    path("approvals/<uuid:host_id>/login", approvals.set_login, name="host_login"),
    path("grants/", grants.grants, name="grants"),
    path("grants/explain/", grants.explain, name="grants_explain"),
    path("grants/<int:grant_id>/revoke", grants.revoke, name="grant_revoke"),
    path("audit/", audit.audit, name="audit"),
    path("sessions/", sessions.sessions, name="sessions"),
    path("sessions/<uuid:session_id>/", sessions.session, name="session"),
    path("sessions/<uuid:session_id>/end", sessions.end, name="session_end"),
    path("account/", account.account, name="account"),
    # Django's admin would change the password by itself, unaudited.
    path("admin/password_change/", RedirectView.as_view(pattern_name="account_change_password"), name="admin_password"),
    path("account/keys/", keys.keys, name="keys"),
    path("account/keys/<int:key_id>/remove", keys.remove, name="key_remove"),
    path("account/tokens/<int:token_id>/revoke", account.revoke_token, name="api_token_revoke"),
]

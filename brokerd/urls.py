from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

from brokerd import health
from brokerd.api import api

admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("", include("terminals.login_urls")),
    path("", include("terminals.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
]

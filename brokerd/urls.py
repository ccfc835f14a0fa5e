from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

from brokerd.api import api
from tunnels.install import install

admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

handler500 = "brokerd.problems.server_error"
urlpatterns = [
    path("", include("terminals.login_urls")),
    path("", include("terminals.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("install.sh", install, name="install"),
]

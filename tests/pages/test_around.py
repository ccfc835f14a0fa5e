"""What is not ours wears our frame: the login, the Django admin, the API's documentation, the pages of errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from tests.conftest import PASSWORD
from tests.pages.helpers import Browser, Page
from tests.pages.test_markup import check_nothing_inline
from tests.people.helpers import last_event

NEW = "a wholly new one"


@pytest.fixture
def browser(admin) -> Browser:
    return Browser(admin)


def test_logging_in_and_out(alice, alices):
    browser = Browser()
    browser.open("/login/?next=/hosts/web1/")
    page = browser.send("/login/", login="alice", password="wrong")
    assert page.one("div", role="alert").text.strip()
    assert page.form("/login/").fields["login"] == "alice"
    page = browser.send("/login/", login="alice", password=PASSWORD)
    assert (page.url, page.messages) == ("/hosts/web1/", [])
    page = browser.send("/logout/")
    assert (page.url, page.messages) == ("/login/", ["You are logged out."])
    assert browser.open("/hosts/web1/").status == 302


def test_changing_ones_password(alice):
    browser = Browser(alice)
    browser.open("/account/password/")
    page = browser.send("/account/password/", oldpassword=PASSWORD, password1=NEW, password2="another")
    assert "same password" in page.text
    page = browser.send("/account/password/", oldpassword=PASSWORD, password1=NEW, password2=NEW)
    assert page.messages == ["Your password is changed. Your other browsers are logged out."]
    assert last_event().detail["changed"] == "password"


def test_without_a_password_there_is_none_to_change(alice):
    alice.set_unusable_password()
    alice.save()
    browser = Browser(alice)
    assert "Change it" not in browser.open("/account/").text
    assert browser.client.get("/account/password/")["Location"] == "/account/password/none/"
    assert browser.client.get("/account/password/none/")["Location"] == "/account/"
    page = browser.open("/account/")
    assert page.messages == ["Your account has no password to change. An admin can give it one."]


def test_the_admin_has_no_login_and_no_password_page_of_its_own(browser, admin):
    assert Browser().client.get("/admin/")["Location"].startswith("/admin/login/")
    assert Browser().client.get("/admin/login/?next=/admin/")["Location"] == "/login/?next=%2Fadmin%2F"
    answer = browser.client.get("/admin/password_change/")
    assert answer["Location"] == "/account/password/"
    browser.open("/account/")
    token = browser.page.form("/logout/").fields["csrfmiddlewaretoken"]
    form = {"csrfmiddlewaretoken": token, "old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    browser.client.post("/admin/password_change/", form)
    admin.refresh_from_db()
    assert admin.check_password(PASSWORD), "which would have been on no record"


@pytest.mark.parametrize("path", ["/admin/", "/admin/tunnels/host/", "/admin/terminals/grant/add/"])
def test_the_admin_is_called_brokerd(browser, web1, path):
    html = browser.client.get(path).content.decode()
    assert "Django" not in html
    assert "brokerd admin" in html
    assert "/static/icon.svg" in html
    assert "Email addresses" not in html


def test_the_documentation_of_the_api(browser):
    answer = browser.client.get("/api/v1/docs")
    assert answer.status_code == 200
    assert "unsafe" not in answer["Content-Security-Policy"]
    html = answer.content.decode()
    assert "//cdn" not in html
    assert "/api/v1/openapi.json" in html or "openapi" in html


@pytest.mark.parametrize("name", ["400", "500"])
def test_error_pages_that_need_no_broker(name):
    """They are shown when nothing else works: no context, no lookup of static files."""
    source = (Path(settings.BASE_DIR) / f"templates/{name}.html").read_text()
    assert "{%" not in source
    assert "{{" not in source
    assert '<link rel="icon"' in source


def test_a_form_from_another_site_gets_a_page_that_helps(browser):
    answer = browser.client.post("/grants/", {"logins": "root"})
    page = Page(answer)
    assert page.status == 403
    assert page.one("h1").text == "The form was too old, or not ours"
    check_nothing_inline(page)

"""Django's settings, made from `brokerd.conf`: nothing here reads the environment itself."""

from __future__ import annotations

from csp.constants import NONCE, NONE, SELF

from brokerd import conf
from brokerd.logs import logging_config

BASE_DIR = conf.BASE_DIR
BROKERD = conf.load()

SECRET_KEY = conf.secret_key(BROKERD)
DEBUG = False
ALLOWED_HOSTS = BROKERD.allowed_hosts
ROOT_URLCONF = "brokerd.urls"
ASGI_APPLICATION = "brokerd.asgi.application"
AUTH_USER_MODEL = "terminals.Person"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.admin",
    "channels",
    "ninja",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "csp",
    "tunnels",
    "terminals",
    "brokerd",
]

MIDDLEWARE = [
    # Those that protect come first: what they add is on every answer.
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "brokerd.transport.keep_to_ourselves",
    "brokerd.health.HealthMiddleware",
    "brokerd.transport.StaticFiles",
    "brokerd.problems.DatabaseMiddleware",
    "brokerd.problems.ProblemMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "brokerd.transport.in_the_clear",
            ],
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "tunnels.sqlite",
        "NAME": BROKERD.data_dir / "brokerd.sqlite3",
        "OPTIONS": {
            # Deferred transactions fail as soon as two of them want to write; IMMEDIATE ones queue.
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-8000;",
            "timeout": 20,
        },
    }
}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
ACCOUNT_ADAPTER = "terminals.login.ClosedAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_CHANGE_EMAIL = False
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_RATE_LIMITS = {"login_failed": None, "change_password": None, "reauthenticate": None}  # see terminals.lockout
ACCOUNT_FORMS = {"change_password": "terminals.login_forms.ChangePasswordForm"}
MFA_ADAPTER = "terminals.login.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_ISSUER = "brokerd"
MFA_FORMS = {
    "authenticate": "terminals.login_forms.CodeForm",
    "authenticate_webauthn": "terminals.login_forms.PasskeyForm",
    "reauthenticate": "terminals.login_forms.CodeAgainForm",
    "reauthenticate_webauthn": "terminals.login_forms.PasskeyAgainForm",
    "login_webauthn": "terminals.login_forms.PasskeyAloneForm",
    "add_webauthn": "terminals.login_forms.AddPasskeyForm",
    "edit_webauthn": "terminals.login_forms.RenamePasskeyForm",
}
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"

SESSION_ENGINE = "terminals.login_store"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_TRUSTED_ORIGINS = sorted(BROKERD.origins)
if BROKERD.is_tls:
    SESSION_COOKIE_NAME = "__Host-brokerd"
    CSRF_COOKIE_NAME = "__Host-csrf"
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SECURE_SSL_REDIRECT = True
    SECURE_SSL_HOST = BROKERD.portal_url.removeprefix("https://")
    SECURE_REDIRECT_EXEMPT = ["^(healthz|readyz|metrics)$"]  # asked for by whoever runs it, past the proxy
else:
    SESSION_COOKIE_NAME = "brokerd"
    CSRF_COOKIE_NAME = "brokerd_csrf"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 512 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 500

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "brokerd.storage.ModuleStorage"},
}

LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

LOGGING = logging_config(BROKERD.log_format)
LOGGING_CONFIG = "logging.config.dictConfig"

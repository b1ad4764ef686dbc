"""MeetViz settings: typed, from the environment, documented in docs/settings.md.

Nothing set: the laptop mode (embedded PostgreSQL in `var/`, everything in one process). `DATABASE_URL` and `REDIS_URL`
set: the server mode. Nothing else differs.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from meetviz_site.env import env, envbool, envint, envlist
from meetviz_site.local.secrets import read_or_create_secret
from workers.app import broker_settings

BASE_DIR = Path(__file__).resolve().parent.parent
HOME = Path(env("MEETVIZ_HOME", str(BASE_DIR / "var"))).expanduser().resolve()
VERSION = "0.1.0"

DATABASE_URL = env("DATABASE_URL")
REDIS_URL = env("REDIS_URL")

SECRET_KEY = env("SECRET_KEY") or read_or_create_secret(HOME / "secret_key")
DEBUG = envbool("DEBUG", False)
PORT = envint("PORT", 8000, low=1, high=65535)
HOST = env("HOST", "127.0.0.1")
PUBLIC_URL = env("MEETVIZ_PUBLIC_URL", f"http://localhost:{PORT}").rstrip("/")
ALLOWED_HOSTS = envlist("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
_public = urlsplit(PUBLIC_URL)
if _public.hostname and _public.hostname not in ALLOWED_HOSTS:
    ALLOWED_HOSTS.append(_public.hostname)
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"] if _public.scheme in ("http", "https") else []
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if envbool("BEHIND_TLS_PROXY", False) else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _public.scheme == "https"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 60 * 60 * 24 * 30
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "channels",
    "speakers",
    "meetings",
    "generation",
    "meetviz_site",
]

MIDDLEWARE = [
    "meetviz_site.middleware.browser_guards",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "meetviz_site.urls"
ASGI_APPLICATION = "meetviz_site.asgi.application"
LOGIN_URL = "/"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def _database_from_url(url: str) -> dict:
    """`postgres://user:password@host:port/name?option=value` as Django wants it."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise ImproperlyConfigured("DATABASE_URL must be a postgres:// address; MeetViz needs PostgreSQL with pgvector")
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", "") or unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
    }


if DATABASE_URL:
    DATABASES = {"default": _database_from_url(DATABASE_URL)}
else:
    # Started by its own backend at the first connection, shared by every process of this home.
    DATABASES = {"default": {"ENGINE": "meetviz_site.local.database", "NAME": "meetviz", "HOME": HOME}}
DATABASES["default"]["CONN_MAX_AGE"] = 60
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            # Redis delivers published messages whatever the database number: two sites on one Redis must not hear each
            # other, so the channels are named by what only the hosts of one site share.
            "CONFIG": {"hosts": [REDIS_URL], "prefix": f"meetviz-{sha256(SECRET_KEY.encode()).hexdigest()[:16]}"},
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "meetviz_site.local.bus.ThreadSafeInMemoryLayer"}}

CELERY = broker_settings(REDIS_URL)

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Served straight from the checkout: no collectstatic step between a clone and a page.
STATIC_ROOT = None
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
MEDIA_ROOT = HOME / "media"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": MEDIA_ROOT}},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700

LANGUAGE_CODE = env("LANGUAGE_CODE", "en")
LANGUAGES = [("en", "English"), ("ru", "Русский")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env("TIME_ZONE", "UTC")
USE_I18N = USE_TZ = True

# What a meeting starts with; each can be changed in the room or the admin.
PAINT_INTERVAL_S = envint("MEETVIZ_INTERVAL_S", 12, low=10, high=20)
CONTEXT_MINUTES = envint("MEETVIZ_CONTEXT_MINUTES", 5, low=1, high=60)
RETENTION_DAYS = envint("MEETVIZ_RETENTION_DAYS", 30, low=1, high=3650)
# 0: the painter's own size, by its model and its host.
PICTURE_WIDTH_PX = envint("MEETVIZ_PICTURE_WIDTH", 0, low=0, high=2048)
PICTURE_HEIGHT_PX = envint("MEETVIZ_PICTURE_HEIGHT", 0, low=0, high=2048)
PAINT_DEADLINE_S = envint("MEETVIZ_PAINT_DEADLINE_S", 10, low=1, high=300)
# A file of more that is never painted, in the form of generation/unsafe.tsv.
BLOCKED_WORDS_FILE = env("MEETVIZ_BLOCKED_WORDS")
if BLOCKED_WORDS_FILE and not Path(BLOCKED_WORDS_FILE).is_file():
    raise ImproperlyConfigured(f"MEETVIZ_BLOCKED_WORDS must name a file; there is none at {BLOCKED_WORDS_FILE}")

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "class": "meetviz_site.logs.PrivateFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env("LOG_LEVEL", "WARNING")},
    "loggers": {"meetviz": {"level": env("LOG_LEVEL", "INFO"), "propagate": True}},
}

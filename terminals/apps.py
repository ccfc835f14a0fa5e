from django.apps import AppConfig


class TerminalsConfig(AppConfig):
    name = "terminals"
    verbose_name = "People and terminals"

    def ready(self) -> None:
        from terminals import login_audit  # noqa: F401

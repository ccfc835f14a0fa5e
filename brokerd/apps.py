from django.apps import AppConfig


class BrokerdConfig(AppConfig):
    name = "brokerd"

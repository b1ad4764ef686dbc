from django.apps import AppConfig


class MeetVizSiteConfig(AppConfig):
    name = "meetviz_site"
    verbose_name = "Operations"

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from meetings import views

app_name = "meetings"

urlpatterns = [
    path("owner/<str:token>/", views.owner_login, name="owner_login"),
    path("account/logout/", LogoutView.as_view(next_page="generation:home"), name="logout"),
    path("m/<slug:slug>/", views.room, name="room"),
    path("m/<slug:slug>/join/", views.join, name="join"),
    path("m/<slug:slug>/tv/", views.tv, name="tv"),
    path("m/<slug:slug>/invites/", views.invites, name="invites"),
    path("m/<slug:slug>/end/", views.end, name="end"),
]

from django.urls import path

from generation import pages, views

app_name = "generation"

urlpatterns = [
    path("", pages.home, name="home"),
    path("m/<slug:slug>/gallery/", pages.gallery, name="gallery"),
    path("m/<slug:slug>/frames/<uuid:frame_id>.webp", views.image, name="image"),
    path("m/<slug:slug>/frames/<uuid:frame_id>/thumb.webp", views.thumbnail, name="thumbnail"),
]

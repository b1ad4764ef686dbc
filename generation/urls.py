from django.urls import path

from generation import views

app_name = "generation"

urlpatterns = [
    path("m/<slug:slug>/frames/<uuid:frame_id>.webp", views.image, name="image"),
    path("m/<slug:slug>/frames/<uuid:frame_id>/thumb.webp", views.thumbnail, name="thumbnail"),
]

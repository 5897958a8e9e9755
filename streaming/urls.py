"""The URL patterns of the app: pages, streams, the ``/v1`` API, and what operators read."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path, re_path, reverse_lazy

from streaming import api, views
from streaming.login import ThrottledLoginForm, login_once
from streaming.own_keys import own_keys

# The settings LOGIN_REDIRECT_URL and LOGOUT_REDIRECT_URL belong to the project around this app.
PAGE = reverse_lazy("streaming:page")
log_in = LoginView.as_view(template_name="streaming/login.html", authentication_form=ThrottledLoginForm, next_page=PAGE)

app_name = "streaming"

urlpatterns = [
    path("", views.page, name="page"),
    path("ping", views.ping, name="ping"),
    path("stream", views.stream, name="stream"),
    path("transfer", views.transfer, name="transfer"),
    path("transfer/<str:name>", views.transfer, name="transfer"),
    path("proxy", views.proxy, name="proxy"),
    # Not <path:...>: what is below an upstream may be empty, or hold any character.
    re_path(r"\Aproxy/(?P<name>[^/]+)(?:/(?P<path>[\s\S]*))?\Z", views.proxy, name="proxy"),
    path("streams", views.streams, name="streams"),
    path("streams/<str:stream>", views.streams, name="streams"),
    path("healthz", views.healthz, name="healthz"),
    path("metrics", views.metrics, name="metrics"),
    path("v1/chat/completions", api.chat_completions, name="chat-completions"),
    path("v1/models", api.list_models, name="models"),
    path("v1/models/<path:name>", api.retrieve_model, name="model"),
    re_path(r"\Av1(?:/.*)?\Z", api.not_found),
    path("keys/", own_keys, name="own-keys"),
    path("login/", log_in, name="login"),
    path("login/once/<str:user>/<str:token>", login_once, name="login-once"),
    path("logout/", LogoutView.as_view(next_page=PAGE), name="logout"),
]

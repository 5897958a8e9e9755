"""The views of pages and streams outside ``/v1`` and the admin.

Each reads like a sentence; the functions that it calls are the next level of detail.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost, RequestDataTooBig, TooManyFieldsSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from streaming import (
    api_keys,
    conf,
    formats,
    guardrails,
    health,
    monitoring,
    registry,
    resumption,
    sources,
    upstream_settings,
    upstreams,
    usage_log,
)
from streaming.access import guarded, login_path, refuse_to_be_run, require_permission
from streaming.caller import NOBODY
from streaming.live_stream import LiveStream
from streaming.relay import EncodedRelay, EventReader, Relay, TextChunks
from streaming.requests import BODY_IN_SCOPE, raw_path_after, read_body, read_playback, streaming_body
from streaming.responses import EventStreamResponse, RelayResponse, Source, label_of


def content_security_policy() -> str:
    """The page's policy: its own site, and the one that STATIC_URL names."""
    static = "{0.scheme}://{0.netloc}".format(urlsplit(settings.STATIC_URL)) if "//" in settings.STATIC_URL else ""
    return "; ".join(
        [
            "default-src 'none'",
            *(f"{kind}-src 'self' {static}".strip() for kind in ("script", "style", "img")),
            *("connect-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"),
            "require-trusted-types-for 'script'",
        ]
    )


@require_safe
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    documents = sources.DOCUMENTS if upstream_settings.default_plays_documents() else ()
    is_open = upstream_settings.default_is_open_to_proxy()
    locked = conf.access() == "login" and not request.user.is_active
    context = {
        "documents": documents,
        "upstreams": [(each, locked and not upstreams.is_builtin(each.name)) for each in upstream_settings.choices()],
        "proxy_is_open": is_open,
        "login": login_path(),
        "csrf_cookie": "" if settings.CSRF_USE_SESSIONS else settings.CSRF_COOKIE_NAME,
        "max_body_bytes": conf.max_body_bytes() if request.user.is_authenticated else conf.OPEN_BODY_BYTES,
    }
    response = render(request, "streaming/index.html", context)
    response["Content-Security-Policy"] = content_security_policy()
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for requests that Django refuses before a view is called. Django's own page does not say why."""
    match exception:
        case RequestDataTooBig():
            body = getattr(request, "scope", {}).get(BODY_IN_SCOPE)
            limit = f"{body.limit if body else conf.max_body_bytes():,}"
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            said = _("This is too much at once: at most %(limit)s bytes can be sent.") % {"limit": limit}
        case TooManyFieldsSent():
            status, said = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _("These are too many rows at once: choose fewer.")
        case DisallowedHost():
            status = HTTPStatus.BAD_REQUEST
            said = _("This site is not known by this host name. Its operator can add the name to ALLOWED_HOSTS.")
        case _:
            status, said = HTTPStatus.BAD_REQUEST, _("The server does not understand this request.")
    return render(request, "admin/streaming/refused.html", {"message": said}, status=status)


@guarded("GET", everyone=True, limited=True)
async def ping(request: HttpRequest) -> HttpResponseBase:
    last = re.fullmatch(r"-1|[0-9]{1,18}", request.headers.get("Last-Event-ID", ""))
    ticks = sources.Ticks(after=int(last[0]) if last else None)
    return registry.watch(EventStreamResponse(request, LiveStream(ticks, EncodedRelay(), label=label_of(request))))


@guarded("GET", "POST", everyone=True, signed=True, limited=True)
async def stream(request: HttpRequest) -> HttpResponseBase:
    if response := await resumption.answer_reconnect(request):
        return response
    form = read_playback(request)
    is_signed = upstreams.is_signed(request)  # then the /transfer that relays it keeps it in the journal
    stream = formats.new_stream_id()
    writer = formats.OpenAIWriter(form.playback.document) if form.is_openai else formats.NativeWriter(stream)
    relay = Relay(TextChunks(full=form.is_full), None, writer)

    async def start() -> tuple[Source, Relay]:
        return sources.Play(form.playback), relay

    if is_signed:
        return registry.watch(EventStreamResponse(request, LiveStream(*await start(), label=label_of(request))))
    await usage_log.begin(request, sources.SIMULATED, stream, model=sources.SIMULATED)
    dialect = "openai" if form.is_openai else "native"
    return await resumption.begin(request, stream, writer, start, dialect=dialect)


@guarded("GET", "POST", everyone=upstreams.is_builtin, limited=True)
async def transfer(request: HttpRequest, name: str = "default") -> HttpResponseBase:
    if response := await resumption.answer_reconnect(request):
        return response
    model = upstreams.model_of(name, read_body(request))
    await require_permission(request, name, model)
    writer = formats.NativeWriter()
    models = [model, *upstream_settings.public_names(name, model)] if model else []
    guardrail = await guardrails.begin(request, name, writer.stream, models=models)
    writer.prompt_notices = guardrail.prompt_notices

    async def start() -> tuple[Source, Relay]:
        upstream = await upstreams.connect(name, request, read_body(request), guardrail)
        reader = EventReader(formats.READERS[upstream.format](), max_message_chars=conf.max_message_chars())
        return upstream, Relay(reader, guardrail.moderate_answer(), writer)

    return await resumption.begin(request, writer.stream, writer, start)


@guarded("GET", "DELETE", everyone=True, limited=True)
async def streams(request: HttpRequest, stream: str = "") -> HttpResponseBase:
    stream = stream or await resumption.begun_with_key_of(request)
    if not stream and request.method == "DELETE":
        return HttpResponse(status=HTTPStatus.NO_CONTENT)  # not an error: nothing runs that would have to be stopped
    match request.method:
        case "HEAD":
            return await resumption.head(request, stream)
        case "DELETE":
            return await resumption.stop(request, stream)
    return await resumption.resume(request, stream)


@guarded("GET", everyone=True)
async def healthz(request: HttpRequest) -> HttpResponseBase:
    """Whether this worker can serve requests: 200 or 503, and details for staff."""
    state, problem = await health.state()
    details = await health.details(problem) if await health.is_for_staff(request) else {}
    status = HTTPStatus.OK if state == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
    return JsonResponse({"status": state, **details}, status=status, headers={"Cache-Control": "no-store"})


@guarded("GET", everyone=True)
async def metrics(request: HttpRequest) -> HttpResponseBase:
    """The figures of all workers for Prometheus."""
    await monitoring.require_reader(request)
    figures, kind = monitoring.render(request)
    return HttpResponse(figures, content_type=kind, headers={"Cache-Control": "no-store"})


@guarded(
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    everyone=upstreams.is_builtin,
    arriving=True,
    limited=True,
)
async def proxy(request: HttpRequest, name: str = "default", path: str = "") -> HttpResponseBase:
    refuse_to_be_run(request)
    await require_permission(request, name)
    # A session that need not be looked at is not: looking may add headers to the response.
    is_anonymous = conf.access() == "public" and not api_keys.key_in(request)
    await usage_log.begin(request, name, caller=NOBODY if is_anonymous else None)
    upstream = await upstreams.relay(name, raw_path_after(request, path), request, streaming_body(request))
    return registry.watch(RelayResponse(request, upstream))

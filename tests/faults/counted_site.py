"""The site with one more address: ``/_counts`` returns the resources of this process."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.faults.settings"

from ssesite.asgi import application as site
from streaming import registry, resumption
from streaming.upstreams import sending


async def counts() -> dict[str, int]:
    kept = (await resumption.state())["kept"]
    gc.collect()
    return {
        "objects": len(gc.get_objects()),
        "kept": kept,
        "tasks": len(asyncio.all_tasks()),
        "slots": sum(sending._open.values()),
        "streams": registry.count_open(),
    }


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http" or scope["path"] != "/_counts":
        await site(scope, receive, send)
        return
    body = json.dumps(await counts()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

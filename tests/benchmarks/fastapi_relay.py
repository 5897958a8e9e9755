"""The same relay as FastAPI users write it: httpx, httpx-sse and sse-starlette. No rules.

``fastapi_relay.py UPSTREAM_ORIGIN PORT``
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request
from httpx_sse import aconnect_sse
from sse_starlette.sse import EventSourceResponse

upstream, port = sys.argv[1], int(sys.argv[2])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(5, read=None)) as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/native")
async def native(request: Request) -> EventSourceResponse:
    query = request.url.query

    async def events() -> AsyncIterator[dict[str, Any]]:
        async with aconnect_sse(app.state.client, "GET", f"{upstream}/native?{query}") as source:
            count = 0
            async for event in source.aiter_sse():
                yield {"id": str(count), "event": event.event, "data": json.dumps(json.loads(event.data))}
                count += 1

    return EventSourceResponse(events())


if __name__ == "__main__":
    uvicorn.run(app, port=port, log_level="error", access_log=False)

"""From a page on this machine to MLflow's server elsewhere: requests go there, and answers come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dbbench.tracking.store import credentials

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

#: headers that are of one connection, or say who asks: the server there sees this machine
NOT_PASSED = {"host", "connection", "keep-alive", "transfer-encoding", "te", "upgrade", "origin", "referer", "cookie", "expect"}
NOT_PASSED |= {"content-length", "authorization", "proxy-authorization"}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
HERE = ("127.0.0.1", "localhost")
TIMEOUT_S = 120


def passage(server: str, telling: Callable[[str], str]) -> Starlette:
    """A page for a server elsewhere. `telling` changes its HTML, which is otherwise as the server has it.

    The server's answer stands in for credentials, so only pages of this address may ask (as MLflow's own server does).
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def passed(request: Request) -> Response:
        if not asked_from_here(request.headers):
            return PlainTextResponse("asked from another address\n", 403)
        body = await request.body()
        return await run_in_threadpool(answer, server, request, body, telling)

    return Starlette(routes=[Route("/{path:path}", passed, methods=METHODS)])


def asked_from_here(headers: Mapping[str, str]) -> bool:
    """Whether the browser asks for this address, and from a page of it."""
    host, origin = headers.get("host", ""), headers.get("origin")
    return urlsplit(f"//{host}").hostname in HERE and origin in (None, f"http://{host}")


def answer(server: str, request: Request, body: bytes, telling: Callable[[str], str]) -> Response:
    """The server's answer to a request; where it cannot be reached, one line that says so."""
    from mlflow.utils.rest_utils import http_request
    from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse

    path, query = request.url.path, request.url.query
    try:
        got = http_request(
            credentials(server),
            f"{path}?{query}" if query else path,
            request.method,
            max_retries=0,
            raise_on_status=False,
            timeout=TIMEOUT_S,
            extra_headers=kept(request.headers),
            data=body,
            stream=True,
        )
    except Exception as error:
        return PlainTextResponse(f"{server}: {str(error).splitlines()[0]}\n", 502)
    if path == "/":
        return HTMLResponse(telling(got.text), got.status_code, {"Cache-Control": "no-store"})
    chunks: Iterator[bytes] = got.raw.stream(2**16, decode_content=False)
    return StreamingResponse(chunks, got.status_code, kept(got.headers))


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that are passed on."""
    return {k: v for k, v in headers.items() if k.lower() not in NOT_PASSED}

"""Serves the view with which Home Assistant passes requests on to an app, for the app behind the address in the first argument."""

import asyncio
import sys

import aiohttp
from aiohttp import web

from homeassistant.components.hassio.ingress import HassIOIngress
from homeassistant.components.http.headers import setup_headers


async def main() -> None:
    app = web.Application()
    setup_headers(app, use_x_frame_options=True)
    async with aiohttp.ClientSession() as session:
        view = HassIOIngress(sys.argv[1], session)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await view._handle(request, **request.match_info)

        app.router.add_route("*", HassIOIngress.url, handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print("port", site._server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()


asyncio.run(main())

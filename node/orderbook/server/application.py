"""The HTTP surface of a node for clients: the routes of /v1, on one listener."""

from __future__ import annotations

from aiohttp import WSMsgType, web

from orderbook.groups.group import Group
from orderbook.runtime import Runtime
from orderbook.server.websocket import WebSocketConnection
from orderbook.streams.order_entry import OrderEntry
from orderbook.wire.order_frames import MAX_REQUEST_BYTES, SUBPROTOCOL
from orderbook.wire.roles import Role

GROUP = web.AppKey("group", Group)
RUNTIME: web.AppKey[Runtime] = web.AppKey("runtime")


def client_application(runtime: Runtime, group: Group) -> web.Application:
    """What clients talk to."""
    application = web.Application()
    application[GROUP] = group
    application[RUNTIME] = runtime
    application.router.add_get("/v1/streams/orders", order_stream)
    application.router.add_get("/v1/group", group_status)
    return application


async def group_status(request: web.Request) -> web.Response:
    """Who leads and how far this member is."""
    replica = request.app[GROUP].replica
    if replica is None:
        raise web.HTTPServiceUnavailable
    status = {
        "leader": replica.name_of(replica.leader) if replica.leader else None,
        "applied": replica.state.index,
        "state_hash": f"{replica.state.state_hash:016x}",
    }
    return web.json_response(status)


async def order_stream(request: web.Request) -> web.WebSocketResponse:
    """Orders in, exactly one reply to each request out."""
    socket = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,), max_msg_size=MAX_REQUEST_BYTES, heartbeat=5.0, compress=False
    )
    await socket.prepare(request)
    connection = WebSocketConnection(socket, "admin", Role.ADMIN)
    entry = OrderEntry(request.app[GROUP], connection)
    writing = request.app[RUNTIME].spawn(connection.write(), "write order stream")
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                entry.on_message(message.data)
            else:
                connection.close("the order stream takes binary messages")
    finally:
        connection.close("closed")
        writing.cancel()
    return socket

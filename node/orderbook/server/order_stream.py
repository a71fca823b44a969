"""The WebSocket route of the order stream: /v1/streams/orders. Orders in, exactly one reply to each request out.

Subprotocol ``orderbook.v1.msgpack`` takes and gives binary frames of ``wire.order_frames``, ``orderbook.v1.json`` or
none takes and gives text: ``order_stream_json``. Of several the client's first counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from orderbook.groups.group import Group
from orderbook.runtime import Runtime
from orderbook.server.api_errors import ApiError
from orderbook.server.client_sockets import ClientSockets
from orderbook.server.order_stream_json import JsonOrders
from orderbook.server.websocket import WebSocketConnection
from orderbook.streams.order_entry import OrderEntry
from orderbook.streams.order_watch import OrderWatch
from orderbook.wire.feed_frames import JSON_SUBPROTOCOL
from orderbook.wire.order_frames import MAX_REQUEST_BYTES, SUBPROTOCOL


def order_stream(
    runtime: Runtime, group: Group, sockets: ClientSockets, max_queued_bytes: int, watch: OrderWatch | None
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        grant = sockets.grant(request)
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL, JSON_SUBPROTOCOL), max_msg_size=MAX_REQUEST_BYTES, heartbeat=5.0, compress=False
        )
        if not socket.can_prepare(request):
            raise ApiError(426, "upgrade_required", "this is a WebSocket", {"Upgrade": "websocket"})
        await socket.prepare(request)
        is_text = socket.ws_protocol != SUBPROTOCOL
        connection = WebSocketConnection(request, socket, grant.name, grant.role, max_queued_bytes, text=is_text)
        as_json = JsonOrders(connection) if is_text else None
        client = as_json if as_json is not None else connection
        on_frame = OrderEntry(group, client).on_message
        watched = watch.watched(client, on_frame) if watch is not None else None
        if watched is not None:
            on_frame = watched.on_message
        on_text = as_json.taking(on_frame) if as_json is not None else None
        writing = runtime.spawn(connection.write(), "write order stream")
        try:
            with sockets.opened(connection, grant):
                async for message in socket:
                    if on_text is not None and message.type is WSMsgType.TEXT:
                        on_text(message.data)
                    elif on_text is None and message.type is WSMsgType.BINARY:
                        on_frame(message.data)
                    else:
                        wanted = "binary" if on_text is None else "text"
                        connection.close(f"this order stream takes {wanted} messages")
        finally:
            if watched is not None:
                watched.close()
            connection.close("closed")
            writing.cancel()
        return socket

    return serve

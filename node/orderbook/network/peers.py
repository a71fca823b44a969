"""The peers of one process: a listener, a dialler, one live connection with each peer, channels over all of them.

A ``Peers`` promises its caller that at most one connection with each peer is live, that a channel's frames go only
between members that proved its key to each other, and that no peer, whatever it sends, reads or claims, disturbs what
goes on with the others: its connection ends with a named reason (``Reason``), which is logged once and counted.

Its caller starts it, opens channels when it likes, and closes it. All of it is for the event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
    ThreadedResolver,
    web,
)

from orderbook.network.admission import Claim, our_dial_wins, rival_problem
from orderbook.network.connection import Connection
from orderbook.network.dialler import Answer
from orderbook.network.discovery import Discovery
from orderbook.network.framing import MAX_CHANNEL, MAX_MESSAGE_BYTES
from orderbook.network.handshake import (
    NEWEST_VERSION,
    NONCE_BYTES,
    OLDEST_VERSION,
    PROCESS_BYTES,
    ControlKind,
    Hello,
    Opening,
    Reason,
    is_name,
)
from orderbook.network.link import Link
from orderbook.network.listener import Listener
from orderbook.network.member_channel import MemberChannel
from orderbook.network.options import NetworkOptions
from orderbook.network.sockets import AcceptedSocket, DialledSocket, PeerSocket
from orderbook.network.statistics import NetworkStatistics, PeerStatistics
from orderbook.network.tls import PEER_NAME, peer_problem, sentence, tls_failure
from orderbook.runtime import Runtime, Timer, pause

PATH = "/peers"
_MAX_REMEMBERED = 1024
_TURNS_OF_AN_ACCEPT = 3
_logger = logging.getLogger("orderbook.network")


class Peers:
    """``name`` is this member's, unique in the network; members of another ``network`` id are refused."""

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        network: str,
        options: NetworkOptions | None = None,
        versions: tuple[int, int] = (OLDEST_VERSION, NEWEST_VERSION),
    ) -> None:
        if not is_name(name):
            raise ValueError(f"a peer's name has 1 to 253 printable characters and no space, not {name!r}")
        self.name = name
        self.network = network
        self.port = 0  # on which this listens, once started
        self.counts = NetworkStatistics()
        self._runtime = runtime
        self._options = options if options is not None else NetworkOptions()
        self._versions = versions
        self._process = runtime.random.randbytes(PROCESS_BYTES)
        self._advertised = ""
        self._closing = False
        self._dials = 0
        self._links: dict[Link, None] = {}  # in handshake or live
        self._live: dict[str, Link] = {}
        self._proving: dict[str, Link] = {}  # our dials that sent PROVE
        self._last: dict[str, bytes] = {}  # name -> id of the last live connection
        self._channels: dict[bytes, MemberChannel] = {}
        self._channels_opened = 0
        self._statistics: dict[str, PeerStatistics] = {}
        self._forgotten = PeerStatistics()  # of peers that proved nothing
        self._told: dict[tuple[str, str], None] = {}
        self._runner: web.AppRunner | None = None
        self._listener: Listener | None = None
        self._session: ClientSession | None = None
        self._ticking: Timer | None = None
        self.discovery = Discovery(runtime, self._options, name, self._dial, self._live.__contains__)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self, host: str = "127.0.0.1", port: int = 0, advertise: str | None = None) -> None:
        """Listen (port 0: any free one), and dial whom discovery knows. ``advertise`` is the ``host:port`` that others
        are told; without it they take the address that they see and the port that is listened on."""
        application = web.Application()
        application.router.add_get(PATH, self._accept)
        seconds = self._options.dial_timeout
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0, keepalive_timeout=seconds)
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # it was set up
        tls = self._options.server_tls
        most = 2 * self._options.max_connections  # those beyond once are told that this is busy
        self._listener = Listener(
            self._runtime, server, tls, self._never_spoke, seconds, lambda: len(server.connections), most
        )
        await self._listener.start(host, port)
        self.port = self._listener.port
        self._advertised = advertise if advertise is not None else f":{self.port}"
        # Names are resolved anew at each dial: a cache would keep a member that moved at its old address.
        connector = TCPConnector(
            limit=0, use_dns_cache=False, resolver=ThreadedResolver(), ssl=self._options.client_tls or True
        )
        self._session = ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            ws_response_class=DialledSocket,
            timeout=ClientTimeout(total=None, sock_connect=None),
        )
        self._ticking = self._runtime.call_later(self._options.ping_every, self._tick)
        self.discovery.start()

    async def close(self) -> None:
        """End all connections (peers are told), stop listening. Channels are told that their peers are gone."""
        self._closing = True
        self.discovery.close()
        if self._ticking is not None:
            self._ticking.cancel()
        if self._listener is not None:
            await self._listener.close()
            for _ in range(_TURNS_OF_AN_ACCEPT):
                await pause(self._runtime, 0)  # a connection that was just accepted must be known to be ended
        ending = list(self._links)
        for link in ending:
            link.end(Reason.CLOSED, f"{self.name} leaves")
        await asyncio.gather(*(link.finished for link in ending))
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def channel(self, group: bytes, key: bytes) -> MemberChannel:
        """Open the channel of a group (its id: 1 to 64 bytes). Raises ValueError if it is open already."""
        if group in self._channels:
            raise ValueError(f"the channel of {group.hex()} is open already")
        if not 1 <= len(group) <= 64 or not key:
            raise ValueError("a group id has 1 to 64 bytes, a key at least one")
        if self._channels_opened == MAX_CHANNEL:
            raise ValueError(f"this process opened {MAX_CHANNEL} channels")
        self._channels_opened += 1
        channel = MemberChannel(self._channels_opened, group, key, self._close_channel)
        self._channels[group] = channel
        for link in list(self._live.values()):
            link.connection.send_control(ControlKind.OPEN, *channel.opening(link))
            for opening in link.openings.values():
                if opening.group == group and link.admitted and self.proves(link, opening):
                    link.proven[group] = opening.number
                    channel.connect(link)
        return channel

    def _close_channel(self, channel: MemberChannel) -> None:
        if self._channels.get(channel.group) is not channel:
            return
        del self._channels[channel.group]
        for link in list(self._live.values()):
            link.routes.pop(link.proven.pop(channel.group, 0), None)
            channel.disconnect(link)
            link.connection.send_control(ControlKind.CLOSE, channel.number)

    def connected(self) -> tuple[str, ...]:
        """The peers with a live connection, whatever they proved, sorted."""
        return tuple(sorted(self._live))

    def statistics(self) -> dict[str, PeerStatistics]:
        """By name, for at most 1,024 of the peers that were ever connected."""
        for link in self._live.values():
            link.statistics.queue_bytes = link.connection.queued_bytes
        return self._statistics

    def others(self) -> PeerStatistics:
        """The sum over all peers that never proved a group's key, whatever names they gave themselves."""
        total = PeerStatistics()
        total.add(self._forgotten)
        for statistics in self.statistics().values():
            if not statistics.proven:
                total.add(statistics)
        return total

    def _tick(self) -> None:
        self._ticking = self._runtime.call_later(self._options.ping_every, self._tick)
        for link in list(self._live.values()):
            link.connection.tick()

    # --- connections --------------------------------------------------------------------------------------------------

    def _never_spoke(self, address: str, detail: str) -> None:
        """Whoever connected from there got no further than TLS."""
        self.counts.ended[Reason.TLS] += 1
        self.counts.never_spoke += 1
        fields = {"address": address, "reason": str(Reason.TLS), "detail": detail}
        level = logging.WARNING if self._is_news(address.rpartition(":")[0], detail) else logging.DEBUG
        _logger.log(level, "a connection of no peer was refused", extra={"fields": fields})

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        if self._options.server_tls is not None:
            transport = request.transport
            problem = peer_problem(transport.get_extra_info("peercert") if transport is not None else None)
            if problem:
                self._never_spoke(request.remote or "", problem)
                return web.Response(status=403, text=problem)
        shaking = sum(1 for link in self._links if not link.dialled and not link.admitted)
        if (
            self._closing
            or len(self._links) >= self._options.max_connections
            or shaking >= self._options.max_handshakes
        ):
            self.counts.ended[Reason.BUSY] += 1
            return web.Response(status=503, text=Reason.BUSY)
        socket = AcceptedSocket(compress=False, max_msg_size=MAX_MESSAGE_BYTES, timeout=self._options.linger)
        try:
            await socket.prepare(request)
        except ConnectionError:
            self.counts.ended[Reason.LOST] += 1
            return web.Response(status=400, text="left before the WebSocket was open")  # nobody reads it
        link = self._begin(socket, request.remote or "", dial=0)
        # A task of the runtime's: aiohttp would swallow what a channel's owner raises.
        self._runtime.spawn(self._run(link), f"read from {link.remote}")
        await asyncio.shield(link.finished)
        return socket

    async def _dial(self, address: str) -> Answer:
        opened = await self._connect(address)
        if isinstance(opened, Answer):
            return opened
        self._dials += 1
        link = self._begin(opened, address, self._dials)
        self._runtime.spawn(self._run(link), f"read from {address}")
        try:
            await asyncio.shield(link.shaken)
        except asyncio.CancelledError:
            if not link.admitted:
                link.end(Reason.CLOSED, "another address is tried")
            raise
        name = link.peer.name if link.peer is not None else None
        return Answer(name, link.connection.reason, link.detail)

    async def _connect(self, address: str) -> DialledSocket | Answer:
        opened: asyncio.Future[DialledSocket | Answer] = asyncio.get_running_loop().create_future()

        async def connect() -> None:
            if self._closing or self._session is None:
                answer(Answer(None, Reason.CLOSED, "this process leaves"))
                return
            scheme, name = ("http", None) if self._options.client_tls is None else ("https", PEER_NAME)
            try:
                socket = await self._session.ws_connect(
                    f"{scheme}://{address}{PATH}", compress=0, max_msg_size=MAX_MESSAGE_BYTES, server_hostname=name
                )
            except (OSError, ClientError, ValueError) as error:
                answer(self._why_not_connected(error))
            else:
                assert isinstance(socket, DialledSocket)
                if not answer(socket):
                    socket.abort()

        def answer(result: DialledSocket | Answer) -> bool:
            if opened.done():
                return False
            opened.set_result(result)
            return True

        connecting = self._runtime.spawn(connect(), f"dial {address}")
        timer = self._runtime.call_later(
            self._options.dial_timeout, answer, Answer(None, Reason.UNREACHABLE, "it does not answer")
        )
        try:
            return await opened
        except asyncio.CancelledError:
            unwanted = None if not opened.done() or opened.cancelled() else opened.result()
            if isinstance(unwanted, DialledSocket):
                unwanted.abort()
            raise
        finally:
            timer.cancel()
            connecting.cancel()

    def _why_not_connected(self, error: Exception) -> Answer:
        failure = tls_failure(error)
        if failure is not None:
            self.counts.ended[Reason.TLS] += 1
            return Answer(None, Reason.TLS, sentence(failure))
        if self._options.client_tls is not None and isinstance(error, ServerDisconnectedError):
            # In TLS 1.3 an acceptor looks at the dialler's certificate when the dialler believes that all is well.
            return Answer(None, Reason.UNREACHABLE, "it left behind the TLS handshake: its log says if it refuses us")
        return Answer(None, Reason.UNREACHABLE, str(error))

    def _begin(self, socket: PeerSocket, remote: str, dial: int) -> Link:
        link = Link(self, Connection(self._runtime, socket, self._options), remote, dial)
        self._links[link] = None
        if self._closing:
            link.end(Reason.CLOSED, f"{self.name} leaves")
        return link

    async def _run(self, link: Link) -> None:
        too_late = self._runtime.call_later(
            self._options.dial_timeout, link.end, Reason.TIMEOUT, "the handshake took too long"
        )
        try:
            live = await link.shake_hands()
            too_late.cancel()
            link.shaken.set_result(None)
            if live:
                await link.run()
        finally:
            too_late.cancel()
            if not link.shaken.done():
                link.shaken.set_result(None)
            link.end(Reason.LOST, "no longer read")
            await link.connection.finish()
            link.finished.set_result(None)
            del self._links[link]

    # --- what links ask (LinkOwner) -----------------------------------------------------------------------------------

    def own_hello(self, dial: int) -> Hello:
        nonce = self._runtime.random.randbytes(NONCE_BYTES)
        return Hello(*self._versions, self.network, self.name, self._process, nonce, self._advertised, dial)

    def before_proving(self, link: Link) -> tuple[Reason, str] | None:
        assert link.peer is not None
        live = self._live.get(link.peer.name)
        if link.peer.name in self._proving or (live is not None and _claim(live).process == link.peer.process):
            return Reason.DUPLICATE, "there is another connection by now"
        self._proving[link.peer.name] = link
        return None

    def last_connection(self, name: str) -> bytes:
        return self._last.get(name, b"")

    def own_openings(self, link: Link) -> list[Opening]:
        return [channel.opening(link) for channel in self._channels.values()]

    def proves(self, link: Link, opening: Opening) -> bool | None:
        channel = self._channels.get(opening.group)
        if channel is None:
            return None
        if channel.is_proven(link, opening):
            self._told.pop((link.name, opening.group.hex()), None)
            return True
        link.statistics.wrong_keys += 1
        self.counts.wrong_keys += 1
        fields = {"peer": link.name, "address": link.remote, "group": opening.group.hex()}
        if self._is_news(link.name, opening.group.hex()):
            _logger.warning("wrong group key: none of the group's frames go to that peer", extra={"fields": fields})
        return False

    def admit(self, link: Link, last: bytes) -> tuple[Reason, str] | None:
        assert link.peer is not None
        name = link.peer.name
        ours = self._proving.get(name)
        both_dialled = ours is not None and ours is not link and _claim(ours).process == link.peer.process
        if both_dialled and our_dial_wins(self.name, name):
            return Reason.DUPLICATE, "the connection that was dialled from here is preferred"
        live = self._live.get(name)
        if live is not None:
            problem = rival_problem(_claim(link, last), _claim(live))
            if problem is not None:
                return problem
        self._live[name] = link
        self._proving.pop(name, None)
        if live is not None:
            live.end(Reason.REPLACED, "by a later connection of the same peer")
        if ours is not None and ours is not link:
            ours.end(Reason.DUPLICATE, "the other side dialled too")
        return None

    def went_live(self, link: Link) -> None:
        assert link.peer is not None
        name = link.peer.name
        self._remember(name, link)
        for number in link.announced:
            if all(channel.number != number for channel in self._channels.values()):
                link.connection.send_control(ControlKind.CLOSE, number)
        for channel in self._channels.values():
            if channel.number not in link.announced:
                link.connection.send_control(ControlKind.OPEN, *channel.opening(link))
        link.connection.send_control(ControlKind.ADDRESSES, self._entries_for(link))
        _logger.info("connected to a peer", extra={"fields": {"peer": name, "address": link.remote}})
        self._note_address(link)
        for channel in list(self._channels.values()):
            if channel.group in link.proven and link.admitted:
                channel.connect(link)
        if self._channels and link.openings and all(o.group not in self._channels for o in link.openings.values()):
            fields = {"peer": name, "address": link.remote}
            self.counts.no_common_group += 1
            _logger.warning("that peer shares no group with this node: wrong group key?", extra={"fields": fields})

    def opened(self, link: Link, opening: Opening) -> None:
        channel = self._channels.get(opening.group)
        if channel is not None and link.proven.get(opening.group) == opening.number:
            channel.connect(link)

    def closed(self, link: Link, number: int) -> None:
        if link.routes.pop(number, None) is None:
            return
        for channel in list(self._channels.values()):
            if channel.group not in link.proven:
                channel.disconnect(link)

    def heard_addresses(self, link: Link, addresses: list[tuple[str, str]]) -> None:
        self.discovery.heard(link.name, addresses)

    def unknown_control(self) -> None:
        self.counts.unknown_controls += 1

    def ended(self, link: Link, reason: Reason, detail: str) -> None:
        self.counts.ended[reason] += 1
        self._tell(link, reason, detail)
        name = link.name
        if self._proving.get(name) is link:
            del self._proving[name]
        for channel in list(self._channels.values()):
            channel.disconnect(link)
        link.statistics.queue_bytes = 0
        if self._live.get(name) is link:
            del self._live[name]
            self.discovery.lost(name)

    def _tell(self, link: Link, reason: Reason, detail: str) -> None:
        """Log the end of a connection; a peer that comes again and again for the same end is not news."""
        expected = reason in (Reason.DUPLICATE, Reason.REPLACED, Reason.ITSELF, Reason.CLOSED)
        if expected or (not link.admitted and not self._is_news(link.name, reason)):
            level = logging.DEBUG
        else:
            level = logging.INFO if reason is Reason.LOST else logging.WARNING
        fields = {"peer": link.name, "address": link.remote, "reason": str(reason), "detail": detail}
        _logger.log(level, "a connection with a peer ended", extra={"fields": fields})

    def _is_news(self, name: str, what: str) -> bool:
        if (name, what) in self._told:
            return False
        if len(self._told) >= _MAX_REMEMBERED:
            self._told.clear()
        self._told[name, what] = None
        return True

    def _remember(self, name: str, link: Link) -> None:
        """Names are bounded: those that nobody is connected to any more go first."""
        wrong_keys = link.statistics.wrong_keys
        if name not in self._statistics and len(self._statistics) >= _MAX_REMEMBERED:
            gone = next(other for other in self._statistics if other not in self._live)
            forgotten = self._statistics.pop(gone)
            if not forgotten.proven:
                self._forgotten.add(forgotten)
            self._last.pop(gone, None)
        link.statistics = self._statistics.setdefault(name, PeerStatistics())
        link.statistics.wrong_keys += wrong_keys
        link.statistics.connections += 1
        self._last[name] = link.id

    def _entries_for(self, link: Link) -> list[tuple[str, str]]:
        return [entry for entry in self.discovery.entries() if entry[0] != link.name]

    def _note_address(self, link: Link) -> None:
        """Where that peer can be dialled, which the others are told if it is news."""
        assert link.peer is not None
        host, _, port = link.peer.address.rpartition(":")
        if not host:
            seen = link.remote.rpartition(":")[0] if link.dialled else link.remote
            host = f"[{seen}]" if ":" in seen and not seen.startswith("[") else seen
        if not port or not host:
            return
        entry = link.peer.name, f"{host}:{port}"
        if self.discovery.met(*entry):
            for other in list(self._live.values()):
                if other is not link:
                    other.connection.send_control(ControlKind.ADDRESSES, [entry])


def _claim(link: Link, last: bytes = b"") -> Claim:
    assert link.peer is not None
    return Claim(link.id, link.peer.process, link.dialled, link.dial, tuple(link.proven), last)

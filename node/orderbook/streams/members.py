"""Typed streams between members: what one produces, all that consume the same type get.

Types are told apart by name, the class's qualified name unless another is given. Datums of one producer arrive in
order, each at most once; a producer's datums carry a sequence, so that a loss shows. Nothing is kept for later: a
consumer gets what is produced while it is subscribed.

A consumer is subscribed to every producer of its type on every connected member, its own included, as they come and
go. It is disconnected with a reason, and nobody else is,

- ``slow_consumer``: when more than ``max_queued`` bytes wait for whoever iterates, or the connection to its member is
  full;
- ``malformed``: when what arrives is no datum of its type (from that producer).

Whoever goes on iterating after ``Disconnected`` is subscribed anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Protocol, TypeVar

from orderbook.network.channel import Channel
from orderbook.runtime import Runtime, Timer
from orderbook.streams.codec import DatumCodec
from orderbook.streams.connection import Connection
from orderbook.streams.consumer import Consumer, Source
from orderbook.streams.producer import Listener, Producer
from orderbook.streams.relay import Relay
from orderbook.wire.datum_frames import (
    MAX_NAME_BYTES,
    DatumFrameKind,
    MalformedDatumFrame,
    pack_datum_frame,
    unpack_datum_frame,
)

T = TypeVar("T")
RETELL_SECONDS = 0.05


class Receiver(Protocol):
    """What is subscribed: a ``Consumer``, or a ``Relay`` to a client."""

    number: int
    name: str

    def gained(self, source: Source) -> bool:
        """There is a producer of its type; whether to subscribe to it."""
        ...

    def confirmed(self, source: Source) -> None: ...

    def lost(self, source: Source) -> None: ...

    def withdrawn(self, source: Source) -> None: ...

    def ended(self, source: Source, reason: str) -> None: ...

    def receive(self, source: Source, sequence: int, data: bytes) -> None: ...

    def close(self) -> None: ...


class MemberStreams:
    """One per network and member: all its producers and consumers, over one channel."""

    def __init__(self, runtime: Runtime, channel: Channel, name: str) -> None:
        self.frames_refused = 0  # statistics
        self._runtime = runtime
        self._channel = channel
        self._name = name
        self._numbers = runtime.random.getrandbits(40) << 20  # another life of this process numbers otherwise
        self._producers: dict[int, Producer[Any]] = {}
        self._consumers: dict[int, Receiver] = {}
        self._offers: dict[Source, str] = {}  # every producer that is known, here and elsewhere, and its type's name
        self._untold: dict[str, deque[bytes]] = {}  # by peer: what its full connection did not take yet
        self._retelling: Timer | None = None
        channel.on_frame = self._on_frame
        channel.on_connected = self._on_connected
        channel.on_disconnected = self._on_disconnected
        for peer in channel.peers():
            self._on_connected(peer)

    # --- for users ----------------------------------------------------------------------------------------------------

    def produce(self, datum: type[T], name: str | None = None) -> Producer[T]:
        """Raises TypeError for what is no dataclass and no NamedTuple, ValueError for too long a name."""
        producer = Producer(
            self, self._number(), _checked(name or datum.__qualname__), DatumCodec(datum), self._runtime
        )
        self._producers[producer.number] = producer
        self._tell_all(DatumFrameKind.OFFER, producer.number, producer.name)
        self._offered(Source(self._name, producer.number), producer.name)
        return producer

    def consume(self, datum: type[T], name: str | None = None, max_queued: int = 16 << 20) -> Consumer[T]:
        """Raises as ``produce``."""
        consumer = Consumer(
            self, self._number(), _checked(name or datum.__qualname__), DatumCodec(datum), self._runtime, max_queued
        )
        self._consumers[consumer.number] = consumer
        self.subscribe(consumer)
        return consumer

    def relay(self, name: str, connection: Connection) -> Relay:
        """Subscribe in the place of a client. Raises ValueError for too long a name."""
        relay = Relay(self._number(), _checked(name), connection)
        self._consumers[relay.number] = relay
        self.subscribe(relay)
        return relay

    def end_relay(self, relay: Relay) -> None:
        """The client is gone."""
        self.forget(relay)
        for source in relay.sources():
            self.unsubscribe(relay, source, "closed")

    def close(self) -> None:
        """End all producers and consumers."""
        for producer in list(self._producers.values()):
            producer.close()
        for consumer in list(self._consumers.values()):
            consumer.close()
        if self._retelling is not None:
            self._retelling.cancel()
        self._channel.close()

    # --- for producers and consumers ----------------------------------------------------------------------------------

    def deliver(self, listener: Listener, producer: int, sequence: int, data: bytes) -> bool:
        """Hand a datum on; False if the way to this consumer is full or gone."""
        if listener.peer == self._name:
            consumer = self._consumers.get(listener.consumer)
            if consumer is not None:
                consumer.receive(Source(self._name, producer), sequence, data)
            return consumer is not None
        frame = pack_datum_frame(DatumFrameKind.DATUM, producer, listener.consumer, sequence, data)
        return self._channel.send(listener.peer, frame)

    def end(self, listener: Listener, producer: int, reason: str) -> None:
        """A producer no longer sends to a consumer."""
        if listener.peer == self._name:
            self._on_end(self._name, producer, listener.consumer, reason)
        else:
            self._tell(listener.peer, DatumFrameKind.END, producer, listener.consumer, reason)

    def withdraw(self, producer: Producer[Any]) -> None:
        if self._producers.pop(producer.number, None) is not None:
            self._tell_all(DatumFrameKind.WITHDRAW, producer.number)
            self._on_withdraw(self._name, producer.number)

    def subscribe(self, consumer: Receiver) -> None:
        """Subscribe it to every producer of its type that it is not subscribed to."""
        for source, name in list(self._offers.items()):
            if name == consumer.name:
                self._subscribe(consumer, source)

    def unsubscribe(self, consumer: Receiver, source: Source, reason: str) -> None:
        if source.peer == self._name:
            self._on_unsubscribe(self._name, source.producer, consumer.number, reason)
        else:
            self._tell(source.peer, DatumFrameKind.UNSUBSCRIBE, source.producer, consumer.number, reason)

    def forget(self, consumer: Receiver) -> None:
        self._consumers.pop(consumer.number, None)

    # --- offers -------------------------------------------------------------------------------------------------------

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _offered(self, source: Source, name: str) -> None:
        self._offers[source] = name
        for consumer in list(self._consumers.values()):
            if consumer.name == name:
                self._subscribe(consumer, source)

    def _subscribe(self, consumer: Receiver, source: Source) -> None:
        if not consumer.gained(source):
            return
        if source.peer == self._name:
            self._on_subscribe(self._name, source.producer, consumer.number)
        else:
            self._tell(source.peer, DatumFrameKind.SUBSCRIBE, source.producer, consumer.number)

    # --- frames -------------------------------------------------------------------------------------------------------

    def _on_connected(self, peer: str) -> None:
        for producer in list(self._producers.values()):
            self._tell(peer, DatumFrameKind.OFFER, producer.number, producer.name)

    def _on_disconnected(self, peer: str) -> None:
        self._untold.pop(peer, None)
        for source in [source for source in self._offers if source.peer == peer]:
            del self._offers[source]
            for consumer in list(self._consumers.values()):
                consumer.lost(source)
        for producer in list(self._producers.values()):
            producer.forget_peer(peer)

    def _on_frame(self, peer: str, data: bytes) -> None:
        try:
            frame = unpack_datum_frame(data)
        except MalformedDatumFrame:
            self.frames_refused += 1
            return
        if frame is not None:
            _ON_FRAME[frame[0]](self, peer, *frame[1:])

    def _on_offer(self, peer: str, producer: int, name: str) -> None:
        self._offered(Source(peer, producer), name)

    def _on_withdraw(self, peer: str, producer: int) -> None:
        source = Source(peer, producer)
        self._offers.pop(source, None)
        for consumer in list(self._consumers.values()):
            consumer.withdrawn(source)

    def _on_subscribe(self, peer: str, producer: int, consumer: int) -> None:
        found = self._producers.get(producer)
        if found is None:
            return
        found.gained(Listener(peer, consumer))
        if peer == self._name:
            self._on_subscribed(peer, producer, consumer)
        else:
            self._tell(peer, DatumFrameKind.SUBSCRIBED, producer, consumer)

    def _on_subscribed(self, peer: str, producer: int, consumer: int) -> None:
        found = self._consumers.get(consumer)
        if found is not None:
            found.confirmed(Source(peer, producer))

    def _on_unsubscribe(self, peer: str, producer: int, consumer: int, reason: str) -> None:
        found = self._producers.get(producer)
        if found is not None:
            found.lost(Listener(peer, consumer), reason)

    def _on_datum(self, peer: str, producer: int, consumer: int, sequence: int, data: bytes) -> None:
        found = self._consumers.get(consumer)
        if found is not None:
            found.receive(Source(peer, producer), sequence, data)

    def _on_end(self, peer: str, producer: int, consumer: int, reason: str) -> None:
        found = self._consumers.get(consumer)
        if found is not None:
            found.ended(Source(peer, producer), reason)

    # --- telling ------------------------------------------------------------------------------------------------------

    def _tell_all(self, kind: DatumFrameKind, *fields: Any) -> None:
        for peer in self._channel.peers():
            self._tell(peer, kind, *fields)

    def _tell(self, peer: str, kind: DatumFrameKind, *fields: Any) -> None:
        """Say something that may not be lost: what a full connection does not take is said again later, in order."""
        frame = pack_datum_frame(kind, *fields)
        waiting = self._untold.get(peer)
        if waiting is not None:
            waiting.append(frame)
        elif not self._channel.send(peer, frame) and peer in self._channel.peers():
            self._untold[peer] = deque([frame])
            if self._retelling is None:
                self._retelling = self._runtime.call_later(RETELL_SECONDS, self._retell)

    def _retell(self) -> None:
        self._retelling = None
        for peer, waiting in list(self._untold.items()):
            while waiting and self._channel.send(peer, waiting[0]):
                waiting.popleft()
            if not waiting:
                del self._untold[peer]
        if self._untold:
            self._retelling = self._runtime.call_later(RETELL_SECONDS, self._retell)


def stream_channel_id(network: str) -> bytes:
    """16 bytes: the channel over which the members of a network stream to each other."""
    return blake2b(network.encode(), digest_size=16, person=b"streams").digest()


def _checked(name: str) -> str:
    if not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
        raise ValueError(f"the name of a stream has 1 to {MAX_NAME_BYTES} bytes, not {len(name.encode())}")
    return name


_ON_FRAME: dict[int, Callable[..., None]] = {
    DatumFrameKind.OFFER: MemberStreams._on_offer,
    DatumFrameKind.WITHDRAW: MemberStreams._on_withdraw,
    DatumFrameKind.SUBSCRIBE: MemberStreams._on_subscribe,
    DatumFrameKind.UNSUBSCRIBE: MemberStreams._on_unsubscribe,
    DatumFrameKind.DATUM: MemberStreams._on_datum,
    DatumFrameKind.END: MemberStreams._on_end,
    DatumFrameKind.SUBSCRIBED: MemberStreams._on_subscribed,
}

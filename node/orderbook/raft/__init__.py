"""Consensus, pure: messages and ticks in, ``Ready`` out. ``node`` begins with the caller's duties."""

from orderbook.raft.config import RaftConfig
from orderbook.raft.errors import (
    ConsensusViolated,
    MembershipReason,
    MembershipRefused,
    NotLeader,
    ProposalsPaused,
    Refused,
    TooManyUncommitted,
    TransferRefused,
)
from orderbook.raft.membership import decode as decode_configuration
from orderbook.raft.membership import encode as encode_configuration
from orderbook.raft.messages import InstallSnapshot, Message, Removed, from_wire, to_wire
from orderbook.raft.node import RawNode
from orderbook.raft.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Member,
    Outgoing,
    Ready,
    Role,
    SnapshotMeta,
)

__all__ = [
    "Configuration",
    "ConsensusViolated",
    "Entry",
    "EntryKind",
    "HardState",
    "InstallSnapshot",
    "Member",
    "MembershipReason",
    "MembershipRefused",
    "Message",
    "NotLeader",
    "Outgoing",
    "ProposalsPaused",
    "RaftConfig",
    "RawNode",
    "Ready",
    "Refused",
    "Removed",
    "Role",
    "SnapshotMeta",
    "TooManyUncommitted",
    "TransferRefused",
    "decode_configuration",
    "encode_configuration",
    "from_wire",
    "to_wire",
]

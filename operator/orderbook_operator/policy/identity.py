"""Which group this is: its key, the initial size, and the life that it is in.

The three stand in a Secret without an owner: it outlives the resource as long as a claim exists, for a claim without
its key and incarnation is lost data. It is created once, by a POST that a Secret of this name refuses. It is never
created where a claim exists: nodes that are handed another key would begin another group beside the old data.

The incarnation is recorded when the leader said it for the first time. A node that was given one never begins a group.
Afterwards it changes only by a recovery, in an update conditional on the version that holds the old one.
"""

from __future__ import annotations

from collections.abc import Callable

from orderbook_operator import names
from orderbook_operator.actions import CreateSecret, ReplaceSecret
from orderbook_operator.observation import Identity, Observation
from orderbook_operator.policy import recovery
from orderbook_operator.policy.decision import NOTHING, Plan, Reason, do, wait

KEY_BYTES = 32


def plan(seen: Observation, draw: Callable[[int], bytes]) -> Plan:
    """Create the Secret, or record the incarnation. Without identity nothing may go on that could form a group."""
    if seen.identity is None:
        return _create(seen, draw)
    if reborn := recovery.reborn(seen):
        return do(_recorded(seen, seen.identity, reborn))
    group = seen.group
    if group is None or group.incarnation == seen.identity.incarnation:
        return NOTHING
    if not seen.identity.incarnation:
        return do(_recorded(seen, seen.identity, group.incarnation))
    sentence = f"the group says incarnation {group.incarnation}; {seen.identity.incarnation} is recorded"
    return wait(Reason.INCARNATION_DIFFERS, sentence)


def is_known(seen: Observation) -> bool:
    """The group that answers is the one that is recorded: its members may be changed."""
    identity, group = seen.identity, seen.group
    return identity is not None and group is not None and identity.incarnation == group.incarnation


def _create(seen: Observation, draw: Callable[[int], bytes]) -> Plan:
    secret = names.identity_secret(seen.name)
    if any(key.kind == "Secret" and key.name == secret for key in seen.foreign):
        return NOTHING  # the name is taken, which is said elsewhere
    if seen.claims:
        claims = ", ".join(sorted(claim.name for claim in seen.claims))
        if all(claim.terminating for claim in seen.claims):
            return wait(Reason.CLAIM_TERMINATING, f"waits until {claims} of a group before this one is gone")
        sentence = (
            f"the Secret {secret} is missing, but there is data of its group ({claims}): restore it, or delete them"
        )
        return wait(Reason.IDENTITY_LOST, sentence)
    data = {
        names.IDENTITY_KEY: draw(KEY_BYTES).hex().encode(),
        names.IDENTITY_INITIAL_SIZE: str(seen.resource.spec.replicas).encode(),
        names.IDENTITY_INCARNATION: b"",
    }
    return do(CreateSecret(secret, data, owned=False))


def _recorded(seen: Observation, identity: Identity, incarnation: str) -> ReplaceSecret:
    data = {
        names.IDENTITY_KEY: identity.key,
        names.IDENTITY_INITIAL_SIZE: str(identity.initial_size).encode(),
        names.IDENTITY_INCARNATION: incarnation.encode(),
    }
    secret = names.identity_secret(seen.name)
    return ReplaceSecret(secret, data, identity.uid, identity.resource_version, owned=False)

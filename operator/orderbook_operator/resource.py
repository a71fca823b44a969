"""``OrderBookGroup``, the resource: read from what the API server gives, its status written back.

``OrderBookGroup.from_object`` takes an object as the API server sends it; ``status.to_dict()`` is what goes to its
status subresource. The CRD is made from the same models (``crd``), so the two can't disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError

from orderbook_operator.model import ListMap, Model
from orderbook_operator.names import API_GROUP, API_VERSION, KIND
from orderbook_operator.spec import Spec, Storage

LONGEST_NAME = 40  # pods, claims and Services add to it, and a label's value ends at 63
NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"  # what a Service may be called

ConditionType = Literal["Ready", "Quorate", "Progressing", "Degraded", "Paused"]
ConditionStatus = Literal["True", "False", "Unknown"]
Phase = Literal["Forming", "Ready", "Updating", "Degraded", "Unavailable", "Paused", "Deleting"]
Role = Literal["leader", "voter", "learner", "outgoing"]
Lag = Literal["none", "catching_up", "stuck"]


class ResourceError(ValueError):
    """An object that can't be read: the message names it, the field, and what is allowed."""


class Condition(Model):
    """One aspect of the group's state, as Kubernetes' own conditions are."""

    type: ConditionType
    """Which aspect."""

    status: ConditionStatus
    """Whether it holds."""

    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, in one CamelCase word."""

    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, in a sentence, and what to do if something is to be done."""

    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the status last changed."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that it speaks of."""


class MemberStatus(Model):
    """A member of the group's committed configuration."""

    name: Annotated[str, Field(max_length=63)]
    """The name of its pod."""

    id: Annotated[str, Field(max_length=20, pattern="^[0-9]{1,20}$")]
    """The id that it drew with its directory; another id is another member."""

    role: Role
    """leader, voter, learner, or outgoing: a voter until the change under way is complete."""

    lag: Lag
    """none, catching_up, or stuck: it gets no nearer to the leader."""

    version: Annotated[str, Field(max_length=64)] = ""
    """The version of the program that it runs; empty where it isn't known."""

    zone: Annotated[str, Field(max_length=63)] = ""
    """The zone of its node; empty where it isn't known."""


class Status(Model):
    """What the group is. There is no log index in it: it is written only when something changed."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that the operator last acted on."""

    phase: Phase | None = None
    """The state of the group in a word."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), ListMap("type")] = ()
    """Ready, Quorate, Progressing, Degraded and Paused, each with its reason."""

    leader: Annotated[str, Field(max_length=63)] | None = None
    """The name of the member that leads; absent where none is known."""

    term: Annotated[int, Field(ge=0)] | None = None
    """The Raft term of that leader."""

    members: Annotated[tuple[MemberStatus, ...], Field(max_length=32), ListMap("name", "id")] = ()
    """The members of the committed configuration. While one takes the place of another, both have the pod's name."""

    ready: Annotated[str, Field(max_length=16)] | None = None
    """How many voters are ready, of how many that are wanted: 2/3."""

    replicas: Annotated[int, Field(ge=0)] | None = None
    """How many pods there are; kubectl scale reads it."""

    selector: Annotated[str, Field(max_length=512)] | None = None
    """The label selector of the pods; kubectl scale and autoscalers read it."""

    pairs: Annotated[int, Field(ge=0)] | None = None
    """How many pairs the book has."""

    version: Annotated[int, Field(ge=0)] | None = None
    """The version of the state machine's rules that the group follows."""

    incarnation: Annotated[str, Field(max_length=32, pattern="^[0-9a-f]{32}$")] | None = None
    """The life of the group: another one after the recovery of a lost majority."""

    failed_template: Annotated[str, Field(max_length=128)] | None = None
    """The hash of a rendering of the pods whose roll was stopped; it is not tried again until the spec changes."""

    def to_dict(self) -> dict[str, Any]:
        """For a merge patch of the status subresource: every field, null for what is absent."""
        document = self.model_dump(mode="json", exclude_none=True)
        aliases = (field.alias or name for name, field in type(self).model_fields.items())
        return {alias: document.get(alias) for alias in aliases}

    def condition(self, type: ConditionType) -> Condition | None:
        return next((condition for condition in self.conditions if condition.type == type), None)


class OwnerReference(Model):
    """Another object that this one belongs to."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class Metadata(Model):
    """What the operator reads of an object's metadata. Times are RFC 3339 as the API server writes them."""

    name: str
    namespace: str
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()


class OrderBookGroup(Model):
    """A replicated limit order book: members that match orders by price and time, and agree on each through Raft."""

    metadata: Metadata
    spec: Spec
    status: Status = Field(default_factory=Status)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def annotations(self) -> dict[str, str]:
        return self.metadata.annotations

    @property
    def is_being_deleted(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @classmethod
    def from_object(cls, raw: Mapping[str, Any], *, strict: bool = False) -> Self:
        """Read what the API server sent. Raises ResourceError.

        Unless ``strict``, fields that another version of the CRD knew are left aside, and so is what another version of
        the operator said in the status. A spec that can't be read stops everything but its deletion: for that only
        ``storage`` counts, and where that can't be read volumes are retained.
        """
        metadata = raw.get("metadata") or {}
        who = f"{KIND} {metadata.get('namespace', '(no namespace)')}/{metadata.get('name', '(no name)')}"
        api_version = f"{API_GROUP}/{API_VERSION}"
        if (raw.get("apiVersion"), raw.get("kind")) != (api_version, KIND):
            raise ResourceError(f"{who}: is {raw.get('apiVersion')} {raw.get('kind')}, not {api_version} {KIND}")
        parts = {part: raw[part] for part in ("spec", "status") if raw.get(part) is not None}
        try:
            read = Metadata.model_validate(metadata, extra="ignore")
            if not strict:
                parts["status"] = _status_that_is_understood(parts.get("status"))
                if read.deletion_timestamp is not None:
                    parts["spec"] = _spec_for_teardown(parts.get("spec"))
            return cls.model_validate({"metadata": read, **parts}, extra="forbid" if strict else "ignore")
        except ValidationError as error:
            raise ResourceError(f"{who}: " + "; ".join(_sentence(problem) for problem in error.errors())) from error


def _status_that_is_understood(status: Any) -> Status:
    try:
        return Status.model_validate(status or {}, extra="ignore")
    except ValidationError as error:
        strange = {problem["loc"][0] for problem in error.errors() if problem["loc"]}
        known = status.items() if isinstance(status, Mapping) else ()
        rest = {name: value for name, value in known if name not in strange}
        return _status_that_is_understood(rest) if strange and len(rest) < len(known) else Status()


def _spec_for_teardown(spec: Any) -> Spec:
    try:
        return Spec.model_validate(spec, extra="ignore")
    except ValidationError:
        try:
            return Spec(storage=Storage.model_validate(spec["storage"], extra="ignore"))
        except (ValidationError, KeyError, TypeError):
            return Spec()


def _sentence(problem: Mapping[str, Any]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).removeprefix(".")
    if problem["type"] == "extra_forbidden":
        return f"{path} is no field of an {KIND}"
    if problem["type"] == "missing":
        return f"{path} is missing"
    if problem["type"] == "rule":
        return f"{path}: {problem['msg']}"
    return f"{path} = {problem['input']!r}: {problem['msg']}"

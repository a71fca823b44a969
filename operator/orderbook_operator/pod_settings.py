"""What a user may say about the pods: where they run, what they carry. Typed, and nothing that gives privilege.

The operator makes pods with rights of its own, so a field here must never let somebody who may only write an
``OrderBookGroup`` reach a Secret, a host path, another service account or a container of his own choice.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from orderbook_operator.model import ATOMIC_LIST, ATOMIC_MAP, Checked, ListMap, Model, Rule
from orderbook_operator.scalars import Quantity, QuantityFrom, TextLike, quantities

RESERVED_ENVIRONMENT = "ORDERBOOK_"
RESERVED_LABELS = (
    "orderbook.dev/",
    "app.kubernetes.io/",
    "kubernetes.io/",
    "statefulset.kubernetes.io/",
    "apps.kubernetes.io/",
)
RESERVED_ANNOTATIONS = ("orderbook.dev/", "kubectl.kubernetes.io/")
CONTROLLER_LABELS = ("controller-revision-hash", "pod-template-hash")

_SEGMENT = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LONGEST_KEY = 317
_KEY_WORDS = "at most 63 letters, digits, '-', '_' and '.', after an optional DNS prefix and '/'"
_KEY = f"^([a-z0-9][-a-z0-9.]{{0,251}}[a-z0-9]/|[a-z0-9]/)?{_SEGMENT}$"

LabelValue = Annotated[
    str,
    TextLike(
        f"^({_SEGMENT})?$",
        63,
        "must be a label's value: at most 63 letters, digits, '-', '_' and '.', an alphanumeric at both ends",
    ),
]
LabelKey = Annotated[str, TextLike(_KEY, _LONGEST_KEY, f"must be a label's key: {_KEY_WORDS}")]
ObjectName = Annotated[
    str,
    TextLike(
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        253,
        "must be an object's name: at most 253 lower-case letters, digits, '-' and '.'",
    ),
]


def _keys(message: str) -> Checked:
    """Every key of a map is a label's or annotation's."""
    return Checked(
        Rule(
            f"self.all(k, size(k) <= {_LONGEST_KEY} && k.matches('{_KEY}'))",
            message,
            lambda entries: all(len(key) <= _LONGEST_KEY and re.fullmatch(_KEY, key) for key in entries),
        )
    )


def reserved(what: str, prefixes: tuple[str, ...], names: tuple[str, ...] = ()) -> Checked:
    """No key of a map is the operator's, or one that Kubernetes itself sets."""
    free = [*(f"!k.startsWith('{prefix}')" for prefix in prefixes), *(f"k != '{name}'" for name in names)]
    words = ", ".join([*(f"{prefix}*" for prefix in prefixes), *names])
    return Checked(
        Rule(
            f"self.all(k, {' && '.join(free)})",
            f"{what} must not take the operator's and Kubernetes' own keys: {words}",
            lambda entries: not any(key.startswith(prefixes) or key in names for key in entries),
        )
    )


Labels = Annotated[
    dict[str, LabelValue],
    Field(max_length=32),
    _keys(f"labels must have keys of {_KEY_WORDS}"),
]
Annotations = Annotated[
    dict[str, Annotated[str, Field(max_length=4096)]],
    Field(max_length=32),
    _keys(f"annotations must have keys of {_KEY_WORDS}"),
]
Weight = Annotated[int, Field(ge=1, le=100)]


class EnvironmentVariable(Model):
    """A variable of the node's container; a literal value, never a reference."""

    name: Annotated[
        str,
        TextLike("^[A-Za-z_][A-Za-z0-9_]*$", 128, "must be a variable's name: letters, digits and '_', no digit first"),
    ]
    """The variable's name. Names that start with ORDERBOOK_ are the operator's."""

    value: Annotated[str, Field(max_length=4096)] = ""
    """The variable's value, taken literally."""

    rules = (
        Rule(
            f"!self.name.startsWith('{RESERVED_ENVIRONMENT}')",
            f"env must not set names that start with {RESERVED_ENVIRONMENT}: they come from other fields",
            lambda variable: not variable.name.startswith(RESERVED_ENVIRONMENT),
            ".name",
        ),
    )


class PodSettings(Model):
    """Metadata and environment of the pods. A change rolls the group."""

    labels: Annotated[Labels, reserved("labels", RESERVED_LABELS, CONTROLLER_LABELS)] = Field(default_factory=dict)
    """Labels that the pods carry beside the operator's own."""

    annotations: Annotated[Annotations, reserved("annotations", RESERVED_ANNOTATIONS)] = Field(default_factory=dict)
    """Annotations that the pods carry beside the operator's own."""

    env: Annotated[tuple[EnvironmentVariable, ...], Field(max_length=64), ListMap("name")] = ()
    """Environment variables of the node's container, for example of a tracing agent."""


class Toleration(Model):
    """Lets the pods onto nodes that carry a matching taint."""

    key: Annotated[str, Field(max_length=_LONGEST_KEY)] = ""
    """The taint's key; empty, with operator Exists, is every taint."""

    operator: Literal["Exists", "Equal"] = "Equal"
    """Exists asks for the key alone, Equal for key and value."""

    value: LabelValue = ""
    """The taint's value, with operator Equal."""

    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; left out, all of them."""

    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """For how many seconds a NoExecute taint is tolerated; left out, for ever."""

    rules = (
        Rule(
            "self.operator == 'Equal' || !has(self.value) || self.value == ''",
            "value must be empty with operator Exists, which asks for the key alone",
            lambda toleration: toleration.operator == "Equal" or not toleration.value,
            ".value",
        ),
        Rule(
            "self.operator == 'Exists' || (has(self.key) && self.key != '')",
            "key must be given with operator Equal; operator Exists without a key tolerates every taint",
            lambda toleration: toleration.operator == "Exists" or bool(toleration.key),
            ".key",
        ),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds must come with effect NoExecute: the other effects never evict",
            lambda toleration: toleration.toleration_seconds is None or toleration.effect == "NoExecute",
            ".tolerationSeconds",
        ),
    )


class SelectorRequirement(Model):
    """One condition on a label."""

    key: LabelKey
    """The label's key."""

    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared with the values."""

    values: Annotated[tuple[LabelValue, ...], Field(max_length=32, json_schema_extra=ATOMIC_LIST)] = ()
    """The values of In and NotIn; none for the others."""

    rules = (
        Rule(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "values must be given with In and NotIn, and left out with Exists and DoesNotExist",
            lambda requirement: (requirement.operator in ("In", "NotIn")) == bool(requirement.values),
            ".values",
        ),
    )


class LabelSelector(Model):
    """Chooses objects by their labels; an empty one chooses all."""

    match_labels: Labels = Field(default_factory=dict)
    """Labels that an object must have, with these values."""

    match_expressions: Annotated[
        tuple[SelectorRequirement, ...], Field(max_length=8, json_schema_extra=ATOMIC_LIST)
    ] = ()
    """Further conditions; all must hold."""


def _has_fitting_values(requirement: NodeRequirement) -> bool:
    values = requirement.values
    if requirement.operator in ("In", "NotIn"):
        return bool(values)
    if requirement.operator in ("Gt", "Lt"):
        return len(values) == 1 and values[0].removeprefix("-").isdecimal()
    return not values


class NodeRequirement(Model):
    """One condition on a label, or field, of a node."""

    key: LabelKey
    """The label's key."""

    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How the label is compared with the values; Gt and Lt compare integers."""

    values: Annotated[tuple[LabelValue, ...], Field(max_length=32, json_schema_extra=ATOMIC_LIST)] = ()
    """The values of In and NotIn, the one integer of Gt and Lt; none for the others."""

    rules = (
        Rule(
            "self.operator in ['Exists', 'DoesNotExist'] ? !has(self.values) || size(self.values) == 0"
            " : has(self.values) && (self.operator in ['In', 'NotIn'] ? size(self.values) > 0"
            " : size(self.values) == 1 && self.values.all(v, v.matches('^-?[0-9]{1,18}$')))",
            "values must be given with In and NotIn, be one integer with Gt and Lt, and be left out otherwise",
            _has_fitting_values,
            ".values",
        ),
    )


class NodeSelectorTerm(Model):
    """Conditions on a node; all must hold."""

    match_expressions: Annotated[
        tuple[NodeRequirement, ...], Field(min_length=1, max_length=8, json_schema_extra=ATOMIC_LIST)
    ]
    """Conditions on the node's labels."""


class PreferredNode(Model):
    """A preference for nodes, with its weight."""

    weight: Weight
    """1 to 100: how much a node that fits gains over one that doesn't."""

    preference: NodeSelectorTerm
    """Which nodes are preferred."""


class NodeSelector(Model):
    """Terms of which a node must fit one."""

    node_selector_terms: Annotated[
        tuple[NodeSelectorTerm, ...], Field(min_length=1, max_length=8, json_schema_extra=ATOMIC_LIST)
    ]
    """The terms; a node must fit at least one."""


class NodeAffinity(Model):
    """On which nodes the pods may, or should, run."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """Pods run only on nodes that fit."""

    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredNode, ...], Field(max_length=8, json_schema_extra=ATOMIC_LIST)
    ] = ()
    """Pods run on these nodes where that is possible."""


class PodAffinityTerm(Model):
    """Other pods, and the domain in which to be with them or without them."""

    topology_key: LabelKey
    """The node label whose values are the domains, such as kubernetes.io/hostname."""

    label_selector: LabelSelector | None = None
    """Which pods are meant, by their labels."""

    namespace_selector: LabelSelector | None = None
    """In which namespaces those pods are, by the namespaces' labels; left out, the group's own."""

    namespaces: Annotated[tuple[ObjectName, ...], Field(max_length=8, json_schema_extra=ATOMIC_LIST)] = ()
    """In which namespaces those pods are, by name."""


class WeightedPodAffinityTerm(Model):
    """A preference about other pods, with its weight."""

    weight: Weight
    """1 to 100: how much a node that fits gains over one that doesn't."""

    pod_affinity_term: PodAffinityTerm
    """Which pods, and in which domain."""


class PodAffinity(Model):
    """Which other pods the pods must, or should, run beside, or apart from."""

    required_during_scheduling_ignored_during_execution: Annotated[
        tuple[PodAffinityTerm, ...], Field(max_length=8, json_schema_extra=ATOMIC_LIST)
    ] = ()
    """Terms that must hold for a pod to be placed."""

    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[WeightedPodAffinityTerm, ...], Field(max_length=8, json_schema_extra=ATOMIC_LIST)
    ] = ()
    """Terms that are heeded where that is possible."""


class Affinity(Model):
    """Rules of placement beside the spread over zones and nodes."""

    node_affinity: NodeAffinity | None = None
    """On which nodes the pods may, or should, run."""

    pod_affinity: PodAffinity | None = None
    """Which other pods the group's pods must, or should, run beside."""

    pod_anti_affinity: PodAffinity | None = None
    """Which other pods the group's pods must, or should, be kept apart from."""


class TopologySpread(Model):
    """How evenly the members lie over the domains of a topology. The operator selects the group's own pods."""

    topology_key: LabelKey
    """The node label whose values are the domains, such as topology.kubernetes.io/zone."""

    max_skew: Annotated[int, Field(ge=1, le=7)] = 1
    """By how many members two domains may differ."""

    when_unsatisfiable: Literal["ScheduleAnyway", "DoNotSchedule"] = "ScheduleAnyway"
    """ScheduleAnyway places a pod as evenly as possible, DoNotSchedule leaves it pending."""


class Scheduling(Model):
    """Where the pods run. A change rolls the group."""

    node_selector: Labels = Field(default_factory=dict, json_schema_extra=ATOMIC_MAP)
    """Labels that a node must have, with these values."""

    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16, json_schema_extra=ATOMIC_LIST)] = ()
    """Taints of nodes that the pods tolerate."""

    affinity: Affinity | None = None
    """Further rules of placement; none by default."""

    topology_spread: Annotated[tuple[TopologySpread, ...], Field(max_length=8), ListMap("topology_key")] = (
        TopologySpread(topology_key="topology.kubernetes.io/zone"),
        TopologySpread(topology_key="kubernetes.io/hostname"),
    )
    """How the members are spread, first over zones, then over nodes, so that a loss takes few. By default a
    preference: a cluster of one node can run a group too. DoNotSchedule makes it a demand."""

    priority_class_name: ObjectName | None = None
    """The PriorityClass of the pods."""


class ResourceAmounts(Model):
    """Amounts of CPU and memory."""

    cpu: Annotated[Quantity, QuantityFrom("1m", "1024", "500m or 2")] | None = None
    """Cores of CPU."""

    memory: Annotated[Quantity, QuantityFrom("64Mi", "16Ti", "2Gi")] | None = None
    """Bytes of memory."""


class ResourceRequests(ResourceAmounts):
    """What the scheduler sets aside for a pod."""

    cpu: Annotated[Quantity, QuantityFrom("1m", "1024", "500m or 2")] = Quantity("100m")
    """Cores of CPU."""

    memory: Annotated[Quantity, QuantityFrom("64Mi", "16Ti", "2Gi")] = Quantity("256Mi")
    """Bytes of memory."""


def _at_most(name: str) -> Rule:
    amount = f"quantity(string(self.requests.{name})).compareTo(quantity(string(self.limits.{name})))"

    def holds(resources: Resources) -> bool:
        limit: Quantity | None = getattr(resources.limits, name)
        request: Quantity = getattr(resources.requests, name)
        return limit is None or request.number <= limit.number

    return Rule(
        f"!has(self.limits) || !has(self.limits.{name})"
        f" || !({quantities(f'self.limits.{name}', f'self.requests.{name}')}) || {amount} <= 0",
        f"requests.{name} must not be more than limits.{name}; lower the one, or raise the other",
        holds,
        f".requests.{name}",
    )


class Resources(Model):
    """CPU and memory of each pod. A change rolls the group."""

    requests: ResourceRequests = ResourceRequests()
    """What the scheduler sets aside for a pod."""

    limits: ResourceAmounts = ResourceAmounts()
    """What a pod may use at most; without a limit, as much as its node has. A node that reaches its memory limit is
    killed, so leave room for the book, the retained events and twice the size of a snapshot."""

    rules = (_at_most("cpu"), _at_most("memory"))

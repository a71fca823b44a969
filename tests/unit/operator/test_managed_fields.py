"""Fields that others set become ours, so that an apply can remove them."""

from __future__ import annotations

from typing import Any

from orderbook_operator.managed_fields import reclaimed
from orderbook_operator.names import FIELD_MANAGER


def entry(manager: str, fields: dict[str, Any], operation: str = "Update", subresource: str = "") -> dict[str, Any]:
    below = {"subresource": subresource} if subresource else {}
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields, **below}


def ours(fields: dict[str, Any]) -> dict[str, Any]:
    own = {"manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": "v1"}
    return {**own, "fieldsType": "FieldsV1", "fieldsV1": fields}


def test_fields_of_a_post_of_ours_become_applied_ones() -> None:
    fields = {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}
    assert reclaimed([entry(FIELD_MANAGER, fields)], "v1") == [ours(fields)]


def test_what_somebody_else_put_into_the_spec_is_joined_with_ours() -> None:
    applied = entry(FIELD_MANAGER, {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {}}}}, "Apply")
    edited = entry("kubectl-edit", {"f:spec": {"f:template": {"f:spec": {"f:hostNetwork": {}}}, "f:paused": {}}})
    joined = {"f:replicas": {}, "f:template": {"f:spec": {"f:hostNetwork": {}}}, "f:paused": {}}
    assert reclaimed([applied, edited], "v1") == [ours({"f:spec": joined})]


def test_what_an_autoscaler_wrote_through_a_subresource_is_reclaimed_too() -> None:
    scaled = entry("autoscaler", {"f:spec": {"f:replicas": {}}}, subresource="scale")
    assert reclaimed([scaled], "v1") == [ours({"f:spec": {"f:replicas": {}}})]


def test_reports_of_status_and_notes_of_others_stay_theirs() -> None:
    status = entry("kube-controller-manager", {"f:status": {"f:replicas": {}}}, subresource="status")
    note = entry("kubectl-annotate", {"f:metadata": {"f:annotations": {"f:team": {}}}})
    assert reclaimed([status, note], "v1") == [status, note]
    fields = {"f:spec": {"f:replicas": {}}}
    assert reclaimed([entry(FIELD_MANAGER, fields, "Apply"), status, note], "v1") == [ours(fields), status, note]


def test_the_entries_that_were_given_are_left_as_they_are() -> None:
    first = entry(FIELD_MANAGER, {"f:spec": {"f:a": {}}}, "Apply")
    second = entry("kubectl-edit", {"f:spec": {"f:b": {}}})
    reclaimed([first, second], "v1")
    assert first["fieldsV1"] == {"f:spec": {"f:a": {}}}

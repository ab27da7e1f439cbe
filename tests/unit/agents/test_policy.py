from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seatrial.agents.policy import Policy, overlay, parse_seconds, parse_size, widening
from seatrial.errors import PolicyError


def test_the_default_opens_nothing() -> None:
    policy = Policy()
    assert not (policy.files.read or policy.files.write or policy.network.hosts or policy.devices.allow or policy.spawn)


def test_a_policy_survives_json() -> None:
    policy = Policy.from_dict(
        {
            "files": {"read": ["/opt/x", "~/y"]},
            "network": {"hosts": ["example.org"]},
            "limits": {"memory": "512MiB", "cpus": 1.5, "seconds": "2h"},
            "environment": {"set": {"A": "1"}, "take": ["EDITOR"]},
            "spawn": 2,
        }
    )
    assert (policy.limits.memory, policy.limits.seconds) == (512 << 20, 7200)
    assert Policy.from_dict(policy.as_dict()) == policy


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"file": {}}, "file"),
        ({"files": {"reads": []}}, "reads"),
        ({"files": []}, "table"),
        ({"files": {"read": "/x"}}, "list"),
        ({"files": {"read": ["/"]}}, "as a whole"),
        ({"files": {"read": ["~"]}}, "absolute"),
        ({"files": {"read": ["relative"]}}, "absolute"),
        ({"files": {"write": ["/opt/../etc"]}}, "absolute"),
        ({"files": {"read": ["/workspace"]}}, "of its own"),
        ({"files": {"read": ["/run/seatrial/bin"]}}, "of its own"),
        ({"limits": {"memory": "lots"}}, "512MiB"),
        ({"limits": {"pids": True}}, "512MiB"),
        ({"limits": {"cpus": "2"}}, "number"),
        ({"limits": {"seconds": -1}}, "30m"),
        ({"devices": {"allow": ["/etc/passwd"]}}, "/dev"),
        ({"devices": {"allow": ["/dev/../etc"]}}, "/dev"),
        ({"environment": {"take": ["AWS_SECRET_ACCESS_KEY"]}}, "secret"),
        ({"environment": {"set": {"A B": "x"}}}, "variable"),
        ({"environment": {"set": {"A": "x\0y"}}}, "text"),
        ({"spawn": "many"}, "whole"),
    ],
)
def test_what_is_not_a_policy_is_refused_by_name(values: dict[str, object], names: str) -> None:
    with pytest.raises(PolicyError, match=names):
        Policy.from_dict(values, "here")


def test_layers_replace_lists_and_merge_variables() -> None:
    base = Policy.from_dict({"network": {"hosts": ["a.org"]}, "environment": {"set": {"A": "1", "B": "1"}}})
    over = overlay(base, {"network": {"hosts": ["b.org"]}, "environment": {"set": {"B": "2"}}}, "above")
    assert over.network.hosts == ("b.org",)
    assert over.environment.set == {"A": "1", "B": "2"}


def test_fields_that_open_the_sandbox_are_known() -> None:
    opening = {"files": {"read": ["/x"], "include": [".env"]}, "network": {"hosts": ["a"]}, "spawn": 1}
    assert widening(opening) == ["files.read", "files.include", "network.hosts", "spawn"]
    assert widening({"limits": {"pids": 10, "memory": "64GiB", "disk": 0}}) == ["limits.memory", "limits.disk"]
    assert widening({"network": {"hosts": []}, "limits": {"seconds": "1h"}}) == []


@given(st.integers(0, 10**9), st.sampled_from(["", "KiB", "k", "MiB", "Gi"]))
def test_sizes(number: int, unit: str) -> None:
    factor = {"": 1, "KiB": 2**10, "k": 10**3, "MiB": 2**20, "Gi": 2**30}[unit]
    assert parse_size(f"{number}{unit}") == number * factor


@given(st.text(max_size=12))
def test_sizes_and_times_take_a_number_or_raise(text: str) -> None:
    for parse in (parse_size, parse_seconds):
        try:
            assert parse(text) >= 0
        except PolicyError:
            continue

"""Which hosts and addresses are let through."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from seatrial.agents.gateway.addresses import ForbiddenTarget, Network, UnknownName, literal, refusal_of
from seatrial.agents.gateway.hosts import AllowList, canonical, local_services, presets
from seatrial.errors import PolicyError


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
        "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
        "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.251", "239.1.1.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::127.0.0.1",
        "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:53aa:64c::1",
        "2001:db8::1", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "3fff::1", "fc00::1", "fd00:ec2::254", "fd12::1",
        "fe80::1", "febf::1", "fec0::1", "ff02::1", "5f00::1",
    ],
)  # fmt: skip
def test_addresses_that_are_refused(address: str) -> None:
    assert refusal_of(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1", "2a00:1450:4001::1", "172.32.0.1"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert refusal_of(ipaddress.ip_address(address)) == ""


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "0x7f000001", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1", "017700000001", "127.0.0.01", "0",
        "1.2.3.4.5", "0x7f.0.0.1", "127.0.0.1.", "1.1", "999.1.1.1", "[fe80::1%eth0]", "[::1", "::1::", "0X7F.1",
    ],
)  # fmt: skip
def test_odd_spellings_of_addresses_are_refused(host: str) -> None:
    with pytest.raises(ForbiddenTarget):
        literal(host)


@pytest.mark.parametrize("host", ["example.com", "1password.com", "a.0x7f.example", "xn--bcher-kva.example"])
def test_names_are_no_addresses(host: str) -> None:
    assert literal(host) is None


@pytest.mark.parametrize(
    "entry",
    [
        "*", "*.com", "*.co.uk", "*.github.io", "*.amazonaws.com", "com", "localhost", "foo.localhost", "127.0.0.1",
        "10.0.0.1", "169.254.169.254", "[::1]", "metadata.google.internal", "db.internal", "printer.local", "a.*.com",
        "*pypi.org", "pypi.org:0", "pypi.org:99999", "pypi.org:x", "https://pypi.org", "pypi.org/simple", "a b.org", "",
        "user@pypi.org", "preset:nothing", "2130706433", "0x7f.1", "*.8.8.8.8", "pypi..org", ".pypi.org",
    ],
)  # fmt: skip
def test_patterns_that_are_refused(entry: str) -> None:
    with pytest.raises(PolicyError):
        AllowList((entry,))


def test_patterns_that_are_allowed() -> None:
    allowed = AllowList(("pypi.org", "*.npmjs.org", "git.example.com:8443", "8.8.8.8", "preset:go"))
    for host, port in [
        ("pypi.org", 443), ("pypi.org", 80), ("registry.npmjs.org", 443), ("a.b.npmjs.org", 443),
        ("git.example.com", 8443), ("8.8.8.8", 443), ("proxy.golang.org", 443),
    ]:  # fmt: skip
        assert allowed.allows(host, port)
    for host, port in [
        ("npmjs.org", 443), ("evilnpmjs.org", 443), ("pypi.org.evil.com", 443), ("sub.pypi.org", 443),
        ("pypi.org", 22), ("git.example.com", 443), ("8.8.4.4", 443), ("golang.org", 443),
    ]:  # fmt: skip
        assert not allowed.allows(host, port)


def test_every_preset_is_a_proper_list() -> None:
    assert {"pypi", "npm", "debian", "github", "crates", "go"} <= set(presets())
    for name, hosts in presets().items():
        assert AllowList((f"preset:{name}",)).allows(hosts[0], 443)


def test_names_have_one_spelling() -> None:
    assert canonical("PyPI.org.") == "pypi.org"
    assert canonical("bücher.example") == "xn--bcher-kva.example"
    assert canonical("ｐｙｐｉ.org") == "pypi.org"
    for odd in ("", ".", "a..b", "a b", "-a.org", "a" * 64 + ".org", "a\x00.org", "a\n.org", "a/../b"):
        with pytest.raises(ValueError):
            canonical(odd)


def test_local_services() -> None:
    assert local_services(("127.0.0.1:5432", "[::1]:6379")) == {("127.0.0.1", 5432), ("::1", 6379)}
    for entry in ("10.0.0.1:5432", "127.0.0.1", "127.0.0.1:0", "5432", "127.0.0.2:1"):
        with pytest.raises(PolicyError):
            local_services((entry,))


@pytest.mark.parametrize(
    "answer",
    [
        ["169.254.169.254"],
        ["93.184.216.34", "10.0.0.1"],
        ["fd00:ec2::254"],
        ["fe80::1%eth0"],
        ["::ffff:10.0.0.1"],
        ["nonsense"],
    ],
)
def test_one_forbidden_address_among_others_is_enough(answer: list[str]) -> None:
    with pytest.raises(ForbiddenTarget):
        asyncio.run(Network(resolve=lambda host: answer).public_addresses("listed.example"))


@pytest.mark.parametrize("name", ["metadata.google.internal", "METADATA.google.internal.", "metadata"])
def test_metadata_services_are_refused_by_name(name: str) -> None:
    with pytest.raises(ForbiddenTarget, match="metadata"):
        asyncio.run(Network(resolve=lambda host: ["93.184.216.34"]).public_addresses(name))


def test_a_name_without_addresses() -> None:
    with pytest.raises(UnknownName):
        asyncio.run(Network(resolve=lambda host: []).public_addresses("listed.example"))

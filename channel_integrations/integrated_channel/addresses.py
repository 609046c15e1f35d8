# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which URLs and addresses may be dialled: public https, nothing inside."""

import ipaddress
from urllib.parse import urlsplit

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import AddressRefused

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL_LENGTH = 500
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")

#: listed, since the ``is_global`` of older CPython releases (3.11.7, 3.12.1) lets some of these pass
REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; 100.100.100.200 serves metadata in one cloud
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; cloud metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",  # unspecified, loopback, IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b:1::/48",  # local-use NAT64
        "100::/64",
        "2001::/23",  # Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def check_url(url: str) -> None:
    """
    Refuse a URL that is not a plain https endpoint with a host name or a public address.

    :raises AddressRefused: the text says what to type instead, and never repeats the URL
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").lower()
    except ValueError as err:
        raise AddressRefused("The URL cannot be read. Type for example https://partner.example.com/webhooks.") from err
    development = conf.allow_private_addresses()
    if parts.scheme != "https" and not (development and parts.scheme == "http"):
        raise AddressRefused("The URL must begin with https://.")
    if not host or len(url) > MAX_URL_LENGTH or any(ord(character) <= 32 for character in url):
        raise AddressRefused(f"The URL must name a host, hold no spaces and have {MAX_URL_LENGTH} characters at most.")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("The URL must not hold a user name or a password.")
    if parts.fragment or "\\" in url:
        raise AddressRefused("The URL must hold neither a # fragment nor a backslash.")
    if development:
        return
    if port not in (None, 443) and port < 1024:
        raise AddressRefused("The port must be 443, or 1024 or above.")
    _check_host(host)


def _check_host(host: str) -> None:
    if host == "localhost" or host.endswith((".", *PRIVATE_SUFFIXES)):
        raise AddressRefused("The URL must name a public host, without a dot at its end.")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if _looks_numeric(host):
            raise AddressRefused("Write an IP address in its usual form, or better a host name.") from None
        if "." not in host:
            raise AddressRefused("The URL must name a public host, such as partner.example.com.") from None
        return
    check_address(address)


def _looks_numeric(host: str) -> bool:
    """Decimal, octal and hexadecimal forms that resolvers read as an IPv4 address (127.1, 0x7f.1, 2130706433)."""
    last = host.rsplit(".", 1)[-1]
    return last.isdigit() or last.startswith("0x")


def check_address(address: IPAddress) -> None:
    """
    Refuse an address that is not globally routable unicast, or that carries such an IPv4 address in it.

    :raises AddressRefused: without the address, which would tell a stranger what is inside
    """
    if conf.allow_private_addresses():
        return
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            raise AddressRefused("The host has an address that is not public.")
        embedded = address.ipv4_mapped or (_low_ipv4(address) if address in NAT64 else None)
        if embedded is not None:
            address = embedded
    refused = any(address in network for network in REFUSED_NETWORKS if network.version == address.version)
    if refused or not address.is_global or address.is_multicast:
        raise AddressRefused("The host has an address that is not public.")


def _low_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)

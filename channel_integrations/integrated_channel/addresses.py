# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which URLs and addresses may be dialled: public https, nothing inside."""

import ipaddress
import re
from urllib.parse import urlsplit

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import AddressRefused

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL_LENGTH = 500
HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\Z")
PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")

#: listed, since the ``is_global`` of older CPython releases (3.11.7, 3.12.1) lets some of these pass
REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; 100.100.100.200 serves metadata in one cloud
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by its number, but inside Azure the host that serves the machine its secrets
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
        "2001::/23",  # Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
#: All that is given out as public unicast. Outside of it lie loopback, link-local, site-local and unique local
#: addresses, multicast, and the forms that carry an IPv4 address (IPv4-compatible, IPv4-translated, local NAT64).
PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
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
        url.encode()
    except ValueError as err:
        raise AddressRefused("The URL cannot be read. Type for example https://partner.example.com/webhooks.") from err
    development = conf.allow_private_addresses()
    if parts.scheme != "https" and not (development and parts.scheme == "http"):
        raise AddressRefused("The URL must begin with https://.")
    if not host or len(url) > MAX_URL_LENGTH or any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise AddressRefused(f"The URL must name a host, hold no spaces and have {MAX_URL_LENGTH} characters at most.")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("The URL must not hold a user name or a password.")
    if "#" in url or "\\" in url:
        raise AddressRefused("The URL must hold neither a # fragment nor a backslash.")
    if "[" in parts.netloc and ":" not in host:
        raise AddressRefused("Write an IP address in its usual form, or better a host name.")
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
        if not HOST_NAME.match(host):
            # requests and the resolver fold other alphabets differently: 127.0.0.1 can be written in circled digits.
            raise AddressRefused("Write the host in letters a to z, digits and hyphens (an IDN as xn--...).") from None
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
    unassigned = address.version == 6 and address not in PUBLIC_IPV6
    if refused or unassigned or not address.is_global:
        raise AddressRefused("The host has an address that is not public.")


def _low_ipv4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)

# SPDX-License-Identifier: AGPL-3.0-or-later
"""The targets that must not be dialled, and that public ones may."""

import ipaddress

import pytest

from channel_integrations.integrated_channel.addresses import REFUSED_NETWORKS, check_address, check_url
from channel_integrations.integrated_channel.exceptions import AddressRefused

HOSTILE_URLS = [
    "http://partner.example.com/", "ftp://partner.example.com/", "file:///etc/passwd", "gopher://partner.example.com/",
    "https://", "https:///path", "", "partner.example.com", "//partner.example.com/", "javascript:alert(1)",
    "https://user@partner.example.com/", "https://user:pw@partner.example.com/", "https://partner.example.com@evil.com/",
    "https://partner.example.com/#x", "https://partner.example.com\\@evil.com/", "https://partner.example.com/ x",
    "https://partner.example.com/\r\nHost: x", "https://partner.example.com:22/", "https://partner.example.com:25/",
    "https://partner.example.com:80/", "https://partner.example.com:0/", "https://partner.example.com:99999/",
    "https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://x.localhost/", "https://printer.local/",
    "https://metadata.google.internal/", "https://intranet/", "https://partner.example.com./",
    "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/",
    "https://0x7f.0.0.1/", "https://127.0.0.1.:443/", "https://0/", "https://0.0.0.0/", "https://10.1.2.3/",
    "https://172.16.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data/", "https://100.64.0.1/",
    "https://100.100.100.200/", "https://192.0.0.1/", "https://192.0.2.1/", "https://192.88.99.1/", "https://198.18.0.1/",
    "https://198.51.100.1/", "https://203.0.113.1/", "https://224.0.0.1/", "https://240.0.0.1/", "https://255.255.255.255/",
    "https://[::1]/", "https://[::]/", "https://[::127.0.0.1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:0:7f00:1]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/", "https://[2001::1]/", "https://[2001:db8::1]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/",
    "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fec0::1]/", "https://[ff02::1]/", "https://[3fff::1]/",
    "https://168.63.129.16/machine", "https://[4000::1]/", "https://[::ffff:a9fe:a9fe]/", "https://[64:ff9b::a00:1]/",
    "https://partner.example.com/#", "https://partner.example.com/\x7f", "https://partner.example.com/\ud800",
    "https://①②⑦.⓪.⓪.①/", "https://１２７.０.０.１/", "https://bücher.example/", "https://127%2e0.0.1.example/",
    "https://a..example.com/", "https://-partner.example.com%00.evil.com/", "https://" + "a" * 64 + ".example.com/",
    "https://partner.example.com:443:80/", "https://partner.example.com:port/", "https://router.home.arpa/",
    "https://db.localdomain/", "https://0x7f.1/", "https://127.0.0.1%00.example.com/", "https://[::1%25lo]/",
    "https://[v1.x]/", "https://[8.8.8.8]/", "https://017700000001/", "https://192.168.257/", "https://1.2.3.4.5/",
    "https://[5f00::1]/", "https://[100::1]/", "https://[not-an-address]/", "https://" + "a" * 600 + ".com/",
    "https://[2606:4700::1111%25eth0]/",
]  # fmt: skip


def test_the_list_is_long_enough():
    assert len(set(HOSTILE_URLS)) >= 60


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_hostile_urls_are_refused_with_words_and_without_the_url(url):
    with pytest.raises(AddressRefused) as refusal:
        check_url(url)
    text = str(refusal.value)
    assert text.endswith(".") and "pw" not in text and "evil" not in text


def test_development_may_use_http_and_private_addresses_but_no_password_in_the_url(settings):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = True
    check_url("http://127.0.0.1:8000/hook")
    check_url("http://receiver/hook")
    check_address(ipaddress.ip_address("10.0.0.1"))
    for url in ("ftp://127.0.0.1/", "http://user:pw@127.0.0.1/", "http://127.0.0.1/ x"):
        with pytest.raises(AddressRefused):
            check_url(url)


@pytest.mark.parametrize("given", ["yes", 1, None])
def test_only_true_allows_private_addresses(settings, given):
    settings.CHANNEL_WEBHOOKS_ALLOW_PRIVATE_ADDRESSES = given
    with pytest.raises(AddressRefused):
        check_address(ipaddress.ip_address("10.0.0.1"))


@pytest.mark.parametrize(
    "network", [*REFUSED_NETWORKS, ipaddress.ip_network("fc00::/7"), ipaddress.ip_network("ff00::/8")]
)
def test_both_ends_of_a_refused_network_are_refused(network):
    for address in (network[0], network[-1]):
        with pytest.raises(AddressRefused) as refusal:
            check_address(address)
        assert str(address) not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://partner.example.com/hook?x=1",
        "https://partner.example.com:8443/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://PARTNER.example.com/",
        "https://xn--bcher-kva.example/",
        "https://web_hooks.4partners.example.com:1024/a;b?c=%20d",
    ],
)
def test_public_https_is_taken(url):
    check_url(url)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_taken(address):
    check_address(ipaddress.ip_address(address))

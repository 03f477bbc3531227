"""Public addresses alone: where a URL that a tenant gives may lead.

Such a URL is checked when it is stored, and again at each connection, by the addresses that are
connected to: a name may lead elsewhere the next time. ALLOW_PRIVATE_URLS=yes lifts both.
"""

import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from service.runtime import deadline
from service.runtime.config import settings
from service.runtime.deadline import Address

ANY_PORT = 443  # addresses are the same for each
RESOLVE_SECONDS = 2.0  # that the check of a URL waits for the addresses of its name
NOT_PUBLIC_4 = [
    IPv4Network('0.0.0.0/8'),  # this machine
    IPv4Network('10.0.0.0/8'),  # private
    IPv4Network('100.64.0.0/10'),  # shared, behind a provider's NAT
    IPv4Network('127.0.0.0/8'),  # loopback
    IPv4Network('168.63.129.16/32'),  # Azure's own services, as its machines see them
    IPv4Network('169.254.0.0/16'),  # link-local, where clouds tell machines their secrets
    IPv4Network('172.16.0.0/12'),  # private
    IPv4Network('192.0.0.0/24'),  # protocols
    IPv4Network('192.0.2.0/24'),  # examples
    IPv4Network('192.88.99.0/24'),  # 6to4
    IPv4Network('192.168.0.0/16'),  # private
    IPv4Network('198.18.0.0/15'),  # benchmarks
    IPv4Network('198.51.100.0/24'),  # examples
    IPv4Network('203.0.113.0/24'),  # examples
    IPv4Network('224.0.0.0/4'),  # multicast
    IPv4Network('240.0.0.0/4'),  # reserved, and broadcast
]
PUBLIC_6 = IPv6Network('2000::/3')
NOT_PUBLIC_6 = [  # of those
    IPv6Network('2001::/23'),  # protocols, Teredo
    IPv6Network('2001:db8::/32'),  # examples
    IPv6Network('2002::/16'),  # 6to4
    IPv6Network('3fff::/20'),  # examples
]
# An IPv4 address stands in the last 32 bits: mapped, and NAT64.
HOLD_IPV4 = [IPv6Network(network) for network in ('::ffff:0:0/96', '64:ff9b::/96')]
# Names that lead nowhere but to this machine or its network.
LOCAL_NAME = re.compile(
    r'(?:.*\.)?(?:localhost|localdomain|local|internal|intranet|lan|home\.arpa)'
)
# A name whose last part is a number is an address or nothing, for every browser.
NUMBER_LAST = re.compile(r'(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)')
NOT_PUBLIC = 'Must lead to a public address.'


class NotPublic(HTTPError):
    """A URL leads, or a connection would go, to an address that is not public."""

    def __init__(self, reason: str = NOT_PUBLIC) -> None:
        super().__init__(reason)


def is_public(address: str) -> bool:
    """Whether an IP address, as a resolver writes it, is one of the public Internet."""
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        if found.scope_id:
            return False
        if any(found in network for network in HOLD_IPV4):
            found = IPv4Address(int(found) & 0xFFFFFFFF)
    if isinstance(found, IPv4Address):
        return not any(found in network for network in NOT_PUBLIC_4)
    return found in PUBLIC_6 and not any(found in network for network in NOT_PUBLIC_6)


def check_url(url: str) -> None:
    """Raise NotPublic when a URL leads to an address that is not public.

    A name is resolved for that, within RESOLVE_SECONDS; hold no database connection meanwhile. One
    that has no address now is taken: each connection is checked.
    """
    if settings.ALLOW_PRIVATE_URLS:
        return
    host = _host_of(url)
    if address := _written_out(host):
        if not is_public(address):
            raise NotPublic
    elif '.' not in host or LOCAL_NAME.fullmatch(host) or NUMBER_LAST.fullmatch(host):
        raise NotPublic
    else:
        with suppress(OSError, UnicodeError), deadline.within(RESOLVE_SECONDS):
            check_addresses(deadline.resolve(host, ANY_PORT))


def check_addresses(addresses: Sequence[Address]) -> None:
    """Raise NotPublic when one of a resolver's addresses is not public."""
    if settings.ALLOW_PRIVATE_URLS:
        return
    if not all(is_public(address[0]) for *_, address in addresses):
        raise NotPublic


def pool_manager(**options: Any) -> urllib3.PoolManager:
    """The deadline.pool_manager() for URLs of tenants: its calls raise NotPublic.

    Redirects are not followed.
    """
    manager = deadline.pool_manager(**options)
    manager.pool_classes_by_scheme = {'http': _HTTPPool, 'https': _HTTPSPool}
    return manager


def _host_of(url: str) -> str:
    """The host as urllib3 will see it, in small letters, without brackets and dots at its end."""
    try:
        host = urllib3.util.parse_url(url).host
    except HTTPError:
        host = None
    if not host or '%' in host:  # a zone of a local network, or letters that are hidden
        raise NotPublic
    return host.lower().strip('[]').rstrip('.')


def _written_out(host: str) -> str | None:
    """The IP address that a host is, in its usual spelling; None for a name.

    Of IPv4 there are decimal, octal, hexadecimal and short spellings, which resolvers understand.
    """
    if ':' in host:
        return host
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


class _Checked(deadline.Timed):
    def check_addresses(self, addresses: Sequence[Address]) -> None:
        check_addresses(addresses)


class _HTTPConnection(_Checked, deadline.HTTPConnection):
    pass


class _HTTPSConnection(_Checked, deadline.HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection

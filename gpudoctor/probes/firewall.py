"""The packet filter's rules and this machine's addresses. Listing rules takes root; nothing is changed."""

import ipaddress
import re

import psutil

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.firewall import Chain, Firewall, Interface, Ruleset
from gpudoctor.probes.clock import same_kernel
from gpudoctor.probes.command import CommandMissing, find, run
from gpudoctor.probes.iptables_rules import chains_of, sets_of
from gpudoctor.probes.nft_rules import Tables
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("firewall",)
OPTIONS: tuple[str, ...] = ()

_DENIED = re.compile(r"not permitted|permission denied|must be root|are you root", re.IGNORECASE)
_MAX_RULES = 20_000
_ROUTE_IS_DEFAULT = "00000000"


class _Denied(Exception):
    """This user may not list rules."""


class _Failed(Exception):
    """Rules could not be listed or read; the message says why."""


def probe(out: Reporter, root: Root) -> None:
    """Fill ``firewall``."""
    if not same_kernel(root):
        out.unavailable("firewall", "the files are another machine's; its rules cannot be listed", "not-applicable")
        return
    late = Unavailable("nft or iptables-save did not answer in time", "timeout")
    facts = Firewall(interfaces=_interfaces(root), managers=_managers(root), forwards=_forwards(root), rules=late,
                     forwards_ipv6=_forwards(root, "ipv6/conf/all/forwarding"))
    out.section("firewall", facts)
    for item, field, read in (("ss", "only_ipv6", _only_ipv6), ("rules", "rules", lambda: _rules(root))):
        if not out.left_out(item):
            out.start(item)
            out.set("firewall", **{field: read()})


def _rules(root: Root) -> Ruleset | Unavailable:
    try:
        return ruleset(root)
    except _Denied:
        return Unavailable("listing the firewall's rules takes root", "no-permission")
    except _Failed as problem:
        return Unavailable(str(problem), "error")


def ruleset(root: Root) -> Ruleset:
    """List every rule, through nft where it is there, and through iptables for what iptables' own modules do."""
    legacy = _legacy_tables(root)
    if find("nft") is None and find("iptables-save") is None:
        raise _Failed("neither nft nor iptables is installed, so that the kernel's rules cannot be listed")
    unseen: str | None = None
    chains: list[Chain] = []
    if find("nft") is not None:
        tables = _nft()
        chains = list(tables.chains)
        if tables.unjudged is not None:
            unseen = f"the rules of {tables.unjudged} work at another layer, which is not judged"
        for family in ("ip", "ip6"):
            # nft names iptables' own modules, but not what they are told.
            told = _by_table(family, "nft") if any(each[0] == family for each in tables.foreign) else {}
            for table in {name for kin, name in tables.foreign if kin == family} & set(told):
                chains = [each for each in chains if (each.family, each.table) != (family, table)] + told[table]
    else:
        unseen = "nft is not installed: there may be rules that iptables does not show"
        chains = [each for family in ("ip", "ip6") for table in _by_table(family, "nft").values() for each in table]
    for family in sorted(legacy):
        told = _by_table(family, "legacy")
        chains += [each for table in told.values() for each in table]
        if not told:
            unseen = "the kernel has rules of the older iptables, which is not installed"
    if sum(len(each.rules) for each in chains) > _MAX_RULES:
        raise _Failed(f"there are more than {_MAX_RULES} rules")
    return Ruleset(chains=tuple(chains), unseen=unseen)


def _by_table(family: str, kind: str) -> dict[str, list[Chain]]:
    """Return the chains of each table that iptables, on nftables or the older one, shows."""
    name = "iptables" if family == "ip" else "ip6tables"
    program = _first(f"{name}-{kind}-save", f"{name}-save")
    if program is None or (program == f"{name}-save" and not _is_of(program, kind)):
        return {}
    text = _output(program)
    sets = sets_of(_output("ipset", "save")) if "--match-set" in text and find("ipset") is not None else {}
    try:
        found: dict[str, list[Chain]] = {}
        for each in chains_of(text, family, sets):
            found.setdefault(each.table, []).append(each)
    except (ValueError, IndexError) as error:
        raise _Failed(f"what {program} printed could not be read: {str(error)[:200]}") from None
    return found


def _is_of(program: str, kind: str) -> bool:
    """Tell by its version which kind a plain iptables-save is: those before 1.8 name none, and are the older."""
    return ("nf_tables" in _output(program, "--version")) == (kind == "nft")


def _first(*names: str) -> str | None:
    return next((name for name in names if find(name) is not None), None)


def _legacy_tables(root: Root) -> set[str]:
    """Return the families in which the older iptables has tables: listing them where none is would load modules."""
    found = set()
    for family, name in (("ip", "ip_tables_names"), ("ip6", "ip6_tables_names")):
        try:
            if (root.read(f"/proc/net/{name}", 4096) or "").strip():
                found.add(family)
        except PermissionError:
            raise _Denied from None
    return found


def _output(program: str, *arguments: str) -> str:
    try:
        code, text, errors = run(program, *arguments)
    except CommandMissing:
        raise _Failed(f"{program} is not installed") from None
    except OSError as error:
        raise _Failed(f"{program} could not be started: {error.strerror or error}") from None
    if code != 0:
        if _DENIED.search(errors):
            raise _Denied
        said = errors.strip().splitlines() or [f"it ended with code {code}"]
        raise _Failed(f"{program} failed: {said[-1][:200]}")
    return text


def _nft() -> Tables:
    try:
        return Tables(_output("nft", "-j", "list", "ruleset"))
    except (ValueError, RecursionError) as error:
        raise _Failed(f"what nft printed could not be read: {str(error)[:200]}") from None


def _managers(root: Root) -> tuple[str, ...]:
    found = []
    try:
        if re.search(r"^ENABLED=yes\s*$", root.read("/etc/ufw/ufw.conf") or "", re.MULTILINE | re.IGNORECASE):
            found.append("ufw")
        if any("firewalld" in name for name in root.list("/run/firewalld")) or root.exists("/run/firewalld.pid"):
            found.append("firewalld")
    except PermissionError:
        pass
    return tuple(found)


def _forwards(root: Root, name: str = "ipv4/ip_forward") -> bool | None:
    told = root.read_int(f"/proc/sys/net/{name}")
    return None if told is None else told != 0


def _interfaces(root: Root) -> tuple[Interface, ...]:
    default = _default_routes(root)
    found = []
    for name, told in sorted(psutil.net_if_addrs().items())[:1024]:
        addresses = []
        for each in told:
            try:
                mask = str(each.netmask or "").partition("%")[0]
                length = bin(int(ipaddress.ip_address(mask))).count("1") if mask else None
                plain = ipaddress.ip_address(each.address.partition("%")[0])
            except ValueError:
                continue  # a hardware address
            addresses.append(f"{plain}/{plain.max_prefixlen if length is None else length}")
        found.append(Interface(name=name[:64], addresses=tuple(addresses[:256]), default=name in default))
    return tuple(found)


def _default_routes(root: Root) -> set[str]:
    found = set()
    for line in (root.read("/proc/net/route") or "").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == _ROUTE_IS_DEFAULT:
            found.add(fields[0])
    for line in (root.read("/proc/net/ipv6_route") or "").splitlines():
        fields = line.split()
        if len(fields) == 10 and fields[0] == "0" * 32 and fields[1] == "00" and fields[9] != "lo":
            found.add(fields[9])
    return found


def _only_ipv6() -> tuple[int, ...] | None:
    """Ask ``ss``, which writes ``*:8000`` where IPv4 is taken as well and ``[::]:8000`` where it is not."""
    try:
        code, text, _ = run("ss", "-H", "-6", "-l", "-t", "-n")
    except (CommandMissing, OSError):
        return None
    found = re.findall(r"\s\[::\]:(\d{1,5})\s", text)
    return tuple(sorted({int(port) for port in found})) if code == 0 else None

"""Random rule sets of nft, iptables on nftables and the older iptables: what is foretold is what a connection finds.

What nobody can tell may be called unknown; "let in" and "stopped" must be true.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.tier("root"), pytest.mark.tier("nft")]

RUN = f"gr{os.getpid()}"
SERVER = {"ip": "10.93.0.1", "ip6": "fd93::1"}
CLIENTS = {"ip": ("10.93.0.2", "10.93.0.77"), "ip6": ("fd93::2",)}
INNER = "172.31.93.2"
#: 8000 both families, 8001 IPv4, 8002 IPv6 only, 8003 nobody, 8004 published: it is turned to the container's port 80.
PORTS = (8000, 8001, 8002, 8003, 8004, 9000)
ROUNDS = int(os.environ.get("GPUDOCTOR_FIREWALL_ROUNDS", "8"))
LISTEN = """
import selectors, socket, sys
held = selectors.DefaultSelector()
for text in sys.argv[1:]:
    family, address, port, only = text.split(",")
    s = socket.socket(socket.AF_INET6 if family == "ip6" else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == "ip6":
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only))
    s.bind((address, int(port)))
    s.listen(64)
    held.register(s, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in held.select():
        with key.fileobj.accept()[0] as talk:
            talk.sendall(b"x")
"""
#: Tries every [address, port, own address] at once, until the other side's first byte: the handshake alone is no
#: conversation. What has not come within the time was dropped.
CONNECT = """
import errno, json, selectors, socket, sys, time
for line in sys.stdin:
    found, waiting = {}, selectors.DefaultSelector()
    for number, (address, port, own) in enumerate(json.loads(line)):
        s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        s.setblocking(False)
        s.bind((own, 0))
        found[number] = "drop"
        if s.connect_ex((address, port)) in (0, errno.EINPROGRESS):
            waiting.register(s, selectors.EVENT_WRITE, number)
        else:
            found[number] = "closed"
    end = time.monotonic() + 0.9
    while waiting.get_map() and time.monotonic() < end:
        for key, event in waiting.select(max(0, end - time.monotonic())):
            s, number = key.fileobj, key.data
            if event == selectors.EVENT_WRITE and not s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                waiting.modify(s, selectors.EVENT_READ, number)
                continue
            try:
                found[number] = "accept" if event == selectors.EVENT_READ and s.recv(1) == b"x" else "closed"
            except OSError:
                found[number] = "closed"
            waiting.unregister(s)
            s.close()
    for key in list(waiting.get_map().values()):
        key.fileobj.close()
    print(json.dumps([found[number] for number in sorted(found)]), flush=True)
"""


def inside(name: str, *command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = ("ip", "netns", "exec", f"{RUN}-{name}", *command)
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)


class Talker:
    """A child in a namespace that answers each line with one."""

    def __init__(self, name: str, *command: str) -> None:
        self._child = subprocess.Popen(
            ["ip", "netns", "exec", f"{RUN}-{name}", sys.executable, *command], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, question: object) -> list[object]:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(question) + "\n")
        self._child.stdin.flush()
        found: list[object] = json.loads(self.line())
        return found

    def line(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline()

    def end(self) -> None:
        self._child.kill()
        self._child.communicate()


@pytest.fixture(scope="module")
def house() -> Iterator[tuple[Talker, Talker]]:
    """A machine with listeners, a container behind its bridge, and another machine; who foretells and who tries."""
    names = ("server", "client", "inner")
    talkers: list[Talker] = []

    def sure(name: str, line: str) -> None:
        done = inside(name, *line.split())
        assert done.returncode == 0, (line, done.stderr)

    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", f"{RUN}-{name}"], check=True, capture_output=True)
            sure(name, "ip link set lo up")
        for device, other in (("eth0", "client"), ("veth1", "inner")):
            sure("server", f"ip link add {device} type veth peer name eth0 netns {RUN}-{other}")
        for line in ("link add docker0 type bridge", "link set veth1 master docker0", "link set veth1 up",
                     "address add 172.31.93.1/24 dev docker0", "link set docker0 up",
                     f"address add {SERVER['ip']}/24 dev eth0", f"address add {SERVER['ip6']}/64 dev eth0 nodad",
                     "link set eth0 up"):  # fmt: skip
            sure("server", f"ip {line}")
        for line in (*(f"address add {each}/24 dev eth0" for each in CLIENTS["ip"]),
                     *(f"address add {each}/64 dev eth0 nodad" for each in CLIENTS["ip6"]), "link set eth0 up"):
            sure("client", f"ip {line}")
        for line in (f"address add {INNER}/24 dev eth0", "link set eth0 up", "route add default via 172.31.93.1"):
            sure("inner", f"ip {line}")
        sure("server", "sysctl -qw net.ipv4.ip_forward=1")
        # Who is where is known for ever: rules that drop the question (ARP, NDP) are another story.
        for name, device, others in (("server", "eth0", ("client", "eth0")), ("client", "eth0", ("server", "eth0")),
                                     ("server", "docker0", ("inner", "eth0")),
                                     ("inner", "eth0", ("server", "docker0"))):  # fmt: skip
            card = inside(others[0], "cat", f"/sys/class/net/{others[1]}/address").stdout.strip()
            known = {"client": (*CLIENTS["ip"], *CLIENTS["ip6"]), "inner": (INNER,),
                     "server": (SERVER["ip"], SERVER["ip6"]) if name == "client" else ("172.31.93.1",)}[others[0]]
            for each in known:
                sure(name, f"ip neigh replace {each} lladdr {card} dev {device} nud permanent")
        places = ("ip6,::,8000,0", "ip,0.0.0.0,8001,0", "ip6,::,8002,1", "ip,0.0.0.0,8004,0")
        for name, where in (("server", places), ("inner", ("ip,0.0.0.0,80,0",))):
            talkers.append(Talker(name, "-c", LISTEN, *where))
            assert talkers[-1].line() == "ready\n"
        seer = Talker("server", str(Path(__file__).with_name("predict.py")))
        client = Talker("client", "-c", CONNECT)
        talkers += [seer, client]
        yield seer, client
    finally:
        for talker in talkers:
            talker.end()
        for name in names:
            subprocess.run(["ip", "netns", "del", f"{RUN}-{name}"], check=False, capture_output=True)


def nft_match(dice: random.Random) -> str:
    return dice.choice((
        f"tcp dport {dice.choice(PORTS)}", f"tcp dport {{ 22, {dice.choice(PORTS)}, 7000-{dice.choice(PORTS)} }}",
        f"tcp dport != {dice.choice(PORTS)}", f"tcp sport {dice.choice(PORTS)}", "tcp dport > 8001", "tcp dport 80",
        "iifname eth0", "iifname { lo, eth1 }", "iifname != lo", "oifname docker0", "oifname eth0",
        f"ip saddr {dice.choice(CLIENTS['ip'])}", "ip saddr 10.93.0.64/26", "ip saddr != 10.93.0.2",
        "ip saddr { 10.0.0.0/8, 192.168.0.0/16 }", "ip6 saddr fd93::/64", "ip6 saddr != fd93::2", "ip saddr @friends",
        "ip saddr . tcp dport @pairs", f"ip saddr . tcp dport {{ 10.93.0.2 . {dice.choice(PORTS)} }}",
        f"ip daddr {SERVER['ip']}", f"ip daddr {INNER}", "ct state new", "ct state established,related",
        "ct state invalid", "ct state { new, untracked }", "ct state untracked", "ct status dnat", "ct direction reply",
        "meta l4proto tcp", "meta l4proto { tcp, udp }", "meta l4proto udp", "meta nfproto ipv4", "meta nfproto ipv6",
        "fib daddr type local", "fib saddr . iif oif missing", "fib saddr . mark . iif oif exists",
        "meta mark 0x1", "meta mark & 0x2 == 0x2", "meta mark != 0", "meta mark & 0xf0 == 0",
        "tcp flags & (fin|syn|rst|ack) == syn", "tcp flags syn", "tcp flags & (fin|syn) == (fin|syn)",
        "tcp flags & (fin|syn|rst|psh|ack|urg) == 0", "tcp flags != syn", "tcp flags & syn == 0",
        "meta pkttype host", "meta pkttype { broadcast, multicast }", "ether saddr 02:00:00:00:00:01",
        "ether saddr != 02:00:00:00:00:01", "ip ttl > 3", "limit rate 1000/second", "limit rate over 1000/second",
        "ct count over 900", "meta length > 1000", "th dport 8000", "ip protocol tcp", "ip6 nexthdr tcp",
        "ct original proto-dst 8004", "ct original ip daddr 10.93.0.1", "meta iiftype ether",
    ))  # fmt: skip


def nft_rule(dice: random.Random, chains: list[str], hook: str | None) -> str:
    matches = " ".join(nft_match(dice) for _ in range(dice.choice((0, 1, 1, 1, 2, 2))))
    ends = ["accept", "drop", "accept", "return", "counter", "meta mark set 0x1", "meta mark set meta mark or 0x2",
            "log", 'counter comment "x"', "jump GONE", "goto GONE"]  # fmt: skip
    if hook in ("input", "forward", None):
        ends += ["reject with tcp reset" if "tcp" in matches else "reject", "counter drop"]
    if hook == "prerouting":
        ends.append("notrack")
    end = dice.choice(ends)
    if end.endswith("GONE"):
        end = end.replace("GONE", dice.choice(chains)) if chains else "accept"
    if dice.random() < 0.1:
        maps = ("tcp dport vmap { 8000 : drop, 8001 : accept, 8002 : continue }", "iifname vmap { eth0 : drop }",
                "ip saddr vmap { 10.93.0.2 : drop, 10.93.0.64/26 : accept }", "tcp dport vmap @verdicts")
        return dice.choice(maps)
    return f"{matches} {end}"


def nft_rules(dice: random.Random) -> str:
    lines = ["table inet t {",
             "set friends { type ipv4_addr; flags interval; elements = { 10.93.0.77, 10.94.0.0/16 } }",
             "set pairs { type ipv4_addr . inet_service; flags interval; elements = { 10.93.0.0/26 . 8000-8001 } }",
             "map verdicts { type inet_service : verdict; elements = { 8001 : drop, 8004 : accept, 80 : drop } }"]
    names: list[str] = []
    for n in range(dice.randint(0, 3)):
        body = "\n".join(nft_rule(dice, names, None) for _ in range(dice.randint(0, 4)))
        lines.append(f"chain c{n} {{\n{body}\n}}")
        names.append(f"c{n}")
    # Nothing is known of a chain's caller, so that only what is allowed everywhere stands in it.
    hooks = [("input", 0), ("input", 10), ("forward", 0), ("prerouting", -300), ("prerouting", -150), ("prerouting", 0),
             ("output", 0), ("postrouting", 0), ("postrouting", 150)]  # fmt: skip
    for n, (hook, priority) in enumerate(dice.sample(hooks, dice.randint(1, 4))):
        allowed = names if hook in ("input", "forward") else []
        body = "\n".join(nft_rule(dice, allowed, hook) for _ in range(dice.randint(1, 5)))
        policy = dice.choice(("accept", "accept", "drop"))
        lines.append(f"chain b{n} {{\ntype filter hook {hook} priority {priority}; policy {policy};\n{body}\n}}")
    if dice.random() < 0.4:
        turn = dice.choice(("redirect to :8000", "redirect to :8003", f"dnat ip to {INNER}:80", "accept", "drop",
                            "dnat ip to 127.0.0.1:8000", f"dnat ip to {SERVER['ip']}:8001"))  # fmt: skip
        rules = f"type nat hook prerouting priority -100;\n{nft_match(dice)} tcp dport 9000 {turn}"
        lines.append(f"chain n {{\n{rules}\n}}")
    if dice.random() < 0.2:
        device = dice.choice(("eth0", "eth0", "docker0"))
        rules = f"type filter hook ingress device {device} priority 0;\n{nft_match(dice)} drop"
        lines.append(f"chain i {{\n{rules}\n}}")
    return "\n".join((*lines, "}"))


def ipt_match(dice: random.Random) -> str:
    return dice.choice((
        f"-p tcp -m tcp --dport {dice.choice(PORTS)}", f"-p tcp -m tcp ! --dport {dice.choice(PORTS)}",
        "-p tcp -m multiport --dports 22,8000:8002", "-p tcp -m tcp --dport 80", f"-p tcp --sport {dice.choice(PORTS)}",
        "-p udp", "! -p tcp", "-i eth0", "-i et+", "! -i eth0", f"-s {dice.choice(CLIENTS['ip'])}", "! -s 10.93.0.2",
        "-s 10.93.0.64/26", f"-d {SERVER['ip']}", "! -d 10.93.0.1",
        "-m conntrack --ctstate NEW", "-m conntrack --ctstate DNAT",
        "-m conntrack --ctstate RELATED,ESTABLISHED", "-m conntrack ! --ctstate NEW", "-m conntrack --ctstate INVALID",
        "-m conntrack --ctstate UNTRACKED", "-m conntrack --ctorigdstport 8004", "-m conntrack --ctdir ORIGINAL",
        "-m conntrack ! --ctstatus DNAT", "-m addrtype --dst-type LOCAL", "-m addrtype ! --dst-type LOCAL",
        "-m mark --mark 0x1", "-m mark --mark 0x2/0x2", "-m mark ! --mark 0x1", "-m mark --mark 0x0/0xf0",
        "-m connmark --mark 0x1", "-m iprange --src-range 10.93.0.50-10.93.0.99",
        "-m iprange ! --src-range 10.93.0.2-10.93.0.9", "-m pkttype --pkt-type unicast",
        "-m mac --mac-source 02:00:00:00:00:01", "-m mac ! --mac-source 02:00:00:00:00:01",
        "-m pkttype ! --pkt-type multicast", "-p tcp --syn", "-p tcp ! --syn", "-p tcp --tcp-flags ALL NONE",
        "-p tcp --tcp-flags SYN,FIN SYN,FIN", "-p tcp --tcp-flags SYN,RST SYN", "-m rpfilter", "-m rpfilter --invert",
        "-m limit --limit 900/sec", "-m ttl --ttl-gt 3", "-m length --length 0:9", "-m string --algo bm --string xyz",
        "-m comment --comment '-j DROP'", "-m recent --rcheck --name x", "-m connlimit --connlimit-above 900",
        "-m set --match-set friends src", "-m set ! --match-set friends src", "-m set --match-set pairs src,dst",
    ))  # fmt: skip


def ipt_rules(dice: random.Random, sets: bool) -> str:
    """Return what iptables-restore takes; rules that a table or chain refuses are tried one by one."""

    def rules(chain: str, targets: tuple[str, ...], most: int) -> list[str]:
        found = []
        for _ in range(dice.randint(0, most)):
            matches = " ".join(ipt_match(dice) for _ in range(dice.choice((0, 1, 1, 1, 2))))
            if (not sets and "match-set" in matches) or ("rpfilter" in matches and chain != "PREROUTING"):
                continue
            if matches.count("-p ") > 1 or (chain == "OUTPUT" and ("-i " in matches or "mac" in matches)):
                continue
            found.append(f"-A {chain} {matches} -j {dice.choice(targets)}")
        return found

    ends = ("ACCEPT", "DROP", "ACCEPT", "REJECT", "RETURN", "below", "LOG", "REJECT --reject-with tcp-reset -p tcp")
    policy = {name: dice.choice(("ACCEPT", "ACCEPT", "DROP")) for name in ("INPUT", "FORWARD", "OUTPUT")}
    lines = ["*raw", ":PREROUTING ACCEPT", *rules("PREROUTING", ("ACCEPT", "DROP", "CT --notrack"), 1), "COMMIT"]
    lines += ["*mangle", ":PREROUTING ACCEPT",
              *rules("PREROUTING", ("MARK --set-mark 0x1", "MARK --or-mark 0x2", "MARK --set-xmark 0x10/0x10", "ACCEPT",
                                    "CONNMARK --restore-mark"), 2), "COMMIT"]  # fmt: skip
    lines += ["*nat", ":PREROUTING ACCEPT", ":POSTROUTING ACCEPT", ":DOCKER -",
              *rules("PREROUTING", ("ACCEPT", "RETURN", "REDIRECT --to-ports 8000 -p tcp"), 1),
              "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
              f"-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8004 -j DNAT --to-destination {INNER}:80", "COMMIT"]
    lines += ["*filter", *(f":{name} {told}" for name, told in policy.items()), ":below -",
              *rules("below", ("ACCEPT", "DROP", "RETURN", "REJECT"), 3), *rules("INPUT", ends, 4),
              *(["-A INPUT -m conntrack --ctstate NEW -p tcp -m multiport --dports 8000,8001 -j ACCEPT"]
                if dice.random() < 0.4 else []),
              *rules("FORWARD", ends, 2), *(["-A FORWARD -j ACCEPT"] if dice.random() < 0.6 else []),
              *rules("OUTPUT", ("ACCEPT", "DROP", "RETURN"), 1),
              *(["-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"] if dice.random() < 0.7 else []), "COMMIT"]
    return "\n".join((*lines, ""))


def restored(program: str, text: str) -> str:
    """Load rules; a line that the program refuses is left out. Return what was loaded."""
    lines = text.splitlines()
    for _ in range(40):
        done = inside("server", program, text="\n".join((*lines, "")))
        if done.returncode == 0:
            return "\n".join(lines)
        number = next((int(word.strip(":")) for word in reversed(done.stderr.replace("\n", " ").split())
                       if word.strip(":").isdigit() and 0 < int(word.strip(":")) <= len(lines)), 0)  # fmt: skip
        if not number or not lines[number - 1].startswith("-A"):
            # COMMIT is named for a rule that the kernel refused: the last ones go.
            number = next(n for n in range(number or len(lines), 0, -1) if lines[n - 1].startswith("-A"))
        del lines[number - 1]
    raise AssertionError(done.stderr)


def nft(dice: random.Random) -> str:
    """Load a random table of nft's; a line that it refuses is left out."""
    lines = nft_rules(dice).splitlines()
    for _ in range(40):
        done = inside("server", "nft", "-f", "-", text="\n".join((*lines, "")))
        if done.returncode == 0:
            return "\n".join(lines)
        number = int(done.stderr.split(":")[1].split("-")[0])
        assert not lines[number - 1].startswith(("chain", "type", "}")), (lines[number - 1], done.stderr)
        del lines[number - 1]
    raise AssertionError(done.stderr)


def iptables(kind: str) -> Callable[[random.Random], str]:
    def load(dice: random.Random) -> str:
        has_sets = inside("server", "ipset", "list", "-n").stdout.split() != []
        return restored(f"iptables-{kind}-restore", ipt_rules(dice, has_sets))

    return load


LOADERS: dict[str, tuple[Callable[[random.Random], str], ...]] = {
    "nft": (nft,), "iptables-nft": (iptables("nft"),), "iptables-legacy": (iptables("legacy"),),
    "nft and iptables-nft": (nft, iptables("nft")), "nft and iptables-legacy": (nft, iptables("legacy")),
}  # fmt: skip
QUESTIONS = [(family, port, client) for family in ("ip", "ip6") for port in PORTS for client in CLIENTS[family]]


@pytest.fixture
def empty(house: tuple[Talker, Talker]) -> Iterator[tuple[Talker, Talker]]:
    def clear() -> None:
        inside("server", "nft", "flush", "ruleset")
        for table in ("raw", "mangle", "nat", "filter"):
            text = {"nat": "*nat\n:PREROUTING ACCEPT\nCOMMIT\n"}.get(table, f"*{table}\n:PREROUTING ACCEPT\nCOMMIT\n"
                    if table != "filter" else "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n")
            if Path("/usr/sbin/iptables-legacy-restore").exists():
                inside("server", "iptables-legacy-restore", text=text)
        inside("server", "ipset", "destroy")

    clear()
    yield house
    clear()


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("part", range(4))
def test_random_rules_are_foretold(empty: tuple[Talker, Talker], kind: str, part: int) -> None:
    seer, client = empty
    if Path("/usr/sbin/ipset").exists():
        for line in ("create friends hash:net", "add friends 10.93.0.77", "create pairs hash:ip,port",
                     "add pairs 10.93.0.2,tcp:8000"):  # fmt: skip
            inside("server", "ipset", *line.split())
    wrong = []
    for turn in range(max(1, ROUNDS // 4)):
        dice = random.Random(f"{kind} {part} {turn}")
        inside("server", "nft", "flush", "ruleset")
        loaded = "\n".join(load(dice) for load in LOADERS[kind])
        told = seer.ask([[port, sender] for _, port, sender in QUESTIONS])
        found = client.ask([[SERVER[family], port, sender] for family, port, sender in QUESTIONS])
        anybody = seer.ask([[port, None] for port in PORTS])
        for number, (family, port, sender) in enumerate(QUESTIONS):
            (way,) = (each for each in told[number] if each[0] == SERVER[family])  # type: ignore[attr-defined]
            (free,) = (each for each in anybody[PORTS.index(port)] if each[0] == SERVER[family])  # type: ignore[attr-defined]
            for each, who in ((way, sender), (free, "anybody")):
                open_, shut = found[number] == "accept", found[number] in ("drop", "closed")
                if (each[1] == "accept" and shut) or (each[1] in ("drop", "reject", "refused") and open_):
                    what = f"turn {turn} port {port} from {sender} as {who}: foretold {each}, {found[number]}"
                    wrong.append(f"{kind} {part} {what}\n{loaded}")
    assert not wrong, f"{len(wrong)} wrong, the first:\n{wrong[0]}"

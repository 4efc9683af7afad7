"""What is foretold of a port equals what a real connect() from another network namespace finds.

``server`` is the machine, ``client`` the other one, ``inner`` a container behind the bridge docker0.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.tier("root"), pytest.mark.tier("nft")]

#: Namespaces of this run alone.
RUN = f"gd{os.getpid()}"
SERVER4, CLIENT4, SERVER6, CLIENT6 = "10.91.0.1", "10.91.0.2", "fd91::1", "fd91::2"
INNER4 = "172.31.9.2"
DOCKER = (
    "iptables-nft -t nat -N DOCKER",
    "iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
    f"iptables-nft -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8000 -j DNAT --to-destination {INNER4}:80",
    "iptables-nft -N DOCKER",
    "iptables-nft -N DOCKER-USER",
    "iptables-nft -A FORWARD -j DOCKER-USER",
    "iptables-nft -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "iptables-nft -A FORWARD -o docker0 -j DOCKER",
    "iptables-nft -A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
    f"iptables-nft -A DOCKER -d {INNER4}/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT",
    "iptables-nft -P FORWARD DROP",
    "iptables-nft -A DOCKER-USER -j RETURN",
)
#: As Docker 29 keeps its rules with its nftables backend.
DOCKER_NFT = f"""
table ip docker-bridges {{
  map forward-in {{ type ifname : verdict; elements = {{ "docker0" : jump in-docker0 }} }}
  map forward-out {{ type ifname : verdict; elements = {{ "docker0" : jump out-docker0 }} }}
  chain in-docker0 {{
    ct state established,related counter accept
    iifname "docker0" counter accept comment "ICC"
    ip daddr {INNER4} tcp dport 80 counter accept
    counter drop comment "UNPUBLISHED PORT DROP"
  }}
  chain out-docker0 {{
    ct state established,related counter accept
    counter accept comment "OUTGOING"
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifname vmap @forward-in
    iifname vmap @forward-out
  }}
  chain published {{
    tcp dport 8000 counter dnat to {INNER4}:80 comment "DNAT"
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local counter jump published
  }}
  chain raw {{
    type filter hook prerouting priority raw; policy accept;
    ip daddr {INNER4} iifname != "docker0" counter drop comment "DROP DIRECT ACCESS"
  }}
}}
""".strip()
LISTEN = """
import socket, sys, time
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family) as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(sys.argv[3]))
    s.bind((sys.argv[1], int(sys.argv[2])))
    s.listen()
    print("ready", flush=True)
    time.sleep(600)
"""
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1).close()
    print("accept")
except TimeoutError:
    print("drop")
except OSError as error:
    print("refused" if error.errno == 111 else "reject")
"""


def inside(name: str, *command: str) -> str:
    done = subprocess.run(
        ["ip", "netns", "exec", f"{RUN}-{name}", *command], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout.strip()


def foretold(questions: list[list[object]]) -> list[list[list[object]]]:
    """Return for each port and sender what is foretold at each address."""
    command = ["ip", "netns", "exec", f"{RUN}-server", sys.executable, str(Path(__file__).with_name("predict.py"))]
    done = subprocess.run(command, input=json.dumps(questions) + "\n", capture_output=True, text=True, timeout=30,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[list[list[object]]] = json.loads(done.stdout)
    return found


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def networks() -> Iterator[None]:
    """Three namespaces: a machine, another one, and a container behind the machine's bridge."""
    names = ("server", "client", "inner")
    for name in names:
        subprocess.run(["ip", "netns", "del", f"{RUN}-{name}"], capture_output=True, check=False)
        ip("netns", "add", f"{RUN}-{name}")
    try:
        for device, other in (("eth0", "client"), ("veth1", "inner")):
            ip("link", "add", device, "netns", f"{RUN}-server", "type", "veth", "peer", "name", "eth0",
               "netns", f"{RUN}-{other}")
        inside("server", "ip", "link", "add", "docker0", "type", "bridge")
        inside("server", "ip", "link", "set", "veth1", "master", "docker0")
        for name, device, addresses in (("server", "eth0", (f"{SERVER4}/24", f"{SERVER6}/64")),
                                        ("client", "eth0", (f"{CLIENT4}/24", f"{CLIENT6}/64")),
                                        ("server", "docker0", ("172.31.9.1/24",)),
                                        ("inner", "eth0", (f"{INNER4}/24",))):  # fmt: skip
            for address in addresses:
                inside(name, "ip", "address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
            inside(name, "ip", "link", "set", device, "up")
            inside(name, "ip", "link", "set", "lo", "up")
        inside("server", "ip", "link", "set", "veth1", "up")
        inside("server", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        inside("inner", "ip", "route", "add", "default", "via", "172.31.9.1")
        yield
    finally:
        for name in names:
            ip("netns", "del", f"{RUN}-{name}")


@pytest.fixture
def rules(networks: None) -> Iterator[None]:
    """A packet filter without rules, before and after."""
    inside("server", "nft", "flush", "ruleset")
    inside("server", "sysctl", "-qw", "net.ipv4.ip_forward=1")
    yield
    inside("server", "nft", "flush", "ruleset")
    if Path("/usr/sbin/iptables-legacy").exists():
        inside("server", "iptables-legacy", "-F")


@pytest.fixture
def listeners() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for each in started:
        each.kill()
        each.communicate()


def nft(*lines: str, policy: str = "accept") -> tuple[str, ...]:
    chain = f"type filter hook input priority 0; policy {policy};"
    return ("nft add table inet t", f"nft add chain inet t input {{ {chain} }}",
            *(f"nft add rule inet t input {line}" for line in lines))  # fmt: skip


#: name, where it listens (namespace address:only IPv6), port asked, commands in the server's namespace, over IPv6
CASES: list[tuple[str, str, int, tuple[str, ...], bool]] = [
    ("everywhere", "0.0.0.0", 8000, (), False),
    ("nobody listens", "", 8000, (), False),
    ("loopback only", "127.0.0.1", 8000, (), False),
    ("one address", SERVER4, 8000, (), False),
    ("both families", "::", 8000, (), False),
    ("both families, asked over IPv6", "::", 8000, (), True),
    ("IPv6 only", "::only", 8000, (), False),
    ("IPv6 only, asked over IPv6", "::only", 8000, (), True),
    ("IPv6 loopback only", "::1", 8000, (), True),
    ("IPv4 everywhere, asked over IPv6", "0.0.0.0", 8000, (), True),
    ("nft drops the port", "0.0.0.0", 8000, nft("tcp dport 8000 drop"), False),
    ("nft rejects the port", "0.0.0.0", 8000, nft("tcp dport 8000 reject with icmpx admin-prohibited"), False),
    ("nft drops another port", "0.0.0.0", 8000, nft("tcp dport 8001 drop"), False),
    ("nft drops all by policy", "0.0.0.0", 8000, nft("ct state established,related accept", policy="drop"), False),
    ("nft lets a range in", "0.0.0.0", 8000, nft("tcp dport { 22, 7999-8001 } accept", policy="drop"), False),
    ("nft lets its interface in", "0.0.0.0", 8000, nft("iifname eth0 accept", policy="drop"), False),
    ("nft lets another interface in", "0.0.0.0", 8000, nft("iifname eth1 accept", policy="drop"), False),
    ("nft lets the sender in", "0.0.0.0", 8000, nft("ip saddr 10.91.0.0/24 accept", policy="drop"), False),
    ("nft lets others in", "0.0.0.0", 8000, nft("ip saddr 192.168.0.0/16 accept", policy="drop"), False),
    ("nft lets IPv4 in, asked over IPv6", "::", 8000, nft("ip saddr 0.0.0.0/0 accept", "ip6 nexthdr icmpv6 accept",
                                                          policy="drop"), True),
    ("nft by a verdict map", "0.0.0.0", 8000, nft("tcp dport vmap { 22 : accept, 8000 : drop }"), False),
    ("nft sends to another chain", "0.0.0.0", 8000,
     ("nft add table inet t", "nft add chain inet t below", "nft add rule inet t below tcp dport 8000 drop",
      "nft add rule inet t below return", *nft("jump below")[1:]), False),
    ("nft returns before the drop", "0.0.0.0", 8000,
     ("nft add table inet t", "nft add chain inet t below", "nft add rule inet t below tcp dport 8000 return",
      "nft add rule inet t below drop", *nft("meta l4proto tcp jump below")[1:]), False),
    ("nft drops before anything else", "0.0.0.0", 8000,
     ("nft add table inet t", "nft add chain inet t raw { type filter hook prerouting priority raw; }",
      "nft add rule inet t raw tcp dport 8000 drop"), False),
    ("nft drops the other direction", "0.0.0.0", 8000, nft("ct direction reply drop"), False),
    ("nft accepts in one chain and drops in the next", "0.0.0.0", 8000,
     (*nft("tcp dport 8000 accept"), "nft add chain inet t late { type filter hook input priority 10; policy drop; }"),
     False),
    ("nft turns another port to it", "0.0.0.0", 9000,
     ("nft add table ip n", "nft add chain ip n pre { type nat hook prerouting priority dstnat; }",
      "nft add rule ip n pre tcp dport 9000 redirect to :8000"), False),
    ("iptables rejects", "0.0.0.0", 8000, ("iptables-nft -A INPUT -p tcp --dport 8000 -j REJECT",), False),
    ("iptables rejects as by an administrator", "0.0.0.0", 8000,
     ("iptables-nft -A INPUT -p tcp -m multiport --dports 80,8000:8010 -j REJECT --reject-with icmp-host-prohibited",),
     False),
    ("iptables drops new ones", "0.0.0.0", 8000,
     ("iptables-nft -A INPUT -p tcp -m conntrack --ctstate NEW -m tcp --dport 8000 -j DROP",), False),
    ("iptables does not hold IPv6", "::", 8000, ("iptables-nft -A INPUT -p tcp --dport 8000 -j DROP",), True),
    ("ip6tables does", "::", 8000, ("ip6tables-nft -A INPUT -p tcp --dport 8000 -j DROP",), True),
    ("iptables drops all but ssh", "0.0.0.0", 8000,
     ("iptables-nft -P INPUT DROP", "iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT"), False),
    ("as ufw does", "0.0.0.0", 8000,
     ("iptables-nft -N ufw-user-input", "iptables-nft -A INPUT -j ufw-user-input", "iptables-nft -P INPUT DROP",
      "iptables-nft -A ufw-user-input -p tcp -m tcp --dport 8000 -j ACCEPT"), False),
    ("a published port", "inner", 8000, DOCKER, False),
    ("a published port that ufw does not hold", "inner", 8000, (*DOCKER, "iptables-nft -P INPUT DROP"), False),
    ("DOCKER-USER drops", "inner", 8000, (*DOCKER, "iptables-nft -I DOCKER-USER -i eth0 -j DROP"), False),
    ("DOCKER-USER lets the sender in", "inner", 8000,
     (*DOCKER, f"iptables-nft -I DOCKER-USER -i eth0 ! -s {CLIENT4} -j DROP"), False),
    ("DOCKER-USER by the published port", "inner", 8000,
     (*DOCKER, "iptables-nft -I DOCKER-USER -p tcp -m conntrack --ctorigdstport 8000 --ctdir ORIGINAL -j DROP"), False),
    ("DOCKER-USER by a port that is the host's", "inner", 8000,
     (*DOCKER, "iptables-nft -I DOCKER-USER -p tcp --dport 8000 -j DROP"), False),
    ("the container's own port from outside", "inner", 80, DOCKER, False),
    ("a published port of Docker's nftables rules", "inner", 8000, (DOCKER_NFT,), False),
    ("the container's own port, by Docker's nftables rules", "inner", 80, (DOCKER_NFT,), False),
    ("Kubernetes' marks", "0.0.0.0", 8000,
     ("iptables-nft -A INPUT -m mark --mark 0x8000/0x8000 -j DROP",
      "iptables-nft -t mangle -A PREROUTING -j MARK --or-mark 0x4000"), False),
    ("new connections only", "0.0.0.0", 8000,
     ("iptables-nft -P INPUT DROP", "iptables-nft -A INPUT -m conntrack --ctstate NEW -j ACCEPT",
      "iptables-nft -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"), False),
    ("answers are dropped", "0.0.0.0", 8000, ("iptables-nft -P OUTPUT DROP",), False),
    ("scans are dropped", "0.0.0.0", 8000,
     ("iptables-nft -A INPUT -p tcp --tcp-flags ALL NONE -j DROP",
      "iptables-nft -A INPUT -p tcp ! --syn -m conntrack --ctstate NEW -j DROP"), False),
    ("the older iptables drops", "0.0.0.0", 8000, ("iptables-legacy -A INPUT -p tcp --dport 8000 -j DROP",), False),
    ("the older iptables lets in", "0.0.0.0", 8000,
     ("iptables-legacy -A INPUT -p tcp --dport 8000 -j ACCEPT", "iptables-legacy -A INPUT -p tcp --syn -j DROP"),
     False),
    ("packets are not forwarded", "inner", 8000, (*DOCKER, "sysctl -qw net.ipv4.ip_forward=0"), False),
    ("nft forwards nothing", "inner", 8000,
     (*DOCKER, "nft add table inet t", "nft add chain inet t fw { type filter hook forward priority 0; policy drop; }"),
     False),
]


@pytest.mark.parametrize(("where", "port", "commands", "six"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])
def test_foretold_equals_found(
    rules: None, listeners: list[subprocess.Popen[str]], where: str, port: int, commands: tuple[str, ...], six: bool
) -> None:
    for command in commands:
        if command.startswith("table"):
            loader = ["ip", "netns", "exec", f"{RUN}-server", "nft", "-f", "-"]
            done = subprocess.run(loader, input=command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            continue
        inside("server", "sh", "-c", command.replace("{", "'{").replace("}", "}'") if "nft add chain" in command
               else command.replace("{ 22", "'{ 22").replace("}", "}'"))
    if where:
        name = "inner" if where == "inner" else "server"
        address, only = ("0.0.0.0" if where == "inner" else where.removesuffix("only")), str(int("only" in where))
        listen = [sys.executable, "-c", LISTEN, address, "80" if where == "inner" else "8000", only]
        listeners.append(
            subprocess.Popen(["ip", "netns", "exec", f"{RUN}-{name}", *listen], stdout=subprocess.PIPE, text=True)
        )
        out = listeners[-1].stdout
        assert out is not None
        assert out.readline() == "ready\n"
    target, sender = (SERVER6, CLIENT6) if six else (SERVER4, CLIENT4)
    told = foretold([[port, sender]])[0]
    found = inside("client", sys.executable, "-c", CONNECT, target, str(port))
    (way,) = [each for each in told if each[0] == target]
    # iptables' REJECT says that the port is closed, as a machine without a listener does.
    alike = {"refused": "refused or rejected", "reject": "refused or rejected"}
    assert alike.get(str(way[1]), way[1]) == alike.get(found, found), way


ENGINE = """
import http.server, json
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        told = {"/api/version": {"version": "0.11.10"}, "/api/tags": {"models": []}, "/api/ps": {"models": []}}
        body = json.dumps(told.get(self.path, {"error": "not found"})).encode()
        self.send_response(200 if self.path in told else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("0.0.0.0", 11434), Answers)
print("ready", flush=True)
server.serve_forever()
"""


def serving(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["ip", "netns", "exec", f"{RUN}-server", sys.executable, "-m", "gpudoctor", "serving"]
    return subprocess.run([*command, "http://127.0.0.1:11434", *arguments], capture_output=True, text=True, timeout=120,
                          check=False)  # fmt: skip


@pytest.fixture
def ollama(rules: None, listeners: list[subprocess.Popen[str]]) -> None:
    listeners.append(subprocess.Popen(["ip", "netns", "exec", f"{RUN}-server", sys.executable, "-c", ENGINE],
                                      stdout=subprocess.PIPE, text=True))  # fmt: skip
    out = listeners[-1].stdout
    assert out is not None
    assert out.readline() == "ready\n"


def judged(report: str) -> dict[str, object]:
    (found,) = [each for each in json.loads(report)["results"] if each["id"] == "serving.unreachable"]
    return {key: found[key] for key in ("status", "message")}


def test_n1_the_rule_that_stops_the_other_side_is_named(ollama: None) -> None:
    inside("server", "iptables-nft", "-A", "INPUT", "-i", "eth0", "-p", "tcp", "--dport", "11434", "-j", "DROP")
    found = judged(serving("--from", CLIENT4, "--json").stdout)
    assert found == {"status": "fail", "message": (
        f"ollama answers at http://127.0.0.1:11434, but this machine's firewall stops {CLIENT4} at {SERVER4} port "
        "11434: ip filter INPUT: iif eth0 protocol tcp dport 11434 drop")}  # fmt: skip


def test_n1_the_command_that_is_printed_reaches_it(ollama: None) -> None:
    shown = serving("--from", CLIENT4).stdout
    (command,) = [line.strip() for line in shown.splitlines() if line.strip().startswith("curl")]
    assert command.endswith(f"http://{SERVER4}:11434/api/version")
    code = f"import urllib.request; print(urllib.request.urlopen({command.split()[-1]!r}, timeout=5).status)"
    assert inside("client", sys.executable, "-c", code) == "200"


def test_who_may_not_read_rules_is_told_so(ollama: None) -> None:
    command = ["ip", "netns", "exec", f"{RUN}-server", "setpriv", "--bounding-set", "-net_admin", "--inh-caps",
               "-net_admin", sys.executable, "-m", "gpudoctor", "serving", "http://127.0.0.1:11434"]  # fmt: skip
    done = subprocess.run([*command, "--from", CLIENT4, "--json"], capture_output=True, text=True, timeout=120,
                          check=False)  # fmt: skip
    found = judged(done.stdout)
    assert (found["status"], "takes root" in str(found["message"]), done.returncode) == ("unknown", True, 3)

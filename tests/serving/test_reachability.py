"""Story N1 on recorded machines: which layer stops those outside, and the way to them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.facts.firewall import Firewall, Interface, Ruleset
from gpudoctor.judging.reach import scope_of, ways
from gpudoctor.probes.iptables_rules import chains_of, sets_of
from gpudoctor.probes.nft_rules import Tables

Command = Callable[..., subprocess.CompletedProcess[str]]
Serving = Callable[..., dict[str, Any]]
FIXTURES = Path(__file__).parents[2] / "fixtures"


def judged(serving: Serving, machine: str, *arguments: str) -> dict[str, Any]:
    report = serving("--snapshot", FIXTURES / machine / "snapshot.json", *arguments)
    (found,) = [each for each in report["results"] if each["id"] == "serving.unreachable"]
    return {key: found[key] for key in ("status", "message", "fix", "evidence")}


def words(found: dict[str, Any]) -> str:
    return " ".join(f"{each['text']} {each.get('command')}" for each in found["fix"])


def test_n1_a_closed_port_is_a_note_where_nobody_asked_for_it(serving: Serving) -> None:
    found = judged(serving, "rtx8000x4-serving-behind-ufw")
    assert (found["status"], "firewall stops another machine" in found["message"]) == ("info", True)


def test_n1_it_is_a_failure_for_those_who_must_reach_it(serving: Serving) -> None:
    found = judged(serving, "rtx8000x4-serving-behind-ufw", "--from", "192.168.1.77")
    assert found["status"] == "fail"
    assert "stops 192.168.1.77 at 192.168.1.20 port 11434: ip filter INPUT: policy drop" in found["message"]


def test_n1_the_way_out_is_in_the_words_of_who_keeps_the_rules(serving: Serving) -> None:
    assert "sudo ufw allow 11434/tcp" in words(judged(serving, "rtx8000x4-serving-behind-ufw"))


def test_n1_rules_that_could_not_be_read_are_no_open_door(serving: Serving) -> None:
    found = judged(serving, "rtx8000x4-serving-firewall-unread", "--from", "192.168.1.77")
    assert (found["status"], "takes root" in found["message"]) == ("unknown", True)


def test_rules_that_could_not_be_read_are_told_without_a_sender_too(serving: Serving) -> None:
    report = serving("--snapshot", FIXTURES / "rtx8000x4-serving-firewall-unread" / "snapshot.json")
    assert [each["status"] for each in report["results"] if each["id"] == "serving.firewall-unread"] == ["unknown"]


def test_n1_behind_a_router_the_hosts_port_is_forwarded(serving: Serving) -> None:
    found = judged(serving, "rtx8000x4-serving-published-behind-a-router", "--from", "8.8.8.8")
    assert found["status"] == "unknown"
    assert "forward a TCP port to 192.168.1.20 port 8080: this machine's port. 11434 is the container's" in words(found)


def test_n1_from_the_internet_the_router_is_asked(serving: Serving) -> None:
    found = judged(serving, "rtx8000x4-serving-published-behind-a-router", "--from", "8.8.8.8")
    (command,) = [each["value"] for each in found["evidence"] if each["what"] == "to try on the other side"]
    assert "http://PUBLIC-ADDRESS-OF-THE-ROUTER:8080/" in command


def test_n1_a_published_port_is_let_in_whatever_ufw_says(serving: Serving) -> None:
    found = judged(serving, "rtx8000x4-serving-published-behind-a-router", "--from", "192.168.1.77")
    assert found["status"] == "pass"
    assert "let in, by the rules for containers" in [each["value"] for each in found["evidence"]]


def test_n1_a_port_published_on_loopback_is_named_with_the_line_to_write(serving: Serving) -> None:
    found = judged(serving, "rtx8000x4-serving-published-on-loopback", "--from", "192.168.1.77")
    assert (found["status"], 'ports: ["8080:11434"]' in words(found)) == ("fail", True)


def test_the_command_for_the_other_side_and_what_each_answer_means(gpudoctor: Command) -> None:
    done = gpudoctor("serving", "--snapshot", FIXTURES / "rtx8000x4-serving-behind-ufw" / "snapshot.json",
                     "--from", "office-pc")  # fmt: skip
    assert "curl -sS -m 5 -o /dev/null -w '%{http_code}\\n' http://192.168.1.20:11434/api/version" in done.stdout
    assert all(each in done.stdout for each in ("office-pc", "Connection refused", "timed out", "No route to host"))


@pytest.mark.parametrize("host", ["a b", "http://x", "x;reboot", "", "-oProxyCommand=x", "x" * 300, "호스트"])
def test_what_is_no_host_is_one_clear_line(gpudoctor: Command, host: str) -> None:
    done = gpudoctor("serving", f"--from={host}")
    assert (done.returncode, "is no host" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


@pytest.mark.parametrize(("address", "scope"), [("10.1.2.3", "private"), ("192.168.1.1", "private"),
                                                ("100.64.0.1", "shared"), ("100.128.0.1", "public"),
                                                ("8.8.8.8", "public"), ("fd00::1", "private"),
                                                ("2600::1", "public")])  # fmt: skip
def test_where_an_address_is_known(address: str, scope: str) -> None:
    assert scope_of(address) == scope


def fate(rules: str, sender: str | None = None) -> str:
    facts = Firewall(interfaces=(Interface(name="eth0", addresses=("192.0.2.1/24",), default=True),),
                     rules=Ruleset(chains=tuple(chains_of(rules, "ip"))))  # fmt: skip
    (way,) = ways(8000, ("0.0.0.0",), facts, sender)
    return way.fate


FILTER = "*filter\n:INPUT {policy} [0:0]\n{rules}\nCOMMIT\n"


def test_a_rule_that_is_not_understood_makes_it_unknown() -> None:
    rules = "-A INPUT -m string --string x --algo bm -j DROP"
    assert fate(FILTER.format(policy="ACCEPT", rules=rules)) == "unknown"


def test_a_rule_that_is_not_understood_and_changes_nothing_is_passed_over() -> None:
    rules = "-A INPUT -m string --string x --algo bm -j DROP"
    assert fate(FILTER.format(policy="DROP", rules=rules)) == "drop"


def test_a_target_that_is_not_known_is_no_open_door() -> None:
    assert fate(FILTER.format(policy="ACCEPT", rules="-A INPUT -j NFQUEUE --queue-num 1")) == "unknown"


def test_without_a_sender_a_rule_for_some_depends_on_who_asks() -> None:
    rules = "-A INPUT -s 192.0.2.0/24 -j ACCEPT"
    assert fate(FILTER.format(policy="DROP", rules=rules)) == "depends"


def test_a_chain_that_leads_to_itself_ends() -> None:
    rules = ":a - [0:0]\n-A INPUT -j a\n-A a -j a"
    assert fate(FILTER.format(policy="ACCEPT", rules=rules)) == "unknown"


def test_ten_thousand_jumps_are_walked_once_each() -> None:
    chains = "".join(f":c{n} - [0:0]\n" for n in range(30))
    jumps = "".join(f"-A c{n} -j c{n + 1}\n" * 20 for n in range(29))
    assert fate(f"*filter\n:INPUT DROP [0:0]\n{chains}-A INPUT -j c0\n{jumps}COMMIT\n") == "drop"


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"nftables": 1}', "[" * 100_000])
def test_what_is_no_rule_set_is_refused(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        Tables(text)


@pytest.mark.parametrize("item", [
    {"rule": {"family": "inet", "table": "t", "chain": "c", "expr": [{"match": None}]}},
    {"rule": {"family": "inet", "table": "t", "chain": "c", "expr": [{"vmap": {"key": None, "data": [1]}}]}},
    {"rule": {"family": "inet", "table": "t", "chain": "c", "expr": [{"match": {"op": "==", "left": []}}]}},
    {"rule": {"expr": [None, {}]}}, {"rule": {"expr": 3}}, {"chain": None}, {"set": {"elem": 3}},
    {"map": {"elem": {"a": 1}}},
])  # fmt: skip
def test_odd_parts_of_a_rule_set_do_no_harm(item: dict[str, Any]) -> None:
    assert Tables(json.dumps({"nftables": [item]})).chains == ()


@pytest.mark.parametrize(("port", "sender", "fate"), [(8000, "10.95.0.7", "reject"), (22, "10.95.0.7", "accept"),
                                                      (8000, "fd95::7", "reject"), (22, "fd95::7", "accept"),
                                                      (8000, None, "reject")])  # fmt: skip
def test_the_rules_of_firewalld_leave_nothing_unknown(port: int, sender: str | None, fate: str) -> None:
    """Listed by nft beneath a real firewalld 1.3.3: zone public, which lets ssh in."""
    text = (Path(__file__).parent / "recorded" / "firewalld-1.3.3.json").read_text()
    place = Interface(name="eth0", addresses=("10.95.0.1/24", "fd95::1/64"), default=True)
    facts = Firewall(interfaces=(place,), rules=Ruleset(chains=Tables(text).chains))
    found = ways(port, ("0.0.0.0", "::"), facts, sender)
    assert {way.fate for way in found} == {fate}


def test_a_rule_for_new_connections_alone_is_no_conversation() -> None:
    assert fate(FILTER.format(policy="DROP", rules="-A INPUT -m conntrack --ctstate NEW -j ACCEPT")) == "drop"


def test_an_empty_ipset_holds_nobody() -> None:
    assert sets_of("create friends hash:net family inet\n") == {"friends": ("none",)}


def test_an_ipset_that_is_not_understood_is_left_out() -> None:
    text = "create a hash:net\nadd a 10.0.0.0/8 nomatch\ncreate b hash:ip,port\nadd b 10.0.0.1,tcp:80\n"
    assert sets_of(text) == {}


def test_members_of_an_ipset_are_let_in_and_others_are_not() -> None:
    saved = FILTER.format(policy="DROP", rules="-A INPUT -m set --match-set friends src -j ACCEPT\n"
                          "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT")  # fmt: skip
    place = Interface(name="eth0", addresses=("192.0.2.1/24",), default=True)
    chains = tuple(chains_of(saved, "ip", {"friends": ("192.0.2.9",)}))
    facts = Firewall(interfaces=(place,), rules=Ruleset(chains=chains))
    told = {who: ways(8000, ("0.0.0.0",), facts, who)[0].fate for who in ("192.0.2.9", "192.0.2.8")}
    assert told == {"192.0.2.9": "accept", "192.0.2.8": "drop"}

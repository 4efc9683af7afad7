"""The keys that the Compose specification knows, at every level, and those of a project that it does not.

The table is the schema of compose-spec (https://github.com/compose-spec/compose-go/blob/main/schema/compose-spec.json),
as Compose 2.40 carries it: a test asks the real plug-in. ``*`` is any name, ``[]`` an item of a list. What is not in
the table takes any key: variables, labels, options. What it does not know in ``gpus`` Compose drops without a word.
"""

import difflib
import functools
import re
from collections.abc import Iterator

from gpudoctor.compose.tree import Node
from gpudoctor.facts.compose import UnknownKey

#: More are not listed: the file is none of Compose's.
MOST = 256
_TABLE = """
    .: configs include models name networks secrets services version volumes
    configs.*: content environment external file labels name template_driver
    include.[]: env_file path project_directory
    models.*: context_size model name runtime_flags
    networks.*: attachable driver driver_opts enable_ipv4 enable_ipv6 external internal ipam labels name
    networks.*.external: name
    networks.*.ipam: config driver options
    networks.*.ipam.config.[]: aux_addresses gateway ip_range subnet
    secrets.*: driver driver_opts environment external file labels name template_driver
    services.*: annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs
      container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset
      credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname
      entrypoint env_file environment expose extends external_links extra_hosts gpus group_add healthcheck hostname
      image init ipc isolation label_file labels links logging mac_address mem_limit mem_reservation mem_swappiness
      memswap_limit models network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform ports
      post_start pre_stop privileged profiles provider pull_policy pull_refresh_after read_only restart runtime
      scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty
      ulimits use_api_socket user userns_mode uts volumes volumes_from working_dir
    services.*.blkio_config: device_read_bps device_read_iops device_write_bps device_write_iops weight
      weight_device
    services.*.blkio_config.device_read_bps.[]: path rate
    services.*.blkio_config.device_read_iops.[]: path rate
    services.*.blkio_config.device_write_bps.[]: path rate
    services.*.blkio_config.device_write_iops.[]: path rate
    services.*.blkio_config.weight_device.[]: path weight
    services.*.build: additional_contexts args cache_from cache_to context dockerfile dockerfile_inline entitlements
      extra_hosts isolation labels network no_cache platforms privileged provenance pull sbom secrets shm_size ssh
      tags target ulimits
    services.*.build.secrets.[]: gid mode source target uid
    services.*.build.ulimits.*: hard soft
    services.*.configs.[]: gid mode source target uid
    services.*.credential_spec: config file registry
    services.*.depends_on.*: condition required restart
    services.*.deploy: endpoint_mode labels mode placement replicas resources restart_policy rollback_config
      update_config
    services.*.deploy.placement: constraints max_replicas_per_node preferences
    services.*.deploy.placement.preferences.[]: spread
    services.*.deploy.resources: limits reservations
    services.*.deploy.resources.limits: cpus memory pids
    services.*.deploy.resources.reservations: cpus devices generic_resources memory
    services.*.deploy.resources.reservations.devices.[]: capabilities count device_ids driver options
    services.*.deploy.resources.reservations.generic_resources.[]: discrete_resource_spec
    services.*.deploy.resources.reservations.generic_resources.[].discrete_resource_spec: kind value
    services.*.deploy.restart_policy: condition delay max_attempts window
    services.*.deploy.rollback_config: delay failure_action max_failure_ratio monitor order parallelism
    services.*.deploy.update_config: delay failure_action max_failure_ratio monitor order parallelism
    services.*.develop: watch
    services.*.develop.watch.[]: action exec ignore include initial_sync path target
    services.*.develop.watch.[].exec: command environment privileged user working_dir
    services.*.devices.[]: permissions source target
    services.*.env_file.[]: format path required
    services.*.gpus.[]: capabilities count device_ids driver options
    services.*.healthcheck: disable interval retries start_interval start_period test timeout
    services.*.logging: driver options
    services.*.models.*: endpoint_var model_var
    services.*.networks.*: aliases driver_opts gw_priority interface_name ipv4_address ipv6_address link_local_ips
      mac_address priority
    services.*.ports.[]: app_protocol host_ip mode name protocol published target
    services.*.post_start.[]: command environment privileged user working_dir
    services.*.pre_stop.[]: command environment privileged user working_dir
    services.*.provider: options type
    services.*.secrets.[]: gid mode source target uid
    services.*.ulimits.*: hard soft
    services.*.volumes.[]: bind consistency image read_only source target tmpfs type volume
    services.*.volumes.[].bind: create_host_path propagation recursive selinux
    services.*.volumes.[].image: subpath
    services.*.volumes.[].tmpfs: mode size
    services.*.volumes.[].volume: labels nocopy subpath
    volumes.*: driver driver_opts external labels name
    volumes.*.external: name
"""
_Tree = dict[str, "_Tree | None"]


@functools.cache
def _tree() -> _Tree:
    root: _Tree = {}
    for path, keys in _lines():
        here = root
        for part in path.split(".") if path != "." else ():
            inner = here.get(part)
            if inner is None:
                inner = here[part] = {}
            here = inner
        for key in keys:
            here.setdefault(key, None)
    return root


def _lines() -> Iterator[tuple[str, list[str]]]:
    path = ""
    keys: list[str] = []
    for word in _TABLE.split():
        if word.endswith(":"):
            if path:
                yield path, keys
            path, keys = word[:-1], []
        else:
            keys.append(word)
    yield path, keys


def of_project(top: dict[str, Node]) -> Iterator[UnknownKey]:
    """Yield the unknown keys of a file outside its services."""
    yield from _unknown({key: node for key, node in top.items() if key != "services"}, _tree(), None, "")


def of_service(name: str, node: Node) -> Iterator[UnknownKey]:
    """Yield the unknown keys of a merged service, at every level."""
    if isinstance(node.value, dict):
        yield from _unknown(node.value, _below("services", "*"), name, "")


def _below(*parts: str) -> _Tree:
    here = _tree()
    for part in parts:
        here = here[part] or {}
    return here


def _unknown(keys: dict[str, Node], known: _Tree, service: str | None, path: str) -> Iterator[UnknownKey]:
    for key, node in keys.items():
        whole = f"{path}.{key}" if path else key
        if key in known or "*" in known:
            below = known.get(key) or known.get("*")
            if below:
                yield from _inside(node, below, service, whole)
        elif not key.startswith("x-"):
            belongs = _elsewhere(key, path) if service is not None else None
            near = [] if belongs is not None else difflib.get_close_matches(key, known, 1, 0.7)
            yield UnknownKey(
                service=service, path=whole, place=node.place, near=near[0] if near else None, belongs=belongs,
                dropped=known is _below("services", "*", "gpus", "[]"),
            )  # fmt: skip


def _inside(node: Node, known: _Tree, service: str | None, path: str) -> Iterator[UnknownKey]:
    if isinstance(node.value, dict):
        yield from _unknown(node.value, known, service, path)
    items = known.get("[]")
    if isinstance(node.value, list) and items:
        for number, each in enumerate(node.value):
            if isinstance(each.value, dict):
                yield from _unknown(each.value, items, service, f"{path}[{number}]")


def _elsewhere(key: str, path: str) -> str | None:
    """Return the one place of a service that knows a key, the nearest to where it stands; empty for the service.

    ``gpus`` is left out: the long form, which every Compose takes, has the same keys.
    """
    here = re.sub(r"\[\d+\]", ".[]", path).split(".") if path else []
    found = []
    for line, keys in _lines():
        if key in keys and line.startswith("services.*") and not line.endswith("gpus.[]"):
            there = line.split(".")[2:]
            common = next((n for n, (a, b) in enumerate(zip(here, there, strict=False)) if a != b),
                          min(len(here), len(there)))
            found.append((-common, len(there), ".".join(there).replace(".[]", "[]")))
    found.sort()
    if not found or (len(found) > 1 and found[0][:2] == found[1][:2]):
        return None
    return found[0][2]

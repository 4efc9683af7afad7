#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Runs ``gpudoctor check`` on the target and passes its verdict on. It never imports gpudoctor."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gpudoctor_info
short_description: Judge whether a host is ready to run language models on its GPUs
version_added: 0.1.0
author:
  - The gpudoctor authors (@gpudoctor)
description:
  - Runs C(gpudoctor check) on the host and returns its report.
  - Fails, naming what blocks, when the host is not ready or could not be judged, so that the task gates the play.
  - It reads only. The one thing it can leave behind is the cache of facts that O(from_cache) asks for, below C(/run).
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details:
      - The host is judged in check mode, too. Nothing would be changed anyway.
  diff_mode:
    support: none
  platform:
    platforms: posix
requirements:
  - gpudoctor on the host
options:
  stage:
    description:
      - V(pre-install) judges a server that has no driver yet, V(pre-launch) one that shall run a model now.
    type: str
    choices: [pre-install, pre-launch]
    default: pre-launch
  for:
    description:
      - What shall run, such as V(vllm==0.33.0), V(ollama), or an image.
    type: list
    elements: str
    default: []
  model:
    description:
      - The model that shall run.
    type: str
  gpus:
    description:
      - Judge only these GPUs, by their indices.
    type: list
    elements: int
    default: []
  expect_gpus:
    description:
      - How many GPUs there must be. V(0) for a host that has none.
    type: int
  only:
    description:
      - Judge by these checks only. Ids, globs or areas.
    type: list
    elements: str
    default: []
  skip:
    description:
      - Leave these checks out. Ids, globs or areas.
    type: list
    elements: str
    default: []
  require:
    description:
      - There is no verdict if one of these checks cannot be judged.
    type: list
    elements: str
    default: []
  fail_on:
    description:
      - The least status that makes a host not ready. With V(never) findings are returned and do not fail the task.
    type: str
    choices: [fail, warn, never]
    default: fail
  on_unknown:
    description:
      - Whether a host that could not be judged fails the task or passes with a warning.
    type: str
    choices: [fail, pass]
    default: fail
  timeout:
    description:
      - Seconds that all probes together may take. C(gpudoctor) itself allows 45.
    type: int
  wait:
    description:
      - Look again until nothing blocks, at most so long, such as V(5m).
    type: str
  from_cache:
    description:
      - Facts of this age, such as V(60s), are new enough. What is read is kept for other commands.
    type: str
  python:
    description:
      - Python environments to look at, too.
    type: list
    elements: path
    default: []
  compose:
    description:
      - Compose files on the host to judge, too.
    type: list
    elements: path
    default: []
  config:
    description:
      - Files on the host with thresholds and acceptances.
    type: list
    elements: path
    default: []
  ports:
    description:
      - Ports that must be free.
    type: list
    elements: int
    default: []
  root:
    description:
      - Prefix of every file read, for a mounted host.
    type: path
  executable:
    description:
      - The C(gpudoctor) to run, a path or a name.
      - A name is looked for on the C(PATH), in C(/usr/local/bin) and in C(/opt/gpudoctor/bin).
    type: str
    default: gpudoctor
seealso:
  - name: gpudoctor explain
    description: The command C(gpudoctor explain ID) prints the manual of a check.
    link: https://github.com/gpudoctor/gpudoctor
"""

EXAMPLES = r"""
- name: Stop here unless this host can run vLLM on four GPUs
  gpudoctor.gpudoctor.gpudoctor_info:
    for: [vllm==0.33.0]
    expect_gpus: 4

- name: Judge, and go on whatever it says
  gpudoctor.gpudoctor.gpudoctor_info:
    fail_on: never
    on_unknown: pass
  register: doctor

- name: Show what was found
  ansible.builtin.debug:
    var: doctor.findings
"""

RETURN = r"""
ready:
  description: Whether the host may be used, by O(fail_on) and O(on_unknown).
  type: bool
  returned: always
rc:
  description: Exit code of C(gpudoctor check). 0 ready, 1 not ready, 2 no report, 3 not judged.
  type: int
  returned: when gpudoctor ran
  sample: 1
verdict:
  description: V(pass), V(warn), V(unknown) or V(fail).
  type: str
  returned: when there is a report
  sample: fail
findings:
  description:
    - What failed, warned or could not be judged, root causes only, the worst first.
  type: list
  elements: dict
  returned: when there is a report
  contains:
    id:
      description: Id of the check.
      type: str
      sample: gpu.row-remap-pending
    status:
      description: V(fail), V(warn) or V(unknown).
      type: str
      sample: fail
    subject:
      description: What it is about.
      type: str
      sample: gpu:1
    message:
      description: What is wrong.
      type: str
      sample: rows of memory wait for a reset to be remapped
    fix:
      description: Commands that mend it, none of which was run.
      type: list
      elements: str
      sample: [sudo nvidia-smi --gpu-reset -i 1]
report:
  description: The whole report, schema C(gpudoctor.report/1), as C(gpudoctor report merge) reads it.
  type: dict
  returned: when there is a report
"""

import json
import os
import signal

from ansible.module_utils.basic import AnsibleModule

SCHEMA = "gpudoctor.report/1"
NAMED_FINDINGS = 5
"""How many findings a failure names; ``findings`` has them all."""
MESSAGE_CHARACTERS = 300

OPTIONS = {
    "stage": {"type": "str", "choices": ["pre-install", "pre-launch"], "default": "pre-launch"},
    "for": {"type": "list", "elements": "str", "default": []},
    "model": {"type": "str"},
    "gpus": {"type": "list", "elements": "int", "default": []},
    "expect_gpus": {"type": "int"},
    "only": {"type": "list", "elements": "str", "default": []},
    "skip": {"type": "list", "elements": "str", "default": []},
    "require": {"type": "list", "elements": "str", "default": []},
    "fail_on": {"type": "str", "choices": ["fail", "warn", "never"], "default": "fail"},
    "on_unknown": {"type": "str", "choices": ["fail", "pass"], "default": "fail"},
    "timeout": {"type": "int"},
    "wait": {"type": "str"},
    "from_cache": {"type": "str"},
    "python": {"type": "list", "elements": "path", "default": []},
    "compose": {"type": "list", "elements": "path", "default": []},
    "config": {"type": "list", "elements": "path", "default": []},
    "ports": {"type": "list", "elements": "int", "default": []},
    "root": {"type": "path"},
    "executable": {"type": "str", "default": "gpudoctor"},
}
#: Options of the module that are options of the command, given once or once for each value.
SINGLE = ("stage", "model", "expect_gpus", "fail_on", "timeout", "wait", "from_cache", "root")
REPEATED = {"for": "for", "only": "only", "skip": "skip", "require": "require", "python": "python",
            "compose": "compose", "config": "config", "ports": "port"}  # fmt: skip
BLOCKING = {"fail": ("fail",), "warn": ("fail", "warn"), "never": ()}


def command_line(executable, params):
    """Return the command; ``--flag=value`` keeps a value that begins with a dash from becoming a flag."""
    words = [executable, "check", "--json", "--color=never"]
    for name in SINGLE:
        if params[name] is not None:
            words.append(f"--{name.replace('_', '-')}={params[name]}")
    if params["gpus"]:
        words.append("--gpus=" + ",".join(str(index) for index in params["gpus"]))
    for name, flag in REPEATED.items():
        words += [f"--{flag}={value}" for value in params[name]]
    return words


def find_executable(module):
    """Return the path of gpudoctor on this host, or fail."""
    wanted = module.params["executable"]
    if "/" in wanted:
        found = wanted if os.path.isfile(wanted) and os.access(wanted, os.X_OK) else None
        looked = "no such program"
    else:
        found = module.get_bin_path(wanted, opt_dirs=["/usr/local/bin", "/opt/gpudoctor/bin"])
        looked = f"looked on the PATH ({os.environ.get('PATH', '')}), in /usr/local/bin and /opt/gpudoctor/bin"
    if not found:
        module.fail_json(
            msg=f"{wanted} is not on this host ({looked}): install it, for example with the role "
            "gpudoctor.gpudoctor.preflight, or name it with the option executable",
            ready=False,
        )
    return found


def one_line(text, limit=MESSAGE_CHARACTERS):
    """Return the text on one line of bounded length."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def read_document(text):
    """Return the JSON object that gpudoctor printed, None when it is none."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def no_report(rc, document, stderr):
    """Say why there is no report."""
    error = (document or {}).get("error")
    if isinstance(error, dict):
        words = [str(error.get(name) or "") for name in ("where", "message", "hint")]
        return "gpudoctor made no report: " + one_line(": ".join(word for word in words if word))
    said = [line for line in stderr.splitlines() if line.strip()]
    last = f": {one_line(said[-1])}" if said else ""
    if rc < 0:
        try:
            name = signal.Signals(-rc).name
        except ValueError:
            name = f"signal {-rc}"
        return f"gpudoctor was killed ({name}) before it made a report{last}"
    return f"gpudoctor ended with exit code {rc} and made no report{last}"


def findings_of(report):
    """Return what is wrong or unknown and neither accepted nor a symptom of something else."""
    return [
        {
            "id": result["id"],
            "status": result["status"],
            "subject": result["subject"],
            "message": one_line(result["message"], 1000),
            "fix": [step["command"] for step in result["fix"] if step.get("command")],
        }
        for status in ("fail", "warn", "unknown")
        for result in report["results"]
        if result["status"] == status and result["caused_by"] is None and result["accepted"] is None
    ]


def named(findings):
    """Return findings as one line; those of several GPUs that say the same are told once."""
    told = {}
    for finding in findings:
        told.setdefault((finding["id"], finding["message"]), []).append(finding["subject"])
    parts = []
    for (check_id, message), subjects in list(told.items())[:NAMED_FINDINGS]:
        about = ", ".join(subject for subject in subjects if subject != "host")
        parts.append(f"{check_id}{' ' + about if about else ''}: {one_line(message)}")
    more = len(told) - NAMED_FINDINGS
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


def main():
    """Run gpudoctor and return or fail."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    command = command_line(find_executable(module), module.params)
    rc, stdout, stderr = module.run_command(command, environ_update={"NO_COLOR": "1"})
    document = read_document(stdout)
    report = document if document and document.get("schema") == SCHEMA else None
    # An exit code alone is no verdict: another program of that name would end with 0 as well.
    if report is None or rc not in (0, 1, 3):
        module.fail_json(msg=no_report(rc, document, stderr), ready=False, rc=rc)
    try:
        findings = findings_of(report)
        verdict, host = str(report["verdict"]), one_line(report["run"]["host"])
        agreed = report["run"]["exit_code"] == rc
    except (KeyError, TypeError, AttributeError):
        agreed = False
    if not agreed:
        module.fail_json(msg=f"gpudoctor ended with exit code {rc}, which its report does not bear out",
                         ready=False, rc=rc)  # fmt: skip
    result = {"rc": rc, "verdict": verdict, "findings": findings, "report": report}
    if rc == 1:
        blocking = [finding for finding in findings if finding["status"] in BLOCKING[module.params["fail_on"]]]
        module.fail_json(msg=f"{host} is not ready: {named(blocking) or 'see the report'}", ready=False, **result)
    if rc == 3:
        unknown = [finding for finding in findings if finding["status"] == "unknown"]
        message = f"{host} could not be judged: {named(unknown)}"
        if module.params["on_unknown"] == "fail":
            module.fail_json(msg=message, ready=False, **result)
        module.warn(message)
        module.exit_json(changed=False, ready=True, msg=message, **result)
    noted = f", with remarks: {named(findings)}" if findings else ""
    module.exit_json(changed=False, ready=True, msg=f"{host} is ready{noted}", **result)


if __name__ == "__main__":
    main()

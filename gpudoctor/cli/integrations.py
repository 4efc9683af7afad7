"""Which files ``gpudoctor integrate`` hands out, and where they belong; they lie in ``integrations/``.

They name the program as ``/usr/local/bin/gpudoctor``; ``integrate`` puts the true path in its place.
"""

from typing import NamedTuple

#: What stands in the files for the program's path.
PROGRAM = "/usr/local/bin/gpudoctor"

_RELOAD = (
    "systemd reads these files after 'systemctl daemon-reload'. On many hosts that command takes the GPUs from",
    "containers that run with --gpus or runtime: nvidia: they keep running, and CUDA fails in them until they are",
    "started anew. Look first:",
    "  gpudoctor check --only docker.device-loss-exposed",
)


class File(NamedTuple):
    """One file: where it lies here, where it belongs, and its mode there."""

    source: str
    place: str
    mode: int = 0o644


class Integration(NamedTuple):
    """What one program needs. ``about`` is one line; ``notes`` are what its owner has to know or do, line by line."""

    about: str
    files: tuple[File, ...]
    notes: tuple[str, ...] = ()


INTEGRATIONS: dict[str, Integration] = {
    "slurm": Integration(
        "HealthCheckProgram: drains a sick node and resumes it",
        (File("slurm/gpudoctor-slurm", "/usr/local/sbin/gpudoctor-slurm", 0o755),),
        ("The lines for slurm.conf stand at its top.",),
    ),
    "slurm-prolog": Integration(
        "Prolog and Epilog: judge a job's GPUs before and after it",
        (File("slurm/gpudoctor-prolog", "/usr/local/sbin/gpudoctor-prolog", 0o755),),
        ("The lines for slurm.conf stand at its top.",),
    ),
    "npd": Integration(
        "node-problem-detector: three conditions of a node",
        (File("kubernetes/gpudoctor-npd.json", "/config/gpudoctor-npd.json, for --config.custom-plugin-monitor"),),
        (
            "gpudoctor has to be in node-problem-detector's own image, or on the host where it runs as a service.",
            "GPUContainerStackUnhealthy judges Docker alone: on nodes with containerd or CRI-O it finds",
            "nothing to judge; take that condition and its rule out there.",
        ),
    ),
    "kubernetes": Integration(
        "a DaemonSet that watches every node, and a Pod that waits for its GPUs",
        (
            File("kubernetes/daemonset.yaml", "kubectl apply -f daemonset.yaml"),
            File("kubernetes/init-container.yaml", "an example: copy initContainers into your Pod"),
            File("kubernetes/Dockerfile", "docker build -t REGISTRY/gpudoctor:VERSION ."),
        ),
        ("Put your image's name in the place of REGISTRY/gpudoctor:VERSION.",),
    ),
    "systemd": Integration(
        "a check every five minutes, and engines that start only on a machine that is ready",
        (
            File("systemd/gpudoctor-check.service", "/etc/systemd/system/gpudoctor-check.service"),
            File("systemd/gpudoctor-check.timer", "/etc/systemd/system/gpudoctor-check.timer"),
            File("systemd/ollama.service.d/gpudoctor.conf", "/etc/systemd/system/ollama.service.d/gpudoctor.conf"),
            File("systemd/vllm.service.d/gpudoctor.conf", "/etc/systemd/system/vllm.service.d/gpudoctor.conf"),
        ),
        _RELOAD,
    ),
    "prometheus": Integration(
        "node_exporter's textfile collector, alert rules, a dashboard",
        (
            File("prometheus/gpudoctor-textfile.service", "/etc/systemd/system/gpudoctor-textfile.service"),
            File("prometheus/gpudoctor-textfile.timer", "/etc/systemd/system/gpudoctor-textfile.timer"),
            File("prometheus/gpudoctor.cron", "/etc/cron.d/gpudoctor, instead of the timer"),
            File("prometheus/gpudoctor.rules.yml", "/etc/prometheus/gpudoctor.rules.yml, under rule_files"),
            File("prometheus/gpudoctor-dashboard.json", "Grafana: Dashboards, New, Import"),
        ),
        _RELOAD,
    ),
    "healthcheck": Integration(
        "HEALTHCHECK without gpudoctor in the image: does this container still hold its GPUs?",
        (File("docker/gpudoctor-healthcheck", "/usr/local/bin/gpudoctor-healthcheck in the container", 0o755),),
        ("The lines for compose.yml and for a Dockerfile stand at its top.",),
    ),
    "docker-plugin": Integration(
        "docker gpudoctor ...",
        (File("docker/docker-gpudoctor", "/usr/local/lib/docker/cli-plugins/docker-gpudoctor", 0o755),),
    ),
    "pre-commit": Integration(
        "Compose files judged for the server before each commit",
        (File("ci/pre-commit-config.yaml", ".pre-commit-config.yaml"),),
    ),
    "github-actions": Integration(
        "Compose files judged for the server in GitHub Actions",
        (File("ci/github-actions.yml", ".github/workflows/gpudoctor.yml"),),
    ),
    "gitlab-ci": Integration(
        "Compose files judged for the server in GitLab CI",
        (File("ci/gitlab-ci.yml", ".gitlab-ci.yml"),),
    ),
}

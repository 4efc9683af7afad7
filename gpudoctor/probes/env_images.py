"""Layers of container images on disk: what an image brings is there before anything runs from it."""

from collections.abc import Iterator

from gpudoctor.facts.python_envs import LeftOut
from gpudoctor.probes.env_layout import Layout, layouts
from gpudoctor.probes.env_search import Search
from gpudoctor.probes.regular_file import read_text
from gpudoctor.probes.root import Root
from gpudoctor.probes.storage import docker_data_root

#: Where engines' images keep their Python.
PREFIXES = ("/usr/local", "/usr", "/opt/venv", "/opt/conda", "/app/.venv", "/workspace/.venv", "/venv")
#: Docker's own store, and containerd's, which Docker 29 uses for new installations.
_CONTAINERD = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"
_MAX_LAYERS = 400


def layers(root: Root, search: Search) -> Iterator[tuple[str, Root]]:
    """Yield each layer's short name and its tree. Only root may look; what may not be listed is said."""
    docker = docker_data_root(read_text(root, "/etc/docker/daemon.json", 1 << 16) or "") or "/var/lib/docker"
    for store, tree in ((f"{docker}/overlay2", "diff"), (_CONTAINERD, "fs")):
        if not search.places.enter(store):
            continue
        try:
            names = [name for name in root.list(store) if name != "l"]
        except PermissionError:
            search.left_out.append(LeftOut(path=store, failure="only root may look into images"))
            continue
        if len(names) > _MAX_LAYERS:
            said = f"only {_MAX_LAYERS} of {len(names)} layers of images were looked at"
            search.left_out.append(LeftOut(path=store, failure=said))
        for name in names[:_MAX_LAYERS]:
            yield name[:12], Root(str(root.path(f"{store}/{name}/{tree}")))


def in_layer(tree: Root) -> Iterator[Layout]:
    """Yield the environments of one layer. Debian's folder counts though its Python lies in a layer below."""
    for prefix in PREFIXES:
        for layout in layouts(tree, prefix):
            version = ".".join((layout.python or "").split(".")[:2])
            debian = f"{prefix}/lib/python{version}/dist-packages"
            known = debian in layout.site_packages or not tree.exists(debian)
            yield layout if known else layout._replace(site_packages=(*layout.site_packages, debian))

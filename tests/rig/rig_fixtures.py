"""The session's engines, started when the first test asks for one."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
import rig_images
from rig import Engine, engine
from rig_doubles import Toolkit
from rig_packages import NoPackages

ALL_IMAGES = (rig_images.GLIBC, rig_images.BUSYBOX, rig_images.PYTHON, rig_images.EMPTY, rig_images.NO_SHELL)


@pytest.fixture(scope="session")
def session_toolkit(tmp_path_factory: pytest.TempPathFactory) -> Toolkit:
    return Toolkit(tmp_path_factory.mktemp("toolkit"))


@pytest.fixture
def toolkit(session_toolkit: Toolkit) -> Generator[Toolkit, None, None]:
    """The doubles of NVIDIA's container toolkit for four cards, with every switch off at the end of the test."""
    yield session_toolkit
    for name in ("hook-fails", "skip-device-cgroup"):
        session_toolkit.switch(name, None)


@pytest.fixture(scope="session")
def equipped_engine(session_toolkit: Toolkit) -> Generator[Engine, None, None]:
    """This system's Docker with the hook on its PATH and the runtime registered: no CDI, it is too old for that."""
    with engine(path=[session_toolkit.bin], config=session_toolkit.registration) as running:
        rig_images.load(running.client(), ALL_IMAGES)
        yield running


@pytest.fixture(scope="session")
def cdi_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cdi")


@pytest.fixture(scope="session")
def cdi_engine(session_toolkit: Toolkit, cdi_folder: Path) -> Generator[Engine, None, None]:
    """Debian's newest Docker with hook, runtime and a CDI spec: all three paths."""
    session_toolkit.write_cdi(cdi_folder / "nvidia.json")
    config = {**session_toolkit.registration, "cdi-spec-dirs": [str(cdi_folder)]}
    try:
        with engine("newest", path=[session_toolkit.bin], config=config) as running:
            rig_images.load(running.client(), ALL_IMAGES)
            yield running
    except NoPackages as error:
        pytest.skip(f"Debian's newest Docker could not be fetched: {error}")


@pytest.fixture(scope="session")
def bare_engine() -> Generator[Engine, None, None]:
    """This system's Docker with no NVIDIA toolkit of any kind, and the small images."""
    with engine() as running:
        rig_images.load(running.client(), (rig_images.GLIBC, rig_images.BUSYBOX))
        yield running


@pytest.fixture(scope="session")
def newest_bare_engine() -> Generator[Engine, None, None]:
    """Debian's newest Docker, likewise."""
    try:
        with engine("newest") as running:
            rig_images.load(running.client(), (rig_images.GLIBC,))
            yield running
    except NoPackages as error:
        pytest.skip(f"Debian's newest Docker could not be fetched: {error}")

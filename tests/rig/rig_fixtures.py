"""The session's engines, started when the first test asks for one."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import rig_images
from rig import Engine, engine
from rig_packages import NoPackages


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

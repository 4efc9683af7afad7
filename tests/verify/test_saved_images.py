"""What real engines save: whole, cut, and with one bit turned over; old engines and new ones write other forms."""

from collections.abc import Callable
from pathlib import Path

import pytest
import rig_images
from rig import Engine

from .conftest import Verdict
from .stores import cut, flip

pytestmark = pytest.mark.tier("docker")
Verify = Callable[..., Verdict]


def save(engine: Engine, path: Path) -> Path:
    """An image with a second layer, as ``docker save`` writes it."""
    client = engine.client()
    rig_images.load(client, [rig_images.BUSYBOX])
    made = client.containers.run(rig_images.BUSYBOX, ["sh", "-c", "echo changed > /etc/second"], network_mode="none",
                                 detach=True)  # fmt: skip
    made.wait()
    made.commit("saved", "1")
    made.remove()
    with path.open("wb") as file:
        for part in client.images.get("saved:1").save(named=True):
            file.write(part)
    return path


@pytest.mark.parametrize("which", ["bare_engine", "newest_bare_engine"])
def test_a_saved_image(verify: Verify, tmp_path: Path, request: pytest.FixtureRequest, which: str) -> None:
    image = save(request.getfixturevalue(which), tmp_path / "image.tar")
    whole = verify(image)
    assert (whole.code, whole.of("pass")[0]) == (0, ("files.broken", "image.tar"))
    data = image.read_bytes()
    flip(image, len(data) // 2)
    assert verify(image).of("fail") == [("files.broken", "image.tar")]
    image.write_bytes(data)
    cut(image, len(data) // 3)
    assert verify(image).of("fail") == [("files.broken", "image.tar")]

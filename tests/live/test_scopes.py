"""DeviceAllow as real systemd prints it for a container of Docker's."""

from gpudoctor.probes.container_scopes import parse_device_allow

#: systemd 252, Docker 20.10.24, runc 1.1.5.
SHOWN = """LoadState=loaded
DevicePolicy=strict
DeviceAllow=char-pts rwm
DeviceAllow=/dev/char/195:0 rw
DeviceAllow=/dev/char/1:3 rwm
DeviceAllow=char-* m
DeviceAllow=block-* m
"""


def test_what_may_only_be_made_is_not_allowed() -> None:
    assert parse_device_allow(SHOWN) == [("char-pts", "/dev/char/195:0", "/dev/char/1:3")]

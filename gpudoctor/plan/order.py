"""Who starts before whom: names that exist, and no circle."""

from collections.abc import Sequence

from gpudoctor.fit.model import Unusable
from gpudoctor.plan.service import Service


def checked(services: Sequence[Service]) -> None:
    """Refuse two services of one name, an order after a service that is not there, and a circle.

    Raises:
        Unusable: With the file and line of the service at fault.
    """
    known: dict[str, Service] = {}
    for service in services:
        if service.name in known:
            raise Unusable(f"there are two services called {service.name[:60]!r}", where=_where(service))
        known[service.name] = service
    for service in services:
        for name in service.after:
            if name not in known:
                raise Unusable(f"{service.name[:60]} starts after {name[:60]!r}, which is not there",
                               where=_where(service), hint="name a service of the plan")
    done: set[str] = set()
    for start in services:
        # An explicit stack: a chain may be as long as there are services.
        path: list[str] = []
        stack: list[tuple[str, bool]] = [(start.name, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                path.pop()
                done.add(name)
                continue
            if name in done:
                continue
            if name in path:
                circle = " -> ".join([*path[path.index(name):], name])
                raise Unusable(f"the order of starting goes in a circle: {circle[:200]}", where=_where(known[name]),
                               hint="take one of them out of after")
            path.append(name)
            stack.append((name, True))
            stack += [(other, False) for other in known[name].after]


def _where(service: Service) -> str:
    return f"{service.origin.file}:{service.origin.line}"

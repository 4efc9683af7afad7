"""A bar with rate and remaining time on a terminal while files are read; nothing in logs and pipes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from gpudoctor.verify.run import Progress


@contextmanager
def progress_bar(stream: TextIO, progress: Progress, total: int, *, enabled: bool) -> Iterator[Callable[[], None]]:
    """Yield a function that redraws the bar.

    Args:
        stream: Where it is drawn, if that is a terminal.
        progress: What the threads have done.
        total: Bytes to read.
        enabled: False draws nothing.
    """
    if not (enabled and stream.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(file=stream), transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=max(total, 1))

        def draw() -> None:
            bar.update(task, completed=min(progress.bytes_done, total), refresh=True)

        yield draw

"""Asking NVML: every call is announced before it is made, and every error becomes a reason."""

from collections.abc import Callable
from typing import Any

import pynvml

from gpudoctor.facts.base import Reason, Unavailable
from gpudoctor.probes.reporter import Reporter

NOT_SUPPORTED = 3
NO_PERMISSION = 4
INVALID_ARGUMENT = 2
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
VERSION_MISMATCH = 25
UNKNOWN = 999
#: After these the GPU gives no more answers worth having.
DEAD = (GPU_IS_LOST, RESET_REQUIRED)
_KINDS: dict[int, tuple[str, Reason]] = {
    NOT_SUPPORTED: ("the device does not support it", "not-supported"),
    FUNCTION_NOT_FOUND: ("this driver does not know it", "driver-too-old"),
    VERSION_MISMATCH: ("this driver does not know this form of it", "driver-too-old"),
    NO_PERMISSION: ("insufficient permissions", "no-permission"),
}


class GpuLost(Exception):
    """A GPU that must count as not answering. ``code`` is NVML's."""

    def __init__(self, text: str, code: int | None) -> None:
        super().__init__(text)
        self.code = code


def describe(error: Exception) -> str:
    """Return NVML's own words for an error, with its code."""
    code = getattr(error, "value", None)
    try:
        words = str(error)
    except Exception:
        # For codes that the Python library does not know it asks the C library, which may lack the function.
        words = "unknown error"
    return f"{words} (NVML code {code})"


def gap(call: str, error: Exception) -> Unavailable:
    """Return why a figure is not there."""
    code = FUNCTION_NOT_FOUND if isinstance(error, pynvml.NVMLLibraryMismatchError) else getattr(error, "value", None)
    if code in _KINDS:
        reason, kind = _KINDS[code]
        return Unavailable(f"{call}: {reason}", kind)
    return Unavailable(f"{call}: {describe(error) if code is not None else error}", "error")


def function(name: str) -> Callable[..., Any]:
    """Return a function of nvidia-ml-py that its older releases lack; there it is as if the driver lacked it."""
    found: Callable[..., Any] | None = getattr(pynvml, name, None)
    if found is not None:
        return found

    def missing(*_: Any) -> None:
        raise pynvml.NVMLError(FUNCTION_NOT_FOUND)

    missing.__name__ = name
    return missing


class Questions:
    """Questions to one device, or to NVML itself, under the name that the parent reports if one never ends."""

    def __init__(self, out: Reporter, item: str) -> None:
        self.out = out
        self.item = item

    def ask(
        self,
        call: Callable[..., Any],
        *arguments: Any,
        of: Callable[[Any], Any] | None = None,
        doing: str | None = None,
        fatal: tuple[int, ...] = DEAD,
    ) -> Any:
        """Return the answer, or Unavailable with the reason.

        Args:
            call: A function of nvidia-ml-py, or one that calls it.
            arguments: For it.
            of: What to make of the answer.
            doing: NVML's name of what ``call`` does, where that is not its own.
            fatal: The codes after which the GPU counts as not answering.

        Raises:
            GpuLost: One of those codes came: by default, off the bus or in need of a reset.
        """
        return self._ask(doing or call.__name__, call, arguments, of, fatal)

    def demand(self, call: Callable[..., Any], *arguments: Any, of: Callable[[Any], Any] | None = None) -> Any:
        """Ask what every working GPU answers: only "not supported" and the like are no failure.

        Raises:
            GpuLost: Any other error.
        """
        return self._ask(call.__name__, call, arguments, of, None)

    def _ask(
        self,
        name: str,
        call: Callable[..., Any],
        arguments: tuple[Any, ...],
        of: Callable[[Any], Any] | None,
        fatal: tuple[int, ...] | None,
    ) -> Any:
        self.out.start(self.item, doing=name)
        try:
            answer = call(*arguments)
            return answer if of is None else of(answer)
        except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError) as error:
            why = gap(name, error)
            code = getattr(error, "value", None)
            if why.kind == "error" and (fatal is None or code in fatal):
                raise GpuLost(why.reason, code) from None
            return why
        except ValueError as error:
            return gap(name, error)

    def fields(self, handle: Any, *numbers: int) -> list[int | float | Unavailable]:
        """Return field values by number; a field that the driver does not know is ``driver-too-old``."""
        answer = self.ask(pynvml.nvmlDeviceGetFieldValues, handle, list(numbers))
        if isinstance(answer, Unavailable):
            return [answer] * len(numbers)
        return [_field(value) for value in answer]


_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


def _field(value: Any) -> int | float | Unavailable:
    name = f"field {value.fieldId}"
    if value.nvmlReturn == INVALID_ARGUMENT:
        return Unavailable(f"{name}: this driver does not know it", "driver-too-old")
    if value.nvmlReturn in _KINDS:
        reason, kind = _KINDS[value.nvmlReturn]
        return Unavailable(f"{name}: {reason}", kind)
    if value.nvmlReturn != 0 or not 0 <= value.valueType < len(_MEMBERS):
        return Unavailable(f"{name}: NVML code {value.nvmlReturn}", "error")
    number: int | float = getattr(value.value, _MEMBERS[value.valueType])
    return number

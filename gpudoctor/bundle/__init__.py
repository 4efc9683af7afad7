"""One archive that installs gpudoctor where there is no network, and the single file that needs no installation."""


class BundleError(Exception):
    """Why no bundle was made; one line for the user, and a hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

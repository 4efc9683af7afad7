"""From files to facts: one nginx configuration, whole or in pieces."""

from gpudoctor.facts.proxy import Configuration
from gpudoctor.nginx.files import Names, Text, Tree
from gpudoctor.nginx.routes import routes
from gpudoctor.nginx.rules import problems, root_context


def read_configuration(
    path: str, names: Names, text: Text, *, folder: str | None = None, container: str | None = None
) -> Configuration:
    """Read a configuration with all that it includes.

    Args:
        path: Its first file.
        names: Returns the files that a pattern names.
        text: Returns a file's text.
        folder: Where relative names begin; that of the first file by default.
        container: The nginx runs in this one.
    """
    tree = Tree(path, names, text, folder)
    if path in tree.unread:
        return Configuration(path=path, container=container, files=0, failure="it could not be read")
    context = root_context(tree.directives)
    piece = context != "main"
    # Where a file could not be read on, what it would have declared is not known.
    partial = piece or bool(tree.unread) or any(each.kind in ("syntax", "no-file") for each in tree.problems)
    return Configuration(
        path=path, container=container, piece=piece, files=tree.files, routes=routes(tree.directives),
        problems=(*tree.problems, *problems(tree.directives, context, piece=partial))[:256],
        unread=tuple(tree.unread[:256]),
    )  # fmt: skip

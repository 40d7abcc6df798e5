"""`Remote`: what a provider knows about a file before it is downloaded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Remote:
    """One file of a data set on a server.

    Args:
        source: what a person would cite: a public address or the provider's own name of the data set.
        url: where the bytes are; may hold a secret, so it is never printed or stored as it is.
        name: the file's name here.
        checksum: `sha256:...` or `md5:...`, where the provider or a person gives one.
        license: the provider's words about what the data may be used for.
        secret: a key that may travel to the host of `url` alone.
    """

    source: str
    url: str
    name: str
    checksum: str | None = None
    license: str | None = None
    secret: str = ""

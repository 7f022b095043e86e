"""Set resource limits on this process, then become another program. Run as a script, with the standard library only.

    python -I -S launcher.py cpu=60 address_space=4294967296 -- program argument ...

A process of its own rather than `preexec_fn`, which may deadlock in a program with threads, and rather than the
`prlimit` tool, which macOS does not have. The limits hold before the program's first instruction.
"""

import os
import resource
import sys

LIMITS = {
    "cpu": resource.RLIMIT_CPU,
    "address_space": resource.RLIMIT_AS,
    "file_size": resource.RLIMIT_FSIZE,
    "descriptors": resource.RLIMIT_NOFILE,
    "core": resource.RLIMIT_CORE,
}


def limit(name: str, value: int) -> None:
    """Lower the soft and hard limit `name` to `value`; a lower hard limit that already stands is kept."""
    _, hard = resource.getrlimit(LIMITS[name])
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(LIMITS[name], (bound, bound))


def main(arguments: list[str]) -> None:
    """`name=value ... -- program argument ...`"""
    split = arguments.index("--")
    for setting in arguments[:split]:
        name, value = setting.split("=")
        limit(name, int(value))
    os.execv(arguments[split + 1], arguments[split + 1 :])


if __name__ == "__main__":
    main(sys.argv[1:])

"""What a figure of this clone depends on."""

import subprocess
from pathlib import Path
from typing import Any

from embedrnn.bench import environment


def describe() -> dict[str, Any]:
    """Return the commit beside what embedrnn.bench says of the machine."""
    return {"commit": _commit(), **environment.describe()}


def _commit() -> str | None:
    """Return the commit, marked if the tree differs from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()

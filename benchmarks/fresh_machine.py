"""README's two commands on a machine that has nothing: a minimal Debian with Python 3.11, make and git.

`python benchmarks/fresh_machine.py --root /tmp/fresh` (as root; Debian's debootstrap must be installed) makes such a
root, clones this repository into it at its last commit, and runs the commands there as root, and as a user who may not
write to HOME. Each step's seconds and exit status go to `benchmarks/results/fresh_machine.csv`. `--plan` only shows the
steps, which `Containerfile` has too; `--user` takes those of one of both.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from mammorgb_utils.runs import PROJECT_ROOT, write_csv

RESULT = PROJECT_ROOT / "benchmarks" / "results" / "fresh_machine.csv"
RELEASE = "bookworm"  # the Debian whose Python is 3.11
# debootstrap knows no virtual packages: python3-distutils is what python3.11-venv needs, and apt would find.
PACKAGES = ("python3.11", "python3.11-venv", "python3-distutils", "make", "git", "ca-certificates")
USERS = {"root": "0:0", "unprivileged": "1000:1000"}
COMMANDS = ("make reproduce PROFILE=smoke", "make test")
BOUND = ("/proc", "/dev", "/dev/shm")
# What this machine's pip was told about where packages lie holds there too; so do certificates and names of hosts.
SHARED = ("/etc/pip.conf", "/etc/xdg/pip", "/etc/ssl/certs/ca-certificates.crt", "/etc/resolv.conf", "/etc/hosts")


def steps(root: Path, commands: tuple[str, ...], users: Iterable[str] = USERS) -> Iterator[tuple[str, str, list[str]]]:
    """User, what is done, and its command."""
    included = f"--include={','.join(PACKAGES)}"
    yield "root", "minimal Debian", ["debootstrap", "--variant=minbase", included, RELEASE, str(root)]
    for user in users:
        home, ids = root / "srv" / user, USERS[user]
        yield user, "clone", ["git", "clone", "--quiet", str(PROJECT_ROOT), str(home / "mammorgb")]
        yield user, "owner", ["chown", "-R", ids, str(home / "mammorgb")]
        for command in commands:
            inside = f"cd /srv/{user}/mammorgb && {command}"
            yield user, command, ["chroot", f"--userspec={ids}", str(root), "/usr/bin/env", "-i", *variables(user),
                                  "/bin/sh", "-c", inside]


def variables(user: str) -> list[str]:
    """The environment of a login, with what pip was told on this machine; only root may write to HOME."""
    pip = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("PIP_")]
    return [f"HOME=/srv/{user}", "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", *sorted(pip)]


def share(root: Path) -> None:
    """Bring what pip was told, and bind kernel's and package folders; the mounts go with this process's namespace."""
    told = [value for name, value in os.environ.items() if name.startswith("PIP_")]
    for source in map(Path, SHARED):
        for file in [source] if source.is_file() else source.rglob("*"):
            target = root / str(file)[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            told += [file.read_text(errors="replace")] if "pip" in file.name else []
    named = [place for text in told for place in re.findall(r"(?<![\w:/])(?:file://)?(/[\w./-]+)", text)]
    places = {Path(*Path(place).parts[:3]) for place in named}
    for folder in (*map(Path, BOUND), *sorted(place for place in places if place.is_dir())):
        (root / str(folder)[1:]).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", str(folder), str(root / str(folder)[1:])], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("/tmp/fresh-machine"), help="a folder that isn't there yet")
    parser.add_argument("--without-tests", action="store_true", help="the first command alone")
    parser.add_argument("--plan", action="store_true", help="show the steps, do nothing")
    parser.add_argument("--user", choices=USERS, help="as this one alone; what others did stays in the table")
    options = parser.parse_args()
    commands, users = COMMANDS[:1] if options.without_tests else COMMANDS, [options.user] if options.user else USERS
    planned = list(steps(options.root, commands, users))
    if options.plan:
        print("\n".join(f"{user:<13} {shlex.join(command)}" for user, _, command in planned))
        return
    if options.root.exists() or os.geteuid() or not shutil.which("debootstrap"):
        sys.exit(f"{options.root} must not be there yet, the script runs as root, and debootstrap must be installed")
    if "FRESH" not in os.environ:  # mounts of its own
        os.execvpe("unshare", ["unshare", "--mount", sys.executable, *sys.argv], os.environ | {"FRESH": "1"})
    commit = subprocess.run(["git", "-C", str(PROJECT_ROOT), "rev-parse", "--short=12", "HEAD"], check=True, text=True,
                            capture_output=True).stdout.strip()
    rows = []
    for user, what, command in planned:
        began = time.monotonic()
        done = subprocess.run(command, check=False)
        rows.append({"commit": commit, "user": user, "step": what,
                     "seconds": round(time.monotonic() - began, 1), "exit": done.returncode})
        print(rows[-1], flush=True)
        if what == "minimal Debian":
            share(options.root)
        if done.returncode:
            break
    known = [pd.read_csv(RESULT)] if RESULT.is_file() and options.user else []
    write_csv(RESULT, pd.concat([*known, pd.DataFrame(rows)]).drop_duplicates(["user", "step"], keep="last"))
    sys.exit(rows[-1]["exit"])


if __name__ == "__main__":
    main()

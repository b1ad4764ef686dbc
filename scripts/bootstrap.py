#!/usr/bin/env python3
"""What `make` calls: sets up `.venv/` where that is missing or out of date, then runs the product, tests or benchmarks.

Only the standard library, and only syntax that old Pythons parse, so that they can say what is missing instead of
showing a SyntaxError. Everything that can go wrong on a fresh machine ends in one line that says what to do.
"""

# ruff: noqa: B904, RUF005, UP024, UP031
# (their remedies are newer syntax)

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, ".meetviz-lock")
LOG = os.path.join(VENV, "install.log")
LOCK = os.path.join(ROOT, "requirements.lock")
OLDEST = (3, 11)
NEWEST = (3, 14)
# The installed packages take about 2 GB, with CUDA's libraries (pip's choice on Linux) about 8 GB.
MIN_INSTALL_MB = 2500
MIN_FREE_MB = 200
# These come as source and are the reason for the compiler.
BUILT_HERE = ("webrtcvad", "pocketsphinx")


class Problem(Exception):
    """One line for the person at the keyboard."""


def check_python(version):
    """Raise Problem where this version cannot run MeetViz."""
    here = "%d.%d" % tuple(version[:2])
    if tuple(version[:2]) < OLDEST:
        raise Problem("Python 3.11 or newer is needed; this is Python %s. Install python3.11 and try again." % here)
    if tuple(version[:2]) > NEWEST:
        raise Problem("Python %s is too new for some packages; install Python 3.11 to 3.14 and try again." % here)


def home():
    """The folder of the data: MEETVIZ_HOME, or var/ in the checkout."""
    return os.path.abspath(os.path.expanduser(os.environ.get("MEETVIZ_HOME") or os.path.join(ROOT, "var")))


def check_folder(folder, what):
    """Raise Problem where the folder cannot be made or written."""
    try:
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o700)
        probe = os.path.join(folder, ".write-test-%d" % os.getpid())
        with open(probe, "w") as file:
            file.write("x")
        os.remove(probe)
    except (IOError, OSError) as error:
        if error.errno == 28:
            raise Problem("The disk of %s is full. Free some space and try again." % folder)
        raise Problem("Cannot write %s: %s. %s" % (folder, error.strerror, what))


def check_space(folder, needed_mb, what_for):
    """Raise Problem where the folder's disk has too little room."""
    needed_mb = int(os.environ.get("MEETVIZ_MIN_FREE_MB") or needed_mb)
    status = os.statvfs(folder)
    free_mb = status.f_bavail * status.f_frsize // 1000000
    if free_mb < needed_mb:
        raise Problem(
            "The disk of %s is full: %d MB free, %d MB needed %s. Free some space and try again."
            % (folder, free_mb, needed_mb, what_for)
        )


def lock_fingerprint():
    """What has to be installed, as one short text: another lock or another Python gives another."""
    import hashlib

    with open(LOCK, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    return "%s python%d.%d" % ((digest,) + tuple(sys.version_info[:2]))


def venv_is_current():
    """True when `.venv/` works and holds what the lock says."""
    try:
        with open(STAMP) as file:
            stamp = file.read().split()
        with open(LOCK, "rb") as file:
            import hashlib

            return stamp[0] == hashlib.sha256(file.read()).hexdigest() and venv_works()
    except (IOError, OSError, IndexError):
        return False


def venv_works():
    """True when its Python starts (not so after the checkout was moved or the system's Python was removed)."""
    try:
        with open(os.devnull, "w") as nowhere:
            test = "import sys; sys.exit(not (%r <= sys.version_info[:2] <= %r))" % (OLDEST, NEWEST)
            return subprocess.call([VENV_PYTHON, "-c", test], stdout=nowhere, stderr=nowhere) == 0
    except OSError:
        return False


def set_up():
    """Make `.venv/` what the lock says. Raises Problem."""
    if venv_is_current():
        return
    import fcntl

    check_folder(ROOT, "MeetViz installs into .venv/ there; make it writable for you, or clone it where you may write.")
    descriptor = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another set-up is at work here; waiting for it ...")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not venv_is_current():
            install()
    finally:
        os.close(descriptor)


def install():
    """Create the virtual environment and install the lock into it. Raises Problem."""
    if not venv_works():
        check_space(ROOT, MIN_INSTALL_MB, "to install")
        try:
            import ensurepip  # noqa: F401
            import venv  # noqa: F401
        except ImportError:
            raise Problem(
                "This Python has no venv module. Install it (Debian, Ubuntu: apt install python3-venv) and try again."
            )
        say("Making a virtual environment in .venv/ ...")
        explain_failure([sys.executable, "-m", "venv", "--clear", VENV], "Making .venv/ failed")
    with open(LOCK) as file:
        total = sum(1 for line in file if "==" in line and not line.startswith("#"))
    say("Installing %d packages into .venv/; this takes a few minutes the first time ..." % total)
    pip = [VENV_PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-c", LOCK]
    if not compiler():
        # Without one, find out in seconds, not after everything else was fetched. (A wheel may be at hand after all.)
        explain_failure(pip + ["--no-deps"] + list(BUILT_HERE), "Installing failed")
    explain_failure(pip + ["-r", LOCK], "Installing failed", total)
    with open(STAMP, "w") as file:
        file.write(lock_fingerprint() + "\n")
    say("Installed.")


def compiler():
    """The C compiler's name, or None."""
    from shutil import which

    names = [os.environ.get("CC", "").split(" ")[0], "cc", "gcc", "clang"]
    return next((name for name in names if name and which(name)), None)


def explain_failure(command, what, total=0):
    """Run, output into the log; show how far it is on a terminal. Raises Problem with the reason in one line."""
    on_terminal = sys.stdout.isatty()
    seen = 0
    output = []
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
    try:
        for line in process.stdout:
            output.append(line)
            if line.startswith(("Collecting ", "Requirement already")):
                seen += 1
            if on_terminal and total:
                doing = re.match(r"\s*(Collecting|Downloading|Building|Installing) (\S+)", line)
                if doing:
                    share = "%d of %d" % (min(seen, total), total)
                    sys.stdout.write("\r\033[K  %s  %s %s" % (share, doing.group(1).lower(), doing.group(2)[:60]))
                    sys.stdout.flush()
    finally:
        if process.poll() is None and sys.exc_info()[0] is not None:
            process.terminate()
        process.wait()
        if on_terminal and total:
            sys.stdout.write("\r\033[K")
    text = "".join(output)
    try:
        with open(LOG, "a") as file:
            file.write("$ %s\n%s" % (" ".join(command), text))
    except (IOError, OSError):
        pass
    if process.returncode != 0:
        raise Problem(diagnose(text, what))


REASONS = (
    (
        r"No space left on device|Errno 28|Disk quota exceeded",
        "The disk is full. Free some space (about 3 GB are needed, with CUDA's libraries 8 GB) and try again.",
    ),
    (
        r"Python\.h: No such file|Python\.h' file not found",
        "Python's headers are missing. Install them (Debian, Ubuntu: apt install python3-dev) and try again.",
    ),
    (
        r"(gcc|cc|clang|c\+\+|g\+\+)['\"]? failed: No such file|unable to execute '?\S*(gcc|cc|clang)"
        r"|command not found: (gcc|cc)|xcrun: error|CMAKE_C(XX)?_COMPILER"
        r"|No such file or directory: '\S*(gcc|cc|clang)'",
        "A C compiler is missing. Install one (Debian, Ubuntu: apt install build-essential; macOS: "
        "xcode-select --install) and try again.",
    ),
    (
        r"ensurepip is not available|No module named ensurepip|No module named pip",
        "This Python has no complete venv module. Install it (Debian, Ubuntu: apt install python3-venv) and try again.",
    ),
    (
        r"Temporary failure in name resolution|Name or service not known|nodename nor servname|NewConnectionError"
        r"|Network is unreachable|Connection refused|ConnectTimeout|Read timed out|ProxyError|SSLError"
        r"|Failed to establish a new connection|Could not fetch URL",
        "The package index cannot be reached. Check the network (or pip's proxy settings) and try again.",
    ),
    (
        r"Permission denied|Errno 13|Read-only file system",
        "Cannot write .venv/. Make it writable for you and try again.",
    ),
)


def diagnose(text, what):
    """One line for a failed command, from its output."""
    for pattern, advice in REASONS:
        if re.search(pattern, text):
            return advice
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return "%s: %s (all of it in %s)" % (what, (errors or lines or ["no output"])[-1][:200], LOG)


def say(text):
    print(text)
    sys.stdout.flush()


def become(*command):
    """Replace this process, so that signals and the exit status are the command's own."""
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execv(VENV_PYTHON, (VENV_PYTHON,) + command)


def run(*options):
    folder = home()
    check_folder(folder, "Set MEETVIZ_HOME to a folder you own.")
    check_space(folder, MIN_FREE_MB, "for data")
    set_up()
    become("manage.py", "serve_local", *options)


def demo():
    run("--demo")


def lint():
    set_up()
    os.chdir(ROOT)
    imports = "import sys; sys.argv = ['lint-imports']; from importlinter.cli import lint_imports_command as run; run()"
    for command in (["-m", "ruff", "check", "."], ["-c", imports], ["-m", "mypy"]):
        status = subprocess.call([VENV_PYTHON] + command)
        if status != 0:
            sys.exit(status)


def test(*options):
    lint()
    become("-m", "pytest", *options)


def bench(*names):
    set_up()
    become("-m", "tests.bench", *names)


def clean():
    """Remove what can be made again. The data in var/ is not ours to remove."""
    import shutil

    shutil.rmtree(VENV, ignore_errors=True)
    for name in (".pytest_cache", ".ruff_cache", ".mypy_cache", ".import_linter_cache", ".hypothesis"):
        shutil.rmtree(os.path.join(ROOT, name), ignore_errors=True)
    for folder, names, _files in os.walk(ROOT):
        names[:] = [name for name in names if name not in (".git", "var")]
        if "__pycache__" in names:
            shutil.rmtree(os.path.join(folder, "__pycache__"), ignore_errors=True)
            names.remove("__pycache__")
    say("Removed .venv/ and caches. Your data in %s stays." % home())


ACTIONS = {"run": run, "demo": demo, "test": test, "lint": lint, "bench": bench, "clean": clean}


def main(arguments):
    # `--as-python 3.8` pretends to be another version: for the test of that message.
    version = sys.version_info[:2]
    if arguments[:1] == ["--as-python"]:
        version = tuple(int(part) for part in arguments[1].split("."))
        arguments = arguments[2:]
    if not arguments or arguments[0] not in ACTIONS:
        sys.stderr.write("usage: bootstrap.py %s\n" % "|".join(sorted(ACTIONS)))
        return 2
    try:
        check_python(version)
        ACTIONS[arguments[0]](*arguments[1:])
    except Problem as problem:
        sys.stderr.write("%s\n" % problem)
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

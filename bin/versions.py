#!/usr/bin/env python3
"""Print a process's entry of versions.yml: from its stage's JSON, and of PACKAGES it also ran."""

import json
import platform
from importlib import metadata
from pathlib import Path

import click


@click.command(help=__doc__)
@click.argument("process")
@click.argument("record", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("packages", nargs=-1)
def main(process: str, record: Path, packages: tuple[str, ...]) -> None:
    versions = {"python": platform.python_version(), **json.loads(record.read_text())["versions"]}
    versions |= {package: metadata.version(package) for package in packages}
    click.echo(f'"{process}":')
    for name, version in sorted(versions.items()):
        click.echo(f'    {name}: "{version}"')


if __name__ == "__main__":
    main()

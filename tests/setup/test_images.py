"""tools/images.sh: what it builds and pushes, with an engine that only speaks like one."""

import csv
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = """\
#!/usr/bin/env bash
# docker or podman, by its name; the digest is made of the image's name
echo "$*" >> "$(dirname "$0")/calls"
if [ "$1" = push ]; then
    [[ "$*" != *broken.example/nf-lloki-bench* ]] || exit 125
    digest=sha256:$(printf %s "${@: -1}" | sha256sum | cut -d' ' -f1)
    case $0 in
        */podman) printf %s "$digest" > "$3" ;;
        *) echo "The push refers to repository [$2]"; echo "0.1.0: digest: $digest size: 906" ;;
    esac
fi
"""


@pytest.fixture(params=["docker", "podman"])
def images(tmp_path, request):
    """Runs tools/images.sh; gives its process, what it asked of the engine, and the table."""
    engine = tmp_path / request.param
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    table = tmp_path / "digests.csv"

    def run(*arguments):
        (tmp_path / "calls").write_text("")
        done = subprocess.run(
            [ROOT / "tools/images.sh", *arguments], capture_output=True, text=True,
            env={"PATH": "/usr/bin:/bin", "ENGINE": str(engine), "DIGESTS": str(table)},
        )  # fmt: skip
        rows = list(csv.DictReader(table.open())) if table.is_file() else []
        return done, (tmp_path / "calls").read_text().splitlines(), rows

    return run


def test_a_parent_is_built_first_and_nothing_is_pushed_unless_asked(images):
    done, calls, rows = images("torch", "core")
    assert done.returncode == 0, done.stderr
    assert [call.rsplit("/", 1)[1] for call in calls] == ["core", "torch"]
    assert all(call.startswith("build ") for call in calls) and not rows


def test_the_table_has_the_digest_of_every_image_pushed_and_of_this_registry_alone(images):
    done, calls, rows = images("--push", "ghcr.io/you/", "core", "bench")
    assert done.returncode == 0, done.stderr
    assert [row["image"] for row in rows] == ["bench", "core"]
    assert {row["registry"] for row in rows} == {"ghcr.io/you"}
    assert sum(call.startswith("push ") for call in calls) == 2
    assert all(len(row["digest"]) == 71 for row in rows)
    first = {row["image"]: row for row in rows}

    _, _, rows = images("--push", "ghcr.io/you", "harmony")
    assert [row["image"] for row in rows] == ["bench", "core", "harmony"]
    assert first.items() <= {row["image"]: row for row in rows}.items()

    _, _, rows = images("--push", "ghcr.io/others", "core")
    assert [(row["image"], row["registry"]) for row in rows] == [("core", "ghcr.io/others")]


def test_an_image_that_cannot_be_pushed_ends_the_work_and_has_no_row(images):
    done, _, rows = images("--push", "broken.example", "core", "bench", "harmony")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: bench: not pushed to broken.example"
    assert [row["image"] for row in rows] == ["core"]


@pytest.mark.parametrize("wrong", [["--push"], ["--pull", "x"], ["nothing"]])
def test_a_wrong_call_ends_with_one_line(images, wrong):
    done, calls, _ = images(*wrong)
    assert done.returncode == 2 and not calls
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1

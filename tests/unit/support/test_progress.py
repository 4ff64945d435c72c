"""Progress: on standard error, and in the work folder of a task."""

from lloki.support import progress
from lloki.support.cli import Run
from lloki.support.progress import Progress


def test_progress_is_quiet_when_short_and_sparing_when_long(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with Progress(3, "quick") as told:
        for _ in range(3):
            told.update()
    assert capsys.readouterr().err == ""
    with Progress(100, "slow") as told:
        for _ in range(100):
            clock[0] += 1
            told.update(note="loss 1")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "slow 10/100, 90 s left loss 1" and lines[-1].startswith("slow 100/100, 0 s")


def test_progress_renews_one_line_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(2, "seen") as told:
        told.update(2)
    assert capsys.readouterr().err == "\rseen 2/2, 0 s left\x1b[K\n"


def test_progress_of_a_task_is_in_its_work_folder(monkeypatch, tmp_path):
    task = tmp_path / "work/0a" / ("1f" * 15)
    task.mkdir(parents=True)
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])

    def steps():
        with Run("train_cae", {"output": "out/a.fp.h5ad"}).progress(20, "epochs") as told:
            for _ in range(20):
                clock[0] += 1
                told.update(note="loss 1")

    monkeypatch.chdir(tmp_path)
    steps()
    assert not list(tmp_path.rglob("*.log"))
    monkeypatch.chdir(task)
    steps()
    lines = (tmp_path / "work/progress.log").read_text().splitlines()
    assert [line[21:] for line in lines] == [
        "train_cae a: epochs started",
        "train_cae a: epochs 25 %, 5/20, 15 s left loss 1",
        "train_cae a: epochs 50 %, 10/20, 10 s left loss 1",
        "train_cae a: epochs 75 %, 15/20, 5 s left loss 1",
        "train_cae a: epochs 100 %, 20/20, 0 s left loss 1",
    ]
    with Run("impute", {"output": "b.imputed.h5ad"}).progress(30, "propagation") as told:
        told.update(2)
    told = (tmp_path / "work/progress.log").read_text()
    assert told.endswith("impute b: propagation ended at 2/30\n")
    (tmp_path / "work/progress.log").unlink()
    (tmp_path / "work/progress.log").mkdir()  # cannot be written
    steps()

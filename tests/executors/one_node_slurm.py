"""A Slurm of one node on this machine, with a GPU that is none; for root, as Debian has it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

CONFIG = """\
ClusterName=one
SlurmctldHost=localhost
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName=localhost NodeHostname={host} CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """Starts the daemons and stops them; `environment` is for its clients."""

    def __init__(self):
        self.folder = Path(
            tempfile.mkdtemp(prefix="slurm")
        )  # below /tmp: munge's user has to get in
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._daemons = []

    def __enter__(self):
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 9 // 10
        (self.folder / "slurm.conf").write_text(CONFIG.format(
            folder=self.folder, host=socket.gethostname(), cpus=os.cpu_count(), memory=memory
        ))  # fmt: skip
        device = self.folder / "nvidia0"
        os.mknod(device, 0o600 | 0o020000, os.makedev(1, 3))  # as /dev/null
        (self.folder / "gres.conf").write_text(f"NodeName=localhost Name=gpu File={device}\n")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        shutil.chown(key, "munge", "munge")
        self.folder.chmod(0o755)
        home = self.folder / "munge"
        home.mkdir()
        shutil.chown(home, "munge", "munge")
        (self.folder / "munge.socket").symlink_to(home / "munge.socket")
        self._start(
            "runuser", "-u", "munge", "--", "munged", "--foreground", f"--key-file={key}",
            f"--socket={home}/munge.socket", f"--pid-file={home}/munged.pid",
            f"--log-file={home}/munged.log", f"--seed-file={home}/munged.seed", "--force",
        )  # fmt: skip
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D", "-N", "localhost")
        for _ in range(30):
            node = self.run("sinfo", "-h", "-o", "%T").stdout.strip()
            if node == "idle":
                return self
            time.sleep(0.5)
        logs = "".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
        self.__exit__()
        raise RuntimeError(f"the node is {node or 'silent'}\n{logs}")

    def __exit__(self, *_):
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait()
        shutil.rmtree(self.folder)

    def run(self, *command):
        return subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True
        )

    def _start(self, *command):
        self._daemons.append(subprocess.Popen(
            command, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ))  # fmt: skip

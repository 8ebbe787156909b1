from __future__ import annotations

import subprocess
import sys

from edgeconv.benchmarks.agent.respawn import agent_command, agent_environment
from edgeconv.benchmarks.agent_archive import build_agent


def test_the_agent_starts_itself_again():
    done = subprocess.run(
        agent_command("--version"), capture_output=True, text=True, env=agent_environment(), cwd="/", check=True
    )
    assert done.stdout.startswith("edgeconv agent")


def test_an_agent_in_one_file_starts_itself_again(tmp_path):
    archive = tmp_path / "agent.pyz"
    archive.write_bytes(build_agent())
    code = (
        f"import sys; sys.path.insert(0, {str(archive)!r})\n"
        "from edgeconv.benchmarks.agent.sampler import Sampler\n"
        "from edgeconv.benchmarks.agent.respawn import agent_command\n"
        "print(agent_command('state'))\n"
        "with Sampler(interval_seconds=0.1) as sampler:\n"
        "    print(len(sampler.looks()))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str([sys.executable, str(archive), "state"]), "1"]

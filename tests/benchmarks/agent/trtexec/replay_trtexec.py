"""Answers as `trtexec` with what was recorded on machines of others; it computes nothing and makes no number up.

Its name on the PATH is `trtexec`.  The folder that it lies in has `replay.json`: {"banner": the version in the banner,
"files": the recorded file for each ``--export…`` option, "logs": the recorded logs to print, "fail": the log to fail
with, "kill": a signal to die of, "sleep": seconds to hang}.  An option that the version does not have is refused in the
words of `trtexec`.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

COMMON = {
    "--onnx",
    "--saveEngine",
    "--loadEngine",
    "--loadInputs",
    "--warmUp",
    "--duration",
    "--iterations",
    "--noTF32",
    "--exportTimes",
    "--exportProfile",
    "--exportLayerInfo",
    "--exportOutput",
    "--profilingVerbosity",
    "--help",
}
OWN = {
    "v8205": {"--int8", "--fp16", "--useCudaGraph", "--useSpinWait", "--buildOnly", "--workspace"},
    "v8502": {"--int8", "--fp16", "--useCudaGraph", "--useSpinWait", "--buildOnly", "--workspace"},
    "v100300": {"--int8", "--fp16", "--useCudaGraph", "--useSpinWait", "--skipInference"},
    "v110100": {"--includeDataTransfers", "--noCudaGraph", "--noSpinWait", "--skipInference"},
}  # fmt: skip


def main():
    folder = Path(__file__).resolve().parent
    replay = json.loads((folder / "replay.json").read_text())
    with (folder / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(sys.argv[1:]) + "\n")
    banner = f"TensorRT.trtexec [TensorRT {replay['banner']}] # {' '.join(sys.argv)}"
    print(f"&&&& RUNNING {banner}", flush=True)
    options = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    unknown = set(options) - COMMON - OWN.get(replay["banner"], set())
    if unknown:
        print(f"[06/20/2025-12:02:56] [E] Unknown option: {min(unknown)} {options[min(unknown)]}")
        return failed(banner)
    if "--help" in options:
        return 0
    if "--saveEngine" in options:
        Path(options["--saveEngine"]).write_bytes(b"an engine of the replayer")
    if "--loadEngine" in options and "refuse" in replay and not (folder / "refused").exists():
        (folder / "refused").touch()
        print((folder / replay["refuse"]).read_text(), end="")
        return failed(banner)
    if "sleep" in replay:
        time.sleep(replay["sleep"])
    if "kill" in replay:
        os.kill(os.getpid(), getattr(signal, replay["kill"]))
    if "fail" in replay:
        print((folder / replay["fail"]).read_text(), end="")
        return failed(banner)
    for log in replay.get("logs", []):
        print((folder / log).read_text(), end="")
    for pair in options.get("--loadInputs", "").split(","):
        if pair:
            assert Path(pair.rpartition(":")[2]).stat().st_size > 0
    for option, path in options.items():
        if option.startswith("--export"):
            shutil.copyfile(folder / replay["files"][option], path)
    print(f"&&&& PASSED {banner}")
    return 0


def failed(banner):
    print(f"&&&& FAILED {banner}")
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""Stands in for `benchmark_model`: outputs are computed by LiteRT itself, the report is a recorded one.

The folder that it lies in has `report.log`, and `stand_in.json` with what goes wrong: {"exit": code, "text": words,
"sleep": seconds, "kill": true, "silent outputs": true}.
"""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np


def main():
    folder = Path(__file__).resolve().parent
    trouble = json.loads((folder / "stand_in.json").read_text())
    options = dict(argument[2:].partition("=")[::2] for argument in sys.argv[1:])
    with (folder / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(options) + "\n")
    if "sleep" in trouble:
        time.sleep(trouble["sleep"])
    if "kill" in trouble:
        os.kill(os.getpid(), signal.SIGKILL)
    if "exit" in trouble:
        print(trouble["text"])
        return trouble["exit"]
    if "output_filepath" in options and "silent outputs" not in trouble:
        infer(options)
    print((folder / "report.log").read_text(), end="")
    return 0


def infer(options):
    """One inference of the files, in the way the tool reads its flags: names split at single colons."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(options["graph"])
    interpreter.allocate_tensors()
    details = {detail["name"]: detail for detail in interpreter.get_input_details()}
    shapes = options["input_layer_shape"].split(":")
    for name, shape in zip(options["input_layer"].split(","), shapes, strict=True):
        assert details[name]["shape"].tolist() == [int(size) for size in shape.split(",")]
    for item in options["input_layer_value_files"].split(","):
        name, path = re.split(r"(?<!:):(?!:)", item)
        detail = details[name.replace("::", ":")]
        data = np.frombuffer(Path(path).read_bytes(), detail["dtype"])
        interpreter.set_tensor(detail["index"], data.reshape(detail["shape"]))
    interpreter.invoke()
    outputs = [interpreter.get_tensor(detail["index"]).tobytes() for detail in interpreter.get_output_details()]
    Path(options["output_filepath"]).write_bytes(b"".join(outputs))


if __name__ == "__main__":
    sys.exit(main())

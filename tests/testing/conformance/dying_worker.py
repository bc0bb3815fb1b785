"""A child that is wrong on purpose: it dies of `die`, goes silent at `hang`, and leaves at `leave`."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    for line in sys.stdin:
        names = [pickle.loads(Path(path).read_bytes())[1]["name"] for path in json.loads(line)["batch"]]
        if "die" in names:
            os.kill(os.getpid(), signal.SIGFPE)
        if "hang" in names:
            time.sleep(60)
        if "leave" in names:
            print("Traceback: left", file=sys.stderr)
            sys.exit(3)
        print(json.dumps([[("right"), ""] for _ in names]), flush=True)


if __name__ == "__main__":
    main()

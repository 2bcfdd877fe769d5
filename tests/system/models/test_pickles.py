"""A fit in another process, as in that of a backfill, gives the files that it gives in this one."""

import hashlib
import json
import os
import subprocess
import sys

from tests.unit.models import test_pickles


def test_other_processes_write_the_same_bytes():
    """Where objects lie in memory and how texts are hashed differ between processes, such as those of a backfill."""
    code = (
        "from tests.unit.models import test_pickles as t; from headrace.models import pickles;"
        "import hashlib, json;"
        "kept = [t.fitted_member('pipeline')[0].stored, "
        "pickles.pickled({'words': {'red', 'blue', 'a', 'b'}}), pickles.pickled(t.local_class()())];"
        "print(json.dumps([hashlib.sha256(each.content).hexdigest() for each in kept]))"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    ]
    assert json.loads(answers[0]) == json.loads(answers[1])
    here = hashlib.sha256(test_pickles.fitted_member("pipeline")[0].stored.content).hexdigest()
    assert json.loads(answers[0])[0] == here

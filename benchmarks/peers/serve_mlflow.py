"""MLflow's scoring server, one process, and the pipeline of `passengers_model` as its scikit-learn flavour saves it.

It answers both classes' probabilities, gives no ids, checks no rows (there is no signature) and logs nothing.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    port, folder = sys.argv[1:3]
    served = ["mlflow", "models", "serve", "-m", folder, "-p", port, "--env-manager", "local", "--workers", "1"]
    os.execv(os.path.join(os.path.dirname(sys.executable), "mlflow"), served)  # noqa: PTH118, PTH120

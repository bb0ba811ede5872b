#!/usr/bin/env bash
# Snakemake runs this in the new environment, from the folder the workflow was started in.
set -euo pipefail
python -m pip install --no-deps --editable .

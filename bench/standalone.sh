#!/usr/bin/env bash
# Measures one process of Vectron on a TEXMEX data set, side by side with
# libhnswlib-dev: prints a table, writes build/bench/standalone.json.
#
#   bench/standalone.sh FOLDER [--quick] [--kills N] [--binary build/release/vectron]
set -euo pipefail
exec python3 "$(dirname "$0")/standalone.py" "$@"

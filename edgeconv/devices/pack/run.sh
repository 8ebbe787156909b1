#!/bin/sh
# Starts the pack's Python: run SCRIPT ARGUMENTS.  POSIX sh, for Android's mksh as for dash and busybox.
D=${0%/*}
case $D in /*) ;; *) D=$PWD/$D ;; esac
unset LD_PRELOAD LD_LIBRARY_PATH PYTHONSTARTUP
export PYTHONHOME="$D" PYTHONPATH="$D/site" PYTHONNOUSERSITE=1 ORT_DISABLE_TELEMETRY=1
export HOME="${HOME:-$D/tmp}" TMPDIR="${TMPDIR:-$D/tmp}" LC_ALL=C.UTF-8
mkdir -p "$TMPDIR"
# --argv0 makes sys.executable this script, so that Python can start itself again.
exec "$D/lib/ld-linux-aarch64.so.1" --argv0 "$D/${0##*/}" --library-path "$D/lib" "$D/bin/python3" -S -s "$@"

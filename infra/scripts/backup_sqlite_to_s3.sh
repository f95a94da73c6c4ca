#!/bin/bash
# Backs up the SQLite database of a Docker volume to S3: the script that the guide calls,
# with Litekeep behind it.
#
#   S3_BUCKET            chuden-demoapp        SQLITE_VOLUME_NAME   manual_instance
#   S3_PREFIX            sqlite-backup         DB_FILE_NAME         manual_generator.db
#   LOCAL_BACKUP_DIR     <deploy folder>_backups/sqlite
#   RETAIN_LOCAL_DAYS    7
#
# A deployment makes its folder anew, this script included. So nothing that must last lies in
# it: not the local copies, not the state, and not the environment that Litekeep runs in:
#
#   LITEKEEP_HOME        /opt/litekeep; ~/.local/share/litekeep for others than root
#   LITEKEEP_SOURCE      what to make it from where it is not there: a checkout of Litekeep or
#                        a wheel; the deploy folder itself, if it is a checkout
#
# No configuration file counts, unless LITEKEEP_CONFIG names one. Arguments are those of
# `litekeep backup`. The exit codes are its own; 75 says that another run is active.
set -euo pipefail

fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 2
}

# As it was called, not as links resolve: a link to the newest release stays the same.
deploy_folder() {
    local script=$0
    if [ -L "$script" ]; then script=$(readlink -f -- "$script"); fi
    CDPATH='' cd -- "$(dirname -- "$script")/../.." && pwd
}

home_folder() {
    if [ -n "${LITEKEEP_HOME:-}" ]; then
        printf '%s\n' "$LITEKEEP_HOME"
    elif [ "$(id -u)" -eq 0 ]; then
        echo /opt/litekeep
    else
        printf '%s\n' "${XDG_DATA_HOME:-${HOME:?}/.local/share}/litekeep"
    fi
}

make_environment() {
    local home=$1 source=${LITEKEEP_SOURCE:-}
    if [ -z "$source" ] && [ -f "$2/src/litekeep/version.py" ]; then source=$2; fi
    if [ -z "$source" ]; then
        fail "Litekeep is not installed in $home" \
            "Install it there, or set LITEKEEP_SOURCE to a checkout of it or a wheel."
    fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail 'Litekeep needs Python 3.11 or newer' "Make the environment $home with another one."
    python3 -c 'import ensurepip, venv' 2> /dev/null ||
        fail 'Python cannot make an environment: it lacks venv and ensurepip' \
            'On Debian and Ubuntu: apt-get install python3-venv'
    mkdir -p "$home"
    exec 9> "$home/.lock"
    flock 9
    # Another run may have made it meanwhile.
    if [ -x "$home/bin/litekeep" ]; then return; fi
    echo "Making the environment $home from $source" >&2
    python3 -m venv "$home" >&2
    # pip writes the program when all else of the package is there, so that a run which was
    # cut short leaves none, and the next one goes on.
    local pip=("$home/bin/python" -m pip install --quiet --disable-pip-version-check)
    if [ -d "$source" ]; then
        "${pip[@]}" --require-hashes --only-binary :all: \
            -r "$source/requirements/build.txt" -r "$source/requirements/runtime.txt" >&2
        "${pip[@]}" --no-deps --no-build-isolation "$source" >&2
    else
        "${pip[@]}" "$source[all]" >&2
    fi
    exec 9>&-
}

main() {
    local deploy home
    deploy=$(deploy_folder)
    home=$(home_folder)
    if [ ! -x "$home/bin/litekeep" ]; then make_environment "$home" "$deploy"; fi
    export S3_BUCKET="${S3_BUCKET:-chuden-demoapp}"
    export LOCAL_BACKUP_DIR="${LOCAL_BACKUP_DIR:-${deploy}_backups/sqlite}"
    export LITEKEEP_CONFIG="${LITEKEEP_CONFIG:-/dev/null}"
    if [ -t 1 ]; then
        # The same lines on a terminal as in a log, in place of a moving bar.
        "$home/bin/litekeep" backup "$@" | cat
        exit
    fi
    exec "$home/bin/litekeep" backup "$@"
}

# Read to its end before anything is run: a deployment may replace this file meanwhile.
main "$@"; exit

# shellcheck shell=bash disable=SC2034
# Sourced by every script here: strict mode, the checkout as working directory, and the few words the scripts share.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # an ordinary user's PATH on Debian has no sbin
unset PYTHONDONTWRITEBYTECODE # images set it, and then each start of Python compiles everything: a second for the daemon

TOOLS=$PWD/.tools # all that is fetched, started or remembered for development; `make clean` takes it away
REGISTRY=127.0.0.1:5480 # named in the configuration of the example add-ons
mkdir -p "$TOOLS"
[ -e "$TOOLS/.gitignore" ] || echo '*' >"$TOOLS/.gitignore"

say() { printf '\033[36m·\033[0m %s\n' "$*" >&2; }
warn() { printf '\033[33m!\033[0m %s\n' "$*" >&2; }
fail() {
    printf '\033[31m✗\033[0m %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }

# Root, or entitled to sudo. A password is asked for only where somebody sits; NO_SUDO=1 leaves sudo alone.
can_be_root() {
    is_root && return
    [ -z "${NO_SUDO:-}" ] && have sudo || return 1
    sudo -n true 2>/dev/null && return
    [ -t 0 ] && id -nG | grep -qwE 'sudo|wheel|admin' && sudo -v
}

as_root() { if is_root; then "$@"; else sudo "$@"; fi; }

# The docker command, through sudo only where the socket is closed to us.
engine() {
    if is_root || [ -n "${DOCKER_HOST:-}" ] || [ -w /var/run/docker.sock ]; then docker "$@"; else sudo -n docker "$@"; fi
}

engine_answers() { have docker && timeout 10 bash -c "$(declare -f is_root engine); engine version" >/dev/null 2>&1; }

# The engine's architecture in the words of add-on configurations: amd64, aarch64.
architecture() { engine version --format '{{.Server.Arch}}' | sed 's/^arm64$/aarch64/'; }

# Whether the process in that pid file lives and is the program we think it is: numbers are used again after a reboot.
# (A process that ended and was not waited for has a name still, but no command line.)
runs() { # PID_FILE PROGRAM
    local pid
    pid=$(cat "$1" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "${2:0:15}" ] &&
        [ -n "$(tr -d '\0' <"/proc/$pid/cmdline")" ]
}

# Wait until a command succeeds, for so many seconds at most.
within() { # SECONDS COMMAND…
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

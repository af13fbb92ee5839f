# SPDX-License-Identifier: Apache-2.0
# What the scripts of this folder share: the built programs, cases in cmocka's form, and what is wanted of a call. They
# read it with srcdir and builddir set, and the wanted case's name, or a part of it, as first argument.
srcdir=$(cd "${srcdir:-$(dirname "$0")/../..}" && pwd)
builddir=$(cd "${builddir:-.}" && pwd)
only=${1:-}
run=$builddir/core/cmd/llavamore-run/llavamore-run
inspect=$builddir/core/cmd/llavamore-inspect/llavamore-inspect
plugins=$builddir/tests/cli/.libs
image=$srcdir/share/images/red-ball.png
question="What colour is the ball?"
shard=model-00001-of-00002.safetensors
: "${LLAVAMORE_PLUGIN_PATH:=$builddir/plugins}" "${LLAVAMORE_DATA_DIR:=$srcdir/share}"
export LLAVAMORE_PLUGIN_PATH LLAVAMORE_DATA_DIR
LC_ALL=C.UTF-8
export LC_ALL
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0
XDG_STATE_HOME=$work/state
export XDG_STATE_HOME

begin() { # NAME; false when this case is not wanted
    case $1 in
    *"$only"*) ;;
    *) return 1 ;;
    esac
    name=$1
    problem=
    echo "[ RUN      ] $name"
}

complain() { problem="$problem
    $*"; }

end() {
    if [ -z "$problem" ]; then
        echo "[       OK ] $name"
    else
        echo "$problem"
        sed 's/^/    out: /' out 2>/dev/null | head -n 20
        sed 's/^/    err: /' err 2>/dev/null | head -n 20
        echo "[  FAILED  ] $name"
        failed=1
    fi
}

# call COMMAND...: runs it; out, err and $code are what it gave.
call() {
    "$@" >out 2>err </dev/null
    code=$?
}

wants_code() { [ "$code" = "$1" ] || complain "exit code $code, not $1"; }
wants_out() { grep -a -q -e "$1" out || complain "standard output lacks '$1'"; }
wants_silence() { [ ! -s err ] || complain "standard error is not empty"; }
wants_one_line() { # PATTERN...: one line on standard error, with all of these
    [ "$(wc -l <err)" = 1 ] || complain "standard error has $(wc -l <err) lines, not 1"
    for pattern in "$@"; do
        grep -a -q -i -e "$pattern" err || complain "the line does not name '$pattern'"
    done
}

# mistake NAME CODE PATTERN... -- COMMAND...
mistake() {
    begin "$1" || return 0
    wanted=$2
    shift 2
    patterns=
    while [ "$1" != -- ]; do
        patterns="$patterns$1
"
        shift
    done
    shift
    call "$@"
    wants_code "$wanted"
    IFS='
'
    # shellcheck disable=SC2086
    wants_one_line $patterns
    unset IFS
    end
}

ask() { "$run" -c tiny --set runtime.threads=2 "$@"; }

# The right answer, as share/images/questions.tsv has it.
awk -F '\t' -v question="$question" '$1 == "red-ball.png" && $2 == question { print $3 }' \
    "$srcdir/share/images/questions.tsv" >answer.txt

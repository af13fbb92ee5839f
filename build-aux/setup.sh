# SPDX-License-Identifier: Apache-2.0
# Sourced by quickstart and runtests: Debian packages, ./configure, a build folder.

BUILD_PACKAGES="gcc libc6-dev make autoconf automake libtool pkg-config xz-utils
libffi-dev libinih-dev libstb-dev libdlpack-dev libjansson-dev libpcre2-dev libutf8proc-dev libedit-dev libssl-dev"
TEST_PACKAGES="g++ clang libclang-rt-dev libcmocka-dev python3-venv"

say() { printf '%s\n' "== $*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# install_packages PACKAGE...: what dpkg does not know as installed comes by apt-get; apt is not touched otherwise.
install_packages() {
    if ! command -v dpkg-query >/dev/null; then
        say "no dpkg here: please see yourself that these are there: $*"
        return 0
    fi
    missing=
    for package in "$@"; do
        dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "installing$missing"
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null; then
        as_root=sudo
    else
        die "These packages are missing and neither root nor sudo is at hand. As root: apt-get install$missing"
    fi
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update || say "apt-get update failed; trying on"
    # The lists are words: split them.
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $missing ||
        die "apt-get could not install:$missing"
}

# make_configure SOURCE: runs autogen.sh when ./configure is missing or older than what it is made from.
make_configure() {
    if [ ! -x "$1/configure" ] || [ ! -f "$1/Makefile.in" ] ||
        [ -n "$(find "$1" -path "$1/build" -prune -o \( -name local.mk -o -name Makefile.am -o -name configure.ac \) \
            -newer "$1/configure" -print)" ]; then
        "$1/autogen.sh"
    fi
}

# configure_build SOURCE FOLDER OPTION...: configures, unless that was done with the same options and ./configure. What was
# built with other options is thrown away.
configure_build() {
    configure=$1/configure
    folder=$2
    shift 2
    [ "$(cat "$folder/options" 2>/dev/null)" = "$*" ] || rm -rf "$folder"
    mkdir -p "$folder" && cd "$folder" || return 1
    if [ -f config.status ] && [ config.status -nt "$configure" ]; then
        status=0
    else
        "$configure" --quiet "$@"
        status=$?
        [ $status != 0 ] || printf '%s\n' "$*" >options
    fi
    cd "$OLDPWD" || return 1
    return $status
}

processors() { nproc 2>/dev/null || echo 1; }

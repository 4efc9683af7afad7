#!/bin/sh
# Builds proof.c: build.sh OUTPUT [COMPILER]. The same compiler makes the same bytes; Debian 12's (gcc 12.2.0,
# binutils 2.40; gcc-aarch64-linux-gnu) made those that lie here.
set -eu
output=$1
compiler=${2-gcc}
here=$(dirname -- "$0")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

case $("$compiler" -dumpmachine) in
    x86_64-*) version=GLIBC_2.2.5 ;;
    aarch64-*) version=GLIBC_2.17 ;;
    *) echo "build.sh: $compiler builds for a machine that has no NVIDIA driver" >&2; exit 1 ;;
esac

# Linked against names alone, each in the first version that a 64-bit glibc gave it: what builds does not matter.
stub() {
    echo "$version { global: $2 local: *; };" >"$place/map"
    for name in $(echo "$2" | tr ';' ' '); do echo "void $name(void) {}"; done >"$place/stub.c"
    "$compiler" -shared -nostdlib -fPIC -w "-Wl,-soname,$1,--version-script,$place/map" -o "$place/$1" "$place/stub.c"
}
stub libdl.so.2 'dlopen; dlsym; dlerror;'
stub libc.so.6 '__libc_start_main;'

# Nothing that a bare start would have to prepare: no relocations of its own, no loader that it asks for.
"$compiler" -std=gnu11 -Os -Wall -Wextra -Werror -ffreestanding -fPIE -fvisibility=hidden -fno-plt -fno-ident \
    -fno-stack-protector -fno-asynchronous-unwind-tables -fno-unwind-tables -fno-tree-loop-distribute-patterns \
    -ffile-prefix-map="$here"=. -nostdlib -pie -s -Wl,--no-dynamic-linker,--build-id=none,--hash-style=gnu \
    -Wl,-z,now,-z,noseparate-code,-z,norelro,-z,noexecstack -o "$output" "$here/proof.c" \
    "$place/libdl.so.2" "$place/libc.so.6"

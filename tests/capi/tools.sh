# The parts of the step `capi` of tests/run: the header, the library, and the C programs that use
# it. Sourced.

C_BUILD=$TARGET/capi
C_FLAGS=(-std=c11 -Wall -Wextra -Wpedantic -Wno-unused-const-variable -Werror
    -Isrc/capi -I"$C_BUILD")
C_HOST=(-D_GNU_SOURCE -DCARDVAULT_EMBEDDED -g -O1 tests/capi/c/core.c tests/capi/c/host.c)
C_LIBS=(-lpthread -ldl -lm)

# The header is what cbindgen makes of the sources, and a compiler of C++ takes it too.
c_header() {
    CARGO_TARGET_DIR=$C_BUILD/header cargo run --quiet --locked \
        --manifest-path tests/capi/header/Cargo.toml -- --check
    if have g++ --version; then
        printf '#include "cardvault.h"\nint main() { return CARDVAULT_RESULT_OK; }\n' |
            g++ -x c++ -std=c++11 -Wall -Wextra -Werror -Isrc/capi \
                -fsyntax-only -
    fi
    awk -f tests/capi/c/golden.awk tests/golden/{ring-kek,sealed-record,fingerprint}.hex \
        tests/golden/journal-*.hex tests/golden/tokens.txt >"$C_BUILD/golden.h"
    # The examples of the guide, in one file each.
    rm -f "$C_BUILD"/guide_*.c
    awk -v to="$C_BUILD/guide_" '/^```c$/ { file = to (++count) ".c"; next } /^```$/ { file = "" }
        file { print >file }' src/manual/c.md
    local example
    for example in "$C_BUILD"/guide_*.c; do
        gcc "${C_FLAGS[@]}" -fsyntax-only "$example"
    done
    printf 'the header is that of the sources\n'
}

c_library() {
    # Valgrind runs unoptimized code for minutes.
    CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_TARGET_DIR=$C_BUILD cargo rustc --quiet --lib --features capi,embedded \
        --crate-type staticlib,cdylib
}

# run_host NAME COMMAND...: with an empty folder behind it.
run_host() {
    local name=$1 folder=$C_BUILD/vault
    shift
    rm -rf "$folder"
    mkdir "$folder"
    printf '%-16s ' "$name"
    "$@" "$folder"
}

c_host() {
    local static=$C_BUILD/debug/libcardvault.a
    gcc "${C_FLAGS[@]}" "${C_HOST[@]}" "$static" "${C_LIBS[@]}" -o "$C_BUILD/host"
    gcc "${C_FLAGS[@]}" "${C_HOST[@]}" -L"$C_BUILD/debug" -lcardvault -lpthread -o "$C_BUILD/host_shared"
    gcc "${C_FLAGS[@]}" -fsanitize=address,undefined -fno-sanitize-recover=all \
        "${C_HOST[@]}" "$static" "${C_LIBS[@]}" -o "$C_BUILD/host_address"
    run_host 'shared library' env LD_LIBRARY_PATH="$C_BUILD/debug" "$C_BUILD/host_shared"
    run_host 'address checks' "$C_BUILD/host_address"
    if ! have valgrind --version; then
        install_packages valgrind || { leave_out capi 'valgrind is missing'; return 0; }
    fi
    run_host 'valgrind' valgrind -q --error-exitcode=3 --leak-check=full --show-leak-kinds=definite \
        --errors-for-leak-kinds=definite "$C_BUILD/host"
}

# Objects that threads share, with a library that tells the sanitizer what it does. Its own target
# folder, since everything is built otherwise.
c_threads() {
    have cargo "+$NIGHTLY" --version ||
        { leave_out capi "the toolchain $NIGHTLY is missing: races were not looked for"; return 0; }
    local target
    target=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer' CARGO_TARGET_DIR=$C_BUILD \
        cargo "+$NIGHTLY" rustc --quiet --lib --no-default-features --features capi,std \
        --crate-type staticlib --target "$target"
    gcc "${C_FLAGS[@]}" -D_GNU_SOURCE -g -O1 -fno-builtin -fsanitize=thread tests/capi/c/tsan.c \
        tests/capi/c/core.c tests/capi/c/host.c "$C_BUILD/$target/debug/libcardvault.a" \
        "${C_LIBS[@]}" -o "$C_BUILD/host_threads"
    printf '%-16s ' 'thread checks'
    "$C_BUILD/host_threads"
}

# The core as firmware in C, on an emulated device.
c_device() {
    # shellcheck source=tests/firmware/tools.sh
    source tests/firmware/tools.sh
    firmware_tools capi || return 0
    firmware_cargo firmware --manifest-path ../capi/shim/Cargo.toml
    arm-none-eabi-gcc "${C_FLAGS[@]}" -mcpu=cortex-m3 -mthumb -Os -ffreestanding \
        -ffunction-sections -fdata-sections -nostdlib -Wl,--gc-sections -Wl,-z,noexecstack \
        -T tests/firmware/mps2.ld tests/capi/c/core.c tests/capi/c/device.c \
        "$TARGET/firmware/$FIRMWARE_TARGET/release/libcardvault.a" -lgcc -o "$C_BUILD/device.elf"
    # No heap, no formatting; what can panic are functions of packages.
    local callers
    callers=$(arm-none-eabi-objdump -d --demangle --no-show-raw-insn "$C_BUILD/device.elf" |
        awk '/^[0-9a-f]+ <.*>:$/ { sub(/^[0-9a-f]+ /, ""); name = $0 }
             /\tbl?[a-z.]*\t[0-9a-f]+ <(core::.*(panic|_fail)|core::fmt|__rust_alloc)/ { print name }' |
        sort -u)
    [[ -n $callers ]]
    if grep -i cardvault <<<"$callers"; then
        printf 'these functions of the library can panic, format or allocate\n'
        return 1
    fi
    printf '%-16s ' 'Cortex-M3'
    emulate 120 "$C_BUILD/device.elf"
}

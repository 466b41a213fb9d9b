# What the steps of tests/run that build firmware share: a tool chain for the Cortex-M3, a linker
# and an emulated machine. Sourced.

FIRMWARE_TARGET=thumbv7m-none-eabi
FIRMWARE_MACHINE=mps2-an385

# The command that builds for FIRMWARE_TARGET, and what it is called in the baseline.
FIRMWARE_CARGO=()
FIRMWARE_TOOLCHAIN=

# firmware_tools STEP: finds or installs the tools, or says what the step leaves out.
firmware_tools() {
    local missing=()
    have qemu-system-arm --version || missing+=(qemu-system-arm)
    have arm-none-eabi-gcc --version || missing+=(gcc-arm-none-eabi)
    if ! has_rust_target && [[ ! -d $(debian_library) ]]; then
        missing+=(rustc-web cargo-web rust-web-src)
    fi
    if ((${#missing[@]})); then
        install_packages "${missing[@]}" ||
            { leave_out "$1" "cannot install ${missing[*]}: no image was built and run"; return 1; }
    fi
    if has_rust_target; then
        FIRMWARE_CARGO=(cargo)
        FIRMWARE_STD=()
        FIRMWARE_TOOLCHAIN=$(rustc --version)
    else
        # Debian's, which has the sources of its library and needs none of a target.
        FIRMWARE_CARGO=(env RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo)
        FIRMWARE_STD=(-Z build-std=core)
        FIRMWARE_TOOLCHAIN="$(/usr/bin/rustc --version), core from its source"
    fi
}

has_rust_target() {
    [[ -d $(rustc --print target-libdir --target "$FIRMWARE_TARGET" 2>/dev/null) ]]
}

debian_library() {
    printf '%s/lib/rustlib/src/rust/library' "$(/usr/bin/rustc --print sysroot 2>/dev/null)"
}

# firmware_cargo FOLDER ARGUMENT...: builds in a folder of tests/ for the machine, with its
# .cargo/config.toml.
firmware_cargo() {
    local folder=tests/$1
    shift
    (cd "$folder" && CARGO_TARGET_DIR=$TARGET/firmware "${FIRMWARE_CARGO[@]}" build --quiet \
        --release --locked --target "$FIRMWARE_TARGET" "${FIRMWARE_STD[@]}" "$@")
}

# emulate IMAGE SECONDS: runs it; its text goes to the output, its exit code is the result. Every
# instruction takes the same time, so that a run is the same every time.
emulate() {
    timeout "$2" qemu-system-arm -machine "$FIRMWARE_MACHINE" -nographic -monitor none \
        -serial none -icount shift=8,sleep=off -chardev stdio,id=text \
        -semihosting-config enable=on,target=native,chardev=text -kernel "$1" </dev/null
}

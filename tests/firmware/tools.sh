# What the steps of tests/run that build for the Cortex-M3 share: a tool chain, a linker and an
# emulated machine. Sourced.

FIRMWARE_TARGET=thumbv7m-none-eabi
FIRMWARE_MACHINE=mps2-an385

# The command that builds for FIRMWARE_TARGET, what it needs for the library `core`, and its name.
FIRMWARE_CARGO=()
FIRMWARE_CORE=()
FIRMWARE_TOOLCHAIN=

# Debian's compiler, which has the source of `core` and so needs no target installed.
DEBIAN_CARGO=(env RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo)
DEBIAN_CORE=(-Z build-std=core)

# firmware_tools STEP: finds or installs the tools, or says that the step is left out.
firmware_tools() {
    local missing=()
    have qemu-system-arm --version || missing+=(qemu-system-arm)
    have arm-none-eabi-gcc --version || missing+=(gcc-arm-none-eabi)
    has_rust_target || has_debian_rust || missing+=(rustc-web cargo-web rust-web-src)
    if ((${#missing[@]})) && ! install_packages "${missing[@]}"; then
        leave_out "$1" "cannot install ${missing[*]}: nothing was built for the device and run"
        return 1
    fi
    if has_rust_target; then
        FIRMWARE_CARGO=(cargo)
        FIRMWARE_TOOLCHAIN=$(rustc --version)
    else
        FIRMWARE_CARGO=("${DEBIAN_CARGO[@]}")
        FIRMWARE_CORE=("${DEBIAN_CORE[@]}")
        FIRMWARE_TOOLCHAIN="$(/usr/bin/rustc --version) of Debian, core from its source"
    fi
}

has_rust_target() {
    [[ -d $(rustc --print target-libdir --target "$FIRMWARE_TARGET" 2>/dev/null) ]]
}

has_debian_rust() {
    [[ -x /usr/bin/cargo && -d $(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library ]]
}

# firmware_cargo FOLDER ARGUMENT...: builds the package in a folder of tests/ for the machine. The
# folder's .cargo/config.toml names the linker and its script.
firmware_cargo() {
    local folder=tests/$1
    shift
    (cd "$folder" && CARGO_TARGET_DIR=$TARGET/firmware "${FIRMWARE_CARGO[@]}" build --quiet \
        --release --locked --target "$FIRMWARE_TARGET" "${FIRMWARE_CORE[@]}" "$@")
}

# emulate SECONDS IMAGE: runs it. Its text goes to the output, and its exit code is the result.
# Every instruction takes the same time, so that every run is the same.
emulate() {
    timeout "$1" qemu-system-arm -machine "$FIRMWARE_MACHINE" -nographic -monitor none \
        -serial none -icount shift=8,sleep=off -chardev stdio,id=text \
        -semihosting-config enable=on,target=native,chardev=text -kernel "$2" </dev/null
}

# The step `firmware` of tests/run: the images of this folder are built, run on the emulated device
# and measured. Sourced.
#
# FIRMWARE_BASELINE=write takes the figures over into the manual, which is the baseline.

# What else the core is checked for, and why. Any target that Debian's `rustc --print target-list`
# names can be added: nothing is linked, and `core` comes from its source.
FIRMWARE_OTHER_TARGETS=(
    s390x-unknown-linux-gnu       # 64 bits, big-endian
    thumbv6m-none-eabi            # a Cortex-M0 has no compare-and-swap and no 64-bit product
    riscv32imc-unknown-none-elf   # another instruction set, no atomics
)

# Bytes.
GOAL_CARD_FLASH=6144
GOAL_JOURNAL_FLASH=32768
GOAL_STACK=4096

step_firmware() {
    firmware_tools firmware || return 0
    printf 'built by %s\n' "$FIRMWARE_TOOLCHAIN"
    firmware_cargo firmware
    firmware_cargo firmware --features diagnostics \
        --bin known_answers --bin power --bin day --bin measure
    local images=$TARGET/firmware/$FIRMWARE_TARGET/release results=$TARGET/firmware
    emulate 120 "$images/known_answers"
    emulate 300 "$images/power"
    emulate 120 "$images/day" >"$results/day.txt" || { tail -n 5 "$results/day.txt"; return 1; }
    emulate 300 "$images/measure" >"$results/measured.txt" ||
        { tail -n 5 "$results/measured.txt"; return 1; }
    grep '^constant' "$results/measured.txt"
    firmware_symbols "$images"
    { firmware_sizes "$images"; grep '^operation' "$results/measured.txt"; } |
        awk '{ printf "%-10s%-20s%8s%9s\n", $1, $2, $3, $4 }' >"$results/figures.txt"
    firmware_judge "$results/figures.txt"
    firmware_others
    # The host opens what the device wrote.
    FIRMWARE_DAY=$results/day.txt cargo test --quiet --all-features --test firmware_day
}

# No heap, no formatting, no panic of the core.
firmware_symbols() {
    local image=$1/size_everything symbols callers
    symbols=$(arm-none-eabi-nm --demangle "$image")
    grep -q ' main$' <<<"$symbols"
    if grep -E '__rust_alloc|__rust_realloc|__rg_alloc|__rdl_alloc|\bmalloc\b' <<<"$symbols"; then
        printf 'the image has an allocator\n'
        return 1
    fi
    if grep 'core::fmt' <<<"$symbols"; then
        printf 'the image formats text\n'
        return 1
    fi
    # Who branches to a panic. What was inlined into a function of this crate counts as its own.
    callers=$(arm-none-eabi-objdump -d --demangle --no-show-raw-insn "$image" |
        awk '/^[0-9a-f]+ <.*>:$/ { sub(/^[0-9a-f]+ /, ""); name = $0 }
             /\tb[a-z.]*\t[0-9a-f]+ <core::.*(panic|_fail)/ { print name }' | sort -u)
    if grep cardvault <<<"$callers"; then
        printf 'these functions of the core can panic\n'
        return 1
    fi
    printf 'no heap, no core::fmt; panics only in packages:\n'
    grep -v '^<core::' <<<"$callers" | sed 's/typenum::[^ ]*/../g; s/^/    /'
}

# firmware_sizes FOLDER: flash of the bare image, of each other one beside it, and static memory.
firmware_sizes() {
    local image bare
    bare=$(bytes_of "$1/size_bare" '$1 + $2')
    printf 'flash bare %s\n' "$bare"
    for image in card card_seal card_journal card_seal_journal everything; do
        printf 'flash %s %s\n' "$image" \
            $(($(bytes_of "$1/size_$image" '$1 + $2') - bare))
    done
    printf 'static memory %s\n' "$(bytes_of "$1/size_everything" '$2 + $3')"
}

bytes_of() {
    arm-none-eabi-size "$1" | awk "NR == 2 { print $2 }"
}

# firmware_judge FIGURES: the table, the goals, and the growth against the baseline. Of an operation
# the figures are bytes of stack and instructions.
firmware_judge() {
    local baseline=src/manual/firmware.txt
    if [[ ${FIRMWARE_BASELINE:-} == write ]]; then
        { printf '# %s\n' "$FIRMWARE_TOOLCHAIN"; sed 's/ *$//' "$1"; } >"$baseline"
    fi
    if [[ $(head -n 1 "$baseline") != "# $FIRMWARE_TOOLCHAIN" ]]; then
        leave_out firmware "growth was not judged: the baseline is $(head -n 1 "$baseline")"
        baseline=$1
    fi
    awk -v card="$GOAL_CARD_FLASH" -v journal="$GOAL_JOURNAL_FLASH" -v stack="$GOAL_STACK" '
        FNR == NR { if ($1 != "#") { before[$2] = $3; before[$2, 2] = $4; rows++ }; next }
        FNR == 1 { printf "%-30s%8s%9s   %s\n", "", "bytes", "instr.", "baseline" }
        {
            printf "%s   %s %s\n", $0, before[$2], before[$2, 2]
            seen++
        }
        !($2 in before) { fault("is not in the baseline") }
        $3 > 1.05 * before[$2] || $4 > 1.05 * before[$2, 2] { fault("grew by more than 5 %") }
        $2 == "card" && $3 > card { fault("is over " card) }
        $2 == "card_journal" && $3 > journal { fault("is over " journal) }
        $1 == "static" && $3 > 0 { fault("is static memory") }
        $1 == "operation" && $3 > stack { fault("is over " stack) }
        function fault(what) { printf "FAULT: %s %s\n", $2, what; faults++ }
        END {
            if (seen != rows) { print "FAULT: the baseline has " rows " rows, not " seen; faults++ }
            exit faults > 0
        }' "$baseline" "$1" ||
        { printf 'FIRMWARE_BASELINE=write takes the figures over\n'; return 1; }
}

# The core compiles for other processors, too.
firmware_others() {
    if ! has_debian_rust && ! install_packages rustc-web cargo-web rust-web-src; then
        leave_out firmware 'no compiler with the source of core: other targets were not tried'
        return 0
    fi
    local target
    for target in "${FIRMWARE_OTHER_TARGETS[@]}"; do
        CARGO_TARGET_DIR=$TARGET/firmware "${DEBIAN_CARGO[@]}" check --quiet --locked --lib \
            --no-default-features "${DEBIAN_CORE[@]}" --target "$target"
        printf 'the core compiles for %s\n' "$target"
    done
}

# Makes C arrays from tests/golden/*.hex, and strings from tests/golden/tokens.txt.
function name(file) {
    sub(/.*\//, "", file)
    sub(/\..*/, "", file)
    gsub(/-/, "_", file)
    return file
}
FNR == 1 {
    if (open) print "};"
    open = 1
    if (FILENAME ~ /tokens/) print "static const char *const golden_tokens[][4] = {"
    else print "static const uint8_t golden_" name(FILENAME) "[] = {"
}
/^#/ { next }
FILENAME ~ /tokens/ {
    if ($1 ~ /^vaultless/) print "    {\"" $1 "\", \"" $2 "\", \"" $3 "\", \"" $4 "\"},"
    next
}
{ gsub(/../, "0x&,"); print "    " $0 }
END { print "};" }

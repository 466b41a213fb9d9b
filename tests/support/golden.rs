//! The golden files: hex digits, in lines of 32 bytes, with comments behind `#`.
#![forbid(unsafe_code)]

/// The bytes of a file in `tests/golden`.
pub(crate) fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let digits: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.split_whitespace())
        .collect();
    (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

/// # Panics
/// If the file holds other bytes; says what it should hold.
pub(crate) fn assert_golden(name: &str, bytes: &[u8]) {
    let hex: String = bytes
        .chunks(32)
        .map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<String>() + "\n")
        .collect();
    assert!(golden(name) == bytes, "{name} is now:\n{hex}");
}

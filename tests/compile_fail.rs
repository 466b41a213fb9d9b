//! What must not compile: secrets that are printed, serialized, compared or copied.
//!
//! The expected messages are the compiler's; after a change of toolchain, read the new ones and
//! take them over with `TRYBUILD=overwrite`.
#![cfg(feature = "serde")]

#[test]
fn misuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

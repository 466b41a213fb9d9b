//! A secret has no text.
fn main() {
    cardvault::Secret::new([7; 32]).to_string();
}

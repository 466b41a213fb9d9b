//! Sensitive authentication data cannot be copied.
fn main() {
    let track = cardvault::card::SensitiveData::new(b"123").unwrap();
    let _ = track.clone();
}

//! Sensitive authentication data has no record.
fn main() {
    let track = cardvault::card::SensitiveData::new(b"123").unwrap();
    let _ = track.into_record();
}

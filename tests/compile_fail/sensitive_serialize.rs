//! Sensitive authentication data cannot be serialized.
use serde::Serialize;

fn main() {
    let track = cardvault::card::SensitiveData::new(b"123").unwrap();
    track.serialize(serde_json::value::Serializer);
}

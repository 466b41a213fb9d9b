//! A card record is sealed, never serialized.
use serde::Serialize;

fn main() {
    let pan = cardvault::card::Pan::parse(b"4111111111111111").unwrap();
    cardvault::card::CardRecord::new(pan).serialize(serde_json::value::Serializer);
}

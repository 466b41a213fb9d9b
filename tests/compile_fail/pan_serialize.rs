//! A card number cannot be serialized.
use serde::Serialize;

fn main() {
    let pan = cardvault::card::Pan::parse(b"4111111111111111").unwrap();
    pan.serialize(serde_json::value::Serializer);
}

//! A key ring is stored sealed, never serialized.
use serde::Serialize;

fn store(ring: &cardvault::keys::KeyRing) {
    ring.serialize(serde_json::value::Serializer);
}

fn main() {}

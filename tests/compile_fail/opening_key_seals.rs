//! A key that may come from a retired version cannot seal.
use cardvault::{keys::OpeningKey, seal::Sealer};

fn seal(key: &OpeningKey) {
    Sealer::new(key);
}

fn main() {}

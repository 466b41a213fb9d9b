//! The vault's stores.
#![forbid(unsafe_code)]

mod memory;
mod staged;
mod store;

pub use memory::Memory;
pub use store::{
    Found, Guard, IndexKey, MAX_BATCH, MAX_FOUND, MAX_GUARD, MAX_INDEX_KEYS, MAX_KEY, MAX_ROW,
    Part, Row, RowKey, Store, StoreError, Write, WriteOutcome,
};

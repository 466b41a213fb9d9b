//! The vault's stores.
#![forbid(unsafe_code)]

#[cfg(feature = "embedded")]
mod embedded;
mod memory;
mod staged;
mod store;

#[cfg(feature = "embedded")]
pub use embedded::{DEFAULT_CACHE, Embedded, EmbeddedOptions, FILE_NAME, MAX_GROUP, MAX_QUEUED};
pub use memory::Memory;
pub use store::{
    Found, Guard, IndexKey, MAX_BATCH, MAX_FOUND, MAX_GUARD, MAX_INDEX_KEYS, MAX_KEY, MAX_ROW,
    Part, Row, RowKey, Store, StoreError, Write, WriteOutcome,
};

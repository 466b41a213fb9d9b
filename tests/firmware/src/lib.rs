//! The core on a Cortex-M3: what the images share.
#![no_std]

#[cfg(feature = "diagnostics")]
pub mod day;
#[cfg(feature = "diagnostics")]
pub mod kept;
pub mod machine;
#[cfg(feature = "diagnostics")]
pub mod nor;
pub mod parts;
pub mod random;

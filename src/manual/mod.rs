//! Why it is as it is: the promises and their tests, the choices, the rules of PCI DSS in code;
//! and how it is linked into firmware.
#![forbid(unsafe_code)]

#[doc = include_str!("promises.md")]
pub mod promises {}

#[doc = include_str!("choices.md")]
pub mod choices {}

#[cfg(feature = "vault")]
#[doc = include_str!("access.md")]
pub mod access {}

#[doc = include_str!("archive.md")]
pub mod archive {}

#[doc = include_str!("journal.md")]
pub mod journal {}

#[doc = include_str!("firmware.md")]
#[doc = "# The figures\n```text"]
#[doc = include_str!("firmware.txt")]
#[doc = "```"]
pub mod firmware {}

#[doc = include_str!("ledger.md")]
pub mod ledger {}

#[doc = include_str!("retention.md")]
#[cfg(feature = "vault")]
pub mod retention {}

#[doc = include_str!("store.md")]
pub mod store {}

#[cfg(feature = "vault")]
#[doc = include_str!("rotation.md")]
pub mod rotation {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[doc = include_str!("switch.md")]
pub mod switch {}

#[doc = include_str!("c.md")]
pub mod c {}

#[cfg(feature = "postgres")]
#[doc = include_str!("postgres.md")]
pub mod postgres {}

#[doc = include_str!("pci_dss.md")]
pub mod pci_dss {}

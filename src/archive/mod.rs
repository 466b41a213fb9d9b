//! Archives: a whole store, vault and ledger alike, in one sealed file that can be verified.
//!
//! [`Vault::export`](crate::vault::Vault::export) gives the bytes of an archive of the store as of
//! one moment, while others go on writing. [`verify`] reads one from front to back and notices every
//! change; [`restore`] fills an empty store from it, of this kind or another. Each works in constant
//! memory. The bytes are written down in [`manual::archive`](crate::manual::archive).
//!
//! ```
//! # use cardvault::card::{CardRecord, Pan};
//! # use cardvault::keys::{Cryptoperiod, Domain, KeyRing, KeyUse, RingMark};
//! # use cardvault::vault::{Access, LineLog, Memory, Tokenize, Vault};
//! # use cardvault::{SystemRandom, UnixSeconds};
//! # use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
//! # fn ring() -> KeyRing {
//! #     let mut rng = ChaCha20Rng::from_seed([7; 32]);
//! #     let mut ring = KeyRing::new(RingMark::Development, &mut rng).unwrap();
//! #     let now = UnixSeconds::now();
//! #     for usage in KeyUse::ALL {
//! #         let name = ring.add(usage, Cryptoperiod::default_of(usage), now, &mut rng).unwrap();
//! #         ring.activate(name, now).unwrap();
//! #     }
//! #     ring
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # pollster::block_on(async {
//! # let shop: Domain = "shop-1".parse()?;
//! # let card = CardRecord::new(Pan::parse(b"4111 1111 1111 1111")?);
//! use cardvault::archive::{restore, verify};
//!
//! # let log = LineLog::new(std::io::sink());
//! let vault = Vault::open(Memory::new(), ring(), log).await?;
//! # let token = vault.tokenize(&shop, &card, &Tokenize::convergent()).await?.token;
//! let access = Access::new("backup", "nightly", "host-1")?;
//! let mut export = vault.export(&access, None).await?;
//! let mut file = Vec::new();
//! while let Some(bytes) = export.next().await? {
//!     file.extend_from_slice(bytes);
//! }
//! assert_eq!(verify(&file[..], &ring())?.rows, 1);
//!
//! let empty = Memory::new();
//! restore(std::io::Cursor::new(&file), &ring(), &empty).await?;
//! # let log = LineLog::new(std::io::sink());
//! let restored = Vault::open(empty, ring(), log).await?;
//! assert!(restored.exists(&access, &shop, &token).await?);
//! # Ok(())
//! # })
//! # }
//! ```
#![forbid(unsafe_code)]

mod blocking;
mod error;
mod export;
mod format;
mod reading;
mod restore;

pub use blocking::{BlockingExport, restore_blocking};
pub use error::ArchiveError;
pub use export::Export;
pub use format::{ARCHIVE_ID_LEN, ArchiveHeader, ArchiveId, CHUNK_TEXT_MAX, MAX_ARCHIVE_HEADER};
pub use reading::{Contents, verify};
pub use restore::restore;

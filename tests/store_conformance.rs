//! The conformance suite, on every store.
#![cfg(feature = "vault")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    missing_docs
)]

#[path = "support/conformance.rs"]
mod conformance;

mod memory {
    use std::sync::Arc;

    use cardvault::vault::Memory;

    use crate::{conformance_suite, snapshot_suite};

    conformance_suite!(|| Arc::new(Memory::new()));
    snapshot_suite!(|| Arc::new(Memory::new()));
}

#[cfg(feature = "embedded")]
mod embedded {
    use core::ops::Deref;

    use cardvault::vault::{Embedded, EmbeddedOptions};
    use tempfile::TempDir;

    use crate::{conformance_suite, snapshot_suite};

    /// A store and the folder that goes with it, in this order.
    struct Held(
        Embedded,
        #[expect(dead_code, reason = "removed when dropped")] TempDir,
    );

    impl Deref for Held {
        type Target = Embedded;

        fn deref(&self) -> &Embedded {
            &self.0
        }
    }

    fn make() -> Held {
        let folder = tempfile::tempdir().unwrap();
        let options = EmbeddedOptions::default();
        Held(
            Embedded::create(&folder.path().join("vault"), &options).unwrap(),
            folder,
        )
    }

    conformance_suite!(make);
    snapshot_suite!(make);
}

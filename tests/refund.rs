//! The refund rules against the model, over random stories of one payment.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/refund_model.rs"]
mod refund_model;

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use refund_model::{Tally, follow};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn never_more_than_was_paid(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        follow(&bytes);
    }
}

/// Long stories by a fixed seed, and that they come to every kind of answer.
#[test]
fn long_stories() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut all = Tally::default();
    for _ in 0..8_000 {
        let mut bytes = [0; 500];
        rng.fill_bytes(&mut bytes);
        // Most stories are of a sale that was approved.
        if bytes[7] & 1 == 0 {
            bytes[2] = 0;
            bytes[3] = 0;
        }
        let tally = follow(&bytes);
        all.approved += tally.approved;
        all.repeated += tally.repeated;
        all.refused += tally.refused;
        all.emptied += tally.emptied;
    }
    assert!(all.approved > 5_000, "{all:?}");
    assert!(all.repeated > 2_000, "{all:?}");
    assert!(all.refused > 100_000, "{all:?}");
    assert!(all.emptied > 50, "{all:?}");
}

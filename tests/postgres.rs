//! The store on PostgreSQL: what every store must do, and what only a shared one meets.
#![cfg(feature = "postgres")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/conformance.rs"]
mod conformance;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cardvault::vault::{Postgres, PostgresOptions};

use crate::cluster::Cluster;

/// Options for a schema that no other test has.
fn options(cluster: &Cluster) -> PostgresOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PostgresOptions::new(&cluster.connection())
        .unwrap()
        .in_schema(&format!("test_{number}"))
        .connections(6)
}

mod suite {
    use super::*;

    fn make() -> Arc<Postgres> {
        let cluster = Cluster::shared().unwrap();
        Arc::new(Postgres::create(&options(cluster)).unwrap())
    }

    conformance_suite!(make);
}

//! What an operator sees when the line to the database breaks.
#![cfg(all(feature = "postgres", feature = "metrics", feature = "tracing"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs,
    dead_code
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/watcher.rs"]
mod watcher;

use std::time::Duration;

use cardvault::vault::{Postgres, PostgresOptions, Row, RowKey, Store, Write, metric_names};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use pollster::block_on;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cluster::Cluster;
use crate::proxy::Proxy;
use crate::watcher::Watcher;

/// Calls until a connection must have been cut.
const CALLS: u64 = 200;

/// Retries of reads and of commits are counted and told, and no call fails for them.
#[test]
fn a_broken_line_is_told() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let watcher = Watcher::default();
    tracing_subscriber::registry().with(watcher.clone()).init();

    let direct = PostgresOptions::new(&cluster.connection()).unwrap();
    drop(Postgres::create(&direct.in_schema("seen")).unwrap());
    let proxy = Proxy::start(cluster.port, 12);
    let through = PostgresOptions::new(&cluster.connection_by(proxy.port()))
        .unwrap()
        .in_schema("seen")
        .timeouts(Duration::from_secs(5), Duration::from_secs(60));
    let store = Postgres::open(&through).unwrap();
    let mut retried = Retried::default();
    // One after the other: a writer that lost its connection takes one that reads have used.
    for n in 0_u64.. {
        assert!(n < CALLS, "{} cuts and no commit tried again", proxy.cuts());
        let insert = Write::Insert {
            token: RowKey::new(&n.to_be_bytes()).unwrap(),
            row: Row::new(b"row").unwrap(),
            index: Vec::new(),
            unique: false,
        };
        block_on(store.write(None, vec![insert])).unwrap();
        retried.add(&snapshotter);
        if retried.commits > 0 {
            break;
        }
    }
    let token = RowKey::new(&0_u64.to_be_bytes()).unwrap();
    for n in 0.. {
        assert!(n < CALLS, "{} cuts and no read tried again", proxy.cuts());
        assert!(block_on(store.rows(vec![token])).unwrap()[0].is_some());
        retried.add(&snapshotter);
        if retried.reads > 0 {
            break;
        }
    }
    let told = watcher.lines();
    let again = told
        .iter()
        .filter(|line| line.starts_with("WARN cardvault"));
    let again: Vec<_> = again
        .filter(|line| line.contains("the database is asked again"))
        .collect();
    assert!(
        again
            .iter()
            .any(|line| line.contains("during=read reason=store-lost pause_seconds=*"))
    );
    assert!(
        again
            .iter()
            .any(|line| line.contains("during=commit reason=store-lost"))
    );
}

/// How often an exchange was tried again.
#[derive(Default)]
struct Retried {
    reads: u64,
    commits: u64,
}

impl Retried {
    /// Adds what was counted since it was last asked.
    fn add(&mut self, snapshotter: &Snapshotter) {
        for (key, _, _, value) in snapshotter.snapshot().into_vec() {
            let (key, DebugValue::Counter(more)) = (key.key().clone(), value) else {
                continue;
            };
            if key.name() == metric_names::RETRIES {
                let labels: Vec<_> = key.labels().map(metrics::Label::value).collect();
                assert_eq!(labels[1], "store-lost");
                match labels[0] {
                    "read" => self.reads += more,
                    "commit" => self.commits += more,
                    other => panic!("{other}"),
                }
            }
        }
    }
}

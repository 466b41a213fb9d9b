//! A line to a server that breaks or is slow: each connection passes bytes on until it is cut, which
//! is often between an answer that the server sent and the client that waits for it.

#![allow(dead_code, reason = "each test uses its part")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

pub struct Proxy {
    port: u16,
    cuts: Arc<AtomicU64>,
    delay: Arc<AtomicU64>,
}

impl Proxy {
    /// A line to `port` of this machine. One connection is cut after each about `often` answers.
    pub fn start(port: u16, often: u64) -> Self {
        // Reproducible, and different for each connection.
        Self::lasting(port, move |number| 8 + number * 7919 % (2 * often))
    }

    /// A line that is not cut.
    pub fn whole(port: u16) -> Self {
        Self::lasting(port, |_| u64::MAX)
    }

    /// The connection of each number, from 1, passes so many answers on.
    fn lasting(port: u16, lasts: impl Fn(u64) -> u64 + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let cuts = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&cuts);
        let delay = Arc::new(AtomicU64::new(0));
        let slow = Arc::clone(&delay);
        thread::spawn(move || {
            let mut number = 0;
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                number += 1;
                let lasts = lasts(number);
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || pass(from, to, u64::MAX, &AtomicU64::new(0)));
                let (cuts, slow) = (Arc::clone(&counted), Arc::clone(&slow));
                thread::spawn(move || {
                    if pass(server, client, lasts, &slow) {
                        cuts.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self {
            port: own,
            cuts,
            delay,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on every answer comes so much later.
    pub fn delay(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap();
        self.delay.store(millis, Ordering::Relaxed);
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Passes pieces on, each `delay` milliseconds later, and loses the one after `pieces` with both connections. Says whether it came to
/// that.
fn pass(mut from: TcpStream, mut to: TcpStream, pieces: u64, delay: &AtomicU64) -> bool {
    let mut buffer = [0; 65_536];
    let mut cut = false;
    for piece in 0.. {
        let Ok(len @ 1..) = from.read(&mut buffer) else {
            break;
        };
        if piece >= pieces {
            cut = true;
            break;
        }
        thread::sleep(Duration::from_millis(delay.load(Ordering::Relaxed)));
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
    cut
}

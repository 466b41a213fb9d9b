//! A secret is not copied unseen.
fn main() {
    let secret = cardvault::Secret::new([7; 32]);
    let _ = secret.clone();
}

//! Card numbers are compared in constant time only.
fn main() {
    let pan = cardvault::card::Pan::parse(b"4111111111111111").unwrap();
    let _ = pan == pan;
}

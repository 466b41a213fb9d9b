//! A card number has no text.
fn main() {
    let pan = cardvault::card::Pan::parse(b"4111111111111111").unwrap();
    pan.to_string();
}

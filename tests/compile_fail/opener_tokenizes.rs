//! A key of an older generation opens vaultless tokens and makes none.
fn tokenize(opener: &cardvault::token::VaultlessOpener, pan: &cardvault::card::Pan) {
    opener.tokenize(pan);
}

fn main() {}

//! What a vaultless token opens to is no card number before something agrees.
fn card(candidate: cardvault::token::Candidate) -> cardvault::card::Pan {
    candidate.0
}

fn main() {}

//! What becomes of the values of a batch: each kind of file command is one [`Work`].
#![forbid(unsafe_code)]

use std::fmt::{self, Display, Write};
use std::ops::Range;

use cardvault::card::{Brand, CardRecord, MaskBin, Pan, PanError};
use cardvault::keys::Domain;
use cardvault::token::{
    Candidate, Irreversible, OpenError, Token, TokenError, TokenizeError, Vaultless,
    VaultlessOpener,
};
use cardvault::vault::{Access, Operation, PolicyRefusal, Tokenize, VaultError};

use zeroize::{Zeroize, Zeroizing};

use crate::failure::{Failure, Outcome};
use crate::folder::FolderVault;

/// Answers every value of a batch.
pub(crate) trait Work: Sync {
    /// Pushes one answer for each value. An error ends the whole run.
    fn answer(&self, values: &[&[u8]], answers: &mut Answers) -> Outcome<()>;

    /// What was done to those lines that were not rejected.
    fn done(&self) -> &'static str;

    /// The longest answer, in bytes.
    fn longest(&self) -> usize;
}

/// The answers to a batch, in the order of its values.
#[derive(Default)]
pub(crate) struct Answers {
    text: Zeroizing<String>,
    items: Vec<Result<Range<usize>, String>>,
    /// How many cards had their token before.
    pub(crate) existing: u64,
}

impl Answers {
    /// Makes room: a growing text would leave copies behind.
    pub(crate) fn begin(&mut self, values: usize, longest: usize) {
        self.text.zeroize();
        self.text.reserve(values.saturating_mul(longest));
        self.items.clear();
        self.existing = 0;
    }

    pub(crate) fn accept(&mut self, answer: impl Display) {
        let start = self.text.len();
        // Writing to a String does not fail.
        let _ = write!(self.text, "{answer}");
        self.items.push(Ok(start..self.text.len()));
    }

    pub(crate) fn refuse(&mut self, reason: impl Display) {
        self.items.push(Err(reason.to_string()));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<&[u8], &str>> {
        self.items.iter().map(|item| match item {
            Ok(range) => Ok(self.text.as_bytes().get(range.clone()).unwrap_or_default()),
            Err(reason) => Err(reason.as_str()),
        })
    }

    /// Takes `results` for those values that were parsed, and refuses the others.
    pub(crate) fn merge<T, E: Display, R>(
        &mut self,
        parsed: &[Result<T, E>],
        results: impl IntoIterator<Item = R>,
        mut take: impl FnMut(&mut Self, R) -> Outcome<()>,
    ) -> Outcome<()> {
        let mut results = results.into_iter();
        for parsed in parsed {
            match parsed {
                Err(error) => self.refuse(error),
                Ok(_) => match results.next() {
                    Some(result) => take(self, result)?,
                    None => return Err(Failure::keys("batch", "an answer is missing")),
                },
            }
        }
        Ok(())
    }
}

/// How card numbers are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) admit_luhn_failures: bool,
}

impl Reading {
    pub(crate) fn pan(self, value: &[u8]) -> Result<Pan, ReadingFault> {
        let parsed = if self.admit_luhn_failures {
            Pan::parse_exempting(value, &Brand::LUHN_EXEMPT)
        } else {
            Pan::parse(value)
        };
        parsed.map_err(|error| match error {
            PanError::Byte { at } if value.get(at).is_some_and(|byte| !byte.is_ascii()) => {
                ReadingFault::NotAscii { at }
            }
            error => ReadingFault::Pan(error),
        })
    }
}

/// Why a value is no card number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ReadingFault {
    NotAscii { at: usize },
    Pan(PanError),
}

impl Display for ReadingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAscii { at } => write!(
                f,
                "card number is not ASCII at offset {at} (full-width digits or other text)"
            ),
            Self::Pan(error) => error.fmt(f),
        }
    }
}

/// Card numbers in, masks out.
pub(crate) struct Masking {
    pub(crate) reading: Reading,
    pub(crate) bin: MaskBin,
}

impl Work for Masking {
    fn answer(&self, values: &[&[u8]], answers: &mut Answers) -> Outcome<()> {
        for value in values {
            match self.reading.pan(value) {
                Ok(pan) => answers.accept(pan.mask_with(self.bin)),
                Err(error) => answers.refuse(error),
            }
        }
        Ok(())
    }

    fn done(&self) -> &'static str {
        "masked"
    }

    fn longest(&self) -> usize {
        LONGEST_CARD
    }
}

/// Card numbers in, vaulted tokens out.
pub(crate) struct Vaulting {
    pub(crate) reading: Reading,
    pub(crate) vault: FolderVault,
    pub(crate) domain: Domain,
    pub(crate) how: Tokenize,
}

impl Work for Vaulting {
    fn answer(&self, values: &[&[u8]], answers: &mut Answers) -> Outcome<()> {
        let mut cards = Vec::with_capacity(values.len());
        let mut parsed = Vec::with_capacity(values.len());
        for value in values {
            let pan = self.reading.pan(value);
            parsed.push(pan.map(|pan| cards.push(CardRecord::new(pan))));
        }
        let results = self.vault.tokenize_batch(&self.domain, &cards, &self.how);
        answers.merge(&parsed, results, |answers, result| {
            match result {
                Ok(tokenized) => {
                    answers.existing += u64::from(tokenized.existing);
                    answers.accept(tokenized.token);
                }
                Err(error) => answers.refuse(about_one_card("tokenize", error)?),
            }
            Ok(())
        })
    }

    fn done(&self) -> &'static str {
        "tokenized"
    }

    fn longest(&self) -> usize {
        LONGEST_TOKEN
    }
}

/// Card numbers in, vaultless tokens out.
pub(crate) struct Encrypting {
    pub(crate) reading: Reading,
    pub(crate) vaultless: Vaultless,
}

impl Work for Encrypting {
    fn answer(&self, values: &[&[u8]], answers: &mut Answers) -> Outcome<()> {
        let mut pans = Vec::with_capacity(values.len());
        let mut parsed = Vec::with_capacity(values.len());
        for value in values {
            parsed.push(self.reading.pan(value).map(|pan| pans.push(pan)));
        }
        let mut tokens = vec![Err(TokenizeError::Draws); pans.len()];
        self.vaultless.tokenize_batch(&pans, |at, token| {
            if let Some(slot) = tokens.get_mut(at) {
                *slot = token;
            }
        });
        answers.merge(&parsed, tokens, take)
    }

    fn done(&self) -> &'static str {
        "tokenized"
    }

    fn longest(&self) -> usize {
        LONGEST_TOKEN
    }
}

/// Card numbers in, irreversible tokens out.
pub(crate) struct Hashing {
    pub(crate) reading: Reading,
    pub(crate) irreversible: Irreversible,
}

impl Work for Hashing {
    fn answer(&self, values: &[&[u8]], answers: &mut Answers) -> Outcome<()> {
        for value in values {
            match self.reading.pan(value) {
                Ok(pan) => take(answers, self.irreversible.tokenize(&pan))?,
                Err(error) => answers.refuse(error),
            }
        }
        Ok(())
    }

    fn done(&self) -> &'static str {
        "tokenized"
    }

    fn longest(&self) -> usize {
        LONGEST_TOKEN
    }
}

fn take(answers: &mut Answers, result: Result<Token, TokenizeError>) -> Outcome<()> {
    match result {
        Ok(token) => answers.accept(token),
        Err(error @ TokenizeError::Random(_)) => return Err(Failure::keys("tokenize", error)),
        Err(error) => answers.refuse(error),
    }
    Ok(())
}

/// Vaulted tokens in, card numbers out.
pub(crate) struct Opening {
    pub(crate) vault: FolderVault,
    pub(crate) domain: Domain,
    pub(crate) access: Access,
}

impl Work for Opening {
    fn answer(&self, values: &[&[u8]], answers: &mut Answers) -> Outcome<()> {
        let mut tokens = Vec::with_capacity(values.len());
        let mut parsed = Vec::with_capacity(values.len());
        for value in values {
            let token = read_token(value);
            parsed.push(token.map(|token| tokens.push(token)));
        }
        let vault = &self.vault;
        let results = vault.detokenize_batch(&self.access, &self.domain, &tokens);
        answers.merge(&parsed, results, |answers, result| {
            match result {
                Ok(card) => card.pan.expose(|digits| answers.accept(digits)),
                Err(error) => answers.refuse(about_one_card("detokenize", error)?),
            }
            Ok(())
        })
    }

    fn done(&self) -> &'static str {
        "detokenized"
    }

    fn longest(&self) -> usize {
        LONGEST_CARD
    }
}

/// Vaultless tokens in, what may be their card numbers out. The vault does not keep these, but its
/// policy is asked and its log written, before anything is handed out.
pub(crate) struct Decrypting {
    /// One for each live generation.
    pub(crate) openers: Vec<VaultlessOpener>,
    pub(crate) vault: FolderVault,
    pub(crate) domain: Domain,
    pub(crate) access: Access,
}

impl Work for Decrypting {
    fn answer(&self, values: &[&[u8]], answers: &mut Answers) -> Outcome<()> {
        let parsed: Vec<_> = values.iter().map(|value| read_token(value)).collect();
        let tokens: Vec<Token> = parsed.iter().flatten().copied().collect();
        let vault = self.vault.vault();
        let operation = Operation::Detokenize;
        let granted = vault.record_batch(&self.access, operation, &self.domain, &tokens);
        let mut opened: Vec<Result<Candidate, OpenError>> = Vec::with_capacity(tokens.len());
        opened.resize_with(tokens.len(), || Err(OpenError::Kind));
        for opener in &self.openers {
            opener.open_batch(&tokens, |at, result| {
                if let Some(slot @ Err(_)) = opened.get_mut(at) {
                    *slot = result;
                }
            });
        }
        let results = granted.into_iter().zip(opened);
        answers.merge(&parsed, results, |answers, (granted, result)| {
            if let Err(error) = granted {
                answers.refuse(about_one_card("detokenize", error)?);
                return Ok(());
            }
            // Who asked for vaultless tokens was told that nothing authenticates them.
            match result.map(|candidate| candidate.confirm(|_| true)) {
                Ok(Some(pan)) => pan.expose(|digits| answers.accept(digits)),
                Ok(None) => answers.refuse("not confirmed"),
                Err(error) => answers.refuse(error),
            }
            Ok(())
        })
    }

    fn done(&self) -> &'static str {
        "detokenized"
    }

    fn longest(&self) -> usize {
        LONGEST_CARD
    }
}

/// The longest card number and the longest mask, in bytes.
pub(super) const LONGEST_CARD: usize = 19;
/// More than the longest token, in bytes.
pub(super) const LONGEST_TOKEN: usize = 80;

/// A text that is not even ASCII is no token.
fn read_token(value: &[u8]) -> Result<Token, TokenError> {
    match str::from_utf8(value) {
        Ok(text) => Token::parse(text),
        Err(error) => Err(TokenError::Symbol {
            at: error.valid_up_to(),
        }),
    }
}

/// The reason to reject one line, or what ends the run: the next line would fare no better.
fn about_one_card(what: &str, error: VaultError) -> Outcome<VaultError> {
    match error {
        VaultError::UnknownToken
        | VaultError::Expired
        | VaultError::OtherFormat
        | VaultError::Tampered
        | VaultError::NewerFormat { .. }
        | VaultError::Unopenable { .. }
        | VaultError::TokensUsedUp
        | VaultError::Conflict
        | VaultError::Refused(PolicyRefusal::BudgetUsedUp { .. })
        | VaultError::Token(_)
        | VaultError::Seal(_) => Ok(error),
        _ => Err(Failure::vault(what, error)),
    }
}

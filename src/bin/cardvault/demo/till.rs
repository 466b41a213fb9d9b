//! What a terminal's software does around its journal: it numbers payments, asks the centre, and
//! writes down what came of it.
#![forbid(unsafe_code)]

use std::fmt::Debug;

use cardvault::SystemRandom;
use cardvault::card::{CardRecord, TruncationFormat};
use cardvault::journal::{
    ChainKey, Entry, FRAME_MAX_LEN, Journal, JournalError, PAYMENT_MAX_LEN, Receipt, StateStore,
};
use cardvault::payment::{
    BatchNumber, MerchantId, PaymentFields, PaymentKind, Stan, TerminalId, Voucher,
};
use embedded_storage::nor_flash::NorFlash;

use super::centre::Centre;
use super::{failed, story};
use crate::failure::{Failure, Outcome};

/// What is bought, and how it is paid.
pub(super) struct Purchase {
    pub(super) kind: PaymentKind,
    pub(super) amount: &'static str,
    /// The card's number; none for a QR code.
    pub(super) card: Option<&'static str>,
    /// The order number of a QR code.
    pub(super) order: Option<&'static str>,
    /// Whether the centre's answer comes back.
    pub(super) answered: bool,
}

impl Purchase {
    pub(super) const fn card(amount: &'static str, number: &'static str) -> Self {
        Self {
            kind: PaymentKind::Sale,
            amount,
            card: Some(number),
            order: None,
            answered: true,
        }
    }

    pub(super) const fn qr(amount: &'static str, order: &'static str) -> Self {
        Self {
            kind: PaymentKind::QrPayment,
            amount,
            card: None,
            order: Some(order),
            answered: true,
        }
    }

    pub(super) const fn unanswered(self) -> Self {
        Self {
            answered: false,
            ..self
        }
    }
}

/// A payment that was sent and is not yet written down.
pub(super) struct Open {
    pub(super) fields: PaymentFields,
    pub(super) card: Option<CardRecord>,
}

/// What a terminal keeps beside its journal: who it is, and the numbers that it gave last.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) terminal: TerminalId,
    merchant: MerchantId,
    stan: Stan,
    voucher: Voucher,
    pub(super) batch: BatchNumber,
}

impl Numbers {
    /// Vouchers count from `vouchers`.
    pub(super) fn new(terminal: &str, vouchers: u32) -> Outcome<Self> {
        let range = || Failure::usage("terminal", "number out of range");
        Ok(Self {
            terminal: terminal.parse().map_err(story::field)?,
            merchant: story::merchant()?,
            stan: Stan::new(vouchers).ok_or_else(range)?,
            voucher: Voucher::new(vouchers).ok_or_else(range)?,
            batch: BatchNumber::new(7).ok_or_else(range)?,
        })
    }

    fn next(&mut self, purchase: &Purchase) -> Outcome<PaymentFields> {
        self.stan = self.stan.next();
        self.voucher = self.voucher.next();
        let order = purchase.order.map(str::parse).transpose();
        Ok(PaymentFields {
            order: order.map_err(story::field)?,
            ..PaymentFields::new(
                purchase.kind,
                story::yuan(purchase.amount)?,
                (self.stan, self.voucher, self.batch),
                self.terminal,
                self.merchant,
            )
        })
    }
}

/// A terminal that is switched on.
pub(super) struct Till<F, S> {
    pub(super) numbers: Numbers,
    pub(super) journal: Journal<F, S>,
}

impl<F: NorFlash, S: StateStore> Till<F, S> {
    /// A new terminal with its chain key.
    pub(super) fn new(numbers: Numbers, flash: F, store: S, key: ChainKey) -> Outcome<Self> {
        let journal = Journal::create(flash, store, key).map_err(failed("journal"))?;
        Ok(Self { numbers, journal })
    }

    /// Switches it on again.
    pub(super) fn start(numbers: Numbers, flash: F, store: S) -> Outcome<Self> {
        let journal = Journal::open(flash, store).map_err(failed("journal"))?;
        Ok(Self { numbers, journal })
    }

    /// A whole payment.
    pub(super) fn pay(&mut self, centre: &mut Centre, purchase: &Purchase) -> Outcome<Open> {
        let open = self.send(centre, purchase)?;
        self.write(&open).map_err(failed("journal"))?;
        Ok(open)
    }

    /// Keeps the card in the pending slot and asks the centre.
    pub(super) fn send(&mut self, centre: &mut Centre, purchase: &Purchase) -> Outcome<Open> {
        let mut fields = self.numbers.next(purchase)?;
        let card = match purchase.card {
            Some(number) => Some(CardRecord::new(super::pan(number)?)),
            None => None,
        };
        if let Some(card) = &card {
            let kept = self.journal.open_pending(card, &mut SystemRandom);
            kept.map_err(failed("journal"))?;
        }
        let answer = centre.approve(&fields)?;
        if purchase.answered {
            fields.response = Some(answer.response);
            fields.rrn = answer.rrn;
            fields.approval = answer.approval;
            fields.clearing = answer.clearing;
        }
        Ok(Open { fields, card })
    }

    /// Writes the entry; its sequence number.
    pub(super) fn write(&mut self, open: &Open) -> Result<u64, JournalError<F::Error, S::Error>> {
        let mut payment = [0; PAYMENT_MAX_LEN];
        let len = open.fields.write(&mut payment).unwrap_or(0);
        let truncated = open.card.as_ref();
        let truncated = truncated.map(|card| card.pan.truncate(TruncationFormat::LAST_4));
        let entry = Entry {
            time: story::now(),
            payment: payment.get(..len).unwrap_or_default(),
            truncated: truncated.and_then(Result::ok),
            token: b"",
            card: open.card.as_ref(),
        };
        if open.fields.response.is_none() {
            return self.journal.append_in_doubt(&entry, &mut SystemRandom);
        }
        self.journal.append(&entry, &mut SystemRandom)
    }

    /// What is to be uploaded, item by item, from entry `first` on.
    pub(super) fn items(&mut self, first: u64) -> Outcome<Vec<Vec<u8>>>
    where
        F::Error: Debug,
    {
        let mut items = Vec::new();
        let mut item = [0; FRAME_MAX_LEN];
        let mut upload = self.journal.upload_from(first).map_err(failed("journal"))?;
        while let Some(len) = upload.next(&mut item).map_err(failed("journal"))? {
            items.push(item.get(..len).unwrap_or_default().to_vec());
        }
        Ok(items)
    }

    /// Takes the host's receipt.
    pub(super) fn confirm(&mut self, receipt: &Receipt) -> Outcome<()> {
        self.journal.confirm(receipt).map_err(failed("journal"))
    }
}

//! Kinds of payment and how ISO 8583 messages name them, after the UnionPay terminal tables.
#![forbid(unsafe_code)]

use core::fmt;

/// The message type of a reversal, whatever it reverses.
pub const REVERSAL_MTI: &str = "0400";

/// What a payment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PaymentKind {
    /// Sale: the money is taken at once.
    Sale,
    /// Void of a sale on the same day.
    SaleVoid,
    /// Refund of a sale or completion, all or a part.
    Refund,
    /// Pre-authorization: an amount is held.
    PreAuthorization,
    /// Void of a pre-authorization: the hold is given up.
    PreAuthorizationVoid,
    /// Completion of a pre-authorization: the final amount is captured.
    Completion,
    /// Void of a completion on the same day.
    CompletionVoid,
    /// Reversal of a payment whose outcome is unknown.
    Reversal,
    /// Payment by a QR code. Known by an order number, has no card number.
    QrPayment,
    /// Void of a QR payment.
    QrVoid,
    /// Refund of a QR payment.
    QrRefund,
}

impl PaymentKind {
    /// Every kind, in the order of its codes.
    pub const ALL: [Self; 11] = [
        Self::Sale,
        Self::SaleVoid,
        Self::Refund,
        Self::PreAuthorization,
        Self::PreAuthorizationVoid,
        Self::Completion,
        Self::CompletionVoid,
        Self::Reversal,
        Self::QrPayment,
        Self::QrVoid,
        Self::QrRefund,
    ];

    /// The kind's code in byte formats, 1 to 11. Never changes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Sale => 1,
            Self::SaleVoid => 2,
            Self::Refund => 3,
            Self::PreAuthorization => 4,
            Self::PreAuthorizationVoid => 5,
            Self::Completion => 6,
            Self::CompletionVoid => 7,
            Self::Reversal => 8,
            Self::QrPayment => 9,
            Self::QrVoid => 10,
            Self::QrRefund => 11,
        }
    }

    /// The kind of a code; `None` if no kind has it.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The name in lower case: `sale`, `pre-authorization void`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::SaleVoid => "sale void",
            Self::Refund => "refund",
            Self::PreAuthorization => "pre-authorization",
            Self::PreAuthorizationVoid => "pre-authorization void",
            Self::Completion => "completion",
            Self::CompletionVoid => "completion void",
            Self::Reversal => "reversal",
            Self::QrPayment => "qr payment",
            Self::QrVoid => "qr void",
            Self::QrRefund => "qr refund",
        }
    }

    /// The message that asks for this kind; `None` for a reversal, which copies its original's
    /// ([`PaymentKind::reversal_message`]).
    #[must_use]
    pub const fn message(self) -> Option<MessageFields> {
        let (mti, processing_code, condition_code, message_type) = match self {
            Self::Sale | Self::QrPayment => ("0200", "000000", "00", "22"),
            Self::SaleVoid | Self::QrVoid => ("0200", "200000", "00", "23"),
            Self::Refund | Self::QrRefund => ("0220", "200000", "00", "25"),
            Self::PreAuthorization => ("0100", "030000", "06", "10"),
            Self::PreAuthorizationVoid => ("0100", "200000", "06", "11"),
            Self::Completion => ("0200", "000000", "06", "20"),
            Self::CompletionVoid => ("0200", "200000", "06", "21"),
            Self::Reversal => return None,
        };
        Some(MessageFields {
            mti,
            processing_code,
            condition_code,
            message_type,
        })
    }

    /// The message that reverses this kind; `None` for a reversal and for refunds, which are
    /// advices: they are sent again, not reversed.
    #[must_use]
    pub const fn reversal_message(self) -> Option<MessageFields> {
        if !self.reverses_automatically() {
            return None;
        }
        match self.message() {
            Some(message) => Some(MessageFields {
                mti: REVERSAL_MTI,
                ..message
            }),
            None => None,
        }
    }

    /// Whether a terminal reverses this kind by itself when no answer came.
    #[must_use]
    pub const fn reverses_automatically(self) -> bool {
        !matches!(self, Self::Refund | Self::QrRefund | Self::Reversal)
    }

    /// The kind that voids this one; `None` if it cannot be voided.
    #[must_use]
    pub const fn void(self) -> Option<Self> {
        match self {
            Self::Sale => Some(Self::SaleVoid),
            Self::PreAuthorization => Some(Self::PreAuthorizationVoid),
            Self::Completion => Some(Self::CompletionVoid),
            Self::QrPayment => Some(Self::QrVoid),
            _ => None,
        }
    }

    /// The kind that refunds this one; `None` if it takes no money that could go back.
    #[must_use]
    pub const fn refund(self) -> Option<Self> {
        match self {
            Self::Sale | Self::Completion => Some(Self::Refund),
            Self::QrPayment => Some(Self::QrRefund),
            _ => None,
        }
    }

    /// Whether this voids a payment.
    #[must_use]
    pub const fn is_void(self) -> bool {
        matches!(
            self,
            Self::SaleVoid | Self::PreAuthorizationVoid | Self::CompletionVoid | Self::QrVoid
        )
    }

    /// Whether this refunds a payment.
    #[must_use]
    pub const fn is_refund(self) -> bool {
        matches!(self, Self::Refund | Self::QrRefund)
    }

    /// Whether this was started by a QR code and so has no card number.
    #[must_use]
    pub const fn is_qr(self) -> bool {
        matches!(self, Self::QrPayment | Self::QrVoid | Self::QrRefund)
    }

    /// Whether this acts on an earlier payment, which it refers to.
    #[must_use]
    pub const fn has_original(self) -> bool {
        !matches!(self, Self::Sale | Self::PreAuthorization | Self::QrPayment)
    }
}

impl fmt::Display for PaymentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How an ISO 8583 message names a kind of payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageFields {
    /// The message type indicator, four digits.
    pub mti: &'static str,
    /// Field 3, processing code, six digits.
    pub processing_code: &'static str,
    /// Field 25, point of service condition code, two digits.
    pub condition_code: &'static str,
    /// Field 60.1, transaction type code, two digits.
    pub message_type: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the UnionPay terminal specification, row by row.
    const ROWS: [(&str, u8, &str, &str, &str, &str, bool); 10] = [
        ("sale", 1, "0200", "000000", "00", "22", true),
        ("sale void", 2, "0200", "200000", "00", "23", true),
        ("refund", 3, "0220", "200000", "00", "25", false),
        ("pre-authorization", 4, "0100", "030000", "06", "10", true),
        (
            "pre-authorization void",
            5,
            "0100",
            "200000",
            "06",
            "11",
            true,
        ),
        ("completion", 6, "0200", "000000", "06", "20", true),
        ("completion void", 7, "0200", "200000", "06", "21", true),
        ("qr payment", 9, "0200", "000000", "00", "22", true),
        ("qr void", 10, "0200", "200000", "00", "23", true),
        ("qr refund", 11, "0220", "200000", "00", "25", false),
    ];

    #[test]
    fn is_the_table() {
        for (name, code, mti, f3, f25, f60, reversed) in ROWS {
            let kind = PaymentKind::from_code(code).unwrap();
            assert_eq!(kind.as_str(), name);
            let message = kind.message().unwrap();
            assert_eq!(message.mti, mti, "{name}");
            assert_eq!(message.processing_code, f3, "{name}");
            assert_eq!(message.condition_code, f25, "{name}");
            assert_eq!(message.message_type, f60, "{name}");
            assert_eq!(kind.reverses_automatically(), reversed, "{name}");
            let reversal = reversed.then_some(MessageFields {
                mti: "0400",
                ..message
            });
            assert_eq!(kind.reversal_message(), reversal, "{name}");
        }
        assert_eq!(PaymentKind::Reversal.code(), 8);
        assert_eq!(PaymentKind::Reversal.message(), None);
        assert_eq!(PaymentKind::Reversal.reversal_message(), None);
        assert!(!PaymentKind::Reversal.reverses_automatically());
    }

    #[test]
    fn codes_are_one_to_eleven() {
        let known: Vec<u8> = (0..=255)
            .filter(|&code| PaymentKind::from_code(code).is_some())
            .collect();
        assert_eq!(known, (1..=11).collect::<Vec<u8>>());
    }

    #[test]
    fn what_acts_on_what() {
        for kind in PaymentKind::ALL {
            for other in PaymentKind::ALL {
                assert_eq!(
                    kind.void() == Some(other),
                    other.is_void() && kind.as_str() == undone(other),
                    "{kind} {other}"
                );
            }
            assert_eq!(kind.is_void(), kind.as_str().ends_with("void"));
            assert_eq!(kind.is_refund(), kind.as_str().ends_with("refund"));
            assert_eq!(kind.is_qr(), kind.as_str().starts_with("qr"));
            if let Some(refund) = kind.refund() {
                assert!(refund.is_refund() && refund.is_qr() == kind.is_qr());
            }
        }
    }

    fn undone(void: PaymentKind) -> &'static str {
        match void.as_str() {
            "qr void" => "qr payment",
            name => name.strip_suffix(" void").unwrap(),
        }
    }
}

//! Every call that is watched, in one table.
#![forbid(unsafe_code)]

macro_rules! calls {
    ($($part:literal $target:literal $span:ident { $($(#[$docs:meta])* $call:ident = $name:literal,)* })*) => {
        /// A call that is watched.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(dead_code, reason = "each store makes its own calls")]
        pub(crate) enum Call {
            $($($(#[$docs])* $call,)*)*
        }

        #[cfg(any(feature = "metrics", feature = "tracing"))]
        impl Call {
            /// The call's name.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $($(Self::$call => $name,)*)*
                }
            }

            /// Whose call it is: the vault's, the ledger's or the store's.
            pub(crate) const fn part(self) -> &'static str {
                match self {
                    $($(Self::$call => $part,)*)*
                }
            }

            /// The span of one such call.
            #[cfg(feature = "tracing")]
            pub(super) fn span(self, domain: Option<&crate::keys::Domain>, items: usize) -> tracing::Span {
                use tracing::field::Empty;
                match self {
                    $($(Self::$call => tracing::$span!(
                        target: $target,
                        $name,
                        domain = domain.map(super::event::Shown).map(display),
                        items,
                        outcome = Empty,
                        reason = Empty,
                    ),)*)*
                }
            }

            /// The keys of what is counted of such a call.
            #[cfg(feature = "metrics")]
            pub(super) fn keys(self) -> &'static super::metric::CallKeys {
                match self {
                    $($(Self::$call => super::metric::call_keys!($part, $name),)*)*
                }
            }
        }
    };
}

calls! {
    "vault" "cardvault::vault" debug_span {
        Open = "open",
        SetRing = "set_ring",
        Tokenize = "tokenize",
        TokenizeBatch = "tokenize_batch",
        Detokenize = "detokenize",
        DetokenizeBatch = "detokenize_batch",
        Masked = "masked",
        MaskedBatch = "masked_batch",
        Find = "find",
        Exists = "exists",
        Metadata = "metadata",
        SetExpiry = "set_expiry",
        Delete = "delete",
        Stats = "stats",
        Check = "check",
        Count = "count",
        CountIn = "count_in",
        Rewrap = "rewrap",
        FillIndex = "fill_index",
        FillLeaving = "fill_leaving",
        DropIndex = "drop_index",
        IndexRows = "index_rows",
        ListUnder = "list_under",
        SurveyStep = "survey_step",
        Purge = "purge",
        Needed = "needed",
        DestroyKey = "destroy_key",
        Export = "export",
        Restore = "restore",
    }
    "ledger" "cardvault::ledger" debug_span {
        Record = "record",
        RecordBatch = "record_batch",
        Import = "import",
        Payment = "payment",
        FindPayments = "find",
        FindCard = "find_card",
        Payments = "payments",
        Compare = "compare",
        Request = "request",
        Progress = "progress",
        Resolve = "resolve",
        Change = "change",
        SettleBatch = "settle_batch",
        RequestOf = "request_of",
        Requests = "requests",
        RequestsBetween = "requests_between",
        Due = "due",
        History = "history",
        Audit = "audit",
        AuditPage = "audit_page",
        LedgerStats = "stats",
        Rebind = "rebind",
        LedgerSurveyStep = "survey_step",
        LedgerPurge = "purge",
        LedgerNeeded = "needed",
        LedgerDestroyKey = "destroy_key",
    }
    "store" "cardvault::store" trace_span {
        StoreWrite = "write",
        StoreRows = "rows",
        StoreFind = "find",
        StoreOthers = "others",
        StoreScan = "scan",
        StoreGuard = "guard",
        StoreCount = "count",
    }
}

//! What a store that wraps another, in its field `store`, hands on as it is.

/// In an `impl Store`: the named calls, handed on.
macro_rules! forward {
    ($($call:ident)+) => { $(forward!(@ $call);)+ };
    (@ rows) => {
        async fn rows(
            &self,
            keys: Vec<cardvault::vault::RowKey>,
        ) -> Result<Vec<Option<cardvault::vault::Row>>, cardvault::vault::StoreError> {
            self.store.rows(keys).await
        }
    };
    (@ find) => {
        async fn find(
            &self,
            keys: Vec<cardvault::vault::IndexKey>,
        ) -> Result<Vec<cardvault::vault::Found>, cardvault::vault::StoreError> {
            self.store.find(keys).await
        }
    };
    (@ others) => {
        async fn others(
            &self,
            key: cardvault::vault::IndexKey,
            after: Option<cardvault::vault::RowKey>,
            end: Option<cardvault::vault::RowKey>,
            limit: usize,
        ) -> Result<Vec<cardvault::vault::RowKey>, cardvault::vault::StoreError> {
            self.store.others(key, after, end, limit).await
        }
    };
    (@ scan) => {
        async fn scan(
            &self,
            after: Option<cardvault::vault::RowKey>,
            end: Option<cardvault::vault::RowKey>,
            limit: usize,
        ) -> Result<
            Vec<(cardvault::vault::RowKey, cardvault::vault::Row)>,
            cardvault::vault::StoreError,
        > {
            self.store.scan(after, end, limit).await
        }
    };
    (@ guard) => {
        async fn guard(
            &self,
        ) -> Result<Option<cardvault::vault::Guard>, cardvault::vault::StoreError> {
            self.store.guard().await
        }
    };
    (@ count) => {
        async fn count(&self) -> Result<u64, cardvault::vault::StoreError> {
            self.store.count().await
        }
    };
}

//! A subscriber that keeps every span, once it is closed, and every event as a line of text.
#![forbid(unsafe_code)]

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// All lines so far, in the order in which spans were closed and events were told.
#[derive(Clone, Default)]
pub(crate) struct Watcher(Arc<Mutex<Vec<String>>>);

impl Watcher {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn tell(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

/// Fields as text. Those that measure durations have a star for a value: each run has its own.
#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn set(&mut self, field: &tracing::field::Field, value: String) {
        self.0.push((field.name().to_owned(), value));
    }

    fn text(&self) -> String {
        self.0
            .iter()
            .fold(String::new(), |mut text, (name, value)| {
                write!(text, " {name}={value}").unwrap();
                text
            })
    }
}

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        self.set(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.set(field, value.to_owned());
    }

    fn record_f64(&mut self, field: &tracing::field::Field, _: f64) {
        self.set(field, "*".to_owned());
    }
}

impl<S> Layer<S> for Watcher
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        id: &tracing::span::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let span = context.span(id).unwrap();
        span.extensions_mut().insert(fields);
    }

    fn on_record(
        &self,
        id: &tracing::span::Id,
        values: &tracing::span::Record<'_>,
        context: Context<'_, S>,
    ) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        values.record(extensions.get_mut::<Fields>().unwrap());
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let about = event.metadata();
        let inside = context.event_span(event);
        let inside = inside.map_or(String::new(), |span| format!(" in {}", span.name()));
        self.tell(format!(
            "{} {}{inside}:{}",
            about.level(),
            about.target(),
            fields.text()
        ));
    }

    fn on_close(&self, id: tracing::span::Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let about = span.metadata();
        let inside = span.parent();
        let inside = inside.map_or(String::new(), |span| format!(" in {}", span.name()));
        let extensions = span.extensions();
        let fields = extensions.get::<Fields>().unwrap().text();
        self.tell(format!(
            "{} {} {}{inside}:{fields}",
            about.level(),
            about.target(),
            about.name()
        ));
    }
}

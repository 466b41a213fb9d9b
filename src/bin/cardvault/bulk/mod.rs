//! The file commands: a reader, workers on all cores, and a writer that keeps the lines' order.
//!
//! The writer hands out as many credits as batches may be under way and takes one back with each
//! batch that is written, so memory stays bounded whichever of them is slow. Batches come back
//! with their credit and are used again: what was in them is wiped first.
#![forbid(unsafe_code)]

mod layout;
mod report;
mod source;
mod work;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use cardvault::UnixSeconds;
use cardvault::card::MaskBin;
use cardvault::token::{Irreversible, Vaultless, VaultlessOpener};
use cardvault::vault;
use zeroize::{Zeroize, Zeroizing};

use self::layout::Layout;
pub(crate) use self::layout::{content, split};
use self::report::Report;
pub(crate) use self::source::{Batch, Line, Source};
pub(crate) use self::work::Reading as CardReading;
use self::work::{
    Answers, Decrypting, Encrypting, Hashing, Masking, Opening, Reading, Vaulting, Work,
};
use crate::args::{Detokenize, FileArgs, Mask, Tokenize};
use crate::failure::{Exit, Failure, Outcome};
use crate::files::{Output, Readers};
use crate::folder::{Folder, show_mark};

pub(crate) fn tokenize(args: &Tokenize, quiet: bool) -> Outcome<Exit> {
    let folder = Folder::open(&args.vault)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    let reading = Reading {
        admit_luhn_failures: args.cards.admit_luhn_failures,
    };
    let (domain, now) = (args.domain, UnixSeconds::now());
    if let Some(vaultless) = args.vaultless {
        let key = ring.vaultless_key(&domain, now)?;
        let vaultless = Vaultless::new(vaultless.0, &key);
        drop(folder.vault(ring)?); // An old copy of the ring is refused here.
        let work = Encrypting { reading, vaultless };
        return run(&args.files, &work, Readers::Usual, quiet);
    }
    if args.irreversible {
        let irreversible = Irreversible::new(&ring.irreversible_key(&domain, now)?);
        drop(folder.vault(ring)?);
        let work = Hashing {
            reading,
            irreversible,
        };
        return run(&args.files, &work, Readers::Usual, quiet);
    }
    let mut how = args.format.apply(if args.fresh {
        vault::Tokenize::fresh()
    } else {
        vault::Tokenize::convergent()
    });
    if let Some(days) = args.valid_days {
        how = how.expiring(now.plus(u64::from(days).saturating_mul(UnixSeconds::DAY)));
    }
    let work = Vaulting {
        reading,
        vault: folder.vault(ring)?,
        domain,
        how,
    };
    run(&args.files, &work, Readers::Usual, quiet)
}

pub(crate) fn detokenize(args: &Detokenize, quiet: bool) -> Outcome<Exit> {
    let access = args.access.access()?;
    let folder = Folder::open(&args.vault)?;
    let ring = folder.ring()?;
    show_mark(&ring);
    if let Some(vaultless) = args.vaultless {
        let openers = ring
            .vaultless_generations()
            .map(|generation| {
                let key = ring.vaultless_key_of(&args.domain, generation)?;
                Ok(VaultlessOpener::new(vaultless.0, &key))
            })
            .collect::<Outcome<Vec<_>>>()?;
        let work = Decrypting {
            openers,
            vault: folder.vault(ring)?, // An old copy of the ring is refused here.
            domain: args.domain,
            access,
        };
        return run(&args.files, &work, Readers::Owner, quiet);
    }
    let work = Opening {
        vault: folder.vault(ring)?,
        domain: args.domain,
        access,
    };
    run(&args.files, &work, Readers::Owner, quiet)
}

pub(crate) fn mask(args: &Mask, quiet: bool) -> Outcome<Exit> {
    let work = Masking {
        reading: Reading {
            admit_luhn_failures: args.cards.admit_luhn_failures,
        },
        bin: match &*args.bin {
            "0" => MaskBin::Hidden,
            "8" => MaskBin::Eight,
            _ => MaskBin::Six,
        },
    };
    run(&args.files, &work, Readers::Usual, quiet)
}

/// A batch that is done.
struct Done {
    out: Zeroizing<Vec<u8>>,
    rejected: Vec<(u64, String)>,
    accepted: u64,
    empty: u64,
    existing: u64,
    batch: Batch,
}

type Numbered<T> = (u64, T);

fn run(files: &FileArgs, work: &dyn Work, readers: Readers, quiet: bool) -> Outcome<Exit> {
    let mut source = Source::open(&files.input)?;
    let mut output = Output::open(&files.output, readers)?;
    let mut report = Report::begin(files.reject.as_deref(), source.bytes(), quiet)?;

    let mut first = source.next_batch(None)?;
    let mut layout = Layout::Plain;
    if let Some(batch) = &mut first {
        let header = match batch.lines().next() {
            Some(Line::Text { text, ending, .. }) => {
                let (found, has_header) = Layout::of(files, text)?;
                layout = found;
                has_header.then(|| {
                    let mut header = layout.header(text, files.append.as_deref());
                    header.extend_from_slice(ending);
                    header
                })
            }
            _ => None,
        };
        if let Some(header) = header {
            output.write(&header)?;
            batch.drop_first();
        }
    }

    // Workers wait for the vault's commits, so there are a few more of them than cores.
    let workers = thread::available_parallelism().map_or(1, NonZero::get) + 2;
    let under_way = workers + 2;
    let (jobs, waiting) = sync_channel(under_way);
    let (results, done) = sync_channel(under_way);
    let (credits, free) = sync_channel(under_way);
    for _ in 0..under_way {
        let _ = credits.send(None); // There is room for all of them.
    }
    thread::scope(|scope| {
        let reading = results.clone();
        scope.spawn(move || read(source, first, &free, &jobs, &reading));
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..workers {
            let (waiting, results, layout) = (Arc::clone(&waiting), results.clone(), &layout);
            scope.spawn(move || answer(&waiting, &results, layout, work));
        }
        // The ends that are left here would keep the threads waiting.
        drop((waiting, results));
        write(done, credits, &mut output, &mut report)
    })?;
    report.finish(work.done())?;
    output.finish()?;
    Ok(report.exit())
}

fn read(
    mut source: Source,
    first: Option<Batch>,
    free: &Receiver<Option<Batch>>,
    jobs: &SyncSender<Numbered<Batch>>,
    results: &SyncSender<Numbered<Outcome<Done>>>,
) {
    let mut next = Ok(first);
    for number in 0.. {
        let Ok(used) = free.recv() else { return };
        if number > 0 {
            next = source.next_batch(used);
        }
        match next {
            Ok(None) => return,
            Ok(Some(batch)) => {
                if jobs.send((number, batch)).is_err() {
                    return;
                }
                next = Ok(None);
            }
            Err(failure) => {
                let _ = results.send((number, Err(failure)));
                return;
            }
        }
    }
}

fn answer(
    waiting: &Mutex<Receiver<Numbered<Batch>>>,
    results: &SyncSender<Numbered<Outcome<Done>>>,
    layout: &Layout,
    work: &dyn Work,
) {
    let mut answers = Answers::default();
    loop {
        let job = match waiting.lock() {
            Ok(waiting) => waiting.recv(),
            Err(_) => return,
        };
        let Ok((number, batch)) = job else { return };
        let result = answer_batch(batch, layout, work, &mut answers);
        if results.send((number, result)).is_err() {
            return;
        }
    }
}

fn answer_batch(
    batch: Batch,
    layout: &Layout,
    work: &dyn Work,
    answers: &mut Answers,
) -> Outcome<Done> {
    let count = batch.lines().len();
    let mut columns = Vec::new();
    let mut values = Vec::with_capacity(count);
    let mut rejected = Vec::new();
    let mut places = Vec::with_capacity(count);
    for line in batch.lines() {
        let Line::Text { number, text, .. } = line else {
            rejected.push((line.number(), Source::too_long()));
            continue;
        };
        if text.is_empty() {
            places.push((line, None));
            continue;
        }
        match layout.find(text, &mut columns) {
            Ok(span) => {
                values.push(content(text, &span));
                places.push((line, Some(span)));
            }
            Err(fault) => rejected.push((number, fault.to_string())),
        }
    }
    answers.begin(values.len(), work.longest());
    work.answer(&values, answers)?;

    let room = batch.len() + values.len().saturating_mul(work.longest() + 1);
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    let (mut accepted, mut empty) = (0, 0);
    let mut given = answers.iter();
    for (line, span) in places {
        let Line::Text {
            number,
            text,
            ending,
        } = line
        else {
            continue;
        };
        let Some(span) = span else {
            empty += 1;
            out.extend_from_slice(ending);
            continue;
        };
        match given.next() {
            Some(Ok(value)) => {
                accepted += 1;
                layout.put(text, &span, value, &mut out);
                out.extend_from_slice(ending);
            }
            Some(Err(reason)) => rejected.push((number, reason.to_owned())),
            None => return Err(Failure::keys("batch", "an answer is missing")),
        }
    }
    drop(given);
    rejected.sort_unstable_by_key(|(number, _)| *number);
    Ok(Done {
        out,
        rejected,
        accepted,
        empty,
        existing: answers.existing,
        batch,
    })
}

/// Owns its ends of the channels: if it fails, everybody else stops.
fn write(
    done: Receiver<Numbered<Outcome<Done>>>,
    credits: SyncSender<Option<Batch>>,
    output: &mut Output,
    report: &mut Report,
) -> Outcome<()> {
    // At most as many as there are credits.
    let mut early = BTreeMap::new();
    let mut turn = 0;
    for (number, result) in done {
        early.insert(number, result);
        while let Some(result) = early.remove(&turn) {
            let mut done = result?;
            output.write(&done.out)?;
            done.out.zeroize();
            report.count(&done)?;
            turn += 1;
            // Nobody takes it once the input is at its end.
            let _ = credits.try_send(Some(done.batch));
        }
    }
    Ok(())
}

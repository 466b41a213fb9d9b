//! How callers are committed together: a bounded queue, where a caller that finds it full waits
//! without blocking its thread, and the loop of the thread that commits what is queued.
#![forbid(unsafe_code)]

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

use super::staged::Staged;
use super::store::{self, Guard, StoreError, Write, WriteOutcome, check_batch};
use super::telemetry;

/// The group that is committed together takes no further batch once it has this many writes.
pub const MAX_GROUP: usize = 10_000;
/// A caller waits while this many writes are queued.
pub const MAX_QUEUED: usize = 40_000;

/// What a caller gets to know.
pub(super) type Answer = Result<Vec<WriteOutcome>, StoreError>;

/// One caller's batch.
pub(super) struct Job {
    pub(super) under: Option<Guard>,
    /// Shared with the caller, who frees them unless it is gone.
    pub(super) writes: Arc<Vec<Write>>,
    answer: oneshot::Sender<Answer>,
}

/// Jobs in the order of their arrival.
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    /// A job is let in while fewer writes than this are queued.
    bound: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The writes of all jobs; a job without any counts as one.
    writes: usize,
    /// Callers that wait for room, by the order of their arrival.
    waiting: BTreeMap<u64, Waker>,
    next_ticket: u64,
    closed: bool,
}

/// Decides all jobs in their order, each by `batch` against those before it. An error is the
/// whole group's; a job that met damage has it as its answer, and changes nothing.
pub(super) fn decide(
    jobs: &[Job],
    mut batch: impl FnMut(&mut Staged, &Job) -> Answer,
) -> Result<(Staged, Vec<Answer>), StoreError> {
    let mut answers: Vec<Answer> = vec![Ok(Vec::new()); jobs.len()];
    'again: loop {
        let mut staged = Staged::default();
        for (job, answer) in jobs.iter().zip(&mut answers) {
            if *answer == Err(StoreError::Corrupt) {
                continue;
            }
            *answer = batch(&mut staged, job);
            match answer {
                Ok(_) | Err(StoreError::GuardChanged) => {}
                // It may be staged in part: decide the others again without it.
                Err(StoreError::Corrupt) => continue 'again,
                Err(error) => return Err(*error),
            }
        }
        return Ok((staged, answers));
    }
}

impl Queue {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            bound,
        }
    }

    /// Queues a batch and waits for what became of it.
    ///
    /// # Errors
    /// [`StoreError::Closed`], [`StoreError::Size`], and the committing thread's.
    pub(super) async fn submit(&self, under: Option<Guard>, writes: Vec<Write>) -> Answer {
        check_batch(&writes)?;
        let writes = Arc::new(writes);
        let (answer, outcome) = oneshot::channel();
        let job = Job {
            under,
            writes: Arc::clone(&writes),
            answer,
        };
        self.put(job).await?;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The committing thread: takes what is queued and answers each job as `commit` says, until
    /// the queue is closed and empty.
    pub(super) fn serve(&self, mut commit: impl FnMut(&[Job]) -> Result<Vec<Answer>, StoreError>) {
        let _ending = Ending { queue: self };
        while let Some(jobs) = self.take(MAX_GROUP) {
            // Nobody waits for these any more: they do not happen.
            let jobs: Vec<Job> = jobs
                .into_iter()
                .filter(|job| !job.answer.is_canceled())
                .collect();
            let writes = || jobs.iter().map(weight).sum();
            let group = telemetry::Group::begin(jobs.len(), writes);
            let committed = commit(&jobs);
            group.end(committed.is_ok());
            match committed {
                Ok(answers) => {
                    for (job, answer) in jobs.into_iter().zip(answers) {
                        tell(job, answer);
                    }
                }
                Err(error) => {
                    for job in jobs {
                        tell(job, Err(error));
                    }
                }
            }
        }
    }

    /// Puts a job in, once there is room.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    fn put(&self, job: Job) -> impl Future<Output = Result<(), StoreError>> + Send {
        Put {
            queue: self,
            job: Some(job),
            ticket: None,
        }
    }

    /// Waits for jobs, and takes them from the front until they make up `limit` writes. `None`
    /// once the queue is closed and empty.
    fn take(&self, limit: usize) -> Option<Vec<Job>> {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return None;
            }
            state = self
                .arrived
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut taken = Vec::with_capacity(state.jobs.len());
        let mut writes = 0;
        while writes < limit
            && let Some(job) = state.jobs.pop_front()
        {
            writes += weight(&job);
            taken.push(job);
        }
        state.writes = state.writes.saturating_sub(writes);
        let waiting = core::mem::take(&mut state.waiting);
        drop(state);
        telemetry::unqueued(writes);
        wake(waiting);
        Some(taken)
    }

    /// Lets no more jobs in.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = core::mem::take(&mut state.waiting);
        drop(state);
        self.arrived.notify_all();
        wake(waiting);
    }

    /// Closes, and drops what is queued: its callers learn that the store is closed.
    fn abandon(&self) {
        let jobs = core::mem::take(&mut self.lock().jobs);
        telemetry::unqueued(jobs.iter().map(weight).sum());
        drop(jobs);
        self.close();
    }

    /// Nothing in here panics while it holds the lock, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves nobody waiting, should the committing thread panic.
struct Ending<'a> {
    queue: &'a Queue,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

/// Answers a caller. It may have gone meanwhile, or its waker may panic: the others get theirs.
fn tell(job: Job, answer: Answer) {
    let Job {
        answer: caller,
        writes,
        ..
    } = job;
    // Before the answer, so that the caller is the last to have them.
    drop(writes);
    let _ = catch_unwind(AssertUnwindSafe(|| caller.send(answer).is_ok()));
}

/// Wakes each, also behind one whose waker panics.
fn wake(waiting: BTreeMap<u64, Waker>) {
    for waker in waiting.into_values() {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

fn weight(job: &Job) -> usize {
    job.writes.iter().map(store::weight).sum::<usize>().max(1)
}

struct Put<'a> {
    queue: &'a Queue,
    job: Option<Job>,
    ticket: Option<u64>,
}

impl Future for Put<'_> {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.queue.lock();
        if state.closed {
            return Poll::Ready(Err(StoreError::Closed));
        }
        if state.writes >= this.queue.bound {
            let next = state.next_ticket;
            let ticket = *this.ticket.get_or_insert(next);
            if ticket == next {
                state.next_ticket += 1;
            }
            state.waiting.insert(ticket, context.waker().clone());
            return Poll::Pending;
        }
        if let Some(job) = this.job.take() {
            let writes = weight(&job);
            state.writes += writes;
            state.jobs.push_back(job);
            telemetry::queued(writes);
        }
        drop(state);
        this.queue.arrived.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Put<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.queue.lock().waiting.remove(&ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::task::{Context, Poll, Waker};
    use std::pin::pin;

    use super::*;
    use crate::vault::{Row, RowKey};

    fn job(writes: usize) -> (Job, oneshot::Receiver<Answer>) {
        let (answer, outcome) = oneshot::channel();
        let row = Row::new(b"row").unwrap();
        let write = Write::Replace {
            token: RowKey::new(b"key").unwrap(),
            expected: row.clone(),
            row,
        };
        (
            Job {
                under: None,
                writes: Arc::new(vec![write; writes]),
                answer,
            },
            outcome,
        )
    }

    #[test]
    fn a_full_queue_makes_callers_wait_and_wakes_them() {
        let queue = Queue::new(3);
        let mut context = Context::from_waker(Waker::noop());
        let (first, _a) = job(5);
        let (second, _b) = job(1);
        assert_eq!(
            pin!(queue.put(first)).poll(&mut context),
            Poll::Ready(Ok(()))
        );
        let mut waiting = pin!(queue.put(second));
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert_eq!(queue.lock().waiting.len(), 1);
        assert_eq!(queue.take(1).unwrap().len(), 1);
        assert_eq!(queue.lock().waiting.len(), 0);
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(Ok(())));
        assert_eq!(queue.lock().writes, 1);
    }

    #[test]
    fn a_dropped_caller_leaves_no_waker() {
        let queue = Queue::new(1);
        let mut context = Context::from_waker(Waker::noop());
        let (first, _a) = job(1);
        assert!(pin!(queue.put(first)).poll(&mut context).is_ready());
        {
            let (second, _b) = job(1);
            let mut waiting = pin!(queue.put(second));
            assert!(waiting.as_mut().poll(&mut context).is_pending());
        }
        assert!(queue.lock().waiting.is_empty());
    }

    #[test]
    fn a_closed_queue_gives_out_what_it_holds_and_takes_no_more() {
        let queue = Queue::new(10);
        let mut context = Context::from_waker(Waker::noop());
        let (first, _a) = job(2);
        let (second, _b) = job(0);
        let (third, _c) = job(1);
        assert!(pin!(queue.put(first)).poll(&mut context).is_ready());
        assert!(pin!(queue.put(second)).poll(&mut context).is_ready());
        queue.close();
        let refused = pin!(queue.put(third)).poll(&mut context);
        assert_eq!(refused, Poll::Ready(Err(StoreError::Closed)));
        assert_eq!(queue.take(2).unwrap().len(), 1);
        assert_eq!(queue.take(2).unwrap().len(), 1);
        assert!(queue.take(2).is_none());
    }
}

//! The catalogue on a thread of its own, so that whoever asks need not wait for the disk.

use std::io;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;

use super::records::{Answer, RecordChange, Records};
use super::store::Catalogue;
use super::time::ClockState;
use super::{LoadError, SetError};
use crate::disk;
use crate::later::Later;
use crate::policy::KeyringName;
use crate::priority;

type Job = Box<dyn FnOnce(&mut Catalogue) + Send>;

/// Has work done on a catalogue, one piece after the other: that makes it the writer of the records.
pub trait OnCatalogue: Send {
    /// What the work yields.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Catalogue) -> T + Send + 'static,
    ) -> Later<'static, T>;
}

/// The thread and its queue. A panic of that thread goes on in whoever asks, as that of a call would. Dropped, it ends what was
/// asked for, and releases the lock of the state directory.
pub struct CatalogueThread {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl CatalogueThread {
    /// Moves an open catalogue to a new thread.
    ///
    /// # Errors
    /// When the system has no thread.
    pub fn start(catalogue: Catalogue) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let thread = Builder::new()
            .name("catalogue".to_owned())
            .spawn(move || serve(catalogue, &queue))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }
}

impl OnCatalogue for CatalogueThread {
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Catalogue) -> T + Send + 'static,
    ) -> Later<'static, T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |catalogue| {
            if answer.send(work(catalogue)).is_err() {
                tracing::debug!("whoever asked the catalogue has gone");
            }
        });
        // If it has ended, the answer says so.
        drop(self.jobs.as_ref().map(|jobs| jobs.send(job)));
        Box::pin(async move {
            match answered.await {
                Ok(value) => value,
                Err(_dropped) => {
                    resume_unwind(Box::new("the catalogue's thread has ended by a panic"))
                }
            }
        })
    }
}

fn serve(mut catalogue: Catalogue, queue: &Receiver<Job>) {
    priority::lower();
    while let Ok(job) = queue.recv() {
        job(&mut catalogue);
    }
}

impl<W: OnCatalogue> Records for W {
    fn set(&self, change: RecordChange) -> Later<'static, Answer<SetError>> {
        self.ask(|catalogue| catalogue.apply(change))
    }

    fn read(&self, which: Option<KeyringName>) -> Later<'static, Answer<LoadError>> {
        self.ask(|catalogue| catalogue.read(which))
    }

    fn is_unchanged(&self) -> Later<'static, bool> {
        self.ask(|catalogue| catalogue.is_unchanged())
    }

    fn save_clock(&self, state: ClockState) -> Later<'static, Result<(), disk::Error>> {
        self.ask(move |catalogue| catalogue.write_clock(&state))
    }

    fn rehearse(&self) -> Later<'static, Result<(), disk::Error>> {
        self.ask(|catalogue| catalogue.rehearse_disk())
    }
}

impl Drop for CatalogueThread {
    fn drop(&mut self) {
        self.jobs = None;
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) {
            tracing::error!("the catalogue's thread has ended by a panic");
        }
    }
}

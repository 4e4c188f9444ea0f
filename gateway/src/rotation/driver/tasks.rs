//! What is under way on the driver's thread: work that goes on when the disk, a custodian or JetStream has answered.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use futures_util::Stream as _;
use futures_util::stream::FuturesUnordered;

/// Work that ends by itself.
type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Begins work for [`Tasks`], which work holds on its part.
#[derive(Clone)]
pub(super) struct Spawner(Weak<RefCell<Vec<Task>>>);

/// The work that is under way. What is not done when this is dropped is not done any more.
#[derive(Default)]
pub(super) struct Tasks {
    running: FuturesUnordered<Task>,
    begun: Rc<RefCell<Vec<Task>>>,
}

impl Spawner {
    /// Begins work: up to where it first waits it is done when this returns.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut task: Task = Box::pin(task);
        let mut nobody = Context::from_waker(Waker::noop());
        if task.as_mut().poll(&mut nobody).is_pending()
            && let Some(begun) = self.0.upgrade()
        {
            begun.borrow_mut().push(task);
        }
    }
}

impl Tasks {
    pub(super) fn spawner(&self) -> Spawner {
        Spawner(Rc::downgrade(&self.begun))
    }

    /// Goes on with all work that can go on; whether some has gone on or ended.
    fn advance(&mut self, context: &mut Context<'_>) -> bool {
        let mut went_on = false;
        loop {
            let begun = std::mem::take(&mut *self.begun.borrow_mut());
            let nothing_new = begun.is_empty();
            self.running.extend(begun);
            match Pin::new(&mut self.running).poll_next(context) {
                Poll::Ready(Some(())) => went_on = true,
                Poll::Ready(None) | Poll::Pending if nothing_new => return went_on,
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
    }

    /// Goes on with the work until some of it has ended.
    pub(super) async fn some_ended(&mut self) {
        poll_fn(|context| match self.advance(context) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Goes on with the work until `end` comes.
    pub(super) async fn until<T>(&mut self, end: impl Future<Output = T>) -> T {
        let mut end = std::pin::pin!(end);
        poll_fn(|context| {
            self.advance(context);
            end.as_mut().poll(context)
        })
        .await
    }

    /// Goes on with the work as far as it can without waiting.
    #[cfg(test)]
    pub(super) fn run_until_stalled(&mut self) {
        self.advance(&mut Context::from_waker(Waker::noop()));
    }
}

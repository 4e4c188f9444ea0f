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

    /// Goes on with all work that can go on; whether some has ended. Afterwards all work that waits wakes `context`.
    fn advance(&mut self, context: &mut Context<'_>) -> bool {
        let mut ended = false;
        loop {
            let begun = std::mem::take(&mut *self.begun.borrow_mut());
            self.running.extend(begun);
            let polled = Pin::new(&mut self.running).poll_next(context);
            ended |= polled == Poll::Ready(Some(()));
            // What was begun meanwhile has been polled by nobody who would be woken.
            if polled != Poll::Ready(Some(())) && self.begun.borrow().is_empty() {
                return ended;
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
        poll_fn(|context| self.advance_until(end.as_mut(), context)).await
    }

    fn advance_until<T>(
        &mut self,
        mut end: Pin<&mut impl Future<Output = T>>,
        context: &mut Context<'_>,
    ) -> Poll<T> {
        loop {
            self.advance(context);
            let polled = end.as_mut().poll(context);
            // What was begun by that has been polled by nobody who would be woken.
            if polled.is_ready() || self.begun.borrow().is_empty() {
                return polled;
            }
        }
    }

    /// Drops what is under way: whoever waits for its end is told that.
    pub(super) fn drop_all(&mut self) {
        self.begun.borrow_mut().clear();
        self.running.clear();
    }

    /// Goes on with the work as far as it can without waiting.
    #[cfg(test)]
    pub(super) fn run_until_stalled(&mut self) {
        self.advance(&mut Context::from_waker(Waker::noop()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use tokio::sync::oneshot;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn work_that_other_work_begins_wakes_whoever_waits_for_all() {
        let mut tasks = Tasks::default();
        let spawner = tasks.spawner();
        let (first, first_ends) = oneshot::channel::<()>();
        let (second, second_ends) = oneshot::channel::<()>();
        let (_third, never_ends) = oneshot::channel::<()>();
        spawner.spawn(async move { drop(never_ends.await) });
        let within = spawner.clone();
        spawner.spawn(async move {
            drop(first_ends.await);
            within.spawn(async move { drop(second_ends.await) });
            std::future::pending::<()>().await;
        });
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        assert!(!tasks.advance(&mut context));
        first.send(()).unwrap();
        assert!(!tasks.advance(&mut context));
        let before = wakes.0.load(Ordering::Relaxed);
        second.send(()).unwrap();
        assert!(wakes.0.load(Ordering::Relaxed) > before);
        assert!(tasks.advance(&mut context));
    }
}

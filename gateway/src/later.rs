//! Results that come later: what a disk, a custodian or another process was asked for.

use std::future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// A result that comes later. It needs no runtime of a certain kind: whoever works for it does so on a thread of its own.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A result that is there already.
pub fn ready<'a, T: Send + 'a>(value: T) -> Later<'a, T> {
    Box::pin(future::ready(value))
}

/// Blocks the calling thread until the result is there: for starts and commands, not for a thread that serves others.
pub fn wait<T>(later: impl Future<Output = T>) -> T {
    let mut later = pin!(later);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match later.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            // It may return without cause, which costs a poll.
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_of_another_thread_is_waited_for() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let worker = thread::spawn(move || sender.send(7));
        assert_eq!(wait(receiver), Ok(7));
        worker.join().unwrap().unwrap();
        assert_eq!(wait(ready(8)), 8);
    }
}

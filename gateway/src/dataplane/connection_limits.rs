//! Limits on client connections: in all, for each IP address, and new ones in a second.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use strum::{EnumTable, IntoStaticStr};

use crate::keyring::RateLimiter;
use crate::metrics::{self, Counter};

/// The limits as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Concurrent client connections.
    pub connections: usize,
    /// Concurrent connections from one IP address; `None`: no limit.
    pub per_address: Option<usize>,
    /// New connections in a second, also the burst size; `None`: no limit.
    pub per_second: Option<u32>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 65_536,
            per_address: None,
            per_second: None,
        }
    }
}

/// The limit that a rejected client has hit; the variants are those of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumTable, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum Refusal {
    /// Concurrent connections.
    Connections,
    /// Concurrent connections from its address.
    Address,
    /// New connections in a second.
    Rate,
}

/// Applies the limits.
pub(super) struct Admission {
    limits: ConnectionLimits,
    present: Mutex<Counts>,
    refused: RefusalTable<Counter>,
}

struct Counts {
    connections: usize,
    from: HashMap<IpAddr, usize>,
    rate: Option<RateLimiter>,
}

/// A client that is counted until this is dropped.
pub(super) struct Ticket {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
}

impl Refusal {
    /// The error that nats-server sends in this case.
    pub(super) const fn error(self) -> &'static [u8] {
        match self {
            Self::Connections | Self::Address => b"-ERR 'maximum connections exceeded'\r\n",
            Self::Rate => b"-ERR 'Connection throttling is active. Please try again later.'\r\n",
        }
    }
}

impl Admission {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        let rate = limits.per_second.and_then(|rate| {
            let each = Duration::from_secs(1).checked_div(rate)?;
            Some(RateLimiter::new(rate, each))
        });
        Self {
            limits,
            present: Mutex::new(Counts {
                connections: 0,
                from: HashMap::new(),
                rate,
            }),
            refused: RefusalTable::from_closure(|limit| {
                metrics::connections_refused(<&str>::from(limit))
            }),
        }
    }

    /// Counts a new client.
    ///
    /// # Errors
    /// The [`Refusal`], counted.
    pub(super) fn admit(self: &Arc<Self>, now: Instant) -> Result<Ticket, Refusal> {
        let mut present = self.present();
        if present.connections >= self.limits.connections {
            return Err(self.refuse(Refusal::Connections));
        }
        if present.rate.as_mut().is_some_and(|rate| !rate.take(now)) {
            return Err(self.refuse(Refusal::Rate));
        }
        present.connections = present.connections.saturating_add(1);
        drop(present);
        Ok(Ticket {
            admission: Arc::clone(self),
            address: None,
        })
    }

    fn refuse(&self, refusal: Refusal) -> Refusal {
        self.refused[refusal].increment(1);
        refusal
    }

    fn present(&self) -> MutexGuard<'_, Counts> {
        // No update under the lock can panic half way.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Counts the client for its IP address, which may come from a PROXY header.
    ///
    /// # Errors
    /// The [`Refusal`], counted.
    pub(super) fn set_address(&mut self, address: IpAddr) -> Result<(), Refusal> {
        let Some(most) = self.admission.limits.per_address else {
            return Ok(());
        };
        let address = address.to_canonical();
        let mut present = self.admission.present();
        let from = present.from.entry(address).or_default();
        if *from >= most {
            return Err(self.admission.refuse(Refusal::Address));
        }
        *from = from.saturating_add(1);
        drop(present);
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut present = self.admission.present();
        present.connections = present.connections.saturating_sub(1);
        if let Some(address) = self.address
            && let Entry::Occupied(mut from) = present.from.entry(address)
        {
            let left = from.get().saturating_sub(1);
            if left == 0 {
                from.remove();
            } else {
                from.insert(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        crate::clock::Clock::system().instant()
    }

    fn admission(limits: ConnectionLimits) -> Arc<Admission> {
        Arc::new(Admission::new(limits))
    }

    #[test]
    fn place_that_is_left_can_be_taken() {
        let admission = admission(ConnectionLimits {
            connections: 2,
            ..ConnectionLimits::default()
        });
        let now = now();
        let first = admission.admit(now).unwrap();
        let _second = admission.admit(now).unwrap();
        assert_eq!(admission.admit(now).err(), Some(Refusal::Connections));
        drop(first);
        assert!(admission.admit(now).is_ok());
    }

    #[test]
    fn address_that_is_full_keeps_no_other_out() {
        let admission = admission(ConnectionLimits {
            per_address: Some(1),
            ..ConnectionLimits::default()
        });
        let [here, there]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let mut tickets: Vec<_> = (0..3).map(|_| admission.admit(now()).unwrap()).collect();
        assert_eq!(tickets[0].set_address(here), Ok(()));
        assert_eq!(tickets[1].set_address(mapped), Err(Refusal::Address));
        assert_eq!(tickets[2].set_address(there), Ok(()));
        tickets.remove(0);
        assert_eq!(tickets[0].set_address(here), Ok(()));
        drop(tickets);
        assert!(admission.present().from.is_empty());
        assert_eq!(admission.present().connections, 0);
    }

    #[test]
    fn as_many_as_a_second_allows_may_come_at_once_and_then_one_by_one() {
        let admission = admission(ConnectionLimits {
            per_second: Some(4),
            ..ConnectionLimits::default()
        });
        let now = now();
        let come = |at: Instant| admission.admit(at).map(drop);
        for _ in 0..4 {
            assert_eq!(come(now), Ok(()));
        }
        assert_eq!(come(now), Err(Refusal::Rate));
        let later = now + Duration::from_millis(250);
        assert_eq!(come(later), Ok(()));
        assert_eq!(come(later), Err(Refusal::Rate));
    }
}

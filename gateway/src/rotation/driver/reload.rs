//! What waits until nothing is under way for any keyring: a reload, and the hand-over to another process. Everything else goes on
//! meanwhile.

use std::sync::Arc;

use crate::audit::{PendingEvent, Settings};
use crate::rotation::config::{Reload, RotationConfig};
use crate::rotation::drain::{self, DrainLink};
use crate::rotation::engine::Failure;
use crate::rotation::error::OrderError;

use super::answer::{Answer, reply};
use super::keyring::Actor;
use super::request::DrainChannel;
use super::tick::Driver;

/// Something that waits.
pub(in crate::rotation) enum Waiting {
    /// Another configuration is to be put in force.
    Reload {
        config: Box<RotationConfig>,
        reload: Reload,
        answer: Answer<Result<(), OrderError>>,
    },
    /// Another configuration is in force, and what follows from it is being done.
    Reloaded {
        weaker: Option<PendingEvent>,
        what: String,
        before: Settings,
        answer: Answer<Result<(), OrderError>>,
    },
    /// Another process is to take over.
    HandOver {
        channel: DrainChannel,
        answer: Answer<Vec<DrainLink>>,
    },
}

impl Driver {
    /// Goes on with what waits, if it need not wait any longer; yields a hand-over.
    pub(super) fn go_on(&mut self) -> Option<(DrainChannel, Answer<Vec<DrainLink>>)> {
        while self.is_at_rest() {
            match self.waiting.pop_front()? {
                Waiting::Reload {
                    config,
                    reload,
                    answer,
                } => match self.reload(*config, reload) {
                    Ok((weaker, what, before)) => self.waiting.push_front(Waiting::Reloaded {
                        weaker,
                        what,
                        before,
                        answer,
                    }),
                    Err(error) => reply(answer, Err(error)),
                },
                Waiting::Reloaded {
                    weaker,
                    what,
                    before,
                    answer,
                } => {
                    self.context.with(|shared| {
                        shared.install();
                        shared.finish_weaker(weaker);
                        shared.audit_reload(what, &before);
                    });
                    reply(answer, Ok(()));
                }
                Waiting::HandOver { channel, answer } => return Some((channel, answer)),
            }
        }
        None
    }

    /// Puts other terms and subjects in force without touching connections. Keyrings keep their order.
    fn reload(
        &mut self,
        config: RotationConfig,
        reload: Reload,
    ) -> Result<(Option<PendingEvent>, String, Settings), OrderError> {
        let names = config.policy.keyrings().iter().map(|rule| &rule.name);
        let held: Vec<_> = self.keyrings.iter().map(Actor::name).collect();
        let same = names.clone().zip(&held).all(|(new, old)| new == old);
        if !same || names.count() < held.len() {
            let held: Vec<_> = held.iter().map(ToString::to_string).collect();
            return Err(OrderError::Places(held.join(", ")));
        }
        let Reload { what, reason } = reload;
        let (weaker, before) = self.context.with(|shared| {
            let before = std::mem::take(&mut shared.settings);
            let weaker = shared.audit_weaker(&before, &config.settings, reason);
            let weaker = weaker.map_err(|error| {
                shared.settings = before.clone();
                OrderError::Failed(Failure::of(&error))
            })?;
            shared.settings = config.settings.clone();
            shared.policy_digest = drain::digest_of(&config.settings);
            shared.broadcast_policy();
            shared.policy = Arc::clone(&config.policy);
            Ok::<_, OrderError>((weaker, before))
        })?;
        self.set_terms(config.terms);
        self.tick();
        Ok((weaker, what, before))
    }
}

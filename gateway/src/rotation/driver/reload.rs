//! What waits until nothing is under way for any keyring: a reload, and the hand-over to another process. Everything else goes on
//! meanwhile.

use std::sync::Arc;

use crate::fault::Failure;
use crate::rotation::config::{Reload, RotationConfig};
use crate::rotation::drain;
use crate::rotation::error::OrderError;

use super::answer::reply;
use super::keyring::Actor;
use super::tick::Driver;
use super::waiting::{HandOver, Waiting};

impl Driver {
    /// Goes on with what waits, if it need not wait any longer; yields a hand-over.
    pub(super) fn go_on(&mut self) -> Option<HandOver> {
        while self.is_at_rest() {
            match self.waiting.pop_front()? {
                // Nobody waits for it any more.
                Waiting::Reload { answer, .. } if answer.is_closed() => {}
                Waiting::Reload {
                    config,
                    reload,
                    answer,
                } => match self.reload(*config, reload) {
                    Ok(()) => self.waiting.push_front(Waiting::Reloaded { answer }),
                    Err(error) => reply(answer, Err(error)),
                },
                Waiting::Reloaded { answer } => reply(answer, Ok(())),
                Waiting::HandOver(hand_over) => return Some(hand_over),
            }
        }
        None
    }

    /// Puts other terms and subjects in force without touching connections. Keyrings keep their order.
    fn reload(&mut self, config: RotationConfig, reload: Reload) -> Result<(), OrderError> {
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
        self.context.with(|shared| {
            shared.install();
            shared.finish_weaker(weaker);
            shared.audit_reload(what, &before);
        });
        Ok(())
    }
}

//! Key operations, for requests to the running gateway and for commands on its state directory alike.

use jiff::Timestamp;

use crate::audit::{Action, Trigger};
use crate::catalogue::State;
use crate::clock::Clock;
use crate::rotation::engine::Order;
use crate::rotation::{Because, KeyringStatus, OrderError, Rotation, Which, Wish};

use super::Asker;
use super::api;
use super::problem::Refusal;

/// The largest number of audit log lines in one answer.
const LONGEST_TAIL: usize = 1000;

/// Key operations on behalf of one caller.
pub struct Desk {
    /// Carries them out.
    pub rotation: Rotation,
    /// Who asks for them.
    pub asker: Asker,
    /// The time.
    pub clock: Clock,
}

/// A state change of one key version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stops sealing while somebody investigates.
    Suspend,
    /// A suspended version returns to its former state.
    Restore,
    /// Its overlap ends now.
    Archive,
}

type Answer<T> = Result<T, Refusal>;

impl Desk {
    /// All keyrings.
    pub async fn keyrings(&self) -> Vec<api::Keyring> {
        let now = now(&self.clock);
        let keyrings = self.rotation.status().await.into_iter();
        keyrings
            .map(|status| api::Keyring::at(now, status))
            .collect()
    }

    /// One keyring.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn keyring(&self, keyring: &str) -> Answer<api::Keyring> {
        let keyrings = self.rotation.status().await;
        let known: Vec<String> = keyrings
            .iter()
            .map(|status| format!("`{}`", status.keyring))
            .collect();
        let mut found = keyrings.into_iter();
        let found = found.find(|status| status.keyring.as_str() == keyring);
        let status = found.ok_or_else(|| OrderError::UnknownKeyring {
            asked: keyring.to_owned(),
            known: known.join(", "),
        })?;
        Ok(self.shown(status))
    }

    /// One version of a keyring.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn version(&self, keyring: &str, version: &str) -> Answer<api::KeyVersion> {
        let number = self.rotation.number(keyring, Some(version)).await?;
        let versions = self.keyring(keyring).await?.versions.into_iter();
        let mut found = versions.filter(|version| version.number == number);
        found
            .next()
            .ok_or_else(|| Refusal::of(&OrderError::Stopping))
    }

    /// Switches to a new key version now.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn rotate(&self, keyring: &str, asked: api::Rotate) -> Answer<api::Switch> {
        let why = reason(asked.why)?;
        let because = self.asker.because(asked.event.trigger(), why);
        Ok(self.rotation.rotate(keyring, because).await?.into())
    }

    /// Revokes a version, so that it never seals again; yields its exposure.
    ///
    /// # Errors
    /// [`Refusal`]. Nothing is sealed under the version even where the revocation could not be written down yet.
    pub async fn revoke(&self, keyring: &str, asked: api::Revoke) -> Answer<api::Revoked> {
        let why = reason(asked.why)?;
        let because = self.asker.because(Trigger::Compromise, why);
        let meant = (keyring, asked.version.as_deref());
        let number = self.meant(meant, (Action::Compromise, &because)).await?;
        let order = Order::Compromise(number);
        let ordered = self.rotation.order(keyring, order, because).await;
        let exposure = self.rotation.exposure(Which { keyring, number }).await?;
        let failure = match ordered {
            Ok(_status) => None,
            // The version is revoked, but making its successor failed.
            Err(error @ (OrderError::Failed(_) | OrderError::UnderWay))
                if exposure.state == State::Compromised =>
            {
                Some(error.to_string())
            }
            Err(error) => return Err(Refusal::of(&error)),
        };
        let after = self.keyring(keyring).await?;
        let sealing = after.active().map(|version| version.label.clone());
        let unmade = || {
            let why = after.outlook.failure.clone();
            why.unwrap_or_else(|| "it is being made".to_owned())
        };
        Ok(api::Revoked {
            exposure: exposure.into(),
            failure: failure.or_else(|| sealing.is_none().then(unmade)),
            sealing,
        })
    }

    /// Changes the state of a version; yields the keyring as it is afterwards.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn change(
        &self,
        (keyring, version): (&str, &str),
        change: Change,
        asked: api::Reason,
    ) -> Answer<api::Keyring> {
        let why = reason(asked.why)?;
        let because = self.asker.because(Trigger::Manual, why);
        let what = match change {
            Change::Suspend => Action::Suspend,
            Change::Restore => Action::Resume,
            Change::Archive => Action::Archive,
        };
        let number = self
            .meant((keyring, Some(version)), (what, &because))
            .await?;
        let order = match change {
            Change::Suspend => Order::Suspend(number),
            Change::Restore => Order::Restore(number),
            Change::Archive => Order::Archive(number),
        };
        let status = self.rotation.order(keyring, order, because).await?;
        Ok(self.shown(status))
    }

    /// Destroys the secret of a version, if nothing stored needs it, or by force.
    ///
    /// # Errors
    /// [`Refusal`], with the evidence.
    pub async fn destroy(
        &self,
        (keyring, version): (&str, &str),
        asked: api::Destroy,
    ) -> Answer<api::Keyring> {
        let why = reason(asked.why)?;
        let because = self.asker.because(Trigger::Manual, why);
        let meant = (keyring, Some(version));
        let number = self.meant(meant, (Action::Destroy, &because)).await?;
        let wish = Wish {
            forced: asked.force,
            approves: asked.approve,
        };
        let which = Which { keyring, number };
        let status = self.rotation.destroy(which, wish, because).await?;
        Ok(self.shown(status))
    }

    /// Aborts the rotation under way, without a successor.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn abort(&self, keyring: &str, asked: api::Reason) -> Answer<api::Keyring> {
        let because = self.asker.because(Trigger::Manual, reason(asked.why)?);
        let status = self.rotation.order(keyring, Order::Abort, because).await?;
        Ok(self.shown(status))
    }

    /// The reasons for which a version is not destroyed.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn why(&self, keyring: &str, version: &str) -> Answer<api::Kept> {
        let number = self.rotation.number(keyring, Some(version)).await?;
        Ok(self.rotation.why(Which { keyring, number }).await?.into())
    }

    /// What was sealed under a version, and is exposed to whoever has its secret.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn exposure(&self, keyring: &str, version: Option<&str>) -> Answer<api::Exposure> {
        let number = self.rotation.number(keyring, version).await?;
        let which = Which { keyring, number };
        Ok(self.rotation.exposure(which).await?.into())
    }

    /// Rehearses a revocation, without revoking anything.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn drill(&self, asked: api::Reason) -> Answer<Vec<api::Rehearsal>> {
        let because = self.asker.because(Trigger::Manual, reason(asked.why)?);
        let parts = self.rotation.drill(because).await?;
        Ok(parts.into_iter().map(Into::into).collect())
    }

    /// The last lines of the audit log.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn tail(&self, count: usize) -> Answer<api::Tail> {
        let lines = self.rotation.tail(count.min(LONGEST_TAIL)).await?;
        Ok(api::Tail { lines })
    }

    /// The number of the version that a request names. A refusal is recorded in the audit log.
    async fn meant(
        &self,
        (keyring, version): (&str, Option<&str>),
        (what, because): (Action, &Because),
    ) -> Answer<u32> {
        // Both boxed: the caller's future would be too large with them.
        let found = Box::pin(self.rotation.number(keyring, version)).await;
        if let Err(error) = &found
            && error.is_refusal()
        {
            let asked = (Some(keyring), what);
            let why = error.to_string();
            Box::pin(self.rotation.refused(asked, because.clone(), why)).await;
        }
        Ok(found?)
    }

    fn shown(&self, status: KeyringStatus) -> api::Keyring {
        api::Keyring::at(now(&self.clock), status)
    }
}

impl api::Event {
    /// As the audit log names it.
    #[must_use]
    pub const fn trigger(self) -> Trigger {
        match self {
            Self::Manual => Trigger::Manual,
            Self::Personnel => Trigger::Personnel,
            Self::Deployment => Trigger::Deployment,
            Self::Compromise => Trigger::Compromise,
        }
    }
}

impl From<OrderError> for Refusal {
    fn from(error: OrderError) -> Self {
        Self::of(&error)
    }
}

/// The time by `clock`.
pub(super) fn now(clock: &Clock) -> Timestamp {
    Timestamp::try_from(clock.wall()).unwrap_or(Timestamp::MAX)
}

fn reason(why: String) -> Result<String, Refusal> {
    if why.trim().is_empty() {
        return Err(Refusal::unreasoned());
    }
    Ok(why)
}

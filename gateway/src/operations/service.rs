//! Carries out orders and answers questions, for requests to the running gateway and for commands on its state directory alike.

use crate::audit::{Action, Actor, Channel, Text, Trigger};
use crate::catalogue::State;
use crate::fault::Faulty;
use crate::rotation::engine::Order as VersionOrder;
use crate::rotation::{
    DestroyRequest, Exposure, KeyringStatus, OrderError, Reason, RetentionReasons, Rotation,
    VersionRef, VersionStatus, report,
};

use super::error::Error;
use super::order::{Change, Destroy, Order, Revoke, VersionPath};
use super::report::{Report, Revoked, Tail};

/// The largest number of audit log lines in one answer.
const MAX_TAIL_LINES: usize = 1000;

/// Who asks for a key operation; goes into the audit log.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Their identity.
    pub who: Actor,
    /// The channel of the request.
    pub through: Channel,
}

/// Key operations on behalf of one caller.
pub struct Operations {
    /// Carries them out.
    pub rotation: Rotation,
    /// Who asks for them.
    pub caller: Caller,
}

impl Caller {
    /// The reason of an operation that they ask for.
    #[must_use]
    pub fn reason(&self, trigger: Trigger, why: impl Into<Text>) -> Reason {
        Reason {
            trigger,
            who: self.who.clone(),
            through: self.through,
            why: why.into(),
            basis: None,
        }
    }
}

impl Operations {
    /// Carries out an order.
    ///
    /// # Errors
    /// [`Error`]. After an error of a revocation nothing is sealed under the version either, if there is one.
    pub async fn carry_out(&self, order: Order) -> Result<Report, Error> {
        match order {
            Order::Rotate(keyring, asked) => {
                let reason = self.reason(asked.event.trigger(), asked.why)?;
                let rotated = self.rotation.rotate(&keyring, reason).await?;
                Ok(Report::Rotated(rotated))
            }
            Order::Revoke(keyring, asked) => Box::pin(self.revoke(&keyring, asked)).await,
            Order::Abort(keyring, asked) => {
                let reason = self.reason(Trigger::Manual, asked.why)?;
                let order = self.rotation.order(&keyring, VersionOrder::Abort, reason);
                Ok(Report::Changed(Box::new(Box::pin(order).await?)))
            }
            Order::Change(change, which, asked) => {
                Box::pin(self.change(change, &which, asked.why)).await
            }
            Order::Destroy(which, asked) => Box::pin(self.destroy(&which, asked)).await,
            Order::Drill(asked) => {
                let reason = self.reason(Trigger::Manual, asked.why)?;
                Ok(Report::Rehearsed(self.rotation.drill(reason).await?))
            }
        }
    }

    /// One keyring.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn keyring(&self, keyring: &str) -> Result<KeyringStatus, Error> {
        let keyrings = self.rotation.status().await;
        Ok(report::find(&keyrings, keyring)?.clone())
    }

    /// One version of a keyring.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn version(&self, (keyring, version): &VersionPath) -> Result<VersionStatus, Error> {
        let number = self.rotation.number(keyring, Some(version)).await?;
        let mut versions = self.keyring(keyring).await?.versions.into_iter();
        let found = versions.find(|version| version.number == number);
        Ok(found.ok_or(OrderError::Stopping)?)
    }

    /// The reasons for which a version is not destroyed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn why(&self, (keyring, version): &VersionPath) -> Result<RetentionReasons, Error> {
        let number = self.rotation.number(keyring, Some(version)).await?;
        Ok(self.rotation.why(VersionRef { keyring, number }).await?)
    }

    /// What was sealed under a version, and is exposed to whoever has its secret.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn exposure(&self, (keyring, version): &VersionPath) -> Result<Exposure, Error> {
        let number = self.rotation.number(keyring, Some(version)).await?;
        let which = VersionRef { keyring, number };
        Ok(self.rotation.exposure(which).await?)
    }

    /// The last lines of the audit log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tail(&self, count: usize) -> Result<Tail, Error> {
        let lines = self.rotation.tail(count.min(MAX_TAIL_LINES)).await?;
        Ok(Tail { lines })
    }

    /// Revokes a version and reports its exposure.
    async fn revoke(&self, keyring: &str, asked: Revoke) -> Result<Report, Error> {
        let reason = self.reason(Trigger::Compromise, asked.why)?;
        let named = (keyring, asked.version.as_deref());
        let number = self.number(named, (Action::Compromise, &reason)).await?;
        let order = VersionOrder::Compromise(number);
        let ordered = Box::pin(self.rotation.order(keyring, order, reason)).await;
        let which = VersionRef { keyring, number };
        let exposure = self.rotation.exposure(which).await?;
        let failure = match ordered {
            Ok(_status) => None,
            // The version is revoked, but making its successor failed.
            Err(error @ (OrderError::Failed(_) | OrderError::UnderWay))
                if exposure.state == State::Compromised =>
            {
                Some(error.with_help())
            }
            Err(error) => return Err(error.into()),
        };
        let after = Box::pin(self.keyring(keyring)).await?;
        let sealing = after.active().map(|version| version.label.clone());
        let unmade = || {
            let why = after.outlook.failure.clone();
            why.unwrap_or_else(|| "it is being made".to_owned())
        };
        Ok(Report::Revoked(Revoked {
            exposure,
            failure: failure.or_else(|| sealing.is_none().then(unmade)),
            sealing,
        }))
    }

    async fn change(
        &self,
        change: Change,
        (keyring, version): &VersionPath,
        why: String,
    ) -> Result<Report, Error> {
        let (what, order): (_, fn(u32) -> VersionOrder) = match change {
            Change::Suspend => (Action::Suspend, VersionOrder::Suspend),
            Change::Restore => (Action::Resume, VersionOrder::Restore),
            Change::Archive => (Action::Archive, VersionOrder::Archive),
        };
        let reason = self.reason(Trigger::Manual, why)?;
        let named = (keyring.as_str(), Some(version.as_str()));
        let number = self.number(named, (what, &reason)).await?;
        let status = self.rotation.order(keyring, order(number), reason).await?;
        Ok(Report::Changed(Box::new(status)))
    }

    async fn destroy(
        &self,
        (keyring, version): &VersionPath,
        asked: Destroy,
    ) -> Result<Report, Error> {
        let reason = self.reason(Trigger::Manual, asked.why)?;
        let named = (keyring.as_str(), Some(version.as_str()));
        let number = self.number(named, (Action::Destroy, &reason)).await?;
        let wish = DestroyRequest {
            forced: asked.force,
            approves: asked.approve,
        };
        let which = VersionRef { keyring, number };
        let status = self.rotation.destroy(which, wish, reason).await?;
        Ok(Report::Changed(Box::new(status)))
    }

    /// The number of the version that an order names. A refusal is recorded in the audit log.
    async fn number(
        &self,
        (keyring, version): (&str, Option<&str>),
        (what, reason): (Action, &Reason),
    ) -> Result<u32, Error> {
        // Both boxed: the caller's future would be too large with them.
        let found = Box::pin(self.rotation.number(keyring, version)).await;
        if let Err(error) = &found
            && error.is_refusal()
        {
            let asked = (Some(keyring), what);
            let why = error.with_help();
            Box::pin(self.rotation.refused(asked, reason.clone(), why)).await;
        }
        Ok(found?)
    }

    fn reason(&self, trigger: Trigger, why: String) -> Result<Reason, Error> {
        if why.trim().is_empty() {
            return Err(Error::NoReason);
        }
        Ok(self.caller.reason(trigger, why))
    }
}

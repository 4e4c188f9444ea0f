//! Key operations, for requests to the running gateway and for commands on its state directory alike.

use jiff::Timestamp;

use crate::audit::{Action, Trigger};
use crate::catalogue::State;
use crate::clock::Clock;
use crate::rotation::engine::Order;
use crate::rotation::{DestroyRequest, KeyringStatus, OrderError, Reason, Rotation, VersionRef};

use super::Caller;
use super::api;
use super::api_error::ApiError;

/// The largest number of audit log lines in one answer.
const MAX_TAIL_LINES: usize = 1000;

/// Key operations on behalf of one caller.
pub struct KeyService {
    /// Carries them out.
    pub rotation: Rotation,
    /// Who asks for them.
    pub caller: Caller,
    /// The time.
    pub clock: Clock,
}

/// A state change of one key version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// It stops sealing while somebody investigates.
    Suspend,
    /// A suspended version returns to its former state.
    Restore,
    /// Its overlap ends now.
    Archive,
}

type ApiResult<T> = Result<T, ApiError>;

impl KeyService {
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
    /// [`ApiError`].
    pub async fn keyring(&self, keyring: &str) -> ApiResult<api::Keyring> {
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
        Ok(self.to_api(status))
    }

    /// One version of a keyring.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn version(&self, keyring: &str, version: &str) -> ApiResult<api::KeyVersion> {
        let number = self.rotation.number(keyring, Some(version)).await?;
        let versions = self.keyring(keyring).await?.versions.into_iter();
        let mut found = versions.filter(|version| version.number == number);
        found
            .next()
            .ok_or_else(|| ApiError::of(&OrderError::Stopping))
    }

    /// Switches to a new key version now.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn rotate(&self, keyring: &str, asked: api::Rotate) -> ApiResult<api::Switch> {
        let why = non_empty(asked.why)?;
        let reason = self.caller.reason(asked.event.trigger(), why);
        Ok(self.rotation.rotate(keyring, reason).await?.into())
    }

    /// Revokes a version, so that it never seals again; yields its exposure.
    ///
    /// # Errors
    /// [`ApiError`]. Nothing is sealed under the version even where the revocation could not be written down yet.
    pub async fn revoke(&self, keyring: &str, asked: api::Revoke) -> ApiResult<api::Revoked> {
        let why = non_empty(asked.why)?;
        let reason = self.caller.reason(Trigger::Compromise, why);
        let named = (keyring, asked.version.as_deref());
        let number = self
            .version_number(named, (Action::Compromise, &reason))
            .await?;
        let order = Order::Compromise(number);
        let ordered = self.rotation.order(keyring, order, reason).await;
        let exposure = self
            .rotation
            .exposure(VersionRef { keyring, number })
            .await?;
        let failure = match ordered {
            Ok(_status) => None,
            // The version is revoked, but making its successor failed.
            Err(error @ (OrderError::Failed(_) | OrderError::UnderWay))
                if exposure.state == State::Compromised =>
            {
                Some(error.to_string())
            }
            Err(error) => return Err(ApiError::of(&error)),
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
    /// [`ApiError`].
    pub async fn change(
        &self,
        (keyring, version): (&str, &str),
        change: StateChange,
        asked: api::Reason,
    ) -> ApiResult<api::Keyring> {
        let why = non_empty(asked.why)?;
        let reason = self.caller.reason(Trigger::Manual, why);
        let what = match change {
            StateChange::Suspend => Action::Suspend,
            StateChange::Restore => Action::Resume,
            StateChange::Archive => Action::Archive,
        };
        let number = self
            .version_number((keyring, Some(version)), (what, &reason))
            .await?;
        let order = match change {
            StateChange::Suspend => Order::Suspend(number),
            StateChange::Restore => Order::Restore(number),
            StateChange::Archive => Order::Archive(number),
        };
        let status = self.rotation.order(keyring, order, reason).await?;
        Ok(self.to_api(status))
    }

    /// Destroys the secret of a version, if nothing stored needs it, or by force.
    ///
    /// # Errors
    /// [`ApiError`], with the evidence.
    pub async fn destroy(
        &self,
        (keyring, version): (&str, &str),
        asked: api::Destroy,
    ) -> ApiResult<api::Keyring> {
        let why = non_empty(asked.why)?;
        let reason = self.caller.reason(Trigger::Manual, why);
        let named = (keyring, Some(version));
        let number = self
            .version_number(named, (Action::Destroy, &reason))
            .await?;
        let wish = DestroyRequest {
            forced: asked.force,
            approves: asked.approve,
        };
        let which = VersionRef { keyring, number };
        let status = self.rotation.destroy(which, wish, reason).await?;
        Ok(self.to_api(status))
    }

    /// Aborts the rotation under way, without a successor.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn abort(&self, keyring: &str, asked: api::Reason) -> ApiResult<api::Keyring> {
        let reason = self.caller.reason(Trigger::Manual, non_empty(asked.why)?);
        let status = self.rotation.order(keyring, Order::Abort, reason).await?;
        Ok(self.to_api(status))
    }

    /// The reasons for which a version is not destroyed.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn why(&self, keyring: &str, version: &str) -> ApiResult<api::Kept> {
        let number = self.rotation.number(keyring, Some(version)).await?;
        Ok(self
            .rotation
            .why(VersionRef { keyring, number })
            .await?
            .into())
    }

    /// What was sealed under a version, and is exposed to whoever has its secret.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn exposure(&self, keyring: &str, version: Option<&str>) -> ApiResult<api::Exposure> {
        let number = self.rotation.number(keyring, version).await?;
        let which = VersionRef { keyring, number };
        Ok(self.rotation.exposure(which).await?.into())
    }

    /// Rehearses a revocation, without revoking anything.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn drill(&self, asked: api::Reason) -> ApiResult<Vec<api::Rehearsal>> {
        let reason = self.caller.reason(Trigger::Manual, non_empty(asked.why)?);
        let parts = self.rotation.drill(reason).await?;
        Ok(parts.into_iter().map(Into::into).collect())
    }

    /// The last lines of the audit log.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn tail(&self, count: usize) -> ApiResult<api::Tail> {
        let lines = self.rotation.tail(count.min(MAX_TAIL_LINES)).await?;
        Ok(api::Tail { lines })
    }

    /// The number of the version that a request names. A refusal is recorded in the audit log.
    async fn version_number(
        &self,
        (keyring, version): (&str, Option<&str>),
        (what, reason): (Action, &Reason),
    ) -> ApiResult<u32> {
        // Both boxed: the caller's future would be too large with them.
        let found = Box::pin(self.rotation.number(keyring, version)).await;
        if let Err(error) = &found
            && error.is_refusal()
        {
            let asked = (Some(keyring), what);
            let why = error.to_string();
            Box::pin(self.rotation.refused(asked, reason.clone(), why)).await;
        }
        Ok(found?)
    }

    fn to_api(&self, status: KeyringStatus) -> api::Keyring {
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

impl From<OrderError> for ApiError {
    fn from(error: OrderError) -> Self {
        Self::of(&error)
    }
}

/// The time by `clock`.
pub(super) fn now(clock: &Clock) -> Timestamp {
    Timestamp::try_from(clock.wall()).unwrap_or(Timestamp::MAX)
}

fn non_empty(why: String) -> Result<String, ApiError> {
    if why.trim().is_empty() {
        return Err(ApiError::missing_reason());
    }
    Ok(why)
}

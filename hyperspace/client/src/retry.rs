//! Repeating calls that are harmless to repeat, when the connection broke beneath
//! them.
//!
//! A macro, since a closure's future that borrows what it is called with cannot yet
//! be said to be `Send`.

use crate::client::Shared;
use crate::core::CoreState;
use crate::mux::CallError;
use crate::session::Session;
use hyperspace_api::CoreError;
use std::sync::Arc;
use tokio::time::Instant;

/// Makes a call on connection after connection, until one lasts long enough to answer
/// it: at most [`crate::ClientOptions::patience`] after the first was lost.
///
/// `repeat!(client, |session| call)` or `repeat!(core, |(session, id)| call)`, where
/// `call` is a `Result<T, CallError>`; the whole is a `Result<T, CoreError>`.
macro_rules! repeat {
    ($owner:expr, |$place:pat_param| $call:expr) => {{
        let mut attempts = $owner.attempts();
        loop {
            let $place = match attempts.next().await {
                Ok(place) => place,
                Err(error) => break Err(error),
            };
            if let Some(result) = attempts.ended($call) {
                break result;
            }
        }
    }};
}
pub(crate) use repeat;

#[derive(Default)]
struct Patience(Option<Instant>);

impl Patience {
    /// Call it lost, or try again?
    fn is_over(&mut self, client: &Shared) -> bool {
        let until = *self.0.get_or_insert_with(|| Instant::now() + client.options.patience);
        Instant::now() >= until
    }
}

/// Attempts at a call of the whole client.
pub(crate) struct Attempts<'a> {
    client: &'a Shared,
    patience: Patience,
}

impl Shared {
    /// For [`repeat`].
    pub fn attempts(&self) -> Attempts<'_> {
        Attempts { client: self, patience: Patience::default() }
    }
}

impl Attempts<'_> {
    pub async fn next(&mut self) -> Result<Arc<Session>, CoreError> {
        self.client.session_until(self.patience.0).await
    }

    pub fn ended<T>(&mut self, result: Result<T, CallError>) -> Option<Result<T, CoreError>> {
        match result {
            Ok(answer) => Some(Ok(answer)),
            Err(CallError::Refused(error)) => Some(Err(error)),
            Err(CallError::Lost) if self.patience.is_over(self.client) => {
                Some(Err(self.client.unreachable("the connection keeps being lost")))
            }
            Err(CallError::Lost) => None,
        }
    }
}

/// Attempts at a call of a core.
pub(crate) struct CoreAttempts<'a> {
    core: &'a Arc<CoreState>,
    patience: Patience,
}

impl CoreState {
    /// For [`repeat`].
    pub fn attempts(self: &Arc<Self>) -> CoreAttempts<'_> {
        CoreAttempts { core: self, patience: Patience::default() }
    }
}

impl CoreAttempts<'_> {
    pub async fn next(&mut self) -> Result<(Arc<Session>, u32), CoreError> {
        self.core.bound_until(self.patience.0).await
    }

    pub fn ended<T>(&mut self, result: Result<T, CallError>) -> Option<Result<T, CoreError>> {
        match result {
            Ok(answer) => Some(Ok(answer)),
            // Closed beneath the call, by a clone of this handle.
            Err(_) if self.core.is_closed() => Some(Err(CoreError::Closed)),
            Err(CallError::Refused(error)) => Some(Err(error)),
            Err(CallError::Lost) if self.patience.is_over(&self.core.client) => {
                Some(Err(self.core.client.unreachable("the connection keeps being lost")))
            }
            Err(CallError::Lost) => None,
        }
    }
}

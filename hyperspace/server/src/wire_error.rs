//! How errors look on the wire.

use hyperspace_api::CoreError;
use hyperspace_schema::messages::RpcError;

/// libuv's numbers, which npm's clients expect: negative, and those of Linux.
const EAGAIN: i32 = -11;
const ETIMEDOUT: i32 = -110;

/// The error as a client gets it. `details` of a `CONFLICT` is the core's length.
pub(crate) fn rpc_error(error: &CoreError) -> RpcError {
    let errno = match error {
        // npm hypercore 9 says code ECANCELED and this number.
        CoreError::DownloadCancelled => Some(EAGAIN),
        CoreError::Timeout => Some(ETIMEDOUT),
        CoreError::Io { errno, .. } if *errno != 0 => Some(errno.saturating_abs().saturating_neg()),
        _ => None,
    };
    let details = match error {
        CoreError::Conflict { length } => Some(length.to_string()),
        _ => None,
    };
    let code = Some(error.code()).filter(|code| !code.is_empty()).map(str::to_owned);
    RpcError { message: error.to_string(), code, errno, details }
}

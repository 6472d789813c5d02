//! Errors as HRPC tells them, turned back into [`CoreError`]s.

use hyperspace_api::CoreError;
use hyperspace_schema::messages::RpcError;

/// By code where there is one, else by the texts that npm hyperspace 3.19 has.
pub(crate) fn from_rpc(error: RpcError) -> CoreError {
    let RpcError { message, code, errno, details } = error;
    let code = code.unwrap_or_default();
    match code.as_str() {
        "CONFLICT" => {
            if let Some(length) = details.as_deref().and_then(|details| details.parse().ok()) {
                return CoreError::Conflict { length };
            }
        }
        "FROZEN" => return CoreError::Frozen,
        "ETIMEDOUT" => return CoreError::Timeout,
        "ECANCELED" => return CoreError::DownloadCancelled,
        "CORRUPT" => {
            let what = message.strip_prefix("Stored data is damaged: ").unwrap_or(&message);
            return CoreError::Corrupt(what.to_owned());
        }
        "EIO" => return CoreError::Io { message, errno: errno.unwrap_or(0).saturating_abs() },
        "TOO_LARGE" => {
            let mut numbers =
                message.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
            if let (Some(size), Some(max)) = (numbers.next(), numbers.next()) {
                return CoreError::BlockTooLarge { size, max };
            }
        }
        "" => {
            use CoreError::{
                Cancelled, Closed, DownloadCancelled, NoUpdate, NotAvailable, NotDownloaded, NotWritable,
                SeekNotAvailable, Timeout,
            };
            let known = [
                NotDownloaded,
                NotAvailable,
                SeekNotAvailable,
                NoUpdate,
                Timeout,
                Cancelled,
                DownloadCancelled,
                NotWritable,
                Closed,
            ];
            if let Some(known) = known.into_iter().find(|known| known.to_string() == message) {
                return known;
            }
        }
        _ => {}
    }
    CoreError::Remote { message, code }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rpc(message: &str, code: &str) -> RpcError {
        let code = (!code.is_empty()).then(|| code.to_owned());
        RpcError { message: message.to_owned(), code, errno: None, details: None }
    }

    #[test]
    fn every_error_comes_back_as_itself() {
        for error in [
            CoreError::NotDownloaded,
            CoreError::NotAvailable,
            CoreError::SeekNotAvailable,
            CoreError::NoUpdate,
            CoreError::Timeout,
            CoreError::Cancelled,
            CoreError::DownloadCancelled,
            CoreError::NotWritable,
            CoreError::Closed,
            CoreError::BlockTooLarge { size: 9, max: 8 },
            CoreError::Corrupt("block 3".into()),
            CoreError::Remote { message: "Session already in use.".into(), code: String::new() },
            CoreError::Remote { message: "x".into(), code: "Y".into() },
        ] {
            assert_eq!(from_rpc(rpc(&error.to_string(), error.code())), error);
        }
        let conflict = RpcError { details: Some("7".into()), ..rpc("whatever", "CONFLICT") };
        assert_eq!(from_rpc(conflict), CoreError::Conflict { length: 7 });
        let io = RpcError { errno: Some(-28), ..rpc("no space", "EIO") };
        assert_eq!(from_rpc(io), CoreError::Io { message: "no space".into(), errno: 28 });
        // Without what it should carry, it still says something.
        assert!(matches!(from_rpc(rpc("conflict", "CONFLICT")), CoreError::Remote { .. }));
    }
}

//! What goes wrong on purpose.

use crate::exchange::{Exchange, Reply};
use std::sync::{Mutex, PoisonError};

/// Requests that go wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    method: &'static str,
    /// Part of the path.
    path: String,
    /// A pair that the query has to have, such as `comp=block`.
    query: Option<(&'static str, &'static str)>,
    /// How many of them pass before the first goes wrong.
    passing: u32,
    /// How many go wrong.
    times: u32,
    kind: FaultKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// 429, with `Retry-After` of so many seconds.
    Throttled(u32),
    /// 503, without saying when to come again.
    Unavailable,
    /// The request is done, and the answer does not arrive.
    AnswerLost,
    /// The signature of a blob's address has expired.
    SignatureExpired,
    /// All signatures that were given out so far expire at this moment.
    SignaturesExpire,
    /// A refusal of the control plane, with this status.
    Refused(u16),
}

impl Fault {
    /// The next request of this method whose path has this part.
    pub fn new(method: &'static str, path: impl Into<String>, kind: FaultKind) -> Fault {
        Fault { method, path: path.into(), query: None, passing: 0, times: 1, kind }
    }

    pub fn with_query(self, name: &'static str, value: &'static str) -> Fault {
        Fault { query: Some((name, value)), ..self }
    }

    pub fn after(self, passing: u32) -> Fault {
        Fault { passing, ..self }
    }

    pub fn times(self, times: u32) -> Fault {
        Fault { times, ..self }
    }

    fn concerns(&self, request: &Exchange) -> bool {
        self.method == request.method
            && request.path.contains(&self.path)
            && self.query.is_none_or(|(name, value)| request.query(name) == value)
    }
}

/// What is still to go wrong.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub fn add(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// How many faults have not happened yet, or not as often as they were to.
    pub fn left(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What goes wrong with this request.
    pub fn next(&self, request: &Exchange) -> Option<FaultKind> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = faults.iter().position(|fault| fault.concerns(request))?;
        let fault = &mut faults[index];
        if fault.passing > 0 {
            fault.passing -= 1;
            return None;
        }
        let kind = fault.kind;
        fault.times -= 1;
        if fault.times == 0 {
            faults.remove(index);
        }
        Some(kind)
    }
}

impl FaultKind {
    /// What is answered instead; `None` if the request is answered as it deserves.
    pub fn instead(self) -> Option<Reply> {
        match self {
            FaultKind::Throttled(seconds) => Some(
                Reply::refusal(429, "TooManyRequests", "The request is being throttled.")
                    .header("retry-after", seconds.to_string())
                    .header("x-ms-ratelimit-remaining-subscription-writes", "0"),
            ),
            FaultKind::Unavailable => Some(Reply::refusal(503, "ServiceUnavailable", "The service is busy.")),
            FaultKind::Refused(status) => Some(Reply::refusal(status, "UserError", "Refused on purpose.")),
            FaultKind::SignatureExpired => Some(crate::signature::expired()),
            FaultKind::AnswerLost | FaultKind::SignaturesExpire => None,
        }
    }
}

//! Whether a request of a connection is being answered: what its other end owes depends on that.

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// The requests of one connection.
#[derive(Clone, Default)]
pub(crate) struct Requests {
    /// Heads that have come and answers that have been given: odd while a request is under way.
    steps: Arc<AtomicUsize>,
}

/// A request whose head has come, until it is answered.
struct UnderWay(Requests);

impl Requests {
    /// The head of a request has come.
    fn begin(&self) -> UnderWay {
        self.steps.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// A number for the time between two answers; nothing while a request is under way.
    pub(crate) fn pause(&self) -> Option<usize> {
        Some(self.steps.load(Ordering::Relaxed)).filter(|steps| steps.is_multiple_of(2))
    }

    /// A service that says when its requests come and are answered.
    pub(crate) async fn answer<E>(
        self,
        answer: impl Future<Output = Result<axum::response::Response, E>>,
    ) -> Result<hyper::Response<AnswerBody>, E> {
        let under_way = self.begin();
        Ok(answer.await?.map(|body| AnswerBody { body, _under_way: under_way }))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// The body of an answer; when it goes, the request is answered.
pub(crate) struct AnswerBody {
    body: Body,
    _under_way: UnderWay,
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! A connection whose other end must not stop for long: neither in the head of a request, nor in reading an answer.

use super::under_way::Requests;
use std::io::{Error, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long nothing may be read at the other end while something is to be written.
const STALL: Duration = Duration::from_secs(60);

pub(crate) struct TimedStream {
    stream: TcpStream,
    requests: Requests,
    /// From the first byte of a head to its last.
    head_time: Duration,
    /// When the head that has begun must be there, and the pause between answers in which it began.
    head: Option<(usize, Pin<Box<Sleep>>)>,
    /// Since writing has to wait.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl TimedStream {
    pub(crate) fn new(stream: TcpStream, requests: Requests, head_time: Duration) -> TimedStream {
        TimedStream { stream, requests, head_time, head: None, stalled: None }
    }

    /// An outcome of reading, or the error of a head that has taken too long.
    fn head_in_time(
        &mut self,
        cx: &mut Context<'_>,
        read: Poll<Result<(), Error>>,
        bytes: usize,
    ) -> Poll<Result<(), Error>> {
        let pause = self.requests.pause();
        self.head.take_if(|(begun, _)| Some(*begun) != pause);
        match (&mut self.head, pause) {
            (Some((_, end)), _) if read.is_pending() => {
                return end.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into()));
            }
            (None, Some(pause)) if bytes > 0 => {
                self.head = Some((pause, Box::pin(sleep(self.head_time))));
            }
            _ => {}
        }
        read
    }

    /// An outcome of writing, or the error of having waited for too long.
    fn limited<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<Result<T, Error>>,
    ) -> Poll<Result<T, Error>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL)));
        stalled.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.head_in_time(cx, read, buf.filled().len() - before)
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, Error>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.limited(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.limited(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

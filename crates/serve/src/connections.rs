//! Connections: how many, how long, and how large what comes over them may be.

use super::shutdown::Shutdown;
use super::write_limit::WriteLimit;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections at a time; others wait to be accepted.
const CONNECTIONS: usize = 512;

/// Bytes of a request's first line and headers.
const HEAD: usize = 32 << 10;

/// Bytes that wait to be written or parsed.
const BUFFER: usize = 64 << 10;

/// From the last answer, or the first byte, to the end of a request's head.
const HEAD_TIME: Duration = Duration::from_secs(60);

/// For answers under way when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// Before the next attempt, when no connection can be accepted: there are too many files, perhaps.
const RETRY: Duration = Duration::from_millis(100);

/// Serves until the shutdown, and some seconds more.
pub(crate) async fn run(listener: TcpListener, router: Router, shutdown: &Shutdown) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.raised() => break,
            (stream, place) = accept(&listener, &places) => {
                tasks.spawn(connection(stream, place, router.clone(), shutdown.clone()));
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
    drop(listener);
    // Whatever is left afterwards is dropped with the set.
    let _ = timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(_) => sleep(RETRY).await,
        }
    }
}

async fn connection(
    stream: TcpStream,
    place: Option<OwnedSemaphorePermit>,
    router: Router,
    shutdown: Shutdown,
) {
    // Without it pieces wait for one another; that it is not to be had is no reason to refuse.
    let _ = stream.set_nodelay(true);
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_header_size(HEAD)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(WriteLimit::new(stream)), TowerToHyperService::new(router))
    );
    // What goes wrong on a connection concerns its other end alone.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = shutdown.raised() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
    drop(place);
}

//! Connections: how many, how long, and how large what comes over them may be.

use super::options::Times;
use super::shutdown::Shutdown;
use super::timed_stream::TimedStream;
use super::under_way::Requests;
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
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

/// For answers under way when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// Before the next attempt, when no connection can be accepted: there are too many files, perhaps.
const RETRY: Duration = Duration::from_millis(100);

/// Serves until the shutdown, and some seconds more.
pub(crate) async fn run(listener: TcpListener, router: Router, times: Times, shutdown: &Shutdown) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.raised() => break,
            (stream, place) = accept(&listener, &places) => {
                tasks.spawn(connection(stream, place, router.clone(), times, shutdown.clone()));
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
    times: Times,
    shutdown: Shutdown,
) {
    // Without it pieces wait for one another; that it is not to be had is no reason to refuse.
    let _ = stream.set_nodelay(true);
    let requests = Requests::default();
    let stream = TimedStream::new(stream, requests.clone(), times.head);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| requests.clone().answer(router.call(request)));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(times.idle)
            .max_header_size(HEAD)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service)
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{SocketAddr, TcpStream as Client};

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(100);

    /// A server with these times, which ends with the program.
    fn server(times: Times) -> SocketAddr {
        let (sender, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                let router = Router::new().route("/", get(async || "olive"));
                run(listener, router, times, &Shutdown::default()).await;
            });
        });
        address.recv().unwrap()
    }

    fn client(address: SocketAddr) -> Client {
        let client = Client::connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        client
    }

    /// Sends a request and reads its answer.
    fn ask(client: &mut Client) {
        client.write_all(HEAD).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"olive") {
            let mut part = [0; 512];
            let read = client.read(&mut part).unwrap();
            assert!(read > 0, "closed after {answer:?}");
            answer.extend_from_slice(&part[..read]);
        }
    }

    /// Waits until the other end closes the connection.
    fn closes(client: &mut Client) {
        let read = client.read(&mut [0; 512]);
        assert!(
            matches!(&read, Ok(0)) || read.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset),
            "{read:?}"
        );
    }

    #[test]
    fn a_head_that_has_begun_has_less_time_than_an_idle_connection() {
        let address = server(Times { head: SHORT, idle: LONG, ..Times::default() });
        let mut halved = client(address);
        halved.write_all(&HEAD[..10]).unwrap();
        closes(&mut halved);
        // Also one that comes byte by byte, and that of a later request; what was read in time does not count for it.
        let mut kept = client(address);
        for _ in 0..2 {
            ask(&mut kept);
            std::thread::sleep(2 * SHORT);
        }
        for byte in &HEAD[..20] {
            std::thread::sleep(SHORT / 10);
            // It may be closed already.
            let _ = kept.write_all(&[*byte]);
        }
        closes(&mut kept);
    }

    #[test]
    fn an_idle_connection_is_closed() {
        let mut idle = client(server(Times { idle: SHORT, ..Times::default() }));
        ask(&mut idle);
        closes(&mut idle);
    }
}

//! Starting and stopping: the thread for connections, and the model on the thread that called.

use super::ServeError;
use super::connections;
use super::options::ServeOptions;
use super::queue::Queue;
use super::room::Room;
use super::routes::router;
use super::scheduler::Scheduler;
use super::shutdown::Shutdown;
use super::state::{Model, ServerState};
use axum::Router;
use olive_core::Result;
use olive_core::event::{Event, EventSink};
use olive_runtime::Generator;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Threads that read requests and make tokens of their prompts.
const READERS: usize = 2;

/// Serves until the shutdown. `announce` is told the address once connections are accepted, and the model is loaded then, by
/// `load`. The calling thread computes.
///
/// # Errors
/// Options that contradict each other, an address that cannot be had, a model that cannot be loaded or served.
pub fn serve(
    options: ServeOptions,
    load: &mut dyn FnMut() -> Result<Generator>,
    announce: &mut dyn FnMut(SocketAddr) -> Result<()>,
    events: Arc<dyn EventSink + Send + Sync>,
    shutdown: &Shutdown,
) -> Result<()> {
    options.check()?;
    let (listener, address) = listen(options.address)?;
    announce(address)?;
    let state = Arc::new(ServerState::new(options, events));
    let connections = accept(listener, Arc::clone(&state), shutdown.clone())?;
    let outcome = work(&state, load);
    if outcome.is_err() {
        shutdown.raise();
    }
    // A panic of that thread was told by itself.
    let _ = connections.join();
    outcome
}

/// Loads the model, and computes until the connections are gone.
fn work(state: &ServerState, load: &mut dyn FnMut() -> Result<Generator>) -> Result<()> {
    let generator = Arc::new(load()?);
    let adapters = state.options.adapters.iter().map(|(_, path)| generator.model().load_adapter(path));
    let adapters = adapters.collect::<Result<Vec<_>>>()?;
    let room = Room::of(generator.model(), &state.options.limits)?;
    let together = generator.model().allow_batches(room.sequences, room.context)?;
    let how = if together { "computed together" } else { "which take turns" };
    let scheduler = Scheduler::new(&generator, &adapters, room, &state.queue, &state.metrics, &*state.events);
    state.is_loaded(Model { generator: Arc::clone(&generator), context: room.context });
    state.events.emit(Event::Info { message: greeting(state, room, how) });
    scheduler.run();
    Ok(())
}

/// What there is, for whoever started it.
fn greeting(state: &ServerState, room: Room, how: &str) -> String {
    let names: Vec<String> = state.names().map(|name| format!("`{name}`")).collect();
    let (names, Room { sequences, context, .. }) = (names.join(", "), room);
    format!("ready: {names}; {sequences} answers at a time, {how}, of {context} tokens with their prompts")
}

fn listen(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let bound = TcpListener::bind(wanted).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| ServeError::Bind { address: wanted, source })
}

/// Starts the thread for connections. However it ends, the queue is closed then.
fn accept(
    listener: TcpListener,
    state: Arc<ServerState>,
    shutdown: Shutdown,
) -> Result<JoinHandle<()>, ServeError> {
    let failed = |source| ServeError::Thread { source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(READERS)
        .build()
        .map_err(failed)?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(failed)?
    };
    let router: Router = router(Arc::clone(&state));
    let thread = std::thread::Builder::new().name("connections".into());
    let run = move || {
        let _closed_at_the_end = CloseQueue(&state.queue);
        runtime.block_on(connections::run(listener, router, &shutdown));
        // Prompts that are still being read are for nobody.
        runtime.shutdown_background();
    };
    thread.spawn(run).map_err(failed)
}

struct CloseQueue<'a>(&'a Queue);

impl Drop for CloseQueue<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

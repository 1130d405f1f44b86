//! Starting and stopping: the thread for connections, and the models on the thread that called.

use super::ServeError;
use super::connections;
use super::options::{ModelNames, ServeOptions};
use super::places::{Common, Served};
use super::queue::Queue;
use super::room::Room;
use super::routes::router;
use super::scheduler::Scheduler;
use super::shutdown::Shutdown;
use super::state::{Model, ServerState};
use axum::Router;
use olive_core::Result;
use olive_core::event::{Event, EventSink};
use olive_runtime::{Generator, LoadedModel, OnnxAdapter};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Threads that read requests and make tokens of their prompts.
const READERS: usize = 2;

/// Serves until the shutdown. `announce` is told the address once connections are accepted, and the models are loaded then, by
/// `load`, which is given the place of each among those of the options. The calling thread computes.
///
/// # Errors
/// Options that contradict each other, an address that cannot be had, a model that cannot be loaded or served, models that do
/// not fit into memory together.
pub fn serve(
    options: ServeOptions,
    load: &mut dyn FnMut(usize) -> Result<Generator>,
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

/// Loads the models, and computes until the connections are gone.
fn work(state: &ServerState, load: &mut dyn FnMut(usize) -> Result<Generator>) -> Result<()> {
    let names = &state.options.models;
    let generators = (0..names.len()).map(|index| load(index).map(Arc::new)).collect::<Result<Vec<_>>>()?;
    let adapters = names.iter().zip(&generators).map(|(names, generator)| adapters(names, generator.model()));
    let adapters = adapters.collect::<Result<Vec<_>>>()?;
    let models: Vec<(&str, &LoadedModel)> = names
        .iter()
        .zip(&generators)
        .map(|(names, generator)| (names.name.as_str(), generator.model()))
        .collect();
    let rooms = Room::of(&models, &state.options.limits)?;
    let (mut loaded, mut served, mut greetings) = (Vec::new(), Vec::new(), Vec::new());
    for (((generator, adapters), room), names) in generators.iter().zip(&adapters).zip(rooms).zip(names) {
        let together = generator.model().allow_batches(room.sequences, room.context)?;
        greetings.push(greeting(names, room, together));
        loaded.push(Model::new(Arc::clone(generator), room.context));
        served.push(Served { generator, adapters, room });
    }
    let common = Common { queue: &state.queue, metrics: &state.metrics, events: &*state.events };
    let scheduler = Scheduler::new(served, common);
    state.are_loaded(loaded);
    greetings.into_iter().for_each(|message| state.events.emit(Event::Info { message }));
    scheduler.run();
    Ok(())
}

/// The adapters of an ONNX model that have names.
fn adapters(names: &ModelNames, model: &LoadedModel) -> Result<Vec<Arc<OnnxAdapter>>> {
    if let (LoadedModel::Float(_), Some((name, path))) = (model, names.adapters.first()) {
        let (name, path) = (name.clone(), path.clone());
        return Err(ServeError::FloatAdapter { name, path, model: names.name.clone() }.into());
    }
    names.adapters.iter().map(|(_, path)| model.load_adapter(path)).collect()
}

/// What there is, for whoever started it.
fn greeting(names: &ModelNames, room: Room, together: bool) -> String {
    let adapters = names.adapters.iter().map(|(name, _)| name);
    let names: Vec<String> =
        std::iter::once(&names.name).chain(adapters).map(|name| format!("`{name}`")).collect();
    let how = if together { "computed together" } else { "which take turns" };
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
    let times = state.options.times;
    let thread = std::thread::Builder::new().name("connections".into());
    let run = move || {
        let _closed_at_the_end = CloseQueue(&state.queue);
        runtime.block_on(connections::run(listener, router, times, &shutdown));
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

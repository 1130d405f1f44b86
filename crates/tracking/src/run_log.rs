//! The log of one run: values are taken without waiting, and sent from a thread.

use crate::client::{Client, Failure};
use crate::error::TrackingError;
use crate::note::{Metric, Note};
use crate::open_run::{METRICS, OpenRun};
use crate::run::{RunStart, Status};
use crate::settings::MlflowSettings;
use olive_core::event::Event;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};

/// Between two requests, so that a fast training makes few of them.
const PERIOD: Duration = Duration::from_secs(1);
/// Between attempts at a server that does not answer, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// For what is left at the end, and after an interruption, when somebody waits.
const LAST: Duration = Duration::from_secs(15);
const LAST_OF_KILLED: Duration = Duration::from_secs(4);

/// A run that is logged until it is finished, or dropped, which counts as a failure.
pub struct RunLog {
    rows: UnboundedSender<Message>,
    told: Mutex<mpsc::Receiver<Event>>,
    worker: JoinHandle<()>,
}

enum Message {
    Metrics(Vec<Metric>),
    End(Status),
}

impl RunLog {
    /// Begins a run, or goes on with the one that the note tells.
    ///
    /// # Errors
    /// [`TrackingError::Connection`]. A server that does not answer is none: it may later.
    pub fn start(settings: MlflowSettings, start: RunStart) -> Result<RunLog, TrackingError> {
        let (rows, received) = unbounded_channel();
        let (tell, told) = mpsc::channel();
        let connection = |error: std::io::Error| TrackingError::Connection(error.to_string());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(connection)?;
        let client = Client::new(&settings)?;
        let address = settings.address();
        let note = Note::read(&start.note, &address).unwrap_or_default();
        let mut worker = Worker {
            client,
            address,
            settings,
            start,
            known: note.run_id,
            run: None,
            described: false,
            pending: Vec::new(),
            newest: BTreeMap::new(),
            tell,
            warned: false,
            refused: false,
        };
        worker.accept(note.unsent);
        let work = move || {
            runtime.block_on(worker.work(received));
            // Not waiting for what a request that was given up still asks the system, a name for example.
            runtime.shutdown_background();
        };
        let worker = std::thread::Builder::new().name("mlflow".into()).spawn(work).map_err(connection)?;
        Ok(RunLog { rows, told: Mutex::new(told), worker })
    }

    /// Values that belong to a step.
    pub fn log(&self, step: usize, values: &[(&str, f64)]) {
        let now = milliseconds();
        let metrics = values.iter().map(|(key, value)| Metric::new(key, *value, step, now)).collect();
        // Nobody receives if the thread has died; then there is no log.
        let _ = self.rows.send(Message::Metrics(metrics));
    }

    /// What there is to say since the last call.
    pub fn told(&self) -> Vec<Event> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).try_iter().collect()
    }

    /// Sends what is left and closes the run. Gives what there is to say since the last call.
    pub fn finish(self, status: Status) -> Vec<Event> {
        let _ = self.rows.send(Message::End(status));
        let _ = self.worker.join();
        self.told.into_inner().unwrap_or_else(PoisonError::into_inner).try_iter().collect()
    }
}

fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The thread's side.
struct Worker {
    client: Client,
    /// Of the server.
    address: String,
    settings: MlflowSettings,
    start: RunStart,
    /// The run that an earlier part of this training was logged to.
    known: Option<String>,
    run: Option<OpenRun>,
    /// Whether the run has its parameters and tags.
    described: bool,
    /// What was not sent yet.
    pending: Vec<Metric>,
    /// The last step of each value that was sent or is pending.
    newest: BTreeMap<String, usize>,
    tell: mpsc::Sender<Event>,
    /// Whether it was told that the server fails, and that it refuses values.
    warned: bool,
    refused: bool,
}

impl Worker {
    async fn work(mut self, mut received: UnboundedReceiver<Message>) {
        let mut pause = PERIOD;
        let status = loop {
            pause = match self.deliver().await {
                Ok(()) => PERIOD,
                Err(failure) => {
                    self.warn(&failure);
                    LONGEST_PAUSE.min(2 * pause)
                }
            };
            if let Some(status) = self.receive(&mut received, pause).await {
                break status;
            }
        };
        let patience = if status == Status::Killed { LAST_OF_KILLED } else { LAST };
        let closed = tokio::time::timeout(patience, self.close(status)).await;
        let failure = match closed {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => format!("no answer within {} seconds", patience.as_secs()),
        };
        self.keep(status, &failure);
    }

    /// Leaves out what an earlier part of this training, which went on further than its checkpoint, has logged.
    fn accept(&mut self, metrics: Vec<Metric>) {
        for metric in metrics {
            if self.newest.get(&metric.key).is_none_or(|step| *step < metric.step) {
                self.newest.insert(metric.key.clone(), metric.step);
                self.pending.push(metric);
            }
        }
    }

    /// Takes values for a while. The status, once the run has ended.
    async fn receive(
        &mut self,
        received: &mut UnboundedReceiver<Message>,
        during: Duration,
    ) -> Option<Status> {
        let until = Instant::now() + during;
        loop {
            match timeout_at(until, received.recv()).await {
                Ok(Some(Message::Metrics(metrics))) => self.accept(metrics),
                Ok(Some(Message::End(status))) => return Some(status),
                Ok(None) => return Some(Status::Failed),
                Err(_) => return None,
            }
        }
    }

    /// Opens the run if that is still to be done, and sends what there is.
    async fn deliver(&mut self) -> Result<(), Failure> {
        self.open().await?;
        let Some(run) = &self.run else { return Ok(()) };
        while !self.pending.is_empty() {
            let batch = self.pending.len().min(METRICS);
            match run.log(&self.client, &self.pending[..batch]).await {
                Err(failure) if !failure.is_final() => return Err(failure),
                Err(failure) if !self.refused => {
                    let what = "does not take some values, which are left out";
                    self.tell(warning(format!("MLflow at {} {what}: {failure}", self.address)));
                    self.refused = true;
                }
                Err(_) | Ok(()) => {}
            }
            self.pending.drain(..batch);
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<(), Failure> {
        if self.run.is_none() {
            let (known, now) = (self.known.as_deref(), milliseconds());
            let run = OpenRun::open(&self.client, &self.settings, known, &self.start, now).await?;
            self.tell(info(format!("logging to MLflow: {}", run.page(&self.address))));
            self.described = self.known.as_ref() == Some(&run.id);
            self.known = Some(run.id.clone());
            let pending = std::mem::take(&mut self.pending);
            self.newest = run.logged.clone();
            self.accept(pending);
            self.run = Some(run);
            self.write_note(Vec::new());
        }
        if let Some(run) = self.run.as_ref().filter(|_| !self.described) {
            let tags = [&self.start.tags[..], &self.settings.tags].concat();
            match run.describe(&self.client, &self.start.params, &tags).await {
                Err(failure) if !failure.is_final() => return Err(failure),
                Err(failure) => self.tell(warning(format!(
                    "MLflow at {} does not take the parameters of the training: {failure}",
                    self.address
                ))),
                Ok(()) => {}
            }
            self.described = true;
        }
        Ok(())
    }

    async fn close(&mut self, status: Status) -> Result<(), Failure> {
        self.deliver().await?;
        match &self.run {
            Some(run) => run.end(&self.client, status, milliseconds()).await,
            None => Ok(()),
        }
    }

    /// What could not be sent waits for the training to go on, if it can.
    fn keep(&mut self, status: Status, failure: &str) {
        let unsent = std::mem::take(&mut self.pending);
        let fate = match status {
            Status::Finished => "`metrics.jsonl` has them",
            Status::Failed | Status::Killed => "they are sent when the training goes on",
        };
        let count = unsent.len();
        self.write_note(unsent);
        let what = match count {
            0 => "how the run ended was not sent".to_owned(),
            count => format!("{count} values were not sent, {fate}"),
        };
        self.tell(warning(format!("MLflow at {}: {failure}; {what}", self.address)));
    }

    fn write_note(&self, unsent: Vec<Metric>) {
        let note = Note { server: self.address.clone(), run_id: self.known.clone(), unsent };
        if let Err(error) = note.write(&self.start.note) {
            self.tell(warning(format!("the run in MLflow is not noted: {}", error.with_causes())));
        }
    }

    /// Once: a server that is away for an hour is no news every minute.
    fn warn(&mut self, failure: &Failure) {
        if !self.warned {
            self.tell(warning(format!(
                "MLflow at {}: {failure}; the training goes on, and what is to be logged is kept and sent later",
                self.address
            )));
        }
        self.warned = true;
    }

    fn tell(&self, event: Event) {
        // Nobody listens any more after `RunLog` was dropped.
        let _ = self.tell.send(event);
    }
}

fn info(message: String) -> Event {
    Event::Info { message }
}

fn warning(message: String) -> Event {
    Event::Warning { message }
}

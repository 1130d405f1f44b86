//! The logs of a run while it is going on: only what is new is asked for.

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::history::RunDetails;
use crate::http::Client;
use crate::job::JobName;
use crate::safe_url::SafeUrl;
use crate::secret::Secret;
use crate::status::{JobStatus, Stage};
use crate::workspace::WorkspaceClient;
use regex::Regex;
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Request, Url};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

/// Bytes of a log that are asked for at a time.
const PIECE: u64 = 4 << 20;

/// How long a run is watched that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The logs that are shown: of the first of several processes. Source: `JobLogPattern` of azure-ai-ml 1.35.2.
static SHOWN: LazyLock<Regex> = LazyLock::new(|| pattern(r"^user_logs/std_log\D*0*(?:_ps)?\.txt"));

/// Those of older computes.
static SHOWN_BEFORE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^azureml-logs/\d{2}.+\.txt"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern that is written in this file")
}

/// How often a run is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub shortest: Duration,
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { shortest: Duration::from_secs(2), longest: Duration::from_secs(60) }
    }
}

impl Pace {
    /// The pace that the environment asks for, with the SDK's variables.
    ///
    /// # Errors
    /// The variable whose value is no number of seconds.
    pub fn new(environment: &Environment) -> Result<Pace> {
        let seconds = |name: &'static str, default: Duration| match environment.get(name) {
            None => Ok(default),
            Some(value) => value.parse().map(Duration::from_secs).map_err(|_| Error::Variable {
                name,
                value: value.to_owned(),
                expected: "expected a number of seconds".into(),
            }),
        };
        let Pace { shortest, longest } = Pace::default();
        Ok(Pace {
            shortest: seconds("AZUREML_RUN_POLLING_INTERVAL_MIN", shortest)?,
            longest: seconds("AZUREML_RUN_POLLING_INTERVAL_MAX", longest)?,
        })
    }

    /// The pause before the next look at a run that has been watched for so long: a curve that begins with the
    /// shortest and nears the longest after some minutes. Source: `_wait_before_polling` of azure-ai-ml 1.35.2.
    pub fn pause(self, watched: Duration) -> Duration {
        let seconds = self.longest.as_secs_f64() / (1.0 + 100.0 * (-watched.as_secs_f64() / 20.0).exp());
        Duration::from_secs(seconds as u64).max(self.shortest)
    }
}

/// What those who watch a run are told.
#[derive(Debug, PartialEq, Eq)]
pub enum RunEvent<'a> {
    Status(&'a JobStatus),
    /// The next piece of a log.
    Log {
        file: &'a str,
        text: &'a str,
    },
    /// A log begins anew, as after a job was moved to another node.
    LogRestarted {
        file: &'a str,
    },
    /// Nobody answers; the run is looked at again.
    Unreachable(String),
}

/// Watches a run until it ends, and tells what happens.
///
/// # Errors
/// The service refuses, does not answer for a quarter of an hour, or somebody cancels. The run goes on.
pub async fn follow(
    workspace: &WorkspaceClient,
    run: &JobName,
    pace: Pace,
    mut tell: impl FnMut(RunEvent<'_>),
) -> Result<RunDetails> {
    let transport = workspace.client().transport();
    let begun = transport.now();
    let mut heard = begun;
    let mut status = None;
    let mut logs = LogTail::new(workspace.client().clone());
    loop {
        match look(workspace, run, &mut status, &mut logs, &mut tell).await {
            Ok(details) if details.status.stage() == Stage::Ended => return Ok(details),
            Ok(_) => heard = transport.now(),
            Err(error) if error.is_transient() => {
                if transport.now().duration_since(heard).unwrap_or_default() > PATIENCE {
                    return Err(error);
                }
                tell(RunEvent::Unreachable(error.to_string()));
            }
            Err(error) => return Err(error),
        }
        let watched = transport.now().duration_since(begun).unwrap_or_default();
        transport.wait(pace.pause(watched)).await?;
    }
}

/// Looks at a run once, and reads what is new of its logs.
async fn look(
    workspace: &WorkspaceClient,
    run: &JobName,
    status: &mut Option<JobStatus>,
    logs: &mut LogTail,
    tell: &mut impl FnMut(RunEvent<'_>),
) -> Result<RunDetails> {
    let mut details = workspace.run_details(run).await?;
    if status.as_ref() != Some(&details.status) {
        tell(RunEvent::Status(&details.status));
        *status = Some(details.status.clone());
    }
    let mut read_before = None;
    while let Err(error) = logs.read(&details, tell).await {
        let is_refused = error.service().is_some_and(|refusal| matches!(refusal.status, 401 | 403));
        // A right that is refused as soon as it is given is none.
        if !is_refused || read_before == Some(logs.bytes()) {
            return Err(error);
        }
        read_before = Some(logs.bytes());
        // The right to read ended while there was more to read: new details come with a new one.
        details = workspace.run_details(run).await?;
    }
    Ok(details)
}

/// How far each log was read.
#[derive(Debug)]
pub struct LogTail {
    client: Client,
    positions: BTreeMap<String, Position>,
}

#[derive(Debug, Default)]
struct Position {
    /// Bytes that were read.
    read: u64,
    /// The beginning of a character, whose rest is not there yet.
    rest: Vec<u8>,
}

impl LogTail {
    pub fn new(client: Client) -> LogTail {
        LogTail { client, positions: BTreeMap::new() }
    }

    /// Bytes that were read of all logs.
    fn bytes(&self) -> u64 {
        self.positions.values().map(|position| position.read).sum()
    }

    /// Tells what is new of the logs that are shown.
    ///
    /// # Errors
    /// A log cannot be read. What was told is not told again.
    pub async fn read(&mut self, details: &RunDetails, tell: &mut impl FnMut(RunEvent<'_>)) -> Result<()> {
        for (file, address) in shown(details.logs()) {
            let position = self.positions.entry(file.to_owned()).or_default();
            while let Some(piece) = piece(&self.client, address, position.read).await? {
                match piece {
                    Piece::Restarted => {
                        *position = Position::default();
                        tell(RunEvent::LogRestarted { file });
                    }
                    Piece::Content(content) => {
                        let text = position.text(&content);
                        if !text.is_empty() {
                            tell(RunEvent::Log { file, text: &text });
                        }
                        if (content.len() as u64) < PIECE {
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl Position {
    /// The text of the next bytes. A character that is cut in two waits for its rest; what is no text becomes U+FFFD.
    fn text(&mut self, content: &[u8]) -> String {
        self.read += content.len() as u64;
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(content);
        let cut = match bytes.utf8_chunks().last() {
            // Only a beginning at the very end is what may still become a character.
            Some(last) if could_go_on(last.invalid()) => bytes.len() - last.invalid().len(),
            _ => bytes.len(),
        };
        self.rest = bytes.split_off(cut);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Whether these are the first bytes of a character of UTF-8.
fn could_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

enum Piece {
    Content(Vec<u8>),
    /// The log is shorter than what was read of it.
    Restarted,
}

/// The bytes of a log from here on; `None` if there are none, or not yet.
async fn piece(client: &Client, address: &Secret, from: u64) -> Result<Option<Piece>> {
    let text = address.expose();
    let url = Url::parse(text)
        .map_err(|_| Error::Protocol { url: SafeUrl::parse(text), what: "no address of a log".into() })?;
    if url.scheme() != "https" && !client.endpoints().is_local_test(&url) {
        let reason = "only https keeps its access from being read on the way";
        return Err(Error::UntrustedHost { url: SafeUrl::from(&url), reason });
    }
    let mut request = Request::new(Method::GET, url);
    let range = format!("bytes={from}-{}", from + PIECE - 1);
    request.headers_mut().insert(RANGE, HeaderValue::try_from(range).expect("digits"));
    let answer = client.transport().send(request).await?;
    match answer.status {
        404 => Ok(None),
        416 => {
            // `bytes */SIZE`
            let size = answer
                .header(CONTENT_RANGE.as_str())
                .and_then(|range| range.rsplit('/').next()?.parse().ok());
            Ok(size.filter(|size: &u64| *size < from).map(|_| Piece::Restarted))
        }
        200 => {
            // The whole, whatever was asked for.
            let start = usize::try_from(from).unwrap_or(usize::MAX).min(answer.body.len());
            Ok(Some(Piece::Content(answer.body[start..].to_vec())))
        }
        _ => Ok(Some(Piece::Content(answer.accepted()?.body.to_vec()))),
    }
}

/// The logs that are shown, in the order of their names.
fn shown<'a, T>(logs: impl Iterator<Item = (&'a str, T)> + Clone) -> Vec<(&'a str, T)> {
    let matching =
        |pattern: &Regex| logs.clone().filter(|(name, _)| pattern.is_match(name)).collect::<Vec<_>>();
    let mut found = matching(&SHOWN);
    if found.is_empty() {
        found = matching(&SHOWN_BEFORE);
    }
    found.sort_unstable_by_key(|(name, _)| *name);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_as_the_sdk_has_them() {
        let pause = |seconds| Pace::default().pause(Duration::from_secs(seconds)).as_secs();
        assert_eq!([0, 30, 60, 90, 120, 300, 100_000].map(pause), [2, 2, 10, 28, 48, 59, 60]);
    }

    #[test]
    fn the_environment_sets_the_pace() {
        let variables = |max: &'static str| [("AZUREML_RUN_POLLING_INTERVAL_MAX", max)].into_iter().collect();
        let pace = Pace::new(&variables("5")).unwrap();
        assert_eq!(pace.pause(Duration::from_secs(600)), Duration::from_secs(4));
        let error = Pace::new(&variables("soon")).unwrap_err().to_string();
        assert!(error.contains("AZUREML_RUN_POLLING_INTERVAL_MAX") && error.contains("`soon`"), "{error}");
    }

    #[test]
    fn the_logs_of_the_first_process_are_shown() {
        let names = [
            "system_logs/lifecycler/x.txt",
            "user_logs/std_log_process_1.txt",
            "user_logs/std_log_process_0.txt",
            "user_logs/std_log_process_10.txt",
            "user_logs/std_log.txt",
            "user_logs/std_log_0_ps.txt",
            "azureml-logs/70_driver_log.txt",
        ];
        let expected =
            ["user_logs/std_log.txt", "user_logs/std_log_0_ps.txt", "user_logs/std_log_process_0.txt"];
        let shown = |names: &[&'static str]| {
            let found = shown(names.iter().map(|name| (*name, ())));
            found.into_iter().map(|(name, ())| name).collect::<Vec<_>>()
        };
        assert_eq!(shown(&names), expected);
        assert_eq!(shown(&[names[0], names[1], names[6]]), ["azureml-logs/70_driver_log.txt"]);
    }

    #[test]
    fn characters_that_are_cut_wait_for_their_rest() {
        let mut position = Position::default();
        let bytes = "aä€😀".as_bytes();
        let texts: Vec<String> = bytes.iter().map(|byte| position.text(&[*byte])).collect();
        assert_eq!(texts.concat(), "aä€😀");
        assert_eq!(texts[1], "");
        assert_eq!(position.read, bytes.len() as u64);
        assert_eq!(position.text(b"\xffx\xe2\x82"), "\u{fffd}x");
        assert_eq!(position.text(b"!"), "\u{fffd}!");
    }
}

//! A server of its own for a test.

use crate::client::{Answer, Line, post, request};
use crate::support::binary::olive_process;
use crate::support::quickstart::base_model;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub const CHAT: &str = "/v1/chat/completions";
pub const TEXT: &str = "/v1/completions";

/// What is waited for comes long before this.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    child: Child,
    /// Address and port.
    pub address: String,
}

impl Server {
    /// The quickstart's model: its name is `tiny-phi3`, its context 1024 tokens, its tokenizer one of bytes.
    pub fn start(more: &[&str]) -> Server {
        Server::of(&base_model(), more)
    }

    pub fn of(model: &Path, more: &[&str]) -> Server {
        Server::run(olive_process().args(["serve", "--port", "0"]).arg(model).args(more))
    }

    /// Starts a server and waits until its model is loaded.
    pub fn run(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let address = first.trim().strip_prefix("http://").map(str::to_owned);
        let server = Server { child, address: address.unwrap_or_default() };
        if server.address.is_empty() {
            panic!("no address: {}", server.end().1);
        }
        server.until("it is ready", |server| server.get("/health").status == 200);
        server
    }

    /// Asks until it is so.
    pub fn until(&self, what: &str, is_so: impl Fn(&Server) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < PATIENCE, "{what}: not so");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn open(&self) -> Line {
        Line::open(&self.address)
    }

    /// Sends bytes and reads one answer.
    pub fn send(&self, bytes: &[u8]) -> Answer {
        let mut line = self.open();
        line.send(bytes);
        line.answer()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(&request("GET", path, &[], b""))
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(&post(path, body))
    }

    /// A completion of `prompt`, greedy unless `more` says otherwise.
    pub fn complete(&self, prompt: &str, more: Value) -> Value {
        let answer = self.post(TEXT, &completion(prompt, more));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// What `/metrics` counts for the model.
    pub fn tokens(&self, name: &str, model: &str) -> Option<u64> {
        self.metric(&format!("{name}{{model=\"{model}\"}}"))
    }

    /// A value of `/metrics`.
    pub fn metric(&self, name: &str) -> Option<u64> {
        let page = self.get("/metrics").text();
        page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end: how, and what the log says.
    pub fn end(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap(), log)
    }

    /// Stops it and gives the log.
    pub fn log(self) -> String {
        self.signal("-TERM");
        let (status, log) = self.end();
        assert!(status.success(), "{log}");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of a completion.
pub fn completion(prompt: &str, more: Value) -> Value {
    with(json!({"model": "tiny-phi3", "prompt": prompt, "max_tokens": 12, "temperature": 0}), more)
}

/// The body of a chat of one question.
pub fn chat(question: &str, more: Value) -> Value {
    let messages = json!([{"role": "user", "content": question}]);
    with(json!({"model": "tiny-phi3", "messages": messages, "max_tokens": 12, "temperature": 0}), more)
}

/// The body of a request for more tokens than a test waits for, and more bytes than lie between a server and its client.
pub fn much(more: Value) -> Value {
    let prompts = vec!["The olive"; 16];
    let much = json!({"prompt": prompts, "n": 8, "max_tokens": 1000, "ignore_eos": true, "temperature": 1,
        "logprobs": 20});
    completion("", with(much, more))
}

/// A stream of which nothing more is read when its first piece has come.
pub fn endless(server: &Server) -> Line {
    let mut line = server.open();
    line.send(&post(TEXT, &much(json!({"stream": true}))));
    assert_eq!(line.head().status, 200);
    line.line();
    assert!(line.line().starts_with("data: {"));
    line
}

/// An object with the fields of another; those that are null there are left out.
fn with(mut body: Value, more: Value) -> Value {
    let fields = body.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => fields.remove(name),
            value => fields.insert(name.clone(), value.clone()),
        };
    }
    body
}

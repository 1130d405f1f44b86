//! A tracking server in memory: the part of MLflow's REST API that a training uses, with what can go wrong.
#![allow(dead_code, reason = "every program of tests uses its own part of this")]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

#[derive(Clone)]
pub enum Trouble {
    None,
    /// So many requests are answered with this status.
    Fails {
        status: u16,
        requests: usize,
    },
    RefusesParameters,
    /// Nothing is ever answered.
    Silent,
    Redirects {
        to: String,
    },
}

#[derive(Clone)]
pub struct Request {
    pub path: String,
    pub authorization: Option<String>,
    body: Value,
}

#[derive(Clone, Default)]
pub struct Run {
    /// What it was created with.
    pub body: Value,
    pub status: String,
    pub params: Vec<(String, String)>,
    pub tags: Vec<(String, String)>,
    pub metrics: Vec<Value>,
    deleted: bool,
}

impl Run {
    /// The steps of a value, in the order in which they came.
    pub fn steps(&self, key: &str) -> Vec<usize> {
        let of_key = self.metrics.iter().filter(|metric| metric["key"] == key);
        of_key.map(|metric| metric["step"].as_u64().unwrap() as usize).collect()
    }
}

struct State {
    trouble: Trouble,
    requests: Vec<Request>,
    runs: BTreeMap<String, Run>,
    experiments: Vec<String>,
}

pub struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            trouble: Trouble::None,
            requests: Vec::new(),
            runs: BTreeMap::new(),
            experiments: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Server { address, state }
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn has(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    pub fn run(&self, id: &str) -> Run {
        self.state().runs[id].clone()
    }

    pub fn delete(&self, id: &str) {
        self.state().runs.get_mut(id).unwrap().deleted = true;
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Bodies of `runs/log-batch`.
    pub fn batches(&self) -> Vec<Value> {
        self.requests()
            .into_iter()
            .filter(|request| request.path.ends_with("log-batch"))
            .map(|r| r.body)
            .collect()
    }

    /// Waits for something that happens soon.
    pub fn until(&self, happened: impl Fn(&Server) -> bool) {
        let soon = Instant::now() + Duration::from_secs(60);
        while !happened(self) {
            assert!(Instant::now() < soon, "nothing happens");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read(&mut reader) {
        let (status, headers, body) = {
            let mut state = state.lock().unwrap();
            state.requests.push(request.clone());
            match state.trouble.clone() {
                Trouble::Silent => {
                    drop(state);
                    std::thread::sleep(Duration::from_secs(60));
                    return;
                }
                Trouble::Fails { status, requests } if requests > 0 => {
                    state.trouble = Trouble::Fails { status, requests: requests - 1 };
                    (status, String::new(), json!({"error_code": "INTERNAL_ERROR", "message": "broken"}))
                }
                Trouble::Redirects { to } => {
                    (307, format!("location: {to}{}\r\n", request.path), Value::Null)
                }
                trouble => {
                    let refuses = matches!(trouble, Trouble::RefusesParameters);
                    let (status, body) = state.answer(&request, refuses);
                    (status, String::new(), body)
                }
            }
        };
        let body = body.to_string();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        let mut stream = &stream;
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut authorization, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = Some(value.to_owned()),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, authorization, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

impl State {
    fn answer(&mut self, request: &Request, refuses_parameters: bool) -> (u16, Value) {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let missing = (404, json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none of this name"}));
        let body = &request.body;
        match path.strip_prefix("/api/2.0/mlflow/").unwrap_or_default() {
            "experiments/get-by-name" => {
                let name = query.trim_start_matches("experiment_name=");
                let found = self.experiments.iter().any(|known| known == name);
                if found { (200, json!({"experiment": {"experiment_id": "7"}})) } else { missing }
            }
            "experiments/create" => {
                self.experiments.push(body["name"].as_str().unwrap().to_owned());
                (200, json!({"experiment_id": "7"}))
            }
            "runs/create" => {
                let id = format!("run{}", self.runs.len() + 1);
                let run = Run { body: body.clone(), status: "RUNNING".into(), ..Run::default() };
                self.runs.insert(id.clone(), run);
                (200, json!({"run": {"info": {"run_id": id}}}))
            }
            "runs/get" => match self.runs.get(query.trim_start_matches("run_id=")) {
                None => missing,
                Some(run) => (200, described(run)),
            },
            "runs/update" => {
                let run = self.runs.get_mut(body["run_id"].as_str().unwrap()).unwrap();
                run.status = body["status"].as_str().unwrap().to_owned();
                (200, json!({}))
            }
            "runs/log-batch" if self.runs[body["run_id"].as_str().unwrap()].deleted => {
                (400, json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "it was deleted"}))
            }
            "runs/log-batch" if refuses_parameters && body["params"].is_array() => {
                (400, json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "it has others"}))
            }
            "runs/log-batch" => {
                let run = self.runs.get_mut(body["run_id"].as_str().unwrap()).unwrap();
                run.params.extend(pairs(&body["params"]));
                run.tags.extend(pairs(&body["tags"]));
                run.metrics.extend(body["metrics"].as_array().into_iter().flatten().cloned());
                (200, json!({}))
            }
            other => (404, json!({"error_code": "ENDPOINT_NOT_FOUND", "message": other})),
        }
    }
}

fn pairs(list: &Value) -> impl Iterator<Item = (String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list.as_array().into_iter().flatten().map(move |pair| (text(&pair["key"]), text(&pair["value"])))
}

/// The answer to `runs/get`, with the last value of each name and its step as a text, as protobuf writes 64 bits.
fn described(run: &Run) -> Value {
    let mut latest: BTreeMap<&str, &Value> = BTreeMap::new();
    for metric in &run.metrics {
        latest.insert(metric["key"].as_str().unwrap(), metric);
    }
    let metrics: Vec<Value> = latest
        .iter()
        .map(
            |(key, metric)| json!({"key": key, "value": metric["value"], "step": metric["step"].to_string()}),
        )
        .collect();
    let stage = if run.deleted { "deleted" } else { "active" };
    json!({"run": {"info": {"experiment_id": "0", "lifecycle_stage": stage}, "data": {"metrics": metrics}}})
}

//! HTTP/1.1 by hand, so that tests decide about every byte.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer: status, headers with names in lower case, body.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The documents of a stream, which must be complete.
    pub fn events(&self) -> Vec<Value> {
        assert_eq!((self.status, self.header("content-type")), (200, Some("text/event-stream")), "{self:?}");
        let text = self.text();
        let text = text.strip_suffix("data: [DONE]\n\n").unwrap_or_else(|| panic!("no end: {text}"));
        let lines = text.split("\n\n").filter(|line| !line.is_empty() && !line.starts_with(':'));
        lines.map(|line| serde_json::from_str(line.strip_prefix("data: ").expect("data")).unwrap()).collect()
    }

    /// The field that an error names, after a look at its form.
    pub fn param(&self) -> Option<String> {
        let error = self.json()["error"].clone();
        let keys: Vec<&String> = error.as_object().expect("an error").keys().collect();
        assert_eq!(keys, ["message", "type", "param", "code"]);
        assert!(error["message"].as_str().unwrap().len() < 400, "{error}");
        error["param"].as_str().map(str::to_owned)
    }
}

/// A connection.
pub struct Line(pub BufReader<TcpStream>);

impl Line {
    pub fn open(address: &str) -> Line {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        Line(BufReader::new(stream))
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// A line of an answer; nothing when the connection is closed.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Reads the head of an answer.
    pub fn head(&mut self) -> Answer {
        let first = self.line();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut answer =
            Answer { status: status.unwrap_or_else(|| panic!("{first:?}")), ..Answer::default() };
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { return answer };
            answer.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    /// Reads an answer to the end that its headers tell.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&self.line(), 16).unwrap();
                let mut chunk = vec![0; size + 2];
                self.0.read_exact(&mut chunk).unwrap();
                if size == 0 {
                    return answer;
                }
                answer.body.extend_from_slice(&chunk[..size]);
            }
        }
        match answer.header("content-length").map(|length| length.parse().unwrap()) {
            Some(length) => {
                answer.body = vec![0; length];
                self.0.read_exact(&mut answer.body).unwrap();
            }
            None => {
                self.0.read_to_end(&mut answer.body).unwrap();
            }
        }
        answer
    }
}

/// A request with these headers beside `Host` and the length of the body.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if headers.iter().all(|(name, _)| *name != "Host") {
        text.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

/// A request whose body is JSON.
pub fn post(path: &str, body: &Value) -> Vec<u8> {
    request("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
}

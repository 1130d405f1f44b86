//! Requests and answers of a small server.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

pub struct Request {
    pub method: String,
    /// With the query.
    pub url: String,
    pub authorization: Option<String>,
    length: Option<usize>,
    stream: BufReader<TcpStream>,
}

impl Request {
    pub fn read(stream: TcpStream) -> Option<Request> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let mut words = line.split(' ');
        let (method, url) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut request = Request { method, url, authorization: None, length: None, stream };
        loop {
            let mut line = String::new();
            request.stream.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            match name.to_lowercase().as_str() {
                "authorization" => request.authorization = Some(value.trim().to_owned()),
                "content-length" => request.length = value.trim().parse().ok(),
                "transfer-encoding" => panic!("the storage takes no body of unknown length"),
                _ => {}
            }
        }
        Some(request)
    }

    pub fn path(&self) -> &str {
        self.url.split('?').next().unwrap()
    }

    /// The body, or so many bytes of it.
    pub fn body(&mut self, at_most: usize) -> Option<Vec<u8>> {
        let mut body = vec![0; self.length.unwrap_or(0).min(at_most)];
        self.stream.read_exact(&mut body).ok()?;
        Some(body)
    }

    pub fn answer(mut self, answer: &Answer) {
        let head = format!(
            "HTTP/1.1 {} x\r\nConnection: close\r\nContent-Length: {}\r\n",
            answer.status,
            answer.body.len()
        );
        let headers: String =
            answer.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let stream = self.stream.get_mut();
        // A client that has seen enough hangs up.
        let _ = write!(stream, "{head}{headers}\r\n{}", answer.body).and_then(|()| stream.flush());
    }
}

#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answer {
    pub fn json(value: &Value) -> Answer {
        Answer { status: 200, headers: Vec::new(), body: value.to_string() }
    }

    pub fn empty(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: String::new() }
    }

    pub fn error(status: u16, code: &str, message: &str) -> Answer {
        let body = serde_json::json!({"error": message}).to_string();
        Answer { status, headers: vec![("X-Error-Code", code.to_owned())], body }
    }
}

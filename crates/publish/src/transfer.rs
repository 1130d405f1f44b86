//! A file, or a part of one, to an address of the storage.

use crate::answer::{Answer, Failure};
use crate::hub::{Hub, answer};
use crate::local_file::{LocalFile, PIECE};
use crate::progress::{Counter, Share};
use crate::retry;
use futures_util::stream;
use olive_core::file;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Method};
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::ops::Range;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Silence after which a transfer is given up and begun again.
const STALL: Duration = Duration::from_secs(120);

/// Transfers at a time.
const CONCURRENT: usize = 4;

/// What all transfers share.
pub(crate) struct Transfers<'a> {
    hub: &'a Hub<'a>,
    sent: &'a Counter,
    places: Semaphore,
}

impl<'a> Transfers<'a> {
    pub(crate) fn new(hub: &'a Hub<'a>, sent: &'a Counter) -> Transfers<'a> {
        Transfers { hub, sent, places: Semaphore::new(CONCURRENT) }
    }

    /// Puts these bytes of a file there, again when the storage fails.
    ///
    /// # Errors
    /// The storage's refusal; the file has changed or cannot be read.
    pub(crate) async fn put(
        &self,
        file: &LocalFile,
        range: Range<u64>,
        address: &str,
    ) -> Result<Answer, Failure> {
        let Ok(_place) = self.places.acquire().await else {
            return Err(Failure::Odd("nothing is sent any more".to_owned()));
        };
        let mut attempt = 1;
        loop {
            let share = Share::of(self.sent);
            let tried = self.once(file, range.clone(), address, &share).await;
            if !matches!(&tried, Ok(answer) if answer.status < 300) {
                share.take_back();
            }
            // A file that changed breaks its transfer, too.
            file.check()?;
            let headers = match &tried {
                Ok(answer) if retry::is_passing(answer.status) => Some(&answer.headers),
                Err(Failure::Lost { .. }) => None,
                _ => return tried?.accepted(),
            };
            match retry::pause(attempt, headers, fastrand::f64()) {
                Some(pause) => self.hub.wait(pause).await,
                None => return tried?.accepted(),
            }
            attempt += 1;
        }
    }

    async fn once(
        &self,
        file: &LocalFile,
        range: Range<u64>,
        address: &str,
        share: &Share,
    ) -> Result<Answer, Failure> {
        let length = range.end - range.start;
        let opened = file.open_at(range.start)?;
        let request = self.hub.to_storage(Method::PUT, address);
        // The storage takes no body of unknown length.
        let request = request.header(CONTENT_LENGTH, length).body(body(opened, length, share.clone()));
        let silence = async {
            while share.silence() < STALL {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            answer = answer(request) => answer,
            () = silence => Err(Failure::Lost { reason: format!("nothing went through for {} seconds", STALL.as_secs()) }),
        }
    }
}

/// The next bytes of a file, in pieces.
fn body(file: File, length: u64, share: Share) -> Body {
    Body::wrap_stream(stream::try_unfold((file, length), move |(mut file, left)| {
        let read = next(&mut file, left);
        let share = share.clone();
        async move {
            let Some(piece) = read? else { return Ok(None) };
            let bytes = piece.len() as u64;
            share.add(bytes);
            Ok::<_, Error>(Some((piece, (file, left - bytes))))
        }
    }))
}

fn next(file: &mut File, left: u64) -> Result<Option<Vec<u8>>, Error> {
    if left == 0 {
        return Ok(None);
    }
    let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
    let read = file::read_piece(file, &mut piece)?;
    if read == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    piece.truncate(read);
    Ok(Some(piece))
}

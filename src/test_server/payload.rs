//! Bodies of answers as they go onto the wire, the broken ones included.

use super::http::Wire;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

const CHUNK: usize = 64 * 1024;

/// The connection is to be closed here.
#[derive(Debug, thiserror::Error)]
#[error("a fault closes the connection")]
pub(super) struct Dropped;

pub(super) enum Payload {
    Whole(Option<Bytes>),
    Truncated {
        half: Option<Bytes>,
        promised: u64,
        /// The HTTP library writes out what it has whenever a body has nothing for it; a body that broke at once would
        /// take head and half along.
        flushed: bool,
    },
    Oversized {
        sent: u64,
        bytes: u64,
    },
}

impl Payload {
    pub(super) fn new(body: Vec<u8>, wire: &Wire) -> Payload {
        match wire {
            Wire::Whole => Payload::Whole((!body.is_empty()).then(|| Bytes::from(body))),
            Wire::Truncated => {
                let promised = body.len() as u64;
                let half = body.len() / 2;
                Payload::Truncated {
                    half: (half > 0).then(|| Bytes::from(body).slice(..half)),
                    promised,
                    flushed: false,
                }
            }
            Wire::Oversized(bytes) => Payload::Oversized {
                sent: 0,
                bytes: *bytes,
            },
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        match self.get_mut() {
            Payload::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Payload::Truncated { half, flushed, .. } => {
                if let Some(half) = half.take() {
                    return Poll::Ready(Some(Ok(Frame::data(half))));
                }
                if *flushed {
                    return Poll::Ready(Some(Err(Dropped)));
                }
                *flushed = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Payload::Oversized { sent, bytes } => {
                let left = *bytes - *sent;
                if left == 0 {
                    return Poll::Ready(None);
                }
                let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                let mut chunk = vec![b'a'; size];
                if *sent == 0
                    && let Some(first) = chunk.first_mut()
                {
                    *first = b'"';
                }
                *sent += size as u64;
                if *sent == *bytes
                    && let Some(last) = chunk.last_mut()
                {
                    *last = b'"';
                }
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(chunk)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Payload::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Payload::Truncated { promised, .. } => SizeHint::with_exact(*promised),
            Payload::Oversized { .. } => SizeHint::default(),
        }
    }
}

//! Makes replies of Redis out of strings, and feeds them to a connection of the reader's kind in
//! pieces.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;

use crate::engine::error::Result;
use crate::engine::redis::RawConnection;

/// An array of values that are encoded already.
pub(crate) fn array(values: &[Vec<u8>]) -> Vec<u8> {
    [format!("*{}\r\n", values.len()).into_bytes(), values.concat()].concat()
}

/// A string.
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// An entry with its fields.
pub(crate) fn entry(id: &str, strings: &[&[u8]]) -> Vec<u8> {
    let strings: Vec<Vec<u8>> = strings.iter().map(|bytes| string(bytes)).collect();
    array(&[string(id.as_bytes()), array(&strings)])
}

/// XREAD's reply for one stream.
pub(crate) fn page(entries: &[Vec<u8>]) -> Vec<u8> {
    array(&[array(&[string(b"key"), array(entries)])])
}

/// No time passes in these tests.
pub(crate) const NO_LIMIT: Duration = Duration::MAX;

/// A connection to a server that sends these pieces, whatever the commands, and hangs up.
pub(crate) fn connection<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> RawConnection {
    let server = Server(pieces.filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect());
    RawConnection::new(Box::new(server), "server:1".to_owned())
}

/// The replies that a connection decodes from these pieces. The last one is the error that ends the
/// connection.
pub(crate) fn replies<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Vec<u8>>> {
    let mut connection = connection(pieces);
    let command = redis::cmd("XREAD");
    let mut replies = Vec::new();
    loop {
        let reply = at_once(connection.send_within(NO_LIMIT, "XREAD", "key", &command));
        let is_last = reply.as_ref().is_err_and(|error| !error.connection_survives());
        replies.push(reply);
        if is_last {
            return replies;
        }
    }
}

/// The result of a future that never has to wait.
pub(crate) fn at_once<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
    });
    // Time limits need a runtime; nothing runs on it.
    let _inside = runtime.enter();
    match std::pin::pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("waits, though everything is there"),
    }
}

/// Sends these pieces one by one, and hangs up. It accepts all that is written to it.
struct Server(std::collections::VecDeque<Vec<u8>>);

impl AsyncRead for Server {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(mut piece) = self.0.pop_front() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

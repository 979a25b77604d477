//! Shows whether a connection makes progress, so that time limits are for silence: a large command or
//! reply may take longer over a slow link.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::dial::Socket;
use crate::engine::error::{Error, Result};

/// When a connection last made progress.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    /// ms after `start`.
    last: AtomicU64,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), last: AtomicU64::new(0) })
    }

    fn note(&self) {
        self.last.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// Waits for `work` as long as the connection makes progress within each `limit`. Otherwise it
    /// fails with [`Error::Timeout`] of `command` and the server at `address`.
    pub(super) async fn limited<T>(
        &self,
        command: &'static str,
        address: &str,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T> {
        tokio::pin!(work);
        let mut until = Instant::now() + limit;
        loop {
            match timeout_at(until, &mut work).await {
                Ok(result) => return Ok(result),
                Err(_) if self.last() + limit > until => until = self.last() + limit,
                Err(_) => {
                    let address = address.to_owned();
                    return Err(Error::Timeout { command, address, after: limit });
                }
            }
        }
    }
}

/// A socket that notes its progress: bytes that come, and bytes that the kernel takes after it had to
/// wait. What the kernel takes at once shows nothing, since it may never leave this host.
pub(super) struct Watched {
    socket: Box<dyn Socket>,
    progress: Arc<Progress>,
    /// False if the server sends messages by itself: these do not show that it gets our commands.
    do_reads_count: bool,
    is_blocked: bool,
}

impl Watched {
    pub(super) fn new(
        socket: Box<dyn Socket>,
        progress: &Arc<Progress>,
        do_reads_count: bool,
    ) -> Self {
        Self { socket, progress: progress.clone(), do_reads_count, is_blocked: false }
    }

    fn written(&mut self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let was_blocked = std::mem::replace(&mut self.is_blocked, result.is_pending());
        if was_blocked && matches!(result, Poll::Ready(Ok(1..))) {
            self.progress.note();
        }
        result
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.socket).poll_read(context, buffer));
        if self.do_reads_count && buffer.filled().len() > before {
            self.progress.note();
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(context, bytes);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn watched(do_reads_count: bool) -> (Watched, tokio::io::DuplexStream, Arc<Progress>) {
        let (ours, theirs) = duplex(10);
        let progress = Progress::new();
        (Watched::new(Box::new(ours), &progress, do_reads_count), theirs, progress)
    }

    /// After how many seconds a command that is never answered fails.
    async fn fails_after(progress: &Progress) -> u64 {
        let asked = Instant::now();
        let result = progress.limited("SET", "a:1", LIMIT, pending::<()>()).await;
        assert!(matches!(result, Err(Error::Timeout { after: LIMIT, .. })));
        asked.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn replies_and_bytes_that_leave_are_progress() {
        let (mut socket, mut server, progress) = watched(true);
        assert_eq!(fails_after(&progress).await, 5);
        let work = async {
            sleep(Duration::from_secs(3)).await;
            server.write_all(b"+").await.unwrap();
            socket.read_u8().await.unwrap();
            sleep(Duration::from_secs(3)).await;
            let read = async {
                sleep(Duration::from_secs(1)).await;
                server.read_exact(&mut [0; 10]).await.unwrap();
            };
            let (written, _) = tokio::join!(socket.write_all(&[0; 20]), read);
            written.unwrap();
        };
        let (seconds, ()) = tokio::join!(fails_after(&progress), work);
        assert_eq!(seconds, 7 + 5);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_kernel_takes_and_what_the_server_says_by_itself_is_none() {
        let (mut socket, mut server, progress) = watched(false);
        let work = async {
            sleep(Duration::from_secs(3)).await;
            server.write_all(b">").await.unwrap();
            socket.read_u8().await.unwrap();
            socket.write_all(&[0; 10]).await.unwrap();
        };
        let (seconds, ()) = tokio::join!(fails_after(&progress), work);
        assert_eq!(seconds, 5);
    }
}
